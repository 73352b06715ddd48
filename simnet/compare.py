"""Policies side by side: this protocol and others over the same world, the same questions and the same faults, at equal tokens.

Ours is a run of the protocol; each other policy is a run of the same scenario and seed in which rivals (simnet/rivals.py) drive
the hosts. A node answers a question alike whoever asks (simnet/joint.py). What the protocol spent in a run is the budget of the
others in it: once without its audits and once with them.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from multiprocessing import get_context
from typing import Final, cast

from protocol.capability import Record
from protocol.core import Core
from protocol.events import Effect, Infer, Publish, Send
from protocol.exercises import ONE_STEP
from protocol.outbox import BEACONS
from protocol.outcome import OutcomeKind
from protocol.parameters import preset
from protocol.planning import COMPOSITE
from protocol.requirement import Requirement, RequirementMap
from simnet import running
from simnet.adversaries import Adversary
from simnet.conditions import ASKERS, CONDITIONS, DEADLINE_MS, FROM_S, SYBIL, scenario
from simnet.gossip import Spread
from simnet.host import Host, Solution
from simnet.joint import joint
from simnet.regions import REGIONS
from simnet.rivals import Outage, Rival, Setting
from simnet.solvers import KINDS, Model
from simnet.ways import ALL, ANSWERS, ONE, WAYS, Budget, Way, truth_of
from simnet.world import World

OURS: Final = "ours"
# Out of every minute and a half the degraded hub is deaf for half a minute, and else it hears everything a quarter second late.
EVERY_MS, DOWN_MS, LATE_MS = 90_000, 30_000, 250

# Of every prompt, in the model of a solver.
PROMPT_TOKENS: Final = Solution("", 0).prompt_tokens
_HUB: Final = "hub"
_WHOLE: Final = 1_000

# --- One run


@dataclass(slots=True)
class Counted:
    """What a run cost: inferences by node and text, their tokens by text, and messages and bytes by what they were for."""

    inferences: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    bytes_total: int = 0
    # Gossip: copies of beacons, their bytes, and how many beacons there were.
    beacons: int = 0
    beacon_copies: int = 0
    beacon_bytes: int = 0


class _Meter:
    """Watches a run."""

    def __init__(self) -> None:
        self.counted = Counted()
        # Of an answer of each node, its prompt included.
        self.tokens: dict[str, int] = {}
        self._spreads: deque[Spread] = deque()

    def on_spread(self, _: str, spread: Spread) -> None:
        """The model of gossip says where a message went, before the world hears who published it."""
        self._spreads.append(spread)

    def watch(self, _: World, host: Host, effect: Effect) -> None:
        """Count an effect."""
        counted = self.counted
        match effect:
            case Infer():
                counted.inferences[host.name, effect.question] += 1
                counted.tokens[effect.question] += self.tokens[host.name]
            case Send():
                counted.messages += 1
                counted.bytes_total += len(effect.data)
            case Publish():
                copies = self._spreads.popleft().copies
                counted.messages += copies
                counted.bytes_total += copies * len(effect.data)
                if effect.topic == BEACONS:
                    counted.beacons += 1
                    counted.beacon_copies += copies
                    counted.beacon_bytes += copies * len(effect.data)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Question:
    """How one question ended: when it was asked, whether the answer was right, and after how long it was there.

    `doubted` is an answer that the protocol itself calls unearned: nobody who voted had earned a weight.
    """

    at_ms: int
    text: str
    right: bool
    latency_ms: int
    doubted: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A policy at a budget, under a condition with one seed. Messages, bytes and tokens are those of questions, and all."""

    policy: str
    budget: Budget
    questions: tuple[Question, ...]
    answers: int
    audits: int
    messages: int
    bytes_total: int
    messages_all: int
    bytes_all: int
    tokens: int
    tokens_all: int
    fairness: float
    digest: str


@dataclass(frozen=True, slots=True)
class Job:
    """All policies under one condition with one seed."""

    condition: str
    seed: int
    nodes: int
    minutes: int


def jobs(seeds: Sequence[int], nodes: int, minutes: int) -> list[Job]:
    """The work of a comparison; raises `ScenarioError` for what is no scenario."""
    for condition in CONDITIONS:
        scenario(condition, nodes, minutes)
    return [Job(condition, seed, nodes, minutes) for seed in seeds for condition in CONDITIONS]


def run(job: Job) -> list[Row]:
    """Ours first, then the others within what it spent."""
    ours = run_ours(job)
    count = len(ours.questions)
    samples = {
        ONE: _WHOLE,
        ANSWERS: _WHOLE * ours.answers // count,
        ALL: _WHOLE * (ours.answers + ours.audits) // count,
    }
    return [ours, *(run_rival(job, way, budget, samples[budget], ours.audits) for way in WAYS for budget in way.budgets)]


def run_ours(job: Job) -> Row:
    """The protocol itself."""
    meter = _Meter()
    result = running.run(
        scenario(job.condition, job.nodes, job.minutes),
        job.seed,
        checkers=[],
        watch=meter.watch,
        stage=lambda world: _set_up(job, world, meter),
    )
    counted, outcomes = meter.counted, [asked.outcome for asked in result.asked]
    # The requester counts a beacon once, and every copy of it goes over the wire.
    copies = (counted.beacon_copies - counted.beacons) / max(1, counted.beacons)
    extra_bytes = counted.beacon_bytes / max(1, counted.beacons) * copies / max(1.0, copies + 1)
    messages = sum(outcome.messages + copies for outcome in outcomes if outcome is not None)
    bytes_total = sum(outcome.bytes_total + extra_bytes for outcome in outcomes if outcome is not None)
    return _row(OURS, ANSWERS, result, counted, round(messages), round(bytes_total))


def run_rival(job: Job, way: Way, budget: Budget, samples: int, audits: int) -> Row:
    """Another policy over the same world, with `samples` thousandths of an answer a question in the mean."""
    meter = _Meter()
    hub: list[Rival] = []

    def stage(world: World) -> None:
        truth = {key: truth_of(host) for key, host in world.hosts.items()}
        askers = [host.key for host in list(world.hosts.values())[:ASKERS]]
        machine = _hub(world) if way.hub else None
        _set_up(job, world, meter)
        setting = Setting(
            seed=job.seed,
            parameters=world.parameters,
            requirement=_requirement,
            hosts=world.hosts,
            desks=frozenset(askers if machine is None else [machine.key]),
            policy=partial(way.policy, truth),
            samples=samples,
            bids=way.bids,
            repeats=way.repeats,
            hub=None if machine is None else machine.key,
            audits=audits if way.audits else 0,
            audits_from_ms=1_000 * FROM_S,
            outage=Outage(1_000 * FROM_S, EVERY_MS, DOWN_MS, LATE_MS) if way.degraded else None,
            braggarts=_braggarts(job, world),
        )
        for host in list(world.hosts.values()):
            host.replace_core(partial(_rival, host, setting, hub))

    result = running.run(scenario(job.condition, job.nodes, job.minutes), job.seed, checkers=[], watch=meter.watch, stage=stage)
    counted = meter.counted
    desk = hub[0].desk if hub else None
    audit_messages, audit_bytes = (desk.audit_messages, desk.audit_bytes) if desk is not None else (0, 0)
    return _row(way.name, budget, result, counted, counted.messages - audit_messages, counted.bytes_total - audit_bytes)


@cache
def _requirement(text: str) -> Requirement:
    """What a question asks for, as the protocol finds it, once for all runs. Nobody here answers what takes several steps."""
    found = _requirement_map()(text)
    return found if found.skill != COMPOSITE else _requirement_map()(text, without=COMPOSITE)


@cache
def _requirement_map() -> RequirementMap:
    return RequirementMap(preset("dev"))


def _rival(host: Host, setting: Setting, hub: list[Rival]) -> Core:
    """What drives a host: not a core, but with its contract."""
    rival = Rival(host, setting)
    if host.key == setting.hub:
        hub[:] = [rival]
    return cast("Core", rival)


def _hub(world: World) -> Host:
    """One machine more, which answers nothing itself, where most nodes are."""
    record = Record(
        sequence=0, skills={}, model="", parameters=0, quantisation="", weights_hash="", context=0, tokens_per_s=0, slots=1,
        available=False, addresses=(),
    )  # fmt: skip
    region = sorted(REGIONS).index("europe")
    return world.add(_HUB, record, Model(KINDS["generalist"]), region=region)


def _braggarts(job: Job, world: World) -> frozenset[bytes]:
    """Who says of itself what is not so: names that cost nothing say whatever helps."""
    lying = "colluder" if job.condition == SYBIL else "over-claimer"
    return frozenset(host.key for host in world.hosts.values() if host.name.startswith(lying))


def _set_up(job: Job, world: World, meter: _Meter) -> None:
    """The same for all policies: what the braggarts' records claim, and answers that depend on node and question alone."""
    world.spread_observer = meter.on_spread
    for key in sorted(_braggarts(job, world)):
        host = world.hosts[key]
        host.declare(replace(host.record, skills=dict.fromkeys(sorted(ONE_STEP), _WHOLE)))
    for host in world.hosts.values():
        assert isinstance(host.solver, Model)
        meter.tokens[host.name] = PROMPT_TOKENS + host.solver.kind.tokens
        host.solver = joint(world.seed, host.name, host.solver)


def _row(policy: str, budget: Budget, result: running.Result, counted: Counted, messages: int, bytes_total: int) -> Row:
    ended = [(asked, asked.outcome) for asked in result.asked]
    questions = tuple(
        Question(
            asked.at_ms,
            asked.exercise.text,
            outcome is not None and outcome.answer == asked.exercise.gold,
            DEADLINE_MS if outcome is None else outcome.latency_ms,
            outcome is not None and outcome.kind is OutcomeKind.UNEARNED,
        )
        for asked, outcome in ended
    )
    asked_for, answers = {each.text for each in questions}, Counter[str]()
    for (name, text), times in counted.inferences.items():
        answers[name] += times if text in asked_for else 0
    audits = counted.inferences.total() - answers.total()
    honest = [host.name for host in result.world.hosts.values() if not isinstance(host, Adversary) and host.name != _HUB]
    return Row(
        policy, budget, questions, answers.total(), audits, messages, bytes_total, counted.messages, counted.bytes_total,
        sum(tokens for text, tokens in counted.tokens.items() if text in asked_for), counted.tokens.total(),
        jain([answers[name] for name in honest]), result.digest,
    )  # fmt: skip


def jain(loads: Sequence[int]) -> float:
    """Jain's index: 1 if all bear the same, 1/n if one bears all; 0 where nobody bears anything."""
    squares = sum(load * load for load in loads)
    return sum(loads) ** 2 / (len(loads) * squares) if squares else 0.0


# --- All of them


def compared(work: Sequence[Job], workers: int | None = None) -> Iterator[tuple[Job, list[Row]]]:
    """What the jobs found, in their order, on all cores."""
    # Spawned, so that a run sees a fresh interpreter wherever it runs.
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from zip(work, pool.map(run, work), strict=True)


def digest(found: Sequence[tuple[Job, Sequence[Row]]]) -> str:
    """One digest of all runs, in their order: 64 hex digits."""
    return hashlib.sha256("".join(row.digest for _, rows in found for row in rows).encode()).hexdigest()
