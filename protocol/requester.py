"""The requester's side: beacon, bids, award, leases, vote, outcome (specs/07-beacon.md, specs/08-execution.md).

Questions and audits take the same path with the same sizes and timing, so an executor cannot tell one from the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from protocol.allocation import ReceivedBid
from protocol.ballot import Commit, Reveal
from protocol.constants import BIDS_MAX, LEASE_MS, PROGRESS_MAX, SEATS_DEFAULT, WINDOW_MS_MAX, WINDOW_MS_MIN
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.messages import Accept, Beacon, Bid, BidAck, Decline, Progress, input_hash
from protocol.outbox import Outbox
from protocol.outcome import SeatReport
from protocol.own_ledger import OwnLedger
from protocol.parameters import Parameters
from protocol.post import Post
from protocol.rounds import Rounds
from protocol.seating import Seating, has_vote
from protocol.seats import Seat, SeatState
from protocol.standing import Standing
from protocol.step import StepId
from protocol.task import Phase, Task

# What an executor says about its lease.
LeaseMessage = Accept | Progress | Decline | Commit | Reveal


class Requester:
    """Tasks of this node as requester. `finish` is called once with each task that ended and why.

    `suspect` is given the bytes of a commitment and of an opening that does not match it.
    """

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        standing: Standing,
        entropy: Callable[[int], bytes],
        finish: Callable[[Task, str], None],
        ledger: OwnLedger,
        suspect: Callable[[bytes, bytes], None],
    ) -> None:
        self._suspect = suspect
        self._post = Post(outbox, ledger)
        self._revision = parameters.revision
        self._standing = standing
        self._seating = Seating(self._post, standing)
        self._rounds = Rounds(self._post)
        self._entropy = entropy
        self._finish = finish
        self._tasks: dict[StepId, Task] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks(self) -> list[Task]:
        """Tasks that have not ended, oldest first."""
        return list(self._tasks.values())

    # --- Beacon

    def add(self, task: Task) -> None:
        """Take in a task; it goes out with `open`."""
        self._tasks[task.step_id] = task

    def open(self, task: Task) -> None:
        """Publish the beacon, which binds the question without showing it."""
        task.phase, task.opened_mono_ms = Phase.BIDDING, self._post.mono_ms
        # That of an audit stands in its batch, which is committed by now.
        task.nonce = task.nonce or self._entropy(32)
        step = task.step_id
        beacon = Beacon(
            step.task,
            step.plan,
            step.step,
            task.requirement.skill,
            task.answer_kind,
            input_hash(task.nonce, task.question, task.answer_kind, task.tokens_max),
            SEATS_DEFAULT,
            task.tokens_max,
            WINDOW_MS_MAX,
            # What was asked for, not what is left: a question that waited would be told from an audit by the difference.
            # Who is still at it when the requester's own time is up gets a cancel.
            task.ends_mono_ms - task.begun_mono_ms,
            self._revision,
            *self._post.head(),
        )
        task.beacon_id = self._post.publish(task, beacon).id
        self._post.log("beacon", task, {"skill": beacon.skill})

    def on_bid(self, envelope: Envelope, bid: Bid) -> None:
        """Take a bid, one a bidder, and acknowledge it by signature; after the window it waits for a seat that fails.

        The signature promises that the bid stands in every view of this beacon, so one that came too late for that gets none.
        """
        task = self._tasks.get(bid.step_id)
        if task is None or task.phase is Phase.CALIBRATING or bid.beacon != task.beacon_id:
            raise RemoteProtocolError("late", "a bid for no open beacon of ours")
        bidder = envelope.sender
        if bidder in task.bids:
            raise RemoteProtocolError("repeated", "a second bid of one bidder")
        if task.audit is None and self._standing.rests(bidder) and self._standing.has_other(bidder, task):
            raise RemoteProtocolError("resting", "let a lease run out a moment ago, and another is there who did not")
        # The second half is kept for who earned a weight, or a swarm of new names could bid first and shut them out.
        if len(task.bids) >= (BIDS_MAX if self._standing.weighs(bidder, task) else BIDS_MAX // 2):
            raise RemoteProtocolError("limit", "too many bids")
        task.bids[bidder] = ReceivedBid(bidder, envelope.id, bid)
        task.count(envelope.size)
        task.transcript.append(envelope.data)
        if task.phase is Phase.BIDDING:
            task.acks[bidder] = self._post.send(task, bidder, BidAck(bid.task, bid.plan, bid.step, envelope.id)).data
        self._post.log("bid", task, {"queued": bid.queued}, bidder)

    def _window_closes(self, task: Task) -> bool:
        """Whether waiting for more bids cannot help, or has lasted long enough."""
        elapsed_ms = self._post.mono_ms - task.opened_mono_ms
        if elapsed_ms >= WINDOW_MS_MAX:
            return True
        skill, standing = task.requirement.skill, self._standing
        expected = list(task.examinees) or [peer for peer in standing.candidates(skill) if not standing.rests(peer)]
        if expected and all(peer in task.bids for peer in expected):
            return True
        if task.examinees:
            return sum(peer in task.bids for peer in expected) >= SEATS_DEFAULT
        earned = [peer for peer in expected if standing.weighs(peer, task)]
        earned.sort(key=lambda peer: (-standing.counts(peer, skill).mean(task.options), peer))
        # Who earned a weight alone can decide: strangers who offer everything and never bid hold up nobody.
        if earned and all(peer in task.bids for peer in earned[:SEATS_DEFAULT]):
            return True
        return elapsed_ms >= WINDOW_MS_MIN and sum(peer in task.bids for peer in earned) >= SEATS_DEFAULT

    # --- Leases

    def on_lease_message(self, envelope: Envelope, message: LeaseMessage) -> None:
        """Move the seat whose award the message names, if its sender holds it."""
        task, seat = self._seat(envelope, message.step_id, message.award)
        task.count(envelope.size)
        if not isinstance(message, Progress):
            task.transcript.append(envelope.data)
        try:
            self._take(task, seat, message)
        except RemoteProtocolError:
            if not isinstance(message, Progress):
                # Nothing came of it, and a holder that repeats itself must not fill the transcript.
                task.transcript.pop()
            raise
        self._settle(task)

    def _take(self, task: Task, seat: Seat, message: LeaseMessage) -> None:
        match message:
            case Commit():
                self._rounds.commit(task, seat, message)
            case Reveal():
                self._reveal(task, seat, message)
            case Decline():
                self._fail(task, seat, "decline", f"declined: {message.reason}")
            case Accept() | Progress():
                self._sign_of_life(seat, message.TYPE)

    def _sign_of_life(self, seat: Seat, event: str) -> None:
        seat.move(event)
        seat.signs += 1
        if seat.signs > PROGRESS_MAX:
            raise RemoteProtocolError("limit", "more signs of life than a lease can need")
        seat.expires_mono_ms = self._post.mono_ms + LEASE_MS

    def _reveal(self, task: Task, seat: Seat, reveal: Reveal) -> None:
        report = self._rounds.reveal(task, seat, reveal)
        if report is None:
            self._suspect(seat.commit_data, task.transcript[-1])
            self._fail(task, seat, "mismatch", "opened another answer")
        elif report.answer is None and task.audit is None and not has_vote(task):
            self._seating.award_again(task, seat)

    def on_unreachable(self, peer: bytes) -> None:
        """A channel ended: its leases go to the next bids now rather than when they expire."""
        for task in self.tasks():
            # An award to who is gone would only wait for an accept that cannot come.
            task.leave(peer)
            for seat in list(task.seats):
                if seat.peer == peer and seat.open:
                    self._fail(task, seat, "lost", "connection lost")
            task.reserves = deque(bid for bid in task.reserves if bid.bidder != peer)
            self._settle(task)

    def _seat(self, envelope: Envelope, step: StepId, award: bytes) -> tuple[Task, Seat]:
        task = self._tasks.get(step)
        seat = next((seat for seat in task.seats if seat.award_id == award), None) if task else None
        if task is None or seat is None:
            raise RemoteProtocolError("late", "names no lease of a task at work")
        if seat.peer != envelope.sender:
            raise RemoteProtocolError("impostor", "speaks for another executor's lease")
        return task, seat

    def _fail(self, task: Task, seat: Seat, event: str, reason: str) -> None:
        seat.move(event)
        if event in ("expired", "lost"):
            task.note(event, seat.award_id)
        task.reports.append(SeatReport(seat.number, seat.peer, reason))
        self._post.log("lease_missed", task, {"seat": seat.number, "reason": event}, seat.peer)
        self._seating.award_again(task, seat)

    def _settle(self, task: Task) -> None:
        """Close the round if nobody else is waited for, and end the task when nothing can change its answer any more."""
        if task.phase is not Phase.RUNNING or task.step_id not in self._tasks:
            return
        self._rounds.close_if_due(task)
        if not self._rounds.stops(task) or self._seating.ask_more(task):
            return
        for seat in task.seats:
            if seat.open:
                # No fault of its holder's: nothing that it says could change anything.
                task.stopped = True
                self._take_back(task, seat, "unneeded", "not needed")
        self._end(task, "settled")

    # --- Time

    def deadline_ms(self) -> int | None:
        """The earliest instant at which some task has something to do."""
        return min((self._next_ms(task) for task in self._tasks.values()), default=None)

    def _next_ms(self, task: Task) -> int:
        if task.phase is Phase.BIDDING:
            elapsed_ms = self._post.mono_ms - task.opened_mono_ms
            window_ms = WINDOW_MS_MIN if elapsed_ms < WINDOW_MS_MIN else WINDOW_MS_MAX
            return min(task.ends_mono_ms, task.opened_mono_ms + window_ms)
        due = [seat.expires_mono_ms for seat in task.seats if seat.open and seat.state is not SeatState.COMMITTED]
        due += [seat.yields_mono_ms for seat in task.seats if self._seating.may_yield(task, seat)]
        return min([self._rounds.deadline_ms(task), *due])

    def advance(self) -> None:
        """Close windows and rounds, expire leases, end tasks at their deadline."""
        for task in self.tasks():
            if task.ends_mono_ms <= self._post.mono_ms:
                self._break_off(task)
            elif task.phase is Phase.BIDDING and self._window_closes(task):
                if not self._seating.award(task):
                    self._end(task, "no_bids")
            elif task.phase is Phase.RUNNING and self._next_ms(task) <= self._post.mono_ms:
                for seat in list(task.seats):
                    if self._over(task, seat):
                        self._expire(task, seat)
                self._settle(task)

    def _break_off(self, task: Task) -> None:
        """The deadline came."""
        # A time that was too short for all says nothing about those who were at it.
        enough = any(seat.state is SeatState.DONE for seat in task.seats)
        for seat in task.seats:
            if not seat.open:
                continue
            if seat.at_work and (enough or seat.yields_mono_ms <= self._post.mono_ms):
                self._standing.rest(seat.peer)
            self._take_back(task, seat, "expired", "deadline")
        self._end(task, "deadline")

    def _take_back(self, task: Task, seat: Seat, event: str, reason: str) -> None:
        seat.move(event)
        task.note(event, seat.award_id)
        task.reports.append(SeatReport(seat.number, seat.peer, reason))
        self._post.cancel(task, seat.peer, seat.award_id)

    def _over(self, task: Task, seat: Seat) -> bool:
        """Whether a seat's holder let its time run out; who has committed waits for the others."""
        now_ms = self._post.mono_ms
        if not seat.open or seat.state is SeatState.COMMITTED:
            return False
        return seat.expires_mono_ms <= now_ms or (seat.yields_mono_ms <= now_ms and self._seating.may_yield(task, seat))

    def _expire(self, task: Task, seat: Seat) -> None:
        self._post.cancel(task, seat.peer, seat.award_id)
        self._standing.rest(seat.peer)
        self._fail(task, seat, "expired", "lease expired" if seat.at_work else "withheld")

    def _end(self, task: Task, reason: str) -> None:
        del self._tasks[task.step_id]
        self._finish(task, reason)
