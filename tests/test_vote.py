"""The weighted vote: order never matters, weight zero never decides, ties are settled alike by everyone."""

from __future__ import annotations

import hashlib
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import WEIGHT_MAX
from protocol.vote import Tally, Vote, tally

TASK = bytes(16)
answers = st.sampled_from(["1", "2", "3", "12 7", None])
weights = st.sampled_from([0, 1, 2, 65_536]) | st.integers(0, WEIGHT_MAX)
votes = st.lists(st.builds(Vote, st.binary(min_size=32, max_size=32), answers, weights), max_size=8)


def reference(task: bytes, cast: list[Vote]) -> Tally:
    """The rule in its plainest form."""
    real = [vote for vote in cast if vote.answer is not None]
    if not real:
        return Tally(None, earned=False, margin=0, support=(), abstained=len(cast))
    earned = sum(vote.weight for vote in real) > 0
    totals = []
    for answer in {vote.answer for vote in real}:
        assert answer is not None
        total = sum(vote.weight if earned else 1 for vote in real if vote.answer == answer)
        tie = hashlib.sha256(b"tutti/tie/1\x00" + task + answer.encode()).digest()
        totals.append((-total, tie, answer))
    totals.sort()
    first, second = -totals[0][0], -totals[1][0] if len(totals) > 1 else 0
    margin = int(Fraction(1_000 * (first - second), sum(-total for total, _, _ in totals)))
    support = tuple((answer, -total) for total, _, answer in totals)
    return Tally(totals[0][2], earned, margin, support, len(cast) - len(real))


@settings(max_examples=200)
@given(st.binary(min_size=16, max_size=16), votes)
def test_tally__is_the_rule_in_its_plainest_form(task: bytes, cast: list[Vote]) -> None:
    assert tally(task, cast) == reference(task, cast)


@settings(max_examples=80)
@given(votes, st.randoms(use_true_random=False))
def test_tally__does_not_depend_on_the_order_of_votes(cast: list[Vote], draws: random.Random) -> None:
    shuffled = list(cast)
    draws.shuffle(shuffled)
    assert tally(TASK, shuffled) == tally(TASK, cast)


@settings(max_examples=80)
@given(votes)
def test_tally__support_sums_to_the_weights_that_were_cast(cast: list[Vote]) -> None:
    result = tally(TASK, cast)
    real = [vote for vote in cast if vote.answer is not None]
    assert sum(support for _, support in result.support) == (sum(vote.weight for vote in real) if result.earned else len(real))
    assert result.abstained + len(real) == len(cast)
    assert 0 <= result.margin <= 1_000
    assert [support for _, support in result.support] == sorted((s for _, s in result.support), reverse=True)


@settings(max_examples=80)
@given(votes, st.integers(0, 5), weights)
def test_abstention__is_neutral_whatever_its_weight(cast: list[Vote], count: int, weight: int) -> None:
    more = [*cast, *(Vote(bytes([number]) * 32, None, weight) for number in range(count))]
    with_them, without = tally(TASK, more), tally(TASK, cast)
    assert (with_them.answer, with_them.earned, with_them.margin, with_them.support) == (
        without.answer,
        without.earned,
        without.margin,
        without.support,
    )
    assert with_them.abstained == without.abstained + count


@settings(max_examples=80)
@given(st.integers(1, WEIGHT_MAX), st.integers(1, 200))
def test_liar__of_weight_zero_never_decides(weight: int, liars: int) -> None:
    cast = [Vote(b"h" * 32, "right", weight), *(Vote(bytes([n % 256]) * 32, "wrong", 0) for n in range(liars))]
    result = tally(TASK, cast)
    assert (result.answer, result.earned, result.margin) == ("right", True, 1_000)
    assert result.support == (("right", weight), ("wrong", 0))


def test_zero_weights__leave_plurality_and_say_so() -> None:
    result = tally(TASK, [Vote(b"a", "1", 0), Vote(b"b", "1", 0), Vote(b"c", "2", 0), Vote(b"d", None, 9)])
    assert result == Tally("1", earned=False, margin=333, support=(("1", 2), ("2", 1)), abstained=1)


def test_no_votes__give_no_answer() -> None:
    assert tally(TASK, []) == Tally(None, earned=False, margin=0, support=(), abstained=0)
    assert tally(TASK, [Vote(b"a", None, 7)]).answer is None


def test_empty_answer__is_an_answer_and_no_abstention() -> None:
    assert tally(TASK, [Vote(b"a", "", 7)]).answer == ""


@pytest.mark.parametrize("weight", [0, 5])
def test_tie__is_settled_by_the_task_and_differs_between_tasks(weight: int) -> None:
    cast = [Vote(b"a", "1", weight), Vote(b"b", "2", weight)]
    winners = {}
    for number in range(64):
        task = number.to_bytes(16, "big")
        result = tally(task, cast)
        assert result == tally(task, cast[::-1])
        assert result.margin == 0
        winners[task] = result.answer
    # Neither answer may be favoured by its spelling: about half of the tasks go to each.
    assert 16 <= sum(answer == "1" for answer in winners.values()) <= 48
