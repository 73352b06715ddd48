"""Generators of questions whose right answer is known: pure functions of (skill, difficulty, seed).

Audits, the developer network, the simulator and the trainer of the tiny models share them. Any node that knows the three
arguments rebuilds the same text and the same gold answer, so an audit can be regraded by whoever opens it. Every draw
comes from a SHA-256 counter stream: no platform, hash seed or library version changes a byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.errors import LocalProtocolError

SKILLS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "arith": ("add", "subtract", "times", "word"),
        "lists": ("sort", "max", "min", "reverse", "count"),
    }
)
DIFFICULTIES: Final = (1, 2, 3)
# Seeds fit an unsigned 64-bit integer of the wire format, so each exercise can be named in a message.
SEED_MAX: Final = 2**64 - 1

_DOMAIN: Final = b"tutti exercise v1"

# Ranges of operands, each as likely as the others, and list lengths, of each difficulty. One-digit numbers have a range of
# their own: they are what people try first, and a uniform draw would hardly ever show them.
_OPERANDS: Final = MappingProxyType(
    {1: ((0, 9), (10, 99), (10, 149)), 2: ((5, 49), (20, 499)), 3: ((100, 999),)},
)
_LENGTHS: Final = MappingProxyType({1: (2, 4), 2: (5, 6), 3: (7, 8)})
_LIST_NUMBER_MAX: Final = 99
# One list in this many holds one-digit numbers only.
_SMALL_LISTS: Final = 4

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


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with its gold answer.

    `gold` is in canonical form: a decimal number for `arith`, space-separated decimal numbers for `lists` (one number
    is a list of one).
    """

    skill: str
    family: str
    text: str
    gold: str


class _Stream:
    """Integers drawn from SHA-256 over a key and a counter."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def between(self, low: int, high: int) -> int:
        """A number in [low, high]. Reducing 64 bits modulo a range below 2**10 leaves a bias below 2**-54."""
        block = hashlib.sha256(self._key + self._counter.to_bytes(4, "big")).digest()
        self._counter += 1
        return low + int.from_bytes(block[:8], "big") % (high - low + 1)

    def choice(self, options: Sequence[str]) -> str:
        return options[self.between(0, len(options) - 1)]


def generate(skill: str, difficulty: int, seed: int, family: str | None = None) -> Exercise:
    """The exercise number `seed` of a skill at a difficulty from 1 to 3.

    Without `family` the stream chooses one, and naming the family it chose gives the same exercise. Raises
    LocalProtocolError for an unknown skill or family, or a difficulty or seed out of range.
    """
    if skill not in SKILLS:
        raise LocalProtocolError(f"no exercises for skill {skill!r}")
    if difficulty not in DIFFICULTIES:
        raise LocalProtocolError(f"difficulty {difficulty} is outside 1..3")
    if not 0 <= seed <= SEED_MAX:
        raise LocalProtocolError("an exercise seed must fit an unsigned 64-bit integer")
    families = SKILLS[skill]
    if family is not None and family not in families:
        raise LocalProtocolError(f"skill {skill} has no family {family!r}")
    stream = _Stream(b"|".join((_DOMAIN, skill.encode(), b"%d" % difficulty, b"%d" % seed, b"")))
    drawn = stream.choice(families)
    chosen = drawn if family is None else family
    text, gold = _MAKERS[chosen](stream, difficulty)
    return Exercise(skill=skill, family=chosen, text=text, gold=gold)


def _operand(stream: _Stream, difficulty: int, smallest: int = 0) -> int:
    ranges = _OPERANDS[difficulty]
    low, high = ranges[stream.between(0, len(ranges) - 1)]
    return stream.between(max(low, smallest), high)


def _operands(stream: _Stream, difficulty: int, smallest: int = 0) -> tuple[int, int]:
    return _operand(stream, difficulty, smallest), _operand(stream, difficulty, smallest)


def _factors(stream: _Stream, difficulty: int, smallest: int = 0) -> tuple[int, int]:
    return _operand(stream, difficulty, smallest), stream.between(2, 9)


def _add(stream: _Stream, difficulty: int) -> tuple[str, str]:
    a, b = _operands(stream, difficulty)
    return stream.choice(_ADD).format(a=a, b=b), str(a + b)


def _subtract(stream: _Stream, difficulty: int) -> tuple[str, str]:
    b, a = sorted(_operands(stream, difficulty))
    return stream.choice(_SUBTRACT).format(a=a, b=b), str(a - b)


def _times(stream: _Stream, difficulty: int) -> tuple[str, str]:
    a, b = _factors(stream, difficulty)
    return stream.choice(_TIMES).format(a=a, b=b), str(a * b)


def _word(stream: _Stream, difficulty: int) -> tuple[str, str]:
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


def _numbers(stream: _Stream, difficulty: int) -> list[int]:
    low, high = _LENGTHS[difficulty]
    largest = _LIST_NUMBER_MAX if stream.between(1, _SMALL_LISTS) > 1 else 9
    return [stream.between(0, largest) for _ in range(stream.between(low, high))]


def _shown(stream: _Stream, numbers: Sequence[int]) -> str:
    return stream.choice((" ", ", ")).join(map(str, numbers))


def _list_maker(
    templates: Sequence[str], answer: Callable[[list[int]], Sequence[int]]
) -> Callable[[_Stream, int], tuple[str, str]]:
    def make(stream: _Stream, difficulty: int) -> tuple[str, str]:
        numbers = _numbers(stream, difficulty)
        text = stream.choice(templates).format(list=_shown(stream, numbers))
        return text, " ".join(map(str, answer(numbers)))

    return make


def _count(stream: _Stream, difficulty: int) -> tuple[str, str]:
    numbers = _numbers(stream, difficulty)
    # Near the middle of what the list holds, so that the count is seldom none or all.
    limit = stream.between(10, _LIST_NUMBER_MAX - 10) if max(numbers) > 9 else stream.between(1, 8)  # noqa: PLR2004 - one digit
    text = stream.choice(_COUNT).format(list=_shown(stream, numbers), limit=limit)
    return text, str(sum(number > limit for number in numbers))


_MAKERS: Final[Mapping[str, Callable[[_Stream, int], tuple[str, str]]]] = MappingProxyType(
    {
        "add": _add,
        "subtract": _subtract,
        "times": _times,
        "word": _word,
        "sort": _list_maker(_SORT, sorted),
        "max": _list_maker(_MAX, lambda numbers: [max(numbers)]),
        "min": _list_maker(_MIN, lambda numbers: [min(numbers)]),
        "reverse": _list_maker(_REVERSE, lambda numbers: numbers[::-1]),
        "count": _count,
    }
)
