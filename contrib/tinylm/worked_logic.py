"""Worked solutions of the skill `logic`: digits side by side, statements turned the same way, each item with its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from protocol.exercises import Exercise
from protocol.exercises_logic import CATEGORIES, RELATIONS

_LETTERS = "ABCDEF"
_MORE = {relation[0] for relation in RELATIONS}
_KIND_OF = {word: kind for kind, words in CATEGORIES.items() for word in words}


def _numbers(exercise: Exercise) -> list[str]:
    return re.findall(r"\d+", exercise.text)


def _sign(a: int, b: int) -> str:
    return "<" if a < b else ">" if a > b else "="


def _compare(exercise: Exercise) -> str:
    """How many digits each has and, if as many, digit by digit from the left; then what holds beside what is asked."""
    a, b = _numbers(exercise)
    steps = ""
    for x, y in [(len(a), len(b)), *zip(map(int, a), map(int, b), strict=False)]:
        steps += f" {x}{y}{_sign(x, y)}"
        if x != y:
            break
    asked = ">" if re.search("greater|bigger|larger|more", exercise.text) else "<"
    steps = f"A {a} B {b}:{steps}; {_sign(int(a), int(b))}{asked}"
    return steps if exercise.gold in ("yes", "no") else f"{steps} {'A' if exercise.gold == a else 'B'} {exercise.gold}"


def _chain(exercise: Exercise) -> str:
    """Each statement as "more > less", then all people in order with their places, then the question by places."""
    pairs = []
    for a, word, b in re.findall(r"(\w+) is (\w+) than (\w+)\.", exercise.text):
        pairs.append((a, b) if word in _MORE else (b, a))
    below = dict(pairs)
    order = [next(name for name in below if name not in below.values())]
    while order[-1] in below:
        order.append(below[order[-1]])
    places = {name: place for place, name in enumerate(order, 1)}
    steps = "; ".join(f"{a} > {b}" for a, b in pairs) + "\norder"
    steps += "".join(f" {name} {place}" for name, place in places.items())
    asked = re.search(r"Is (\w+) (\w+) than (\w+)\?$", exercise.text)
    if asked is None:
        first = any(relation[2] in exercise.text for relation in RELATIONS)
        return f"{steps}; {'first' if first else 'last'} {order[0] if first else order[-1]}"
    a, word, b = asked.groups()
    above, under = (a, b) if word in _MORE else (b, a)
    x, y = places[above], places[under]
    return f"{steps}; {above} > {under}: {above} {x} {under} {y}: {x}{y}{_sign(x, y)}"


def _parity(exercise: Exercise) -> str:
    number = _numbers(exercise)[0]
    steps = f"{number} ends in {number[-1]}: {_even_or_odd(number)}"
    if exercise.gold in ("even", "odd"):
        return steps
    return steps + ("; odd" if "odd" in exercise.text else "; even")


def _odd_one_out(exercise: Exercise) -> str:
    """Each item with its kind beside the first item's, up to where it is clear; then the letter that leads to the item.

    Two others unlike the first make it the first; one unlike and one like it, the second; else it is the first one unlike.
    """
    items = re.findall(r"\w+", re.findall(r"\w+(?:, \w+){3,}", exercise.text)[0])
    kinds = [_even_or_odd(item) if item.isdigit() else _KIND_OF[item] for item in items]
    place = items.index(exercise.gold)
    steps = f"A {items[0]} {kinds[0]}"
    for at in range(1, max(place, 2) + 1):
        like = "+" if kinds[at] == kinds[0] else "-"
        steps += f"; {_LETTERS[at]} {items[at]} {kinds[at]} {kinds[0]} {like}"
    return f"{steps}\nother {_LETTERS[place]} {exercise.gold}"


def _even_or_odd(number: str) -> str:
    return "odd" if int(number) % 2 else "even"


STEPS: Mapping[str, Callable[[Exercise], str]] = {
    "compare": _compare,
    "chain": _chain,
    "parity": _parity,
    "odd_one_out": _odd_one_out,
}
