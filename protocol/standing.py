"""What a requester knows of those who could answer: their evidence, and who rests (specs/07-beacon.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from protocol.constants import REST_MS
from protocol.evidence import Counts
from protocol.outbox import Outbox
from protocol.task import Task


class Candidates(Protocol):
    """Who could answer a question of a skill: connected peers that offer it, and this node itself."""

    def __call__(self, skill: str) -> list[bytes]:
        """Public keys, sorted."""
        ...


class Standing:
    """Evidence about candidates by skill, their clusters, and who is left alone for a while."""

    def __init__(
        self,
        outbox: Outbox,
        counts: Callable[[bytes, str, int], Counts],
        imported: Callable[[bytes, str, int], Counts],
        clusters: Callable[[], Mapping[bytes, int]],
        candidates: Candidates,
    ) -> None:
        self.candidates = candidates
        self.clusters = clusters
        self._outbox = outbox
        self._counts = counts
        self._imported = imported
        self._resting_until_ms: dict[bytes, int] = {}

    def counts(self, peer: bytes, skill: str) -> Counts:
        """What is known now of `peer` in `skill`; for a general question, of all skills together."""
        return self._counts(peer, skill, self._outbox.now.wall_ms)

    def imported(self, peer: bytes, skill: str) -> Counts:
        """What of that others' audits add."""
        return self._imported(peer, skill, self._outbox.now.wall_ms)

    def weighs(self, peer: bytes, task: Task) -> bool:
        """Whether `peer` earned a weight in what the task needs."""
        return self.counts(peer, task.requirement.skill).earns(task.options)

    def rests(self, peer: bytes) -> bool:
        """Whether `peer` is left alone now."""
        return self._resting_until_ms.get(peer, 0) > self._outbox.now.mono_ms

    def rest(self, peer: bytes) -> None:
        """Leave alone for a while who let a lease run out: the next question would wait for it as long."""
        now_ms = self._outbox.now.mono_ms
        self._resting_until_ms = {other: until for other, until in self._resting_until_ms.items() if until > now_ms}
        self._resting_until_ms[peer] = now_ms + REST_MS

    def has_other(self, peer: bytes, task: Task) -> bool:
        """Whether somebody else who earned a weight could answer."""
        others = (other for other in self.candidates(task.requirement.skill) if other != peer and not self.rests(other))
        return any(self.weighs(other, task) for other in others)
