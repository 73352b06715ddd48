"""Worked solutions of the skill `logic`: digits side by side, statements turned the same way, each item with its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from protocol.exercises import Exercise
from protocol.exercises_logic import CATEGORIES, RELATIONS

_KIND_OF = {word: kind for kind, words in CATEGORIES.items() for word in words}


def _numbers(exercise: Exercise) -> list[str]:
    return re.findall(r"\d+", exercise.text)


def _sign(a: int, b: int) -> str:
    return "<" if a < b else ">" if a > b else "="


def _compare(exercise: Exercise) -> str:
    """Digit by digit from the left, zeros before the shorter number, up to the first digits that differ."""
    a, b = _numbers(exercise)
    places, steps = max(len(a), len(b)), ""
    for x, y in zip(a.zfill(places), b.zfill(places), strict=True):
        sign = _sign(int(x), int(y))
        steps += f" {x}{y}{sign}"
        if sign != "=":
            break
    asked = "greater" if re.search("greater|bigger|larger|more", exercise.text) else "less"
    return f"{a.zfill(places)} {b.zfill(places)}:{steps}; {a} {_sign(int(a), int(b))} {b}; {asked}"


def _chain(exercise: Exercise) -> str:
    """Each statement as "more > less", then all people in order with their places, then the question."""
    pairs = []
    for a, word, b in re.findall(r"(\w+) is (\w+) than (\w+)\.", exercise.text):
        more = any(word == relation[0] for relation in RELATIONS)
        pairs.append((a, b) if more else (b, a))
    below = dict(pairs)
    order = [next(name for name in below if name not in below.values())]
    while order[-1] in below:
        order.append(below[order[-1]])
    places = {name: place for place, name in enumerate(order, 1)}
    steps = "; ".join(f"{a} > {b}" for a, b in pairs) + "\norder"
    steps += "".join(f" {place} {name}" for name, place in places.items())
    asked = re.search(r"Is (\w+) (\w+) than (\w+)\?$", exercise.text)
    if asked is None:
        most = any(relation[2] in exercise.text for relation in RELATIONS)
        return steps + ("; first" if most else "; last")
    a, word, b = asked.groups()
    if not any(word == relation[0] for relation in RELATIONS):
        a, b = b, a
    return f"{steps}; {a} > {b}: {a} {places[a]} {b} {places[b]}"


def _parity(exercise: Exercise) -> str:
    number = _numbers(exercise)[0]
    steps = f"{number} ends in {number[-1]}: {_even_or_odd(number)}"
    if exercise.gold in ("even", "odd"):
        return steps
    return steps + ("; odd" if "odd" in exercise.text else "; even")


def _odd_one_out(exercise: Exercise) -> str:
    """Each item with its kind, then the kind that stands alone."""
    items = re.findall(r"\w+", re.findall(r"\w+(?:, \w+){3,}", exercise.text)[0])
    kinds = {item: _even_or_odd(item) if item.isdigit() else _KIND_OF[item] for item in items}
    steps = ", ".join(f"{item} {kind}" for item, kind in kinds.items())
    return f"{steps}; only {kinds[exercise.gold]}"


def _even_or_odd(number: str) -> str:
    return "odd" if int(number) % 2 else "even"


STEPS: Mapping[str, Callable[[Exercise], str]] = {
    "compare": _compare,
    "chain": _chain,
    "parity": _parity,
    "odd_one_out": _odd_one_out,
}
