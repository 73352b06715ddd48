"""One simulated node: drives a `protocol.core.Core` under virtual time, as `node/executor.py` does under real time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from protocol.allowance import Caps
from protocol.capability import Record
from protocol.core import Core
from protocol.events import (
    JUDGE_KIND,
    CancelInference,
    Deliver,
    Dial,
    Effect,
    EffectDone,
    Infer,
    InferenceResult,
    Input,
    Instant,
    Log,
    Persist,
    Publish,
    Send,
)
from protocol.identity import KeySigner
from protocol.outcome import Outcome
from protocol.own_ledger import Origin
from protocol.parameters import Parameters
from protocol.requirement import RequirementMap
from simnet.draws import Stream


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver writes and how long it takes, in milliseconds; an `error` stands for a failed inference."""

    text: str
    elapsed_ms: int
    tokens: int = 40
    error: str | None = None
    prompt_tokens: int = 20


Solver = Callable[[str, Stream], Solution]


class Network(Protocol):
    """What a host needs from the world around it."""

    def after(self, delay_ms: int, host: Host, event: Input) -> int:
        """Give `event` to `host` after a delay; the number can be cancelled."""
        ...

    def cancel(self, number: int) -> None:
        """Forget an event that was to come."""
        ...

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        """Send to one peer; False if there is no connection."""
        ...

    def gossip(self, source: Host, data: bytes) -> None:
        """Send to all that the source can reach."""
        ...

    def connect(self, source: Host, target: bytes) -> bool:
        """Make a connection; False if the target is not there."""
        ...


@dataclass
class Host:
    """A node in the world. `disk` survives a crash, the core does not."""

    name: str
    seed: int
    parameters: Parameters
    record: Record
    solver: Solver
    network: Network
    requirement_map: RequirementMap
    skew_ms: int = 0
    caps: Caps = field(default_factory=Caps)
    disk: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)
    up: bool = True

    def __post_init__(self) -> None:
        self.signer = KeySigner(Stream(self.seed, f"key {self.name}").bytes(32))
        self._draws = Stream(self.seed, f"solver {self.name}")
        self._entropy = Stream(self.seed, f"entropy {self.name}")
        self._running: dict[int, int] = {}
        self.core = self._new_core(Origin())

    @property
    def key(self) -> bytes:
        """The node's public key."""
        return self.signer.public_key

    def restart(self) -> None:
        """Begin again from what is on disk."""
        self._running.clear()
        self.core = self._new_core(Origin(fresh=False))
        self.up = True

    def take(self, event: Input, mono_ms: int, wall_ms: int) -> list[Effect]:
        """Give one input to the core and carry out its effects, in order."""
        if isinstance(event, EffectDone):
            self._running.pop(event.effect, None)
        effects = self.core.step(event, Instant(mono_ms, wall_ms + self.skew_ms))
        for effect in effects:
            self._carry_out(effect)
        return effects

    def _new_core(self, origin: Origin) -> Core:
        restored = [(table, key, value) for (table, key), value in sorted(self.disk.items())]
        return Core(
            self.signer, self.parameters, self.record, self._entropy.bytes, restored, self.requirement_map, self.caps, origin
        )

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist(value=None):
                self.disk.pop((effect.table, effect.key), None)
            case Persist(value=bytes() as value):
                self.disk[effect.table, effect.key] = value
            case Send():
                if not self.network.deliver(self, effect.peer, effect.data):
                    self.network.after(0, self, EffectDone(effect.effect, error="no connection"))
            case Publish():
                self.network.gossip(self, effect.data)
            case Dial():
                if not self.network.connect(self, effect.peer):
                    self.network.after(0, self, EffectDone(effect.effect, error="no answer"))
            case Infer():
                # A solver knows what it is asked by its words; a revision is the question again.
                judged = (JUDGE_KIND, effect.question, *effect.texts) if effect.kind == JUDGE_KIND else (effect.question,)
                solution = self.solver("\n".join(judged), self._draws)
                result = InferenceResult(solution.text, solution.prompt_tokens, solution.tokens, solution.elapsed_ms)
                done = EffectDone(effect.effect, solution.error, None if solution.error else result)
                self._running[effect.effect] = self.network.after(solution.elapsed_ms, self, done)
            case CancelInference():
                number = self._running.pop(effect.effect, None)
                if number is not None:
                    self.network.cancel(number)
            case Deliver():
                self.outcomes[effect.request] = effect.outcome
            case Log():
                self.logs.append(effect)
