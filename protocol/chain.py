"""A verified range of one author's ledger, and what its entries add up to (specs/06-ledger.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from protocol import canonical
from protocol.capability import Record
from protocol.constants import OPEN_BATCHES_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ledger import NOTHING, SNAPSHOT, START, Entry, check_follows, check_kind, entry_id, open_entry

_VECTOR_FIELDS = ("context", "model", "parameters", "quantisation", "skills", "slots", "weights_hash")


def vector_hash(record: Record) -> bytes:
    """What a record claims, without what changes by the hour: 32 bytes."""
    fields: dict[str, canonical.Value] = {name: getattr(record, name) for name in _VECTOR_FIELDS}
    return hashlib.sha256(b"tutti/vector/1\x00" + canonical.encode(fields)).digest()


@dataclass(slots=True)
class Summary:
    """What all entries up to one add up to; a snapshot restates it for those who begin there.

    `start` are the bytes of entry 0, `recovery` and `succession` what stands in it: the hash of the key that may name a
    successor, zeros for none, and the statement by which the author's key follows another, empty for none. `open` are the roots
    of audits that were committed and not opened, the oldest first.
    """

    start: bytes = b""
    recovery: bytes = NOTHING
    succession: bytes = b""
    counts: dict[str, int] = field(default_factory=dict)
    open: list[bytes] = field(default_factory=list)
    vector: bytes = NOTHING
    sequence: int = 0

    def take(self, entry: Entry) -> None:
        """Add an entry; raises `RemoteProtocolError` for a snapshot that says something else."""
        body = entry.body
        if entry.kind == SNAPSHOT and self.start:
            if body != self.body():
                raise RemoteProtocolError("chain", "the snapshot does not restate what stands before it")
        elif entry.kind == SNAPSHOT:
            self._begin(entry)
        elif entry.kind == START:
            self._started(entry)
        elif entry.kind == "record":
            self.vector, self.sequence = _bytes(body["vector"]), _int(body["sequence"])
        elif entry.kind == "audits":
            self.open = [*self.open, _bytes(body["root"])][-OPEN_BATCHES_MAX:]
        elif entry.kind == "opening":
            self.open = [root for root in self.open if root != body["root"]]
        self.counts[entry.kind] = self.counts.get(entry.kind, 0) + 1

    def _started(self, start: Entry) -> None:
        self.start = start.data
        self.recovery, self.succession = _bytes(start.body["recovery"]), _bytes(start.body["succession"])

    def body(self) -> dict[str, canonical.Value]:
        """The body of a snapshot that comes next."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "open": list(self.open),
            "sequence": self.sequence,
            "start": self.start,
            "vector": self.vector,
        }

    def _begin(self, entry: Entry) -> None:
        """Begin at a snapshot: what it says of before is its author's word, but for entry 0, which has its own signature."""
        body = entry.body
        start = open_entry(_bytes(body["start"]))
        if start.kind != START or start.author != entry.author or start.network != entry.network:
            raise RemoteProtocolError("chain", "the snapshot's start is not the author's")
        counts, opened = body["counts"], body["open"]
        assert isinstance(counts, dict)
        assert isinstance(opened, list)
        if sum(_int(count) for count in counts.values()) != entry.number:
            raise RemoteProtocolError("chain", "the snapshot does not count the entries before it")
        self._started(start)
        self.vector, self.sequence = _bytes(body["vector"]), _int(body["sequence"])
        self.counts = {kind: _int(count) for kind, count in counts.items()}
        self.open = [_bytes(root) for root in opened]


class Chain:
    """Entries `first` to the head, each of which follows the one before. Begins at the first entry or at a snapshot."""

    __slots__ = ("_entries", "bytes_total", "first", "head", "summary")

    def __init__(self) -> None:
        self.first = 0
        self.head: Entry | None = None
        self.summary = Summary()
        self.bytes_total = 0
        self._entries: list[bytes] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next(self) -> int:
        """The number of the entry that would follow the head."""
        return 0 if self.head is None else self.head.number + 1

    def add(self, entry: Entry) -> None:
        """Take the next entry; raises `RemoteProtocolError` if it does not follow, and changes nothing then."""
        if self.head is None and entry.kind == SNAPSHOT:
            check_kind(entry)
        else:
            check_follows(self.head, entry)
        self.summary.take(entry)
        if self.head is None:
            self.first = entry.number
        self.head = entry
        self.bytes_total += len(entry.data)
        self._entries.append(entry.data)

    def get(self, number: int) -> bytes | None:
        """The bytes of entry `number`, if it is in the range."""
        index = number - self.first
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def id_of(self, number: int) -> bytes | None:
        """The id of entry `number`, if it is in the range."""
        if self.head is not None and number == self.head.number:
            return self.head.id
        data = self.get(number)
        return None if data is None else entry_id(data)

    def since(self, first: int, count_max: int, size_max: int) -> list[bytes]:
        """Entries from `first` on, as many as fit; none if `first` is not in the range."""
        found: list[bytes] = []
        while len(found) < count_max and (data := self.get(first + len(found))) is not None:
            size_max -= len(data)
            if size_max < 0 and found:
                break
            found.append(data)
        return found

    def drop_before(self, number: int) -> list[int]:
        """Forget what stands before `number`, which must be in the range; gives the numbers that went."""
        if self.get(number) is None:
            raise LocalProtocolError(f"entry {number} is not held")
        gone = list(range(self.first, number))
        self.bytes_total -= sum(map(len, self._entries[: len(gone)]))
        del self._entries[: len(gone)]
        self.first = number
        return gone


def _bytes(value: canonical.Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def _int(value: canonical.Value) -> int:
    assert isinstance(value, int)
    return value
