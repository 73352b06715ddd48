"""A world of simulated nodes: discrete events in integer microseconds, seeded, one digest a run.

Hosts drive the very `protocol.core.Core` of the daemon; the world is what is around them: connections, gossip (a model, see
simnet/gossip.py), time, and faults. Events are ordered by (time, destination, source, sequence of the source).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from protocol.allowance import Caps
from protocol.capability import GENERAL, Record
from protocol.constants import DEADLINE_MS_DEFAULT
from protocol.events import (
    AddressesChanged,
    Effect,
    EffectDone,
    Input,
    Instant,
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
from simnet.directory import ANNOUNCE_MS, LOOK_UP_MS, TICK_MS, Directory
from simnet.draws import Draws
from simnet.gossip import HOP_US, Overlay, Spread
from simnet.host import Host, Solver, Torn
from simnet.links import Connection, Link, Rule
from simnet.queue import Broken, Burst, Computed, Dead, Dialled, Guard, Mourned, Own, Queue, Rejoin, Visit

# An arbitrary fixed start, so wall times in a run look like dates and never depend on today's.
WALL_MS: Final = 1_700_000_000_000

# A channel over which nothing passes dies when TCP's keep-alive gives up, and a dial that nobody answers by its time limit:
# those of the daemon (node/libp2p_wire.py, node/libp2p_stack.py).
DEAD_US: Final = 25_000_000
DIAL_US: Final = 10_000_000
# Channels of one node; it refuses whoever comes beyond them (node/limits.py).
CHANNELS_MAX: Final = 256
# Round trips of a dial: TCP, Noise, and the first streams.
_DIAL_TRIPS: Final = 3
# What is lost of a channel is sent again after this, or after two round trips.
_AGAIN_US: Final = 200_000
# Of a channel no more than this is lost in a try, in thousandths: what loses everything is a partition.
_WHOLE, _LOSS_MAX = 1_000, 990
# How often a node without any peer tries its bootstrap nodes again.
_REJOIN_US: Final = 5_000_000

# A crash that is to strike within a step that writes strikes in any case after this.
_WRITING_US: Final = 900_000

_WAKE: Final = TimerFired()


class CoreError(RuntimeError):
    """A core raised an error, which is a bug: where, when, at what, and which."""


class World:
    """Hosts, links, faults and the clock. `link` holds for every pair of hosts, or `links` for each pair of regions.

    `hop_us` is what gossip takes at each hop beyond its link.
    """

    def __init__(
        self,
        parameters: Parameters,
        seed: int,
        link: Link = Link(),  # noqa: B008  frozen
        links: Sequence[Sequence[Link]] | None = None,
        *,
        directory: bool = False,
        hop_us: int = HOP_US,
    ) -> None:
        self.parameters = parameters
        self.seed = seed
        self.now_us = 0
        self.events = 0
        # How many hosts are not up.
        self.down = 0
        self.hosts: dict[bytes, Host] = {}
        # Told of every effect, and of every input after its step and before its effects; neither changes anything.
        self.observer: Callable[[Host, Effect], None] | None = None
        self.spread_observer: Callable[[str, Spread], None] | None = None
        self.listener: Callable[[Host, Input], None] | None = None
        self.rules: list[Rule] = []
        # What adversaries made up and signed with no key: it may stand in no receipt.
        self.forged: list[bytes] = []
        # What was asked after everything that disturbs was over.
        self.probes: list[tuple[Host, bytes]] = []
        self._all: list[Host] = []
        self._links = [list(row) for row in links] if links is not None else [[link]]
        self._ways = [[(way.latency_us, way.jitter_us, way.loss_permille) for way in row] for row in self._links]
        self._requirement_map = RequirementMap(parameters)
        self._queue = Queue()
        self._overlay = Overlay(seed, hop_us)
        self.directory = Directory(seed, lambda one, other: not self._is_cut(one, other)) if directory else None
        self._draws = Draws(seed, "links")
        # A stream of their own: what comes twice changes nothing about what comes.
        self._copies = Draws(seed, "copies")
        self._asked = 0
        # What rules keep back for now, in order, by channel.
        self._held: dict[Connection, list[Burst]] = {}
        self._burst: Burst | None = None
        self._now = Instant(0, WALL_MS)
        self._digest = hashlib.sha256()

    # --- Population

    def add(
        self,
        name: str,
        record: Record,
        solver: Solver,
        skew_ms: int = 0,
        caps: Caps = Caps(),  # noqa: B008  frozen
        region: int = 0,
        *,
        reachable: bool = True,
        kind: Callable[..., Host] = Host,
    ) -> Host:
        """Add a node; it listens at an address that is its name. One that is not `reachable` can be dialled by nobody."""
        host = kind(name, self.seed, self.parameters, record, solver, self, self._requirement_map, skew_ms, caps)
        host.index, host.region, host.reachable = len(self._all), region, reachable
        self.hosts[host.key] = host
        self._all.append(host)
        self._overlay.add(region)
        if self.directory is not None:
            self.directory.add(host)
        self.after(0, host, AddressesChanged((f"/sim/{name}",)))
        return host

    def join(self, host: Host, *bootstraps: Host) -> None:
        """Connect a node to its bootstrap nodes; while it has no peer at all it tries them again."""
        host.bootstraps = [bootstrap.key for bootstrap in bootstraps]
        for bootstrap in bootstraps:
            self.connect(host, bootstrap.key)
        self._rejoin(host)

    def ask(
        self, host: Host, text: str, skill: str | None = None, deadline_ms: int | None = None, planners: int | None = None
    ) -> bytes:
        """Ask `host` a question now; gives the request's id, under which `host.outcomes` will hold the outcome."""
        self._asked += 1
        request = hashlib.sha256(f"{self._asked} {text}".encode()).digest()[:16]
        ends_us = self.now_us + 1_000 * (DEADLINE_MS_DEFAULT if deadline_ms is None else deadline_ms)
        host.asked[request] = host.life, ends_us
        self.after(0, host, RequestMade(request, text, skill, deadline_ms, planners=planners))
        return request

    def answer(
        self, host: Host, text: str, skill: str | None = None, deadline_ms: int | None = None, planners: int | None = None
    ) -> Outcome:
        """Ask and run until the outcome is there."""
        request = self.ask(host, text, skill, deadline_ms, planners)
        self.run(until=lambda: request in host.outcomes)
        return host.outcomes[request]

    # --- Faults

    def crash(self, host: Host, *, silent: bool = False) -> None:
        """Stop a node at once. Its peers see their channels end; of a machine that died `silent` only after a time.

        Until they do they send into the channel, and gossip goes that way, and both are lost.
        """
        self.down += host.up
        host.up, host.life.open, host.silent = False, False, silent
        host.stop()
        host.agenda.open = False
        if self.directory is not None:
            self.directory.forget(host)
        self._overlay.silence(host.index)
        links, host.links = host.links, {}
        for key, connection in sorted(links.items()):
            other = self.hosts[key]
            if connection.open:
                connection.open = False
                host.mourners.append(key)
                delay_us = DEAD_US if silent else self._way(host, other).latency_us
                self._push(self.now_us + delay_us, other, host, Mourned(host.key, connection), other.life)
            else:
                # The other end was gone already.
                self._overlay.disconnect(host.index, other.index)

    def crash_writing(self, host: Host, lot: int, *, silent: bool = False) -> None:
        """Stop a node within its next step that writes to its disk, or soon; the lot (32 bits) says what of it is lost."""
        host.torn = Torn(lot, silent)
        self._push(self.now_us + _WRITING_US, host, host, Broken(), host.life)

    def restart(self, host: Host) -> None:
        """Start a node again from what is on its disk; it dials those it has saved, and its bootstrap nodes."""
        assert not host.links
        self.down -= not host.up
        for key in host.mourners:
            # Whatever is sent over a channel of the life before is answered with a reset.
            self._mourn(self.hosts[key], host)
        host.mourners = []
        self._overlay.silence(host.index, silent=False)
        host.life = Guard()
        host.wake_us, host.busy_us = None, 0
        host.restart()
        self.after(0, host, AddressesChanged((f"/sim/{host.name}",)))
        self._rejoin(host)

    def _mourn(self, host: Host, gone: Host) -> None:
        """A host hears that a channel has ended whose other end is gone, if it still has it."""
        connection = host.links.get(gone.key)
        if connection is not None and not connection.open:
            del host.links[gone.key]
            self._overlay.disconnect(host.index, gone.index)
            self._push(self.now_us, host, gone, PeerLost(gone.key), host.life)
            self._rejoin_later(host)

    def add_rule(self, rule: Rule) -> None:
        """A fault on links, from now on."""
        self._flush()
        self.rules.append(rule)
        if rule.block:
            for host in self._all:
                for key in sorted(host.links):
                    connection, other = host.links[key], self.hosts[key]
                    ways = (connection.ends, connection.ends[::-1])
                    if connection.open and host.index < other.index and any(self._is_blocked(*way) for way in ways):
                        self._stall(connection)

    def remove_rule(self, rule: Rule) -> None:
        """A fault ends: what channels kept back arrives, in order, as if it had just been sent again."""
        self._flush()
        self.rules.remove(rule)
        held, self._held = self._held, {}
        for connection, waiting in held.items():
            if not connection.open:
                continue
            if any(self._is_blocked(*ends) for ends in (connection.ends, connection.ends[::-1])):
                self._held[connection] = waiting
                continue
            connection.stalled_us = None
            for burst in waiting:
                self._send(burst)

    def _is_blocked(self, source: int, target: int) -> bool:
        return any(rule.block and rule.holds(source, target) for rule in self.rules)

    def _stall(self, connection: Connection) -> None:
        """Nothing passes one way: if that lasts, both ends give the channel up."""
        if connection.stalled_us is None:
            connection.stalled_us = self.now_us
            self._held[connection] = []
            self._doubt(connection)

    def _doubt(self, connection: Connection) -> None:
        """Look again at a stalled channel when TCP would have given it up."""
        assert connection.stalled_us is not None
        one = self._all[connection.ends[0]]
        self._push(self.now_us + DEAD_US, one, one, Dead(connection, connection.stalled_us), connection)

    # --- Network

    def after(self, delay_ms: int, host: Host, event: Input, work: Guard | None = None) -> None:
        """Give `event` to `host` after `delay_ms`, unless it is crashed before, or `work` is closed."""
        self._push(self.now_us + 1_000 * delay_ms, host, host, event, host.life if work is None else work)

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        """Put `data` on the channel to `target`, whose other end may be gone without the source knowing; False if none is."""
        connection = source.links.get(target)
        if connection is None:
            return False
        if connection.open:
            burst = self._burst
            if burst is None or burst.connection is not connection or burst.source != source.index:
                self._flush()
                burst = self._burst = Burst(connection, source.index, self.hosts[target].index)
            burst.add(data)
            if source.machine is not None:
                # One after the other, as it gets them done.
                self._flush()
        return True

    def gossip(self, source: Host, topic: str, data: bytes) -> None:
        """Spread `data` over the overlay."""
        source.published += 1
        # To one connection after the other: in the mean it leaves when half of them have it.
        leaves_us = (self.now_us + self._computed_us(source, len(source.links))) // 2
        spread = self._overlay.spread(topic, source.index, leaves_us, self._ways, self.rules)
        if self.spread_observer is not None:
            self.spread_observer(topic, spread)
        event = MessageReceived(None, data)
        hosts, queue, index, sequence = self._all, self._queue, source.index, source.sequence
        for target, time_us in zip(spread.hosts.tolist(), spread.arrivals_us.tolist(), strict=True):
            sequence += 1
            queue.push(time_us, (target, index, sequence, event, hosts[target].life))
        source.sequence = sequence
        if any(rule.twice_permille for rule in self.rules):
            for target, time_us in zip(spread.hosts.tolist(), spread.arrivals_us.tolist(), strict=True):
                self._repeat(time_us, hosts[target], source, event, hosts[target].life)

    def mesh_of(self, host: Host) -> list[int]:
        """The hosts, by index, to which a host passes gossip on."""
        return self._overlay.edges_of(host.index, first=False)

    def connect(self, source: Host, target: bytes) -> bool:
        """Make a channel unless there is one, at once; both ends hear of it. False if nobody can be reached there."""
        other = self.hosts.get(target)
        if other is None or not (source.up and other.up and other.reachable) or self._is_cut(source, other):
            return False
        if target not in source.links:
            if max(len(source.links), len(other.links)) >= CHANNELS_MAX:
                return False
            connection = Connection(source.index, other.index)
            for host in (source, other):
                if self.directory is not None and not host.links:
                    self._open_agenda(host, self.directory)
            source.links[target] = other.links[source.key] = connection
            self._overlay.connect(source.index, other.index)
            self._push(self.now_us + 1_000, source, other, PeerConnected(target), connection)
            self._push(self.now_us + 1_000, other, source, PeerConnected(source.key), connection)
        return True

    # --- Directory

    def _open_agenda(self, host: Host, directory: Directory) -> None:
        """With the first peer everything is due: there is somebody to ask."""
        host.agenda.open = False
        host.agenda = Guard()
        for skill in (None, *sorted(self.parameters.skills)):
            if skill != GENERAL:
                self._push(self.now_us + 1_000 * directory.jittered_ms(TICK_MS), host, host, Visit(skill), host.agenda)

    def _visit(self, host: Host, skill: str | None, directory: Directory) -> None:
        if not host.links:
            return
        now_ms = self.now_us // 1_000
        if skill is None:
            directory.announce(host, now_ms)
        else:
            # The rounds of a walk, each as long as the farthest of those who are asked needs.
            took_us = 2 * directory.rounds() * max(way.latency_us for way in self._links[host.region])
            for data in directory.look_up(host, skill, now_ms):
                self._push(self.now_us + took_us, host, host, MessageReceived(None, data), host.life)
        period_ms = directory.jittered_ms(ANNOUNCE_MS if skill is None else LOOK_UP_MS)
        self._push(self.now_us + 1_000 * period_ms, host, host, Visit(skill), host.agenda)

    # --- Channels

    def dial(self, source: Host, target: bytes, effect: int) -> None:
        """Dial as the daemon does: some round trips, a refusal, or silence until the time limit."""
        other = self.hosts.get(target)
        if other is None or not other.reachable or self._is_cut(source, other) or (other.silent and not other.up):
            self._push(self.now_us + DIAL_US, source, source, EffectDone(effect, error="no answer"), source.life)
            return
        trip_us = self._way(source, other).latency_us + self._way(other, source).latency_us
        if not other.up:
            self._push(self.now_us + trip_us, source, source, EffectDone(effect, error="refused"), source.life)
            return
        self._push(self.now_us + _DIAL_TRIPS * trip_us, source, source, Dialled(target, effect), source.life)

    def _is_cut(self, one: Host, other: Host) -> bool:
        return bool(self.rules) and (self._is_blocked(one.index, other.index) or self._is_blocked(other.index, one.index))

    def _way(self, source: Host, target: Host) -> Link:
        return self._links[source.region][target.region]

    def _flush(self) -> None:
        """Nothing more is written at this time: let it leave."""
        burst, self._burst = self._burst, None
        if burst is not None and burst.connection.open:
            self._send(burst)

    def _send(self, burst: Burst) -> None:
        """Put what was written on its way over a channel, behind all that went before it."""
        connection, source, target, now_us = burst.connection, self._all[burst.source], self._all[burst.target], self.now_us
        way = self._links[source.region][target.region]
        delay_us = way.latency_us + (self._draws.below(way.jitter_us + 1) if way.jitter_us else 0)
        if source.machine is not None:
            delay_us += self._computed_us(source, len(burst.data)) - now_us
        loss = way.loss_permille
        for rule in self.rules:
            if rule.holds(source.index, target.index):
                if rule.block:
                    self._stall(connection)
                    self._held[connection].append(burst)
                    return
                delay_us += rule.delay_us
                loss += rule.loss_permille
        for _ in burst.data if loss else ():
            while self._draws.below(_WHOLE) < min(loss, _LOSS_MAX):
                delay_us += max(_AGAIN_US, 4 * way.latency_us)
        if way.bits_per_s:
            begins_us = max(now_us, source.free_us)
            source.free_us = begins_us + 8_000_000 * burst.size // way.bits_per_s
            delay_us += source.free_us - now_us
        end = int(source.index != connection.ends[0])
        time_us = max(now_us + delay_us, connection.last_us[end])
        connection.last_us[end] = time_us
        self._push(time_us, target, source, burst, connection)
        for data in burst.data if self.rules else ():
            self._repeat(time_us, target, source, MessageReceived(source.key, data), connection)

    def _repeat(self, time_us: int, target: Host, source: Host, event: Input, guard: Guard) -> None:
        """Let what arrives then arrive again, where and as often as a rule says so."""
        for rule in self.rules:
            if rule.twice_permille and rule.holds(source.index, target.index):
                late_us = self._copies.below(rule.late_us + 1)
                if self._copies.below(_WHOLE) < rule.twice_permille:
                    self._push(time_us + late_us, target, source, event, guard)

    def _computed_us(self, host: Host, messages: int) -> int:
        """When a host has computed what so many messages take, behind all that came before."""
        if host.machine is None:
            return self.now_us
        host.busy_us = host.machine.done_us(max(self.now_us, host.busy_us), messages)
        return host.busy_us

    def written(self, host: Host) -> None:
        """A host waits until the rows of a step are on its disk; what else the step wants comes after that."""
        assert host.machine is not None
        host.busy_us = max(self.now_us, host.busy_us) + host.machine.write_us

    def _compute(self, host: Host, event: Input) -> int:
        """Let a host compute what an input takes; when its core sees it."""
        if not isinstance(event, MessageReceived):
            return self._computed_us(host, 0)
        seen_us = self._computed_us(host, 1)
        if event.source is None:
            # Over each edge of the mesh goes a copy, one way or the other: this one was the first.
            self._computed_us(host, self._overlay.degree(host.index) - 1)
        return seen_us

    def _disconnect(self, one: Host, other: Host) -> None:
        """Both ends forget a channel, and what was on its way over it is lost."""
        connection = one.links.pop(other.key)
        del other.links[one.key]
        connection.open = False
        self._overlay.disconnect(one.index, other.index)
        for host in (one, other):
            self._rejoin_later(host)

    def _rejoin_later(self, host: Host) -> None:
        if host.up and not host.links and host.bootstraps:
            self._push(self.now_us + _REJOIN_US, host, host, Rejoin(), host.life)

    def _rejoin(self, host: Host) -> None:
        if not host.links:
            for key in host.bootstraps:
                self.connect(host, key)
            self._rejoin_later(host)

    # --- Running

    def run(self, for_ms: int | None = None, until: Callable[[], bool] | None = None, events_max: int = 5_000_000) -> None:
        """Run for a time, or until a condition holds; raises `RuntimeError` if the events run out first."""
        end_us = None if for_ms is None else self.now_us + 1_000 * for_ms
        queue = self._queue
        self._flush()
        for _ in range(events_max):
            if until is not None and until():
                return
            time_us = queue.next_us()
            if time_us is None or (end_us is not None and time_us > end_us):
                break
            self.now_us = time_us
            self._pass(time_us)
        else:
            raise RuntimeError(f"{events_max} events and no end")
        if end_us is not None:
            self.now_us = end_us
        elif until is not None and not until():
            raise RuntimeError("nothing is left to happen and the condition does not hold")

    def digest(self) -> str:
        """SHA-256 over everything that was sent, in order: 64 hex digits."""
        return self._digest.hexdigest()

    def _pass(self, time_us: int) -> None:
        """Let everything of one instant happen."""
        hosts, now = self._all, self._now
        if now.mono_ms != time_us // 1_000:
            now = self._now = Instant(time_us // 1_000, WALL_MS + time_us // 1_000)
        for index, source, _, event, guard in self._queue.pop():
            host = hosts[index]
            if not (guard.open and host.up):
                continue
            if type(event) is Burst:
                key = hosts[source].key
                for data in event.data:
                    # A step may end the channel, or the host.
                    if guard.open and host.up:
                        self._take_in(host, MessageReceived(key, data), guard, now)
                continue
            if event is _WAKE:
                if host.wake_us != time_us:
                    continue  # an earlier deadline has taken its place
                host.wake_us = None
            elif isinstance(event, Computed):
                self._give(host, event.event, now)
                continue
            elif isinstance(event, Own):
                self._happen(host, event)
                self._flush()
                continue
            self._take_in(host, event, guard, now)

    def _take_in(self, host: Host, event: Input, guard: Guard, now: Instant) -> None:
        """One event, at once or when the host has computed what it takes."""
        if host.machine is not None and (seen_us := self._compute(host, event)) > self.now_us:
            self._push(seen_us, host, host, Computed(event), guard)
        else:
            self._give(host, event, now)

    def _give(self, host: Host, event: Input, now: Instant) -> None:
        """One event: one step of one core."""
        self.events += 1
        try:
            effects = host.take(event, now)
        except Exception as error:
            # A core never raises for what came from outside: whatever it is, it is a bug to be shown with its place.
            raise CoreError(f"{host.name} at {self.now_us / 1e6:.6f} s, {type(event).__name__}: {error!r}") from error
        if self.listener is not None:
            self.listener(host, event)
        if effects:
            for effect in effects:
                kind = type(effect)
                if kind is Send or kind is Publish:
                    self._digest.update(b"%d %d %b" % (host.index, self.now_us, effect.data))  # type: ignore[union-attr]
                if self.observer is not None:
                    self.observer(host, effect)
        self._flush()
        if host.torn is not None and host.broken:
            self.crash(host, silent=host.torn.silent)
            return
        due_ms = host.core.deadline()
        if due_ms is not None:
            due_us = max(1_000 * due_ms, self.now_us)
            if host.wake_us is None or due_us < host.wake_us:
                host.wake_us = due_us
                self._push(due_us, host, host, _WAKE, host.life)

    def _happen(self, host: Host, event: Own) -> None:
        """What concerns the world alone."""
        match event:
            case Dialled():
                if not self.connect(host, event.target):
                    self.after(0, host, EffectDone(event.effect, error="no answer"))
            case Dead():
                connection = event.connection
                ways = (connection.ends, connection.ends[::-1])
                if connection.stalled_us != event.since_us:
                    return
                if all(rule.patient for rule in self.rules for way in ways if rule.block and rule.holds(*way)):
                    self._doubt(connection)  # it is held on purpose, for however long
                else:
                    one, other = (self._all[index] for index in connection.ends)
                    self._disconnect(one, other)
                    self._push(self.now_us, one, other, PeerLost(other.key), one.life)
                    self._push(self.now_us, other, one, PeerLost(one.key), other.life)
            case Broken():
                if host.torn is not None:
                    self.crash(host, silent=host.torn.silent)
            case Mourned():
                if host.links.get(event.peer) is event.connection:
                    self._mourn(host, self.hosts[event.peer])
            case Visit():
                assert self.directory is not None
                self._visit(host, event.skill, self.directory)
            case Rejoin():
                self._rejoin(host)

    def _push(self, time_us: int, target: Host, source: Host, event: Input | Own, guard: Guard) -> None:
        source.sequence += 1
        self._queue.push(time_us, (target.index, source.index, source.sequence, event, guard))
