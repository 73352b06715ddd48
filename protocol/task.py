"""The state of one task at its requester.

A task goes calibrating -> bidding -> running -> ended. Each seat goes through the table `SEAT`, what is absent from it is
illegal and ignored:

    offered  --accept-->   accepted        offered, accepted --result--> done
    accepted --progress--> accepted        offered, accepted --decline, expired, lost--> failed

A failed seat is offered to the next reserve bidder, or stays empty when there is none.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from protocol.allocation import ReceivedBid, View
from protocol.exercises import Exercise
from protocol.messages import StepId
from protocol.outcome import SeatReport
from protocol.requirement import Requirement


class Phase(enum.Enum):
    """Where a task stands."""

    CALIBRATING = "calibrating"
    BIDDING = "bidding"
    RUNNING = "running"


class SeatState(enum.Enum):
    """Where a lease stands."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"


SEAT: Final[Mapping[tuple[SeatState, str], SeatState]] = MappingProxyType(
    {
        (SeatState.OFFERED, "accept"): SeatState.ACCEPTED,
        (SeatState.OFFERED, "result"): SeatState.DONE,
        (SeatState.OFFERED, "decline"): SeatState.FAILED,
        (SeatState.OFFERED, "expired"): SeatState.FAILED,
        (SeatState.OFFERED, "lost"): SeatState.FAILED,
        (SeatState.ACCEPTED, "progress"): SeatState.ACCEPTED,
        (SeatState.ACCEPTED, "result"): SeatState.DONE,
        (SeatState.ACCEPTED, "decline"): SeatState.FAILED,
        (SeatState.ACCEPTED, "expired"): SeatState.FAILED,
        (SeatState.ACCEPTED, "lost"): SeatState.FAILED,
    }
)


@dataclass(slots=True)
class Seat:
    """One lease: who holds it, under which award, until when without a sign of life.

    `signs` of life renew it, but from `yields_mono_ms` on a reserve takes the seat all the same.
    """

    number: int
    holder: ReceivedBid
    award_id: bytes
    expires_mono_ms: int
    yields_mono_ms: int
    signs: int = 0
    state: SeatState = SeatState.OFFERED


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
    # Bidders whose channel ended: they stand in the views and get no seat.
    gone: set[bytes] = field(default_factory=set)
    view: View | None = None
    view_hash: bytes = b""
    seats: list[Seat] = field(default_factory=list)
    reserves: deque[ReceivedBid] = field(default_factory=deque)
    reports: list[SeatReport] = field(default_factory=list)
    texts: dict[bytes, str] = field(default_factory=dict)
    messages: int = 0
    bytes_total: int = 0
    # Audited peers; empty for a question. Only these are offered a seat.
    examinees: tuple[bytes, ...] = ()

    @property
    def step_id(self) -> StepId:
        """The one step of a task without a plan."""
        return StepId(self.id)

    def count(self, size: int) -> None:
        """Account for one envelope sent or received."""
        self.messages += 1
        self.bytes_total += size
