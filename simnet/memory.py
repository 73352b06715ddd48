"""What verified once is verified for all hosts of a process: a thousand of them hear the same bytes.

What a host of this process signed itself is known to hold without being verified at all; whatever anybody else made up is
verified, once. `TRUE` turns both off, and no digest changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from protocol import audit_batch, envelope, ledger
from protocol.memo import Memo

# Envelopes of some simulated seconds of a large network, half a gigabyte at most; what is used again stays.
KEPT: Final = 1 << 15
TRUE: Final = 0


@contextmanager
def remembering(size: int = KEPT) -> Iterator[None]:
    """Keep so many verified envelopes, entries and audit batches while this lasts."""
    memos: tuple[Memo[Any], ...] = (envelope.OPENED, ledger.OPENED, *audit_batch.MEMOS)
    before = [memo.size for memo in memos]
    for memo in memos:
        memo.size = size
        memo.forget()
    try:
        yield
    finally:
        for memo, kept in zip(memos, before, strict=True):
            memo.size = kept
            memo.forget()
