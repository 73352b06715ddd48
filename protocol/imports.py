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
from protocol.trust import Agreement, Kind, Pair, agreement, agrees, clear

# The table of its rows on disk.
IMPORTED: Final = "imported"

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
        self._made: tuple[int, int, int] | None = None
        self._found: dict[Pair, Kind] = {}
        self._agreements: dict[bytes, Agreement] = {}
        self._counts: dict[Pair, Counts] = {}

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
                rows |= {author + key: value for key, value in self._books[author].add(peer, skill, verdict, wall_ms, entry)}
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
        self.version += 1

    def drop(self, author: bytes) -> _Rows:
        """Forget an author, such as one who is proven to have broken the rules; gives the rows to delete."""
        book = self._books.pop(author, None)
        if book is None:
            return []
        self._accounted.pop(author, None)
        self._tasks.pop(author, None)
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
        self._refresh(wall_ms)
        return dict(self.drop(min(self._books, key=lambda author: (self._agreements[author].trust, author))))

    # --- What counts

    def authors(self) -> list[bytes]:
        """Whose audits are here, sorted."""
        return sorted(self._books)

    def agreement(self, author: bytes, wall_ms: int) -> Agreement:
        """How an author agrees with this node's own audits."""
        self._refresh(wall_ms)
        return self._agreements.get(author, Agreement(auditor=author in self._auditors))

    def counts(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """What all authors together add to the own evidence of a peer in a skill."""
        self._refresh(wall_ms)
        pair = (peer, skill)
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
        for author in sorted(self._books):
            told = self._books[author].counts(peer, skill, wall_ms)
            if not told.any:
                continue
            judged = self._agreements[author]
            contradicted = found is not None and not agrees(found, told)
            most = told.within(IMPORT_AUTHOR_MAX * EVIDENCE_ONE)
            trust = 0 if contradicted else judged.trust
            used = Counts(most.hits * trust // TRUST_ONE, most.misses * trust // TRUST_ONE)
            parts.append(Part(author, told, used, judged, contradicted, self._books[author].citations(peer, skill)))
        return tuple(parts)

    def _refresh(self, wall_ms: int) -> None:
        """Judge every author anew when something was audited or told, or a day has passed."""
        made = (wall_ms // DAY_MS, self._own.version, self.version)
        if made == self._made:
            return
        self._made = made
        own = ((pair, clear(self._own.counts(*pair, wall_ms))) for pair in self._own.pairs())
        self._found = {pair: kind for pair, kind in own if kind is not None}
        self._agreements = {
            author: agreement(
                self._found, ((pair, book.counts(*pair, wall_ms)) for pair in book.pairs()), auditor=author in self._auditors
            )
            for author, book in self._books.items()
        }
        self._counts = {}


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
