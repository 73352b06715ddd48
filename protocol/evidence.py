"""What audits showed about each peer and skill, and the integer weight that follows (specs/06-ledger.md).

No floats: whoever holds the same counts gets the same weight, to the last bit. No evidence means weight exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol import canonical
from protocol.constants import (
    CITATIONS_MAX,
    EVIDENCE_DAYS_MAX,
    EVIDENCE_HALF_LIFE_DAYS,
    EVIDENCE_MAX,
    EVIDENCE_ONE,
    PRIOR_STRENGTH,
    PROBATION,
    WEIGHT_MAX,
    WEIGHT_ONE,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE

DAY_MS: Final = 86_400_000
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
        return self.total > 0

    @property
    def total(self) -> int:
        """Hits and misses together."""
        return self.hits + self.misses

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.misses + other.misses)

    def within(self, limit: int) -> Counts:
        """The same in proportion, no more than `limit` together."""
        if self.total <= limit:
            return self
        return Counts(self.hits * limit // self.total, self.misses * limit // self.total)

    def weight(self, options: int) -> int:
        """clamp(log2 odds + log2(K - 1), 0, cap) of the posterior that starts at mean 1/K; units of 2^-16.

        With a prior of strength s: odds = (hits + s/K) / (misses + s (K-1)/K), so without evidence odds (K-1) = 1. On
        probation, with fewer than PROBATION hits, only that share of it: hits and not audits, so that no miss ever helps.
        """
        # specs/06-ledger.md: "Without evidence n = d, so the weight MUST be exactly 0."
        full = max(0, min(WEIGHT_MAX, log2_fixed(*self._odds(options))))
        return full * min(self.hits, PROBATION * EVIDENCE_ONE) // (PROBATION * EVIDENCE_ONE)

    def earns(self, options: int) -> bool:
        """Whether the weight is above 0, mostly without its logarithm: a thousand bids are sorted by it while bidders wait."""
        numerator, denominator = self._odds(options)
        if numerator <= denominator:
            return False
        # From a whole unit on no share of it that a hit earns is rounded to nothing.
        return numerator >= 2 * denominator or self.weight(options) > 0

    def _odds(self, options: int) -> tuple[int, int]:
        """Posterior odds times K - 1, as a ratio."""
        hits = self.hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
        misses = self.misses * options + PRIOR_STRENGTH * EVIDENCE_ONE * (options - 1)
        return hits * (options - 1), misses

    def mean(self, options: int) -> int:
        """The posterior mean in units of 1 / 65,536."""
        hits = self.hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
        total = (self.hits + self.misses) * options + PRIOR_STRENGTH * EVIDENCE_ONE * options
        return hits * WEIGHT_ONE // total


_NOTHING: Final = Counts()


@dataclass(slots=True)
class _Pair:
    """Hits, misses and abstentions by day, and the ledger entries that they come from, oldest first."""

    days: dict[int, list[int]] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)


class EvidenceBook:
    """Hits, misses and abstentions of each (peer, skill), a day each, as the audits of one author found them.

    `version` changes with every change of the book, so that what was computed from it can be kept.
    """

    def __init__(self, pairs_max: int = EVIDENCE_MAX, days_max: int = EVIDENCE_DAYS_MAX) -> None:
        self._pairs_max = pairs_max
        self._days_max = days_max
        self._pairs: dict[tuple[bytes, str], _Pair] = {}
        # Of whom there is evidence, as of a version: asked for with every entry of a ledger.
        self._peers: tuple[int, frozenset[bytes]] = (-1, frozenset())
        # What `counts` found on one day: asked for with every message, and changed by audits alone.
        self._counted: dict[tuple[bytes, str], Counts] = {}
        self._counted_day = 0
        self.version = 0

    def add(
        self, peer: bytes, skill: str, verdict: str, wall_ms: int, entry: int | None = None
    ) -> list[tuple[bytes, bytes | None]]:
        """Count an audit's verdict ("hit", "miss" or "abstained"); gives the (key, value) to persist, None to delete.

        `entry` is the number of the ledger entry that holds the audit, if there is one.
        """
        self.version += 1
        self._counted.pop((peer, skill), None)
        pair = self._pairs.setdefault((peer, skill), _Pair())
        day = wall_ms // DAY_MS
        counts = pair.days.setdefault(day, [0, 0, 0])
        counts[_VERDICTS.index(verdict)] += 1
        kept = sorted(pair.days)[-self._days_max :]
        pair.days = {each: pair.days[each] for each in kept if each > kept[-1] - EVIDENCE_DAYS_MAX}
        if entry is not None and entry not in pair.entries:
            pair.entries = [*pair.entries, entry][-CITATIONS_MAX:]
        value: list[canonical.Value] = [[[each, *pair.days[each]] for each in sorted(pair.days)], list(pair.entries)]
        rows: list[tuple[bytes, bytes | None]] = [(peer + skill.encode(), canonical.encode(value))]
        if len(self._pairs) > self._pairs_max:
            # Strangers who take one audit and go must not crowd out who has earned trust, nor old evidence a newcomer.
            others = (key for key in self._pairs if key != (peer, skill))
            least = min(others, key=lambda key: (self.audits(key[0], key[1], wall_ms), max(self._pairs[key].days), key))
            del self._pairs[least]
            self._counted.pop(least, None)
            rows.append((least[0] + least[1].encode(), None))
        return rows

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back a persisted entry; raises `LocalProtocolError` if it was damaged."""
        try:
            rows = canonical.decode(value)
            peer, skill = key[:32], key[32:].decode()
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise LocalProtocolError("damaged evidence entry") from error
        match rows:
            case [[*days], [*entries]] if len(peer) == PUBLIC_KEY_SIZE and skill and days and _are_counts(entries):
                pair = _Pair(entries=[entry for entry in entries if type(entry) is int])
            case _:
                raise LocalProtocolError("damaged evidence entry")
        for row in days:
            if not isinstance(row, list) or len(row) != 1 + len(_VERDICTS) or not _are_counts(row):
                raise LocalProtocolError("damaged evidence entry")
            day, *counts = [item for item in row if type(item) is int]
            pair.days[day] = counts
        self._pairs[peer, skill] = pair
        self._counted.pop((peer, skill), None)
        self.version += 1

    def counts(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """Decayed counts of one peer in one skill."""
        today = wall_ms // DAY_MS
        if today != self._counted_day:
            self._counted, self._counted_day = {}, today
        found = self._counted.get((peer, skill))
        if found is not None:
            return found
        if (peer, skill) not in self._pairs:
            return _NOTHING
        hits = misses = 0
        for day, (hit, miss, _) in self._days(peer, skill).items():
            factor = _factor(today - day)
            hits += hit * EVIDENCE_ONE * factor
            misses += miss * EVIDENCE_ONE * factor
        found = self._counted[peer, skill] = Counts(hits >> 16, misses >> 16)
        return found

    def peers(self) -> frozenset[bytes]:
        """Of whom there is evidence in any skill."""
        if self._peers[0] != self.version:
            self._peers = self.version, frozenset(peer for peer, _ in self._pairs)
        return self._peers[1]

    def pairs(self) -> list[tuple[bytes, str]]:
        """Each (peer, skill) of which there is evidence, sorted."""
        return sorted(self._pairs)

    def days(self, peer: bytes, skill: str) -> list[tuple[int, int, int, int]]:
        """The day number (days since 1970), hits, misses and abstentions of each day with audits, oldest first."""
        return [(day, hit, miss, abstained) for day, (hit, miss, abstained) in sorted(self._days(peer, skill).items())]

    def citations(self, peer: bytes, skill: str) -> tuple[int, ...]:
        """Numbers of the ledger entries that hold the latest of these audits, at most CITATIONS_MAX, oldest first."""
        pair = self._pairs.get((peer, skill))
        return tuple(pair.entries) if pair is not None else ()

    def audits(self, peer: bytes, skill: str, wall_ms: int) -> int:
        """How many recent audits a peer had in a skill, decayed and abstentions included, so none repeat for ever."""
        today = wall_ms // DAY_MS
        total = sum(sum(counts) * _factor(today - day) for day, counts in self._days(peer, skill).items())
        return (total + (1 << 15)) >> 16

    def _days(self, peer: bytes, skill: str) -> dict[int, list[int]]:
        pair = self._pairs.get((peer, skill))
        return pair.days if pair is not None else {}


def _are_counts(items: list[canonical.Value]) -> bool:
    return all(type(item) is int and item >= 0 for item in items)
