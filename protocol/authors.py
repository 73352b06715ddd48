"""The authors of other ledgers: what they tell, who follows whom, of whom nothing more is taken (specs/06-ledger.md)."""

from __future__ import annotations

from collections import Counter
from functools import partial

from protocol import canonical
from protocol.errors import RemoteProtocolError
from protocol.events import Persist
from protocol.evidence import EvidenceBook
from protocol.fault_book import FaultBook
from protocol.followed import Followed
from protocol.imports import IMPORTED, Imports
from protocol.ledger import SNAPSHOT, START, SUCCESSION, Entry
from protocol.openings import Openings
from protocol.outbox import Outbox
from protocol.own_ledger import OwnLedger
from protocol.parameters import Parameters
from protocol.peers import PeerTable
from protocol.succession import Successions, old_key


class Authors:
    """Hands each entry of a followed ledger to those that it is for. `rejected` counts what is refused, by code."""

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        evidence: EvidenceBook,
        imports: Imports,
        faults: FaultBook,
        peers: PeerTable,
        ledger: OwnLedger,
        rejected: Counter[str],
    ) -> None:
        self._outbox = outbox
        self._evidence = evidence
        self._imports = imports
        self._faults = faults
        self._peers = peers
        self._ledger = ledger
        self._rejected = rejected
        self.successions = Successions(outbox, self._recovery_of, self._matters)
        self._openings = Openings(outbox, parameters, imports, partial(faults.suspect, "audits"))
        self.followed = Followed(outbox, self._worth, self._on_entry)

    def is_faulty(self, key: bytes) -> bool:
        """Whether a fault is proven of `key`, or of a key that it followed."""
        # Asked for with every message, and mostly nobody is.
        return len(self._faults) > 0 and any(name in self._faults for name in (key, *self.successions.names(key)))

    def is_closed(self, author: bytes) -> bool:
        """Whether nothing more is taken of a ledger: its author is faulty, or another key has followed."""
        return self.is_faulty(author) or not self.successions.names(author)

    def drop_faulty(self) -> None:
        """Forget what authors told who are proven to have broken the rules, before the proof as after it."""
        for author in filter(self.is_faulty, self._imports.authors()):
            for key, value in self._imports.drop(author):
                self._outbox.emit(Persist(IMPORTED, key, value))

    def restored(self) -> None:
        """All that was persisted is back: ledgers are read again, this node's own first."""
        self.drop_faulty()
        former = self._ledger.restored()
        self.followed.restored()
        self.followed.inherit(former)

    def _worth(self, author: bytes) -> tuple[int, ...]:
        """Whose ledger is kept first: who has evidence here, then who is connected."""
        return int(author in self._evidence.peers()), int(self._peers.is_connected(author))

    def _on_entry(self, entry: Entry) -> None:
        """An entry of another's ledger was verified, now or in an earlier run."""
        refused = None if self.is_faulty(entry.author) else self._openings.take(entry)
        if refused is not None:
            self._rejected[refused] += 1
        if entry.kind == SUCCESSION:
            self._succeed(entry.author, entry.body["statement"])
        elif entry.kind in (START, SNAPSHOT):
            # The first entry may be that of the new key, or that of the old one, which another's statement waited for.
            for author, statement in (*self.followed.successions(), (self._outbox.me, self._ledger.succession)):
                if statement and entry.author in (author, old_key(statement)):
                    self._succeed(author, statement)

    def _succeed(self, author: bytes, statement: canonical.Value) -> None:
        assert isinstance(statement, bytes)
        try:
            if self.successions.take(author, statement):
                self.drop_faulty()
        except RemoteProtocolError as error:
            self._rejected[error.code] += 1

    def _recovery_of(self, key: bytes) -> bytes | None:
        chain = self._ledger.chain if key == self._outbox.me else self.followed.get(key)
        return chain.summary.recovery if chain is not None else None

    def _matters(self, key: bytes) -> bool:
        """Whether something is known here that a successor of `key` would take over."""
        return key == self._outbox.me or key in self._faults or key in self._evidence.peers()
