"""What exported ledgers bear out of a receipt: its hash, its beacon, and the evidence behind its weights (specs/11-receipt.md).

Audits that were opened are graded again by the reader. The counts of a view may well be worse than those, for timeouts and
batches that were never opened count for their author alone; that they are better would be the lie that pays.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.audit_batch import AUDITS, OPENING, opened_tasks, regrade
from protocol.capability import GENERAL
from protocol.chain import Chain
from protocol.errors import RemoteProtocolError
from protocol.evidence import DAY_MS, Counts, EvidenceBook
from protocol.imports import Imports
from protocol.ledger import Entry, open_entry
from protocol.parameters import Parameters


class Citations:
    """Verified ledgers, by author: at most one of each."""

    def __init__(self, network: bytes, ledgers: Sequence[Sequence[bytes]]) -> None:
        """Raises `RemoteProtocolError` for a ledger that does not hold, or is of another network."""
        self._entries: dict[bytes, list[Entry]] = {}
        for ledger in ledgers:
            chain, entries = Chain(), list[Entry]()
            for data in ledger:
                entry = open_entry(data)
                chain.add(entry)
                entries.append(entry)
            if not entries or entries[0].network != network:
                raise RemoteProtocolError("receipt", "a ledger is empty, or of another network")
            if entries[0].author in self._entries:
                raise RemoteProtocolError("receipt", "two ledgers are of one author")
            self._entries[entries[0].author] = entries

    @property
    def authors(self) -> list[bytes]:
        """Whose ledgers are here, sorted."""
        return sorted(self._entries)

    def number_of(self, author: bytes, kind: str, value: bytes) -> int | None:
        """The number of the author's entry of this kind that holds `value`."""
        return next(
            (entry.number for entry in self._entries.get(author, []) if entry.kind == kind and entry.body[kind] == value), None
        )

    def borne_out(
        self, requester: bytes, before: int, skill: str, counts: dict[bytes, Counts], parameters: Parameters, wall_ms: int
    ) -> list[bytes]:
        """The bidders of whom the requester counted no more hits, and no fewer misses, than opened audits show at `wall_ms`.

        Its own are those of batches that it committed before its entry `before`. A day either way is allowed for, by which
        the author of an audit and who grades it again may date it.
        """
        own = EvidenceBook()
        for peer, name, verdict, at_ms, entry in self._graded(requester, parameters, before):
            own.add(peer, name, verdict, at_ms, entry)
        imports = Imports(own, requester, parameters.auditors)
        for author in self.authors:
            for peer, name, verdict, at_ms, entry in self._graded(author, parameters, None):
                imports.add(author, [(peer, name, verdict)], at_ms, entry)
        skills = sorted(parameters.skills) if skill == GENERAL else [skill]
        found = []
        for peer in sorted(counts):
            hits = sum(
                own.counts(peer, name, wall_ms - DAY_MS).hits + imports.counts(peer, name, wall_ms - DAY_MS).hits
                for name in skills
            )
            misses = sum(own.counts(peer, name, wall_ms + DAY_MS).misses for name in skills)
            if counts[peer].hits <= hits and counts[peer].misses >= misses:
                found.append(peer)
        return found

    def _graded(self, author: bytes, parameters: Parameters, before: int | None) -> list[tuple[bytes, str, str, int, int]]:
        """Peer, skill, verdict, date and entry of each audit that an author committed and opened, each audit once."""
        batches: dict[bytes, Entry] = {}
        counted = set[bytes]()
        found = []
        for entry in self._entries.get(author, []):
            root = entry.body.get("root")
            if not isinstance(root, bytes):
                continue
            if entry.kind == AUDITS and (before is None or entry.number < before):
                batches[root] = entry
            audits = batches.pop(root, None) if entry.kind == OPENING else None
            if audits is None:
                continue
            try:
                verdicts = regrade(audits, entry, parameters)
            except RemoteProtocolError:
                continue  # counts for nobody
            tasks = opened_tasks(entry)
            # specs/06-ledger.md: "one with a task of a batch of this author that was counted, MUST NOT be counted"
            again = not counted.isdisjoint(tasks)
            counted.update(tasks)
            if again:
                continue
            found += [(*verdict, audits.wall_ms, entry.number) for verdict in verdicts]
        return found
