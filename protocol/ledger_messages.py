"""The bodies of the messages by which ledgers travel (specs/06-ledger.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from protocol.constants import ENTRY_SIZE_MAX, HEADS_MAX, PULL_COUNT_MAX
from protocol.identity import PUBLIC_KEY_SIZE
from protocol.ledger import ID_SIZE, NUMBER_MAX, Entry
from protocol.schema import Message, Rule, blob, integer, items, raw

NUMBER_SIZE: Final = 8
_HEAD_SIZE: Final = PUBLIC_KEY_SIZE + NUMBER_SIZE + ID_SIZE


def pack_head(entry: Entry) -> bytes:
    """A head on the wire: author, number as 8 bytes, id."""
    return entry.author + entry.number.to_bytes(NUMBER_SIZE, "big") + entry.id


class _Unpacked(Message):
    """A place for what is computed once: all nodes of one process read the same message."""

    __slots__ = ("_rows",)
    _rows: tuple[tuple[bytes, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Heads(_Unpacked):
    """The last entries that the sender holds: its own, and those of others by author; what is not there it lacks."""

    heads: tuple[bytes, ...]
    TYPE: ClassVar[str] = "heads"
    RULES: ClassVar[dict[str, Rule]] = {"heads": items(raw(_HEAD_SIZE), HEADS_MAX)}

    def __post_init__(self) -> None:
        Message.__post_init__(self)
        cut = PUBLIC_KEY_SIZE + NUMBER_SIZE
        rows = ((row[:PUBLIC_KEY_SIZE], int.from_bytes(row[PUBLIC_KEY_SIZE:cut], "big"), row[cut:]) for row in self.heads)
        object.__setattr__(self, "_rows", tuple(rows))

    @property
    def unpacked(self) -> tuple[tuple[bytes, int, bytes], ...]:
        """Author, number and id of each."""
        return self._rows


@dataclass(frozen=True, slots=True)
class Pull(Message):
    """The sender wants entries of `author` from `first` on."""

    author: bytes
    first: int
    count: int
    TYPE: ClassVar[str] = "pull"
    RULES: ClassVar[dict[str, Rule]] = {
        "author": raw(PUBLIC_KEY_SIZE),
        "first": integer(0, NUMBER_MAX),
        "count": integer(1, PULL_COUNT_MAX),
    }


@dataclass(frozen=True, slots=True)
class Entries(Message):
    """Entries of `author` in order, as they are; none if the sender does not hold what was asked for. Answers one pull."""

    author: bytes
    first: int
    entries: tuple[bytes, ...]
    TYPE: ClassVar[str] = "entries"
    RULES: ClassVar[dict[str, Rule]] = {
        "author": raw(PUBLIC_KEY_SIZE),
        "first": integer(0, NUMBER_MAX),
        "entries": items(blob(ENTRY_SIZE_MAX, 1), PULL_COUNT_MAX),
    }


LEDGER: Final[dict[str, type[Message]]] = {kind.TYPE: kind for kind in (Heads, Pull, Entries)}
for _kind in LEDGER.values():
    _kind.check_table()
