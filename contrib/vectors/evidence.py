"""Counts, decay, weights: specs/06-ledger.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from protocol.constants import EVIDENCE_ONE
from protocol.evidence import DAY_MS, DECAY, Counts, EvidenceBook, log2_fixed

DOCUMENT: Final = "06-ledger.md"
_PEER: Final = bytes(32)


def _log2(numerator: int, denominator: int) -> int:
    return log2_fixed(numerator, denominator)


def _weight(options: int, hits: int, misses: int) -> dict[str, int]:
    counts = Counts(hits, misses)
    return {"weight": counts.weight(options), "mean": counts.mean(options)}


def _counts(days: list[list[int]], today: int) -> dict[str, int]:
    book = EvidenceBook()
    for day, hits, misses, abstentions in days:
        for verdict, count in (("hit", hits), ("miss", misses), ("abstained", abstentions)):
            for _ in range(count):
                book.add(_PEER, "arith", verdict, day * DAY_MS)
    counts = book.counts(_PEER, "arith", today * DAY_MS)
    return {"hits": counts.hits, "misses": counts.misses, "audited": book.audits(_PEER, "arith", today * DAY_MS)}


OPERATIONS: Final[dict[str, Operation]] = {
    "decay": lambda age: DECAY[age],
    "log2_fixed": _log2,
    "counts": _counts,
    "weight": _weight,
}

_RATIOS: Final = (
    *((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (4, 3), (9, 1), (99, 1), (211_968, 7_168), (10**6, 1), (1, 10**6)),
    *((2**53 + 1, 2**53), (2**53, 2**53 + 1), (2**60, 1), (1, 2**60), (2**31 - 1, 2**30), (2**70 + 1, 2**20 + 1)),
    *((65_537, 65_536), (65_535, 65_536), (3**40, 2**63), (2**63, 3**40)),
)
_OBSERVATIONS: Final = (
    *(
        (10, 0, 0),
        (10, 1, 0),
        (10, 0, 1),
        (10, 5, 5),
        (10, 9, 1),
        (10, 10, 0),
        (10, 1, 9),
        (10, 1_000_000, 0),
        (10, 0, 1_000_000),
    ),
    *(
        (2, 0, 0),
        (2, 9, 1),
        (2, 5, 5),
        (2, 4, 6),
        (2, 40, 10),
        (3, 2, 1),
        (1_000, 3, 0),
        (1_000, 1, 99),
        (10, 2, 0),
        (10, 3, 40),
    ),
)


def _all_counts() -> list[Case]:
    rows: dict[str, tuple[list[list[int]], int]] = {
        "none": ([], 20_000),
        "today": ([[20_000, 9, 1, 2]], 20_000),
        "yesterday": ([[19_999, 9, 1, 2]], 20_000),
        "several days": ([[19_900, 3, 7, 0], [19_970, 8, 2, 1], [20_000, 1, 0, 0]], 20_000),
        "the last day that counts": ([[20_000 - 179, 100, 100, 0]], 20_000),
        "a day that counts no more": ([[20_000 - 180, 100, 100, 0]], 20_000),
        "a clock that went back": ([[20_003, 9, 1, 0]], 20_000),
    }
    return [Case("counts", name, {"days": days, "today": today}) for name, (days, today) in rows.items()]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *(Case("decay", f"{age} days", {"age": age}) for age in (0, 1, 2, 29, 30, 31, 60, 90, 150, 179)),
        *(Case("log2_fixed", f"{n} / {d}", {"numerator": n, "denominator": d}) for n, d in _RATIOS),
        *_all_counts(),
        *(
            Case(
                "weight",
                f"K {options}, {hits} hits, {misses} misses",
                {"options": options, "hits": hits * EVIDENCE_ONE, "misses": misses * EVIDENCE_ONE},
            )
            for options, hits, misses in _OBSERVATIONS
        ),
        Case("weight", "a part of an observation", {"options": 10, "hits": 1, "misses": 0}),
        Case("weight", "parts on both sides", {"options": 7, "hits": 1_001, "misses": 333}),
    ]
