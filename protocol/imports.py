"""What other authors' opened audits add to one's own evidence: scaled by trust, capped, and never without one's own.

Whoever has earned trust can lie about peers that nobody else knows, so imports alone give no voice: they add to a (peer,
skill) no more than this node's own audits of it found, and nothing that clear audits of its own contradict. Without any they
only say whom to audit first (specs/06-ledger.md). The network's auditors, whom the owner accepted, need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol import canonical
from protocol.constants import (
    EVIDENCE_ONE,
    IMPORT_AUTHOR_MAX,
    IMPORT_AUTHORS_MAX,
    IMPORT_DAYS_MAX,
    IMPORT_MAX,
    IMPORT_PAIRS_MAX,
    IMPORT_TASKS_MAX,
    TRUST_ONE,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.evidence import DAY_MS, Counts, EvidenceBook
from protocol.identity import PUBLIC_KEY_SIZE
from protocol.trust import Agreement, Kind, Pair, Record, agrees, clear

# The table of its rows on disk.
IMPORTED: Final = "imported"

_NOTHING: Final = Counts()

_Rows = list[tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class Part:
    """What one author says of a (peer, skill): as it found it, and what of that counts; `contradicted` by clear own audits."""

    author: bytes
    told: Counts
    used: Counts
    agreement: Agreement
    contradicted: bool
    entries: tuple[int, ...]


class Imports:
    """Regraded verdicts of each author, and what they add to `own`."""

    def __init__(self, own: EvidenceBook, me: bytes, auditors: Iterable[bytes] = ()) -> None:
        self._own = own
        self._me = me
        self._auditors = frozenset(auditors)
        self._books: dict[bytes, EvidenceBook] = {}
        self._accounted: dict[bytes, int] = {}
        # By author the tasks whose audits were counted, the latest last.
        self._tasks: dict[bytes, dict[bytes, None]] = {}
        self.version = 0
        # Made from the books: by pair the authors that tell of it, by author how it agrees, by pair what counts.
        self._told: dict[Pair, dict[bytes, None]] = {}
        self._found: dict[Pair, Kind] = {}
        self._records: dict[bytes, Record] = {}
        self._counts: dict[Pair, Counts] = {}
        self._day: int | None = None
        self._own_version = -1

    # --- Taking in

    def add(self, author: bytes, verdicts: Iterable[tuple[bytes, str, str]], wall_ms: int, entry: int) -> _Rows:
        """Count the (peer, skill, verdict) of an opened batch; gives the rows to persist.

        `wall_ms` is the day they count for, `entry` the number of the opening in the author's ledger. What an author says
        of itself counts nothing, nor what this node, whose own book has it, said.
        """
        if author == self._me:
            return []
        rows: dict[bytes, bytes | None] = {}
        if author not in self._books:
            rows |= self._make_room(wall_ms)
            self._books[author] = _book()
        for peer, skill, verdict in verdicts:
            if peer != author:
                for key, value in self._books[author].add(peer, skill, verdict, wall_ms, entry):
                    rows[author + key] = value
                    self._changed(author, (key[:PUBLIC_KEY_SIZE], key[PUBLIC_KEY_SIZE:].decode()))
        self._accounted[author] = max(entry, self.accounted(author))
        rows[author] = canonical.encode(self._accounted[author])
        self.version += 1
        return list(rows.items())

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back a persisted row; raises `LocalProtocolError` if it was damaged."""
        author, pair = key[:PUBLIC_KEY_SIZE], key[PUBLIC_KEY_SIZE:]
        if len(author) != PUBLIC_KEY_SIZE or (author not in self._books and len(self._books) >= IMPORT_AUTHORS_MAX):
            raise LocalProtocolError("damaged evidence entry: of nobody, or of more authors than are kept")
        book = self._books.get(author, _book())
        if pair:
            book.restore(pair, value)
        else:
            self._accounted[author] = _number(value)
        self._books[author] = book
        self._day = None
        self.version += 1

    def drop(self, author: bytes) -> _Rows:
        """Forget an author, such as one who is proven to have broken the rules; gives the rows to delete."""
        book = self._books.pop(author, None)
        if book is None:
            return []
        self._accounted.pop(author, None)
        self._tasks.pop(author, None)
        self._records.pop(author, None)
        for pair in book.pairs():
            self._counts.pop(pair, None)
            self._silenced(author, pair)
        self.version += 1
        return [(author, None), *((author + peer + skill.encode(), None) for peer, skill in book.pairs())]

    def accounted(self, author: bytes) -> int:
        """The number of the last opening in the author's ledger that was counted, -1 before the first."""
        return self._accounted.get(author, -1)

    def has_counted(self, author: bytes, tasks: Iterable[bytes]) -> bool:
        """Whether an audit with one of these tasks was counted of this author before."""
        return not self._tasks.get(author, {}).keys().isdisjoint(tasks)

    def note(self, author: bytes, tasks: Iterable[bytes]) -> None:
        """Audits with these tasks were counted, if anything of the author is; not persisted, the author's ledger tells it."""
        if author not in self._books:
            return
        known = self._tasks.setdefault(author, {})
        known.update(dict.fromkeys(tasks))
        for task in list(known)[: max(0, len(known) - IMPORT_TASKS_MAX)]:
            del known[task]

    def _make_room(self, wall_ms: int) -> dict[bytes, bytes | None]:
        """Forget whom least is lost with, if there are as many authors as are kept: names that are made up have no trust."""
        if len(self._books) < IMPORT_AUTHORS_MAX:
            return {}
        return dict(self.drop(min(self._books, key=lambda author: (self.agreement(author, wall_ms).trust, author))))

    # --- What counts

    def authors(self) -> list[bytes]:
        """Whose audits are here, sorted."""
        return sorted(self._books)

    def agreement(self, author: bytes, wall_ms: int) -> Agreement:
        """How an author agrees with this node's own audits."""
        self._refresh(wall_ms)
        record = self._records.get(author)
        return Agreement(auditor=author in self._auditors) if record is None else record.agreement

    def counts(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """What all authors together add to the own evidence of a peer in a skill."""
        self._refresh(wall_ms)
        pair = (peer, skill)
        if pair not in self._told:
            return _NOTHING
        if pair not in self._counts:
            parts = self.parts(peer, skill, wall_ms)
            own = self._own.counts(peer, skill, wall_ms).total
            others = _total(part.used for part in parts if not part.agreement.auditor).within(
                min(own, IMPORT_MAX * EVIDENCE_ONE)
            )
            auditors = _total(part.used for part in parts if part.agreement.auditor)
            self._counts[pair] = (others + auditors).within(IMPORT_MAX * EVIDENCE_ONE)
        return self._counts[pair]

    def recommended(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """What the authors say of a peer, whether one's own audits bear it out or not: whom to audit first."""
        return _total(part.used for part in self.parts(peer, skill, wall_ms))

    def parts(self, peer: bytes, skill: str, wall_ms: int) -> tuple[Part, ...]:
        """What each author says of a peer in a skill, by author; before the caps that hold for all of them together."""
        self._refresh(wall_ms)
        found = self._found.get((peer, skill))
        parts = []
        for author in sorted(self._told.get((peer, skill), ())):
            told = self._books[author].counts(peer, skill, wall_ms)
            if not told.any:
                continue
            judged = self._records[author].agreement
            contradicted = found is not None and not agrees(found, told)
            most = told.within(IMPORT_AUTHOR_MAX * EVIDENCE_ONE)
            trust = 0 if contradicted else judged.trust
            used = Counts(most.hits * trust // TRUST_ONE, most.misses * trust // TRUST_ONE)
            parts.append(Part(author, told, used, judged, contradicted, self._books[author].citations(peer, skill)))
        return tuple(parts)

    def _refresh(self, wall_ms: int) -> None:
        """Judge authors anew by what was audited since; all of them when a day has passed."""
        day = wall_ms // DAY_MS
        if (day, self._own.version) == (self._day, self._own_version):
            return
        own = ((pair, clear(self._own.counts(*pair, wall_ms))) for pair in self._own.pairs())
        found = {pair: kind for pair, kind in own if kind is not None}
        before, self._found, self._counts = self._found, found, {}
        if day != self._day:
            self._told, self._records = {}, {author: Record(auditor=author in self._auditors) for author in self._books}
            self._day = day
            anew = [(author, pair) for author, book in self._books.items() for pair in book.pairs()]
        else:
            moved = [pair for pair in before.keys() | found.keys() if before.get(pair) != found.get(pair)]
            anew = [(author, pair) for pair in moved for author in self._told.get(pair, ())]
        self._own_version = self._own.version
        for author, pair in anew:
            self._judge(author, pair)

    def _changed(self, author: bytes, pair: Pair) -> None:
        """An author's book says something else of a pair now."""
        self._counts.pop(pair, None)
        if self._day is not None and self._judge(author, pair):
            # What it says of all others weighs otherwise now.
            for other in self._books[author].pairs():
                self._counts.pop(other, None)

    def _silenced(self, author: bytes, pair: Pair) -> None:
        """An author says nothing of a pair any more."""
        told = self._told.get(pair, {})
        told.pop(author, None)
        if not told:
            self._told.pop(pair, None)

    def _judge(self, author: bytes, pair: Pair) -> bool:
        """Compare what an author says of a pair with one's own audits; whether that changed how it agrees."""
        assert self._day is not None
        record = self._records.setdefault(author, Record(auditor=author in self._auditors))
        told = self._books[author].counts(*pair, self._day * DAY_MS)
        if told.any:
            self._told.setdefault(pair, {})[author] = None
        else:
            self._silenced(author, pair)
        return record.judge(pair, self._found.get(pair), told)


def _number(value: bytes) -> int:
    try:
        number = canonical.decode(value)
    except RemoteProtocolError as error:
        raise LocalProtocolError("damaged evidence entry") from error
    if type(number) is not int or number < 0:
        raise LocalProtocolError("damaged evidence entry")
    return number


def _book() -> EvidenceBook:
    return EvidenceBook(IMPORT_PAIRS_MAX, IMPORT_DAYS_MAX)


def _total(counts: Iterable[Counts]) -> Counts:
    return sum(counts, Counts())
