"""The way from the libp2p thread to the asyncio loop: one bounded queue of events.

The two threads share no lock. Each counter has one writer, deques are thread-safe, and a wake-up crosses only if
none is under way, so under load one crossing carries many events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable

import trio

from node.transport import FrameReceived, GossipReceived, PeerConnected, PeerLost, TransportError, TransportEvent

# Frames of one peer that the daemon has not taken yet; more, and that peer's stream is not read until it has.
FRAMES_PER_PEER_MAX = 256
BYTES_PER_PEER_MAX = 1 << 20
# Over all peers. One peer may use its whole share while 15 others do too.
BYTES_MAX = 16 << 20
# Gossip that the daemon has not taken; 20 seconds of the budget of 200 messages a second. More is dropped and counted,
# because whoever needs a gossiped fact for sure pulls it.
GOSSIP_MAX = 4096
# New peers that the daemon has not been told of yet; more wait with their channel. Each costs it a record exchange, and as
# each brings one loss at most, this bounds what a peer that connects and leaves all the time puts into the queue.
NEW_PEERS_MAX = 64

assert BYTES_MAX >= 16 * BYTES_PER_PEER_MAX


class Meter:
    """Frames and bytes that one thread put and the other took."""

    __slots__ = ("bytes_put", "bytes_taken", "closed", "put", "taken")

    def __init__(self) -> None:
        self.closed = False  # nothing may be put any more; whoever waited to put gives up
        self.put = self.taken = self.bytes_put = self.bytes_taken = 0

    def add(self, size: int) -> None:
        """Called by the putting thread."""
        self.put += 1
        self.bytes_put += size

    def remove(self, size: int) -> None:
        """Called by the taking thread."""
        self.taken += 1
        self.bytes_taken += size

    @property
    def waiting(self) -> int:
        """Frames put and not taken."""
        return self.put - self.taken

    @property
    def bytes_waiting(self) -> int:
        """Bytes put and not taken."""
        return self.bytes_put - self.bytes_taken


class Inbox:
    """Events from the network, in order, for the one loop that made it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counter[str]) -> None:
        self._loop = loop
        self._counters = counters
        self._events: deque[tuple[TransportEvent, Meter | None]] = deque()
        self._ready = asyncio.Event()
        self._waking = False
        self._total = Meter()
        self._gossip = Meter()
        self._new_peers = Meter()
        self._end: str | None = None
        self._discard = False
        self._stalled = False
        self._resume: trio.Event | None = None
        self.call_trio: Callable[[Callable[[], None]], None] | None = None

    # -- in the libp2p thread

    def put(self, event: TransportEvent, meter: Meter | None = None) -> None:
        """Queue an event and wake the loop unless it is already being woken."""
        if self._discard:
            return
        if isinstance(event, PeerConnected):
            self._new_peers.add(0)
        self._events.append((event, meter))
        self._wake()

    async def room_for_peer(self) -> None:
        """Wait until the daemon has been told of most peers; for those that come to us."""
        await self._room(lambda: self._new_peers.waiting >= NEW_PEERS_MAX, "new_peer_stalls")

    def put_gossip(self, event: GossipReceived) -> None:
        """Queue a gossiped message, or drop and count it if the daemon has not kept up."""
        if self._gossip.waiting >= GOSSIP_MAX:
            self._counters["gossip_dropped_in"] += 1
            return
        self._gossip.add(len(event.data))
        self.put(event)

    async def put_frame(self, event: FrameReceived, meter: Meter) -> None:
        """Queue a frame of the peer that `meter` belongs to; waits while the daemon is behind, so the peer waits."""
        await self._room(lambda: not meter.closed and self._full(meter), "channel_stalls")
        if meter.closed:
            return
        meter.add(len(event.data))
        self._total.add(len(event.data))
        self.put(event, meter)

    async def _room(self, full: Callable[[], bool], counter: str) -> None:
        """Wait as long as it is full."""
        while full():
            if self._resume is None:
                self._resume = trio.Event()
            resume = self._resume
            self._stalled = True
            if not full():  # the loop may have taken the last one before it could see the flag
                break
            self._counters[counter] += 1
            await resume.wait()

    def _full(self, meter: Meter) -> bool:
        return (
            meter.waiting >= FRAMES_PER_PEER_MAX
            or meter.bytes_waiting >= BYTES_PER_PEER_MAX
            or self._total.bytes_waiting >= BYTES_MAX
        )

    def _resume_readers(self) -> None:
        if self._resume is not None:
            self._resume.set()
            self._resume = None

    def finish(self, reason: str, *, discard: bool = False) -> None:
        """`get` raises `TransportError(reason)` once the queue is empty, or at once with `discard`. From any thread."""
        self._end = reason
        self._discard = discard
        if discard:
            self._events.clear()
        self._waking = False
        self._wake()

    def _wake(self) -> None:
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody is waiting
                self._loop.call_soon_threadsafe(self._on_wake)

    # -- in the asyncio loop

    def _on_wake(self) -> None:
        self._waking = False
        self._ready.set()

    async def get(self) -> TransportEvent:
        """The next event. Raises `TransportError` after `finish`."""
        while not self._events:
            if self._end is not None:
                raise TransportError(self._end)
            self._ready.clear()
            await self._ready.wait()
        event, meter = self._events.popleft()
        if meter is not None and isinstance(event, FrameReceived):
            meter.remove(len(event.data))
            self._total.remove(len(event.data))
        elif isinstance(event, GossipReceived):
            self._gossip.remove(len(event.data))
        elif isinstance(event, PeerConnected):
            self._new_peers.remove(0)
        if self._stalled and self.call_trio is not None and not isinstance(event, GossipReceived | PeerLost):
            self._stalled = False
            self.call_trio(self._resume_readers)
        return event
