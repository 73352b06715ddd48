"""One seat of a task at its requester: who holds it and how far its answer is (specs/08-execution.md).

Each seat goes through the table `SEAT`; what is absent from it is illegal:

    offered  --accept--> accepted          offered, accepted --commit--> committed
    accepted --progress--> accepted        committed --set--> sealed --reveal--> done

    offered, accepted --decline--> failed  sealed --mismatch--> failed
    every open one --expired, lost, unneeded--> failed

A seat that failed is offered to the next reserve bidder, or stays empty when there is none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.allocation import ReceivedBid
from protocol.ballot import Commit
from protocol.errors import RemoteProtocolError


class SeatState(enum.Enum):
    """Where a lease stands."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    COMMITTED = "committed"
    SEALED = "sealed"
    DONE = "done"
    FAILED = "failed"


SEAT: Final[Mapping[tuple[SeatState, str], SeatState]] = MappingProxyType(
    {
        (SeatState.OFFERED, "accept"): SeatState.ACCEPTED,
        (SeatState.OFFERED, "commit"): SeatState.COMMITTED,
        (SeatState.OFFERED, "decline"): SeatState.FAILED,
        (SeatState.OFFERED, "expired"): SeatState.FAILED,
        (SeatState.OFFERED, "lost"): SeatState.FAILED,
        (SeatState.OFFERED, "unneeded"): SeatState.FAILED,
        (SeatState.ACCEPTED, "progress"): SeatState.ACCEPTED,
        (SeatState.ACCEPTED, "commit"): SeatState.COMMITTED,
        (SeatState.ACCEPTED, "decline"): SeatState.FAILED,
        (SeatState.ACCEPTED, "expired"): SeatState.FAILED,
        (SeatState.ACCEPTED, "lost"): SeatState.FAILED,
        (SeatState.ACCEPTED, "unneeded"): SeatState.FAILED,
        (SeatState.COMMITTED, "set"): SeatState.SEALED,
        (SeatState.COMMITTED, "expired"): SeatState.FAILED,
        (SeatState.COMMITTED, "lost"): SeatState.FAILED,
        (SeatState.COMMITTED, "unneeded"): SeatState.FAILED,
        (SeatState.SEALED, "reveal"): SeatState.DONE,
        (SeatState.SEALED, "mismatch"): SeatState.FAILED,
        (SeatState.SEALED, "expired"): SeatState.FAILED,
        (SeatState.SEALED, "lost"): SeatState.FAILED,
        (SeatState.SEALED, "unneeded"): SeatState.FAILED,
    }
)
# An executor at work, and one that still owes something.
_AT_WORK: Final = (SeatState.OFFERED, SeatState.ACCEPTED)
_OPEN: Final = (*_AT_WORK, SeatState.COMMITTED, SeatState.SEALED)


@dataclass(slots=True)
class Seat:
    """One lease: who holds it, under which award, until when without a sign of life.

    `signs` of life renew it, but from `yields_mono_ms` on a reserve takes the seat all the same. `round` is the sealed round
    that its answer is for, `commit` what binds its holder and `commit_data` the envelope that proves it. A `revision` is a
    further one under the same award: when it fails, what its holder answered before stands.
    """

    number: int
    holder: ReceivedBid
    award_id: bytes
    expires_mono_ms: int
    yields_mono_ms: int
    round: int
    signs: int = 0
    state: SeatState = SeatState.OFFERED
    commit: Commit | None = None
    commit_data: bytes = b""
    revision: bool = False

    def move(self, event: str) -> None:
        """Take an event; raises `RemoteProtocolError` if the table does not allow it."""
        state = SEAT.get((self.state, event))
        if state is None:
            raise RemoteProtocolError("state", f"{event} of a seat that is {self.state.value}")
        self.state = state

    @property
    def peer(self) -> bytes:
        """Who holds it."""
        return self.holder.bidder

    @property
    def at_work(self) -> bool:
        """Whether an answer is still to come."""
        return self.state in _AT_WORK

    @property
    def open(self) -> bool:
        """Whether its holder still owes something."""
        return self.state in _OPEN
