"""Plans carried out: planners by beacon, each plan's steps as questions of their own, and a vote of plans (specs/09-plans.md).

    asked --planners' task ends--> under way --a step's task ends--> next steps ... --every plan is done or failed--> delivered

The planners' task is plan 0, step 0 of the question's task; plan p's step s has the same task id, so messages of two plans
never mix. Calibration, bids, leases and votes are those of any other question: an executor sees no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.capability import GENERAL
from protocol.constants import PLAN_TOKENS_MAX, PLANNERS_DEFAULT, SEATS_DEFAULT
from protocol.errors import RemoteProtocolError
from protocol.outcome import Outcome, OutcomeKind, PlanReport, StepReport
from protocol.parameters import Parameters
from protocol.plan import Plan
from protocol.requirement import Requirement
from protocol.task import Task
from protocol.vote import Vote, tally

PLANNER: Final = "plan"
"""The skill that planners are asked in."""
COMPOSITE: Final = "composite"
"""The skill of questions that are planned although nobody asked for it, where a planner is there."""

DONE: Final = "answered"


@dataclass(slots=True)
class Course:
    """A plan under way, with the votes of all who wrote it. `state` is empty until it is answered or failed, then says so."""

    number: int
    text: str
    votes: list[Vote]
    plan: Plan | None = None
    state: str = ""
    answers: dict[int, str] = field(default_factory=dict)
    reports: list[StepReport] = field(default_factory=list)
    at_work: dict[int, Task] = field(default_factory=dict)

    @property
    def answer(self) -> str | None:
        """What the plan gives, None until it is done and for ever if it failed."""
        return self.answers.get(len(self.plan.steps)) if self.plan is not None and self.state == DONE else None

    @property
    def weight(self) -> int:
        """The sum of its planners' weights."""
        return sum(vote.weight for vote in self.votes)

    @property
    def earned(self) -> bool:
        """Whether each of its answers was voted for by somebody who earned a weight."""
        return all(report.outcome.kind is OutcomeKind.ANSWERED for report in self.reports)


@dataclass(slots=True)
class Planned:
    """A question that is planned: its own task, which no executor sees, and its plans once they are there."""

    task: Task
    planned: Outcome | None = None
    courses: list[Course] = field(default_factory=list)
    tokens: int = 0


class Planning:
    """Questions of this node that go by plans. `make` makes a task, `begin` sends it out, `abandon` breaks it off."""

    def __init__(
        self,
        parameters: Parameters,
        make: Callable[[str, Requirement], Task],
        begin: Callable[[Task], None],
        abandon: Callable[[Task], None],
        deliver: Callable[[bytes, Outcome], None],
    ) -> None:
        self._parameters = parameters
        self._make = make
        self._begin = begin
        self._abandon = abandon
        self._deliver = deliver
        self._questions: dict[bytes, Planned] = {}

    def planners(self, wanted: int | None, requirement: Requirement, candidates: list[bytes]) -> int:
        """How many planners a question gets, 0 for none: as many as were asked for, else by its requirement."""
        if wanted is not None:
            return wanted
        planned = requirement.skill == COMPOSITE and PLANNER in self._parameters.skills
        return PLANNERS_DEFAULT if planned and candidates else 0

    def add(self, task: Task, planners: int) -> None:
        """Ask `planners` peers for plans of the task's question."""
        self._questions[task.id] = Planned(task)
        asked = self._make(task.question, Requirement(PLANNER, 1_000))
        asked.id, asked.committee = task.id, planners
        self._share_time(asked, task)
        self._begin(asked)

    def on_end(self, task: Task, outcome: Outcome) -> None:
        """The planners' task of a question ended, or a step of one of its plans."""
        question = self._questions[task.id]
        if question.planned is None:
            question.planned = outcome
            question.courses = courses_of(task)
            for course in question.courses:
                self._read(question, course)
        else:
            course = question.courses[task.plan - 1]
            del course.at_work[task.step]
            self._take(course, task, outcome)
        self._advance(question)

    # --- One plan

    def _read(self, question: Planned, course: Course) -> None:
        try:
            course.plan = Plan.parse(course.text)
        except RemoteProtocolError as error:
            # The planners' answers are canonical, so this would be a fault of ours; a plan failed all the same.
            course.state = f"malformed: {error}"
            return
        for step in course.plan.steps:
            skill = self._parameters.skills.get(step.skill)
            # Plans of plans would have no end, and a step that has several again is no step.
            if skill is None or skill.answer == "plan" or step.skill in (COMPOSITE, GENERAL):
                course.state = "wants a skill that no step can have"
        if not course.weight and any(other.weight for other in question.courses):
            # Its vote could change nothing.
            course.state = course.state or "its planner has earned no weight"

    def _take(self, course: Course, task: Task, outcome: Outcome) -> None:
        course.reports.append(StepReport(task.step, task.requirement.skill, task.question, outcome))
        if course.state:
            return
        if outcome.answer is None:
            self._fail(course, f"step {task.step}: {outcome.kind.value}")
            return
        assert course.plan is not None
        course.answers[task.step] = outcome.answer
        if len(course.answers) == len(course.plan.steps):
            course.state = DONE

    def _fail(self, course: Course, reason: str) -> None:
        """The plan has no answer: what of it is still at work would only cost."""
        course.state = reason
        for task in course.at_work.values():
            self._abandon(task)
        course.at_work.clear()

    def _start(self, question: Planned, course: Course) -> None:
        """Send out the steps that need nothing any more."""
        if course.plan is None:
            return
        for number in course.plan.ready(course.answers):
            if course.state or number in course.at_work:
                continue
            step = course.plan.steps[number - 1]
            try:
                task = self._make(step.filled(course.answers), Requirement(step.skill, 1_000))
            except RemoteProtocolError as error:
                self._fail(course, f"step {number}: {error}")
                return
            # What may be spent, not what executors say they spent: a lie about it could stop others' plans.
            question.tokens += SEATS_DEFAULT * task.tokens_max
            if question.tokens > PLAN_TOKENS_MAX:
                self._fail(course, f"step {number}: the plans' tokens are spent")
                return
            task.id, task.plan, task.step = question.task.id, course.number, number
            self._share_time(task, question.task)
            course.at_work[number] = task
            self._begin(task)

    @staticmethod
    def _share_time(task: Task, whole: Task) -> None:
        """A part ends with the whole; its beacon says the whole's time, as that of any question and audit does."""
        task.begun_mono_ms, task.ends_mono_ms = whole.begun_mono_ms, whole.ends_mono_ms

    # --- The question

    def _advance(self, question: Planned) -> None:
        for course in question.courses:
            self._start(question, course)
        if all(course.state for course in question.courses) or self._decided(question):
            for course in question.courses:
                if not course.state:
                    self._fail(course, "the others decided")
            del self._questions[question.task.id]
            assert question.task.request is not None
            self._deliver(question.task.request, outcome_of_plans(question))

    @staticmethod
    def _decided(question: Planned) -> bool:
        """Whether no plan that is under way could change the answer."""
        votes = [replace(vote, answer=course.answer) for course in question.courses for vote in course.votes if course.state]
        result = tally(question.task.id, votes)
        if not result.earned:
            return False
        second = result.support[1][1] if len(result.support) > 1 else 0
        return result.support[0][1] - second > sum(course.weight for course in question.courses if not course.state)


def courses_of(task: Task) -> list[Course]:
    """One for each different plan, the heaviest first: what two planners wrote alike is carried out once."""
    courses: dict[str, Course] = {}
    for vote in task.cast():
        if vote.answer is not None:
            courses.setdefault(vote.answer, Course(0, vote.answer, [])).votes.append(vote)
    ranked = sorted(courses.values(), key=lambda course: (-course.weight, course.text))
    for number, course in enumerate(ranked, 1):
        course.number = number
    return ranked


def outcome_of_plans(question: Planned) -> Outcome:
    """The planners' outcome with the question's requirement and the plans' vote in place of theirs."""
    planned = question.planned
    assert planned is not None
    votes = [replace(vote, answer=course.answer) for course in question.courses for vote in course.votes]
    result = tally(question.task.id, votes)
    parts = [planned, *(report.outcome for course in question.courses for report in course.reports)]
    if result.answer is None:
        late = any(part.kind is OutcomeKind.DEADLINE for part in parts)
        kind = planned.kind if not question.courses else OutcomeKind.DEADLINE if late else OutcomeKind.ALL_FAILED
    else:
        sure = any(course.earned for course in question.courses if course.answer == result.answer)
        kind = OutcomeKind.ANSWERED if result.earned and sure else OutcomeKind.UNEARNED
    return replace(
        planned,
        kind=kind,
        requirement=question.task.requirement,
        skill_given=question.task.skill_given,
        answer=result.answer,
        tally=result,
        latency_ms=max(part.latency_ms for part in parts),
        inference_ms=max(part.inference_ms for part in parts),
        messages=sum(part.messages for part in parts),
        bytes_total=sum(part.bytes_total for part in parts),
        tokens=sum(part.tokens for part in parts),
        plans=tuple(
            PlanReport(
                course.number,
                tuple(vote.peer for vote in course.votes),
                course.weight,
                course.text,
                course.state,
                course.answer,
                tuple(sorted(course.reports, key=lambda report: report.step)),
            )
            for course in question.courses
        ),
    )
