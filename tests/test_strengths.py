"""The strengths that are shown beside a ranking: more for who is preferred more, and a sum of one."""

from __future__ import annotations

import pytest

from node.strengths import strengths
from protocol.ranking import Judged

A, B, C = b"a", b"b", b"c"


def says(better: bytes, worse: bytes) -> Judged:
    return Judged(b"x", better, worse, better, 1)


def test_strengths__follow_the_judgements_and_sum_to_one() -> None:
    shown = strengths([A, B, C], [says(A, B), says(A, C), says(B, C)])
    assert shown[A] > shown[B] > shown[C] > 0
    assert sum(shown.values()) == pytest.approx(1)


def test_strengths__of_two_are_the_share_of_preferences() -> None:
    # One for A and half a one for either side: 1.5 to 0.5.
    assert strengths([A, B], [says(A, B)])[A] == pytest.approx(0.75)


def test_strengths__without_judgements_are_equal() -> None:
    assert strengths([A, B], [Judged(b"x", A, B, None, 1)]) == {A: pytest.approx(0.5), B: pytest.approx(0.5)}
    assert strengths([A], []) == {A: 1.0}
    assert strengths([], []) == {}
