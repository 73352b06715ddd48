"""A receipt of a question that went by plans: what its steps, each gone through alone, give together (specs/11-receipt.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.conclusion import outcome_of
from protocol.errors import RemoteProtocolError
from protocol.outcome import Outcome, StepReport
from protocol.plan import Plan
from protocol.planning import DONE, Course, Planned, courses_of, outcome_of_plans
from protocol.receipt import Result, StepReceipt
from protocol.replay import Replay, wrong
from protocol.task import Task

PLAN_ANSWER = "plan"


@dataclass(frozen=True, slots=True)
class Part:
    """A step that was gone through, the task that it was, and its outcome."""

    step: StepReceipt
    replay: Replay
    task: Task
    outcome: Outcome

    @property
    def name(self) -> str:
        """Which step, for people."""
        return f"step {self.step.step} of plan {self.step.plan}" if self.step.plan else "its planning"


def replayed(network: bytes, requester: bytes, task_id: bytes, steps: Sequence[StepReceipt]) -> list[Part]:
    """Each step by itself, its result compared with the one that follows; raises `RemoteProtocolError`."""
    places = [(step.plan, step.step) for step in steps]
    if not places or places[0] != (0, 0) or places != sorted(set(places)):
        raise wrong("its steps are not in order, or do not begin with that of plan 0")
    # specs/11-receipt.md: "of every other one both are above 0"
    if any(0 in place for place in places[1:]):
        raise wrong("one of its later steps has plan 0 or step 0, which only that of the planners has")
    parts = []
    for step in steps:
        replay = Replay(network, requester, task_id, step)
        try:
            task = replay.run()
            outcome = outcome_of(task, step.reason, 0)
            compare(Result.parse(step.result), Result.of(outcome))
        except RemoteProtocolError as error:
            if len(steps) == 1:
                raise
            raise wrong(f"step {step.step} of plan {step.plan}: {error}") from error
        parts.append(Part(step, replay, task, outcome))
    return parts


def compare(stated: Result, found: Result) -> None:
    """Raise `RemoteProtocolError` that names what is stated and does not follow."""
    for name in Result.RULES:
        said, follows = getattr(stated, name), getattr(found, name)
        if said != follows:
            raise wrong(f"it gives {name} as {said!r}, and from the votes follows {follows!r}")


def carried_out(parts: Sequence[Part]) -> tuple[Outcome, list[Course]]:
    """The vote of the plans that the first part's planners opened, with what the other parts made of them.

    Each step must ask what its plan says, with the answers of the steps before put in. A plan without all of its steps here has
    no answer: that it could not have one is the requester's word.
    """
    planned = Planned(parts[0].task, parts[0].outcome, courses_of(parts[0].task))
    for part in parts[1:]:
        if part.step.plan > len(planned.courses):
            raise wrong(f"{part.name} is of a plan that no planner opened")
        _take(planned.courses[part.step.plan - 1], part)
    for course in planned.courses:
        complete = course.plan is not None and len(course.answers) == len(course.plan.steps)
        course.state = DONE if complete else "not carried out"
    return outcome_of_plans(planned), planned.courses


def _take(course: Course, part: Part) -> None:
    if course.plan is None:
        course.plan = Plan.parse(course.text)
    number = part.step.step
    if not 1 <= number <= len(course.plan.steps):
        raise wrong(f"{part.name} is a step that its plan does not have")
    step = course.plan.steps[number - 1]
    if any(need not in course.answers for need in step.needs) or part.step.question != step.filled(course.answers):
        raise wrong(f"{part.name} asks something else than its plan says")
    if part.task.requirement.skill != step.skill:
        raise wrong(f"{part.name} asks for another skill than its plan says")
    course.reports.append(StepReport(number, step.skill, part.step.question, part.outcome))
    if part.outcome.answer is not None:
        course.answers[number] = part.outcome.answer
