"""Whole cores among peers that sign what they like: no step raises, no deadline stands still, memory stays bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contrib.fuzz.draw import Draw
from contrib.fuzz.recorded import PLANNED, SOLVERS, recorded
from contrib.fuzz.signed import changed
from protocol.capability import GENERAL
from protocol.constants import DEADLINE_MS_DEFAULT, LEASES_MAX, PLANNERS_MAX, TASKS_MAX
from protocol.events import EffectDone, Input, MessageReceived, ModelChanged, Paused
from protocol.planning import PLANNER
from simnet.host import Host
from tests.support import exercise
from tests.wild import Wild

_STEPS_MAX: Final = 200
# The longest time that one of these questions has.
_END_MS: Final = DEADLINE_MS_DEFAULT + 1_000
_MOVES: Final = 15
# What a process may grow by while one world is flooded: the tables' bounds allow 80 MB of ids alone.
GROWTH_MAX: Final = 256 << 20
_WARM: Final = 200
_LOOK_EVERY: Final = 100
_WORLD_EVERY: Final = 5_000


def cores(data: bytes) -> None:
    """Three nodes; the input decides what becomes of each packet. Each request has one outcome when all is over."""
    draw = Draw(data)
    world = Wild(SOLVERS, also=(PLANNER,), evidenced=bool(draw.below(4)))
    asked = [(world.hosts[0], world.ask(world.hosts[0], exercise("arith", 1).text))]
    for _ in range(_STEPS_MAX):
        if not draw.more:
            break
        _move(world, draw, asked)
    world.heal()
    world.settle(_END_MS)
    for host, request in asked:
        assert world.delivered[host.key, request] == 1
    assert all(count == 1 for count in world.delivered.values())
    _check(world)


def _move(world: Wild, draw: Draw, asked: list[tuple[Host, bytes]]) -> None:
    hosts, packets = world.hosts, world.packets
    host = draw.choice(hosts)
    match draw.below(_MOVES):
        case 0 | 1 | 2 if packets:
            world.arrive(packets.pop(0))
        case 3 | 4 | 5 if packets:
            packet = packets.pop(draw.below(len(packets)))
            world.arrive(packet, _forged(draw, packet.data))
        case 6 if packets:
            world.arrive(packets[draw.below(len(packets))])
        case 7 if packets:
            del packets[draw.below(len(packets))]
        case 8:
            # Anything that was ever said, to anybody.
            kinds = recorded().envelopes
            data = _forged(draw, draw.choice(kinds[draw.choice(sorted(kinds))]))
            source = draw.choice([None, *(other.key for other in hosts)])
            world.take(host, MessageReceived(source, data))
        case 9:
            world.take(host, MessageReceived(draw.choice([None, *(other.key for other in hosts)]), draw.take(draw.below(80))))
        case 10:
            other = draw.choice(hosts)
            world.cut(host, other) if draw.below(2) else world.heal()
        case 11 if host.core.tasks < TASKS_MAX:
            text, deadline_ms = exercise("arith", draw.below(9)).text, draw.choice((None, 1, 900))
            asked.append((host, world.ask(host, text, deadline_ms, draw.choice((None, GENERAL)), draw.below(3))))
        case 12 if host.core.tasks < TASKS_MAX:
            asked.append((host, world.ask(host, PLANNED, draw.choice((None, 900)), planners=1 + draw.below(PLANNERS_MAX))))
        case 13:
            events: list[Input] = [Paused(paused=True), Paused(paused=False), ModelChanged(available=False, tokens_per_s=0)]
            world.take(host, draw.choice(events) if draw.below(2) else EffectDone(draw.below(300), error="x"))
        case _:
            world.let_pass(draw.choice((1, 20, 150, 1_500, 6_000)))
    _check(world)


def _forged(draw: Draw, data: bytes) -> bytes:
    known = recorded()
    return changed(draw, data, known.keys, known.ids)


def _check(world: Wild) -> None:
    for host in world.hosts:
        assert host.core.leases <= LEASES_MAX
        assert host.core.tasks <= TASKS_MAX


class Flood:
    """One world for thousands of inputs: what is left behind by one is still there for the next, and memory must not grow.

    An input alone does not repeat a failure here, so all of them since the world began are written to `history`.
    """

    def __init__(self) -> None:
        self.history: Path | None = None
        self._world: Wild | None = None
        self._count = 0
        self._base = 0

    def __call__(self, data: bytes) -> None:
        """Some moves in the world that is there."""
        if self._world is None or self._count % _WORLD_EVERY == 0:
            self._world = Wild(SOLVERS, also=(PLANNER,))
            if self.history is not None:
                self.history.write_bytes(b"")
        if self.history is not None:
            with self.history.open("ab") as file:
                file.write(len(data).to_bytes(4, "big") + data)
        draw, asked = Draw(data), list[tuple[Host, bytes]]()
        for _ in range(_STEPS_MAX):
            if not draw.more:
                break
            _move(self._world, draw, asked)
        self._world.let_pass(100)
        # A test's own list of packets is no table of a core's.
        del self._world.packets[:-64]
        self._count += 1
        if self._count == _WARM:
            self._base = resident()
        elif self._count > _WARM and self._count % _LOOK_EVERY == 0:
            grown = resident() - self._base
            assert grown <= GROWTH_MAX, f"{grown} bytes more after {self._count} inputs"


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * 4_096 if file.is_file() else 0
