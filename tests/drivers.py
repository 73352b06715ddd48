"""One core under either driver, with peers whose messages the test writes; time passes only when the test says so.

`ExecutorDriver` is `node.executor.Executor` with the real store, the daemon's own receiving loop, and an event loop whose
clock jumps to the next timer. `HostDriver` is `simnet.host.Host` in the real `simnet.world.World`.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from node import daemon, peering
from node.config import Config
from node.engine import GREEDY, Completion, EngineError, ModelInfo, Prompt, Sampling
from node.errors import UserError
from node.events import EventStream
from node.executor import Executor
from node.libp2p_address import parse_address
from node.store import Store
from node.transport import FrameReceived, PeerConnected, PeerLost, TransportError, TransportEvent, Validator
from protocol.capability import Record
from protocol.constants import LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.core import Core
from protocol.envelope import seal
from protocol.events import Deliver, Effect, EffectDone, Input, Instant, Log, RequestMade
from protocol.identity import KeySigner, peer_id
from protocol.messages import Beacon
from protocol.outbox import TOPICS
from protocol.outcome import Outcome
from protocol.schema import Message
from simnet.draws import Stream
from simnet.host import Host, Solver
from simnet.world import World
from tests.support import PARAMETERS, REQUIREMENT_MAP, WALL_MS, record

Rows = dict[tuple[str, bytes], bytes]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Step:
    """One step of the core. `due_ms` is the deadline that it had named before."""

    now: Instant
    due_ms: int | None
    event: Input
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Left:
    """Bytes that left for a peer, or for all (None), and what could be read from the disk at that moment."""

    at_ms: int
    target: bytes | None
    data: bytes
    rows: Rows


class WatchedCore(Core):
    """The real core, keeping what each step was given and gave."""

    def __init__(self, signer: KeySigner, own: Record) -> None:
        super().__init__(signer, PARAMETERS, own, Stream(1, "entropy subject").bytes, (), REQUIREMENT_MAP)
        self.steps: list[Step] = []

    def step(self, event: Input, now: Instant) -> list[Effect]:
        due_ms = self.deadline()
        effects = super().step(event, now)
        self.steps.append(Step(now, due_ms, event, tuple(effects)))
        return effects


class Driver(abc.ABC):
    """What the conformance tests ask of a driver. `left` and `dials` are in the order in which they happened."""

    core: WatchedCore

    def __init__(self) -> None:
        self.left: list[Left] = []
        self.dials: list[tuple[int, bytes]] = []
        self.delivered: list[tuple[bytes, Outcome]] = []

    @property
    def steps(self) -> list[Step]:
        """Every step of the core so far."""
        return self.core.steps

    @property
    def effects(self) -> list[Effect]:
        """Every effect that the core gave."""
        return [effect for step in self.steps for effect in step.effects]

    @property
    def done(self) -> list[EffectDone]:
        """Every end of an effect that the core was told."""
        return [step.event for step in self.steps if isinstance(step.event, EffectDone)]

    def sealed(self, peer: KeySigner, message: Message) -> bytes:
        """A peer's envelope around `message`, issued now."""
        to: bytes | str = {Record.TYPE: "records", Beacon.TYPE: "beacons"}.get(message.TYPE, self.core.me)
        lifetime_ms = RECORD_LIFETIME_MS_MAX if isinstance(message, Record) else LIFETIME_MS_MAX
        return seal(peer, PARAMETERS.network, message.TYPE, to, message.body(), self.now().wall_ms, lifetime_ms)

    def hear(self, peer: KeySigner, message: Message) -> None:
        """Receive a peer's message on its channel."""
        self.receive(peer, self.sealed(peer, message))

    @abc.abstractmethod
    def now(self) -> Instant: ...

    @abc.abstractmethod
    def wait(self, for_ms: int) -> None:
        """Let time pass, and with it everything that is due."""

    @abc.abstractmethod
    def peer(self, name: str) -> KeySigner:
        """A peer that listens and that a dial reaches."""

    @abc.abstractmethod
    def connect(self, peer: KeySigner) -> None:
        """A peer opens a channel."""

    @abc.abstractmethod
    def lose(self, peer: KeySigner) -> None:
        """A peer's channel ends and dials do not reach it."""

    @abc.abstractmethod
    def cut(self, peer: KeySigner) -> None:
        """A peer's channel ends and the core has not been told yet."""

    @abc.abstractmethod
    def reach(self, peer: KeySigner, *, possible: bool) -> None:
        """Whether dials to a peer succeed from now on."""

    @abc.abstractmethod
    def receive(self, peer: KeySigner, data: bytes) -> None:
        """Bytes come on the channel of `peer`."""

    @abc.abstractmethod
    def ask(self, request: bytes, text: str) -> None:
        """The owner asks."""

    @abc.abstractmethod
    def inferring(self) -> int:
        """Inferences that the model works on."""

    @abc.abstractmethod
    def close(self) -> None: ...


# --- simnet/host.py


class _Scripted(Host):
    """A peer that only listens; the test writes what it says."""

    def take(self, event: Input, now: Instant) -> list[Effect]:  # noqa: ARG002 - as its base
        return []


class _WatchedWorld(World):
    driver: HostDriver

    def deliver(self, source: Host, target: bytes, data: bytes) -> bool:
        done = super().deliver(source, target, data)
        if done and source is self.driver.host:
            self.driver.on_left(target, data)
        return done

    def gossip(self, source: Host, topic: str, data: bytes) -> None:
        self.driver.on_left(None, data)
        super().gossip(source, topic, data)

    def dial(self, source: Host, target: bytes, effect: int) -> None:
        self.driver.dials.append((self.driver.now().mono_ms, target))
        super().dial(source, target, effect)


class HostDriver(Driver):
    """The simulator's driver."""

    def __init__(self, own: Record, solver: Solver) -> None:
        super().__init__()
        self._world = _WatchedWorld(PARAMETERS, 1)
        self._world.driver = self
        self._world.observer = self._observe
        self.host = self._world.add("subject", own, solver)
        self.core = WatchedCore(self.host.signer, own)
        self.host.core = self.core
        self._solver = solver
        self.wait(10)

    def on_left(self, target: bytes | None, data: bytes) -> None:
        self.left.append(Left(self.now().mono_ms, target, data, dict(self.host.disk)))

    def now(self) -> Instant:
        mono_ms = self._world.now_us // 1_000
        return Instant(mono_ms, WALL_MS + mono_ms)

    def wait(self, for_ms: int) -> None:
        self._world.run(for_ms=for_ms)

    def peer(self, name: str) -> KeySigner:
        return self._world.add(name, record(), self._solver, kind=_Scripted).signer

    def connect(self, peer: KeySigner) -> None:
        self._world.connect(self._world.hosts[peer.public_key], self.core.me)

    def lose(self, peer: KeySigner) -> None:
        self._world.crash(self._world.hosts[peer.public_key])

    def cut(self, peer: KeySigner) -> None:
        del self.host.links[peer.public_key]

    def reach(self, peer: KeySigner, *, possible: bool) -> None:
        self._world.hosts[peer.public_key].up = possible

    def receive(self, peer: KeySigner, data: bytes) -> None:
        assert World.deliver(self._world, self._world.hosts[peer.public_key], self.core.me, data)

    def ask(self, request: bytes, text: str) -> None:
        self._world.after(0, self.host, RequestMade(request, text))

    def inferring(self) -> int:
        return len(self.host._running)

    def close(self) -> None:
        """Nothing to close."""

    def _observe(self, host: Host, effect: Effect) -> None:
        if host is self.host and isinstance(effect, Deliver):
            self.delivered.append((effect.request, host.outcomes[effect.request]))


# --- node/executor.py


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where a selector would, the clock jumps to the end of the wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000_000_000

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to happen"
            self.now_ns += math.ceil(max(0, timeout) * 1_000_000_000)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which timers fire in their order, at once."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_ns / 1_000_000_000

    def instant(self) -> Instant:
        """The contract's two clocks."""
        mono_ms = self._jumping.now_ns // 1_000_000
        return Instant(mono_ms, WALL_MS + mono_ms)


async def _pass(for_ms: int) -> None:
    """Until the jumping clock has moved on."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    timer = loop.call_later(for_ms / 1_000, reached.set_result, None)
    try:
        await reached
    finally:
        timer.cancel()


class MemoryTransport:
    """A `node.transport.Transport` without a network: what is sent is kept, what comes is put in by the test.

    Frames take alternately one and two milliseconds, so a driver that does not wait for them in turn mixes their order.
    """

    def __init__(self, driver: ExecutorDriver, key: bytes) -> None:
        self.peer = key
        self.reachable: set[bytes] = set()
        self.channels: set[bytes] = set()
        self.events: asyncio.Queue[TransportEvent] = asyncio.Queue()
        self.dialled: list[str] = []
        self.mute = False
        self._driver = driver
        self._frames = 0

    def addresses(self) -> list[str]:
        return [address_of(self.peer)]

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to close."""

    async def dial(self, address: str) -> bytes:
        key = parse_address(address)[1]
        self.dialled.append(address)
        self._driver.dials.append((self._driver.now().mono_ms, key))
        if key not in self.reachable:
            raise TransportError(f"{address} does not answer")
        self.open(key)
        return key

    async def send(self, peer: bytes, data: bytes) -> None:
        self._frames += 1
        await _pass(1 + self._frames % 2)
        if peer not in self.channels:
            raise TransportError("no channel")
        self._driver.on_left(peer, data)

    async def publish(self, topic: str, data: bytes) -> None:
        if self.mute or not topic.startswith("/topic/"):
            raise TransportError(f"cannot publish on {topic}")
        self._driver.on_left(None, data)

    def subscribe(self, topic: str, validator: Validator) -> None:
        """Gossip comes in by `events`."""

    async def receive(self) -> TransportEvent:
        return await self.events.get()

    def peers(self) -> list[bytes]:
        return sorted(self.channels)

    def is_connected(self, peer: bytes) -> bool:
        return peer in self.channels

    def counters(self) -> Mapping[str, int]:
        return {}

    def open(self, key: bytes) -> None:
        """A channel from now on."""
        self.channels.add(key)
        self.events.put_nowait(PeerConnected(key, address_of(key)))


class ScriptedEngine:
    """A `node.engine.Engine` that writes what a solver says, after the time that it says."""

    pid: int | None = 1
    restarts = 0

    def __init__(self, solver: Solver) -> None:
        self.model = ModelInfo("scripted", Path("scripted.gguf"), "0" * 64, 1, 1, "Q8_0", 512, 100)
        self.at_work = 0
        self._solver = solver
        self._draws = Stream(1, "solver subject")

    async def start(self) -> None:
        """Nothing to load."""

    async def infer(self, prompt: Prompt | str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        assert isinstance(prompt, str)
        assert max_tokens > 0 < deadline_ms
        assert sampling == GREEDY
        solution = self._solver(prompt, self._draws)
        self.at_work += 1
        try:
            await _pass(solution.elapsed_ms)
        finally:
            self.at_work -= 1
        if solution.error is not None:
            raise EngineError(solution.error)
        return Completion(solution.text, 20, solution.tokens, solution.elapsed_ms)

    async def close(self) -> None:
        """Nothing to end."""


def address_of(key: bytes) -> str:
    """Where a peer says that it listens: a host of its own, by a name, so that a node anywhere would try it."""
    return f"/dns4/{key.hex()[:16]}.example/tcp/4101/p2p/{peer_id(key)}"


class ExecutorDriver(Driver):
    """The node's driver. The store is a real one below `folder`."""

    def __init__(self, own: Record, solver: Solver, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.loop = JumpingLoop()
        patch.setattr("node.executor.now", self.loop.instant)
        signer = KeySigner(Stream(1, "key subject").bytes(32))
        self.core = WatchedCore(signer, own)
        self.database = folder / "node.sqlite"
        self.store = Store(self.database)
        self.transport = MemoryTransport(self, signer.public_key)
        self.engine = ScriptedEngine(solver)
        self.logs: list[Log] = []
        self.fatal: list[UserError] = []
        self.futures: list[asyncio.Future[Deliver]] = []
        topics = {topic: f"/topic/{topic}" for topic in TOPICS}
        self.executor = Executor(
            self.core, self.transport, self.engine, self.store, topics, self.logs.append, self.fatal.append
        )
        self._receiving = self._run(self._start())
        self.wait(10)

    def on_left(self, target: bytes | None, data: bytes) -> None:
        with contextlib.closing(Store(self.database)) as reader:
            rows = {(table, key): value for table, key, value in reader.rows()}
        self.left.append(Left(self.now().mono_ms, target, data, rows))

    def now(self) -> Instant:
        return self.loop.instant()

    def wait(self, for_ms: int) -> None:
        self._run(_pass(for_ms))

    def peer(self, name: str) -> KeySigner:
        signer = KeySigner(Stream(1, f"key {name}").bytes(32))
        self.transport.reachable.add(signer.public_key)
        return signer

    def connect(self, peer: KeySigner) -> None:
        self.transport.open(peer.public_key)

    def lose(self, peer: KeySigner) -> None:
        self.cut(peer)
        self.reach(peer, possible=False)
        self.transport.events.put_nowait(PeerLost(peer.public_key))

    def cut(self, peer: KeySigner) -> None:
        self.transport.channels.discard(peer.public_key)

    def reach(self, peer: KeySigner, *, possible: bool) -> None:
        if possible:
            self.transport.reachable.add(peer.public_key)
        else:
            self.transport.reachable.discard(peer.public_key)

    def receive(self, peer: KeySigner, data: bytes) -> None:
        self.transport.events.put_nowait(FrameReceived(peer.public_key, data))

    def ask(self, request: bytes, text: str) -> None:
        def delivered(ended: asyncio.Future[Deliver]) -> None:
            if not ended.cancelled():
                self.delivered.append((request, ended.result().outcome))

        def asked() -> None:
            future = self.executor.expect(request)
            future.add_done_callback(delivered)
            self.futures.append(future)
            self.executor.feed(RequestMade(request, text))

        self.call(asked)

    def inferring(self) -> int:
        return self.engine.at_work

    def call(self, work: Callable[[], None]) -> None:
        """Do something inside the event loop."""

        async def inside() -> None:
            work()

        self._run(inside())

    def stop(self) -> None:
        """Close the executor."""
        self._run(self.executor.close())

    def close(self) -> None:
        self._receiving.cancel()
        self.stop()
        self.store.close()
        self.loop.close()

    async def _start(self) -> asyncio.Task[None]:
        self.executor.start()
        failed: asyncio.Future[UserError] = asyncio.get_running_loop().create_future()
        node = daemon.Running(Config(), self.executor, self.transport, self.engine, PARAMETERS, EventStream(), 0.0, failed)
        return asyncio.create_task(peering.receive(node))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(work)
