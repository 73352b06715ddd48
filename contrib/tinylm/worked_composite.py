"""Worked solutions of the skills `composite` and `plan`: every step written out one after the other, or the plan alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from protocol.exercises import Exercise
from protocol.exercises_composite import FAMILIES, OPERATIONS, Steps, solution

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


def composite(exercise: Exercise, step_written: Callable[[Exercise], str]) -> str:
    """The whole computation in one model: each step as its specialist writes it, then its value, and the answer last."""
    read = ((pattern.fullmatch(exercise.text), steps) for pattern, steps in _READERS)
    fields, steps = next((found.groupdict(), steps) for found, steps in read if found is not None)
    *before, last = _written(steps, fields, step_written)
    return "\n".join([*(f"{written}\n= {value}" for written, value in before), f"{last[0]}\nanswer: {last[1]}"])


def _written(steps: Steps, fields: Mapping[str, str], step_written: Callable[[Exercise], str]) -> Iterator[tuple[str, str]]:
    for step in solution(steps, fields):
        operation = OPERATIONS[step.operation]
        written = step_written(Exercise(operation.skill, operation.family, step.text, step.value))
        # The two are written alike, and nothing else says which is meant.
        yield f"{operation.family} {written}" if operation.family in ("max", "min") else written, step.value
