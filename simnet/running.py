"""One run of a scenario: nodes join, ask, come and go, faults happen and end, and what must hold is looked at.

A run is (source, scenario, seed) and nothing else. Whatever is drawn is drawn before it begins, from streams of its own, so
that one more node or question changes nothing about the others.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import protocol
import simnet
from protocol import exercises
from protocol.allowance import Caps
from protocol.capability import Record
from protocol.constants import PLANNERS_DEFAULT
from protocol.events import Effect
from protocol.evidence import log2_fixed
from protocol.exercises import Exercise
from protocol.outcome import Outcome
from protocol.parameters import preset
from protocol.planning import COMPOSITE
from simnet import answerbook, regions
from simnet.adversaries import HOSTS, Adversary
from simnet.answerbook import AnswerbookError, Notes, opened, real
from simnet.checkers import Checker, Violation, all_checkers
from simnet.checking import Watcher
from simnet.draws import Draws
from simnet.faults import partition, release
from simnet.host import Host, Solver
from simnet.links import Rule
from simnet.machines import Machine
from simnet.memory import KEPT, remembering
from simnet.record import Record as Recorded
from simnet.recording import Recorder
from simnet.scenario import (
    PROBE_S,
    RECORDED,
    Crash,
    Duplicate,
    Eclipse,
    Fault,
    Gray,
    Group,
    Loss,
    Partition,
    Scenario,
    ScenarioError,
    Skew,
)
from simnet.scenario import Adversary as AdversaryPart
from simnet.solvers import HARDWARE, KINDS, Kind, solver
from simnet.world import World

_US: Final = 1_000_000
# Of tiny models: each specialist alike often, and some generalists.
_DEFAULT_POPULATION: Final = tuple(Group(model=name) for name in ("arith", "lists", "text", "logic", "generalist"))
# log2 of a number of 32 bits, in units of 2^-16, and the natural logarithm of 2 in the same units.
_LOTS: Final = 1 << 32
_ONE: Final = 1 << 16
_LN2: Final = 45_426
# Nodes that ask whether all is well again, and what is left of the run when the last of their questions ends.
_PROBES: Final = 5
_PROBED_MS: Final = 2_000
# Of many bootstrap nodes an owner writes down a few.
_BOOTSTRAPS_KNOWN: Final = 3
_LOOK_US: Final = 250_000
_COLLECT_AFTER: Final = 1_000_000

Watch = Callable[[World, Host, Effect], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was asked: when (simulated milliseconds), by whom, what is right, and the request that it became."""

    at_ms: int
    host: Host
    exercise: Exercise
    request: bytes

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None if its node did not live to see that."""
        return self.host.outcomes.get(self.request)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found."""

    scenario: Scenario
    seed: int
    digest: str
    events: int
    cpu_s: float
    simulated_ms: int
    asked: tuple[Asked, ...]
    violations: tuple[Violation, ...]
    happened: tuple[tuple[int, str], ...]
    world: World
    record: Recorded | None = None


def source_digest() -> str:
    """SHA-256 over the source of the protocol and of the simulator: a run under another one is another run."""
    digest = hashlib.sha256()
    for package in (protocol, simnet):
        root = Path(package.__path__[0])
        for file in sorted([*root.rglob("*.py"), *root.rglob("*.toml"), *root.rglob("*.json")]):
            digest.update(f"{package.__name__}/{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


@dataclass
class _Course:
    """A run that is being prepared or under way: what is to happen, by time and then in the order in which it was planned."""

    scenario: Scenario
    seed: int
    world: World
    source: Notes | None
    hosts: list[Host] = field(default_factory=list)
    honest: list[Host] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    happened: list[tuple[int, str]] = field(default_factory=list)
    # By how many causes, churn or crashes, each host is away: it comes back when the last of them is over.
    away: Counter[int] = field(default_factory=Counter)
    plan: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    def at(self, time_us: int, action: Callable[[], None]) -> None:
        """Let something happen then."""
        self.plan.append((time_us, len(self.plan), action))

    def draws(self, purpose: str) -> Draws:
        """A stream for one purpose."""
        return Draws(self.seed, purpose)

    def note(self, text: str) -> None:
        """Something happened that a reader of the report wants to know."""
        self.happened.append((self.world.now_us // 1_000, text))

    def share(self, permille: int, purpose: str) -> list[Host]:
        """So much of the honest nodes, by lot; the first ones, which others bootstrap from, stay out of it."""
        draws = self.draws(purpose)
        lots = sorted((draws.below(_LOTS), host.index) for host in self.honest[self.scenario.first :])
        return [self.hosts[index] for _, index in lots[: permille * len(self.honest) // 1_000]]

    def victims(self, fault: Crash | Gray | Skew, purpose: str) -> list[Host]:
        """Whom a fault befalls."""
        if fault.share_permille is not None:
            return self.share(fault.share_permille, purpose)
        return [host for host in self.hosts if host.operator == fault.operator]


def waited(mean: int, draws: Draws) -> int:
    """A draw from the exponential distribution of this mean, by integers alone."""
    return mean * log2_fixed(_LOTS, 1 + draws.below(_LOTS - 1)) * _LN2 // (_ONE * _ONE)


def run(  # noqa: PLR0913  each with a default but the first two
    scenario: Scenario,
    seed: int,
    progress: Callable[[World], None] | None = None,
    checkers: list[Checker] | None = None,
    watch: Watch | None = None,
    until_ms: int | None = None,
    kept: int = KEPT,
    *,
    recorded: bool = False,
    answers: Path | None = None,
    stage: Callable[[World], None] = lambda _: None,
) -> Result:
    """Run a scenario to its end, or up to a moment. `progress` is called now and then, `watch` with every effect.

    If it is to be `recorded`, the result holds its course for a report. `kept` is how much of what was verified is remembered
    (simnet/memory.py). Both change how long a run takes, and nothing else. What models answer that are not statistical is
    written to `answers`. Raises `ScenarioError` where they cannot be had. `stage` may change the world once everybody is in it
    and nothing has happened yet.
    """
    with remembering(kept), _few_collections():
        return _play(scenario, seed, progress, checkers, watch, until_ms, recorded=recorded, answers=answers, stage=stage)


@contextmanager
def _few_collections() -> Iterator[None]:
    """What a world holds lives as long as it, and hardly any of it is garbage in a circle: looking often costs a fifth."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _play(  # noqa: PLR0913  what `run` is given
    scenario: Scenario,
    seed: int,
    progress: Callable[[World], None] | None,
    checkers: list[Checker] | None,
    watch: Watch | None,
    until_ms: int | None,
    *,
    recorded: bool,
    answers: Path | None,
    stage: Callable[[World], None],
) -> Result:
    parameters = preset(scenario.network)
    names = sorted(scenario.links.regions)
    of = scenario.links
    ways = regions.links(names, of.jitter_permille, of.loss_permille, of.bits_per_s, of.latency_us)
    world = World(parameters, seed, links=ways, directory=scenario.directory, hop_us=of.hop_us)
    source = _source(scenario)
    course = _Course(scenario, seed, world, source)
    _populate(course, names)
    _plan_questions(course)
    _plan_churn(course)
    for number, fault in enumerate(scenario.faults):
        _plan_fault(course, fault, number)
    stage(world)
    watching = all_checkers(parameters) if checkers is None else checkers
    shown = Watcher(world, watching, {host.index for host in course.honest})
    recorder = Recorder(scenario, world, course.hosts, course.honest) if recorded else None
    if recorder is not None:
        world.spread_observer = recorder.on_spread

    def observe(host: Host, effect: Effect) -> None:
        if watch is not None:
            watch(world, host, effect)
        if recorder is not None:
            recorder.on_effect(host, effect)
        shown.on_effect(host, effect)

    def look(world: World) -> None:
        if recorder is not None:
            recorder.look(world)
        if progress is not None:
            progress(world)

    world.observer, world.listener = observe, shown.on_input
    begun_s = time.process_time()
    last_us = _US * (scenario.duration_s + scenario.settle_s) if until_ms is None else 1_000 * until_ms
    _run(course, min(last_us, _US * scenario.duration_s), look)
    if world.now_us < last_us:
        _calm(course)
        _run(course, last_us, look)
    for checker in watching if until_ms is None else ():
        checker.on_end(world, course.honest)
    if source is not None and answers is not None:
        source.write(answers)
    return Result(
        scenario=scenario,
        seed=seed,
        digest=world.digest(),
        events=world.events,
        cpu_s=time.process_time() - begun_s,
        simulated_ms=world.now_us // 1_000,
        asked=tuple(course.asked),
        violations=tuple(violation for checker in watching for violation in checker.found),
        happened=tuple(course.happened),
        world=world,
        record=None if recorder is None else recorder.record(course.asked),
    )


def _source(scenario: Scenario) -> Notes | None:
    """Whoever answers in place of statistical models."""
    if scenario.solvers == "statistical":
        return None
    try:
        if scenario.solvers == "models":
            return Notes(real())
        path, _, pinned = scenario.solvers.removeprefix(f"{RECORDED}:").rpartition("#")
        return Notes(opened(Path(path), pinned))
    except AnswerbookError as error:
        raise ScenarioError(str(error)) from error


def _run(course: _Course, end_us: int, look: Callable[[World], None]) -> None:
    """Let time pass, and do what was planned when it is due."""
    world = course.world
    # The next one last, where it is taken from.
    course.plan.sort(key=lambda item: item[:2], reverse=True)
    while True:
        due_us = min(course.plan[-1][0] if course.plan else end_us, end_us)
        while world.now_us < due_us:
            world.run(for_ms=max(1, min(due_us - world.now_us, _LOOK_US) // 1_000), events_max=1 << 62)
            look(world)
        if world.now_us >= end_us and not (course.plan and course.plan[-1][0] <= end_us):
            return
        course.plan.pop()[2]()


# --- Who is there


def _populate(course: _Course, names: list[str]) -> None:
    scenario, world = course.scenario, course.world
    draws, known = course.draws("population"), course.draws("bootstraps")
    groups = scenario.population or _DEFAULT_POPULATION
    shared = Machine(of.share, of.message_us, of.write_us) if (of := scenario.machines).share is not None else None
    bad = [part for part in scenario.adversaries for _ in range(part.share_permille * scenario.nodes // 1_000)]
    for index in range(scenario.nodes):
        # Adversaries are the last ones, so that nobody bootstraps from them.
        part = bad[index - scenario.nodes + len(bad)] if index >= scenario.nodes - len(bad) else None
        group = _drawn(groups, [group.parts for group in groups], draws)
        region = names.index(_drawn(names, [scenario.links.regions[name] for name in names], draws))
        is_open = index < scenario.first or draws.below(scenario.reach.open + scenario.reach.nat) < scenario.reach.open
        host = _added(course, index, group, part, region, reachable=is_open)
        host.machine = shared or _machine(scenario, group.hardware)
        course.hosts.append(host)
        if part is None:
            course.honest.append(host)
        others = [each for each in course.hosts[: scenario.first] if each is not host]
        if len(others) > _BOOTSTRAPS_KNOWN:
            chosen: dict[int, Host] = {}
            while len(chosen) < _BOOTSTRAPS_KNOWN:
                lot = known.below(len(others))
                chosen[lot] = others[lot]
            others = list(chosen.values())
        if others:
            begins_us = draws.below(1_000 * scenario.join_s + 1) * 1_000
            course.at(begins_us, partial(world.join, host, *others))


def _added(course: _Course, index: int, group: Group, part: AdversaryPart | None, region: int, *, reachable: bool) -> Host:
    kind = KINDS[group.model]
    skills, solve = dict(kind.skills), _solver(course, kind, group.hardware)
    if part is not None and part.policy == "over-claimer":
        skills = dict.fromkeys(("arith", "lists", "logic", "text"), 1_000)
    elif part is not None and part.policy == "colluder":
        kind = KINDS["generalist"]
        skills, solve = dict(kind.skills), _solver(course, kind, group.hardware)
    record = Record(
        sequence=0, skills=skills, model=group.model, parameters=0, quantisation="", weights_hash="", context=0,
        tokens_per_s=kind.tokens_per_s, slots=4, available=True, addresses=(),
    )  # fmt: skip
    name = f"{part.policy if part is not None else group.model}-{index}"
    made = HOSTS.get(part.policy, Host) if part is not None else Host
    caps = Caps(group.requests_per_hour, group.tokens_per_day)
    host = course.world.add(name, record, solve, caps=caps, region=region, reachable=reachable, kind=made)
    host.operator = (group.operator if part is None else part.operator or part.policy) or ""
    host.honest = part is None
    if isinstance(host, Adversary) and part is not None:
        host.lie_permille = part.lie_permille
        course.at(_US * part.from_s, host.begin)
        if host.period_ms is not None:
            first_us = _US * max(part.from_s, course.scenario.join_s)
            for at_us in range(first_us, _US * course.scenario.duration_s, 1_000 * host.period_ms):
                course.at(at_us, partial(_act, course, host))
    return host


def _machine(scenario: Scenario, hardware: str) -> Machine | None:
    """A core of a node's own, none if nothing is computed."""
    of, share = scenario.machines, HARDWARE[hardware]
    if not (of.message_us or of.write_us):
        return None
    return Machine(1, of.message_us * share // HARDWARE["laptop"], of.write_us)


def _solver(course: _Course, kind: Kind, hardware: str) -> Solver:
    return solver(kind, hardware) if course.source is None else answerbook.solver(kind, hardware, course.source)


def _drawn(items: Any, parts: list[int], draws: Draws) -> Any:  # noqa: ANN401  one of the items
    lot = draws.below(sum(parts))
    for item, part in zip(items, parts, strict=True):
        lot -= part
        if lot < 0:
            return item
    raise AssertionError("a lot beyond all parts")


# --- What happens


def _plan_questions(course: _Course) -> None:
    scenario, work = course.scenario, course.scenario.workload
    if not work.questions_per_minute:
        return
    draws, plans, at_us, number = course.draws("questions"), course.draws("plans"), _US * work.from_s, 0
    askers = course.honest[: work.askers]
    rush_us = [] if work.rush_at_s is None else [_US * work.rush_at_s, _US * (work.rush_at_s + work.rush_s)]
    while True:
        rush = len(rush_us) == 2 and rush_us[0] <= at_us < rush_us[1]  # noqa: PLR2004  its begin and its end
        mean_us = max(1, 60 * _US // (work.questions_per_minute * (work.rush_factor if rush else 1)))
        waits_us = waited(mean_us, draws)
        # Where the rate changes on the way one waits anew from there: an exponential wait forgets how long it was.
        turn_us = min((each for each in rush_us if at_us < each), default=None)
        if turn_us is not None and at_us + waits_us >= turn_us:
            at_us = turn_us
            continue
        at_us += waits_us
        if at_us >= _US * scenario.duration_s:
            return
        skill = work.skills[number % len(work.skills)]
        seed = draws.below(1 << 62)
        difficulty = 1 + draws.below(work.difficulty_max)
        asker = askers[draws.below(len(askers))]
        if plans.below(1_000) < work.plans_permille:
            skill = COMPOSITE
        course.at(at_us, partial(_ask, course, asker, exercises.generate(skill, difficulty, seed)))
        number += 1


def _ask(course: _Course, host: Host, exercise: Exercise) -> None:
    if host.up:
        world = course.world
        planners = PLANNERS_DEFAULT if exercise.skill == COMPOSITE else None
        request = world.ask(host, exercise.text, deadline_ms=course.scenario.workload.deadline_ms, planners=planners)
        course.asked.append(Asked(world.now_us // 1_000, host, exercise, request))


def _plan_churn(course: _Course) -> None:
    churn = course.scenario.churn
    if churn is None:
        return
    until_us = _US * min(churn.until_s or course.scenario.duration_s, course.scenario.duration_s)
    for host in course.share(churn.share_permille, "who churns"):
        draws, at_us, up = course.draws(f"churn {host.name}"), _US * churn.from_s, True
        while True:
            median_s = churn.median_session_s if up else churn.median_absence_s
            at_us += median_s * _US * log2_fixed(_LOTS, 1 + draws.below(_LOTS - 1)) // _ONE
            if at_us >= until_us:
                break
            course.at(at_us, partial(_leave if up else _return, course, host))
            up = not up


def _leave(course: _Course, host: Host, lot: int | None = None, *, silent: bool = False) -> None:
    """A host goes away, with a `lot` within a step that writes."""
    course.away[host.index] += 1
    if host.up and lot is not None:
        course.world.crash_writing(host, lot, silent=silent)
    elif host.up:
        course.world.crash(host, silent=silent)
    else:
        host.silent |= silent


def _return(course: _Course, host: Host) -> None:
    course.away[host.index] -= 1
    if not (course.away[host.index] or host.up):
        course.world.restart(host)


def _plan_fault(course: _Course, fault: Fault, number: int) -> None:
    begin, end = _FAULTS[type(fault)](course, fault, f"fault {number}")

    def begins() -> None:
        course.note(f"{fault.kind} begins")
        begin()

    def ends() -> None:
        course.note(f"{fault.kind} ends")
        end()

    course.at(_US * fault.at_s, begins)
    course.at(_US * fault.ends_s, ends)


_Pair = tuple[Callable[[], None], Callable[[], None]]


def _partition(course: _Course, fault: Partition, _: str) -> _Pair:
    names = sorted(course.scenario.links.regions)
    inside = [host for host in course.hosts if names[host.region] in fault.regions]
    outside = [host for host in course.hosts if names[host.region] not in fault.regions]
    rules: list[Rule] = []

    def end() -> None:
        release(course.world, rules)

    return lambda: rules.extend(partition(course.world, inside, outside, one_way=fault.one_way)), end


def _crash(course: _Course, fault: Crash, purpose: str) -> _Pair:
    draws = course.draws(f"{purpose} writes")
    victims = [(host, draws.below(_LOTS) if fault.loses_writes else None) for host in course.victims(fault, purpose)]

    def begin() -> None:
        for host, lot in victims:
            _leave(course, host, lot, silent=fault.silent)

    def end() -> None:
        for host, _ in victims:
            _return(course, host)

    return begin, end


def _gray(course: _Course, fault: Gray, purpose: str) -> _Pair:
    victims = course.victims(fault, purpose)

    def begin() -> None:
        for host in victims:
            host.slow *= fault.factor

    def end() -> None:
        for host in victims:
            host.slow //= fault.factor

    return begin, end


def _loss(course: _Course, fault: Loss, _: str) -> _Pair:
    rule = Rule(delay_us=1_000 * fault.delay_ms, loss_permille=fault.permille)
    return partial(course.world.add_rule, rule), partial(course.world.remove_rule, rule)


def _duplicate(course: _Course, fault: Duplicate, _: str) -> _Pair:
    rule = Rule(twice_permille=fault.permille, late_us=1_000 * fault.late_ms)
    return partial(course.world.add_rule, rule), partial(course.world.remove_rule, rule)


def _skew(course: _Course, fault: Skew, purpose: str) -> _Pair:
    draws = course.draws(f"{purpose} skews")
    victims = [(host, draws.below(2 * fault.up_to_ms + 1) - fault.up_to_ms) for host in course.victims(fault, purpose)]

    def turn(factor: int) -> None:
        for host, skew_ms in victims:
            host.skew_ms += factor * skew_ms

    return partial(turn, 1), partial(turn, -1)


def _eclipse(course: _Course, _: Eclipse, __: str) -> _Pair:
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


def _act(course: _Course, host: Adversary) -> None:
    if host.up:
        host.act(course.world)


def _calm(course: _Course) -> None:
    """Everything that disturbs is over: links are whole, and whoever was away comes back."""
    course.note("everything that disturbs is over")
    for rule in list(course.world.rules):
        course.world.remove_rule(rule)
    course.away.clear()
    for host in course.hosts:
        host.skew_ms, host.slow = 0, 1
        if not host.up:
            course.world.restart(host)
    if course.scenario.settle_s >= course.scenario.recovers_s + PROBE_S:
        course.at(course.world.now_us + _US * course.scenario.recovers_s, partial(_probe, course))


def _probe(course: _Course) -> None:
    """Let some nodes ask what another honest node can answer; their questions are no part of the workload."""
    scenario, draws = course.scenario, course.draws("probes")
    deadline_ms = min(scenario.workload.deadline_ms, 1_000 * (scenario.settle_s - scenario.recovers_s) - _PROBED_MS)
    askers = sorted((draws.below(_LOTS), host.index) for host in course.honest)[:_PROBES]
    for _, index in askers:
        host = course.hosts[index]
        # Whose owner caps its work may rightly decline.
        others = [other for other in course.honest if other is not host and other.caps == Caps()]
        offered = {skill for other in others for skill in other.record.skills}
        skills = sorted(offered.intersection(scenario.workload.skills))
        if skills:
            exercise = exercises.generate(skills[draws.below(len(skills))], 1, draws.below(1 << 62))
            course.world.probes.append((host, course.world.ask(host, exercise.text, deadline_ms=deadline_ms)))


# --- What came of it


def outcomes(result: Result) -> dict[str, int]:
    """How many questions ended how; `lost` are those whose node went away before."""
    found = (asked.outcome for asked in result.asked)
    return dict(sorted(Counter("lost" if outcome is None else outcome.kind.value for outcome in found).items()))
