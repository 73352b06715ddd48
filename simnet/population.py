"""Who is in a run: nodes, their models and machines, adversaries, and whom each knows when it joins."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, Final

from protocol.allowance import Caps
from protocol.capability import Record
from protocol.events import Log
from simnet import answerbook
from simnet.adversaries import HOSTS, Adversary
from simnet.course import US, Course
from simnet.draws import Draws
from simnet.host import Host, Solver
from simnet.machines import Machine
from simnet.scenario import Adversary as AdversaryPart
from simnet.scenario import (
    Group,
    Scenario,
)
from simnet.solvers import HARDWARE, KINDS, Kind, solver

# Of tiny models: each specialist alike often, and some generalists.
_DEFAULT_POPULATION: Final = tuple(Group(model=name) for name in ("arith", "lists", "text", "logic", "generalist"))
# Of many bootstrap nodes an owner writes down a few.
_BOOTSTRAPS_KNOWN: Final = 3
# Nobody reads the log lines of a run, and those of a large one would fill the memory.
_NO_LOGS: Final[deque[Log]] = deque(maxlen=0)


def populate(course: Course, names: list[str]) -> None:
    """Put all nodes into the world and plan when they join; `names` are the regions, by index."""
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
        host.logs = _NO_LOGS
        course.hosts.append(host)
        if part is None:
            course.honest.append(host)
        others = _bootstraps(course, host, known)
        if others:
            begins_us = draws.below(1_000 * scenario.join_s + 1) * 1_000
            course.at(begins_us, partial(world.join, host, *others))


def _bootstraps(course: Course, host: Host, known: Draws) -> list[Host]:
    """Whom a node bootstraps from, of those that are there before it."""
    first = min(course.scenario.first, len(course.hosts))
    others = first - (host.index < first)
    # Its own place is left out of the lots.
    lots = dict.fromkeys(range(others))
    if others > _BOOTSTRAPS_KNOWN:
        lots = {}
        while len(lots) < _BOOTSTRAPS_KNOWN:
            lots[known.below(others)] = None
    return [course.hosts[lot + (host.index <= lot)] for lot in lots]


def _added(course: Course, index: int, group: Group, part: AdversaryPart | None, region: int, *, reachable: bool) -> Host:
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
        course.at(US * part.from_s, host.begin)
        if host.period_ms is not None:
            first_us = US * max(part.from_s, course.scenario.join_s)
            for at_us in range(first_us, US * course.scenario.duration_s, 1_000 * host.period_ms):
                course.at(at_us, partial(_act, course, host))
    return host


def _machine(scenario: Scenario, hardware: str) -> Machine | None:
    """A core of a node's own, none if nothing is computed."""
    of, share = scenario.machines, HARDWARE[hardware]
    if not (of.message_us or of.write_us):
        return None
    return Machine(1, of.message_us * share // HARDWARE["laptop"], of.write_us)


def _solver(course: Course, kind: Kind, hardware: str) -> Solver:
    return solver(kind, hardware) if course.source is None else answerbook.solver(kind, hardware, course.source)


def _drawn(items: Any, parts: list[int], draws: Draws) -> Any:  # noqa: ANN401  one of the items
    lot = draws.below(sum(parts))
    for item, part in zip(items, parts, strict=True):
        lot -= part
        if lot < 0:
            return item
    raise AssertionError("a lot beyond all parts")


def _act(course: Course, host: Adversary) -> None:
    if host.up:
        host.act(course.world)
