"""A node's own capability record: kept up to date, signed, sent out again before it ages (specs/05-capability.md)."""

from __future__ import annotations

from dataclasses import replace

from protocol.availability import Availability
from protocol.capability import Record
from protocol.chain import vector_hash
from protocol.constants import RECORD_FRESH_MS, RECORD_REFRESH_MS
from protocol.events import Persist, Publish
from protocol.outbox import RECORDS, Outbox
from protocol.own_ledger import OwnLedger

SEQUENCE = b"sequence"


class OwnRecord:
    """`record` is the record as last issued, `data` its signed envelope, empty before the first."""

    def __init__(self, outbox: Outbox, record: Record, availability: Availability, ledger: OwnLedger) -> None:
        self.record = record
        self.data = b""
        self.due_ms: int | None = None
        self._outbox = outbox
        self._availability = availability
        self._ledger = ledger
        self._noted = b""
        self._issued_ms = 0

    def measured(self, tokens_per_s: int) -> None:
        """The model was started anew, or is lost: tell everybody."""
        self.record = replace(self.record, tokens_per_s=tokens_per_s)
        self._issue()

    def moved(self, addresses: tuple[str, ...]) -> None:
        """The node listens elsewhere: tell everybody."""
        self.record = replace(self.record, addresses=addresses)
        self._issue()

    def fresh(self) -> bytes:
        """The envelope, signed a moment ago: the peer that gets it reads our clock from it."""
        if not self.data:
            self._issue()
        elif abs(self._outbox.now.wall_ms - self._issued_ms) > RECORD_FRESH_MS:
            self._seal()
        return self.data

    def advance(self) -> None:
        """Issue it again when it is due, or when it is no longer true that the node takes work."""
        changed = self.record.available != self._availability.for_others
        if self.due_ms is not None and (changed or self.due_ms <= self._outbox.now.mono_ms):
            self._issue()

    def restore(self, sequence: int) -> None:
        """Go on from the sequence number of an earlier run."""
        self.record = replace(self.record, sequence=sequence)

    def _issue(self) -> None:
        self._seal()
        self.due_ms = self._outbox.now.mono_ms + RECORD_REFRESH_MS
        self._outbox.emit(Publish(RECORDS, self.data))

    def _seal(self) -> None:
        now = self._outbox.now
        # The clock as sequence number survives a lost database; never lower than the last one if the clock went back.
        sequence = max(self.record.sequence + 1, now.wall_ms)
        self.record = replace(self.record, sequence=sequence, available=self._availability.for_others)
        self.data = self._outbox.seal_record(self.record)
        self._issued_ms = now.wall_ms
        self._outbox.emit(Persist("node", SEQUENCE, str(sequence).encode()))
        self._note()

    def _note(self) -> None:
        """A claim that changed goes into the ledger, so that nobody can say later to have made another one."""
        vector = vector_hash(self.record)
        if vector not in (self._noted, self._ledger.chain.summary.vector):
            self._noted = vector
            self._ledger.append("record", {"sequence": self.record.sequence, "vector": vector})
