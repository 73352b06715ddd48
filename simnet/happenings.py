"""What happens in a run, and when: questions, churn, and faults, all drawn before it begins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from protocol import exercises
from protocol.constants import PLANNERS_DEFAULT
from protocol.evidence import log2_fixed
from protocol.exercises import Exercise
from protocol.planning import COMPOSITE
from simnet.course import LOTS, US, Asked, Course
from simnet.draws import Draws
from simnet.faults import partition, release
from simnet.host import Host
from simnet.links import Rule
from simnet.scenario import (
    Crash,
    Duplicate,
    Eclipse,
    Fault,
    Gray,
    Loss,
    Partition,
    Skew,
)

# log2 of a number of 32 bits is in units of 2^-16, and so is the natural logarithm of 2.
_ONE: Final = 1 << 16
_LN2: Final = 45_426


def waited(mean: int, draws: Draws) -> int:
    """A draw from the exponential distribution of this mean, by integers alone."""
    return mean * log2_fixed(LOTS, 1 + draws.below(LOTS - 1)) * _LN2 // (_ONE * _ONE)


def plan_questions(course: Course) -> None:
    """Plan the questions of the workload: Poisson arrivals, more of them in a rush."""
    scenario, work = course.scenario, course.scenario.workload
    if not work.questions_per_minute:
        return
    draws, plans, at_us, number = course.draws("questions"), course.draws("plans"), US * work.from_s, 0
    askers = course.honest[: work.askers]
    rush_us = [] if work.rush_at_s is None else [US * work.rush_at_s, US * (work.rush_at_s + work.rush_s)]
    while True:
        rush = len(rush_us) == 2 and rush_us[0] <= at_us < rush_us[1]  # noqa: PLR2004  its begin and its end
        mean_us = max(1, 60 * US // (work.questions_per_minute * (work.rush_factor if rush else 1)))
        waits_us = waited(mean_us, draws)
        # Where the rate changes on the way one waits anew from there: an exponential wait forgets how long it was.
        turn_us = min((each for each in rush_us if at_us < each), default=None)
        if turn_us is not None and at_us + waits_us >= turn_us:
            at_us = turn_us
            continue
        at_us += waits_us
        if at_us >= US * scenario.duration_s:
            return
        skill = work.skills[number % len(work.skills)]
        seed = draws.below(1 << 62)
        difficulty = 1 + draws.below(work.difficulty_max)
        asker = askers[draws.below(len(askers))]
        if plans.below(1_000) < work.plans_permille:
            skill = COMPOSITE
        course.at(at_us, partial(_ask, course, asker, exercises.generate(skill, difficulty, seed)))
        number += 1


def _ask(course: Course, host: Host, exercise: Exercise) -> None:
    if host.up:
        world = course.world
        planners = PLANNERS_DEFAULT if exercise.skill == COMPOSITE else None
        request = world.ask(host, exercise.text, deadline_ms=course.scenario.workload.deadline_ms, planners=planners)
        course.asked.append(Asked(world.now_us // 1_000, host, exercise, request))


def plan_churn(course: Course) -> None:
    """Plan who comes and goes, and when."""
    churn = course.scenario.churn
    if churn is None:
        return
    until_us = US * min(churn.until_s or course.scenario.duration_s, course.scenario.duration_s)
    for host in course.share(churn.share_permille, "who churns"):
        draws, at_us, up = course.draws(f"churn {host.name}"), US * churn.from_s, True
        while True:
            median_s = churn.median_session_s if up else churn.median_absence_s
            at_us += median_s * US * log2_fixed(LOTS, 1 + draws.below(LOTS - 1)) // _ONE
            if at_us >= until_us:
                break
            course.at(at_us, partial(_leave if up else _return, course, host))
            up = not up


def _leave(course: Course, host: Host, lot: int | None = None, *, silent: bool = False) -> None:
    """A host goes away, with a `lot` within a step that writes."""
    course.away[host.index] += 1
    if host.up and lot is not None:
        course.world.crash_writing(host, lot, silent=silent)
    elif host.up:
        course.world.crash(host, silent=silent)
    else:
        host.silent |= silent


def _return(course: Course, host: Host) -> None:
    course.away[host.index] -= 1
    if not (course.away[host.index] or host.up):
        course.world.restart(host)


def plan_fault(course: Course, fault: Fault, number: int) -> None:
    """Plan the begin and the end of a fault, the one of this number in its scenario."""
    begin, end = _FAULTS[type(fault)](course, fault, f"fault {number}")

    def begins() -> None:
        course.note(f"{fault.kind} begins")
        begin()

    def ends() -> None:
        course.note(f"{fault.kind} ends")
        end()

    course.at(US * fault.at_s, begins)
    course.at(US * fault.ends_s, ends)


_Pair = tuple[Callable[[], None], Callable[[], None]]


def _partition(course: Course, fault: Partition, _: str) -> _Pair:
    names = sorted(course.scenario.links.regions)
    inside = [host for host in course.hosts if names[host.region] in fault.regions]
    outside = [host for host in course.hosts if names[host.region] not in fault.regions]
    rules: list[Rule] = []

    def end() -> None:
        release(course.world, rules)

    return lambda: rules.extend(partition(course.world, inside, outside, one_way=fault.one_way)), end


def _crash(course: Course, fault: Crash, purpose: str) -> _Pair:
    draws = course.draws(f"{purpose} writes")
    victims = [(host, draws.below(LOTS) if fault.loses_writes else None) for host in course.victims(fault, purpose)]

    def begin() -> None:
        for host, lot in victims:
            _leave(course, host, lot, silent=fault.silent)

    def end() -> None:
        for host, _ in victims:
            _return(course, host)

    return begin, end


def _gray(course: Course, fault: Gray, purpose: str) -> _Pair:
    victims = course.victims(fault, purpose)

    def begin() -> None:
        for host in victims:
            host.slow *= fault.factor

    def end() -> None:
        for host in victims:
            host.slow //= fault.factor

    return begin, end


def _loss(course: Course, fault: Loss, _: str) -> _Pair:
    rule = Rule(delay_us=1_000 * fault.delay_ms, loss_permille=fault.permille)
    return partial(course.world.add_rule, rule), partial(course.world.remove_rule, rule)


def _duplicate(course: Course, fault: Duplicate, _: str) -> _Pair:
    rule = Rule(twice_permille=fault.permille, late_us=1_000 * fault.late_ms)
    return partial(course.world.add_rule, rule), partial(course.world.remove_rule, rule)


def _skew(course: Course, fault: Skew, purpose: str) -> _Pair:
    draws = course.draws(f"{purpose} skews")
    victims = [(host, draws.below(2 * fault.up_to_ms + 1) - fault.up_to_ms) for host in course.victims(fault, purpose)]

    def turn(factor: int) -> None:
        for host, skew_ms in victims:
            host.skew_ms += factor * skew_ms

    return partial(turn, 1), partial(turn, -1)


def _eclipse(course: Course, _: Eclipse, __: str) -> _Pair:
    victim = course.honest[0]
    rules: list[Rule] = []

    def begin() -> None:
        others = [host for host in course.honest if host is not victim]
        rules.extend(partition(course.world, [victim], others))

    return begin, lambda: release(course.world, rules)


_FAULTS: Final[dict[type, Callable[..., _Pair]]] = {
    Partition: _partition,
    Crash: _crash,
    Gray: _gray,
    Loss: _loss,
    Duplicate: _duplicate,
    Skew: _skew,
    Eclipse: _eclipse,
}
