"""The order of free texts: a weighted Copeland score, whatever the order of the judgements."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ranking import Judged, Ranked, Text, most_trusted, rank

TASK = bytes(16)
A, B, C = (Text(name, name.decode() * 3, weight) for name, weight in ((b"a", 3), (b"b", 2), (b"c", 1)))
authors = st.sampled_from([b"a", b"b", b"c"])


def says(judge: bytes, better: Text, worse: Text, weight: int = 1, cluster: int | None = None) -> Judged:
    return Judged(judge, better.author, worse.author, better.author, weight, cluster)


def test_rank__counts_two_for_a_pair_won_and_one_for_a_tie() -> None:
    judged = [says(b"x", C, A), says(b"y", C, B), says(b"y", A, B)]
    assert rank(TASK, [A, B, C], judged) == (Ranked(b"c", 4), Ranked(b"a", 2), Ranked(b"b", 0))
    assert rank(TASK, [A, B, C], judged[:2]) == (Ranked(b"c", 4), Ranked(b"a", 1), Ranked(b"b", 1))


def test_rank__weighs_judges_and_gives_a_cluster_one_voice() -> None:
    judged = [says(b"x", A, B, 3), says(b"y", B, A, 2), says(b"z", B, A, 2)]
    assert [item.author for item in rank(TASK, [A, B], judged) or ()] == [b"b", b"a"]
    clustered = [replace(item, cluster=1) if item.weight == 2 else item for item in judged]
    assert [item.author for item in rank(TASK, [A, B], clustered) or ()] == [b"a", b"b"]


@pytest.mark.parametrize(
    "judged",
    [
        [],
        [says(b"x", A, B), says(b"x", A, C), says(b"x", B, C)],
        [says(b"x", A, B), says(b"y", A, B, weight=0)],
        [says(b"x", A, B), replace(says(b"y", A, B), preferred=None)],
    ],
    ids=["none", "one judge", "no weight", "no preference"],
)
def test_rank__needs_two_judges_with_a_weight_and_a_preference(judged: list[Judged]) -> None:
    assert rank(TASK, [A, B, C], judged) is None


def test_rank__of_a_circle_goes_to_who_is_trusted_most() -> None:
    circle = [says(b"x", A, B), says(b"y", B, C), says(b"z", C, A)]
    assert rank(TASK, [C, B, A], circle) == (Ranked(b"a", 2), Ranked(b"b", 2), Ranked(b"c", 2))


def test_most_trusted__is_by_weight_and_then_by_a_hash() -> None:
    assert most_trusted(TASK, [C, A, B]) == A
    level = [replace(text, weight=1) for text in (A, B, C)]
    firsts = {most_trusted(bytes([number]) * 16, level) for number in range(32)}
    assert firsts == set(level)
    assert most_trusted(TASK, []) is None


@settings(max_examples=100)
@given(
    st.lists(st.builds(Judged, st.sampled_from([b"x", b"y", b"z"]), authors, authors, st.none() | authors, st.integers(0, 3))),
    st.randoms(use_true_random=False),
)
def test_rank__does_not_depend_on_any_order_and_gives_out_all_points(judged: list[Judged], mixer: random.Random) -> None:
    texts = [A, B, C]
    ranking = rank(TASK, texts, judged)
    mixer.shuffle(judged)
    mixer.shuffle(texts)
    turned = [replace(item, first=item.second, second=item.first) for item in judged]
    assert rank(TASK, texts, judged) == rank(TASK, texts, turned) == ranking
    if ranking is not None:
        assert {item.author for item in ranking} == {b"a", b"b", b"c"}
        assert sum(item.points for item in ranking) == 2 * len(list(combinations(texts, 2)))
