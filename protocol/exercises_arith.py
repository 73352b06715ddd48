"""Exercises of the skill `arith`: sums, differences, products by one digit, and the same told as a story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream

# Ranges of operands, each as likely as the others, of each difficulty. One-digit numbers have a range of
# their own: they are what people try first, and a uniform draw would hardly ever show them.
_OPERANDS: Final = MappingProxyType(
    {1: ((0, 9), (10, 99), (10, 149)), 2: ((5, 49), (20, 499)), 3: ((100, 999),)},
)
_ADD: Final = (
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "Compute the sum of {a} and {b}.",
    "{a} plus {b} equals what number?",
    "Calculate {a} + {b}.",
    "Find the total of {a} and {b}.",
    "What is {a} plus {b}?",
    "{a} + {b}",
)
_SUBTRACT: Final = (
    "What is {a} - {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "{a} minus {b} equals what number?",
    "Calculate {a} - {b}.",
    "What is left of {a} after removing {b}?",
    "What is {a} minus {b}?",
    "{a} - {b}",
)
_TIMES: Final = (
    "What is {a} * {b}?",
    "Multiply {a} by {b}.",
    "What is {a} times {b}?",
    "{b} times {a} equals what number?",
    "Calculate {a} * {b}.",
    "Compute the product of {a} and {b}.",
    "{a} * {b}",
)
_NAMES: Final = ("Ana", "Ben", "Chloe", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Lena", "Omar")
_THINGS: Final = ("apples", "books", "coins", "marbles", "pencils", "shells", "stamps", "stones", "tickets", "cards")
_WORD_ADD: Final = (
    "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
    "{name} has {a} {things} and {other} has {b}. How many {things} do they have together?",
    "There are {a} {things} in one box and {b} in another. How many {things} are there in total?",
    "{name} found {a} {things} on Monday and {b} on Tuesday. How many {things} did {name} find in all?",
)
_WORD_SUBTRACT: Final = (
    "{name} has {a} {things} and gives away {b}. How many {things} are left?",
    "A shop had {a} {things} and sold {b}. How many {things} remain?",
    "{name} has {a} {things}. {other} has {b}. How many more {things} does {name} have?",
    "{name} needs {a} {things} and already has {b}. How many {things} are missing?",
)
_WORD_TIMES: Final = (
    "Each box holds {a} {things}. How many {things} are in {b} boxes?",
    "{name} buys {b} bags of {a} {things} each. How many {things} is that?",
    "{name} collects {a} {things} every day. How many {things} after {b} days?",
)


def _operand(stream: Stream, difficulty: int, smallest: int = 0) -> int:
    ranges = _OPERANDS[difficulty]
    low, high = ranges[stream.between(0, len(ranges) - 1)]
    return stream.between(max(low, smallest), high)


def _operands(stream: Stream, difficulty: int, smallest: int = 0) -> tuple[int, int]:
    return _operand(stream, difficulty, smallest), _operand(stream, difficulty, smallest)


def _factors(stream: Stream, difficulty: int, smallest: int = 0) -> tuple[int, int]:
    return _operand(stream, difficulty, smallest), stream.between(2, 9)


def _add(stream: Stream, difficulty: int) -> tuple[str, str]:
    a, b = _operands(stream, difficulty)
    return stream.choice(_ADD).format(a=a, b=b), str(a + b)


def _subtract(stream: Stream, difficulty: int) -> tuple[str, str]:
    b, a = sorted(_operands(stream, difficulty))
    return stream.choice(_SUBTRACT).format(a=a, b=b), str(a - b)


def _times(stream: Stream, difficulty: int) -> tuple[str, str]:
    a, b = _factors(stream, difficulty)
    return stream.choice(_TIMES).format(a=a, b=b), str(a * b)


def _word(stream: Stream, difficulty: int) -> tuple[str, str]:
    operation = stream.choice(("add", "subtract", "times"))
    # A story about one shell or none would not read as people write.
    if operation == "times":
        a, b = _factors(stream, difficulty, smallest=2)
        template, gold = stream.choice(_WORD_TIMES), a * b
    else:
        b, a = sorted(_operands(stream, difficulty, smallest=2))
        if operation == "add":
            template, gold = stream.choice(_WORD_ADD), a + b
        else:
            template, gold = stream.choice(_WORD_SUBTRACT), a - b
    first = stream.between(0, len(_NAMES) - 1)
    second = (first + stream.between(1, len(_NAMES) - 1)) % len(_NAMES)
    things = stream.choice(_THINGS)
    return template.format(a=a, b=b, name=_NAMES[first], other=_NAMES[second], things=things), str(gold)


MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {"add": _add, "subtract": _subtract, "times": _times, "word": _word},
)
