"""The weighted vote: order never matters, weight zero never decides, ties are settled alike by everyone."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import WEIGHT_MAX
from protocol.vote import Tally, Vote, tally

TASK = bytes(16)
answers = st.sampled_from(["1", "2", "3", "12 7", None])
weights = st.sampled_from([0, 1, 2, 65_536]) | st.integers(0, WEIGHT_MAX)
clusters = st.none() | st.integers(0, 2)
votes = st.lists(st.builds(Vote, st.binary(min_size=32, max_size=32), answers, weights, clusters), max_size=8)


def voices(cast: list[Vote], *, earned: bool) -> int:
    groups: dict[object, list[int]] = {}
    for number, vote in enumerate(cast):
        groups.setdefault(("alone", number) if vote.cluster is None else vote.cluster, []).append(vote.weight if earned else 1)
    return sum(max(group) for group in groups.values())


def reference(task: bytes, cast: list[Vote], silent: list[Vote]) -> Tally:
    """The rule in its plainest form."""
    real = [vote for vote in cast if vote.answer is not None]
    asked = [*cast, *silent]
    known = any(vote.weight for vote in asked)
    everybody = voices(asked, earned=known)
    coverage = 1_000 * voices(real, earned=known) // everybody if everybody else 0
    if not real:
        return Tally(None, earned=False, margin=0, support=(), dissent=0, abstained=len(cast), coverage=coverage)
    earned = sum(vote.weight for vote in real) > 0
    totals = []
    for answer in {vote.answer for vote in real}:
        assert answer is not None
        total = voices([vote for vote in real if vote.answer == answer], earned=earned)
        tie = hashlib.sha256(b"tutti/tie/1\x00" + task + answer.encode()).digest()
        totals.append((-total, tie, answer))
    totals.sort()
    first, second = -totals[0][0], -totals[1][0] if len(totals) > 1 else 0
    margin = int(Fraction(1_000 * (first - second), sum(-total for total, _, _ in totals)))
    support = tuple((answer, -total) for total, _, answer in totals)
    dissent = sum(vote.answer != totals[0][2] for vote in real)
    return Tally(totals[0][2], earned, margin, support, dissent, len(cast) - len(real), coverage)


@settings(max_examples=200)
@given(st.binary(min_size=16, max_size=16), votes, votes)
def test_tally__is_the_rule_in_its_plainest_form(task: bytes, cast: list[Vote], others: list[Vote]) -> None:
    silent = [replace(vote, answer=None) for vote in others]
    assert tally(task, cast, silent) == reference(task, cast, silent)


@settings(max_examples=80)
@given(votes, st.randoms(use_true_random=False))
def test_tally__does_not_depend_on_the_order_of_votes(cast: list[Vote], draws: random.Random) -> None:
    shuffled = list(cast)
    draws.shuffle(shuffled)
    assert tally(TASK, shuffled) == tally(TASK, cast)


@settings(max_examples=80)
@given(votes)
def test_tally__support_of_those_who_stand_alone_sums_to_the_weights_that_were_cast(cast: list[Vote]) -> None:
    cast = [replace(vote, cluster=None) for vote in cast]
    result = tally(TASK, cast)
    real = [vote for vote in cast if vote.answer is not None]
    assert sum(support for _, support in result.support) == (sum(vote.weight for vote in real) if result.earned else len(real))
    assert result.abstained + len(real) == len(cast)
    assert 0 <= result.margin <= 1_000
    assert [support for _, support in result.support] == sorted((s for _, s in result.support), reverse=True)


@settings(max_examples=80)
@given(votes, st.integers(0, 7), answers, weights)
def test_cluster__gains_nothing_by_another_member_of_no_more_weight(
    cast: list[Vote], number: int, answer: str | None, weight: int
) -> None:
    members = [Vote(bytes([index]) * 32, answer, min(weight, 7), 9) for index in range(1 + number)]
    result, alone = tally(TASK, [*cast, *members]), tally(TASK, [*cast, members[0]])
    assert (result.answer, result.support, result.coverage) == (alone.answer, alone.support, alone.coverage)


@settings(max_examples=80)
@given(votes)
def test_cluster__leaves_each_answer_at_least_its_heaviest_vote(cast: list[Vote]) -> None:
    support = dict(tally(TASK, cast).support)
    assert all(support[vote.answer] >= vote.weight for vote in cast if vote.answer is not None)


@settings(max_examples=80)
@given(votes, votes)
def test_silence__lowers_the_coverage_and_nothing_else(cast: list[Vote], others: list[Vote]) -> None:
    silent = [replace(vote, answer=None) for vote in others]
    result, alone = tally(TASK, cast, silent), tally(TASK, cast)
    assert replace(result, coverage=0) == replace(alone, coverage=0)
    assert 0 <= result.coverage <= alone.coverage <= 1_000 or not any(vote.weight for vote in cast)


def test_tally__says_who_dissents_and_how_much_of_the_weight_answered() -> None:
    cast = [Vote(b"a", "1", 6), Vote(b"b", "2", 1), Vote(b"c", None, 2), Vote(b"d", "1", 0)]
    result = tally(TASK, cast, [Vote(b"e", None, 1)])
    assert (result.answer, result.dissent, result.abstained, result.coverage) == ("1", 1, 1, 700)


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
    assert result == Tally("1", earned=False, margin=333, support=(("1", 2), ("2", 1)), dissent=1, abstained=1, coverage=0)
    assert tally(TASK, [Vote(b"a", "1", 0), Vote(b"b", "1", 0), Vote(b"d", None, 0)]).coverage == 666


def test_zero_weights__give_a_cluster_one_voice_as_well() -> None:
    crowd = [Vote(bytes([number]), "1", 0, 4) for number in range(16)]
    result = tally(TASK, [*crowd, Vote(b"x", "2", 0), Vote(b"y", "2", 0)])
    assert (result.answer, result.earned, result.support) == ("2", False, (("2", 2), ("1", 1)))


def test_no_votes__give_no_answer() -> None:
    assert tally(TASK, []) == Tally(None, earned=False, margin=0, support=(), dissent=0, abstained=0, coverage=0)
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
