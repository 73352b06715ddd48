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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import protocol
import simnet
from protocol import exercises
from protocol.allowance import Caps
from protocol.events import Effect
from protocol.parameters import preset
from simnet import regions
from simnet.answerbook import AnswerbookError, Notes, opened, real
from simnet.checkers import Checker, Violation, all_checkers
from simnet.checking import Watcher
from simnet.course import LOTS, US, Asked, Course
from simnet.happenings import plan_churn, plan_fault, plan_questions
from simnet.host import Host
from simnet.memory import KEPT, TRUE, remembering
from simnet.population import populate
from simnet.record import Record as Recorded
from simnet.recording import Recorder
from simnet.scenario import (
    PROBE_S,
    RECORDED,
    Scenario,
    ScenarioError,
)
from simnet.world import World

# Nodes that ask whether all is well again, and what is left of the run when the last of their questions ends.
_PROBES: Final = 5
_PROBED_MS: Final = 2_000
_LOOK_US: Final = 250_000
_COLLECT_AFTER: Final = 1_000_000

Watch = Callable[[World, Host, Effect], None]


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
    # A record is used again and again while others join, so all of them should have room.
    with remembering(max(kept, scenario.nodes) if kept else TRUE), _few_collections():
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
    course = Course(scenario, seed, world, source)
    populate(course, names)
    plan_questions(course)
    plan_churn(course)
    for number, fault in enumerate(scenario.faults):
        plan_fault(course, fault, number)
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

    if watching:
        world.listener = shown.on_input
    if watching or recorder is not None or watch is not None:
        world.observer = observe
    begun_s = time.process_time()
    last_us = US * (scenario.duration_s + scenario.settle_s) if until_ms is None else 1_000 * until_ms
    _run(course, min(last_us, US * scenario.duration_s), look)
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


def _run(course: Course, end_us: int, look: Callable[[World], None]) -> None:
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


def _calm(course: Course) -> None:
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
        course.at(course.world.now_us + US * course.scenario.recovers_s, partial(_probe, course))


def _probe(course: Course) -> None:
    """Let some nodes ask what another honest node can answer; their questions are no part of the workload."""
    scenario, draws = course.scenario, course.draws("probes")
    deadline_ms = min(scenario.workload.deadline_ms, 1_000 * (scenario.settle_s - scenario.recovers_s) - _PROBED_MS)
    askers = sorted((draws.below(LOTS), host.index) for host in course.honest)[:_PROBES]
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
