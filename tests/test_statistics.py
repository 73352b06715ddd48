"""Intervals and baselines of the developer network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dev.statistics import Sheet, best_single, breakdown, estimate, paired, percentile, plurality, ratio, scores, wilson


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
        Sheet("a", "arith", "f", "1", "1", ("1", "2", "9")),
        Sheet("b", "arith", "f", "2", "2", ("2", "3", "9")),
        Sheet("c", "lists", "f", "3", "3", ("0", "3", "9")),
    ]
    result = scores(sheets, [True, True, False])
    assert result["network"] == [1, 1, 1]
    assert result["best_single"] == [1, 1, 0]
    assert result["oracle_route"] == [1, 1, 1]
    assert result["random"] == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_scores__majority_counts_the_liar_and_the_honest_one_does_not() -> None:
    sheets = [Sheet("a", "arith", "f", "1", "1", ("1", "9", "9", "1"))]
    assert scores(sheets, [True, True, False, True])["majority_honest"] == [1]
    # Two against two: the tie goes by hash, but never to an answer that nobody gave.
    assert scores(sheets, [True, True, False, True])["majority"][0] in (0, 1)


def test_scores__an_abstention_is_not_a_vote_for_nothing() -> None:
    sheets = [Sheet("a", "arith", "f", "1", "1", (None, None, "1"))]
    assert scores(sheets, [True, True, True])["majority"] == [1]


def test_best_single__is_who_was_right_most_often() -> None:
    sheets = [Sheet("a", "arith", "f", "1", None, ("0", "1")), Sheet("b", "arith", "f", "2", None, ("0", "2"))]
    assert best_single(sheets, 2) == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["arith", "lists"])), min_size=1))
def test_scores__no_policy_of_one_node_a_skill_beats_the_oracle_route(drawn: list[tuple[bool, bool, bool, str]]) -> None:
    sheets = [
        Sheet(str(index), skill, "f", "1", "1" if network else "0", ("1" if first else "0", "1" if second else "0"))
        for index, (network, first, second, skill) in enumerate(drawn)
    ]
    result = scores(sheets, [True, True])
    assert sum(result["oracle_route"]) >= sum(result["best_single"]) >= sum(result["random"])


def test_ratio__is_a_share_of_what_is_there() -> None:
    assert ratio([1, 0, 1, 1], [1, 1, 1, 1]) == 0.75
    assert ratio([1.0], [0.0]) is None


def test_plurality__the_answer_most_often_given_and_none_of_nothing() -> None:
    assert plurality("q1", ["7", "8", None, "8"]) == "8"
    assert plurality("q1", [None, None]) is None


def test_breakdown__has_each_skill_and_each_family_with_one_column_a_model() -> None:
    sheets = [
        Sheet("a", "arith", "add", "1", "1", ("1", "1", "0")),
        Sheet("b", "arith", "times", "2", "0", ("2", "0", "0")),
        Sheet("c", "lists", "sort", "3", "3", ("0", "0", "3")),
    ]
    rows = breakdown(sheets, {"network": [1.0, 0.0, 1.0]}, ["arith", "arith", "lists"])
    assert [(row["skill"], row["family"], row["questions"]) for row in rows] == [
        ("arith", None, 2),
        ("arith", "add", 1),
        ("arith", "times", 1),
        ("lists", None, 1),
        ("lists", "sort", 1),
    ]
    assert rows[0]["accuracy"] == {"network": 0.5}
    assert rows[0]["models"] == {"arith": 0.75, "lists": 0.0}
    assert rows[3]["models"] == {"arith": 0.0, "lists": 1.0}


def test_percentile__takes_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([], 0.5)) == (50.0, 99.0, 0.0)


def test_estimate__of_nothing_is_unknown() -> None:
    assert estimate([]) == {"accuracy": 0.0, "low": 0.0, "high": 1.0}
