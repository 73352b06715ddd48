"""Exercises of the skills `composite` and `plan`: questions whose steps need different skills, and the plans that answer them.

A family is a list of ways to ask one thing and the operations that answer it. Both skills ask the same: for `composite` the
gold answer is the last operation's value, for `plan` it is the canonical plan of specs/09-plans.md. Each step is worded as the
exercises of its own skill are, with numbers and words that they practise, so that whoever earned a weight there can do it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream
from protocol.exercises_words import word

_NUMBER: Final = re.compile(r"[0-9]+")
_REFERENCE: Final = re.compile(r"#([0-9]+)(?:\[(-?[0-9]+)\])?")


@dataclass(frozen=True, slots=True)
class Operation:
    """What one step does: its skill, the exercise family that practises it, its words, and its value as a canonical answer."""

    skill: str
    family: str
    text: str
    value: Callable[[list[str]], str]


def _ints(text: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(text)]


def _of_list(value: Callable[[list[int]], object]) -> Callable[[list[str]], str]:
    return lambda arguments: str(value(_ints(arguments[0])))


def _of_two(value: Callable[[int, int], object]) -> Callable[[list[str]], str]:
    return lambda arguments: str(value(int(arguments[0]), int(arguments[1])))


def _joined(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _above(arguments: list[str]) -> str:
    return str(sum(number > int(arguments[0]) for number in _ints(arguments[1])))


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "sort": Operation("lists", "sort", "Sort the list {0}.", _of_list(lambda numbers: _joined(sorted(numbers)))),
        "largest": Operation("lists", "max", "What is the largest of {0}?", _of_list(max)),
        "smallest": Operation("lists", "min", "What is the smallest of {0}?", _of_list(min)),
        "above": Operation("lists", "count", "Count the numbers greater than {0}: {1}.", _above),
        "add": Operation("arith", "add", "Add {0} and {1}.", _of_two(lambda a, b: a + b)),
        "subtract": Operation("arith", "subtract", "Subtract {1} from {0}.", _of_two(lambda a, b: a - b)),
        "multiply": Operation("arith", "times", "Multiply {0} by {1}.", _of_two(lambda a, b: a * b)),
        "parity": Operation("logic", "parity", "Is {0} even or odd?", _of_list(lambda n: "odd" if n[0] % 2 else "even")),
        "even": Operation("logic", "parity", "Is {0} even?", _of_list(lambda n: "no" if n[0] % 2 else "yes")),
        "larger": Operation("logic", "compare", "Which number is larger: {0} or {1}?", _of_two(max)),
        "smaller": Operation("logic", "compare", "Which number is smaller: {0} or {1}?", _of_two(min)),
        "greater": Operation("logic", "compare", "Is {0} greater than {1}?", _of_two(lambda a, b: "yes" if a > b else "no")),
        "letters": Operation(
            "text", "count_letter", "Count the letter {0} in {1}.", lambda arguments: str(arguments[1].count(arguments[0]))
        ),
    }
)

# An operation by its name, and what each of its arguments is: `{field}` of the question, or a reference to an earlier step.
Steps = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a solution, done: the operation, the plan's line for it, its words with all values in, and its value."""

    operation: str
    line: str
    text: str
    value: str


def solution(steps: Steps, fields: Mapping[str, str]) -> tuple[Step, ...]:
    """The steps that answer a question with these fields; the last one's value is the answer."""
    done: list[Step] = []
    for name, *arguments in steps:
        operation = OPERATIONS[name]
        written = [argument.format_map(fields) for argument in arguments]
        values = [_REFERENCE.sub(lambda found: _referred(found, done), argument) for argument in written]
        line = f"{operation.skill}: {operation.text.format(*written)}"
        done.append(Step(name, line, operation.text.format(*values), operation.value(values)))
    return tuple(done)


def _referred(found: re.Match[str], done: list[Step]) -> str:
    value = done[int(found[1]) - 1].value
    if found[2] is None:
        return value
    place = int(found[2])
    return value.split()[place - 1 if place > 0 else place]


# Lengths of a list, and of each of two in one question; operands of a sum; factors. No longer and no larger than what the
# specialists practise in one step.
_LENGTHS: Final = MappingProxyType({1: (3, 4), 2: (5, 6), 3: (7, 8)})
_SHORT_LENGTHS: Final = MappingProxyType({1: (2, 2), 2: (3, 3), 3: (4, 4)})
_TERMS: Final = MappingProxyType({1: (2, 19), 2: (10, 39), 3: (20, 59)})
_LIST_NUMBER_MAX: Final = 99
# One list in this many holds one-digit numbers only.
_SMALL_LISTS: Final = 6
# One letter in this many is drawn from the alphabet and seldom occurs; the others are of the word itself.
_FOREIGN_LETTERS: Final = 4


def _numbers(stream: Stream, lengths: tuple[int, int]) -> list[int]:
    largest = 9 if stream.one_in(_SMALL_LISTS) else _LIST_NUMBER_MAX
    return [stream.between(0, largest) for _ in range(stream.between(*lengths))]


def _shown(stream: Stream, numbers: list[int]) -> str:
    return stream.choice((" ", ", ")).join(map(str, numbers))


def _limit(stream: Stream, numbers: list[int]) -> str:
    # Near the middle of what the list holds, so that the count is seldom none or all.
    return str(stream.between(10, _LIST_NUMBER_MAX - 10) if max(numbers) > 9 else stream.between(1, 8))  # noqa: PLR2004 - one digit


def _one_list(stream: Stream, difficulty: int) -> dict[str, str]:
    return {"list": _shown(stream, _numbers(stream, _LENGTHS[difficulty]))}


def _list_and_factor(stream: Stream, difficulty: int) -> dict[str, str]:
    return _one_list(stream, difficulty) | {"k": str(stream.between(2, 9))}


def _list_and_limit(stream: Stream, difficulty: int) -> dict[str, str]:
    numbers = _numbers(stream, _LENGTHS[difficulty])
    return {"list": _shown(stream, numbers), "limit": _limit(stream, numbers)}


def _word_and_list(stream: Stream, difficulty: int) -> dict[str, str]:
    chosen = word(stream, difficulty)
    letter = stream.choice("abcdefghijklmnopqrstuvwxyz" if stream.one_in(_FOREIGN_LETTERS) else chosen)
    return {"word": chosen, "letter": letter} | _list_and_limit(stream, difficulty)


def _terms_and_list(stream: Stream, difficulty: int) -> dict[str, str]:
    a, b = stream.between(*_TERMS[difficulty]), stream.between(*_TERMS[difficulty])
    numbers = _numbers(stream, _LENGTHS[difficulty])
    if a + b == max(numbers):
        b += 1  # the larger of two equal numbers is no question that anybody practises
    return {"a": str(a), "b": str(b), "list": _shown(stream, numbers)}


def _two_lists(stream: Stream, difficulty: int) -> dict[str, str]:
    first, second = _numbers(stream, _SHORT_LENGTHS[difficulty]), _numbers(stream, _SHORT_LENGTHS[difficulty])
    if max(first) == max(second):
        second.append(max(first) + 1)
    return {"list": _shown(stream, first), "other": _shown(stream, second), "k": str(stream.between(2, 9))}


@dataclass(frozen=True, slots=True)
class Family:
    """What the questions of a family hold, and the ways to ask: phrasings of one meaning, with the steps that answer them."""

    fields: Callable[[Stream, int], dict[str, str]]
    ways: tuple[tuple[tuple[str, ...], Steps], ...]


FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "top_two": Family(
            _one_list,
            (
                (
                    (
                        "Sort the list {list}, then add its two largest numbers. Is the sum even or odd?",
                        "Add the two largest numbers of the list {list}. Is the result even or odd?",
                        "Is the sum of the two largest of {list} even or odd?",
                    ),
                    (("sort", "{list}"), ("add", "#1[-1]", "#1[-2]"), ("parity", "#2")),
                ),
                (
                    (
                        "Sort the list {list}, then add its two largest numbers. Is the sum even?",
                        "Is the sum of the two largest numbers in the list {list} even?",
                    ),
                    (("sort", "{list}"), ("add", "#1[-1]", "#1[-2]"), ("even", "#2")),
                ),
                (
                    (
                        "Sort the list {list}, then add its two smallest numbers. Is the sum even or odd?",
                        "Is the sum of the two smallest of {list} even or odd?",
                    ),
                    (("sort", "{list}"), ("add", "#1[1]", "#1[2]"), ("parity", "#2")),
                ),
            ),
        ),
        "scaled": Family(
            _list_and_factor,
            (
                (
                    (
                        "Multiply the largest number of the list {list} by {k}.",
                        "What is {k} times the largest of {list}?",
                        "Find the maximum of {list} and multiply it by {k}.",
                        "Take the biggest number in {list}. How much is {k} times that?",
                    ),
                    (("largest", "{list}"), ("multiply", "#1", "{k}")),
                ),
                (
                    (
                        "Multiply the smallest number of the list {list} by {k}.",
                        "What is {k} times the smallest of {list}?",
                        "Find the minimum of {list} and multiply it by {k}.",
                    ),
                    (("smallest", "{list}"), ("multiply", "#1", "{k}")),
                ),
            ),
        ),
        "extremes": Family(
            _one_list,
            (
                (
                    (
                        "What is the difference between the largest and the smallest number of {list}?",
                        "Subtract the smallest number of the list {list} from its largest.",
                        "How far apart are the largest and the smallest of {list}?",
                        "Take the maximum of {list} minus the minimum.",
                    ),
                    (("largest", "{list}"), ("smallest", "{list}"), ("subtract", "#1", "#2")),
                ),
                (
                    (
                        "What is the sum of the largest and the smallest number of {list}?",
                        "Add the smallest number of the list {list} to its largest.",
                        "Take the maximum of {list} plus the minimum.",
                    ),
                    (("largest", "{list}"), ("smallest", "{list}"), ("add", "#1", "#2")),
                ),
            ),
        ),
        "counted_parity": Family(
            _list_and_limit,
            (
                (
                    (
                        "Count the numbers greater than {limit} in the list {list}. Is that count even or odd?",
                        "Is the count of numbers above {limit} in {list} even or odd?",
                        "How many of {list} are greater than {limit}, an even or an odd number?",
                    ),
                    (("above", "{limit}", "{list}"), ("parity", "#1")),
                ),
            ),
        ),
        "counts": Family(
            _word_and_list,
            (
                (
                    (
                        "Count the letter {letter} in {word} and the numbers above {limit} in {list}, then add both counts.",
                        "Add how often {letter} occurs in {word} to how many numbers in {list} are greater than {limit}.",
                        "How many times {letter} in {word} plus numbers above {limit} in the list {list} are there in all?",
                    ),
                    (("letters", "{letter}", "{word}"), ("above", "{limit}", "{list}"), ("add", "#1", "#2")),
                ),
            ),
        ),
        "sum_or_extreme": Family(
            _terms_and_list,
            (
                (
                    (
                        "Which is larger, the sum of {a} and {b} or the largest of {list}?",
                        "Add {a} and {b} and find the maximum of {list}. Which number is larger?",
                        "Give the larger of {a} plus {b} and the biggest number in {list}.",
                    ),
                    (("add", "{a}", "{b}"), ("largest", "{list}"), ("larger", "#1", "#2")),
                ),
                (
                    (
                        "Which is smaller, the sum of {a} and {b} or the largest of {list}?",
                        "Add {a} and {b} and find the maximum of {list}. Which number is smaller?",
                    ),
                    (("add", "{a}", "{b}"), ("largest", "{list}"), ("smaller", "#1", "#2")),
                ),
                (
                    ("Is the sum of {a} and {b} greater than the largest of {list}?",),
                    (("add", "{a}", "{b}"), ("largest", "{list}"), ("greater", "#1", "#2")),
                ),
            ),
        ),
        "two_lists": Family(
            _two_lists,
            (
                (
                    (
                        "Find the maximum of {list} and the maximum of {other}, and multiply the larger one by {k}.",
                        "Take the largest of {list} and the largest of {other}. What is {k} times the larger of the two?",
                        "What is {k} times the larger of the maximum of {list} and the maximum of {other}?",
                    ),
                    (("largest", "{list}"), ("largest", "{other}"), ("larger", "#1", "#2"), ("multiply", "#3", "{k}")),
                ),
                (
                    (
                        "Find the maximum of {list} and the maximum of {other}, and multiply the smaller one by {k}.",
                        "Take the largest of {list} and the largest of {other}. What is {k} times the smaller of the two?",
                    ),
                    (("largest", "{list}"), ("largest", "{other}"), ("smaller", "#1", "#2"), ("multiply", "#3", "{k}")),
                ),
            ),
        ),
    }
)


def _asked(name: str, stream: Stream, difficulty: int) -> tuple[str, tuple[Step, ...]]:
    family = FAMILIES[name]
    fields = family.fields(stream, difficulty)
    phrasings, steps = stream.choice(family.ways)
    return stream.choice(phrasings).format_map(fields), solution(steps, fields)


def _answered(name: str) -> Callable[[Stream, int], tuple[str, str]]:
    def make(stream: Stream, difficulty: int) -> tuple[str, str]:
        text, steps = _asked(name, stream, difficulty)
        return text, steps[-1].value

    return make


def _planned(name: str) -> Callable[[Stream, int], tuple[str, str]]:
    def make(stream: Stream, difficulty: int) -> tuple[str, str]:
        text, steps = _asked(name, stream, difficulty)
        return text, "\n".join(step.line for step in steps)

    return make


COMPOSITE_MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {name: _answered(name) for name in FAMILIES}
)
# No two skills have a family of one name.
PLAN_MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {f"plan_{name}": _planned(name) for name in FAMILIES}
)
# Families whose every answer is a number.
NUMBERS: Final = ("scaled", "extremes", "counts", "two_lists")
