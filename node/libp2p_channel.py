"""The one long-lived channel between two peers: frames of four bytes of length and the data.

The dialler opens the stream as soon as it is connected, so a send is a write and costs no round trip. When both
sides dial at once there are two streams: both are read, and both sides write on the one that the smaller key opened.
A channel ends, for good and with all its connections, when the stream it writes on ends: frames may be lost then, and
`PeerLost` says so.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Protocol

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream

from node.libp2p_guards import contained
from node.libp2p_inbox import Inbox, Meter
from node.libp2p_swarm import GuardedSwarm
from node.libp2p_wire import address_of, now_ns
from node.limits import Limits, RateLimit
from node.transport import FRAME_SIZE_MAX, FrameReceived, PeerConnected, PeerLost, TransportError
from protocol.errors import RemoteProtocolError
from protocol.genesis import protocol_prefix
from protocol.identity import peer_id, public_key_of

LENGTH_SIZE = 4
READ_SIZE = 1 << 16
# Written with one call: a yamux frame and a Noise message take up to 64 KiB.
BATCH_SIZE = (1 << 16) - 512

# Frames that wait for a slow peer; beyond, `send` raises, and the daemon decides.
OUTBOUND_FRAMES_MAX = 1024
OUTBOUND_BYTES_MAX = 2 << 20

assert OUTBOUND_BYTES_MAX >= 8 * FRAME_SIZE_MAX


def channel_protocol(network: bytes) -> TProtocol:
    """The id of the channel of one network: a node of another network does not open it."""
    return TProtocol(f"{protocol_prefix(network)}/channel/1")


class ByteStream(Protocol):
    """What is read here: any libp2p stream."""

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, at least one; raises IOException at the end."""
        ...


class ChunkReader:
    """Reads exact amounts from a stream in large chunks; each read of a libp2p stream costs a tenth of a millisecond."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._start = 0

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes. Raises `IOException` if the stream ends before."""
        while len(self._buffer) - self._start < size:
            if self._start:
                del self._buffer[: self._start]
                self._start = 0
            chunk = await self._stream.read(READ_SIZE)
            if not chunk:
                raise IOException("the stream ended")
            self._buffer += chunk
        end = self._start + size
        data = bytes(memoryview(self._buffer)[self._start : end])
        self._start = end
        return data

    async def frame(self) -> bytes:
        """The next frame of a channel; raises `DecodeError` for one that is empty or too long, as well as `exactly`."""
        size = int.from_bytes(await self.exactly(LENGTH_SIZE), "big")
        if not 0 < size <= FRAME_SIZE_MAX:
            raise DecodeError(f"a frame of {size} bytes")
        return await self.exactly(size)

    async def message(self, size_max: int) -> bytes:
        """The next message behind its length, a varint; raises `DecodeError` for one over `size_max`, as well as `exactly`."""
        size = shift = 0
        while True:
            byte = (await self.exactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
                break
            # No byte more than the largest length has: a longer one is over it, or pads what it says.
            if size_max >> shift == 0:
                raise DecodeError("length too long")
        if size > size_max:
            raise DecodeError("message too large")
        return await self.exactly(size)


class Link:
    """Everything about the channel to one peer. The asyncio thread only calls `queue` and reads."""

    def __init__(self, peer: bytes) -> None:
        self.peer = peer
        self.received = Meter()
        self.streams: dict[bytes, NetStream] = {}  # by the key of the peer that opened it
        self.wake = trio.Event()
        self.dirty = False
        self._frames: deque[bytes] = deque()
        self._queued = Meter()

    def queue(self, data: bytes) -> None:
        """Add one frame; raises `TransportError` if too much is waiting. In the asyncio thread."""
        if self._queued.waiting >= OUTBOUND_FRAMES_MAX or self._queued.bytes_waiting >= OUTBOUND_BYTES_MAX:
            raise TransportError(f"{peer_id(self.peer)} takes frames too slowly; {self._queued.waiting} are waiting")
        self._queued.add(len(data))
        self._frames.append(data)

    def next_batch(self) -> bytes:
        """As many waiting frames as fit one write; empty if none waits. In the libp2p thread."""
        parts: list[bytes] = []
        size = 0
        while self._frames and (not parts or size + LENGTH_SIZE + len(self._frames[0]) <= BATCH_SIZE):
            frame = self._frames.popleft()
            self._queued.remove(len(frame))
            parts.append(len(frame).to_bytes(LENGTH_SIZE, "big"))
            parts.append(frame)
            size += LENGTH_SIZE + len(frame)
        return b"".join(parts)

    def writing_stream(self) -> NetStream:
        """The stream that the smaller key opened."""
        return self.streams[min(self.streams)]


class Channels:
    """All links, in the libp2p thread. `links` may be read from the asyncio thread."""

    def __init__(self, own: bytes, limits: Limits, inbox: Inbox, counters: Counter[str], nursery: trio.Nursery) -> None:
        self.links: dict[bytes, Link] = {}
        self._of_peer = RateLimit(limits.frames_per_peer)
        self._of_address = RateLimit(limits.frames_per_address)
        self._own = own
        self._inbox = inbox
        self._counters = counters
        self._nursery = nursery

    async def accept(self, stream: INetStream) -> None:
        """The handler of streams that peers open; lives as long as the stream."""
        assert isinstance(stream, NetStream)
        try:
            peer = public_key_of(str(stream.muxed_conn.peer_id))
        except RemoteProtocolError:
            self._counters["guard_foreign_key"] += 1  # a channel needs the Ed25519 key inside the peer id
            await stream.reset()
            return
        remote = stream.get_remote_address()
        host, port = remote or ("0.0.0.0", 0)  # noqa: S104 - names an unknown origin, binds nothing
        kind = "ip6" if ":" in host else "ip4"
        await self._inbox.room_for_peer()
        self._counters["channels_in"] += 1
        link = self._join(stream, peer, peer, f"/{kind}/{host}/tcp/{port}/p2p/{peer_id(peer)}")
        await self._read(link, peer)

    def open(self, stream: NetStream, peer: bytes, address: str) -> None:
        """Use a stream that we opened; the channel is usable when this returns."""
        link = self._join(stream, peer, self._own, address)
        self._nursery.start_soon(contained, self._counters, "guard_channel_reader", self._read, link, self._own)

    def _join(self, stream: NetStream, peer: bytes, opener: bytes, address: str) -> Link:
        link = self.links.get(peer)
        if link is not None and opener in link.streams:
            # The same side opens again only after its old connection died, which we have not noticed yet.
            self._end(link)
            link = None
        if link is None:
            link = self.links[peer] = Link(peer)
            self._inbox.put(PeerConnected(peer, address))
            self._nursery.start_soon(contained, self._counters, "guard_channel_writer", self._write, link)
        link.streams[opener] = stream
        if stream.swarm_conn is not None:
            swarm = stream.swarm_conn.swarm
            assert isinstance(swarm, GuardedSwarm)
            swarm.keep(stream.swarm_conn)
        return link

    async def _read(self, link: Link, opener: bytes) -> None:
        stream = link.streams[opener]
        address = address_of(stream)
        reader = ChunkReader(stream)
        try:
            while not link.received.closed:
                data = await reader.frame()
                self._counters["channel_messages_in"] += 1
                self._counters["channel_bytes_in"] += len(data)
                await self._inbox.put_frame(FrameReceived(link.peer, data), link.received)
                await self._pace(link.peer, address)
        except DecodeError:
            self._counters["guard_frame_size"] += 1
            self._end(link)
        except IOException:
            pass  # the peer closed the stream or the connection is gone
        finally:
            if min(link.streams) == opener:
                self._end(link)
            else:  # the spare of two streams; nothing was written on it since both exist
                del link.streams[opener]

    async def _pace(self, peer: bytes, address: str | None) -> None:
        """Wait as long as the rates of this peer and its address say, so that the peer waits too and loses nothing."""
        now = now_ns()
        delay_ns = self._of_peer.charge(peer, now)
        if address is not None:
            delay_ns = max(delay_ns, self._of_address.charge(address, now))
        if delay_ns:
            self._counters["channel_paced"] += 1
            await trio.sleep(delay_ns / 1_000_000_000)

    async def _write(self, link: Link) -> None:
        try:
            while not link.received.closed:
                batch = link.next_batch()
                if batch:
                    await link.writing_stream().write(batch)
                else:
                    link.wake = trio.Event()
                    await link.wake.wait()
        except IOException:
            pass  # as in _read
        finally:
            self._end(link)

    def _end(self, link: Link) -> None:
        """Report the peer lost, once, and close its connections, so that the other side sees the same."""
        if self.links.get(link.peer) is not link:
            return
        del self.links[link.peer]
        for limit in (self._of_peer, self._of_address):
            limit.tidy(now_ns())
        link.received.closed = True
        link.wake.set()
        self._inbox.put(PeerLost(link.peer))
        for stream in link.streams.values():
            if stream.swarm_conn is not None:
                stream.swarm_conn.swarm.remove_conn(stream.swarm_conn)  # a dial right after this makes a new one
                self._nursery.start_soon(contained, self._counters, "guard_close", stream.swarm_conn.close)
