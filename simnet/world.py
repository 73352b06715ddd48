"""A world of simulated nodes: discrete events in integer microseconds, seeded, one digest a run.

Events are ordered by (time, destination, source, sequence of the source), so the order never depends on how the run was
computed. Small and true for now: full connectivity by dialling, latency with jitter, loss of gossip, crash and restart.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable

from protocol.allowance import Caps
from protocol.capability import Record
from protocol.events import (
    AddressesChanged,
    Effect,
    Input,
    MessageReceived,
    PeerConnected,
    PeerLost,
    Publish,
    RequestMade,
    Send,
    TimerFired,
)
from protocol.outcome import Outcome
from protocol.parameters import Parameters
from protocol.requirement import RequirementMap
from simnet.draws import Stream
from simnet.host import Host, Solver

# An arbitrary fixed start, so wall times in a run look like dates and never depend on today's.
_WALL_MS = 1_700_000_000_000


class World:
    """Hosts, links and the clock. `latency_us` and `jitter_us` hold for every link, `loss_permille` for gossip."""

    def __init__(
        self,
        parameters: Parameters,
        seed: int,
        latency_us: int = 1_000,
        jitter_us: int = 500,
        loss_permille: int = 0,
    ) -> None:
        self.parameters = parameters
        self.seed = seed
        self.now_us = 0
        self.events = 0
        self.hosts: dict[bytes, Host] = {}
        self.observer: Callable[[Host, Effect], None] | None = None
        self._latency_us, self._jitter_us, self._loss = latency_us, jitter_us, loss_permille
        self._requirement_map = RequirementMap(parameters)
        self._queue: list[tuple[int, bytes, bytes, int, Input]] = []
        self._cancelled: set[int] = set()
        self._links: set[tuple[bytes, bytes]] = set()
        self._draws = Stream(seed, "links")
        self._sequence = 0
        self._timers: dict[bytes, tuple[int, int]] = {}
        self._digest = hashlib.sha256()

    # --- Population

    def add(self, name: str, record: Record, solver: Solver, skew_ms: int = 0, caps: Caps = Caps()) -> Host:  # noqa: B008  frozen
        """Add a node; it listens at an address that is its name."""
        host = Host(name, self.seed, self.parameters, record, solver, self, self._requirement_map, skew_ms, caps)
        self.hosts[host.key] = host
        self.after(0, host, AddressesChanged((f"/sim/{name}",)))
        return host

    def join(self, host: Host, bootstrap: Host) -> None:
        """Connect a node to its bootstrap."""
        self.connect(host, bootstrap.key)

    def crash(self, host: Host) -> None:
        """Stop a node at once; its peers see the connections end."""
        host.up = False
        self._queue = [item for item in self._queue if item[1] != host.key]
        heapq.heapify(self._queue)
        self._timers.pop(host.key, None)
        for a, b in sorted(self._links):
            if host.key in (a, b):
                self._links.discard((a, b))
                other = self.hosts[b if a == host.key else a]
                self.after(1, other, PeerLost(host.key))

    def ask(
        self, host: Host, text: str, skill: str | None = None, deadline_ms: int | None = None, planners: int | None = None
    ) -> bytes:
        """Ask `host` a question now; gives the request's id, under which `host.outcomes` will hold the outcome."""
        request = hashlib.sha256(f"{self._sequence} {text}".encode()).digest()[:16]
        self.after(0, host, RequestMade(request, text, skill, deadline_ms, planners=planners))
        return request

    def answer(
        self, host: Host, text: str, skill: str | None = None, deadline_ms: int | None = None, planners: int | None = None
    ) -> Outcome:
        """Ask and run until the outcome is there."""
        request = self.ask(host, text, skill, deadline_ms, planners)
        self.run(until=lambda: request in host.outcomes)
        return host.outcomes[request]

    # --- Network

    def after(self, delay_ms: int, host: Host, event: Input) -> int:
        """Give `event` to `host` after `delay_ms`."""
        return self._schedule(self.now_us + 1_000 * delay_ms, host.key, host.key, event)

    def cancel(self, number: int) -> None:
        """Forget the event with this number."""
        self._cancelled.add(number)

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        """Put `data` on the link to `target`; links keep order and lose nothing."""
        if (min(source.key, target), max(source.key, target)) not in self._links:
            return False
        self._schedule(self.now_us + self._latency_us, target, source.key, MessageReceived(source.key, data))
        return True

    def gossip(self, source: Host, data: bytes) -> None:
        """Bring `data` to every host that is up, each after its own delay; a model, not the mesh itself."""
        for key in sorted(self.hosts):
            if key == source.key or not self.hosts[key].up or self._draws.below(1_000) < self._loss:
                continue
            delay_us = self._latency_us + self._draws.below(self._jitter_us + 1)
            self._schedule(self.now_us + delay_us, key, source.key, MessageReceived(None, data))

    def connect(self, source: Host, target: bytes) -> bool:
        """Make a link unless there is one; both ends hear of it."""
        other = self.hosts.get(target)
        link = (min(source.key, target), max(source.key, target))
        if other is None or not other.up:
            return False
        if link not in self._links:
            self._links.add(link)
            self.after(1, source, PeerConnected(target))
            self.after(1, other, PeerConnected(source.key))
        return True

    # --- Running

    def run(self, for_ms: int | None = None, until: Callable[[], bool] | None = None, events_max: int = 5_000_000) -> None:
        """Run for a time, or until a condition holds; raises `RuntimeError` if the events run out first."""
        end_us = None if for_ms is None else self.now_us + 1_000 * for_ms
        for _ in range(events_max):
            if until is not None and until():
                return
            if not self._queue or (end_us is not None and self._queue[0][0] > end_us):
                break
            self._step()
        else:
            raise RuntimeError(f"{events_max} events and no end")
        if end_us is not None:
            self.now_us = end_us
        elif until is not None and not until():
            raise RuntimeError("nothing is left to happen and the condition does not hold")

    def digest(self) -> str:
        """SHA-256 over everything that was sent, in order: 64 hex digits."""
        return self._digest.hexdigest()

    def _step(self) -> None:
        time_us, target, _, number, event = heapq.heappop(self._queue)
        self.now_us = time_us
        if number in self._cancelled:
            self._cancelled.discard(number)
            return
        host = self.hosts[target]
        if not host.up:
            return
        if isinstance(event, TimerFired):
            self._timers.pop(target, None)
        self.events += 1
        for effect in host.take(event, time_us // 1_000, _WALL_MS + time_us // 1_000):
            if isinstance(effect, Send | Publish):
                self._digest.update(target + time_us.to_bytes(8, "big") + effect.data)
            if self.observer is not None:
                self.observer(host, effect)
        self._set_timer(host)

    def _set_timer(self, host: Host) -> None:
        due_ms = host.core.deadline()
        known = self._timers.get(host.key)
        if due_ms is None or (known is not None and known[0] <= due_ms):
            return
        if known is not None:
            self.cancel(known[1])
        delay_ms = max(0, due_ms - self.now_us // 1_000)
        self._timers[host.key] = (due_ms, self.after(delay_ms, host, TimerFired()))

    def _schedule(self, time_us: int, target: bytes, source: bytes, event: Input) -> int:
        self._sequence += 1
        heapq.heappush(self._queue, (time_us, target, source, self._sequence, event))
        return self._sequence
