"""Worked solutions of the skills `composite` and `plan`: every step written out one after the other, or the plan alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from protocol.exercises import Exercise
from protocol.exercises_composite import FAMILIES, OPERATIONS, Step, Steps, solution

_KINDS = {"list": "[0-9][0-9, ]*", "other": "[0-9][0-9, ]*", "word": "[a-z]+", "letter": "[a-z]"}
_FIELD = re.compile(r"\{(\w+)\}")


def _readers() -> Iterator[tuple[re.Pattern[str], Steps]]:
    for family in FAMILIES.values():
        for phrasings, steps in family.ways:
            for phrasing in phrasings:
                # Odd parts are the names of fields.
                parts = _FIELD.split(phrasing)
                read = [
                    f"(?P<{part}>{_KINDS.get(part, '[0-9]+')})" if at % 2 else re.escape(part) for at, part in enumerate(parts)
                ]
                yield re.compile("".join(read)), steps


_READERS = tuple(_readers())


def steps_of(text: str) -> tuple[Step, ...] | None:
    """The steps that answer a composite question, done; None for any other text."""
    for pattern, steps in _READERS:
        found = pattern.fullmatch(text)
        if found is not None:
            return solution(steps, found.groupdict())
    return None


def composite(exercise: Exercise, step_written: Callable[[Exercise], str]) -> str:
    """The whole computation in one model: each step as its specialist writes it, then its value, and the answer last."""
    steps = steps_of(exercise.text)
    assert steps is not None, exercise.text
    *before, last = [(_written(step, step_written), step.value) for step in steps]
    return "\n".join([*(f"{written}\n= {value}" for written, value in before), f"{last[0]}\nanswer: {last[1]}"])


def _written(step: Step, step_written: Callable[[Exercise], str]) -> str:
    operation = OPERATIONS[step.operation]
    written = step_written(Exercise(operation.skill, operation.family, step.text, step.value))
    # The two are written alike, and nothing else says which is meant.
    return f"{operation.family} {written}" if operation.family in ("max", "min") else written
