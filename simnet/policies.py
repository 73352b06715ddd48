"""How other networks choose executors and count votes, to compare with; floats and state are theirs, not the protocol's.

Each has `allocate` and `vote` with the signatures of `protocol.allocation.allocate` and `protocol.vote.tally`. No node uses
them. Symphony: arXiv 2508.20019. Symphony-Coord: arXiv 2602.00966.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from protocol.allocation import Assignment, ReceivedBid, View, allocate
from protocol.constants import WEIGHT_ONE
from protocol.vote import Tally, Vote, tally

# A capability or a requirement: how much of each skill.
Vector: TypeAlias = Mapping[str, float]
# What a bidder declares itself to be when it hears a beacon. Nobody checks it, so it may be another thing each time.
Declared: TypeAlias = Callable[[bytes, bytes], Vector]
# What a beacon asks for.
Required: TypeAlias = Callable[[bytes], Vector]


@dataclass(frozen=True, slots=True)
class Finished:
    """One executor's part in a finished task: whether it answered, whether with the answer that won, and its latency."""

    peer: bytes
    answered: bool
    agrees: bool
    latency_ms: int


class Policy(Protocol):
    """A way to choose executors and to count their votes."""

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:
        """See `protocol.allocation.allocate`."""
        ...

    def vote(self, task: bytes, votes: Sequence[Vote]) -> Tally:
        """See `protocol.vote.tally`. A task's id is the first half of its beacon's here."""
        ...

    def learn(self, beacon: bytes, finished: Sequence[Finished]) -> None:
        """Hear how a task of which it chose the executors ended."""
        ...


class Tutti:
    """What this protocol does: seats and weights by earned evidence."""

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:
        """See Policy."""
        return allocate(beacon, seats, bids, view)

    def vote(self, task: bytes, votes: Sequence[Vote]) -> Tally:
        """See Policy."""
        return tally(task, votes)

    def learn(self, beacon: bytes, finished: Sequence[Finished]) -> None:
        """It learns from audits alone."""


class Random:
    """Seats by lot, every vote counts one."""

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:  # noqa: ARG002
        """See Policy; the lot is a hash, so that a run can be repeated."""
        return _assignment(sorted(_one_each(bids), key=lambda bid: _lot(beacon, bid.bidder)), seats)

    def vote(self, task: bytes, votes: Sequence[Vote]) -> Tally:
        """See Policy."""
        return plurality(task, votes)

    def learn(self, beacon: bytes, finished: Sequence[Finished]) -> None:
        """It learns nothing."""


class RoundRobin(Random):
    """Seats in turn, in the order of keys, every vote counts one."""

    def __init__(self) -> None:
        self._last = b""

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:  # noqa: ARG002
        """See Policy; goes on behind whoever had the last seat."""
        ordered = sorted(_one_each(bids), key=lambda bid: (bid.bidder <= self._last, bid.bidder))
        if ordered[:seats]:
            self._last = ordered[:seats][-1].bidder
        return _assignment(ordered, seats)


class Ranked(Random):
    """Seats by a fixed order of peers, every vote counts one: what somebody would do who knew more than a policy can."""

    def __init__(self, rank: Callable[[bytes, bytes], int]) -> None:
        self._rank = rank

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:  # noqa: ARG002
        """See Policy; `rank` is of a bidder for a beacon, the lowest first."""
        return _assignment(sorted(_one_each(bids), key=lambda bid: (self._rank(bid.bidder, beacon), bid.bidder)), seats)


class Symphony:
    """Seats to the best match of self-declared and required vectors; a chain's vote weighs the mean score of its executors.

    Here a chain has one step and so one executor, and as many chains as seats vote.
    """

    def __init__(self, declared: Declared, required: Required) -> None:
        self._declared = declared
        self._required = required
        # By task: several are under way at once.
        self._scores: dict[bytes, dict[bytes, float]] = {}

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:  # noqa: ARG002
        """See Policy; equals by lot."""
        asked = self._required(beacon)
        scores = {bid.bidder: cosine(self._declared(bid.bidder, beacon), asked) for bid in bids}
        self._scores[_task(beacon)] = scores
        return _assignment(sorted(_one_each(bids), key=lambda bid: (-scores[bid.bidder], _lot(beacon, bid.bidder))), seats)

    def vote(self, task: bytes, votes: Sequence[Vote]) -> Tally:
        """See Policy; `votes` are of those who bid on this task."""
        weights = {vote.peer: chain_weight([self._scores[task][vote.peer]]) for vote in votes}
        return tally(task, [Vote(vote.peer, vote.answer, round(weights[vote.peer] * WEIGHT_ONE)) for vote in votes])

    def learn(self, beacon: bytes, finished: Sequence[Finished]) -> None:  # noqa: ARG002
        """It learns nothing."""
        self._scores.pop(_task(beacon), None)


_PLACES: Final = 9
_LIKENESS, _SUCCESS, _STABILITY = 0.5, 0.35, 0.15
_TOP: Final = 3
_LATENCY_MS: Final = 2_000
_FEATURES: Final = 6
_AGREES, _SLOW = 0.5, 0.2
_ALPHA = _LAMBDA = _S = 1.0
_DELTA: Final = 0.05
# Of a peer of which nothing is known.
_UNKNOWN: Final = 0.5


@dataclass(slots=True)
class _Course:
    """What a peer showed so far."""

    tasks: int = 0
    agreed: int = 0
    latency_ms: float = 0.0

    @property
    def success(self) -> float:
        return self.agreed / self.tasks if self.tasks else _UNKNOWN

    def add(self, each: Finished) -> None:
        self.tasks += 1
        self.agreed += each.agrees
        self.latency_ms += (each.latency_ms - self.latency_ms) / self.tasks


@dataclass(slots=True)
class LinUcb:
    """Linear upper confidence bounds over `_FEATURES` features with ridge `_LAMBDA`."""

    inverse: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(_FEATURES) / _LAMBDA)
    rewards: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FEATURES))
    rounds: int = 0

    @property
    def beta(self) -> float:
        """Alpha sqrt(d ln(1 + t / lambda) + 2 ln(1 / delta)) + sqrt(lambda) S."""
        spread = _FEATURES * math.log(1 + self.rounds / _LAMBDA) + 2 * math.log(1 / _DELTA)
        return _ALPHA * math.sqrt(spread) + math.sqrt(_LAMBDA) * _S

    def bound(self, features: npt.NDArray[np.float64]) -> float:
        """X . theta + beta sqrt(x' A^-1 x)."""
        theta = self.inverse @ self.rewards
        return float(features @ theta + self.beta * math.sqrt(features @ self.inverse @ features))

    def update(self, features: npt.NDArray[np.float64], reward: float) -> None:
        """A += x x', by the formula of Sherman and Morrison for its inverse; b += reward x."""
        moved = self.inverse @ features
        self.inverse = self.inverse - np.outer(moved, moved) / (1 + features @ moved)
        self.rewards = self.rewards + reward * features
        self.rounds += 1


class SymphonyCoord:
    """The three best by likeness, past success and stability, ordered by LinUCB; every vote counts one.

    Success is agreement with the vote. A central orchestrator holds this state; here the requester does.
    """

    def __init__(self, declared: Declared, required: Required) -> None:
        self._declared = declared
        self._required = required
        self._courses: dict[bytes, _Course] = {}
        self._bandit = LinUcb()
        # By task and peer: several tasks are under way at once.
        self._features: dict[bytes, dict[bytes, npt.NDArray[np.float64]]] = {}

    def allocate(self, beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:  # noqa: ARG002
        """See Policy; equals by lot."""
        asked = self._required(beacon)
        scores: dict[bytes, float] = {}
        seen = self._features[_task(beacon)] = {}
        for bid in bids:
            course, load = self._courses.get(bid.bidder, _Course()), min(1.0, bid.bid.queued / bid.bid.slots)
            likeness = (cosine(self._declared(bid.bidder, beacon), asked) + 1) / 2
            slowness = min(1.0, course.latency_ms / _LATENCY_MS)
            scores[bid.bidder] = top_score(likeness, course.success, stability(load, slowness))
            seen[bid.bidder] = features(likeness, load, slowness, course.success)
        ranked = sorted(_one_each(bids), key=lambda bid: (-scores[bid.bidder], _lot(beacon, bid.bidder)))
        best, rest = ranked[: max(_TOP, seats)], ranked[max(_TOP, seats) :]
        best.sort(key=lambda bid: -self._bandit.bound(seen[bid.bidder]))
        return _assignment([*best, *rest], seats)

    def vote(self, task: bytes, votes: Sequence[Vote]) -> Tally:
        """See Policy."""
        return plurality(task, votes)

    def learn(self, beacon: bytes, finished: Sequence[Finished]) -> None:
        """Reward each executor of this beacon's task."""
        seen = self._features.pop(_task(beacon))
        for each in finished:
            self._bandit.update(seen[each.peer], reward(each))
            self._courses.setdefault(each.peer, _Course()).add(each)


def cosine(one: Vector, other: Vector) -> float:
    """Of two vectors; 0 if one is nothing. What differs by rounding alone is equal, or the last bit would choose executors."""
    norms = math.hypot(*one.values()) * math.hypot(*other.values())
    return round(sum(one.get(name, 0.0) * value for name, value in other.items()) / norms, _PLACES) if norms else 0.0


def chain_weight(scores: Sequence[float]) -> float:
    """Symphony: the mean of the scores of a chain's executors."""
    return sum(scores) / len(scores)


def top_score(likeness: float, success: float, steady: float) -> float:
    """Symphony-Coord: what the first choice goes by."""
    return _LIKENESS * likeness + _SUCCESS * success + _STABILITY * steady


def stability(load: float, slowness: float, available: float = 1.0) -> float:
    """Symphony-Coord: of loads and latencies between 0 and 1."""
    return 0.4 * (1 - load) + 0.4 * (1 - slowness) + 0.2 * available


def features(likeness: float, load: float, slowness: float, success: float, available: float = 1.0) -> npt.NDArray[np.float64]:
    """Symphony-Coord: the context of one candidate, scaled into the unit ball."""
    raw = np.array([1.0, likeness, load, slowness, success, available])
    scaled: npt.NDArray[np.float64] = raw / max(1.0, float(np.linalg.norm(raw)))
    return scaled


def reward(each: Finished) -> float:
    """Symphony-Coord: 1 for an answer, half for agreement with the vote, less for latency."""
    latency = min(1.0, each.latency_ms / _LATENCY_MS)
    return float(each.answered) + _AGREES * each.agrees - _SLOW * math.sqrt(latency)


def plurality(task: bytes, votes: Sequence[Vote]) -> Tally:
    """Every vote counts one."""
    return tally(task, [Vote(vote.peer, vote.answer, 0) for vote in votes])


def _one_each(bids: Sequence[ReceivedBid]) -> list[ReceivedBid]:
    first: dict[bytes, ReceivedBid] = {}
    for bid in sorted(bids, key=lambda item: item.id):
        first.setdefault(bid.bidder, bid)
    return list(first.values())


def _assignment(ordered: Sequence[ReceivedBid], seats: int) -> Assignment:
    return Assignment(tuple(ordered[:seats]), tuple(ordered[seats:]))


def _task(beacon: bytes) -> bytes:
    return beacon[: len(beacon) // 2]


def _lot(beacon: bytes, bidder: bytes) -> bytes:
    return hashlib.sha256(b"lot" + beacon + bidder).digest()
