"""What nodes did, step by step, whether daemons that wrote tapes or simulated hosts, and the figures that follow from it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node.dev.statistics import percentile
from protocol.envelope import open_envelope
from protocol.events import Deliver, Effect, EffectDone, Infer, Input, MessageReceived, Publish, RequestMade, Send
from protocol.ledger_messages import LEDGER
from protocol.outcome import Outcome
from simnet.gossip import DEGREE

QUESTIONS, AUDITS, LEDGERS, OTHERS = "questions", "audits", "ledgers", "records"
GROUPS: Final = (QUESTIONS, AUDITS, LEDGERS, OTHERS)


@dataclass(frozen=True, slots=True)
class Seen:
    """A step of one of some nodes, by its number: when on the one monotonic clock, at what, and what came of it."""

    node: int
    at_ms: int
    event: Input
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of the owner: how long after the begin, and its text."""

    after_ms: int
    text: str


class Observed:
    """The figures of some steps of `nodes` nodes, from one moment to another."""

    def __init__(self, steps: Iterable[Seen], nodes: int, begin_ms: int, end_ms: int) -> None:
        self.nodes, self.begin_ms, self.end_ms = nodes, begin_ms, end_ms
        self._steps = sorted((seen for seen in steps if begin_ms <= seen.at_ms <= end_ms), key=lambda seen: seen.at_ms)

    @property
    def asked(self) -> list[Asked]:
        """What the owner asked, in order."""
        return [
            Asked(seen.at_ms - self.begin_ms, seen.event.text) for seen in self._steps if isinstance(seen.event, RequestMade)
        ]

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of it, in order."""
        return [effect.outcome for seen in self._steps for effect in seen.effects if isinstance(effect, Deliver)]

    def latency_ms(self, share: float = 0.5) -> float:
        """That percentile of what the questions took, as their requester measured it."""
        return percentile([outcome.latency_ms for outcome in self.outcomes], share)

    def inferences_ms(self, node: int) -> list[int]:
        """How long the model of a node took for each answer, as its core saw it, in order."""
        begun: dict[int, int] = {}
        took = []
        for seen in self._steps:
            if seen.node == node:
                begun |= {effect.effect: seen.at_ms for effect in seen.effects if isinstance(effect, Infer)}
                if isinstance(seen.event, EffectDone) and seen.event.effect in begun:
                    took.append(seen.at_ms - begun[seen.event.effect])
        return took

    def messages(self) -> dict[str, Counter[str]]:
        """What was sent, by group and type; what was published counts once, whoever passed it on."""
        tasks = {outcome.task for outcome in self.outcomes}
        found: dict[str, Counter[str]] = {group: Counter() for group in GROUPS}
        for _, data in self._sent():
            envelope = open_envelope(data)
            task = envelope.body.get("task")
            group = LEDGERS if envelope.type in LEDGER else OTHERS
            if isinstance(task, bytes):
                group = QUESTIONS if task in tasks else AUDITS
            found[group][envelope.type] += 1
        return found

    def handled(self, node: int) -> int:
        """Messages that a node took in or sent, as simnet/machines.py counts: of gossip, a copy for each edge of its mesh."""
        copies = min(self.nodes - 1, DEGREE)
        count = 0
        for seen in self._steps:
            if seen.node == node:
                if isinstance(seen.event, MessageReceived):
                    count += copies if seen.event.source is None else 1
                count += sum(isinstance(effect, Send) for effect in seen.effects)
                count += (self.nodes - 1) * sum(isinstance(effect, Publish) for effect in seen.effects)
        return count

    def hops_ms(self) -> dict[str, float]:
        """The mean time from the step that sends a message to the one that takes it, by channel and by gossip."""
        left = {data: at_ms for at_ms, data in self._sent()}
        took: dict[str, list[int]] = {"channel": [], "gossip": []}
        for seen in self._steps:
            if isinstance(seen.event, MessageReceived) and seen.event.data in left:
                took["gossip" if seen.event.source is None else "channel"].append(seen.at_ms - left[seen.event.data])
        return {way: round(statistics.mean(values), 2) if values else 0.0 for way, values in took.items()}

    def _sent(self) -> Iterable[tuple[int, bytes]]:
        for seen in self._steps:
            for effect in seen.effects:
                if isinstance(effect, Send | Publish):
                    yield seen.at_ms, effect.data
