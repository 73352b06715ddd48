"""When an answer is decided, when one may be asked alone, when more are asked: by brute force and by cases."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import GATE_CHECK, GATE_MEAN, MARGIN_THIN
from protocol.stopping import alone, decided, is_checked, is_thin, worth_opening
from protocol.vote import Vote, tally, tie_break

TASK = bytes(16)

small = st.integers(0, 3)
clusters = st.none() | st.integers(0, 1)
cast = st.lists(
    st.builds(Vote, st.binary(min_size=1, max_size=1), st.sampled_from(["a", "b", None]), small, clusters), max_size=4
)
owed = st.lists(st.builds(Vote, st.binary(min_size=1, max_size=1), st.none(), small, clusters), max_size=3)
tasks = st.sampled_from([bytes([number]) * 16 for number in range(8)])


@functools.cache
def new(task: bytes) -> str:
    """An answer that nobody gave yet and that wins any tie with those of `cast`."""
    least = min(tie_break(task, answer) for answer in "ab")
    return next(f"new {number}" for number in itertools.count() if tie_break(task, f"new {number}") < least)


def completions(task: bytes, votes: list[Vote], open_: list[Vote]) -> set[str | None]:
    """Every answer that the task could end with."""
    found: set[str | None] = set()
    for choice in itertools.product(["a", "b", None, new(task)], repeat=min(2, len(open_))):
        # A third one repeats the second: three that say three things do less than three that say two.
        said = (*choice, *choice[-1:])[: len(open_)]
        full = [replace(vote, answer=answer) for vote, answer in zip(open_, said, strict=True)]
        found.add(tally(task, [*votes, *full]).answer)
    return found


@settings(max_examples=150)
@given(tasks, cast, owed)
def test_decided__is_what_no_completion_can_change(task: bytes, votes: list[Vote], open_: list[Vote]) -> None:
    ends = completions(task, votes, open_)
    assert decided(task, votes, open_) == (len(ends) == 1)


@settings(max_examples=100)
@given(tasks, cast, owed, st.randoms(use_true_random=False))
def test_decided__does_not_depend_on_any_order(task: bytes, votes: list[Vote], open_: list[Vote], random: object) -> None:
    mixed, others = list(votes), list(open_)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    random.shuffle(others)  # type: ignore[attr-defined]
    assert decided(task, votes, open_) == decided(task, mixed, others)


def vote(weight: int, answer: str | None = None, cluster: int | None = None) -> Vote:
    return Vote(bytes([weight % 256]), answer, weight, cluster)


@pytest.mark.parametrize(
    ("votes", "open_", "expected"),
    [
        ([], [], True),
        ([], [vote(1)], False),
        ([vote(5, "a")], [vote(4)], True),
        ([vote(5, "a")], [vote(5)], False),
        ([vote(5, "a"), vote(3, "b")], [vote(1)], True),
        ([vote(5, "a"), vote(3, "b")], [vote(3)], False),
        ([vote(0, "a"), vote(0, "a")], [vote(0)], True),
        ([vote(0, "a"), vote(0, "a")], [vote(1)], False),
        # Two of one cluster are one voice, on either side.
        ([vote(3, "a")], [vote(2, None, 1), vote(2, None, 1)], True),
        ([vote(3, "a"), vote(2, "b", 1)], [vote(2, None, 1)], True),
        ([vote(5, "a", 1), vote(5, "a", 1)], [vote(6)], False),
        ([vote(5, None)], [vote(1)], False),
    ],
)
def test_decided__by_cases(votes: list[Vote], open_: list[Vote], expected: bool) -> None:  # noqa: FBT001 - pytest's
    assert decided(TASK, votes, open_) == expected


@pytest.mark.parametrize(
    ("votes", "sealed", "at_work", "expected"),
    [
        ([], [vote(2)], [vote(1)], True),
        ([], [vote(1)], [vote(1)], False),
        ([], [vote(1), vote(1)], [vote(1)], True),
        ([], [vote(0), vote(0)], [vote(0)], True),
        ([], [vote(0), vote(0)], [vote(1)], False),
        # The leader so far and one sealed agree, perhaps.
        ([vote(2, "a"), vote(1, "b")], [vote(1)], [vote(1)], True),
        ([vote(2, "a"), vote(2, "b")], [vote(1)], [vote(2)], False),
    ],
)
def test_opening__is_worth_it_if_agreement_would_decide(
    votes: list[Vote],
    sealed: list[Vote],
    at_work: list[Vote],
    expected: bool,  # noqa: FBT001 - pytest's
) -> None:
    assert worth_opening(TASK, votes, sealed, at_work) == expected


@pytest.mark.parametrize(
    ("committee", "means", "expected"),
    [
        ([vote(9)], [GATE_MEAN], None),
        ([vote(9), vote(4), vote(4)], [0, 0, 0], 0),
        ([vote(4), vote(9), vote(4)], [0, 0, 0], 1),
        ([vote(8), vote(4), vote(4)], [0, 0, 0], None),
        # Two of one cluster have one voice.
        ([vote(8), vote(4, None, 1), vote(4, None, 1)], [0, 0, 0], 0),
        ([vote(8), vote(7), vote(7)], [GATE_MEAN, 0, 0], 0),
        ([vote(8), vote(7), vote(7)], [GATE_MEAN - 1, 0, 0], None),
        ([vote(8), vote(8), vote(7)], [GATE_MEAN, GATE_MEAN, 0], None),
        ([vote(0), vote(0)], [0, 0], None),
    ],
)
def test_alone__is_asked_who_outweighs_the_others_or_is_nearly_always_right(
    committee: list[Vote], means: list[int], expected: int | None
) -> None:
    assert alone(committee, means) == expected


def test_check__is_drawn_from_the_signatures_of_all_acknowledgements() -> None:
    drawn = [is_checked([number.to_bytes(64, "big") + b"payload", bytes(64)]) for number in range(4_096)]
    assert abs(sum(drawn) - 4_096 // GATE_CHECK) < 80
    assert [is_checked([number.to_bytes(64, "big") + b"another", bytes(64)]) for number in range(4_096)] == drawn


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([vote(6, "a"), vote(4, "b")], False),
        ([vote(599, "a"), vote(401, "b")], True),
        ([vote(5, "a"), vote(5, "b")], True),
        ([vote(5, "a")], False),
        ([vote(0, "a"), vote(0, "b")], False),
        ([], False),
    ],
)
def test_margin__is_thin_below_its_limit_and_only_where_somebody_weighs(votes: list[Vote], expected: bool) -> None:  # noqa: FBT001
    assert MARGIN_THIN == 200
    assert is_thin(tally(TASK, votes)) == expected
