"""What a node holds, table by table, each with the limit of protocol/constants.py that bounds it."""

# ruff: noqa: SLF001  what takes memory is part of nobody's interface

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.constants import (
    ACKNOWLEDGED_MAX,
    BIDS_OPEN_MAX,
    COMMITMENTS_MAX,
    EVIDENCE_MAX,
    FOLLOWED_BYTES_TOTAL_MAX,
    FOLLOWED_MAX,
    IMPORT_AUTHORS_MAX,
    LEASES_MAX,
    LEDGER_ENTRIES_MAX,
    OPEN_BATCHES_MAX,
    PEERS_MAX,
    PEERS_SAVED_MAX,
    SEEN_PER_SENDER_MAX,
    SEEN_SENDERS_MAX,
    SUCCESSIONS_MAX,
    TASKS_MAX,
)
from protocol.seen import SeenCache
from simnet.host import Host

Count = Callable[[Host], int]

HOLDINGS: Final[tuple[tuple[str, Count, int], ...]] = (
    ("tasks", lambda host: host.core.tasks, TASKS_MAX),
    ("leases", lambda host: host.core.leases, LEASES_MAX),
    ("peers", lambda host: len(host.core.peers._peers), PEERS_MAX),
    ("peers on disk", lambda host: sum(table == "peers" for table, _ in host.disk), PEERS_SAVED_MAX),
    ("senders that it remembers", lambda host: len(host.core._seen._senders), SEEN_SENDERS_MAX),
    ("ids of a sender", lambda host: _longest(host.core._seen), SEEN_PER_SENDER_MAX),
    ("open bids", lambda host: len(host.core._execution._bidding._bids), BIDS_OPEN_MAX),
    ("sealed answers", lambda host: len(host.core._execution._commitments._bound), COMMITMENTS_MAX),
    ("acknowledged bids", lambda host: len(host.core.acknowledged._pairs), ACKNOWLEDGED_MAX),
    ("pairs of evidence", lambda host: len(host.core.evidence._pairs), EVIDENCE_MAX),
    ("open batches of audits", lambda host: len(host.core.audits._batches._batches), OPEN_BATCHES_MAX),
    ("own entries", lambda host: len(host.core.ledger.chain), LEDGER_ENTRIES_MAX),
    ("ledgers of others", lambda host: len(host.core.followed), FOLLOWED_MAX),
    ("bytes of others' ledgers", lambda host: host.core.followed._bytes_total, FOLLOWED_BYTES_TOTAL_MAX),
    ("authors of imported evidence", lambda host: len(host.core.imports._books), IMPORT_AUTHORS_MAX),
    ("successions", lambda host: len(host.core.successions._next), SUCCESSIONS_MAX),
)


def _longest(seen: SeenCache) -> int:
    return max((len(sender.issued_ms) for sender in seen._senders.values()), default=0)
