"""A step of a receipt, gone through again: each envelope must be one that the rules allow at its place.

Whoever wrote the receipt may lie. Nothing is taken from it but what others signed, what the rules make of that, and its notes,
which are kept apart as the requester's word (specs/11-receipt.md).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from protocol import canonical
from protocol.allocation import ALONE, ReceivedBid, View, allocate, view_hash
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import AWARDS_MAX, EXTRA_SEATS_MAX, OPTIONS_MAX, SEATS_DEFAULT
from protocol.envelope import Envelope, check_fresh, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.evidence import Counts
from protocol.identity import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, peer_id
from protocol.judging import judged, judges_of
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, input_hash
from protocol.outbox import BEACONS
from protocol.outcome import Gate, SeatReport
from protocol.receipt import StepReceipt
from protocol.refining import revision, revisions_of
from protocol.requirement import Requirement
from protocol.review import Judge, Judgement, Refine
from protocol.rounds import opened
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.seating import asked_of, may_ask_more
from protocol.seats import Seat, SeatState
from protocol.step import ID_SIZE, StepId
from protocol.stopping import decided, is_thin
from protocol.task import Pair, Phase, Task
from protocol.vote import tally

_COUNT_MAX: Final = 2**53
# With one answer there is nothing to choose.
OPTIONS_MIN: Final = 2
# By type: the message, and whether the requester sends it.
_TYPES: Final[dict[str, tuple[type[Message], bool]]] = {
    **{kind.TYPE: (kind, True) for kind in (Beacon, BidAck, Award, Cancel, CommitSet, Judge, Refine)},
    **{kind.TYPE: (kind, False) for kind in (Bid, Accept, Decline, Commit, Reveal, Judgement)},
}


def wrong(reason: str) -> RemoteProtocolError:
    """Something in a receipt that does not hold."""
    return RemoteProtocolError("receipt", reason)


def parse_view(data: bytes) -> tuple[View, dict[bytes, bytes]]:
    """An encoded view, and each bidder's bid id; raises `RemoteProtocolError`."""
    match canonical.decode(data):
        case {"bids": [*rows], "newcomer_seats": int(newcomers), "options": int(options), **rest} if not rest:
            pass
        case _:
            raise wrong("a view is not what 07-beacon.md says")
    counts, clusters, ids = dict[bytes, Counts](), dict[bytes, int](), dict[bytes, bytes]()
    for each in rows:
        match each:
            case [bytes(bid), bytes(bidder), int(hits), int(misses), int(cluster)] if (
                (len(bid), len(bidder)) == (ID_SIZE, PUBLIC_KEY_SIZE)
                and 0 <= hits <= _COUNT_MAX
                and 0 <= misses <= _COUNT_MAX
                and ALONE <= cluster <= _COUNT_MAX
            ):
                counts[bidder], ids[bidder] = Counts(hits, misses), bid
                if cluster != ALONE:
                    clusters[bidder] = cluster
            case _:
                raise wrong("a view's row is not bid, bidder, hits, misses, cluster")
    if list(counts) != sorted(counts) or len(counts) != len(rows):
        raise wrong("a view's rows are not in the order of their bidders, each once")
    if not OPTIONS_MIN <= options <= OPTIONS_MAX or newcomers != 0:
        raise wrong("a view's options or newcomer seats are not those of a question")
    return View(options, newcomers, counts, clusters), ids


class Replay:
    """One step of a receipt by `requester`; `run` gives the task as it ended. `facts` counts what was seen, by a short name."""

    def __init__(self, network: bytes, requester: bytes, task: bytes, step: StepReceipt) -> None:
        self.facts: Counter[str] = Counter()
        self.signers: set[bytes] = set()
        self.beacon: Beacon | None = None
        # The beacon's date, by the requester's clock.
        self.issued_ms = 0
        self.acknowledged: set[bytes] = set()
        self.views: list[View] = []
        self._network = network
        self.requester = requester
        self._id = StepId(task, step.plan, step.step)
        self._step = step
        self._seen: set[bytes] = set()
        # How many seats the first view's allocation gives, and who follows by the latest.
        self._asked = 0
        self._queue: list[ReceivedBid] = []
        self._sets: dict[int, CommitSet] = {}
        # Who is to be asked for a judgement or a revision next, in their order.
        self._duties: list[tuple[Pair, Judge]] = []
        self._revisions: list[tuple[Seat, Refine]] = []
        self.task = Task(
            id=task,
            request=None,
            question=step.question,
            requirement=Requirement("", 0),
            skill_given=False,
            answer_kind="text",
            options=2,
            tokens_max=0,
            audit=None,
            begun_mono_ms=0,
            ends_mono_ms=0,
            nonce=step.nonce,
            refine=step.refine,
        )

    # --- The transcript

    def run(self) -> Task:
        """Go through the step; raises `RemoteProtocolError` that says what does not hold first."""
        notes = list(self._step.notes)
        if [place for place, _, _ in notes] != sorted(place for place, _, _ in notes):
            raise wrong("its notes are not in order")
        for number, data in enumerate(self._step.transcript):
            while notes and notes[0][0] <= number:
                self._note(*notes.pop(0)[1:])
            try:
                envelope, message = self._opened(data)
                self._take(envelope, message)
            except RemoteProtocolError as error:
                raise wrong(f"message {number + 1} of {len(self._step.transcript)}{_named(data)}: {error}") from error
        for _, event, subject in notes:
            self._note(event, subject)
        self._end()
        return self.task

    def _opened(self, data: bytes) -> tuple[Envelope, Message]:
        envelope = open_envelope(data)
        if envelope.network != self._network:
            raise wrong("is of another network")
        if envelope.type not in _TYPES:
            raise wrong("is of a type that has no place in a receipt")
        if envelope.id in self._seen:
            raise wrong("stands there twice")
        self._seen.add(envelope.id)
        # Its dates are its signer's word; that it may live as long as it says is not.
        check_fresh(envelope, envelope.issued_ms)
        kind, by_requester = _TYPES[envelope.type]
        message = envelope.message(kind)
        if (envelope.sender if by_requester else envelope.to) != self.requester:
            raise wrong("is not by the requester" if by_requester else "is not to the requester")
        if (message.task, message.plan, message.step) != (self._id.task, self._id.plan, self._id.step):  # type: ignore[attr-defined]
            raise wrong("belongs to another task or step")
        self.signers.add(envelope.sender)
        self.facts["messages"] += 1
        return envelope, message

    def _take(self, envelope: Envelope, message: Message) -> None:
        if (self.beacon is None) != isinstance(message, Beacon):
            raise wrong("comes before the beacon" if self.beacon is None else "is a second beacon")
        match message:
            case Beacon():
                self._on_beacon(envelope, message)
            case Bid():
                self._on_bid(envelope, message)
            case BidAck():
                self._on_ack(envelope, message)
            case Award():
                self._on_award(envelope, message)
            case CommitSet():
                self._on_set(envelope, message)
            case Judge():
                self._on_judge(envelope, message)
            case Judgement():
                judged(self.task, envelope.sender, message)
            case Refine():
                self._on_refine(envelope, message)
            case Accept() | Decline() | Commit() | Reveal() | Cancel():
                self._on_lease(envelope, message)

    # --- Beacon and bids

    def _on_beacon(self, envelope: Envelope, beacon: Beacon) -> None:
        if envelope.to != BEACONS:
            raise wrong("is not addressed to all")
        # specs/11-receipt.md: "question and nonce give its `input_hash`."
        if input_hash(self._step.nonce, self._step.question, beacon.answer, beacon.tokens_max) != beacon.input_hash:
            raise wrong("binds another question than the receipt's")
        # specs/11-receipt.md: "Its `seats` are SEATS_DEFAULT, or as many as plans were wanted if its `answer` is `plan`."
        if beacon.answer != "plan" and beacon.seats != SEATS_DEFAULT:
            raise wrong(f"has {beacon.seats} seats where a question has {SEATS_DEFAULT}")
        self.beacon, self.issued_ms = beacon, envelope.issued_ms
        task = self.task
        task.phase, task.beacon_id, task.answer_kind = Phase.BIDDING, envelope.id, beacon.answer
        task.committee = beacon.seats
        task.requirement = Requirement(beacon.skill, 0)

    def _on_bid(self, envelope: Envelope, bid: Bid) -> None:
        if bid.beacon != self.task.beacon_id:
            raise wrong("bids on another beacon")
        if envelope.sender in self.task.bids:
            raise wrong("is a second bid of one bidder")
        self.task.bids[envelope.sender] = ReceivedBid(envelope.sender, envelope.id, bid)

    def _on_ack(self, envelope: Envelope, ack: BidAck) -> None:
        bid = self.task.bids.get(envelope.to) if isinstance(envelope.to, bytes) else None
        if bid is None or bid.id != ack.bid:
            raise wrong("acknowledges no bid of its recipient")
        # specs/11-receipt.md: "stands before all awards."
        if self.task.phase is not Phase.BIDDING:
            raise wrong("acknowledges a bid after the awards, which only bids before them are promised")
        self.acknowledged.add(bid.bidder)
        self.task.acks[bid.bidder] = envelope.data

    # --- Awards

    def _on_award(self, envelope: Envelope, award: Award) -> None:
        task, step = self.task, self._step
        bid = task.bids.get(envelope.to) if isinstance(envelope.to, bytes) else None
        if award.beacon != task.beacon_id or bid is None or bid.id != award.bid:
            raise wrong("awards no bid of its recipient on this beacon")
        if (award.question, award.nonce) != (step.question, step.nonce):
            raise wrong("gives another question than the receipt's")
        if any(seat.peer == bid.bidder for seat in task.seats):
            raise wrong("awards one bid again")
        if task.awards >= AWARDS_MAX:
            raise wrong(f"is more than the {AWARDS_MAX} awards that a task may make")
        self._look_at(award.view)
        self._check_turn(bid)
        self._check_seat(award, bid)
        task.phase = Phase.RUNNING
        task.seats.append(Seat(award.seat, bid, envelope.id, 0, 0, award.round))

    def _look_at(self, named: bytes) -> None:
        """Take the view that an award names: it must hold every bid that was acknowledged, and go on from the one before."""
        task = self.task
        if named == task.view_hash:
            return
        data = next((view for view in self._step.views if view_hash(view) == named), None)
        if data is None:
            raise wrong("names a view that the receipt does not hold")
        view, ids = parse_view(data)
        bids = []
        for bidder, bid_id in ids.items():
            bid = task.bids.get(bidder)
            if bid is None or bid.id != bid_id:
                raise wrong(f"names a view with a bid of {_short(bidder)} that is not in the receipt before it")
            bids.append(bid)
        # specs/11-receipt.md: "for bids that stand before it and for every bid acknowledged"
        for bidder in sorted(self.acknowledged - ids.keys()):
            raise wrong(f"names a view without the bid of {_short(bidder)}, which was acknowledged")
        if task.view is not None:
            self._check_goes_on(task.view, view)
        task.view, task.view_hash, task.view_data, task.options = view, named, data, view.options
        self.views.append(view)
        free = [bid for bid in bids if bid.bidder not in task.gone]
        ranked = allocate(task.beacon_id, task.committee, free, view)
        self._queue = [*ranked.seats, *ranked.reserves]
        if len(self.views) == 1:
            asked = asked_of(task, ranked.seats)
            self._asked = len(asked)
            self._queue.sort(key=lambda bid: bid not in asked)

    def _check_goes_on(self, before: View, view: View) -> None:
        if self._left():
            raise wrong("names another view while there are bidders left of the one before")
        same = all(view.counts.get(bidder) == counts for bidder, counts in before.counts.items())
        clusters = {bidder: number for bidder, number in view.clusters.items() if bidder in before.counts}
        if not same or clusters != before.clusters or view.options != before.options:
            raise wrong("names a view that changes what the one before it said of a bidder")

    def _left(self) -> list[ReceivedBid]:
        """Who is next by the view that holds now."""
        held = {seat.peer for seat in self.task.seats}
        return [bid for bid in self._queue if bid.bidder not in held and bid.bidder not in self.task.gone]

    def _check_turn(self, bid: ReceivedBid) -> None:
        left = self._left()
        # specs/11-receipt.md: "Who is awarded is the first who has no award yet and is not gone"
        if not left or left[0].bidder != bid.bidder:
            turn = f"{_short(left[0].bidder)} was" if left else "nobody was"
            raise wrong(f"goes to {_short(bid.bidder)} where {turn} next by the view that it names")

    def _check_seat(self, award: Award, bid: ReceivedBid) -> None:
        """Seats are numbered as they are given; one that brought no answer is given again, and more are given rarely."""
        task = self.task
        numbers = {seat.number for seat in task.seats}
        if award.seat in numbers:
            held = [seat for seat in task.seats if seat.number == award.seat][-1]
            if not self._brought_nothing(held):
                raise wrong(f"gives out seat {award.seat} again while {_short(held.peer)} has it")
            if task.gate is Gate.ALONE:
                # The one that was asked alone did not do, so its committee is asked after all.
                task.gate, self._asked = Gate.WIDENED, task.committee
        elif award.seat != len(numbers):
            raise wrong(f"gives out seat {award.seat} where {len(numbers)} is the next")
        elif len(numbers) >= self._asked:
            self._check_further(award, bid)

    def _check_further(self, award: Award, bid: ReceivedBid) -> None:
        """More seats than a committee has are given only where the lead is thin and no answer is waited for."""
        task = self.task
        owed = task.owed(seat for seat in task.seats if seat.open and seat.number < self._asked)
        due = may_ask_more(task) and is_thin(tally(task.id, task.cast())) and decided(task.id, task.cast(), owed)
        if not due or task.further >= EXTRA_SEATS_MAX or task.weight(bid) == 0:
            raise wrong(f"gives out seat {award.seat}, which the allocation does not give")
        task.further += 1

    def _brought_nothing(self, seat: Seat) -> bool:
        abstained = any(report.peer == seat.peer and report.state == "abstained" for report in self.task.reports)
        return seat.state is SeatState.FAILED or abstained

    # --- Leases

    def _on_lease(self, envelope: Envelope, message: Accept | Decline | Commit | Reveal | Cancel) -> None:
        seat = self._held(message.award)
        if seat.peer != (envelope.to if isinstance(message, Cancel) else envelope.sender):
            raise wrong("is of another node than the award's")
        match message:
            case Cancel():
                pass  # takes back what the notes say is over
            case Commit():
                self._on_commit(seat, message)
            case Reveal():
                self._on_reveal(seat, message)
            case Decline():
                self._fail(seat, "decline", f"declined: {message.reason}")
            case Accept():
                seat.move("accept")

    def _held(self, award_id: bytes) -> Seat:
        """The seat under an award; a revision is the later one of two."""
        seat = next((seat for seat in reversed(self.task.seats) if seat.award_id == award_id), None)
        if seat is None:
            raise wrong("names no award of the receipt")
        return seat

    def _on_commit(self, seat: Seat, commit: Commit) -> None:
        if commit.round != self.task.round:
            raise wrong(f"commits for round {commit.round} where {self.task.round} was open")
        seat.move("commit")
        seat.round, seat.commit = commit.round, commit

    def _on_set(self, envelope: Envelope, sealed: CommitSet) -> None:
        """The first copy closes the round with exactly the commitments that are there; the others say the same."""
        if sealed.round in self._sets:
            if sealed != self._sets[sealed.round]:
                raise wrong(f"is another commit set for round {sealed.round}, which is a fault")
        else:
            if sealed.round != self.task.round:
                raise wrong(f"seals round {sealed.round} where {self.task.round} was open")
            bound = {seat.peer: seat for seat in self.task.seats if seat.state is SeatState.COMMITTED}
            members = dict(sealed.members)
            # specs/11-receipt.md: "The first `commit_set` of the open round holds exactly the commitments that stand, and opens
            # the next one"
            for peer in sorted(bound.keys() | members.keys()):
                commit = bound[peer].commit if peer in bound else None
                if commit is None or members.get(peer) != commit.commitment:
                    raise wrong(f"does not hold what {_short(peer)} committed to")
            self._sets[sealed.round] = sealed
            self.task.round += 1
            for peer in sorted(bound):
                bound[peer].move("set")
        if not any(seat.peer == envelope.to for seat in self.task.seats):
            raise wrong("goes to a node that was not awarded")

    def _on_reveal(self, seat: Seat, reveal: Reveal) -> None:
        task, commit = self.task, seat.commit
        if commit is None or reveal.round != seat.round:
            raise wrong("opens a commitment that was not made")
        bound = commitment(self._network, self._id, seat.round, seat.peer, reveal.nonce, reveal.answer)
        if seat.state is SeatState.SEALED and bound != commit.commitment:
            # Its author's fault, and no vote.
            self.facts["mismatched"] += 1
            self._fail(seat, "mismatch", "opened another answer")
            return
        seat.move("reveal")
        opened(task, seat, reveal.answer)

    def _fail(self, seat: Seat, event: str, reason: str) -> None:
        seat.move(event)
        if not seat.revision:
            self.task.reports.append(SeatReport(seat.number, seat.peer, reason))

    # --- What members say of each other's answers

    def _on_judge(self, envelope: Envelope, judge: Judge) -> None:
        """The first one asks whom the rules say, and the others say the same."""
        task = self.task
        if task.phase is not Phase.JUDGING:
            if any(seat.open for seat in task.seats):
                raise wrong("asks for a judgement while an answer is owed")
            task.phase, self._duties = Phase.JUDGING, judges_of(task)
        if not self._duties or (self._duties[0][0].judge, self._duties[0][1]) != (envelope.to, judge):
            raise wrong("asks for a judgement that is not due")
        task.asked[judge.award, judge.number] = self._duties.pop(0)[0]
        self.facts["judges"] += 1

    def _on_refine(self, envelope: Envelope, refine: Refine) -> None:
        """The same for a revision, of which a round has one by each member."""
        task = self.task
        if not self._revisions:
            if any(seat.open for seat in task.seats) or task.refined >= task.refine:
                raise wrong("asks for a revision that was not wanted, or while an answer is owed")
            task.refined, self._revisions = task.refined + 1, revisions_of(task)
        if not self._revisions or (self._revisions[0][0].peer, self._revisions[0][1]) != (envelope.to, refine):
            raise wrong("asks for a revision that is not due")
        task.seats.append(revision(self._revisions.pop(0)[0], refine, 0, 0))

    # --- The requester's word

    def _note(self, event: str, subject: bytes) -> None:
        try:
            self._take_note(event, subject)
        except RemoteProtocolError as error:
            raise wrong(f"its note that {subject.hex()[:16]} was {event}: {error}") from error

    def _take_note(self, event: str, subject: bytes) -> None:
        task = self.task
        if event == "gone":
            if subject not in task.bids or subject in task.gone:
                raise wrong("nobody who had bid")
            task.gone.add(subject)
        else:
            seat = self._held(subject)
            if event == "unneeded" and not self.facts[event]:
                self._check_unneeded()
            self.facts["withheld" if event == "expired" and seat.state is SeatState.SEALED else event] += 1
            self._fail(seat, event, event)

    def _check_unneeded(self) -> None:
        """Nobody is sent away whose answer could still change the result; of free text every answer could."""
        task = self.task
        owed = task.owed(seat for seat in task.seats if seat.open)
        if task.answer_kind == "text" or not decided(task.id, task.settled(), owed):
            raise wrong("its answer could have changed the result")

    # --- The end

    def _end(self) -> None:
        task, reason = self.task, self._step.reason
        if self.beacon is None:
            raise wrong("it has no beacon")
        if reason == "no_bids" and (task.seats or any(bidder not in task.gone for bidder in task.bids)):
            raise wrong("it says that nobody bid, and somebody did")
        if reason == "settled" and not task.seats:
            raise wrong("it ended without an award, and somebody had bid or its time was up")
        numbers = {seat.number for seat in task.seats}
        if task.gate is not Gate.WIDENED and len(numbers) < self._asked:
            raise wrong(f"it awarded {len(numbers)} of the {self._asked} seats that the allocation gives")
        if self._duties or self._revisions:
            raise wrong("somebody was not asked for a judgement or a revision, and the others were")
        for seat in task.seats:
            # specs/11-receipt.md: "In the end no seat is open."
            if seat.open:
                raise wrong(f"it ended while {_short(seat.peer)} had seat {seat.number}")
        if len(self._step.views) != len(self.views):
            raise wrong("it holds a view that no award names")


def _short(peer: bytes) -> str:
    return peer_id(peer)[-8:]


def _named(data: bytes) -> str:
    """What a message that does not hold says that it is, if that can be read."""
    try:
        fields = canonical.decode(data[SIGNATURE_SIZE:])
    except RemoteProtocolError:
        return ""
    kind = fields.get("type") if isinstance(fields, dict) else None
    return f" ({kind})" if isinstance(kind, str) and kind in _TYPES else ""
