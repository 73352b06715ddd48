"""Exercises of the skill `lists`: sorting, extremes, reversing and counting in a list of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream

# Lengths of a list, at each difficulty.
_LENGTHS: Final = MappingProxyType({1: (2, 4), 2: (5, 6), 3: (7, 8)})
_LIST_NUMBER_MAX: Final = 99
# One list in this many holds one-digit numbers only.
_SMALL_LISTS: Final = 4

_SORT: Final = (
    "Sort these numbers from smallest to largest: {list}.",
    "Put the list in ascending order: {list}.",
    "Arrange {list} in increasing order.",
    "Sort the list {list}.",
    "Sort {list}.",
)
_MAX: Final = (
    "What is the largest number in the list {list}?",
    "Find the maximum of {list}.",
    "Which of these numbers is the biggest: {list}?",
    "Give the highest number: {list}.",
    "What is the largest of {list}?",
)
_MIN: Final = (
    "What is the smallest number in the list {list}?",
    "Find the minimum of {list}.",
    "Which of these numbers is the least: {list}?",
    "Give the lowest number: {list}.",
    "What is the smallest of {list}?",
)
_REVERSE: Final = (
    "Reverse the list {list}.",
    "Write these numbers in reverse order: {list}.",
    "Give the list backwards: {list}.",
    "List {list} from last to first.",
    "Reverse {list}.",
)
_COUNT: Final = (
    "How many numbers in the list {list} are greater than {limit}?",
    "Count the numbers greater than {limit}: {list}.",
    "How many of these are above {limit}: {list}?",
    "In the list {list}, how many numbers exceed {limit}?",
)


def _numbers(stream: Stream, difficulty: int) -> list[int]:
    low, high = _LENGTHS[difficulty]
    largest = _LIST_NUMBER_MAX if stream.between(1, _SMALL_LISTS) > 1 else 9
    return [stream.between(0, largest) for _ in range(stream.between(low, high))]


def _shown(stream: Stream, numbers: Sequence[int]) -> str:
    return stream.choice((" ", ", ")).join(map(str, numbers))


def _list_maker(
    templates: Sequence[str], answer: Callable[[list[int]], Sequence[int]]
) -> Callable[[Stream, int], tuple[str, str]]:
    def make(stream: Stream, difficulty: int) -> tuple[str, str]:
        numbers = _numbers(stream, difficulty)
        text = stream.choice(templates).format(list=_shown(stream, numbers))
        return text, " ".join(map(str, answer(numbers)))

    return make


def _count(stream: Stream, difficulty: int) -> tuple[str, str]:
    numbers = _numbers(stream, difficulty)
    # Near the middle of what the list holds, so that the count is seldom none or all.
    limit = stream.between(10, _LIST_NUMBER_MAX - 10) if max(numbers) > 9 else stream.between(1, 8)  # noqa: PLR2004 - one digit
    text = stream.choice(_COUNT).format(list=_shown(stream, numbers), limit=limit)
    return text, str(sum(number > limit for number in numbers))


MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {
        "sort": _list_maker(_SORT, sorted),
        "max": _list_maker(_MAX, lambda numbers: [max(numbers)]),
        "min": _list_maker(_MIN, lambda numbers: [min(numbers)]),
        "reverse": _list_maker(_REVERSE, lambda numbers: numbers[::-1]),
        "count": _count,
    }
)
