"""Links between hosts: how long bytes take, and what becomes of them on the way. Times are integer microseconds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from simnet.queue import Guard


@dataclass(frozen=True, slots=True)
class Link:
    """What holds between two regions, one way. Of gossip `loss_permille` of the hops are lost; a channel sends again instead.

    `bits_per_s` is what one host may send in all, 0 for no bound.
    """

    latency_us: int = 1_000
    jitter_us: int = 500
    loss_permille: int = 0
    bits_per_s: int = 0


class Connection(Guard):
    """A channel between two hosts, by their indices: it keeps order, and loses nothing while it is open.

    `last_us` is when the latest message of either end arrives.
    """

    __slots__ = ("ends", "last_us", "stalled_us")

    def __init__(self, one: int, other: int) -> None:
        super().__init__()
        self.ends = (one, other)
        self.last_us = [0, 0]
        # Since when nothing passes, None while something does.
        self.stalled_us: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault on all links from one of `sources` to one of `targets`, one way; hosts are named by index, None is everybody.

    `block` keeps everything back, and a channel that it blocks for long dies as one over dead TCP does, unless it is `patient`.
    Else `delay_us` is added, `loss_permille` more of the hops are lost, and `twice_permille` of what arrives does so again, up
    to `late_us` later.
    """

    sources: Collection[int] | None = None
    targets: Collection[int] | None = None
    block: bool = False
    patient: bool = False
    delay_us: int = 0
    loss_permille: int = 0
    twice_permille: int = 0
    late_us: int = 0

    def holds(self, source: int, target: int) -> bool:
        """Whether it is about this link, in this direction."""
        return (self.sources is None or source in self.sources) and (self.targets is None or target in self.targets)
