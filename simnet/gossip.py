"""Gossip, as a model: who gets a message and when, over an overlay like the one that the daemons' meshes make.

The model has the daemon's parameters (node/libp2p_mesh.py): a mesh of degree 6, between 4 and 12; what a node publishes goes to
all its connections, what it passes on to its mesh; once a second it tells 6 others what it has, and they pull what they miss.
It is no simulation of GossipSub: a message spreads over the overlay as it is at the moment of publishing, and GRAFT, PRUNE
and scores do not exist. What a node passes on is rationed as the daemon's gate does it (protocol/gossip.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.constants import RELAY_MS, RELAYS_BURST
from simnet.draws import Draws
from simnet.links import Rule

DEGREE: Final = 6
DEGREE_LOW: Final = 4
DEGREE_HIGH: Final = 12
LAZY: Final = 6
HEARTBEAT_US: Final = 1_000_000
# Heartbeats for which a message is told of.
WINDOW: Final = 3
# From the last byte of a message at a node to the first that it passes on: validation and its queues, measured on a quiet
# loopback. On two cores that were full of other work it was 11 to 17 ms (contrib/bench/calibration.py).
HOP_US: Final = 1_500

_NEVER: Final = np.iinfo(np.int64).max // 4
_Ints = NDArray[np.int64]
_Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Spread:
    """What became of one message: by host the time of its arrival, and how many copies went over the wire in all."""

    hosts: _Ints
    arrivals_us: _Ints
    copies: int


class Overlay:
    """The meshes of all hosts, by index. Both ends of an edge agree on it."""

    def __init__(self, seed: int, hop_us: int = HOP_US) -> None:
        self._hop_us = hop_us
        self._draws = Draws(seed, "overlay")
        self._noise = np.uint64(self._draws.below(1 << 63))
        self._meshes: list[dict[int, None]] = []
        self._links: list[dict[int, None]] = []
        self._regions: list[int] = []
        self._edges: _Edges | None = None
        # Who may have too few edges, in the order in which it came about.
        self._hungry: dict[int, None] = {}
        self._count = 0
        # Hosts that are down, whose edges stay until the other ends notice.
        self._silent: dict[int, None] = {}
        # By topic and host: when the ration of authors without a channel is full again.
        self._full_at_ms: dict[str, _Ints] = {}

    def add(self, region: int) -> None:
        """One more host."""
        self._meshes.append({})
        self._links.append({})
        self._regions.append(region)
        self._edges = None

    def connect(self, one: int, other: int) -> None:
        """Two hosts have a channel now: an edge of the mesh if both want more. Who has too few looks again at a heartbeat."""
        self._links[one][other] = self._links[other][one] = None
        if max(len(self._meshes[one]), len(self._meshes[other])) < DEGREE:
            self._graft(one, other)
        for host in (one, other):
            if len(self._meshes[host]) < DEGREE_LOW:
                self._hungry[host] = None

    def disconnect(self, one: int, other: int) -> None:
        """The channel ended."""
        del self._links[one][other], self._links[other][one]
        if other in self._meshes[one]:
            del self._meshes[one][other], self._meshes[other][one]
            self._edges = None
            self._hungry |= dict.fromkeys((one, other))

    def silence(self, host: int, *, silent: bool = True) -> None:
        """A host takes nothing any more, or does again; its edges stay."""
        if silent:
            self._silent[host] = None
        else:
            self._silent.pop(host, None)

    def _graft(self, one: int, other: int) -> None:
        self._meshes[one][other] = self._meshes[other][one] = None
        self._edges = None

    def _feed(self) -> None:
        """Let those with too few edges graft connections, by lot, those first that have few as well."""
        hungry, self._hungry = self._hungry, {}
        for host in hungry:
            mesh = self._meshes[host]
            if len(mesh) >= DEGREE_LOW:
                continue
            others = [other for other in self._links[host] if other not in mesh and len(self._meshes[other]) < DEGREE_HIGH]
            others.sort(key=lambda other: (len(self._meshes[other]) >= DEGREE, self._draws.below(1 << 32)))
            for other in others[: DEGREE - len(mesh)]:
                self._graft(host, other)

    def edges_of(self, host: int, *, first: bool) -> list[int]:
        """Where a host sends a message: its mesh, or all its connections if it is the `first` to have it."""
        return list(self._links[host] if first else self._meshes[host])

    def degree(self, host: int) -> int:
        """How many edges of the mesh a host has, 1 if none: somebody sends to it."""
        return max(1, len(self._meshes[host]))

    # --- Spreading

    def spread(
        self,
        topic: str,
        source: int,
        now_us: int,
        links: Sequence[Sequence[tuple[int, int, int]]],
        rules: Sequence[Rule] = (),
    ) -> Spread:
        """Let `source` publish at `now_us`. `links` has for each pair of regions latency, jitter and loss of a hop."""
        if not self._links[source]:
            return Spread(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
        self._feed()
        edges = self._edges or self._rebuilt(links)
        self._count += 1
        size = len(self._meshes)
        arrivals = np.full(size, _NEVER, np.int64)
        arrivals[source] = now_us
        known = np.fromiter(self._links[source], np.int64, len(self._links[source]))
        closed = self._spend(topic, source, known, now_us)
        # Each hop of each message is drawn anew, whatever came before.
        costs, lost = edges.drawn(np.uint64(self._count) ^ self._noise, rules)
        costs = np.where(lost | closed[edges.targets], _NEVER, costs)
        first, first_lost = self._first(source, known, links, rules)
        first_lost |= closed[known]
        arrivals[known[~first_lost]] = now_us + first[~first_lost]
        arrivals = edges.relaxed(arrivals, costs)
        arrivals = self._pulled(arrivals, edges, costs, closed, rules)
        arrivals[source] = _NEVER
        hosts = np.flatnonzero(arrivals < _NEVER)
        copies = len(known) + int(np.count_nonzero(arrivals[edges.sources] < _NEVER)) - len(hosts)
        return Spread(hosts, arrivals[hosts], copies)

    def _first(
        self, source: int, known: _Ints, links: Sequence[Sequence[tuple[int, int, int]]], rules: Sequence[Rule]
    ) -> tuple[_Ints, NDArray[np.bool_]]:
        """Delay and loss of the hops from the publisher to its connections."""
        hop = _Edges(np.full(len(known), source, np.int64), known, self._regions, links, self._hop_us, size=0)
        return hop.drawn(np.uint64(self._count) ^ ~self._noise, rules)

    def _spend(self, topic: str, source: int, known: _Ints, now_us: int) -> NDArray[np.bool_]:
        """Who passes nothing more on of authors without a channel, this one among them; a ration is taken of all others."""
        full_at_ms = self._full_at_ms.get(topic)
        if full_at_ms is None or len(full_at_ms) < len(self._meshes):
            grown = np.zeros(len(self._meshes), np.int64)
            if full_at_ms is not None:
                grown[: len(full_at_ms)] = full_at_ms
            full_at_ms = self._full_at_ms[topic] = grown
        now_ms = now_us // 1_000
        after = np.maximum(full_at_ms, now_ms) + RELAY_MS
        closed = after > now_ms + RELAYS_BURST * RELAY_MS
        closed[known] = closed[source] = False
        if self._silent:
            closed[np.fromiter(self._silent, np.int64, len(self._silent))] = True
        spent = ~closed
        spent[known] = spent[source] = False
        full_at_ms[spent] = after[spent]
        return closed

    def _pulled(self, arrivals: _Ints, edges: _Edges, costs: _Ints, closed: NDArray[np.bool_], rules: Sequence[Rule]) -> _Ints:
        """What no copy reached is pulled: at each of a few heartbeats some connections tell that they have it."""
        for beat in range(1, WINDOW + 1):
            missing = [host for host in np.flatnonzero((arrivals >= _NEVER) & ~closed).tolist() if self._links[host]]
            if not missing:
                return arrivals
            found = np.full(len(arrivals), _NEVER, np.int64)
            for host in missing:
                for other in self._tellers(host):
                    if arrivals[other] < _NEVER and not _blocked(rules, host, other):
                        told_us = (int(arrivals[other]) // HEARTBEAT_US + beat) * HEARTBEAT_US + self._draws.below(HEARTBEAT_US)
                        # Told, asked for, sent.
                        found[host] = min(found[host], told_us + 3 * (edges.latency(other, host) + self._hop_us))
            arrivals = edges.relaxed(np.minimum(arrivals, found), costs)
        return arrivals

    def _tellers(self, host: int) -> list[int]:
        """Connections outside the mesh that tell `host` what they have at this heartbeat, as many as do so in the mean."""
        others = [other for other in self._links[host] if other not in self._meshes[host]] or list(self._links[host])
        return [others.pop(self._draws.below(len(others))) for _ in range(min(LAZY, len(others)))]

    def _rebuilt(self, links: Sequence[Sequence[tuple[int, int, int]]]) -> _Edges:
        pairs = [(source, target) for target, mesh in enumerate(self._meshes) for source in mesh]
        sources = np.fromiter((pair[0] for pair in pairs), np.int64, len(pairs))
        targets = np.fromiter((pair[1] for pair in pairs), np.int64, len(pairs))
        self._edges = _Edges(sources, targets, self._regions, links, self._hop_us, size=len(self._meshes))
        return self._edges


def _blocked(rules: Sequence[Rule], one: int, other: int) -> bool:
    return any(rule.block and (rule.holds(one, other) or rule.holds(other, one)) for rule in rules)


class _Edges:
    """The hops of an overlay, by target: whence, whither, and what each takes."""

    def __init__(
        self,
        sources: _Ints,
        targets: _Ints,
        regions: Sequence[int],
        links: Sequence[Sequence[tuple[int, int, int]]],
        hop_us: int,
        size: int,
    ) -> None:
        self._hop_us = hop_us
        self.sources, self.targets = sources, targets
        of = np.array(regions, np.int64)
        table = np.array(links, np.int64)
        self._ways = table[of[sources], of[targets]]
        self._regions, self._table = of, table
        self._noise = _mixed((sources.astype(np.uint64) << np.uint64(32)) ^ targets.astype(np.uint64))
        # Where the hops of each target begin, for targets that have some.
        counts = np.bincount(targets, minlength=size) if size else np.zeros(0, np.int64)
        self._reached = np.flatnonzero(counts)
        self._starts = np.concatenate(([0], np.cumsum(counts[self._reached])[:-1])) if len(self._reached) else None

    def latency(self, source: int, target: int) -> int:
        """One hop, without jitter, in microseconds."""
        return int(self._table[self._regions[source], self._regions[target], 0])

    def drawn(self, message: np.uint64, rules: Sequence[Rule]) -> tuple[_Ints, NDArray[np.bool_]]:
        """What each hop of one message takes, and whether it is lost."""
        draws = _mixed(self._noise ^ message)
        latency, jitter, loss = self._ways[:, 0], self._ways[:, 1], self._ways[:, 2]
        for rule in rules:
            hit = np.ones(len(self.sources), bool)
            if rule.sources is not None:
                hit &= np.isin(self.sources, list(rule.sources))
            if rule.targets is not None:
                hit &= np.isin(self.targets, list(rule.targets))
            latency = latency + rule.delay_us * hit
            loss = np.where(hit, 1_000 if rule.block else np.minimum(1_000, loss + rule.loss_permille), loss)
        jitters = (draws >> np.uint64(32)).astype(np.int64) * (jitter + 1) >> 32
        lost = (draws & np.uint64(0xFFFFFFFF)).astype(np.int64) * 1_000 >> 32 < loss
        return latency + jitters + self._hop_us, lost

    def relaxed(self, arrivals: _Ints, costs: _Ints) -> _Ints:
        """The earliest arrivals that follow over hops of these costs: shortest paths, by rounds until nothing changes."""
        if self._starts is None:
            return arrivals
        while True:
            over = np.minimum.reduceat(arrivals[self.sources] + costs, self._starts)
            better = over < arrivals[self._reached]
            if not better.any():
                return arrivals
            arrivals = arrivals.copy()
            arrivals[self._reached[better]] = over[better]


def _mixed(state: _Words) -> _Words:
    """SplitMix64's finaliser, as in simnet/draws.py, of many states at once."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)
