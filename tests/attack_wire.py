"""Attackers below the envelope: garbage at each layer, floods of connections, streams, frames and gossip, and peers that wait.

All speak the real wire up to the layer that they attack. On loopback they come from another address than honest peers, as they
would from elsewhere. Each does a piece of its work and then rests, so that it takes a third of a core at most.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import ID as PING_ID
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.io.exceptions import IOException
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_SYN,
    TYPE_DATA,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)
from libp2p.utils import encode_varint_prefixed

from node.libp2p_channel import channel_protocol
from node.libp2p_guards import RPC_SIZE_MAX
from node.transport import FRAME_SIZE_MAX, GOSSIP_SIZE_MAX
from protocol.genesis import protocol_prefix
from protocol.outbox import TOPICS
from tests.attack import Attack, Target, in_trio
from tests.hostile import MESHSUB, Attacker, connected

# Another address of this machine, where the system has it.
ELSEWHERE = "127.0.0.66"
# What an attacker meets when its victim defends itself.
HUNG_UP = (BaseLibp2pError, OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError)
# Sockets of one attacker, below the common limit of 1,024 descriptors of a process.
SOCKETS = 900
_AGAIN_S = 0.05
_MULTISTREAM = encode_varint_prefixed(b"/multistream/1.0.0\n")
_NOISE = encode_varint_prefixed(b"/noise\n")

Act = Callable[[Attacker, Target], Awaitable[None]]


class Pace:
    """Rests twice as long as this thread was busy."""

    def __init__(self) -> None:
        self._busy_s = time.thread_time()

    async def rest(self) -> None:
        """Give the core back."""
        spent_s = time.thread_time() - self._busy_s
        await trio.sleep(max(0.002, 2 * spent_s))
        self._busy_s = time.thread_time()


def source_for(target: Target) -> str | None:
    """The address to attack from."""
    return ELSEWHERE if target.host.startswith("127.") else None


@asynccontextmanager
async def _tcp(target: Target) -> AsyncIterator[trio.SocketStream]:
    stream = await trio.open_tcp_stream(target.host, target.port, local_address=source_for(target))
    async with stream:
        yield stream


async def _talk(target: Target, *parts: bytes) -> None:
    """Say `parts` and hear the victim out."""
    with trio.move_on_after(1):
        async with _tcp(target) as stream:
            for part in parts:
                await stream.send_all(part)
            async for _ in stream:
                pass


async def _raw(lines: Iterator[tuple[bytes, ...]], target: Target) -> None:
    """Talk without end, four at a time."""
    pace = Pace()

    async def one() -> None:
        for parts in lines:
            try:
                await _talk(target, *parts)
            except HUNG_UP:
                await trio.sleep(_AGAIN_S)
            await pace.rest()

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)


def _tcp_garbage() -> Iterator[tuple[bytes, ...]]:
    while True:
        yield (os.urandom(300),)
        yield (bytes(5_000),)
        yield (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",)


def _multistream_garbage() -> Iterator[tuple[bytes, ...]]:
    while True:
        yield _MULTISTREAM, b"\x05\xff\xfe\xfd\xfc\n"
        yield (b"\xff" * 9 + b"\x01",)  # a line of 2^63 bytes
        yield b"\xff\xff\xff\x7f", *[bytes(1 << 16)] * 64  # a line of 256 MiB, and its first 4
        yield _MULTISTREAM, encode_varint_prefixed(b"ls\n") * 200
        yield _MULTISTREAM, encode_varint_prefixed(os.urandom(900) + b"\n") * 20


def _noise_garbage() -> Iterator[tuple[bytes, ...]]:
    start = _MULTISTREAM + _NOISE
    while True:
        yield start, b"\x00\x00"
        yield start, b"\x00\x20" + os.urandom(32)
        yield start, b"\xff\xff" + os.urandom(65_535)
        yield start, b"\x00\x20" + os.urandom(32), b"\x01\x00" + os.urandom(256)


async def half_open(target: Target) -> None:
    """Hold a thousand connections that say nothing, and make a new one for each that the victim closes."""
    pace, places = Pace(), trio.Semaphore(SOCKETS)

    async def hold() -> None:
        try:
            async with _tcp(target) as stream:
                await stream.receive_some(1)
        except HUNG_UP:
            pass
        finally:
            places.release()

    async with trio.open_nursery() as nursery:
        while True:
            for _ in range(10):
                await places.acquire()
                nursery.start_soon(hold)
            await pace.rest()


async def _visit(target: Target) -> None:
    """Connect under a fresh key, and go."""
    try:
        with trio.move_on_after(5):
            async with connected(target.address, source=source_for(target)):
                pass
    except HUNG_UP:
        await trio.sleep(_AGAIN_S)


async def reconnects(target: Target) -> None:
    """Connect under a fresh key and go, one after the other."""
    pace = Pace()
    while True:
        await _visit(target)
        await pace.rest()


async def reconnects_at_once(target: Target) -> None:
    """Connect under forty fresh keys at once and go."""
    pace = Pace()
    while True:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(_visit, target)
        await pace.rest()


async def channels_come_and_go(target: Target) -> None:
    """Open a channel under a fresh key, so that the victim tells its daemon of a peer, and go."""
    pace = Pace()
    while True:
        try:
            with trio.move_on_after(5):
                async with connected(target.address, source=source_for(target)) as attacker:
                    await attacker.stream(channel_protocol(target.network))
        except HUNG_UP:
            await trio.sleep(_AGAIN_S)
        await pace.rest()


def _yamux(kind: int, flags: int, stream: int, length: int) -> bytes:
    return struct.pack(YAMUX_HEADER_FORMAT, 0, kind, flags, stream, length)


def _session(attacker: Attacker) -> SecureSession:
    """The encrypted connection under the multiplexer."""
    muxed = attacker.connection.muxed_conn
    assert isinstance(muxed, Yamux)
    assert isinstance(muxed.secured_conn, SecureSession)
    return muxed.secured_conn


async def _send(attacker: Attacker, data: bytes) -> None:
    """Write beside the multiplexer; the library says nothing when the connection is gone."""
    if attacker.connection.is_closed:
        raise IOException("the victim hung up")
    await _session(attacker).write(data)


async def yamux_garbage(attacker: Attacker, _: Target) -> None:
    """Frames of no kind, of no stream, too large, or with flags that exclude each other, until the victim hangs up."""
    pace = Pace()
    frames = [
        _yamux(TYPE_WINDOW_UPDATE, 0xFFFF, 7, 0xFFFFFFFF),
        _yamux(TYPE_DATA, 0, 99, 5) + b"hello",
        _yamux(9, 3, 1, 0),
        _yamux(TYPE_DATA, FLAG_SYN, 0, 3) + b"abc",
        os.urandom(12),
        _yamux(TYPE_DATA, FLAG_SYN, 1001, 16 << 20) + bytes(60_000),
    ]
    for frame in itertools.cycle(frames):
        await _send(attacker, frame)
        await pace.rest()


async def pings(attacker: Attacker, _: Target) -> None:
    """Five thousand yamux pings in one packet, again and again."""
    pace, packet = Pace(), _yamux(TYPE_PING, FLAG_SYN, 0, 1) * 5_000
    while True:
        await _send(attacker, packet)
        await pace.rest()


async def streams(attacker: Attacker, _: Target) -> None:
    """Open streams that say nothing, without end."""
    pace = Pace()
    for number in itertools.count(101, 2):
        await _send(attacker, _yamux(TYPE_WINDOW_UPDATE, FLAG_SYN, number, 0))
        await pace.rest()


async def streams_left_open(attacker: Attacker, _target: Target) -> None:
    """Streams that the victim has finished with and this side never closes, each with a full window of data behind."""
    pace = Pace()
    hello = _MULTISTREAM + encode_varint_prefixed(IDENTIFY_ID.encode() + b"\n")
    for number in itertools.count(101, 2):
        await _send(attacker, _yamux(TYPE_DATA, FLAG_SYN, number, len(hello)) + hello)
        for _ in range(4):
            size = DEFAULT_WINDOW_SIZE // 4 - len(hello)
            await _send(attacker, _yamux(TYPE_DATA, 0, number, size) + bytes(size))
        await pace.rest()


async def ignores_the_window(attacker: Attacker, target: Target) -> None:
    """Sends on without credit, on a channel, on gossip and on ping."""
    opened = [await attacker.stream(protocol) for protocol in (channel_protocol(target.network), MESHSUB, PING_ID)]
    pace, piece = Pace(), (60_000).to_bytes(4, "big") + os.urandom(60_000)
    while True:
        for stream in opened:
            assert isinstance(stream.muxed_stream, YamuxStream)
            stream.muxed_stream.send_window = 1 << 30
            await stream.write(piece)
        await pace.rest()


async def reads_nothing(attacker: Attacker, target: Target) -> None:
    """Subscribes, opens a channel, asks for answers, and takes nothing from its socket any more."""
    pace = Pace()
    await attacker.stream(channel_protocol(target.network))
    gossip = await attacker.stream(MESHSUB)
    await gossip.write(_rpc(rpc_pb2.RPC(subscriptions=[_sub(topic, subscribe=True) for topic in _topics(target)])))

    async def never(**_: object) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    _session(attacker).conn.read_msg = never  # type: ignore[method-assign]
    while True:
        await _send(attacker, _yamux(TYPE_PING, FLAG_SYN, 0, 1) * 1_000)
        await pace.rest()


async def never_finishes(attacker: Attacker, target: Target) -> None:
    """Nearly whole frames and RPCs, and then a byte a second."""
    channel = await attacker.stream(channel_protocol(target.network))
    gossips = [await attacker.stream(MESHSUB) for _ in range(4)]
    await channel.write(FRAME_SIZE_MAX.to_bytes(4, "big") + bytes(FRAME_SIZE_MAX - 100))
    for stream in gossips:
        await stream.write(encode_varint_prefixed(bytes(RPC_SIZE_MAX))[:-100])
    while True:
        await trio.sleep(1)
        await channel.write(b"\x00")


_DEEP = b"\x91" * 50_000 + b"\x01"  # fifty thousand arrays, each in the one before


async def channel_garbage(attacker: Attacker, target: Target) -> None:
    """Frames that are no envelope: random, empty maps, deep, large; at last one of no size."""
    pace, channel = Pace(), await attacker.stream(channel_protocol(target.network))
    for frame in [os.urandom(200), b"\x80", _DEEP, bytes(FRAME_SIZE_MAX), b"\xc1", os.urandom(70_000)] * 20:
        await channel.write(len(frame).to_bytes(4, "big") + frame)
        await pace.rest()
    await channel.write(bytes(4))
    await channel.read(1)


async def frame_flood(attacker: Attacker, target: Target) -> None:
    """Small frames, as fast as the victim reads them."""
    pace, channel = Pace(), await attacker.stream(channel_protocol(target.network))
    while True:
        await channel.write((64).to_bytes(4, "big").join([b"", *[os.urandom(64) for _ in range(500)]]))
        await pace.rest()


def _rpc(rpc: rpc_pb2.RPC) -> bytes:
    return encode_varint_prefixed(rpc.SerializeToString())


def _topics(target: Target) -> list[str]:
    return [f"{protocol_prefix(target.network)}/{topic}/1" for topic in TOPICS]


def _sub(topic: str, *, subscribe: bool) -> rpc_pb2.RPC.SubOpts:
    return rpc_pb2.RPC.SubOpts(subscribe=subscribe, topicid=topic)


async def _gossiping(make: Callable[[Target], Iterator[bytes]], attacker: Attacker, target: Target) -> None:
    """Write what `make` gives on a gossip stream; on a new one when the victim has reset it."""
    pace, pieces = Pace(), make(target)
    while True:
        stream = await attacker.stream(MESHSUB)
        try:
            for piece in pieces:
                await stream.write(piece)
                await pace.rest()
        except IOException:
            await trio.sleep(_AGAIN_S)


def _gossip_garbage(target: Target) -> Iterator[bytes]:
    nested = b""
    for _ in range(2_000):
        nested = b"\x1a" + encode_varint_prefixed(nested)
    while True:
        yield b"\x05abc\x00\xff"
        yield b"\xff\xff\xff\xff\xff\x7f"
        yield encode_varint_prefixed(nested)
        yield encode_varint_prefixed(os.urandom(2_000))
        message = rpc_pb2.Message(data=b"x", topicIDs=_topics(target), from_id=b"\x12\x20" + bytes(32), key=b"junk")
        yield _rpc(rpc_pb2.RPC(publish=[message]))


def _gossip_junk(target: Target) -> Iterator[bytes]:
    """Messages of the right form with nothing in them, small and many, large, and deep."""
    topics = _topics(target)
    while True:
        small = [rpc_pb2.Message(data=os.urandom(100), topicIDs=[topics[n % 2]]) for n in range(200)]
        yield _rpc(rpc_pb2.RPC(publish=small))
        yield _rpc(rpc_pb2.RPC(publish=[rpc_pb2.Message(data=os.urandom(GOSSIP_SIZE_MAX), topicIDs=topics[:1])]))
        yield _rpc(rpc_pb2.RPC(publish=[rpc_pb2.Message(data=_DEEP + os.urandom(8), topicIDs=topics[:1])]))
        yield _rpc(rpc_pb2.RPC(publish=[rpc_pb2.Message()] * 60_000))


def _subscriptions(target: Target) -> Iterator[bytes]:
    """In and out of the real topics, and into ever new ones."""
    real = [_sub(topic, subscribe=on) for topic in _topics(target) for on in (False, True)]
    while True:
        yield _rpc(rpc_pb2.RPC(subscriptions=real * 16))
        yield _rpc(rpc_pb2.RPC(subscriptions=[_sub(os.urandom(20).hex(), subscribe=True) for _ in range(500)]))


def _control(target: Target) -> Iterator[bytes]:
    """Announces and asks for what there is not, grafts and prunes itself without end."""
    for topic in itertools.cycle(_topics(target)):
        rpc = rpc_pb2.RPC()
        ids = [os.urandom(32) for _ in range(100)]
        for _ in range(8):
            rpc.control.ihave.add(topicID=topic, messageIDs=ids)
            rpc.control.iwant.add(messageIDs=ids)
            rpc.control.idontwant.add(messageIDs=ids)
            rpc.control.graft.add(topicID=topic)
            rpc.control.prune.add(topicID=topic, backoff=(1 << 63) - 1, peers=[rpc_pb2.PeerInfo(peerID=os.urandom(38))] * 20)
        yield _rpc(rpc)


async def _again_and_again(act: Act, target: Target) -> None:
    """Attack as a peer; when the victim has hung up, again under another key."""
    while True:
        try:
            async with connected(target.address, source=source_for(target)) as attacker:
                await act(attacker, target)
        except HUNG_UP:
            pass
        await trio.sleep(_AGAIN_S)


async def _peers(count: int, act: Act, target: Target) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(_again_and_again, act, target)


def _attack(name: str, run: Callable[[Target], Awaitable[None]]) -> Attack:
    async def attack(target: Target) -> None:
        await in_trio(partial(run, target))

    return Attack(name, attack)


def peer_attack(name: str, act: Act, count: int = 2) -> Attack:
    """By `count` peers."""
    return _attack(name, partial(_peers, count, act))


ATTACKS: tuple[Attack, ...] = (
    _attack("tcp_garbage", lambda target: _raw(_tcp_garbage(), target)),
    _attack("multistream_garbage", lambda target: _raw(_multistream_garbage(), target)),
    _attack("noise_garbage", lambda target: _raw(_noise_garbage(), target)),
    _attack("half_open", half_open),
    _attack("reconnects", reconnects),
    _attack("reconnects_at_once", reconnects_at_once),
    _attack("channels_come_and_go", channels_come_and_go),
    peer_attack("yamux_garbage", yamux_garbage),
    peer_attack("pings", pings),
    peer_attack("streams", streams),
    peer_attack("streams_left_open", streams_left_open),
    peer_attack("ignores_the_window", ignores_the_window),
    peer_attack("reads_nothing", reads_nothing, 8),
    peer_attack("never_finishes", never_finishes, 30),
    peer_attack("channel_garbage", channel_garbage),
    peer_attack("frame_flood", frame_flood),
    peer_attack("gossip_garbage", partial(_gossiping, _gossip_garbage)),
    peer_attack("gossip_junk", partial(_gossiping, _gossip_junk)),
    peer_attack("subscriptions", partial(_gossiping, _subscriptions)),
    peer_attack("gossip_control", partial(_gossiping, _control)),
)
