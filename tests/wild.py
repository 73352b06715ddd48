"""A network whose links do as the test says: each packet waits until it is delivered, dropped, doubled or changed.

Nodes are those of simnet, so the cores are whole and time is virtual; nothing moves by itself. What the channel promises and
this breaks: links keep order and lose nothing while they stand.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

from protocol.core import Core
from protocol.events import (
    AddressesChanged,
    Deliver,
    Effect,
    EffectDone,
    Input,
    Instant,
    MessageReceived,
    PeerConnected,
    PeerLost,
    RequestMade,
    TimerFired,
)
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from simnet.queue import Guard
from tests.support import PARAMETERS, REQUIREMENT_MAP, WALL_MS, evidence, record

# A core whose deadline does not move on although the time has come would spin in its driver.
_FIRINGS_MAX: Final = 1_000
# Longer than the longest task, a record's refresh and every pause: whatever is still kept after it is kept for good.
IDLE_MS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Packet:
    """Bytes on their way; `source` is None if gossip carries them."""

    source: bytes | None
    sender: bytes
    target: bytes
    data: bytes


class Wild:
    """Nodes, all linked to each other; `packets` are those on their way, in the order in which they were sent.

    Questions are of `skill` unless another is named; nodes offer those of `also` as well.
    """

    def __init__(
        self,
        solvers: Iterable[Solver | None],
        seed: int = 1,
        skill: str = "arith",
        also: tuple[str, ...] = (),
        *,
        evidenced: bool = True,
    ) -> None:
        self.now_ms = 1_000
        self.skill = skill
        self.packets: list[Packet] = []
        self.delivered: Counter[tuple[bytes, bytes]] = Counter()
        self.said: defaultdict[tuple[bytes, str], set[str]] = defaultdict(set)
        self._links: set[tuple[bytes, bytes]] = set()
        self._waiting: list[tuple[int, int, bytes, Input, Guard]] = []
        self._number = 0
        self._asked = 0
        self.hosts = [self._host(number, solver, seed, (skill, *also)) for number, solver in enumerate(solvers)]
        self._by_key = {host.key: host for host in self.hosts}
        if evidenced:
            hits = {host.key: 9 for host in self.hosts}
            rows = [row for each in (skill, *also) for row in evidence(hits, each)]
            for host in self.hosts:
                host.disk |= {(table, key): value for table, key, value in rows}
                host.restart()
        for host in self.hosts:
            self.take(host, AddressesChanged((f"/sim/{host.name}",)))
        for number, host in enumerate(self.hosts):
            for other in self.hosts[:number]:
                self.connect(host, other.key)
        self.settle(1_000)

    def _host(self, number: int, solver: Solver | None, seed: int, skills: tuple[str, ...]) -> Host:
        def recorded(question: str, draws: Stream) -> Solution:
            assert solver is not None
            solution = solver(question, draws)
            self.said[host.key, question].add(solution.text)
            return solution

        own = record(*skills, available=solver is not None)
        host = Host(f"wild {number}", seed, PARAMETERS, own, recorded, self, REQUIREMENT_MAP)
        return host

    # --- What a host asks of its network

    def after(self, delay_ms: int, host: Host, event: Input, work: Guard | None = None) -> None:
        """Give `event` to `host` after a delay."""
        self._number += 1
        heapq.heappush(self._waiting, (self.now_ms + delay_ms, self._number, host.key, event, work or Guard()))

    def written(self, host: Host) -> None:
        """Disks take no time here."""

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        """Put a packet on a channel."""
        if not self.linked(source.key, target):
            return False
        self.packets.append(Packet(source.key, source.key, target, data))
        return True

    def gossip(self, source: Host, topic: str, data: bytes) -> None:  # noqa: ARG002 - as the world has it
        """Put a packet on its way to everyone with a link."""
        self.packets += [Packet(None, source.key, host.key, data) for host in self.hosts if self.linked(source.key, host.key)]

    def dial(self, source: Host, target: bytes, effect: int) -> None:
        """Connect at once, or fail at once."""
        if not self.connect(source, target):
            self.after(0, source, EffectDone(effect, error="no answer"))

    def connect(self, source: Host, target: bytes) -> bool:
        """Make a link unless there is one."""
        if target not in self._by_key:
            return False
        if not self.linked(source.key, target):
            self._links.add((min(source.key, target), max(source.key, target)))
            self.after(0, source, PeerConnected(target))
            self.after(0, self._by_key[target], PeerConnected(source.key))
        return True

    # --- What a test does to it

    def linked(self, one: bytes, other: bytes) -> bool:
        """Whether two nodes have a channel."""
        return (min(one, other), max(one, other)) in self._links

    def ask(
        self,
        host: Host,
        text: str,
        deadline_ms: int | None = None,
        skill: str | None = None,
        refine: int = 0,
        planners: int | None = None,
    ) -> bytes:
        """Ask a question; gives the request's id."""
        self._asked += 1
        request = hashlib.sha256(f"{self._asked}".encode()).digest()[:16]
        self.take(host, RequestMade(request, text, skill or self.skill, deadline_ms, refine, planners))
        return request

    def arrive(self, packet: Packet, data: bytes | None = None) -> None:
        """Let a packet reach its target, as it is or with other bytes; it stays on its way, so that it can come again."""
        source = packet.source if packet.source is None or self.linked(packet.source, packet.target) else None
        if packet.source is not None and source is None:
            return  # bytes of a channel that ended
        self.take(self._by_key[packet.target], MessageReceived(source, packet.data if data is None else data))

    def cut(self, one: Host, other: Host) -> None:
        """End a channel: what was on its way over it is lost, and both ends hear of it."""
        if not self.linked(one.key, other.key):
            return
        self._links.discard((min(one.key, other.key), max(one.key, other.key)))
        ends = {one.key, other.key}
        self.packets = [packet for packet in self.packets if packet.source is None or {packet.source, packet.target} != ends]
        self.take(one, PeerLost(other.key))
        self.take(other, PeerLost(one.key))

    def take(self, host: Host, event: Input) -> list[Effect]:
        """Give one input to a node, and note what it delivers to its owner."""
        effects = host.take(event, Instant(self.now_ms, WALL_MS + self.now_ms))
        self.delivered.update((host.key, effect.request) for effect in effects if isinstance(effect, Deliver))
        return effects

    def let_pass(self, for_ms: int) -> None:
        """Let time pass: models finish and timers fire, but no packet moves."""
        end_ms = self.now_ms + for_ms
        for _ in range(_FIRINGS_MAX):
            due = [(due_ms, host) for host in self.hosts if (due_ms := host.core.deadline()) is not None]
            first_ms = min([due_ms for due_ms, _ in due] + [item[0] for item in self._waiting[:1]], default=end_ms + 1)
            if first_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, first_ms)
            while self._waiting and self._waiting[0][0] <= self.now_ms:
                _, _, key, event, work = heapq.heappop(self._waiting)
                if work.open:
                    self.take(self._by_key[key], event)
            for host in self.hosts:
                due_ms = host.core.deadline()
                if due_ms is not None and due_ms <= self.now_ms:
                    self.take(host, TimerFired())
        else:
            raise AssertionError("some core's deadline never moves on")
        self.now_ms = end_ms

    def settle(self, for_ms: int, step_ms: int = 10) -> None:
        """Behave: deliver every packet, in order and once, while time passes."""
        end_ms = self.now_ms + for_ms
        while self.now_ms < end_ms:
            while self.packets:
                self.arrive(self.packets.pop(0))
            waits = [host.core.deadline() for host in self.hosts] + [item[0] for item in self._waiting[:1]]
            due_ms = min((wait for wait in waits if wait is not None), default=end_ms)
            self.let_pass(min(max(due_ms - self.now_ms, step_ms), end_ms - self.now_ms))

    def heal(self) -> None:
        """Link everybody again."""
        for number, host in enumerate(self.hosts):
            for other in self.hosts[:number]:
                self.connect(host, other.key)


def entries(core: Core) -> Counter[str]:
    """How many entries each table that can be reached from a core holds, by the path of names to it."""
    found: Counter[str] = Counter()
    seen: set[int] = set()

    def walk(value: object, path: str) -> None:
        # What is frozen cannot grow, and holds most of the objects that there are.
        if isinstance(value, type) or getattr(type(value), "__dataclass_params__", _THAWED).frozen or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, dict):
            found[path] += len(value)
            for item in value.values():
                walk(item, f"{path}[]")
        elif isinstance(value, list | set | deque):
            found[path] += len(value)
            for item in value:
                walk(item, f"{path}[]")
        elif type(value).__module__.startswith("protocol."):
            for name in _names(value):
                walk(getattr(value, name, None), f"{path}.{name}")

    walk(core, "core")
    return found


_THAWED: Final = SimpleNamespace(frozen=False)


def _names(value: object) -> list[str]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return sorted({*slots, *getattr(value, "__dict__", {})} - {"_requirement_map"})
