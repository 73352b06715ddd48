"""How far an author's audits are believed: as far as they agree with one's own on the same peers (specs/06-ledger.md).

One step deep: an author is judged by this node's own audits alone, never by what other authors say of it or of its subjects.
It must tell strong from weak: who praises everyone, or condemns everyone, agrees on one kind at most and has no trust.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Final, Literal, TypeAlias

from protocol.constants import AUDITOR_PAIRS, EVIDENCE_ONE, TRUST_ONE, TRUST_OWN_MIN, TRUST_PAIRS_MAX, TRUST_RISK
from protocol.errors import LocalProtocolError
from protocol.evidence import Counts

Pair: TypeAlias = tuple[bytes, str]
Kind: TypeAlias = Literal["strong", "weak"]
# Two thirds of the observations alike; a narrower majority judges nobody.
_CLEAR: Final = 2


@cache
def lower_bound(agreed: int, judged: int) -> int:
    """The largest t for which `agreed` or more of `judged` have at most 1 in TRUST_RISK chance at a rate of t / TRUST_ONE.

    The exact binomial bound (Clopper and Pearson 1934), by integers alone. More than TRUST_PAIRS_MAX count in proportion.
    """
    if not 0 <= agreed <= judged:
        raise LocalProtocolError("more agreed than were judged")
    # specs/06-ledger.md: "for n > TRUST_PAIRS_MAX take floor(a * TRUST_PAIRS_MAX / n) and TRUST_PAIRS_MAX instead."
    if judged > TRUST_PAIRS_MAX:
        return lower_bound(agreed * TRUST_PAIRS_MAX // judged, TRUST_PAIRS_MAX)
    low, high = 0, TRUST_ONE
    while agreed and high - low > 1:
        middle = (low + high) // 2
        against = TRUST_ONE - middle
        tail = sum(comb(judged, n) * middle**n * against ** (judged - n) for n in range(agreed, judged + 1))
        low, high = (middle, high) if TRUST_RISK * tail <= TRUST_ONE**judged else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the pairs (peer, skill) that one's own audits found strong, and weak, how many an author judged, and judged alike."""

    strong: int = 0
    strong_agreed: int = 0
    weak: int = 0
    weak_agreed: int = 0
    auditor: bool = False

    @property
    def trust(self) -> int:
        """In units of 1 / TRUST_ONE: the lesser of the two bounds, so that agreeing on one kind alone is nothing."""
        start = AUDITOR_PAIRS if self.auditor else 0
        # specs/06-ledger.md: "Trust = min(bound(S', S), bound(W', W)), in units of 1 / TRUST_ONE."
        strong = lower_bound(start + self.strong_agreed, start + self.strong)
        return min(strong, lower_bound(start + self.weak_agreed, start + self.weak))


def clear(own: Counts) -> Kind | None:
    """How own audits found a peer; None if they are too few or too mixed to judge others by."""
    if own.total < TRUST_OWN_MIN * EVIDENCE_ONE or max(own.hits, own.misses) < _CLEAR * min(own.hits, own.misses):
        return None
    return "strong" if own.hits > own.misses else "weak"


def agrees(found: Kind, told: Counts) -> bool:
    """Whether an author's audits of a peer have the majority that one's own have; none is no agreement."""
    return told.hits > told.misses if found == "strong" else told.hits < told.misses


class Record:
    """How one author agrees, pair by pair: what changes of one pair is judged alone.

    Its numbers depend on one's own audits and on this author's, never on another's.
    """

    __slots__ = ("_auditor", "_judged", "agreement")

    def __init__(self, *, auditor: bool = False) -> None:
        self._auditor = auditor
        # Of pairs that one's own audits found strong or weak: which, and whether the author found them so.
        self._judged: dict[Pair, tuple[Kind, bool]] = {}
        self.agreement = Agreement(auditor=auditor)

    def judge(self, pair: Pair, found: Kind | None, told: Counts) -> bool:
        """Compare what the author `told` with what was `found`, if that is clear; whether the agreement changed."""
        # specs/06-ledger.md: "A node MUST NOT let the audits of one author raise or lower the trust in another."
        judged = (found, agrees(found, told)) if found is not None and told.any else None
        if judged == self._judged.get(pair):
            return False
        self._judged.pop(pair, None)
        if judged is not None:
            self._judged[pair] = judged
        count = Counter(self._judged.values())
        strong, weak = count["strong", True], count["weak", True]
        self.agreement = Agreement(strong + count["strong", False], strong, weak + count["weak", False], weak, self._auditor)
        return True
