"""A run that is being prepared or under way: who is in it, what is to happen, and what has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from protocol.exercises import Exercise
from protocol.outcome import Outcome
from simnet.answerbook import Notes
from simnet.draws import Draws
from simnet.host import Host
from simnet.scenario import (
    Crash,
    Gray,
    Scenario,
    Skew,
)
from simnet.world import World

US: Final = 1_000_000
# Lots have 32 bits.
LOTS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was asked: when (simulated milliseconds), by whom, what is right, and the request that it became."""

    at_ms: int
    host: Host
    exercise: Exercise
    request: bytes

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None if its node did not live to see that."""
        return self.host.outcomes.get(self.request)


@dataclass
class Course:
    """A run that is being prepared or under way: what is to happen, by time and then in the order in which it was planned."""

    scenario: Scenario
    seed: int
    world: World
    source: Notes | None
    hosts: list[Host] = field(default_factory=list)
    honest: list[Host] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    happened: list[tuple[int, str]] = field(default_factory=list)
    # By how many causes, churn or crashes, each host is away: it comes back when the last of them is over.
    away: Counter[int] = field(default_factory=Counter)
    plan: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    def at(self, time_us: int, action: Callable[[], None]) -> None:
        """Let something happen then."""
        self.plan.append((time_us, len(self.plan), action))

    def draws(self, purpose: str) -> Draws:
        """A stream for one purpose."""
        return Draws(self.seed, purpose)

    def note(self, text: str) -> None:
        """Something happened that a reader of the report wants to know."""
        self.happened.append((self.world.now_us // 1_000, text))

    def share(self, permille: int, purpose: str) -> list[Host]:
        """So much of the honest nodes, by lot; the first ones, which others bootstrap from, stay out of it."""
        draws = self.draws(purpose)
        lots = sorted((draws.below(LOTS), host.index) for host in self.honest[self.scenario.first :])
        return [self.hosts[index] for _, index in lots[: permille * len(self.honest) // 1_000]]

    def victims(self, fault: Crash | Gray | Skew, purpose: str) -> list[Host]:
        """Whom a fault befalls."""
        if fault.share_permille is not None:
            return self.share(fault.share_permille, purpose)
        return [host for host in self.hosts if host.operator == fault.operator]
