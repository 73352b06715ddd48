"""One peer: what is known of it, and what it may send (specs/05-capability.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.capability import Record
from protocol.constants import (
    BEACON_MS,
    BEACON_SHARE_BURST,
    BEACON_SHARE_MS,
    BEACONS_BURST,
    DIAL_BACKOFF_MS_MIN,
    FAULT_MS,
    FAULTS_BURST,
    HEADS_BURST,
    HEADS_MS,
    PULL_MS,
    PULLS_BURST,
    RECORD_MS,
    RECORDS_BURST,
    SEEK_MS,
    SEEKS_BURST,
    STRANGER_MS,
    STRANGERS_PER_SOURCE_MAX,
)
from protocol.meeting import Meeting
from protocol.rates import after_one

# What one peer may send of each: one more in so many milliseconds, and how many at once.
RATIONS: Final = {
    "beacons": (BEACON_MS, BEACONS_BURST),
    "beacons_share": (BEACON_SHARE_MS, BEACON_SHARE_BURST),
    "records": (RECORD_MS, RECORDS_BURST),
    "heads": (HEADS_MS, HEADS_BURST),
    "pulls": (PULL_MS, PULLS_BURST),
    "strangers": (STRANGER_MS, STRANGERS_PER_SOURCE_MAX),
    "faults": (FAULT_MS, FAULTS_BURST),
    "seeks": (SEEK_MS, SEEKS_BURST),
}


@dataclass(slots=True)
class Peer:
    """What is known of one peer. `record_data` is its signed envelope, to be handed on as it is.

    `tried` says whether it was ever connected or a dial ended: until then it may be about to join. `source` is who named
    it first, None for gossip. `hint` are addresses from an earlier run: to dial, and nothing else. `floor` is the `sequence` of
    the record that named them, while what its author said before may still hold.
    """

    source: bytes | None = None
    record: Record | None = None
    record_data: bytes = b""
    record_expires_ms: int = 0
    connected: bool = False
    tried: bool = False
    dialling: int | None = None
    dialled: tuple[str, ...] = ()
    backoff_ms: int = DIAL_BACKOFF_MS_MIN
    dial_at_ms: int = 0
    meeting: Meeting | None = None
    hint: tuple[str, ...] = ()
    floor: int = -1
    saved_at_ms: int = 0
    # When each of its rations is full again, of those that were ever spent: most peers are strangers, and never spend any.
    full_at_ms: dict[str, int] | None = None

    def spend(self, of: str, now_ms: int) -> bool:
        """Take one of what it may send of this, one of `RATIONS`; False if there is none."""
        if self.full_at_ms is None:
            self.full_at_ms = {}
        full_at_ms = after_one(self.full_at_ms.get(of, 0), *RATIONS[of], now_ms)
        if full_at_ms is None:
            return False
        self.full_at_ms[of] = full_at_ms
        return True

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it says that it is, or said in an earlier run."""
        return self.record.addresses if self.record is not None else self.hint

    @property
    def sequence(self) -> int:
        """That of its latest record, which no older one may follow; below all of them if none is known."""
        return self.record.sequence if self.record is not None else self.floor
