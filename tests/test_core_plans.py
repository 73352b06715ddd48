"""Plans carried out by cores in a simulated world: what a plan does, how it fails, and what plans never do to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from contrib.tinylm.worked_composite import steps_of
from protocol import exercises
from protocol.constants import BEACONS_BURST, DEADLINE_MS_DEFAULT, PLAN_STEPS_MAX, PLANNERS_MAX
from protocol.envelope import open_envelope
from protocol.errors import LocalProtocolError
from protocol.events import AuditsWanted, Instant, Publish, RequestMade
from protocol.messages import Beacon
from protocol.outcome import Outcome, OutcomeKind
from protocol.planning import COMPOSITE, PLANNER
from simnet.draws import Stream
from simnet.host import Solution, Solver
from simnet.links import Link
from simnet.reading import read
from simnet.world import World
from tests.support import PARAMETERS, REQUIREMENT_MAP, Bench, host_of, record

QUESTION = "Multiply the larger maximum by 3."
RIGHT = """\
lists: What is the largest of 41, 7, 12?
lists: What is the largest of 8 30 5?
logic: Which number is larger: #1 or #2?
arith: Multiply #3 by 3."""
OTHER = RIGHT.replace("logic: Which number is larger: #1 or #2?", "logic: Which number is smaller: #1 or #2?")
GOLD, WRONG = "123", "90"
SPECIALISTS = ("arith", "lists", "text", "logic")


def reader(skill: str, error: Callable[[str], str | None] = lambda _: None) -> Solver:
    """A specialist that is always right in its own skill; what `error` gives for a question takes the answer's place."""

    def solve(prompt: str, _: Stream) -> Solution:
        found = read(prompt)
        answer = error(prompt) or (found.gold if found and found.skill == skill else "-")
        return Solution(f"steps\nanswer: {answer}", 20)

    return solve


def planner(plan: str | None, elapsed_ms: int = 20) -> Solver:
    """A planner that is right in its audits and writes `plan` for every other question; None: it has none."""

    def solve(prompt: str, _: Stream) -> Solution:
        steps = steps_of(prompt)
        if steps is not None:
            return Solution("answer: " + "\n".join(step.line for step in steps), 20)
        return Solution("I do not know" if plan is None else f"steps\nanswer: {plan}", elapsed_ms)

    return solve


def world_of(planners: Mapping[str, Solver], specialists: Mapping[str, Solver] | None = None) -> World:
    """A requester without skills, a specialist a skill, and planners, all connected."""
    world = World(PARAMETERS, 1, Link(jitter_us=0))
    asked = world.add("asked", record(), reader("none"))
    for name in SPECIALISTS:
        world.join(world.add(name, record(name), (specialists or {}).get(name, reader(name))), asked)
    for name, solve in planners.items():
        world.join(world.add(name, record(PLANNER), solve), asked)
    world.run(for_ms=5_000)
    return world


def planned(world: World, planners: int = 3, text: str = QUESTION) -> Outcome:
    """The outcome of a question that is planned, after the audits."""
    asked = host_of(world, "asked")
    world.after(0, asked, AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: asked.core.audits.settled(asked.core.audits.skills))
    request = text.encode()[:16]
    world.after(0, asked, RequestMade(request, text, COMPOSITE, planners=planners))
    world.run(until=lambda: request in asked.outcomes)
    return asked.outcomes[request]


def states(outcome: Outcome) -> list[str]:
    return [plan.state for plan in outcome.plans]


def test_plan__is_carried_out_step_by_step_and_its_last_answer_is_the_answer() -> None:
    world = world_of({"a": planner(RIGHT)})
    outcome = planned(world, planners=1)
    assert outcome.answer == GOLD
    (plan,) = outcome.plans
    assert [(step.step, step.question, step.outcome.answer) for step in plan.steps] == [
        (1, "What is the largest of 41, 7, 12?", "41"),
        (2, "What is the largest of 8 30 5?", "30"),
        (3, "Which number is larger: 41 or 30?", "41"),
        (4, "Multiply 41 by 3.", GOLD),
    ]
    assert plan.text == RIGHT
    assert outcome.requirement.skill == COMPOSITE
    assert outcome.tokens == sum(step.outcome.tokens for step in plan.steps) + sum(
        seat.prompt_tokens + seat.completion_tokens for seat in outcome.seats
    )
    assert outcome.kind is OutcomeKind.ANSWERED


def test_plan__sends_out_independent_steps_together() -> None:
    world = world_of({"a": planner(RIGHT)})
    opened: list[tuple[int, int, int]] = []

    def observe(_: object, effect: object) -> None:
        if isinstance(effect, Publish) and effect.topic == "beacons":
            beacon = Beacon.parse(open_envelope(effect.data).body)
            opened.append((world.now_us, beacon.plan, beacon.step))

    world.observer = observe
    planned(world, planners=1)
    steps = [(plan, step) for _, plan, step in opened if plan]
    assert steps == [(1, 1), (1, 2), (1, 3), (1, 4)]
    times = {step: time for time, plan, step in opened if plan}
    assert times[1] == times[2] < times[3] < times[4]


def test_plans__that_are_alike_are_carried_out_once_and_count_for_each_planner() -> None:
    world = world_of({"a": planner(RIGHT), "b": planner(RIGHT.replace("#1 or #2", "  #1 or #2")), "c": planner(OTHER)})
    outcome = planned(world)
    assert {plan.text: len(plan.planners) for plan in outcome.plans} == {RIGHT: 2, OTHER: 1}
    (weight,) = {seat.weight for seat in outcome.seats}
    assert outcome.answer == GOLD
    assert outcome.tally is not None
    # The other plan may be broken off before it has its answer: it could change nothing any more.
    assert outcome.tally.support[0] == (GOLD, 2 * weight)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (RIGHT.replace("logic: ", "poetry: "), "wants a skill that no step can have"),
        (RIGHT.replace("logic: ", "plan: "), "wants a skill that no step can have"),
        (RIGHT.replace("logic: ", "composite: "), "wants a skill that no step can have"),
        (RIGHT.replace("lists: What is the largest of 8 30 5?", "logic: Which is it?"), "step 2: all failed"),
        (RIGHT.replace("#1 or #2", "#1[4] or #2"), "step 3: refers to an item that the list does not have"),
    ],
)
def test_plan__with_a_flaw_fails_alone(text: str, state: str) -> None:
    outcome = planned(world_of({"a": planner(text), "b": planner(RIGHT)}), planners=2)
    assert sorted(states(outcome)) == sorted(["answered", state])
    assert outcome.answer == GOLD


def test_plans__that_all_fail_leave_the_question_without_an_answer() -> None:
    outcome = planned(world_of({"a": planner(RIGHT.replace("logic: ", "poetry: "))}), planners=1)
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ALL_FAILED, None)


def test_plan__that_is_malformed_is_an_abstention_of_its_planner() -> None:
    outcome = planned(world_of({"a": planner("Sort it and add."), "b": planner(RIGHT), "c": planner(None)}))
    assert [plan.text for plan in outcome.plans] == [RIGHT]
    assert outcome.answer == GOLD
    assert sorted(seat.state for seat in outcome.seats) == ["abstained", "abstained", "answered"]


def test_planning__without_any_plan_ends_in_an_outcome() -> None:
    outcome = planned(world_of({"a": planner(None)}))
    assert (outcome.kind, outcome.answer, outcome.plans) == (OutcomeKind.ALL_FAILED, None, ())
    nobody = planned(world_of({}))
    assert (nobody.kind, nobody.answer, nobody.plans) == (OutcomeKind.NO_BIDS, None, ())


def test_planning__ends_at_the_questions_deadline() -> None:
    slow = {"arith": reader("arith", lambda _: None)}
    world = world_of({"a": planner(RIGHT, elapsed_ms=2 * DEADLINE_MS_DEFAULT)}, slow)
    outcome = planned(world, planners=1)
    assert outcome.kind is OutcomeKind.DEADLINE
    assert DEADLINE_MS_DEFAULT <= outcome.latency_ms <= DEADLINE_MS_DEFAULT + 100
    assert not host_of(world, "asked").core.tasks


def test_answers__never_reach_another_plan_or_question() -> None:
    world = world_of({"a": planner(RIGHT), "b": planner(OTHER), "c": planner(RIGHT.replace("by 3", "by 2"))})
    asked = host_of(world, "asked")
    for number in range(4):
        world.after(0, asked, RequestMade(bytes([number]), f"{QUESTION} {number}", COMPOSITE, planners=3))
    world.run(until=lambda: len(asked.outcomes) == 4)
    for outcome in asked.outcomes.values():
        assert {plan.text: plan.answer for plan in outcome.plans} == {
            RIGHT: GOLD,
            OTHER: WRONG,
            RIGHT.replace("by 3", "by 2"): "82",
        }
    assert not asked.core._planning._questions


def test_plans__of_many_questions_at_once_have_beacons_that_all_are_heard() -> None:
    """Their steps would be more than others take of one requester; they wait for that ration alone, and none for another."""
    parts = [f"lists: What is the largest of {number}, 7, 12?" for number in range(1, PLAN_STEPS_MAX)]
    whole = ", ".join(f"#{number}" for number in range(1, PLAN_STEPS_MAX))
    world = world_of({"a": planner("\n".join([*parts, f"lists: What is the largest of {whole}?"]))})
    asked, count = host_of(world, "asked"), 40
    assert count * PLAN_STEPS_MAX > BEACONS_BURST
    for number in range(count):
        world.after(0, asked, RequestMade(bytes([number]), f"{QUESTION} {number}", COMPOSITE, planners=1))
    world.run(until=lambda: len(asked.outcomes) == count)
    assert all(host.core.rejected["rate"] == 0 for host in world.hosts.values())
    steps = [step.outcome.kind for outcome in asked.outcomes.values() for plan in outcome.plans for step in plan.steps]
    # One specialist alone has too few leases for all of them at once, and says so.
    assert set(steps) == {OutcomeKind.ANSWERED, OutcomeKind.ALL_FAILED}
    assert {outcome.kind for outcome in asked.outcomes.values()} == {OutcomeKind.ANSWERED, OutcomeKind.ALL_FAILED}


def test_answer__that_reads_like_a_plan_is_data() -> None:
    def hostile(prompt: str) -> str | None:
        return "#2" if "41" in prompt else None

    world = world_of({"a": planner(RIGHT)}, {"lists": reader("lists", hostile)})
    outcome = planned(world, planners=1)
    # "#2" is no list, so the step has no answer at all; were it one, it would be put in unread.
    assert states(outcome) == ["step 1: all failed"]


def test_failed_step__takes_back_what_of_its_plan_is_at_work() -> None:
    broken = RIGHT.replace("lists: What is the largest of 41, 7, 12?", "logic: Which is it?")
    world = world_of({"a": planner(broken)}, {"lists": lambda _prompt, _draws: Solution("answer: 30", 30_000)})
    outcome = planned(world, planners=1)
    assert states(outcome) == ["step 1: all failed"]
    assert outcome.latency_ms < 10_000
    world.run(for_ms=1_000)
    assert host_of(world, "lists").core.leases == 0
    assert not host_of(world, "asked").core.tasks


def test_requirement__composite_is_planned_unless_it_is_forbidden_or_nobody_plans() -> None:
    text = exercises.generate(COMPOSITE, 1, 1).text
    world = world_of({"a": planner(RIGHT)})
    asked = host_of(world, "asked")
    world.after(0, asked, RequestMade(b"auto", text))
    world.after(0, asked, RequestMade(b"never", text, planners=0))
    world.run(until=lambda: len(asked.outcomes) == 2)
    assert asked.outcomes[b"auto"].plans
    assert asked.outcomes[b"never"].plans == ()
    alone = world_of({})
    assert alone.answer(host_of(alone, "asked"), text).plans == ()


def test_question_of_several_steps__goes_to_who_has_the_next_skill_where_nobody_plans() -> None:
    texts = (exercises.generate(COMPOSITE, 1, seed).text for seed in range(200))
    text = next(text for text in texts if REQUIREMENT_MAP(text, COMPOSITE).skill == "lists")
    assert REQUIREMENT_MAP(text).skill == COMPOSITE
    world = world_of({})
    world.after(0, host_of(world, "asked"), AuditsWanted())
    world.run(for_ms=3_000)
    outcome = world.answer(host_of(world, "asked"), text)
    # They were asked, and their models can make nothing of it.
    assert (outcome.requirement.skill, outcome.kind) == ("lists", OutcomeKind.ALL_FAILED)
    assert outcome.seats


@pytest.mark.parametrize("planners", [-1, PLANNERS_MAX + 1])
def test_request__has_a_bounded_number_of_planners(planners: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"at most {PLANNERS_MAX} planners"):
        Bench().core.step(RequestMade(b"r", QUESTION, planners=planners), Instant(1, 1))


def test_request__is_planned_or_revised_and_not_both() -> None:
    with pytest.raises(LocalProtocolError, match="refine or plan, not both"):
        Bench().core.step(RequestMade(b"r", QUESTION, refine=1, planners=2), Instant(1, 1))
    text = exercises.generate(COMPOSITE, 1, 1).text
    world = world_of({"a": planner(RIGHT)})
    asked = host_of(world, "asked")
    world.after(0, asked, RequestMade(b"revised", text, refine=1))
    world.run(until=lambda: len(asked.outcomes) == 1)
    assert asked.outcomes[b"revised"].plans == ()


def test_request__for_a_plan_that_nobody_would_carry_out_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="ask with planners"):
        Bench().core.step(RequestMade(b"r", QUESTION, skill=PLANNER), Instant(1, 1))
