"""What was measured of models: who is right together, by family and difficulty (contrib/evaluation/calibration.py writes it).

A pattern has a character for each of a list of models: 0 for the right answer, - for none, else a digit for a wrong one, the
same for models that gave the same. One pattern is drawn for a question, by its words, for all models of a list: nodes with one
model answer alike, as greedy models do, and models err together as often as they were seen to.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from protocol.exercises import ONE_STEP
from simnet.draws import Draws
from simnet.reading import Reading

GSM8K: Final = "gsm8k:"
"""Before the names of models that are as often right as those whose answers to GSM8K were published, whatever is asked."""
RIGHT, SILENT = "0", "-"


@dataclass(frozen=True, slots=True)
class Measured:
    """The patterns that a list of models showed on questions of one kind, with how often each occurred."""

    models: tuple[str, ...]
    patterns: tuple[tuple[str, int], ...]

    @property
    def questions(self) -> int:
        """How many were asked."""
        return sum(count for _, count in self.patterns)

    def right(self, model: str) -> int:
        """How many the model answered rightly."""
        place = self.models.index(model)
        return sum(count for pattern, count in self.patterns if pattern[place] == RIGHT)

    def drawn(self, model: str, question: str) -> str:
        """The model's character in the pattern of a question."""
        lot = Draws(0, f"pattern {question}").below(self.questions)
        for pattern, count in self.patterns:
            lot -= count
            if lot < 0:
                return pattern[self.models.index(model)]
        raise AssertionError("a lot beyond all patterns")


@functools.cache
def _content() -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("simnet") / "calibration.json").read_text(encoding="utf-8"))
    return MappingProxyType(found)


@functools.cache
def gsm8k() -> Measured:
    """The models whose answers to GSM8K were published."""
    part = _content()["gsm8k"]
    return Measured(tuple(GSM8K + name for name in part["models"]), tuple(part["patterns"].items()))


@functools.cache
def tiny(family: str, difficulty: int) -> Measured:
    """The packaged models that offer the skill of a family."""
    part = _content()["tiny"][family]
    return Measured(tuple(part["models"]), tuple(part["difficulties"][str(difficulty)]["patterns"].items()))


def measured(model: str, skill: str, reading: Reading) -> Measured:
    """What was measured of a model's answers to such a question in a skill that it offers."""
    if model.startswith(GSM8K):
        return gsm8k()
    return tiny(f"plan_{reading.family}" if skill == "plan" else reading.family, reading.difficulty)


@functools.cache
def skills(model: str) -> Mapping[str, int]:
    """The skills that a model offers, each with how often it is right in thousandths, over all families and difficulties."""
    if model.startswith(GSM8K):
        found = gsm8k()
        return MappingProxyType(dict.fromkeys(ONE_STEP, 1_000 * found.right(model) // found.questions))
    right: dict[str, list[int]] = {}
    for family, part in _content()["tiny"].items():
        if model in part["models"]:
            for difficulty in part["difficulties"]:
                found = tiny(family, int(difficulty))
                right.setdefault(part["skill"], []).append(1_000 * found.right(model) // max(1, found.questions))
    return MappingProxyType({skill: sum(shares) // len(shares) for skill, shares in sorted(right.items())})
