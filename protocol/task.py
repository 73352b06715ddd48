"""The state of one task at its requester: calibrating -> bidding -> running (-> judging) -> ended.

Its seats stand in protocol/seats.py.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.allocation import ReceivedBid, View
from protocol.constants import SEATS_DEFAULT
from protocol.evidence import Counts
from protocol.exercises import Exercise
from protocol.outcome import Gate, SeatReport
from protocol.ranking import Judged, Text
from protocol.requirement import Requirement
from protocol.seats import Seat, SeatState
from protocol.step import StepId
from protocol.vote import Vote


class Phase(enum.Enum):
    """Where a task stands."""

    CALIBRATING = "calibrating"
    BIDDING = "bidding"
    RUNNING = "running"
    JUDGING = "judging"


@dataclass(frozen=True, slots=True)
class Pair:
    """The authors of two texts that `judge` was asked to compare."""

    judge: bytes
    first: bytes
    second: bytes


@dataclass(slots=True)
class Task:
    """One question on its way. `audit` is set when the answer is known and the executors are being examined."""

    id: bytes
    request: bytes | None
    question: str
    requirement: Requirement
    skill_given: bool
    answer_kind: str
    options: int
    tokens_max: int
    audit: Exercise | None
    begun_mono_ms: int
    ends_mono_ms: int
    phase: Phase = Phase.CALIBRATING
    opened_mono_ms: int = 0
    nonce: bytes = b""
    beacon_id: bytes = b""
    bids: dict[bytes, ReceivedBid] = field(default_factory=dict)
    # Bidders whose channel ended, or who ceased to be candidates: they stand in the views and get no seat.
    gone: set[bytes] = field(default_factory=set)
    # The views that awards name, encoded, by hash.
    views: dict[bytes, bytes] = field(default_factory=dict)
    view: View | None = None
    view_hash: bytes = b""
    view_data: bytes = b""
    # What of the counts in the view others' audits add.
    imported: dict[bytes, Counts] = field(default_factory=dict)
    seats: list[Seat] = field(default_factory=list)
    reserves: deque[ReceivedBid] = field(default_factory=deque)
    reports: list[SeatReport] = field(default_factory=list)
    # The bidders' acknowledgements, envelopes on the wire.
    acks: dict[bytes, bytes] = field(default_factory=dict)
    gate: Gate = Gate.COMMITTEE
    # Seats that were asked for because the margin was thin.
    further: int = 0
    # How often members may revise their answers, and how often they were asked to.
    refine: int = 0
    refined: int = 0
    # Judgements that are owed, by award and number, and those that came, with what they cost.
    asked: dict[tuple[bytes, int], Pair] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    judging_until_ms: int = 0
    judging_ms: int = 0
    judging_tokens: int = 0
    # The sealed round that takes commitments now.
    round: int = 0
    # When the open round closes without those who are still at work, and when the task ends without those who owe an answer.
    closes_mono_ms: int | None = None
    stops_mono_ms: int | None = None
    stopped: bool = False
    # Envelopes sent and received for it, raw and in order, signs of life left out: what a third party can be shown.
    transcript: list[bytes] = field(default_factory=list)
    # What only this node saw: how many envelopes stood before it, what happened, to which bidder or award.
    notes: list[tuple[int, str, bytes]] = field(default_factory=list)
    messages: int = 0
    bytes_total: int = 0
    # Audited peers; empty for a question. Only these are offered a seat.
    examinees: tuple[bytes, ...] = ()
    # Which plan's which step this is; both are 0 for a question as it was asked, and for its planners.
    plan: int = 0
    step: int = 0
    # Seats that the beacon offers.
    committee: int = SEATS_DEFAULT

    @property
    def step_id(self) -> StepId:
        """What its messages name it by."""
        return StepId(self.id, self.plan, self.step)

    def weight(self, bid: ReceivedBid) -> int:
        """What a bidder's vote weighs, by the evidence of the award's view and not today's.

        Whoever derives the award again derives the tally from the same.
        """
        return self.view.of(bid).weight(self.options) if self.view is not None else 0

    def cast(self) -> list[Vote]:
        """The votes that were opened, abstentions too."""
        return [
            Vote(report.peer, report.answer, report.weight, self.cluster(report.peer))
            for report in self.reports
            if report.state in ("answered", "abstained")
        ]

    def settled(self) -> list[Vote]:
        """The votes that no revision under way can change."""
        revising = {seat.peer for seat in self.seats if seat.revision and seat.open}
        return [vote for vote in self.cast() if vote.peer not in revising]

    def texts(self) -> list[Text]:
        """What was answered, with its authors."""
        return [Text(report.peer, report.answer, report.weight) for report in self.reports if report.answer is not None]

    def members(self) -> list[Seat]:
        """Those who answered, earned a weight and are still there, each once."""
        lost = {seat.peer for seat in self.seats if seat.revision and seat.state is SeatState.FAILED} | self.gone
        return [
            seat
            for seat in self.seats
            if seat.state is SeatState.DONE and not seat.revision and seat.peer not in lost and self.weight(seat.holder) > 0
        ]

    @property
    def awards(self) -> int:
        """Awards that were made."""
        return sum(not seat.revision for seat in self.seats)

    def owed(self, seats: Iterable[Seat]) -> list[Vote]:
        """The votes that the holders of some seats have not opened, with the weight that they have."""
        return [Vote(seat.peer, None, self.weight(seat.holder), self.cluster(seat.peer)) for seat in seats]

    def cluster(self, peer: bytes) -> int | None:
        """The number of those with whom a peer shares one voice, None if it stands alone."""
        return self.view.clusters.get(peer) if self.view is not None else None

    def leave(self, bidder: bytes) -> None:
        """A bidder is not there any more; its bid stays."""
        if bidder in self.bids and bidder not in self.gone:
            self.gone.add(bidder)
            self.note("gone", bidder)

    def note(self, event: str, subject: bytes) -> None:
        """Keep what no envelope shows."""
        self.notes.append((len(self.transcript), event, subject))

    def count(self, size: int) -> None:
        """Account for one envelope sent or received."""
        self.messages += 1
        self.bytes_total += size
