"""Trust in an author: the exact bound, what earns it and what never does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import AUDITOR_PAIRS, EVIDENCE_ONE, TRUST_ONE, TRUST_OWN_MIN, TRUST_PAIRS_MAX, TRUST_RISK
from protocol.errors import LocalProtocolError
from protocol.evidence import Counts
from protocol.trust import Agreement, Kind, Pair, Record, agrees, clear, lower_bound

KINDS: tuple[Kind, ...] = ("strong", "weak")

verdicts = st.integers(0, 20).map(lambda count: count * EVIDENCE_ONE)
counts = st.builds(Counts, verdicts, verdicts)


def of(hits: int, misses: int) -> Counts:
    return Counts(hits * EVIDENCE_ONE, misses * EVIDENCE_ONE)


def pair(number: int) -> Pair:
    return bytes([number]) * 32, "arith"


def tail(agreed: int, judged: int, rate: Fraction) -> Fraction:
    terms = (comb(judged, count) * rate**count * (1 - rate) ** (judged - count) for count in range(agreed, judged + 1))
    return sum(terms, Fraction(0))


@settings(max_examples=60)
@given(st.integers(1, TRUST_PAIRS_MAX), st.data())
def test_bound__is_the_exact_binomial_one(judged: int, data: st.DataObject) -> None:
    agreed = data.draw(st.integers(1, judged))
    bound = lower_bound(agreed, judged)
    assert 0 <= bound < TRUST_ONE
    assert tail(agreed, judged, Fraction(bound, TRUST_ONE)) <= Fraction(1, TRUST_RISK)
    assert bound == TRUST_ONE - 1 or tail(agreed, judged, Fraction(bound + 1, TRUST_ONE)) > Fraction(1, TRUST_RISK)


@pytest.mark.parametrize(
    ("agreed", "judged", "bound"),
    [(0, 0, 0), (0, 20, 0), (1, 1, 12), (2, 2, 57), (3, 3, 94), (8, 8, 176), (9, 10, 155), (32, 32, 233)],
)
def test_bound__of_known_cases(agreed: int, judged: int, bound: int) -> None:
    assert lower_bound(agreed, judged) == bound


@given(st.integers(0, 300), st.integers(0, 300))
def test_bound__never_falls_with_agreement_nor_rises_with_dissent(agreed: int, against: int) -> None:
    bound = lower_bound(agreed, agreed + against)
    if agreed + against < TRUST_PAIRS_MAX:
        assert lower_bound(agreed + 1, agreed + against + 1) >= bound
        assert lower_bound(agreed, agreed + against + 1) <= bound
    assert bound * (agreed + against) <= agreed * TRUST_ONE


def test_bound__of_more_agreement_than_judgement_is_misuse() -> None:
    with pytest.raises(LocalProtocolError):
        lower_bound(2, 1)


@pytest.mark.parametrize(
    ("hits", "misses", "found"),
    [(2, 0, None), (3, 0, "strong"), (0, 3, "weak"), (2, 1, "strong"), (1, 2, "weak"), (5, 3, None), (10, 5, "strong")],
)
def test_own_audits__judge_others_only_where_they_are_clear(hits: int, misses: int, found: str | None) -> None:
    assert clear(of(hits, misses)) is found


@given(counts)
def test_own_audits__are_never_clear_with_few(own: Counts) -> None:
    if own.total < TRUST_OWN_MIN * EVIDENCE_ONE:
        assert clear(own) is None


@pytest.mark.parametrize(("hits", "misses", "agreed"), [(2, 1, ["strong"]), (1, 2, ["weak"]), (1, 1, [])])
def test_agreement__is_of_majorities_and_a_tie_is_none(hits: int, misses: int, agreed: list[str]) -> None:
    assert [kind for kind in KINDS if agrees(kind, of(hits, misses))] == agreed


def agreement(found: Mapping[Pair, Kind], told: Iterable[tuple[Pair, Counts]], *, auditor: bool = False) -> Agreement:
    """How an author agrees, one pair after the other."""
    record = Record(auditor=auditor)
    for each, counts in told:
        record.judge(each, found.get(each), counts)
    return record.agreement


FOUND: dict[Pair, Kind] = {pair(number): KINDS[number // 8] for number in range(16)}


def test_trust__comes_from_telling_strong_from_weak() -> None:
    honest = [(key, of(9, 1) if kind == "strong" else of(1, 9)) for key, kind in FOUND.items()]
    assert agreement(FOUND, honest) == Agreement(8, 8, 8, 8)
    assert agreement(FOUND, honest).trust == lower_bound(8, 8)


@given(st.dictionaries(st.integers(0, 40).map(pair), st.integers(1, 30)))
def test_trust__of_who_only_praises_or_only_condemns_is_nothing(told: dict[Pair, int]) -> None:
    assert agreement(FOUND, [(key, of(count, 0)) for key, count in told.items()]).trust == 0
    assert agreement(FOUND, [(key, of(0, count)) for key, count in told.items()]).trust == 0


@given(st.dictionaries(st.integers(20, 40).map(pair), counts))
def test_trust__about_peers_nobody_else_audited_is_nothing(told: dict[Pair, Counts]) -> None:
    assert agreement(FOUND, told.items()) == Agreement()
    assert Agreement().trust == 0


@settings(max_examples=60)
@given(st.dictionaries(st.integers(0, 20).map(pair), counts), st.integers(0, 15).map(pair))
def test_trust__never_grows_by_a_lie_about_a_shared_peer(told: dict[Pair, Counts], about: Pair) -> None:
    lie = of(0, 5) if FOUND[about] == "strong" else of(5, 0)
    silent = {key: count for key, count in told.items() if key != about}
    assert agreement(FOUND, (silent | {about: lie}).items()).trust <= agreement(FOUND, silent.items()).trust


def test_trust__of_a_named_auditor_starts_above_nothing_and_is_lost_by_disagreement() -> None:
    fresh = agreement(FOUND, (), auditor=True)
    assert fresh.trust == lower_bound(AUDITOR_PAIRS, AUDITOR_PAIRS)
    liar = agreement(FOUND, [(key, of(0, 9) if kind == "strong" else of(9, 0)) for key, kind in FOUND.items()], auditor=True)
    assert liar.trust < fresh.trust // 2
