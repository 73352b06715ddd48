"""Exercises of the skill `logic`: comparisons, chains of them, even and odd, and what does not belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream
from protocol.exercises_words import names, table

# Ranges of numbers, each as likely as the others, of each difficulty.
_COMPARED: Final = MappingProxyType(
    {1: ((0, 9), (10, 99), (0, 99)), 2: ((10, 999), (100, 999)), 3: ((100, 9_999), (1_000, 9_999))}
)
_PARITY: Final = MappingProxyType(
    {1: ((0, 99), (10, 999), (100, 999), (100, 999)), 2: ((100, 9_999), (1_000, 9_999)), 3: ((1_000, 99_999), (10_000, 99_999))}
)
_ITEMS: Final = MappingProxyType({1: 4, 2: 5, 3: 6})
# One pair in this many is close together or equal, where a hasty reader errs.
_CLOSE_PAIRS: Final = 4

_GREATER: Final = (
    "Is {a} greater than {b}?",
    "Is {a} bigger than {b}?",
    "Is {a} larger than {b}?",
    "Is {a} more than {b}?",
    "Is the number {a} greater than {b}?",
)
_LESS: Final = (
    "Is {a} less than {b}?",
    "Is {a} smaller than {b}?",
    "Is the number {a} smaller than {b}?",
)
_LARGER: Final = (
    "Which number is larger: {a} or {b}?",
    "Which is greater, {a} or {b}?",
    "What is the larger of {a} and {b}?",
    "Which is bigger, {a} or {b}?",
)
_SMALLER: Final = (
    "Which number is smaller: {a} or {b}?",
    "Which is less, {a} or {b}?",
    "What is the smaller of {a} and {b}?",
)
_EVEN_OR_ODD: Final = (
    "Is {a} even or odd?",
    "Is the number {a} even or odd?",
    "Is {a} an even or an odd number?",
    "Even or odd: {a}?",
    "{a}: even or odd?",
)
_EVEN: Final = (
    "Is {a} even?",
    "Is {a} an even number?",
    "Is the number {a} even?",
    "Can {a} be divided by 2 without remainder?",
)
_ODD: Final = ("Is {a} odd?", "Is {a} an odd number?", "Is the number {a} odd?")
# More, less, most, least.
RELATIONS: Final = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("stronger", "weaker", "strongest", "weakest"),
    ("richer", "poorer", "richest", "poorest"),
)
_STATEMENT: Final = "{a} is {more} than {b}."
_MORE_QUESTION: Final = "Is {a} {more} than {b}?"
_MOST_QUESTION: Final = ("Who is the {most}?", "Who is {most}?", "Which of them is the {most}?")
_PEOPLE: Final = MappingProxyType({1: (2, 3), 2: (3, 3), 3: (4, 4)})
# One statement in this many is turned round: "Ben is shorter than Ana" for "Ana is taller than Ben".
_TURNED: Final = 4
# One chain in this many tells its statements in any order.
_SHUFFLED: Final = 4
_ODD_NUMBERS: Final = (
    "Which number is the odd one out: {items}?",
    "Which number does not belong: {items}?",
    "Find the odd one out: {items}.",
    "All but one are even, or all but one are odd: {items}. Which one is different?",
)
_ODD_WORDS: Final = (
    "Which word is the odd one out: {items}?",
    "Which word does not belong: {items}?",
    "Find the odd one out: {items}.",
    "Which of these does not belong with the others: {items}?",
    "Odd one out: {items}",
)
# No word belongs to two kinds: no orange, no turkey, no chicken.
CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "animal": table("cat dog horse cow sheep lion tiger bear wolf rabbit monkey elephant zebra mouse pig goat fox"),
        "fruit": table("apple banana pear grape lemon cherry mango melon peach plum strawberry pineapple apricot"),
        "colour": table("red blue green yellow purple black white brown grey pink"),
        "tool": table("hammer saw drill wrench screwdriver pliers shovel axe rake chisel"),
        "clothing": table("shirt trousers jacket hat sock glove scarf dress coat sweater skirt"),
        "vehicle": table("car bus train bicycle truck boat plane tram taxi ship helicopter"),
        "furniture": table("table chair sofa bed desk shelf cupboard bench stool wardrobe"),
        "body": table("arm leg hand foot nose ear knee elbow finger shoulder mouth"),
    }
)


def _pair(stream: Stream, difficulty: int) -> tuple[int, int]:
    low, high = stream.choice(_COMPARED[difficulty])
    a = stream.between(low, high)
    if stream.one_in(_CLOSE_PAIRS):
        return a, min(high, max(low, a + stream.between(-9, 9)))
    return a, stream.between(low, high)


def _compare(stream: Stream, difficulty: int) -> tuple[str, str]:
    a, b = _pair(stream, difficulty)
    if stream.one_in(2):
        asked, holds = (_GREATER, a > b) if stream.one_in(2) else (_LESS, a < b)
        return stream.choice(asked).format(a=a, b=b), "yes" if holds else "no"
    if a == b:
        b += 1
    templates, gold = (_LARGER, max(a, b)) if stream.one_in(2) else (_SMALLER, min(a, b))
    return stream.choice(templates).format(a=a, b=b), str(gold)


def _chain(stream: Stream, difficulty: int) -> tuple[str, str]:
    people = names(stream, stream.between(*_PEOPLE[difficulty]))
    more, less, most, least = stream.choice(RELATIONS)
    statements = []
    for above, below in pairwise(people):
        turned = stream.one_in(_TURNED)
        a, b, word = (below, above, less) if turned else (above, below, more)
        statements.append(_STATEMENT.format(a=a, more=word, b=b))
    if stream.one_in(_SHUFFLED):
        statements = stream.sample(statements, len(statements))
    if stream.one_in(2):
        a, b = stream.sample(people, 2)
        word, holds = (more, people.index(a) < people.index(b))
        if stream.one_in(_TURNED):
            word, holds = less, not holds
        question, gold = _MORE_QUESTION.format(a=a, more=word, b=b), "yes" if holds else "no"
    else:
        word, who = (most, people[0]) if stream.one_in(2) else (least, people[-1])
        question, gold = stream.choice(_MOST_QUESTION).format(most=word), who.lower()
    return " ".join([*statements, question]), gold


def _parity(stream: Stream, difficulty: int) -> tuple[str, str]:
    number = stream.between(*stream.choice(_PARITY[difficulty]))
    even = number % 2 == 0
    asked: tuple[tuple[tuple[str, ...], str], ...] = (
        (_EVEN_OR_ODD, "even" if even else "odd"),
        (_EVEN, "yes" if even else "no"),
        (_ODD, "no" if even else "yes"),
    )
    phrasings, gold = stream.choice(asked)
    return stream.choice(phrasings).format(a=number), gold


def _odd_one_out(stream: Stream, difficulty: int) -> tuple[str, str]:
    place = stream.between(0, _ITEMS[difficulty] - 1)
    if stream.one_in(2):
        items = _unlike_numbers(stream, difficulty, place)
        return stream.choice(_ODD_NUMBERS).format(items=", ".join(items)), items[place]
    usual, other = stream.sample(tuple(CATEGORIES), 2)
    items = stream.sample(CATEGORIES[usual], _ITEMS[difficulty])
    items[place] = stream.choice(CATEGORIES[other])
    return stream.choice(_ODD_WORDS).format(items=", ".join(items)), items[place]


def _unlike_numbers(stream: Stream, difficulty: int, place: int) -> list[str]:
    """Numbers of one length, so that nothing but even and odd tells them apart."""
    low = 100 if difficulty == max(_ITEMS) else 10
    halves = stream.sample(range(low // 2, low * 5), _ITEMS[difficulty])
    odd = stream.between(0, 1)
    return [str(2 * half + (odd if at != place else 1 - odd)) for at, half in enumerate(halves)]


MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {"compare": _compare, "chain": _chain, "parity": _parity, "odd_one_out": _odd_one_out}
)


def _chain_examples() -> tuple[str, ...]:
    """Chains of one to three statements in each relation, told either way, with every kind of question."""
    return tuple(
        " ".join([_STATEMENT.format(a="_", more=told, b="_")] * count + [question])
        for more, less, most, _ in RELATIONS
        for told in (more, less)
        for count in (1, 2, 3)
        for question in (_MORE_QUESTION.format(a="_", more=told, b="_"), *(asked.format(most=most) for asked in _MOST_QUESTION))
    )


# Every phrasing, with `_` for any word and 0 for any number.
EXAMPLES: Final = (
    *(
        template.format(a=0, b=0)
        for templates in (_GREATER, _LESS, _LARGER, _SMALLER, _EVEN_OR_ODD, _EVEN, _ODD)
        for template in templates
    ),
    *_chain_examples(),
    *(
        template.format(items=", ".join([item] * count))
        for templates, item in ((_ODD_NUMBERS, "0"), (_ODD_WORDS, "_"))
        for template in templates
        for count in _ITEMS.values()
    ),
)
