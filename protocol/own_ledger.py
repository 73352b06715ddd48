"""A node's own ledger: every entry is on disk before anything that follows from it leaves (specs/06-ledger.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.canonical import Value
from protocol.chain import Chain
from protocol.constants import LEDGER_ENTRIES_MAX, LEDGER_WAITING_MAX, SNAPSHOT_EVERY
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Persist
from protocol.ledger import NOTHING, SNAPSHOT, START, Entry, is_snapshot, open_entry, parse_entry
from protocol.outbox import Outbox

TABLE: Final = "ledger"
_NUMBER_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """What a ledger begins with: the hash of the recovery key, zeros for none, and how this key follows another one, if so.

    `succession` is the statement of that. `fresh` says that the identity was made just now: nobody holds any of its ledger.
    """

    recovery: bytes = NOTHING
    succession: bytes = b""
    fresh: bool = True


def key_of(number: int) -> bytes:
    """The key of entry `number` on disk."""
    return number.to_bytes(_NUMBER_SIZE, "big")


class OwnLedger:
    """`chain` is what is held.

    Unless the identity is fresh, nothing is written before others had the time to say that they hold more of this ledger than
    its database: a copy from a backup would otherwise sign a second entry with a number that was given already.
    """

    def __init__(self, outbox: Outbox, origin: Origin) -> None:
        self.chain = Chain()
        self.ready = origin.fresh
        self._outbox = outbox
        self._origin = origin
        self._waiting: list[tuple[str, Mapping[str, Value]]] = []

    @property
    def succession(self) -> bytes:
        """The statement by which this node's key follows another; empty for none."""
        return self._origin.succession

    @property
    def head(self) -> tuple[int, bytes]:
        """Number and id of the last entry; -1 and zeros before the first."""
        last = self.chain.head
        return (-1, NOTHING) if last is None else (last.number, last.id)

    def append(self, kind: str, body: Mapping[str, Value]) -> Entry | None:
        """Sign and write an entry; None if it has to wait, which only the oldest LEDGER_WAITING_MAX may."""
        if self.ready:
            return self._write(kind, body)
        if len(self._waiting) < LEDGER_WAITING_MAX:
            self._waiting.append((kind, body))
        return None

    def advance(self) -> None:
        """Begin the ledger, and write what waited, once that is allowed."""
        if not self.ready:
            return
        if self.chain.head is None:
            self._begin()
        while self._waiting:
            self._write(*self._waiting.pop(0))

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back one entry of the disk, in order; raises `LocalProtocolError` if it is damaged."""
        try:
            entry = parse_entry(value)
            self.chain.add(entry)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"damaged ledger: {error}") from error
        if key != key_of(entry.number):
            raise LocalProtocolError("damaged ledger: an entry under another number")

    def restored(self) -> list[Entry]:
        """All entries of the disk are back: check the last signature; raises `LocalProtocolError` if it does not hold.

        Gives the entries of another identity that the database outlived; this one has no ledger yet then.
        Each id holds the one before it, so the signature on the last entry vouches for what all of them say.
        """
        head = self.chain.head
        if head is None:
            return []
        try:
            open_entry(head.data)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"damaged ledger: {error}") from error
        if (head.author, head.network) != (self._outbox.me, self._outbox.network):
            former, self.chain = self.chain, Chain()
            self._drop(range(former.first, former.next))
            return [parse_entry(data) for data in former.since(former.first, len(former), former.bytes_total)]
        self.ready = False
        return []

    # --- What others held of it

    def adopt(self, entry: Entry) -> None:
        """Take an entry of ours that came back from another, signature verified; raises `RemoteProtocolError`."""
        self.chain.add(entry)
        self._persist(entry)

    def begin_at(self, entry: Entry) -> None:
        """Go on from a snapshot of ours, because nobody holds what is between; it follows nothing that is held."""
        chain = Chain()
        chain.add(entry)
        self._drop(range(self.chain.first, self.chain.next))
        self.chain = chain
        self._persist(entry)

    def release(self) -> None:
        """Others had their time: entries may be written."""
        self.ready = True

    # --- Writing

    def _begin(self) -> None:
        self._sign(START, {"recovery": self._origin.recovery, "succession": self._origin.succession})

    def _write(self, kind: str, body: Mapping[str, Value]) -> Entry:
        if self.chain.head is None:
            self._begin()
        if is_snapshot(self.chain.next):
            self._sign(SNAPSHOT, self.chain.summary.body())
        return self._sign(kind, body)

    def _sign(self, kind: str, body: Mapping[str, Value]) -> Entry:
        entry = self._outbox.sign_entry(self.chain.head, kind, body)
        self.chain.add(entry)
        self._persist(entry)
        return entry

    def _persist(self, entry: Entry) -> None:
        self._outbox.emit(Persist(TABLE, key_of(entry.number), entry.data))
        if len(self.chain) > LEDGER_ENTRIES_MAX:
            half = entry.number - LEDGER_ENTRIES_MAX // 2
            self._drop(self.chain.drop_before(half - half % SNAPSHOT_EVERY))

    def _drop(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._outbox.emit(Persist(TABLE, key_of(number), None))
