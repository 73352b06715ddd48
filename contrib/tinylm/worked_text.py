"""Worked solutions of the skill `text`: each word is spelt out first, one numbered letter after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest

from protocol.exercises import Exercise


def _spelled(word: str) -> str:
    return "".join(f" {place}{letter}" for place, letter in enumerate(word, 1))


def _subject(exercise: Exercise) -> str:
    """The word that a question is about, which alone is not part of its template."""
    answer = exercise.gold
    for word in re.findall(r"[A-Za-z]+", exercise.text):
        if word[::-1] == answer or word.upper() == answer:
            return str(word)
    raise ValueError(exercise.text)


def _reverse(exercise: Exercise) -> str:
    word = exercise.gold[::-1]
    back = "".join(f" {place}{letter}" for place, letter in reversed(list(enumerate(word, 1))))
    return f"spell{_spelled(word)}\nback{back}"


def _capitals(exercise: Exercise) -> str:
    word = _subject(exercise)
    return "capitals" + "".join(f" {place}{letter}{letter.upper()}" for place, letter in enumerate(word, 1))


_COUNTED = (
    r"letter (?P<letter>\w) (?:occur in the word|in) (?P<word>\w+)",
    r"does (?P<letter>\w) appear in (?P<word>\w+)",
    r"many (?P<letter>\w)(?:'s are)? in (?P<word>\w+)",
    r'letters "(?P<letter>\w)" are in "(?P<word>\w+)"',
)
_ENDS = (
    r"the word (\w+)\.$",
    r"letter of (\w+) together",
    r"letters of (\w+)",
    r"letter of (\w+),",
    r"letter of (\w+) and join",
)


def _count(exercise: Exercise) -> str:
    found = next(match for match in (re.search(pattern, exercise.text) for pattern in _COUNTED) if match)
    letter, word, count, steps = found["letter"], found["word"], 0, ""
    for place, each in enumerate(word, 1):
        count += each == letter
        steps += f" {place}{each}{letter}{'+' if each == letter else '-'}{count}"
    return f"count {letter}:{steps}"


def _first_last(exercise: Exercise) -> str:
    word = next(match for match in (re.search(pattern, exercise.text) for pattern in _ENDS) if match)[1]
    return f"spell{_spelled(word)}; ends 1{word[0]} {len(word)}{word[-1]}"


def _compare(exercise: Exercise) -> str:
    """Two lengths, or the numbers in the alphabet of the first letters that differ; then A or B, and that word."""
    a, b = re.findall(r"(\w+)(?:,| or | and )(?= ?(\w+))", exercise.text)[-1]
    if re.search(r"longer|shorter|more letters|fewer letters", exercise.text):
        asked = "longer" if re.search("longer|more", exercise.text) else "shorter"
        steps = f"A{_spelled(a)}; B{_spelled(b)}; {len(a)}{_sign(len(a), len(b))}{len(b)}"
    else:
        asked = "last" if "last" in exercise.text else "first"
        steps = "".join(f" {x}{_order(x)}{_sign(_order(x), _order(y))}{y}{_order(y)}" for x, y in _up_to_difference(a, b))
    return f"A {a} B {b}\n{steps} {asked} {'A' if exercise.gold == a else 'B'}"


def _up_to_difference(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Letters side by side, up to the first two that differ; after the shorter word stands nothing."""
    for x, y in zip_longest(a, b, fillvalue=""):
        yield x, y
        if x != y:
            return


def _sign(a: int, b: int) -> str:
    return "<" if a < b else ">" if a > b else "="


def _order(letter: str) -> int:
    """The letter's number in the alphabet, 0 for the end of a word."""
    return ord(letter) - ord("a") + 1 if letter else 0


STEPS: Mapping[str, Callable[[Exercise], str]] = {
    "reverse_word": _reverse,
    "count_letter": _count,
    "capitals": _capitals,
    "first_last": _first_last,
    "compare_words": _compare,
}
