"""Drives a `protocol.core.Core` under real time: inputs from transport, engine and owner in, effects carried out in order.

Only what leaves waits its turn: a row is on disk, and an inference or a dial begins or stops, before `feed` returns. A
cancelled inference therefore cannot come back while its cancel waits behind a slow frame.

`simnet/host.py` is the other driver; both keep the contract of `protocol/events.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

from node.answering import answer, judge
from node.engine import Completion, Engine, EngineError
from node.errors import UserError
from node.libp2p_address import parse_address
from node.prompts import plannable
from node.store import Store
from node.transport import Transport, TransportError
from protocol.core import Core
from protocol.events import (
    JUDGE_KIND,
    AddressesChanged,
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
    TimerFired,
)
from protocol.identity import peer_id

_log = logging.getLogger(__name__)

# Messages waiting to leave; far above what one step makes. Beyond it a message fails as one to a lost peer does.
_QUEUE_MAX = 65_536


def now() -> Instant:
    """The two clocks of the contract."""
    return Instant(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


class Executor:
    """Feeds the core and carries out its effects. All calls belong to one running event loop.

    `topics` maps the core's topic names to the transport's; `on_log` gets every log effect; `on_fatal` is called once when
    the store fails, for nothing may leave this node that it could not write down first, or when a task of ours ended.
    Afterwards the core is fed nothing more: it has taken rows for written that are not.
    """

    def __init__(
        self,
        core: Core,
        transport: Transport,
        engine: Engine | None,
        store: Store,
        topics: dict[str, str],
        on_log: Callable[[Log], None],
        on_fatal: Callable[[UserError], None],
    ) -> None:
        self.core = core
        self.outcomes = 0
        self._transport = transport
        self._engine = engine
        self._plannable = plannable(core.parameters)
        self._store = store
        self._topics = topics
        self._on_log = on_log
        self._on_fatal = on_fatal
        self._failed = False
        self._leaving: asyncio.Queue[Send | Publish] = asyncio.Queue()
        self._waiting: dict[bytes, asyncio.Future[Deliver]] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._carrier: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to carry out effects."""
        self._carrier = self._supervised(self._carry_away())
        self.feed(AddressesChanged(tuple(self._transport.addresses())))

    async def close(self) -> None:
        """Stop; requests that wait are cancelled."""
        self._failed = True  # whatever still comes finds the store closed
        tasks = [task for task in (self._carrier, *self._running.values(), *self._background) if task is not None]
        self._stop_timer()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()

    def feed(self, event: Input) -> None:
        """Give one input to the core; raises `LocalProtocolError` only for a request that breaks the rules."""
        if self._failed:
            return
        effects = self.core.step(event, now())
        rows = [effect for effect in effects if isinstance(effect, Persist)]
        if rows:
            # Rows are written before anything of the same step leaves; earlier than the order asks, never later.
            try:
                self._store.write(rows)
            except UserError as error:
                self._fail(error)
                return
        for effect in effects:
            self._carry_out(effect)
        self._set_timer()

    def expect(self, request: bytes) -> asyncio.Future[Deliver]:
        """The future end of a request that is about to be fed."""
        future: asyncio.Future[Deliver] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        future.add_done_callback(lambda _: self._waiting.pop(request, None))
        return future

    def _fail(self, error: UserError) -> None:
        if not self._failed:
            self._failed = True
            self._on_fatal(error)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist():
                pass  # written with all rows of its step
            case Send() | Publish():
                if self._leaving.qsize() < _QUEUE_MAX:
                    self._leaving.put_nowait(effect)
                elif isinstance(effect, Send):
                    # Not in this step: its other effects come first, and the core must not be entered twice.
                    done = EffectDone(effect.effect, error="too many messages wait to leave")
                    self._supervised(self._feed_later(done))
            case Infer():
                self._running[effect.effect] = self._supervised(self._infer(effect))
            case CancelInference():
                inference = self._running.pop(effect.effect, None)
                if inference is not None:
                    inference.cancel()
            case Dial():
                task = self._supervised(self._dial(effect))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
            case Deliver():
                self.outcomes += 1
                future = self._waiting.get(effect.request)
                if future is not None and not future.done():
                    future.set_result(effect)
            case Log():
                self._on_log(effect)

    def _supervised(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task whose unexpected end ends the node: half alive it would take leases that it cannot keep."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("a task of the node ended", exc_info=error)
            self._fail(UserError(f"internal error: {type(error).__name__}; the log has the details"))

    def _set_timer(self) -> None:
        self._stop_timer()
        due_ms = self.core.deadline()
        if due_ms is not None and not self._failed:
            delay_ms = max(0, due_ms - now().mono_ms)
            self._timer = asyncio.get_running_loop().call_later(delay_ms / 1_000, self._fire)

    def _fire(self) -> None:
        self._supervised(self._feed_later(TimerFired()))

    async def _feed_later(self, event: Input) -> None:
        self.feed(event)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _carry_away(self) -> None:
        while True:
            effect = await self._leaving.get()
            if isinstance(effect, Send):
                await self._send(effect)
            else:
                await self._publish(effect)

    async def _send(self, effect: Send) -> None:
        try:
            await self._transport.send(effect.peer, effect.data)
        except TransportError as error:
            self.feed(EffectDone(effect.effect, error=str(error)))

    async def _publish(self, effect: Publish) -> None:
        try:
            await self._transport.publish(self._topics[effect.topic], effect.data)
        except TransportError as error:
            self._on_log(Log("warning", "publish_failed", {"reason": str(error)}))

    async def _infer(self, effect: Infer) -> None:
        if self._engine is None:
            done = EffectDone(effect.effect, error="this node has no model")
        else:
            try:
                completion = await self._completion(self._engine, effect)
                result = InferenceResult(
                    completion.text, completion.prompt_tokens, completion.completion_tokens, completion.elapsed_ms
                )
                done = EffectDone(effect.effect, result=result)
            except EngineError as error:
                done = EffectDone(effect.effect, error=str(error), too_long=error.too_long)
        self._running.pop(effect.effect, None)
        self.feed(done)

    async def _completion(self, engine: Engine, effect: Infer) -> Completion:
        if effect.kind == JUDGE_KIND:
            first, second = effect.texts
            return await judge(engine, effect.question, (first, second), effect.tokens_max, effect.deadline_ms)
        limits = effect.tokens_max, effect.deadline_ms
        return await answer(engine, effect.question, effect.kind, *limits, others=effect.texts, skills=self._plannable)

    async def _dial(self, effect: Dial) -> None:
        reason = "no address"
        for address in effect.addresses:
            try:
                # A record's addresses are its author's claim: dial them only as the peer that signed it.
                _, claimed = parse_address(address)
                if claimed != effect.peer:
                    reason = f"{address} names another peer than {peer_id(effect.peer)}"
                    continue
                await self._transport.dial(address)
            except TransportError as error:
                reason = str(error)
                continue
            return
        self.feed(EffectDone(effect.effect, error=reason))
