"""A question from its beacon to its receipt, told envelope by envelope, so that each lie of a requester can be told as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from contrib.vectors.keys import KEYS, NETWORK, SIGNERS, TASK, WALL_MS
from protocol import canonical
from protocol.allocation import ALONE, ReceivedBid, View, allocate, view_hash
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.conclusion import outcome_of
from protocol.constants import EVIDENCE_ONE, SEATS_DEFAULT
from protocol.envelope import envelope_id, seal
from protocol.errors import RemoteProtocolError
from protocol.evidence import Counts
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, input_hash
from protocol.outbox import BEACONS
from protocol.parameters import preset
from protocol.receipt import Result, StepReceipt
from protocol.replay import Replay
from protocol.review import Judge, Judgement, Refine
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.step import StepId

REQUESTER: Final = 0
QUESTION: Final = "What is 3 + 4?"
NONCE: Final = b"\x0b" * 32
_DEV: Final = preset("dev")
_EMPTY: Final = Result(
    "no bids", voted=True, answer=None, earned=False, margin=0, support=(), dissent=0, abstained=0, coverage=0
)


class Story:
    """The requester has key 0; bidder n is key n + 1, with the hits and misses of row n of `known` and its cluster.

    `place` holds the number of a plan and of its step, `seats` is how many the beacon asks for.
    """

    def __init__(
        self,
        known: Sequence[tuple[int, ...]],
        kind: str = "number",
        head_number: int = 0,
        refine: int = 0,
        *,
        place: tuple[int, int] = (0, 0),
        skill: str = "arith",
        question: str = QUESTION,
        seats: int = SEATS_DEFAULT,
    ) -> None:
        self.known = [(*row, ALONE)[:3] for row in known]
        self.kind = kind
        self.head_number = head_number
        self.refine = refine
        # What each message of the step begins with.
        self.place = (TASK, *place)
        self.skill = skill
        self.question = question
        self.seats = seats
        self.said: Counter[tuple[int, bytes | str, str]] = Counter()
        self.transcript: list[bytes] = []
        self.views: list[bytes] = []
        self.notes: list[tuple[int, str, bytes]] = []
        self.beacon_id = bytes(32)
        self.view_hash = bytes(32)
        # Bidders in the order of claim of the latest view.
        self.order: list[int] = []
        self.bids: dict[int, ReceivedBid] = {}
        self.awards: dict[int, bytes] = {}
        self.bound: dict[int, bytes] = {}
        self.nonces: dict[int, bytes] = {}

    def say(self, by: int, to: bytes | str, message: Message) -> bytes:
        """Add an envelope by the node with key `by`; gives its id."""
        # Dated by how often the same was said and not by the order, so that stories have most of their bytes in common.
        said = (by, to, message.TYPE)
        self.said[said] += 1
        data = seal(SIGNERS[by], NETWORK, message.TYPE, to, message.body(), WALL_MS + self.said[said], 60_000)
        self.transcript.append(data)
        return envelope_id(data)

    def ask(self, question: str | None = None, to: str = BEACONS) -> None:
        """Publish the beacon."""
        bound = input_hash(NONCE, question or self.question, self.kind, 256)
        head = b"\x0c" * 32 if self.head_number else bytes(32)
        beacon = Beacon(
            *self.place,
            self.skill,
            self.kind,
            bound,
            self.seats,
            256,
            1_500,
            60_000,
            _DEV.revision,
            head,
            self.head_number,
        )
        self.beacon_id = self.say(REQUESTER, to, beacon)

    def bid(self, bidder: int, beacon: bytes | None = None) -> None:
        """A bid."""
        made = Bid(*self.place, beacon or self.beacon_id, 0, 1, 100)
        self.bids[bidder] = ReceivedBid(KEYS[bidder + 1], self.say(bidder + 1, KEYS[REQUESTER], made), made)

    def acknowledge(self, bidder: int, by: int = REQUESTER, bid: bytes | None = None) -> None:
        """An acknowledgement."""
        self.say(by, KEYS[bidder + 1], BidAck(*self.place, bid or self.bids[bidder].id))

    def hear(self, *bidders: int) -> None:
        """The beacon, and bids that are acknowledged."""
        self.ask()
        for bidder in bidders:
            self.bid(bidder)
            self.acknowledge(bidder)

    def look(self, *, without: int | None = None, **changes: object) -> None:
        """Make the view of all bids, but for `changes` of what is encoded."""
        bids = [bid for bidder, bid in self.bids.items() if bidder != without]
        counts, clusters = {}, {}
        for bidder, (hits, misses, cluster) in enumerate(self.known):
            counts[KEYS[bidder + 1]] = Counts(hits * EVIDENCE_ONE, misses * EVIDENCE_ONE)
            if cluster != ALONE:
                clusters[KEYS[bidder + 1]] = cluster
        view = View(_DEV.skills[self.skill].options, 0, counts, clusters)
        fields = canonical.decode(view.encode(bids))
        assert isinstance(fields, dict)
        data = canonical.encode(fields | changes)
        self.views.append(data)
        self.view_hash = view_hash(data)
        ranked = allocate(self.beacon_id, self.seats, bids, view)
        self.order = [KEYS.index(bid.bidder) - 1 for bid in (*ranked.seats, *ranked.reserves)]

    def award(self, bidder: int, seat: int, number: int = 0, **changes: object) -> None:
        """Award a seat for the sealed round `number`."""
        fields: dict[str, object] = {
            "beacon": self.beacon_id,
            "bid": self.bids[bidder].id,
            "view": self.view_hash,
            "seat": seat,
            "nonce": NONCE,
            "question": self.question,
            "lease_ms": 6_000,
            "round": number,
        }
        self.awards[bidder] = self.say(REQUESTER, KEYS[bidder + 1], Award(*self.place, **(fields | changes)))  # type: ignore[arg-type]

    def accept(self, bidder: int) -> None:
        """Take a lease."""
        self.say(bidder + 1, KEYS[REQUESTER], Accept(*self.place, self.awards[bidder]))

    def decline(self, bidder: int) -> None:
        """Give a lease back."""
        self.say(bidder + 1, KEYS[REQUESTER], Decline(*self.place, self.awards[bidder], "model"))

    def cancel(self, bidder: int) -> None:
        """Need an answer no more."""
        self.say(REQUESTER, KEYS[bidder + 1], Cancel(*self.place, self.awards[bidder]))

    def commit(self, bidder: int, answer: str | None, number: int = 0, by: int | None = None) -> None:
        """Commit to an answer for round `number`."""
        self.nonces[bidder] = bytes([16 * (number + 1) + bidder]) * 32
        self.bound[bidder] = commitment(NETWORK, StepId(*self.place), number, KEYS[bidder + 1], self.nonces[bidder], answer)
        sealed = Commit(*self.place, self.awards[bidder], number, self.bound[bidder], 20, 10, 50)
        self.say(bidder + 1 if by is None else by, KEYS[REQUESTER], sealed)

    def close(self, *bidders: int, number: int = 0, to: Sequence[int] | None = None) -> None:
        """Sign the set of these for round `number`, and send it to each, or to `to`."""
        members = tuple(sorted((KEYS[bidder + 1], self.bound[bidder]) for bidder in bidders))
        for bidder in bidders if to is None else to:
            self.say(REQUESTER, KEYS[bidder + 1], CommitSet(*self.place, number, members))

    def reveal(self, bidder: int, answer: str | None, number: int = 0, nonce: bytes | None = None) -> None:
        """Open an answer."""
        opened = Reveal(*self.place, self.awards[bidder], number, nonce or self.nonces[bidder], answer)
        self.say(bidder + 1, KEYS[REQUESTER], opened)

    def judge(self, bidder: int, number: int, first: str, second: str) -> None:
        """Ask a member which of two texts is better."""
        self.say(REQUESTER, KEYS[bidder + 1], Judge(*self.place, self.awards[bidder], number, first, second))

    def judgement(self, bidder: int, number: int, preference: str) -> None:
        """A member says it."""
        self.say(bidder + 1, KEYS[REQUESTER], Judgement(*self.place, self.awards[bidder], number, preference, 30, 1, 20))

    def revise(self, bidder: int, number: int, *answers: str) -> None:
        """Ask a member to answer again in round `number`, in view of others' answers."""
        self.say(REQUESTER, KEYS[bidder + 1], Refine(*self.place, self.awards[bidder], number, answers))

    def note(self, event: str, subject: bytes) -> None:
        """Keep what no envelope shows."""
        self.notes.append((len(self.transcript), event, subject))

    def step(self, reason: str) -> dict[str, Any]:
        """The step as a requester writes it down, with the result that follows; an empty one if the rules give none."""
        told = StepReceipt(
            *self.place[1:],
            self.question,
            NONCE,
            self.refine,
            tuple(self.transcript),
            tuple(self.views),
            tuple(self.notes),
            reason,
            _EMPTY.body(),
        )
        try:
            result = Result.of(outcome_of(Replay(NETWORK, KEYS[REQUESTER], TASK, told).run(), reason, 0))
        except RemoteProtocolError:
            result = _EMPTY
        return told.body() | {"result": result.body()}

    def receipt(self, reason: str = "settled") -> dict[str, Any]:
        """The fields of the receipt of this step alone."""
        step = self.step(reason)
        return receipt_of([step], step["result"])


def receipt_of(steps: Sequence[dict[str, Any]], result: dict[str, Any]) -> dict[str, Any]:
    """The fields of a receipt of the task."""
    return {
        "network": NETWORK,
        "requester": KEYS[REQUESTER],
        "task": TASK,
        "salt": b"\x0d" * 32,
        "made_ms": WALL_MS + 5_000,
        "steps": list(steps),
        "result": result,
    }
