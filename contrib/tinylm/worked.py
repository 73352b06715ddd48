"""The written-out solutions that the models learn: every step on paper, then a last line `answer: X`.

A model this small computes almost nothing in its head. Each solution is therefore a procedure whose every token follows
from one or two tokens nearby: digit by digit with the carry written down, or item by item with the state so far.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from contrib.tinylm import worked_composite, worked_logic, worked_text
from protocol.exercises import Exercise

_PLACES = ("units", "tens", "hundreds")


def worked(exercise: Exercise) -> str:
    """The completion to learn for an exercise; it ends in `answer: <gold>`."""
    if exercise.skill == "plan":
        return f"answer: {exercise.gold}"
    if exercise.skill == "composite":
        return worked_composite.composite(exercise, _steps)
    return f"{_steps(exercise)}\nanswer: {_shown(exercise)}"


def _steps(exercise: Exercise) -> str:
    """What is written before the answer of one specialist's exercise."""
    if exercise.family in _WRITTEN:
        return _WRITTEN[exercise.family](exercise)
    numbers = [int(digits) for digits in re.findall(r"\d+", exercise.text)]
    return _STEPS[exercise.family](numbers, exercise)


def _shown(exercise: Exercise) -> str:
    """The gold answer as the question writes it: a name keeps its capital letter, which the canonical form lowers."""
    found = re.search(rf"\b{re.escape(exercise.gold)}\b", exercise.text, re.IGNORECASE if exercise.family == "chain" else 0)
    return found[0] if found else exercise.gold


def _columns(a: int, b: int) -> list[tuple[str, int, int]]:
    """Both digits of each decimal place, from the units up to the longer number's first digit."""
    places = len(str(max(a, b)))
    return [(_PLACES[place], a // 10**place % 10, b // 10**place % 10) for place in range(places)]


def _add(numbers: list[int], _: Exercise) -> str:
    a, b = numbers
    steps, carry = [], 0
    for place, x, y in _columns(a, b):
        total = x + y + carry
        steps.append(f"{place} {x}+{y}+{carry}={total}")
        carry = total // 10
    return f"{a}+{b}\n" + "; ".join(steps)


def _subtract(numbers: list[int], _: Exercise) -> str:
    b, a = sorted(numbers)
    steps, borrowed = [], 0
    for place, x, y in _columns(a, b):
        borrow = int(x < y + borrowed)
        top = x + 10 * borrow
        steps.append(f"{place} {top}-{y}-{borrowed}={top - y - borrowed}")
        borrowed = borrow
    return f"{a}-{b}\n" + "; ".join(steps)


def _times(numbers: list[int], _: Exercise) -> str:
    b, a = sorted(numbers)
    steps, carry = [], 0
    for place, x, _zero in _columns(a, 0):
        total = x * b + carry
        steps.append(f"{place} {x}*{b}={x * b}+{carry}={total}")
        carry = total // 10
    return f"{a}*{b}\n" + "; ".join(steps)


def _word(numbers: list[int], exercise: Exercise) -> str:
    a, b = numbers
    gold = int(exercise.gold)
    if gold == a + b:
        return _add(numbers, exercise)
    return _times(numbers, exercise) if gold == a * b else _subtract(numbers, exercise)


def _running(best: Callable[[int, int], int]) -> Callable[[list[int], Exercise], str]:
    """Each item, then the best so far."""

    def steps(numbers: list[int], _: Exercise) -> str:
        lines, kept = [], numbers[0]
        for number in numbers:
            kept = best(kept, number)
            lines.append(f" {number}: {kept}")
        return "so far" + ";".join(lines)

    return steps


def _sort(numbers: list[int], _: Exercise) -> str:
    """Insertion: each item, then the sorted list so far. The last insertion is the answer itself."""
    lines = [f" {number}: {_joined(sorted(numbers[: place + 1]))}" for place, number in enumerate(numbers[:-1])]
    return "insert" + ";".join([*lines, f" {numbers[-1]}:"])


def _reverse(numbers: list[int], _: Exercise) -> str:
    """Numbered items: the answer counts the numbers down."""
    return "items" + ";".join(f" {place}: {number}" for place, number in enumerate(numbers, 1))


def _count(numbers: list[int], exercise: Exercise) -> str:
    """Each item beside the limit, whether it is above, and the count so far."""
    limit_first = re.match(r"\D+\d+: ", exercise.text) is not None
    limit, items = (numbers[0], numbers[1:]) if limit_first else (numbers[-1], numbers[:-1])
    lines, count = [], 0
    for number in items:
        count += number > limit
        lines.append(f" {number} {limit} {'yes' if number > limit else 'no'} {count}")
    return "above" + ";".join(lines)


def _joined(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


_WRITTEN: Mapping[str, Callable[[Exercise], str]] = {**worked_text.STEPS, **worked_logic.STEPS}
_STEPS: Mapping[str, Callable[[list[int], Exercise], str]] = {
    "add": _add,
    "subtract": _subtract,
    "times": _times,
    "word": _word,
    "sort": _sort,
    "max": _running(max),
    "min": _running(min),
    "reverse": _reverse,
    "count": _count,
}
