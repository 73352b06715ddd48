"""What each peer answered to this node's audits, as far as clusters need it (specs/06-ledger.md, Clusters)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from protocol import canonical
from protocol.clusters import AuditRecord, partition
from protocol.constants import AUDIT_RECORDS_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE

TABLE = "audit_records"
_HASH_SIZE = 16


def wrong_hash(answer: str) -> bytes:
    """What is kept of a wrong answer: whether two are equal, and not what they say."""
    return hashlib.sha256(answer.encode()).digest()[:_HASH_SIZE]


class AuditRecords:
    """The latest audits of each (peer, skill): which, and the hash of a wrong answer. Its keys are those of the evidence.

    `chances` is K - 1 of each skill that can be audited. The evidence book bounds the pairs: what it forgets is forgotten here.
    """

    def __init__(self, chances: Mapping[str, int]) -> None:
        self._chances = chances
        self._taken: dict[tuple[bytes, str], dict[bytes, bytes | None]] = {}
        self._clusters: dict[bytes, int] | None = {}

    def add(self, peer: bytes, skill: str, audit: bytes, wrong: str | None) -> tuple[bytes, bytes]:
        """Keep one answer, the canonical `wrong` one or None for a right one; gives the (key, value) to persist."""
        taken = self._taken.setdefault((peer, skill), {})
        taken[audit] = None if wrong is None else wrong_hash(wrong)
        for oldest in list(taken)[:-AUDIT_RECORDS_MAX]:
            del taken[oldest]
        self._clusters = None
        rows: list[canonical.Value] = [[name, hashed] for name, hashed in taken.items()]
        return peer + skill.encode(), canonical.encode(rows)

    def forget(self, key: bytes) -> bool:
        """Drop the pair of which the evidence went; says whether it had records."""
        if self._taken.pop((key[:PUBLIC_KEY_SIZE], key[PUBLIC_KEY_SIZE:].decode()), None) is None:
            return False
        self._clusters = None
        return True

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back a persisted entry; raises `LocalProtocolError` if it was damaged."""
        try:
            rows = canonical.decode(value)
            peer, skill = key[:PUBLIC_KEY_SIZE], key[PUBLIC_KEY_SIZE:].decode()
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise LocalProtocolError("damaged entry of audit records") from error
        taken: dict[bytes, bytes | None] = {}
        for row in rows if isinstance(rows, list) else [None]:
            match row:
                case [bytes(audit), bytes() | None as wrong]:
                    taken[audit] = wrong
                case _:
                    raise LocalProtocolError("damaged entry of audit records")
        self._taken[peer, skill] = taken
        self._clusters = None

    def clusters(self) -> Mapping[bytes, int]:
        """The number of each peer's cluster; who stands alone is not in it. Computed when records have changed since."""
        if self._clusters is None:
            self._clusters = partition(
                AuditRecord(audit, peer, self._chances[skill], wrong)
                for (peer, skill), taken in self._taken.items()
                if skill in self._chances
                for audit, wrong in taken.items()
            )
        return self._clusters
