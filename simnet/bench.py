"""What the simulator can do on this machine: measured in one process, each figure beside what bounds it.

One event is one step of one core on an input of its own. Rates are by the processor's time, so other work beside it changes
them less than the clock's; on a busy machine they are still lower.
"""

from __future__ import annotations

import gc
import heapq
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from protocol.capability import Record
from protocol.core import Core
from protocol.envelope import open_envelope
from protocol.errors import RemoteProtocolError
from protocol.events import Effect, Input, Instant, MessageReceived, TimerFired
from protocol.identity import KeySigner
from protocol.parameters import preset
from protocol.requirement import RequirementMap
from simnet import running
from simnet.draws import Draws, Stream
from simnet.gossip import Overlay
from simnet.memory import KEPT, TRUE
from simnet.queue import Guard, Queue
from simnet.scenario import Scenario
from simnet.world import World

_CORES: Final = 200
_BARE_EVENTS: Final = 300_000
_OVERLAY: Final = 1_000
_CONNECTIONS: Final = 32
_MESSAGES: Final = 40
# Of the steps of a run one in so many is timed, and so many kinds are shown. No divisor of round numbers of hosts.
_EVERY: Final = 17
_DEAREST: Final = 6
_PARTITION_BITS_PER_S: Final = 10_000_000
_PARTITION_SETTLE_MS: Final = 15_000
_PARTITION_ASKERS: Final = 5
_CROWD_S: Final = 10


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: what, how much, in which unit, and what it stands beside."""

    name: str
    value: float
    unit: str
    beside: str


def figures(nodes: int, seconds: int) -> Iterator[Figure]:
    """All of them, one after the other: a network of so many nodes for so many simulated seconds is the longest."""
    yield from _cores()
    yield _bare(nodes)
    yield from _gossip()
    scenario = Scenario.load("baseline").changed([f"nodes={nodes}", f"duration_s={seconds}", "settle_s=0"])
    for kept, name in ((KEPT, "remembered"), (TRUE, "true")):
        costs = Costs()
        result = running.run(scenario, 1, checkers=[], kept=kept, stage=costs.sample)
        beside = f"{result.events} events of {nodes} nodes, {len(result.asked)} questions, {seconds} s simulated"
        yield Figure(f"whole protocol, {name} checks", round(result.events / result.cpu_s), "events per CPU-second", beside)
        yield from costs.figures(name)


class Costs:
    """What the steps of a run cost, by what goes in: every so many is timed, so that timing costs next to nothing."""

    def __init__(self) -> None:
        self._steps = 0
        self._found: dict[str, list[int]] = {}

    def sample(self, world: World) -> None:
        """Time the steps of all hosts of a world from now on."""
        for host in world.hosts.values():
            host.take = partial(self._take, host.take)  # type: ignore[method-assign]

    def _take(self, take: Callable[[Input, Instant], list[Effect]], event: Input, now: Instant) -> list[Effect]:
        self._steps += 1
        if self._steps % _EVERY:
            return take(event, now)
        # By the clock: to ask for the processor's time takes longer than many a step.
        begun_ns = time.perf_counter_ns()
        effects = take(event, now)
        took_ns = time.perf_counter_ns() - begun_ns
        found = self._found.setdefault(_kind(event), [0, 0])
        found[0] += 1
        found[1] += took_ns
        return effects

    def figures(self, name: str) -> Iterator[Figure]:
        """What dominates: the dearest kinds of inputs, as shares of all that steps and carrying out their effects took."""
        steps, total_ns = (sum(each[index] for each in self._found.values()) for index in (0, 1))
        dearest = sorted(self._found.items(), key=lambda item: (-item[1][1], item[0]))[:_DEAREST]
        for kind, (count, took_ns) in dearest:
            beside = f"{100 * count / steps:.1f} % of the events, {took_ns / count / 1e3:.1f} us each"
            yield Figure(f"{name}: {kind}", round(100 * took_ns / total_ns, 1), "per cent of the steps' time", beside)


def _kind(event: Input) -> str:
    if not isinstance(event, MessageReceived):
        return type(event).__name__
    try:
        kind = open_envelope(event.data).type
    except RemoteProtocolError:
        kind = "garbage"
    return f"{kind}, {'by gossip' if event.source is None else 'on a channel'}"


def partition(nodes: int) -> Iterator[Figure]:
    """How long after half an hour of partition everything that was written meanwhile is with all who follow its author.

    Links of 10 Mbit/s a node; handling a message takes no time. Five nodes ask, and so audit.
    """
    settings = [f"nodes={nodes}", f"links.bits_per_s={_PARTITION_BITS_PER_S}", f"workload.askers={_PARTITION_ASKERS}"]
    scenario = Scenario.load("continental-partition").changed(settings)
    healed_us = max(fault.ends_s for fault in scenario.faults) * 1_000_000
    written: dict[bytes, int] = {}
    behind: list[tuple[int, int]] = []
    followers = 0

    def look(world: World) -> None:
        nonlocal followers
        if world.now_us < healed_us or (behind and not behind[-1][1]):
            return
        if not written:
            written.update((host.key, host.core.ledger.chain.next) for host in world.hosts.values())
        held = [
            (chain.next, written[author])
            for host in world.hosts.values()
            for author in host.core.followed.authors()
            if (chain := host.core.followed.get(author)) is not None
        ]
        followers = len(held)
        behind.append((world.now_us, sum(there < whole for there, whole in held)))

    result = running.run(scenario, 1, look, checkers=[], until_ms=healed_us // 1_000 + _PARTITION_SETTLE_MS)
    beside = (
        f"{nodes} nodes, {sum(written.values())} entries, {followers} chains followed, {behind[0][1]} behind when it healed"
    )
    whole_us = next((now_us for now_us, missing in behind if not missing), None)
    if whole_us is None:
        yield Figure("partition, still behind", behind[-1][1], f"chains {_PARTITION_SETTLE_MS // 1_000} s after", beside)
    else:
        yield Figure("partition, all with their followers", (whole_us - healed_us) / 1e6, "s after it healed", beside)
    rate = f"{result.events} events, {result.cpu_s:.0f} CPU-seconds"
    yield Figure("partition, whole protocol", round(result.events / result.cpu_s), "events per CPU-second", rate)


def crowd(nodes: int) -> Iterator[Figure]:
    """What it takes that all nodes join within ten seconds: events, time on one core, and the memory of the whole process."""
    scenario = Scenario.load("baseline").changed([f"nodes={nodes}", f"duration_s={_CROWD_S}", "settle_s=0"])
    begun_s = time.process_time()
    result = running.run(scenario, 1, checkers=[])
    cpu_s = time.process_time() - begun_s
    links = sum(len(host.links) for host in result.world.hosts.values()) / nodes
    yield Figure("crowd, time", round(cpu_s), "CPU-seconds", f"{nodes} nodes join within {_CROWD_S} s; making them counts")
    rate = f"{result.events} events, {links:.1f} channels a node"
    yield Figure("crowd, whole protocol", round(result.events / result.cpu_s), "events per CPU-second", rate)
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield Figure("crowd, memory", round(memory_kb / 1_000_000 * 1.024, 2), "GB at most", f"{memory_kb / nodes:.0f} KiB a node")


def _cores() -> Iterator[Figure]:
    parameters = preset("dev")
    mapped = RequirementMap(parameters)
    own = Record(0, {"arith": 900}, "m", 0, "", "", 0, 400, 4, available=True, addresses=())
    gc.collect()
    tracemalloc.start()
    cores = [
        Core(KeySigner(number.to_bytes(32, "big")), parameters, own, Stream(number, "entropy").bytes, (), mapped)
        for number in range(_CORES)
    ]
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    yield Figure("idle core", round(size / len(cores) / 1_000, 1), "kB", f"mean of {_CORES}")


def _bare(nodes: int) -> Figure:
    """The queue alone: an event for each of so many nodes, each of which causes the next one."""
    queue, guard, draws, event = Queue(), Guard(), Draws(1, "bare"), TimerFired()
    for node in range(nodes):
        queue.push(draws.below(1_000_000), (node, node, 0, event, guard))
    begun_s, done = time.process_time(), 0
    while done < _BARE_EVENTS:
        now_us = queue.next_us()
        assert now_us is not None
        for node, _, sequence, _, _ in queue.pop():
            done += 1
            queue.push(now_us + 1 + draws.below(1_000_000), (node, node, sequence + 1, event, guard))
    rate = round(done / (time.process_time() - begun_s))
    return Figure("bare engine", rate, "events per CPU-second", f"a queue of {nodes} events and no protocol")


def _gossip() -> Iterator[Figure]:
    overlay, draws = Overlay(1), Draws(1, "overlay")
    for _ in range(_OVERLAY):
        overlay.add(0)
    linked: set[tuple[int, int]] = set()
    for one in range(_OVERLAY):
        for _ in range(_CONNECTIONS // 2):
            pair = tuple(sorted((one, draws.below(_OVERLAY))))
            if pair[0] != pair[1] and pair not in linked:
                linked.add((pair[0], pair[1]))
                overlay.connect(*pair)
    latency_us = 40_000
    ratios, copies, heard = [], 0, 0
    for source in range(_MESSAGES):
        spread = overlay.spread("records", source, 0, [[(latency_us, latency_us // 10, 0)]])
        bound = sorted(_shortest(overlay, source, latency_us))
        ratios.append(float(np.quantile(spread.arrivals_us, 0.99)) / bound[len(bound) * 99 // 100])
        copies += spread.copies
    yield Figure(
        "gossip, p99 of delivery", round(max(ratios), 3), "times the shortest way", f"the worst of {_MESSAGES} messages"
    )
    yield Figure("gossip, copies", round(copies / _MESSAGES / _OVERLAY, 2), "a node and message", f"{_OVERLAY} nodes")
    for source in range(_MESSAGES):
        # A minute later each, so that no ration ends.
        lossy = overlay.spread("beacons", source, 60_000_000 * source, [[(latency_us, latency_us // 10, 50)]])
        heard += len(lossy.hosts)
    share = heard / _MESSAGES / (_OVERLAY - 1)
    yield Figure("gossip, delivered with 5 % loss", round(100 * share, 3), "per cent", "what is lost is pulled")


def _shortest(overlay: Overlay, source: int, latency_us: int) -> list[int]:
    """The least that any spreading over the same edges can take to each node (Dijkstra 1959)."""
    times, queue = {source: 0}, [(0, source)]
    while queue:
        time_us, node = heapq.heappop(queue)
        for other in overlay.edges_of(node, first=node == source) if time_us == times[node] else ():
            if time_us + latency_us < times.get(other, 1 << 62):
                times[other] = time_us + latency_us
                heapq.heappush(queue, (times[other], other))
    return list(times.values())


def lines(found: Sequence[Figure]) -> list[str]:
    """For a person."""
    return [f"{each.name:34} {each.value:>12,} {each.unit}  ({each.beside})" for each in found]
