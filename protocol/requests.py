"""What an owner asks for, checked, and the tasks that it becomes."""

from __future__ import annotations

from collections.abc import Callable

from protocol.capability import GENERAL
from protocol.constants import (
    DEADLINE_MS_DEFAULT,
    DEADLINE_MS_MAX,
    PLANNERS_MAX,
    QUESTION_SIZE_MAX,
    REFINE_MAX,
    TASKS_MAX,
    TOKENS_GENERAL,
)
from protocol.errors import LocalProtocolError
from protocol.events import RequestMade
from protocol.outbox import Outbox
from protocol.parameters import Parameters
from protocol.planning import COMPOSITE, PLANNER
from protocol.requirement import Requirement, RequirementMap
from protocol.task import Task


class Requests:
    """Makes tasks of questions, each with a random id."""

    def __init__(
        self, outbox: Outbox, parameters: Parameters, requirement_map: RequirementMap, entropy: Callable[[int], bytes]
    ) -> None:
        self._outbox = outbox
        self._parameters = parameters
        self._requirement_map = requirement_map
        self._entropy = entropy

    def take(self, event: RequestMade, under_way: int, candidates: Callable[[str], list[bytes]]) -> Task:
        """The task of a request, beside `under_way` others; raises `LocalProtocolError` that says what cannot be asked."""
        _check_text(event.text)
        self._check_skill(event)
        if under_way >= TASKS_MAX:
            raise LocalProtocolError(f"{TASKS_MAX} questions are under way; wait for one to end")
        self._check_planners(event)
        deadline_ms = DEADLINE_MS_DEFAULT if event.deadline_ms is None else event.deadline_ms
        if not 0 < deadline_ms <= DEADLINE_MS_MAX:
            raise LocalProtocolError(f"a deadline is 1 to {DEADLINE_MS_MAX} ms, not {deadline_ms}")
        if not 0 <= event.refine <= REFINE_MAX:
            raise LocalProtocolError(f"answers are revised 0 to {REFINE_MAX} times, not {event.refine}")
        if event.refine and event.planners:
            raise LocalProtocolError("a planned question is answered by steps, which nobody revises: refine or plan, not both")
        task = self.task(event.text, self._requirement(event, candidates), event.request, deadline_ms)
        task.skill_given, task.refine = event.skill is not None, event.refine
        return task

    def _requirement(self, event: RequestMade, candidates: Callable[[str], list[bytes]]) -> Requirement:
        if event.skill is not None:
            return Requirement(event.skill, 1_000)
        found = self._requirement_map(event.text)
        if found.skill != COMPOSITE or event.planners or candidates(COMPOSITE):
            return found
        if event.planners is None and not event.refine and candidates(PLANNER):
            return found
        # Nobody could plan it or answer it, and a question of one step may look like one of several.
        return self._requirement_map(event.text, without=COMPOSITE)

    def _check_skill(self, event: RequestMade) -> None:
        if event.skill is not None and event.skill != GENERAL and event.skill not in self._parameters.skills:
            known = ", ".join(sorted(self._parameters.skills))
            raise LocalProtocolError(f"no skill {event.skill!r} in this network; there are {known}, {GENERAL}")
        if event.skill == PLANNER:
            # A plan that nobody carries out is no answer, and its receipt would be read as that of a planned question.
            raise LocalProtocolError(f"{PLANNER} is no skill to ask in: ask with planners, and their plans are carried out")

    def _check_planners(self, event: RequestMade) -> None:
        if event.planners is not None and not 0 <= event.planners <= PLANNERS_MAX:
            raise LocalProtocolError(f"a question has at most {PLANNERS_MAX} planners, not {event.planners}")
        if event.planners and PLANNER not in self._parameters.skills:
            raise LocalProtocolError(f"this network has no skill {PLANNER}, so nobody can plan a question")

    def part(self, text: str, requirement: Requirement) -> Task:
        """A task for a part of a question; whose part it is sets its time."""
        return self.task(text, requirement, None, DEADLINE_MS_DEFAULT)

    def task(self, text: str, requirement: Requirement, request: bytes | None, deadline_ms: int) -> Task:
        """A task that begins now, with the limits that the network's parameters give its skill."""
        skill = self._parameters.skills.get(requirement.skill)
        now_ms = self._outbox.now.mono_ms
        return Task(
            id=self._entropy(16),
            request=request,
            question=text,
            requirement=requirement,
            skill_given=False,
            answer_kind=skill.answer if skill else "text",
            options=skill.options if skill else 2,
            tokens_max=tokens_max(self._parameters, requirement.skill),
            audit=None,
            begun_mono_ms=now_ms,
            ends_mono_ms=now_ms + deadline_ms,
        )


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise LocalProtocolError("a question is Unicode text; this one holds a lone surrogate") from error
    if not text.strip() or size > QUESTION_SIZE_MAX:
        raise LocalProtocolError(f"a question has 1 to {QUESTION_SIZE_MAX} bytes, this one {size}")


def tokens_max(parameters: Parameters, skill: str) -> int:
    """The most tokens that an answer of `skill` may take."""
    known = parameters.skills.get(skill)
    return known.tokens_max if known else TOKENS_GENERAL


def tokens_longest(parameters: Parameters) -> int:
    """The most tokens that any question of this network may take: a node that can take this one can take any."""
    return max((TOKENS_GENERAL, *(skill.tokens_max for skill in parameters.skills.values())))
