"""The one scenario there is so far: a small network like that of `tutti dev`, asked generated questions one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol import exercises
from protocol.capability import Record
from protocol.events import AuditsWanted
from protocol.outcome import Outcome
from protocol.parameters import preset
from simnet.draws import Stream
from simnet.host import Host
from simnet.solvers import KINDS, solver
from simnet.world import World

NODES_MIN: Final = 2
NODES_MAX: Final = 64
NODES_DEFAULT: Final = 10
QUESTIONS_MAX: Final = 10_000
QUESTIONS_DEFAULT: Final = 40
LOSS_PERMILLE_MAX: Final = 900
SEED_MAX: Final = 2**62

# Each specialist twice, the generalist and a liar; a larger network has more of the first five.
_MORE: Final = ("arith", "lists", "text", "logic", "generalist")
_POPULATION: Final = (*_MORE, "liar", "arith", "lists", "text", "logic")
# Time for everyone to meet; records pass at each new connection, so even a lossy network is done long before.
_MEETING_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run depends on; the same settings give the same digest, on every machine."""

    seed: int = 1
    nodes: int = NODES_DEFAULT
    questions: int = QUESTIONS_DEFAULT
    loss_permille: int = 0

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        return f"simnet run --seed {self.seed} --nodes {self.nodes} --questions {self.questions} --loss {self.loss_permille}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found. `outcomes` counts every kind that occurred; `audits` are those before the questions."""

    settings: Settings
    outcomes: Mapping[str, int]
    right: int
    messages: int
    bytes_total: int
    latency_ms: int
    audits: int
    audit_messages: int
    simulated_ms: int
    events: int
    digest: str


def population(count: int) -> tuple[str, ...]:
    """The kinds of `count` nodes, in order; the first one is asked."""
    more = (_MORE[index % len(_MORE)] for index in range(count - len(_POPULATION)))
    return (*_POPULATION[:count], *more)


def build(settings: Settings) -> tuple[World, list[Host]]:
    """A world with everyone in it, each about to meet the first node."""
    parameters = preset("dev")
    world = World(parameters, settings.seed, loss_permille=settings.loss_permille)
    hosts = []
    for index, name in enumerate(population(settings.nodes)):
        kind = KINDS[name]
        record = Record(
            sequence=0,
            skills=dict(kind.skills),
            model=name,
            parameters=0,
            quantisation="",
            weights_hash="",
            context=0,
            tokens_per_s=kind.tokens_per_s,
            slots=4,
            available=True,
            addresses=(),
        )
        hosts.append(world.add(f"{name}-{index}", record, solver(kind)))
    for host in hosts[1:]:
        world.join(host, hosts[0])
    return world, hosts


def run(settings: Settings) -> Report:
    """Let the nodes meet, audit, ask every question and add up; raises `RuntimeError` if a task never ends."""
    world, hosts = build(settings)
    asked = hosts[0]
    world.run(for_ms=_MEETING_MS)
    audits = asked.core.audits
    world.after(0, asked, AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: audits.settled(audits.skills))
    before, before_messages = audits.done, audits.messages
    outcomes: list[Outcome] = []
    right = 0
    for exercise in questions(settings.seed, settings.questions):
        outcome = world.answer(asked, exercise.text)
        outcomes.append(outcome)
        right += outcome.answer == exercise.gold
    kinds = Counter(outcome.kind.value for outcome in outcomes)
    return Report(
        settings=settings,
        outcomes=dict(sorted(kinds.items())),
        right=right,
        messages=sum(outcome.messages for outcome in outcomes),
        bytes_total=sum(outcome.bytes_total for outcome in outcomes),
        latency_ms=sum(outcome.latency_ms for outcome in outcomes),
        audits=before,
        audit_messages=before_messages,
        simulated_ms=world.now_us // 1_000,
        events=world.events,
        digest=world.digest(),
    )


def questions(seed: int, count: int) -> list[exercises.Exercise]:
    """`count` exercises of one step, skills in turn, the rest drawn from `seed`."""
    draws, skills = Stream(seed, "questions"), sorted(exercises.ONE_STEP)
    return [
        exercises.generate(skills[index % len(skills)], 1 + draws.below(3), int.from_bytes(draws.bytes(8), "big"))
        for index in range(count)
    ]
