"""What audits showed about each peer and skill, and the integer weight that follows (specs/06-evidence.md).

No floats: whoever holds the same counts gets the same weight, to the last bit. No evidence means weight exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol import canonical
from protocol.constants import (
    EVIDENCE_DAYS_MAX,
    EVIDENCE_HALF_LIFE_DAYS,
    EVIDENCE_MAX,
    EVIDENCE_ONE,
    PRIOR_STRENGTH,
    WEIGHT_MAX,
    WEIGHT_ONE,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE

_DAY_MS: Final = 86_400_000
_VERDICTS: Final = ("hit", "miss", "abstained")
_FRACTION_BITS: Final = 16
_SCALE_BITS: Final = 30


def _decay_table() -> tuple[int, ...]:
    """Factors 2^(-age / half-life) in units of 2^-16, by integers alone: the n-th root of one half by bisection."""
    one = 1 << 32
    low, high = 0, one
    while high - low > 1:
        middle = (low + high) // 2
        power = one
        for _ in range(EVIDENCE_HALF_LIFE_DAYS):
            power = power * middle >> 32
        low, high = (middle, high) if power <= one // 2 else (low, middle)
    table, factor = [], one
    for _ in range(EVIDENCE_DAYS_MAX):
        table.append(factor >> 16)
        factor = factor * low >> 32
    return tuple(table)


DECAY: Final = _decay_table()


def log2_fixed(numerator: int, denominator: int) -> int:
    """floor(2^16 * log2(numerator / denominator)) of positive integers, bit by bit: square, compare with two, halve.

    Floating logarithms differ between languages in the last bit; this one does not. The mantissa keeps 30 bits, so the
    result is a lower bound within 2 units of 2^-16 of the true value.
    """
    if numerator <= 0 or denominator <= 0:
        raise LocalProtocolError("log2_fixed needs positive integers")
    exponent = numerator.bit_length() - denominator.bit_length()
    if (numerator >= denominator << exponent) if exponent >= 0 else (numerator << -exponent >= denominator):
        pass
    else:
        exponent -= 1
    shifted = numerator << (_SCALE_BITS - exponent) if exponent <= _SCALE_BITS else numerator >> (exponent - _SCALE_BITS)
    mantissa = shifted // denominator
    result = exponent
    for _ in range(_FRACTION_BITS):
        mantissa = mantissa * mantissa >> _SCALE_BITS
        bit = mantissa >> (_SCALE_BITS + 1)
        mantissa >>= bit
        result = result << 1 | bit
    return result


def _factor(age_days: int) -> int:
    """What an observation of this age still counts, in units of 2^-16; a clock that went back makes none younger than new."""
    return DECAY[max(0, age_days)] if age_days < EVIDENCE_DAYS_MAX else 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Decayed hits and misses in units of 1 / EVIDENCE_ONE observation."""

    hits: int = 0
    misses: int = 0

    @property
    def any(self) -> bool:
        """Whether there is evidence at all."""
        return self.hits + self.misses > 0

    def weight(self, options: int) -> int:
        """clamp(log2 odds + log2(K - 1), 0, cap) of the posterior that starts at mean 1/K; units of 2^-16.

        With a prior of strength s: odds = (hits + s/K) / (misses + s (K-1)/K), so without evidence odds (K-1) = 1.
        """
        hits = self.hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
        misses = self.misses * options + PRIOR_STRENGTH * EVIDENCE_ONE * (options - 1)
        return max(0, min(WEIGHT_MAX, log2_fixed(hits * (options - 1), misses)))

    def mean(self, options: int) -> int:
        """The posterior mean in units of 1 / 65,536."""
        hits = self.hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
        total = (self.hits + self.misses) * options + PRIOR_STRENGTH * EVIDENCE_ONE * options
        return hits * WEIGHT_ONE // total


class EvidenceBook:
    """Hits, misses and abstentions of each (peer, skill), a day each, as this node's own audits found them."""

    def __init__(self) -> None:
        self._days: dict[tuple[bytes, str], dict[int, list[int]]] = {}

    def add(self, peer: bytes, skill: str, verdict: str, wall_ms: int) -> list[tuple[bytes, bytes | None]]:
        """Count an audit's verdict ("hit", "miss" or "abstained"); gives the (key, value) to persist, None to delete."""
        days = self._days.setdefault((peer, skill), {})
        day = wall_ms // _DAY_MS
        counts = days.setdefault(day, [0, 0, 0])
        counts[_VERDICTS.index(verdict)] += 1
        for old in [old for old in days if old <= day - EVIDENCE_DAYS_MAX]:
            del days[old]
        value: list[canonical.Value] = [[day, *days[day]] for day in sorted(days)]
        rows: list[tuple[bytes, bytes | None]] = [(peer + skill.encode(), canonical.encode(value))]
        if len(self._days) > EVIDENCE_MAX:
            # Strangers who take one audit and go must not crowd out who has earned trust, nor old evidence a newcomer.
            others = (key for key in self._days if key != (peer, skill))
            least = min(others, key=lambda key: (self.audits(key[0], key[1], wall_ms), max(self._days[key]), key))
            del self._days[least]
            rows.append((least[0] + least[1].encode(), None))
        return rows

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back a persisted entry; raises `LocalProtocolError` if it was damaged."""
        try:
            rows = canonical.decode(value)
            peer, skill = key[:32], key[32:].decode()
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise LocalProtocolError("damaged evidence entry") from error
        if len(peer) != PUBLIC_KEY_SIZE or not skill:
            raise LocalProtocolError("damaged evidence entry")
        days: dict[int, list[int]] = {}
        for row in rows if isinstance(rows, list) else [None]:
            numbers = [item for item in row if type(item) is int and item >= 0] if isinstance(row, list) else []
            if not isinstance(row, list) or len(numbers) != len(row) or len(row) != 1 + len(_VERDICTS):
                raise LocalProtocolError("damaged evidence entry")
            days[numbers[0]] = numbers[1:]
        self._days[peer, skill] = days

    def counts(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """Decayed counts of one peer in one skill."""
        hits = misses = 0
        today = wall_ms // _DAY_MS
        for day, (hit, miss, _) in self._days.get((peer, skill), {}).items():
            factor = _factor(today - day)
            hits += hit * EVIDENCE_ONE * factor
            misses += miss * EVIDENCE_ONE * factor
        return Counts(hits >> 16, misses >> 16)

    def peers(self) -> frozenset[bytes]:
        """Of whom there is evidence in any skill."""
        return frozenset(peer for peer, _ in self._days)

    def counts_over(self, peer: bytes, skills: tuple[str, ...], wall_ms: int) -> Counts:
        """Counts pooled over several skills: what is known of a peer when a question fits none."""
        pooled = [self.counts(peer, skill, wall_ms) for skill in skills]
        return Counts(sum(item.hits for item in pooled), sum(item.misses for item in pooled))

    def audits(self, peer: bytes, skill: str, wall_ms: int) -> int:
        """How many recent audits a peer had in a skill, decayed and abstentions included, so none repeat for ever."""
        today = wall_ms // _DAY_MS
        total = sum(sum(counts) * _factor(today - day) for day, counts in self._days.get((peer, skill), {}).items())
        return (total + (1 << 15)) >> 16
