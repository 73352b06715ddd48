"""Weights come from audited answers by integers alone, and no evidence weighs nothing."""

from __future__ import annotations

import calendar
import datetime as dt
import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from protocol.errors import LocalProtocolError
from protocol.evidence import DECAY, Counts, EvidenceBook, log2_fixed

DAY_MS = 86_400_000
NOW_MS = 19_000 * DAY_MS + 12_345
PEER, OTHER = b"p" * 32, b"o" * 32
counts = st.builds(Counts, st.integers(0, 10**6), st.integers(0, 10**6))
options = st.integers(2, 1_000)


def at_least(numerator: int, denominator: int, result: int) -> bool:
    """Whether 2^(result / 2^16) <= numerator / denominator, by big integers alone."""
    left, right = numerator**WEIGHT_ONE, denominator**WEIGHT_ONE
    return bool(left >= right << result if result >= 0 else left << -result >= right)


@settings(max_examples=12)
@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_log2__is_within_two_units_below_the_exact_value(numerator: int, denominator: int) -> None:
    result = log2_fixed(numerator, denominator)
    assert at_least(numerator, denominator, result)
    assert not at_least(numerator, denominator, result + 2)


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 1), (3, 2), (2, 3), (2**31 - 1, 2**30), (10**9, 10**9 + 1), (9, 1)])
def test_log2__is_within_two_units_at_the_corners(numerator: int, denominator: int) -> None:
    result = log2_fixed(numerator, denominator)
    # Powers by squaring with outward rounding: 256 bits are far more than the comparison needs.
    low = high = Fraction(numerator, denominator)
    for _ in range(16):
        low, high = (Fraction(math.floor(low * low * 2**256), 2**256), Fraction(math.ceil(high * high * 2**256), 2**256))
    two = Fraction(2)
    assert two**result <= high
    assert low < two ** (result + 2)


@given(st.dates(dt.date(1970, 1, 2), dt.date(2200, 1, 1)))
def test_day__begins_at_midnight_of_utc_and_counts_from_1970(date: dt.date) -> None:
    book, midnight_ms = EvidenceBook(), 1_000 * calendar.timegm(date.timetuple())
    for wall_ms in (midnight_ms - 1, midnight_ms):
        book.add(PEER, "arith", "hit", wall_ms)
    day = (date - dt.date(1970, 1, 1)).days
    assert book.days(PEER, "arith") == [(day - 1, 1, 0, 0), (day, 1, 0, 0)]


@given(st.integers(-200, 200), st.integers(1, 10**12))
def test_log2__of_a_power_of_two_is_exact(exponent: int, factor: int) -> None:
    numerator, denominator = (factor << exponent, factor) if exponent >= 0 else (factor, factor << -exponent)
    assert log2_fixed(numerator, denominator) == exponent * WEIGHT_ONE


@given(st.integers(1, 2**80), st.integers(1, 2**80))
def test_log2__agrees_with_the_floating_logarithm(numerator: int, denominator: int) -> None:
    exact = WEIGHT_ONE * (math.log2(numerator) - math.log2(denominator))
    assert abs(log2_fixed(numerator, denominator) - exact) <= 2.001


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(1, 10**6))
def test_log2__depends_on_the_ratio_alone(numerator: int, denominator: int, factor: int) -> None:
    assert log2_fixed(numerator * factor, denominator * factor) == log2_fixed(numerator, denominator)


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.integers(0, 2**20))
def test_log2__never_falls_when_the_ratio_grows(numerator: int, denominator: int, more: int) -> None:
    assert log2_fixed(numerator + more, denominator) >= log2_fixed(numerator, denominator)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_log2__refuses_what_has_no_logarithm(numerator: int, denominator: int) -> None:
    with pytest.raises(LocalProtocolError):
        log2_fixed(numerator, denominator)


# --- Weight


@given(st.integers(2, 10**9))
def test_weight__without_evidence_is_exactly_zero(k: int) -> None:
    assert Counts().weight(k) == 0
    assert not Counts().any
    assert Counts().mean(k) == WEIGHT_ONE // k


@given(counts, options)
def test_weight__is_the_clamped_log_odds_of_the_posterior(count: Counts, k: int) -> None:
    hits = Fraction(count.hits, EVIDENCE_ONE) + Fraction(PRIOR_STRENGTH, k)
    misses = Fraction(count.misses, EVIDENCE_ONE) + Fraction(PRIOR_STRENGTH * (k - 1), k)
    ratio = hits / misses * (k - 1)
    exact = WEIGHT_ONE * (math.log2(ratio.numerator) - math.log2(ratio.denominator))
    probation = min(1.0, count.hits / (PROBATION * EVIDENCE_ONE))
    assert abs(count.weight(k) - probation * max(0.0, min(float(WEIGHT_MAX), exact))) <= 3.001
    assert count.mean(k) == math.floor(WEIGHT_ONE * hits / (hits + misses))


@given(counts, options, st.integers(0, 10**5))
def test_weight__grows_with_hits_and_falls_with_misses(count: Counts, k: int, more: int) -> None:
    assert Counts(count.hits + more, count.misses).weight(k) >= count.weight(k)
    assert Counts(count.hits, count.misses + more).weight(k) <= count.weight(k)
    assert Counts(count.hits + more, count.misses).mean(k) >= count.mean(k)
    assert Counts(count.hits, count.misses + more).mean(k) <= count.mean(k)


@given(counts | st.builds(Counts, st.integers(0, 600), st.integers(0, 600)), options)
def test_earns__is_whether_the_weight_is_above_zero(count: Counts, k: int) -> None:
    assert count.earns(k) == (count.weight(k) > 0)


@given(counts, st.integers(2, 10**9))
def test_weight__stays_between_zero_and_the_cap(count: Counts, k: int) -> None:
    assert 0 <= count.weight(k) <= WEIGHT_MAX


@pytest.mark.parametrize("k", [2, 10, 1_000])
def test_weight__reaches_the_cap_and_no_more(k: int) -> None:
    assert Counts(10**12, 0).weight(k) == WEIGHT_MAX


@given(st.integers(0, 10**6), options)
def test_weight__of_a_guesser_is_nothing(misses: int, k: int) -> None:
    # Who is right as often as chance has odds 1 / (K - 1): its vote says nothing.
    assert Counts(misses, misses * (k - 1)).weight(k) == 0


@pytest.mark.parametrize(("hits", "share"), [(1, 0.2), (3, 0.6), (PROBATION - 1, 0.8), (PROBATION, 1.0), (PROBATION + 1, 1.0)])
def test_weight__of_a_newcomer_on_probation_is_a_share(hits: int, share: float) -> None:
    full = WEIGHT_ONE * math.log2((10 * hits + PRIOR_STRENGTH) * 9 / (9 * PRIOR_STRENGTH))
    assert Counts(hits * EVIDENCE_ONE, 0).weight(10) == pytest.approx(share * full, abs=3)


@given(counts, st.integers(0, 3_000))
def test_within__keeps_the_proportion_and_the_limit(count: Counts, limit: int) -> None:
    part = count.within(limit)
    assert part.total <= max(limit, 0)
    assert part == count if count.total <= limit else abs(part.hits * count.total - count.hits * limit) <= count.total


def test_weight__of_a_skill_with_one_answer_is_misuse() -> None:
    with pytest.raises(LocalProtocolError):
        Counts(5, 5).weight(1)


# --- The book


def filled(*entries: tuple[str, int, int], peer: bytes = PEER, skill: str = "arith") -> EvidenceBook:
    """A book with `count` times each verdict `days` ago, oldest first."""
    book = EvidenceBook()
    for verdict, count, days in sorted(entries, key=lambda entry: -entry[2]):
        for _ in range(count):
            book.add(peer, skill, verdict, NOW_MS - days * DAY_MS)
    return book


def test_counts__of_today_are_whole() -> None:
    book = filled(("hit", 3, 0), ("miss", 2, 0), ("abstained", 4, 0))
    assert book.counts(PEER, "arith", NOW_MS) == Counts(3 * EVIDENCE_ONE, 2 * EVIDENCE_ONE)
    assert book.audits(PEER, "arith", NOW_MS) == 9


def test_counts__are_kept_apart_by_peer_and_skill() -> None:
    book = filled(("hit", 3, 0))
    assert book.counts(OTHER, "arith", NOW_MS) == Counts() == book.counts(PEER, "lists", NOW_MS)
    book.add(PEER, "lists", "miss", NOW_MS)
    assert book.counts(PEER, "lists", NOW_MS) == Counts(0, EVIDENCE_ONE)
    assert book.counts(PEER, "arith", NOW_MS) == Counts(3 * EVIDENCE_ONE, 0)
    assert book.pairs() == [(PEER, "arith"), (PEER, "lists")]


def test_abstention__counts_as_an_audit_and_not_as_evidence() -> None:
    book = filled(("abstained", 5, 0))
    assert not book.counts(PEER, "arith", NOW_MS).any
    assert book.audits(PEER, "arith", NOW_MS) == 5


def test_decay__halves_in_the_half_life_and_never_rises() -> None:
    assert DECAY[0] == WEIGHT_ONE
    assert len(DECAY) == EVIDENCE_DAYS_MAX
    assert all(later < earlier for earlier, later in itertools.pairwise(DECAY))
    for lives in range(1, EVIDENCE_DAYS_MAX // EVIDENCE_HALF_LIFE_DAYS):
        assert abs(DECAY[lives * EVIDENCE_HALF_LIFE_DAYS] - (WEIGHT_ONE >> lives)) <= 1
    for age, factor in enumerate(DECAY):
        # 2^(-age / half life) to one unit, by the integer power of both sides.
        assert (factor - 1) ** EVIDENCE_HALF_LIFE_DAYS << age <= WEIGHT_ONE**EVIDENCE_HALF_LIFE_DAYS
        assert (factor + 2) ** EVIDENCE_HALF_LIFE_DAYS << age > WEIGHT_ONE**EVIDENCE_HALF_LIFE_DAYS


def test_decay__moves_old_evidence_towards_none() -> None:
    book = filled(("hit", 8, 0))
    seen = [book.counts(PEER, "arith", NOW_MS + days * DAY_MS).hits for days in range(400)]
    assert seen == sorted(seen, reverse=True)
    assert seen[EVIDENCE_HALF_LIFE_DAYS] in range(4 * EVIDENCE_ONE - 1, 4 * EVIDENCE_ONE + 1)
    assert seen[-1] < EVIDENCE_ONE


def test_decay__does_not_reward_a_clock_that_went_back() -> None:
    book = filled(("hit", 8, 0))
    assert book.counts(PEER, "arith", NOW_MS - 5 * DAY_MS) == Counts(8 * EVIDENCE_ONE, 0)


def test_book__keeps_a_bounded_number_of_days() -> None:
    book = EvidenceBook()
    for day in range(2 * EVIDENCE_DAYS_MAX):
        ((_, value),) = book.add(PEER, "arith", "hit", NOW_MS + day * DAY_MS)
    other = EvidenceBook()
    assert value is not None
    other.restore(PEER + b"arith", value)
    at_ms = NOW_MS + (2 * EVIDENCE_DAYS_MAX - 1) * DAY_MS
    assert other.counts(PEER, "arith", at_ms) == book.counts(PEER, "arith", at_ms)
    assert other.counts(PEER, "arith", at_ms).hits <= sum(DECAY) * EVIDENCE_ONE >> 16


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["hit", "miss", "abstained"]), st.integers(0, 100)), min_size=1, max_size=20))
def test_restore__gives_back_what_add_persisted(entries: list[tuple[str, int]]) -> None:
    book, disk = EvidenceBook(), {}
    for verdict, day in entries:
        ((key, value),) = book.add(PEER, "arith", verdict, NOW_MS + day * DAY_MS)
        disk[key] = value
    other = EvidenceBook()
    for key, value in disk.items():
        assert value is not None
        other.restore(key, value)
    for day in (0, 50, 100, 300):
        at_ms = NOW_MS + day * DAY_MS
        assert other.counts(PEER, "arith", at_ms) == book.counts(PEER, "arith", at_ms)
        assert other.audits(PEER, "arith", at_ms) == book.audits(PEER, "arith", at_ms)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "c0",
        "01",
        "80",
        "ff00",
        "9290",
        "929090",
        "92919401020304",
        "92919401020304c0",
        "9291940102030490ff",
        "9291930102039000",
        "92919301020390",
        "9291950102030405" + "90",
        "92919401020 3ff90".replace(" ", ""),
        "929194a10101010190",
        "9291940102030491c0",
        "9291940102030491ff",
    ],
)
def test_restore__refuses_a_damaged_entry(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        EvidenceBook().restore(PEER + b"arith", bytes.fromhex(value))


@pytest.mark.parametrize("key", [b"", b"short", PEER + b"\xff\xfe"])
def test_restore__refuses_a_damaged_key(key: bytes) -> None:
    ((_, value),) = EvidenceBook().add(PEER, "arith", "hit", NOW_MS)
    assert value is not None
    with pytest.raises(LocalProtocolError):
        EvidenceBook().restore(key, value)


@settings(max_examples=100)
@given(st.binary(max_size=60), st.binary(max_size=40))
def test_restore__raises_nothing_but_our_own_error(key: bytes, value: bytes) -> None:
    book = EvidenceBook()
    try:
        book.restore(key, value)
    except LocalProtocolError:
        return
    assert book.counts(key[:32], key[32:].decode(), NOW_MS).hits >= 0


def test_citations__name_the_latest_entries_once_each() -> None:
    book, other = EvidenceBook(), EvidenceBook()
    assert book.citations(PEER, "arith") == ()
    for number in range(CITATIONS_MAX + 3):
        for _ in range(2):
            ((key, value),) = book.add(PEER, "arith", "hit", NOW_MS, number)
    book.add(PEER, "arith", "hit", NOW_MS)
    assert value is not None
    other.restore(key, value)
    assert book.citations(PEER, "arith") == other.citations(PEER, "arith") == tuple(range(3, CITATIONS_MAX + 3))


def test_evidence__is_bounded_and_strangers_crowd_out_nobody_who_earned_trust() -> None:
    book = EvidenceBook()
    for _ in range(5):
        book.add(PEER, "arith", "hit", NOW_MS)
    rows = []
    for number in range(EVIDENCE_MAX + 10):
        rows += book.add(number.to_bytes(32, "big"), "arith", "miss", NOW_MS)
    assert sum(value is None for _, value in rows) == 11
    assert book.counts(PEER, "arith", NOW_MS).weight(10) > 0


def test_evidence__a_full_book_makes_room_for_a_newcomer_at_the_cost_of_the_oldest() -> None:
    book = EvidenceBook()
    for number in range(EVIDENCE_MAX):
        book.add(number.to_bytes(32, "big"), "arith", "hit", NOW_MS - 2 * EVIDENCE_DAYS_MAX * DAY_MS)
    for _ in range(5):
        book.add(PEER, "arith", "hit", NOW_MS)
    assert book.audits(PEER, "arith", NOW_MS) == 5
