"""Intervals and baselines of the developer network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dev.statistics import Sheet, estimate, paired, percentile, scores, wilson


def test_wilson__matches_a_published_example() -> None:
    # Newcombe 1998, table I: 81 of 263.
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson__holds_the_mean_and_stays_in_bounds(hits: int, count: int) -> None:
    mean = min(hits, count) / count
    low, high = wilson(mean, count)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1


def test_paired__equal_scores_differ_by_nothing() -> None:
    assert paired([1, 0, 1], [1, 0, 1]) == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_scores__policies_are_computed_from_the_nodes_own_answers() -> None:
    sheets = [
        Sheet("a", "arith", "1", "1", ("1", "2", "9")),
        Sheet("b", "arith", "2", "2", ("2", "3", "9")),
        Sheet("c", "lists", "3", "3", ("0", "3", "9")),
    ]
    result = scores(sheets, [True, True, False])
    assert result["network"] == [1, 1, 1]
    assert result["best_single"] == [1, 1, 0]
    assert result["oracle_route"] == [1, 1, 1]
    assert result["random"] == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_scores__majority_counts_the_liar_and_the_honest_one_does_not() -> None:
    sheets = [Sheet("a", "arith", "1", "1", ("1", "9", "9", "1"))]
    assert scores(sheets, [True, True, False, True])["majority_honest"] == [1]
    # Two against two: the tie goes by hash, but never to an answer that nobody gave.
    assert scores(sheets, [True, True, False, True])["majority"][0] in (0, 1)


def test_scores__an_abstention_is_not_a_vote_for_nothing() -> None:
    sheets = [Sheet("a", "arith", "1", "1", (None, None, "1"))]
    assert scores(sheets, [True, True, True])["majority"] == [1]


def test_percentile__takes_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (50.0, 99.0, 0.0)


def test_estimate__of_nothing_is_unknown() -> None:
    assert estimate([]) == {"accuracy": 0.0, "low": 0.0, "high": 1.0}
