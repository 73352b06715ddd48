"""One simulated node: drives a `protocol.core.Core` under virtual time, as `node/executor.py` does under real time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

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
from simnet.links import Connection
from simnet.machines import Machine
from simnet.queue import Guard


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver writes and how long it takes, in milliseconds; an `error` stands for a failed inference."""

    text: str
    elapsed_ms: int
    tokens: int = 40
    error: str | None = None
    prompt_tokens: int = 20


@dataclass(frozen=True, slots=True)
class Torn:
    """An end that strikes within a step, as `node/executor.py` can meet it. It commits a step's rows first, synced.

    So either the rows are lost with all that the step wanted, or they are written and the last of what else it wanted is lost;
    the lot of 32 bits says which and how much. Nothing leaves that the disk does not know of.
    """

    lot: int
    silent: bool

    def done(self, effects: Sequence[Effect]) -> list[Effect]:
        """What is done of a step."""
        if self.lot & 1:
            return []
        rows = [effect for effect in effects if isinstance(effect, Persist)]
        others = [effect for effect in effects if not isinstance(effect, Persist)]
        return rows + others[: (self.lot >> 1) * (len(others) + 1) >> 31]


Solver = Callable[[str, Stream], Solution]

# The latest log lines that a host keeps.
LOGS_MAX: Final = 1_024


class Network(Protocol):
    """What a host needs from the world around it."""

    def after(self, delay_ms: int, host: Host, event: Input, work: Guard | None = None) -> None:
        """Give `event` to `host` after a delay, unless it is crashed before, or `work` is closed."""
        ...

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        """Send to one peer; False if there is no connection."""
        ...

    def gossip(self, source: Host, topic: str, data: bytes) -> None:
        """Send to all that the source can reach."""
        ...

    def written(self, host: Host) -> None:
        """A host waits until the rows of a step are on its disk."""
        ...

    def dial(self, source: Host, target: bytes, effect: int) -> None:
        """Make a connection; a dial that fails is told as the end of its effect."""
        ...


class Host:
    """A node in the world. `disk` survives a crash, the core does not.

    `index`, `region`, `links`, `sequence` and what follows belong to the world: its place there, its channels by peer, how many
    events it has caused, when its uplink is free, and when it wakes next. It computes on its `machine`, in no time if it has
    none; `busy_us` is when it will have done all that came.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what a world is made of
        self,
        name: str,
        seed: int,
        parameters: Parameters,
        record: Record,
        solver: Solver,
        network: Network,
        requirement_map: RequirementMap,
        skew_ms: int = 0,
        caps: Caps = Caps(),  # noqa: B008  frozen
    ) -> None:
        self.name = name
        self.parameters = parameters
        self.record = record
        self.solver = solver
        self.network = network
        self.requirement_map = requirement_map
        self.skew_ms = skew_ms
        self.caps = caps
        self.disk: dict[tuple[str, bytes], bytes] = {}
        self.outcomes: dict[bytes, Outcome] = {}
        self.logs: deque[Log] = deque(maxlen=LOGS_MAX)
        self.up = True
        # Whether it died like a machine without power, which refuses nobody.
        self.silent = False
        # How its next step that writes will end, and that it did.
        self.torn: Torn | None = None
        self.broken = False
        # How many times as long its model takes: a gray failure.
        self.slow = 1
        # What its owner asked: the life of the host in which it did, and when the question ends.
        self.asked: dict[bytes, tuple[Guard, int]] = {}
        self.index = self.region = self.sequence = self.free_us = self.published = self.busy_us = 0
        self.machine: Machine | None = None
        self.reachable = True
        # Who runs it, empty if nobody that has a name.
        self.operator = ""
        # Whether it is none of the adversaries, which no checker holds to anything.
        self.honest = True
        self.bootstraps: list[bytes] = []
        self.links: dict[bytes, Connection] = {}
        # Peers that had a channel when it went away, and may not know yet.
        self.mourners: list[bytes] = []
        self.life = Guard()
        # What it is to do in the directory, as long as it has peers.
        self.agenda = Guard()
        self.wake_us: int | None = None
        self.signer = KeySigner(Stream(seed, f"key {name}").bytes(32))
        self.key = self.signer.public_key
        self._draws = Stream(seed, f"solver {name}")
        self._entropy = Stream(seed, f"entropy {name}")
        self._running: dict[int, Guard] = {}
        # Makes what stands in for the protocol's core where another policy is to be compared with it.
        self.other_core: Callable[[], Core] | None = None
        self.core = self._new_core(Origin())

    def declare(self, record: Record) -> None:
        """Say another thing of itself; for a node to which nothing has happened yet."""
        self.record = record
        self.core = self._new_core(Origin())

    def replace_core(self, make: Callable[[], Core]) -> None:
        """Let the node be driven by something else that keeps the core's contract, from now on and after each restart."""
        self.other_core = make
        self.core = make()

    def stop(self) -> None:
        """The process ends, and its model with it."""
        self.torn, self.broken = None, False
        for work in self._running.values():
            work.open = False
        self._running.clear()

    def restart(self) -> None:
        """Begin again from what is on disk."""
        self.stop()
        # An honest node that comes back asks its followers for its own ledger before it writes on.
        self.core = self._new_core(Origin(fresh=False))
        self.up = True

    def solved(self, effect: Infer) -> Solution:
        """What the model writes. A solver knows what it is asked by its words; a revision is the question again."""
        judged = (JUDGE_KIND, effect.question, *effect.texts) if effect.kind == JUDGE_KIND else (effect.question,)
        return self.solver("\n".join(judged), self._draws)

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Give one input to the core and carry out its effects, in order."""
        if isinstance(event, EffectDone):
            self._running.pop(event.effect, None)
        if self.skew_ms:
            now = Instant(now.mono_ms, now.wall_ms + self.skew_ms)
        effects = self.core.step(event, now)
        if self.torn is not None and any(isinstance(effect, Persist) for effect in effects):
            effects, self.broken = self.torn.done(effects), True
        if self.machine is not None and any(isinstance(effect, Persist) for effect in effects):
            self.network.written(self)
        for effect in effects:
            self._carry_out(effect)
        return effects

    def _new_core(self, origin: Origin) -> Core:
        if self.other_core is not None:
            return self.other_core()
        restored = [(table, key, value) for (table, key), value in sorted(self.disk.items())]
        return Core(
            self.signer, self.parameters, self.record, self._entropy.bytes, restored, self.requirement_map, self.caps, origin
        )

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                if not self.network.deliver(self, effect.peer, effect.data):
                    self.network.after(0, self, EffectDone(effect.effect, error="no connection"))
            case Persist(value=None):
                self.disk.pop((effect.table, effect.key), None)
            case Persist(value=bytes() as value):
                self.disk[effect.table, effect.key] = value
            case Publish():
                self.network.gossip(self, effect.topic, effect.data)
            case Dial():
                self.network.dial(self, effect.peer, effect.effect)
            case Infer():
                solution = self.solved(effect)
                result = InferenceResult(solution.text, solution.prompt_tokens, solution.tokens, solution.elapsed_ms)
                done = EffectDone(effect.effect, solution.error, None if solution.error else result)
                work = self._running[effect.effect] = Guard()
                self.network.after(self.slow * solution.elapsed_ms, self, done, work)
            case CancelInference():
                gone = self._running.pop(effect.effect, None)
                if gone is not None:
                    gone.open = False
            case Deliver():
                self.outcomes[effect.request] = effect.outcome
            case Log():
                self.logs.append(effect)
