"""Keeping the course of a run for a report while it goes: an observer that decides nothing, and costs little.

Series have a bounded number of moments, columns a bounded number of rows; beyond that each second, third ... row is kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from protocol.capability import GENERAL
from protocol.events import Effect, Infer, Send
from protocol.evidence import Counts
from protocol.outbox import TOPICS
from simnet.adversaries import AuditSpotter, Colluder
from simnet.gossip import Spread
from simnet.host import Host
from simnet.record import (
    BELIEF_MOMENTS_MAX,
    BELIEFS_MAX,
    EDGES_MAX,
    MOMENTS_MAX,
    NODES_MAX,
    QUESTIONS_MAX,
    Belief,
    Delivery,
    Kind,
    Moments,
    Nodes,
    Questions,
    Record,
    Topology,
)
from simnet.scenario import Scenario
from simnet.solvers import KINDS
from simnet.world import WALL_MS, World

if TYPE_CHECKING:
    from simnet.course import Asked

_MS: Final = 1_000
# Quarter octaves from a millisecond to some minutes.
BOUNDS_US: Final = tuple(round(1_000 * 2 ** (step / 4)) for step in range(73))
# Whose beliefs are looked at, and of how many nodes of each kind: all pairs of a large network would be a run of their own.
_ASKERS: Final = 6
_BELIEVED: Final = 10
_WEIGHT_ONE: Final = 1 << 16


def spread_out(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly."""
    return list(items[:: max(1, -(-len(items) // most))])


def jain(loads: Sequence[int]) -> int | None:
    """Jain's fairness index in thousandths (Jain, Chiu, Hawe 1984): 1000 if all loads are equal, 1000 / n if one has all."""
    squares = sum(load * load for load in loads)
    return 1_000 * sum(loads) ** 2 // (len(loads) * squares) if squares else None


class Recorder:
    """Watches a world from before its first event to its end."""

    def __init__(self, scenario: Scenario, world: World, hosts: Sequence[Host], honest: Sequence[Host]) -> None:
        self._scenario = scenario
        self._world = world
        self._hosts = hosts
        self._honest = honest
        honests = {host.index for host in honest}
        labels = [host.name.rpartition("-")[0] for host in hosts]
        bad = dict(zip(labels, (host.index not in honests for host in hosts), strict=True))
        self._labels = sorted(bad, key=lambda label: (bad[label], label))
        self._kinds = tuple(Kind(name=label, adversary=bad[label]) for label in self._labels)
        self._kind_of = [self._labels.index(label) for label in labels]
        self._inferences, self._sent = [0] * len(hosts), [0] * len(hosts)
        self._messages = self._message_bytes = self._inferred = 0
        self._published, self._reached, self._missed = (Counter[str]() for _ in range(3))
        self._bins = {topic: np.zeros(len(BOUNDS_US) + 1, np.int64) for topic in TOPICS}
        self._bounds = np.array(BOUNDS_US, np.int64)
        total_us = 1_000_000 * (scenario.duration_s + scenario.settle_s)
        self._each_us = -(-total_us // (MOMENTS_MAX - 1))
        self._next_us = 0
        self._moments: dict[str, list[int]] = {name: [] for name in Moments.model_fields}
        self._before: Counter[str] = Counter()
        self._believed_each = -(-MOMENTS_MAX // (BELIEF_MOMENTS_MAX - 1))
        self._pairs = self._paired()
        self._beliefs: dict[tuple[int, str], dict[str, list[int | None]]] = {
            pair: {name: [] for name in ("at_ms", "mean", "low", "high", "truth", "pairs")} for pair in self._pairs
        }
        self._topology_us = _middle_us(scenario)
        self._topology: tuple[Topology, list[bool], list[int]] | None = None

    def _paired(self) -> dict[tuple[int, str], list[Host]]:
        """Some nodes of each kind, by the skills that they offer."""
        found: dict[tuple[int, str], list[Host]] = {}
        for kind in range(len(self._labels)):
            members = [host for host in self._hosts if self._kind_of[host.index] == kind]
            for skill in sorted({skill for host in members for skill in host.record.skills} - {GENERAL}):
                found[kind, skill] = spread_out([host for host in members if skill in host.record.skills], _BELIEVED)
        return dict(list(found.items())[:BELIEFS_MAX])

    # --- While it runs

    def on_effect(self, host: Host, effect: Effect) -> None:
        """A node wants something done."""
        if type(effect) is Send:
            size = len(effect.data)
            self._messages += 1
            self._message_bytes += size
            self._sent[host.index] += size
        elif type(effect) is Infer:
            self._inferred += 1
            self._inferences[host.index] += 1

    def on_spread(self, topic: str, spread: Spread) -> None:
        """Something was published."""
        delays = spread.arrivals_us - self._world.now_us
        self._bins[topic] += np.bincount(np.searchsorted(self._bounds, delays), minlength=len(BOUNDS_US) + 1)
        reached = len(delays)
        self._published[topic] += 1
        self._reached[topic] += reached
        self._missed[topic] += max(0, len(self._hosts) - self._world.down - 1 - reached)

    def look(self, world: World) -> None:
        """Time has passed."""
        if self._topology is None and world.now_us >= self._topology_us:
            self._topology = self._mesh()
        if world.now_us >= self._next_us:
            self._next_us = world.now_us - world.now_us % self._each_us + self._each_us
            self._sample()

    def _sample(self) -> None:
        now_ms = self._world.now_us // _MS
        series = self._moments
        if series["at_ms"] and series["at_ms"][-1] >= now_ms:
            return
        sums = Counter(
            messages=self._messages,
            message_bytes=self._message_bytes,
            inferences=self._inferred,
            published=self._published.total(),
            gossip_reached=self._reached.total(),
            gossip_missed=self._missed.total(),
        )
        series["at_ms"].append(now_ms)
        series["up"].append(len(self._hosts) - self._world.down)
        series["channels"].append(sum(len(host.links) for host in self._hosts) // 2)
        for name, value in sums.items():
            series[name].append(value - self._before[name])
        self._before = sums
        if len(series["at_ms"]) % self._believed_each == 1:
            self._believe(now_ms)

    def _believe(self, now_ms: int) -> None:
        askers = [host for host in spread_out(self._honest[: self._scenario.workload.askers], _ASKERS) if host.up]
        skills = self._world.parameters.skills
        for (kind, skill), members in self._pairs.items():
            found = []
            for asker in askers:
                wall_ms = WALL_MS + now_ms + asker.skew_ms
                for member in members:
                    counts = asker.core.counts(member.key, skill, wall_ms) if member is not asker else Counts()
                    if counts.any:
                        found.append((counts.mean(skills[skill].options) * 1_000 // _WEIGHT_ONE, _truth(member, skill)))
            means, truths = sorted(mean for mean, _ in found), [truth for _, truth in found]
            count = len(found)
            row = (
                now_ms,
                sum(means) // count if found else None,
                means[count // 10] if found else None,
                means[count - 1 - count // 10] if found else None,
                sum(truths) // count if found else None,
                count,
            )
            for name, value in zip(self._beliefs[kind, skill], row, strict=True):
                self._beliefs[kind, skill][name].append(value)

    def _mesh(self) -> tuple[Topology, list[bool], list[int]]:
        kept = spread_out(self._hosts, NODES_MAX)
        places = {host.index: place for place, host in enumerate(kept)}
        edges = [
            (place, places[other])
            for place, host in enumerate(kept)
            for other in self._world.mesh_of(host)
            if place < places.get(other, -1)
        ][:EDGES_MAX]
        ends: tuple[tuple[int, ...], ...] = tuple(zip(*edges, strict=True)) or ((), ())
        topology = Topology(at_ms=self._world.now_us // _MS, one=ends[0], other=ends[1])
        return topology, [host.up for host in kept], [len(host.links) for host in kept]

    # --- At the end

    def record(self, asked: Sequence[Asked]) -> Record:
        """What was kept; `asked` are the questions of the run (simnet/running.py)."""
        self._sample()
        topology, up, channels = self._topology or self._mesh()
        answers, votes = self._votes(asked)
        kept = spread_out(self._hosts, NODES_MAX)
        places = [host.index for host in kept]
        return Record(
            scenario=self._scenario,
            regions=tuple(sorted(self._scenario.links.regions)),
            kinds=self._kinds,
            nodes=Nodes(
                step=max(1, -(-len(self._hosts) // NODES_MAX)),
                name=tuple(host.name for host in kept),
                region=tuple(host.region for host in kept),
                kind=tuple(self._kind_of[place] for place in places),
                reachable=tuple(host.reachable for host in kept),
                up=tuple(up),
                channels=tuple(channels),
                inferences=tuple(self._inferences[place] for place in places),
                answers=tuple(answers[place] for place in places),
                sent_bytes=tuple(self._sent[place] for place in places),
            ),
            fairness=jain([self._inferences[host.index] for host in self._honest]),
            topology=topology,
            moments=Moments(**{name: tuple(column) for name, column in self._moments.items()}),
            gossip_bounds_us=BOUNDS_US,
            gossip=tuple(
                Delivery(
                    topic=topic,
                    published=self._published[topic],
                    reached=self._reached[topic],
                    missed=self._missed[topic],
                    counts=tuple(self._bins[topic].tolist()),
                )
                for topic in TOPICS
            ),
            questions=_questions(asked),
            beliefs=tuple(self._told(votes)),
        )

    def _votes(self, asked: Sequence[Asked]) -> tuple[Counter[int], dict[tuple[int, str], list[bool]]]:
        """How often each node answered a question, and of each kind and skill whether that was right."""
        answers, votes = Counter[int](), defaultdict[tuple[int, str], list[bool]](list)
        for each in asked:
            for seat in each.outcome.seats if each.outcome is not None else ():
                if seat.answer is not None:
                    index = self._world.hosts[seat.peer].index
                    answers[index] += 1
                    votes[self._kind_of[index], each.exercise.skill].append(seat.answer == each.exercise.gold)
        return answers, votes

    def _told(self, votes: dict[tuple[int, str], list[bool]]) -> Iterator[Belief]:
        askers = len(spread_out(self._honest[: self._scenario.workload.askers], _ASKERS))
        for (kind, skill), columns in self._beliefs.items():
            found = votes.get((kind, skill), [])
            yield Belief(
                kind=kind,
                skill=skill,
                **{name: tuple(column) for name, column in columns.items()},  # type: ignore[arg-type]
                pairs_all=askers * len(self._pairs[kind, skill]),
                answered=len(found),
                right=sum(found),
            )


def _middle_us(scenario: Scenario) -> int:
    """The moment whose topology tells most: the middle of the first fault, or the end of what disturbs."""
    first = min(scenario.faults, key=lambda fault: fault.at_s, default=None)
    return 1_000_000 * scenario.duration_s - 1 if first is None else 500_000 * (first.at_s + first.ends_s)


def _truth(host: Host, skill: str) -> int:
    """How often a node's solver is right by its construction, in thousandths, on what it is asked in questions."""
    kind = KINDS["generalist" if isinstance(host, Colluder) else host.record.model]
    share = 0 if kind.lies else kind.skills.get(skill, 0)
    if isinstance(host, Colluder | AuditSpotter) and host.begun:
        return share * (1_000 - host.lie_permille) // 1_000
    return share


def _questions(asked: Sequence[Asked]) -> Questions:
    kept = spread_out(asked, QUESTIONS_MAX)
    rows = []
    for each in kept:
        outcome = each.outcome
        if outcome is None:
            rows.append((each.at_ms, each.exercise.skill, "lost", False, None, None, 0))
            continue
        margin = outcome.tally.margin if outcome.tally is not None and outcome.tally.answer is not None else None
        right = outcome.answer == each.exercise.gold
        rows.append((each.at_ms, each.exercise.skill, outcome.kind.value, right, outcome.latency_ms, margin, outcome.messages))
    columns = tuple(zip(*rows, strict=True)) or ((),) * 7
    names = [name for name in Questions.model_fields if name != "step"]
    step = max(1, -(-len(asked) // QUESTIONS_MAX))
    return Questions(step=step, **dict(zip(names, columns, strict=True)))
