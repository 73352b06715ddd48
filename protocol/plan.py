"""Plans: a hard question as a graph of steps, each a question that one skill answers (specs/09-plans.md).

    lists: Sort the list 31, 4, 15.
    arith: Add #1[-1] and #1[-2].
    logic: Is #2 even or odd?

A line is a step; `#2` stands for the answer of step 2, `#1[-1]` for the last number of the list that step 1 gave. The last
step's answer is the plan's. A planner is a stranger's model: what it wrote is data in narrow bounds, and nothing in it acts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from protocol.constants import (
    ANSWER_SIZE_MAX,
    PLAN_DEPTH_MAX,
    PLAN_ITEM_MAX,
    PLAN_STEP_SIZE_MAX,
    PLAN_STEPS_MAX,
    QUESTION_SIZE_MAX,
)
from protocol.errors import RemoteProtocolError

_LINE: Final = re.compile(r"([a-z][a-z0-9_-]{0,31}) ?: ?([^ ].*)")
# Whatever begins like a reference is one, so a wrong one is found before anything is spent on the plan.
_REFERENCE: Final = re.compile(r"#([0-9]+)(\[[^\]]*\]?)?")
_ITEM: Final = re.compile(r"\[(-?[1-9][0-9]{0,2})\]")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the skill it needs, its question with references, the steps whose answers these name, and its depth from 1."""

    skill: str
    text: str
    needs: tuple[int, ...]
    depth: int

    def filled(self, answers: Mapping[int, str]) -> str:
        """The question with the answers in place of the references.

        An answer is put in as it is and never read again, so it cannot name another step. Raises `RemoteProtocolError` for an
        item that a list does not have, and for a question that the answers made too long.
        """
        text = _REFERENCE.sub(lambda found: _referred(found, answers), self.text)
        if len(text.encode()) > QUESTION_SIZE_MAX:
            raise RemoteProtocolError("plan", "the answers make a step's question too long")
        return text


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph of steps, numbered from 1; each needs earlier ones alone, and all but the last are needed."""

    steps: tuple[Step, ...]

    @property
    def text(self) -> str:
        """The canonical form: a line a step, one blank between words, no line's end behind the last."""
        return "\n".join(f"{step.skill}: {step.text}" for step in self.steps)

    def ready(self, answers: Mapping[int, str]) -> list[int]:
        """Steps that are not answered and need nothing that is not, ascending."""
        return [
            number
            for number, step in enumerate(self.steps, 1)
            if number not in answers and all(need in answers for need in step.needs)
        ]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The plan in a planner's text; raises `RemoteProtocolError` ("plan") for anything else."""
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RemoteProtocolError("plan", "not Unicode text")
        lines = [" ".join(line.split()) for line in unicodedata.normalize("NFC", text).split("\n") if line.strip()]
        # specs/09-plans.md: "1 to PLAN_STEPS_MAX lines MUST remain"
        if not 0 < len(lines) <= PLAN_STEPS_MAX:
            raise RemoteProtocolError("plan", f"{len(lines)} steps: a plan has 1 to {PLAN_STEPS_MAX}")
        steps: list[Step] = []
        for line in lines:
            steps.append(_step(line, steps))
        # specs/09-plans.md: "Each step but the last MUST be needed by another."
        unused = set(range(1, len(steps))) - {need for step in steps for need in step.needs}
        if unused:
            raise RemoteProtocolError("plan", f"nothing needs step {min(unused)}")
        plan = cls(tuple(steps))
        if len(plan.text.encode()) > ANSWER_SIZE_MAX:
            raise RemoteProtocolError("plan", f"longer than {ANSWER_SIZE_MAX} bytes")
        return plan


def canonical_plan(text: str) -> str | None:
    """The canonical form of a plan, None if `text` is none."""
    try:
        return Plan.parse(text).text
    except RemoteProtocolError:
        return None


def _step(line: str, before: list[Step]) -> Step:
    found = _LINE.fullmatch(line)
    if found is None:
        raise RemoteProtocolError("plan", "a line that is not a skill and its question")
    skill, text = found.groups()
    if len(text.encode()) > PLAN_STEP_SIZE_MAX:
        raise RemoteProtocolError("plan", f"a step of more than {PLAN_STEP_SIZE_MAX} bytes")
    needs: set[int] = set()
    for step, item in _REFERENCE.findall(text):
        # specs/09-plans.md: "The number MUST have no leading zero and be that of an earlier step."
        if step != step.lstrip("0") or not 0 < int(step[:4]) <= len(before):
            raise RemoteProtocolError("plan", "refers to no earlier step")
        needs.add(int(step))
        if item and not _is_item(item):
            raise RemoteProtocolError("plan", "refers to no item of a list")
    depth = 1 + max((before[need - 1].depth for need in needs), default=0)
    if depth > PLAN_DEPTH_MAX:
        raise RemoteProtocolError("plan", f"more than {PLAN_DEPTH_MAX} steps one after the other")
    return Step(skill, text, tuple(sorted(needs)), depth)


def _is_item(written: str) -> bool:
    found = _ITEM.fullmatch(written)
    return found is not None and abs(int(found[1])) <= PLAN_ITEM_MAX


def _referred(found: re.Match[str], answers: Mapping[int, str]) -> str:
    answer = answers[int(found[1])]
    if not found[2]:
        return answer
    items, place = answer.split(), int(found[2][1:-1])
    if abs(place) > len(items):
        raise RemoteProtocolError("plan", "refers to an item that the list does not have")
    return items[place - 1 if place > 0 else place]
