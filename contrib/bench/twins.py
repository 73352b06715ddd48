"""The network of some daemons again in the simulator: the same keys, disks, records, and questions at the same times.

A simulated twin starts from what was on its daemon's disk at one moment, so both know the same of their peers: who has which
weight decides how many are asked, and with it how many messages a question takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contrib.bench.observed import Observed, Seen
from contrib.evaluation.real_models import said
from node.errors import UserError
from node.home import Home, read_seed
from protocol.capability import Record
from protocol.events import AuditsWanted, Effect, Input, Instant, Persist
from protocol.identity import KeySigner
from protocol.parameters import Parameters
from protocol.tape import Tape, replayed
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from simnet.links import Link
from simnet.machines import Machine
from simnet.world import WALL_MS, World

# In this time nodes that start find each other, and one that starts again gets its own ledger back.
SETTLE_MS: Final = 20_000

Disk = dict[tuple[str, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Original:
    """A daemon as its tape has it: its identity, what it offers, its steps, and what was on its disk at a moment."""

    number: int
    role: str
    seed: bytes
    parameters: Parameters
    record: Record
    steps: Sequence[Seen]
    disk: Disk
    # What its wall clock was ahead of the monotonic one.
    wall_ms: int

    @classmethod
    def read(cls, number: int, role: str, home: Path, tape: Path, at_ms: int) -> Original:
        """From its home and its tape, with its disk as of `at_ms`; raises `UserError` if another source made the tape."""
        found = Tape.read([tape.read_bytes()])
        seed = read_seed(Home(home, home, home).network(found.parameters.name).identity_file)
        disk: Disk = {(table, key): value for table, key, value in found.rows}
        steps, wall_ms = [], 0
        for step, effects, same in replayed(found):
            if not same:
                raise UserError(f"{tape} was made by another source than this one: stop changing it while this runs")
            steps.append(Seen(number, step.now.mono_ms, step.event, effects))
            if step.now.mono_ms <= at_ms:
                wall_ms = step.now.wall_ms - step.now.mono_ms
                _write(disk, effects)
        return cls(number, role, seed, found.parameters, found.own, steps, disk, wall_ms)


def _write(disk: Disk, effects: Sequence[Effect]) -> None:
    for effect in effects:
        if isinstance(effect, Persist) and effect.value is None:
            disk.pop((effect.table, effect.key), None)
        elif isinstance(effect, Persist) and effect.value is not None:
            disk[effect.table, effect.key] = effect.value


class _Twin(Host):
    """A host that notes its steps."""

    number = 0
    steps: list[Seen]

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """As any host does."""
        effects = super().take(event, now)
        self.steps.append(Seen(self.number, now.mono_ms, event, effects))
        return effects


def _twin_of(node: Original, steps: list[Seen], disk: Disk | None) -> Callable[..., Host]:
    """What makes the twin of a daemon where the world makes a host: with its key, and its disk if it does not begin anew."""

    def make(*given: Any) -> Host:  # noqa: ANN401  what any host is made of
        host = _Twin(*given)
        host.number, host.steps = node.number, steps
        if disk is not None:
            host.signer = KeySigner(node.seed)
            host.key, host.disk = host.signer.public_key, dict(disk)
            host.restart()
        return host

    return make


def _solver(model: str, took_ms: Sequence[int]) -> Solver:
    """The very model of a daemon; it takes as long as it took there, one of the measured times by lot."""

    def solve(prompt: str, draws: Stream) -> Solution:
        answer = said(model, prompt)
        elapsed_ms = took_ms[draws.below(len(took_ms))]
        return Solution(answer.text, elapsed_ms, answer.tokens, prompt_tokens=answer.prompt_tokens)

    return solve


@dataclass(frozen=True, slots=True)
class Model:
    """What stands for a loopback and a machine in the simulator: see simnet/machines.py, simnet/links.py and simnet/gossip.py.

    `latency_us` is the mean: a message takes from two thirds of it to four.
    """

    cores: int
    message_us: int
    write_us: int
    latency_us: int = 0
    hop_us: int = 0

    def world(self, parameters: Parameters, seed: int) -> World:
        """A world of such links."""
        return World(parameters, seed, Link(2 * self.latency_us // 3, 2 * self.latency_us // 3), hop_us=self.hop_us)

    def machine(self) -> Machine:
        """Such a machine."""
        return Machine(self.cores, self.message_us, self.write_us)


def _populated(
    nodes: Sequence[Original], daemons: Observed, model: Model, seed: int, steps: list[Seen], wall_ms: int | None
) -> World:
    """A world of twins that has settled; `wall_ms` is the time then, None for twins that begin anew."""
    world, machine = model.world(nodes[0].parameters, seed), model.machine()
    spare_ms = [took_ms for node in nodes for took_ms in daemons.inferences_ms(node.number)]
    hosts: list[Host] = []
    for node in nodes:
        solver = _solver(node.role, daemons.inferences_ms(node.number) or spare_ms)
        skew_ms = 0 if wall_ms is None else wall_ms - WALL_MS - SETTLE_MS
        kind = _twin_of(node, steps, None if wall_ms is None else node.disk)
        hosts.append(world.add(f"{node.number}-{node.role}", node.record, solver, skew_ms, kind=kind))
        hosts[-1].machine = machine
        world.join(hosts[-1], *hosts[: len(hosts) > 1])
    world.run(for_ms=SETTLE_MS)
    return world


def asked(nodes: Sequence[Original], daemons: Observed, model: Model, seed: int) -> Observed:
    """What becomes of the questions of some daemons among their twins, which share a machine."""
    steps: list[Seen] = []
    world = _populated(nodes, daemons, model, seed, steps, daemons.begin_ms + nodes[0].wall_ms)
    requester = next(iter(world.hosts.values()))
    for question in daemons.asked:
        _until(world, SETTLE_MS + question.after_ms)
        world.answer(requester, question.text)
    _until(world, SETTLE_MS + daemons.end_ms - daemons.begin_ms)
    return Observed(steps, len(nodes), SETTLE_MS, world.now_us // 1_000)


def _until(world: World, at_ms: int) -> None:
    if at_ms > world.now_us // 1_000:
        world.run(for_ms=at_ms - world.now_us // 1_000)


def audited(nodes: Sequence[Original], daemons: Observed, model: Model, seed: int) -> tuple[int, int]:
    """How many audits, of how many messages, nodes like these make that know nothing of each other yet."""
    world = _populated(nodes, daemons, model, seed, [], None)
    requester = next(iter(world.hosts.values()))
    world.after(0, requester, AuditsWanted())
    audits = requester.core.audits
    world.run(until=lambda: requester.core.audits.done > 0 and audits.settled(audits.skills))
    return audits.done, audits.messages
