"""The events that are to come, by time: a bucket for each microsecond, and a heap of the buckets' times.

Within a bucket events stand by (destination, source, sequence of the source), so their order never depends on how or when
they were put in. Measured against one heap of all events it is twice as fast.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from protocol.events import Input

if TYPE_CHECKING:
    from simnet.links import Connection


class Guard:
    """Whether what was to come may still come: a connection, an incarnation of a host, or a piece of work that was begun."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True


class Own:
    """What happens in the world without a core being told."""

    __slots__ = ()


class Burst(Own):
    """What one host writes on one channel at one time: it travels together, and arrives with its last byte.

    `source` and `target` are hosts by index.
    """

    __slots__ = ("connection", "data", "size", "source", "target")

    def __init__(self, connection: Connection, source: int, target: int) -> None:
        self.connection, self.source, self.target = connection, source, target
        self.data: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """One more message."""
        self.data.append(data)
        self.size += len(data)


class Dialled(Own):
    """A dial comes through, if its target is still there."""

    __slots__ = ("effect", "target")

    def __init__(self, target: bytes, effect: int) -> None:
        self.target, self.effect = target, effect


class Dead(Own):
    """A channel is given up, if nothing has passed since."""

    __slots__ = ("connection", "since_us")

    def __init__(self, connection: Connection, since_us: int) -> None:
        self.connection, self.since_us = connection, since_us


class Mourned(Own):
    """The news that the other end of a channel is gone."""

    __slots__ = ("connection", "peer")

    def __init__(self, peer: bytes, connection: Connection) -> None:
        self.peer, self.connection = peer, connection


class Broken(Own):
    """A crash that was to strike within a step strikes now, if there was no such step."""

    __slots__ = ()


class Visit(Own):
    """A host goes to the directory: to look up a skill, or to announce itself if there is none."""

    __slots__ = ("skill",)

    def __init__(self, skill: str | None) -> None:
        self.skill = skill


class Computed(Own):
    """A host has computed what an input takes, which its core sees now."""

    __slots__ = ("event",)

    def __init__(self, event: Input) -> None:
        self.event = event


class Rejoin(Own):
    """A host without peers tries its bootstrap nodes again."""

    __slots__ = ()


# Destination, source, sequence of the source: no two are alike, so nothing behind them is ever compared.
Item = tuple[int, int, int, Input | Own, Guard]


class Queue:
    """A priority queue of items by integer time in microseconds."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[Item]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def push(self, time_us: int, item: Item) -> None:
        """Put in one event."""
        bucket = self._buckets.get(time_us)
        if bucket is None:
            self._buckets[time_us] = [item]
            heappush(self._times, time_us)
        else:
            bucket.append(item)

    def next_us(self) -> int | None:
        """The time of the next event, None if there is none."""
        return self._times[0] if self._times else None

    def pop(self) -> list[Item]:
        """All events of the next time, in order; raises `IndexError` if there are none."""
        bucket = self._buckets.pop(heappop(self._times))
        if len(bucket) > 1:
            bucket.sort()
        return bucket
