"""The transport over py-libp2p: trio runs in a thread of its own, and the daemon's loop goes on whatever happens there.

Down to libp2p go a queue of frames for each peer, a queue of gossip, and calls; up come events through the inbox. If
the stack dies it is started again on the same ports, a few times; in between, sends raise and peers are reported lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import trio
from multiaddr import Multiaddr

from node.libp2p_address import parse_listen, shown_addresses
from node.libp2p_channel import Link
from node.libp2p_guards import death_of
from node.libp2p_inbox import Inbox
from node.libp2p_stack import Stack
from node.limits import Limits
from node.transport import (
    FRAME_SIZE_MAX,
    GOSSIP_SIZE_MAX,
    PeerLost,
    TransportError,
    TransportEvent,
    TransportRestarted,
    Validator,
)
from protocol.identity import KeySigner, peer_id

T = TypeVar("T")

OUTGOING_GOSSIP_MAX = 1024

# Deaths in a row before the transport gives up; a life of this length forgives the earlier ones.
RESTARTS_MAX = 5
RESTART_DELAY_S = 0.2  # doubled each time
STABLE_LIFE_S = 60
REASON_MAX = 200

_CLOSED = "the transport is closed"
_DOWN = "the network is restarting; try again in a moment"


class Libp2pTransport:
    """`node.transport.Transport` over libp2p, for one asyncio loop.

    `seed`: the 32-byte Ed25519 seed of the node's identity. `listen`: multiaddrs like /ip4/0.0.0.0/tcp/4101, port 0
    for any free port; an empty list makes a node that only dials. `network`: the 32-byte id of the one network that it
    joins; nodes of others can connect, and then neither side opens a channel. `skills`: those of the network, for which
    its directory has a place. `limits`: what peers and addresses may cost it.
    """

    def __init__(
        self, seed: bytes, listen: list[str], *, network: bytes, skills: Sequence[str] = (), limits: Limits | None = None
    ) -> None:
        self.peer = KeySigner(seed).public_key
        self._seed = seed
        self._network = network
        self._skills = tuple(skills)
        self._listen = [parse_listen(text) for text in listen]
        self._limits = limits or Limits()
        self._topics: dict[str, Validator] = {}
        self._counters: Counter[str] = Counter()
        self._addresses: list[str] = []
        self._links: Mapping[bytes, Link] = {}
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._dirty: deque[Link] = deque()
        self._flushing = False
        self._pending: set[asyncio.Future[Any]] = set()
        self._closing = threading.Event()
        self._state = "new"
        self._lived = False
        self._death: str | None = None
        self._stack: Stack | None = None
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread: threading.Thread | None = None

    # -- the asyncio side

    def addresses(self) -> list[str]:
        """The multiaddrs it listens on, with `/p2p/<peer id>`; a wildcard stands for this machine's addresses."""
        return list(self._addresses)

    def subscribe(self, topic: str, validator: Validator) -> None:
        """Receive `topic`; only before `start`."""
        if self._state != "new":
            raise TransportError(f"subscribe to {topic} before the transport starts")
        self._topics[topic] = validator

    async def start(self) -> None:
        """Start the thread and listen. Raises `TransportError` if an address is taken; then nothing runs."""
        if self._state != "new":
            raise TransportError("a transport starts once; make another one")
        self._state = "running"
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop, self._counters)
        self._inbox.call_trio = self._call_trio
        self._started = self._loop.create_future()
        self._stopped = self._loop.create_future()
        self._thread = threading.Thread(target=self._supervise, name="libp2p", daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(self._started)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Say goodbye and stop the thread; under a second."""
        if self._state != "running":
            self._state = "closed"
            return
        self._state = "closed"
        self._closing.set()
        self._call_trio(self._on_close)
        self._inbox.finish(_CLOSED, discard=True)
        await self._stopped
        assert self._thread is not None
        self._thread.join()
        self._fail_pending(_CLOSED)

    async def receive(self) -> TransportEvent:
        """The next event. Raises `TransportError` once closed, or dead for good."""
        if self._state == "new":
            raise TransportError("start the transport first")
        return await self._inbox.get()

    def peers(self) -> list[bytes]:
        """The keys of peers with a channel, sorted."""
        return sorted(dict(self._links))

    def is_connected(self, peer: bytes) -> bool:
        """Whether there is a channel to `peer`; from any thread."""
        return peer in self._links

    def counters(self) -> Mapping[str, int]:
        """A copy of all counters."""
        return dict(self._counters)

    async def send(self, peer: bytes, data: bytes) -> None:
        """Queue a frame; see `Transport.send`."""
        link = self._links.get(peer)
        if link is None:
            raise TransportError(f"no channel to {peer_id(peer)}; dial it first")
        if not 0 < len(data) <= FRAME_SIZE_MAX:
            raise TransportError(f"a frame has 1 to {FRAME_SIZE_MAX} bytes, not {len(data)}")
        link.queue(data)
        self._counters["channel_messages_out"] += 1
        self._counters["channel_bytes_out"] += len(data)
        if not link.dirty:
            link.dirty = True
            self._dirty.append(link)
        self._flush()

    async def publish(self, topic: str, data: bytes) -> None:
        """Queue a gossip message; see `Transport.publish`."""
        if self._state != "running" or self._stack is None:
            raise TransportError(_CLOSED if self._state == "closed" else _DOWN)
        if topic not in self._topics:
            raise TransportError(f"subscribe to {topic} before publishing there")
        if not 0 < len(data) <= GOSSIP_SIZE_MAX:
            raise TransportError(f"a gossip message has 1 to {GOSSIP_SIZE_MAX} bytes, not {len(data)}")
        if len(self._outgoing) >= OUTGOING_GOSSIP_MAX:
            raise TransportError(f"{OUTGOING_GOSSIP_MAX} gossip messages are waiting; publish more slowly")
        self._outgoing.append((topic, data))
        self._flush()

    async def dial(self, address: str) -> bytes:
        """Connect to a peer; see `Transport.dial`."""
        return await self._call(lambda stack: stack.dial(address))

    async def announce(self, skills: Sequence[str], record: bytes) -> int:
        """Put this node into the directory; see `Directory.announce`."""
        return await self._call(lambda stack: stack.dht.announce(skills, record))

    async def look_up(self, skill: str) -> list[bytes]:
        """Look a skill up in the directory; see `Directory.look_up`."""
        return await self._call(lambda stack: stack.dht.look_up(skill))

    def introduce(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name contacts for the directory; see `Directory.introduce`."""
        stack = self._stack
        if stack is not None:
            self._call_trio(partial(stack.dht.introduce, dict(peers)))

    async def _call(self, work: Callable[[Stack], Awaitable[T]]) -> T:
        """Run `work` in the libp2p thread."""
        stack = self._stack
        if self._state != "running" or stack is None:
            raise TransportError(_CLOSED if self._state != "running" else _DOWN)
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending.add(future)
        self._call_trio(partial(self._start_call, partial(work, stack), future))
        try:
            return await future
        finally:
            self._pending.discard(future)

    def _flush(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._call_trio(self._on_flush)

    def _call_trio(self, function: Callable[[], None]) -> None:
        token = self._token
        if token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # the supervisor reports it
                token.run_sync_soon(function)

    def _fail_pending(self, reason: str) -> None:
        for future in list(self._pending):
            if not future.done():
                future.set_exception(TransportError(reason))

    # -- the libp2p thread

    def _on_flush(self) -> None:
        self._flushing = False
        if self._stack is not None:
            self._stack.flush(self._dirty)

    def _start_call(self, call: Callable[[], Awaitable[T]], future: asyncio.Future[T]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._run_call, call, future)

    async def _run_call(self, call: Callable[[], Awaitable[T]], future: asyncio.Future[T]) -> None:
        try:
            result = await call()
        except TransportError as error:
            # The sockets close before the calls end, and each would blame its peer.
            told = TransportError(_CLOSED) if self._closing.is_set() else error
            self._call_loop(partial(_settle, future, None, told))
        else:
            self._call_loop(partial(_settle, future, result, None))

    def _call_loop(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody is waiting
            self._loop.call_soon_threadsafe(function)

    def _on_close(self) -> None:
        if self._stack is not None:
            self._stack.stop()
        elif self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _main(self) -> None:
        stack = Stack(self._seed, self._network, self._skills, self._limits, self._inbox, self._counters)
        self._token = trio.lowlevel.current_trio_token()
        if self._closing.is_set():
            return

        def ready(bound: list[Multiaddr]) -> None:
            assert stack.channels is not None
            self._flushing = False
            self._links = stack.channels.links
            self._listen = bound
            self._addresses = shown_addresses(bound, self.peer)
            self._stack = stack
            self._lived = True
            if self._death is not None:
                self._inbox.put(TransportRestarted(self._death))
            self._call_loop(partial(_settle, self._started, None, None))

        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await stack.run(self._listen, self._topics, self._outgoing, ready)
            nursery.cancel_scope.cancel()

    def _live(self) -> Exception | None:
        try:
            return death_of(partial(trio.run, self._main))
        finally:
            self._stack = self._nursery = self._token = None
            links, self._links = self._links, {}
            for peer in sorted(links):
                self._inbox.put(PeerLost(peer))
            self._outgoing.clear()
            self._dirty.clear()

    def _supervise(self) -> None:
        deaths = 0
        while True:
            born = time.monotonic()
            error = self._live()
            if error is None or self._closing.is_set():
                break
            self._death = f"{type(error).__name__}: {error}".splitlines()[0][:REASON_MAX]
            self._call_loop(partial(self._fail_pending, _DOWN))
            if not self._lived:
                if not isinstance(error, TransportError):
                    error = TransportError(f"the network did not start: {self._death}")
                self._call_loop(partial(_settle, self._started, None, error))
                break
            deaths = 1 if time.monotonic() - born > STABLE_LIFE_S else deaths + 1
            if deaths > RESTARTS_MAX:
                self._inbox.finish(f"the network died {deaths} times in a row, last of {self._death}; restart the node")
                break
            self._counters["restarts"] += 1
            if self._closing.wait(RESTART_DELAY_S * 2 ** (deaths - 1)):
                break
        self._call_loop(partial(_settle, self._stopped, None, None))


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return  # cancelled meanwhile
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
