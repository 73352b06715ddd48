"""Attackers: libp2p peers that connect properly and then send what the protocol forbids, in a thread of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr

from node.libp2p_address import parse_address
from node.libp2p_guards import GuardedManager
from node.libp2p_stack import build_host
from node.libp2p_swarm import GuardedHost
from node.limits import Limits
from protocol.identity import peer_id

TIMEOUT_S = 60
MESHSUB = TProtocol("/meshsub/1.2.0")


class Attacker:
    """A connected peer with nothing but a host: no channel, no gossip."""

    def __init__(self, host: GuardedHost, connection: SwarmConn, victim: ID) -> None:
        self.host = host
        self.connection = connection
        self._victim = victim

    async def raw_stream(self) -> NetStream:
        """A yamux stream on which nothing was negotiated yet."""
        return await self.connection.new_stream()

    async def stream(self, protocol: str) -> NetStream:
        """A stream of `protocol`."""
        stream = await self.host.new_stream(self._victim, [TProtocol(protocol)])
        assert isinstance(stream, NetStream)
        return stream

    async def gossip(self, stream: NetStream, *messages: rpc_pb2.Message) -> None:
        """Send messages in one RPC."""
        await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=messages).SerializeToString()))


async def until_closed(stream: NetStream) -> bytes:
    """What the victim still sends on a stream before it closes it."""
    seen = b""
    try:
        while chunk := await stream.read(1 << 16):
            seen += chunk
    except IOException:
        pass
    return seen


@asynccontextmanager
async def _host(keys: KeyPair) -> AsyncIterator[GuardedHost]:
    failure: Exception | None = None  # raised as it is, not in the nursery's group
    async with trio.open_nursery() as nursery:
        host = build_host(keys, Limits(), Counter())
        manager = GuardedManager(host.swarm, Counter())
        nursery.start_soon(manager.run)
        await manager.wait_started()
        try:
            yield host
        except Exception as error:  # noqa: BLE001 - reason above
            failure = error
        finally:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                for listener in host.swarm.listeners.values():
                    await listener.close()
            host.swarm.sockets.close()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def connected(
    address: str,
    keys: KeyPair | None = None,
    gossip_handler: Callable[[INetStream], Awaitable[None]] | None = None,
    source: str | None = None,
) -> AsyncIterator[Attacker]:
    """A peer that has connected to `address`, from the address `source` if that is given; under trio."""
    target, key = parse_address(address)
    victim = ID.from_base58(peer_id(key))
    async with _host(keys or create_new_key_pair()) as host:
        if gossip_handler is not None:
            host.set_stream_handler(MESHSUB, gossip_handler)
        with trio.fail_after(TIMEOUT_S):
            # The library's own way to dial from an address leaves its socket open when it is cancelled.
            ip, port = target.value_for_protocol("ip4"), int(target.value_for_protocol("tcp"))
            raw = RawConnection(host.swarm._wire(await trio.open_tcp_stream(ip, port, local_address=source)), initiator=True)
            connection = await host.swarm.upgrade_outbound_raw_conn(raw, victim)
        yield Attacker(host, connection, victim)


async def attack(
    address: str,
    act: Callable[[Attacker], Awaitable[None]],
    keys: KeyPair | None = None,
    gossip_handler: Callable[[INetStream], Awaitable[None]] | None = None,
) -> None:
    """Connect to `address`, run `act` and disconnect, while the calling loop goes on."""

    async def main() -> None:
        with trio.fail_after(TIMEOUT_S):
            async with connected(address, keys, gossip_handler) as attacker:
                await act(attacker)

    await asyncio.to_thread(trio.run, main)


@asynccontextmanager
async def listening(serve: Callable[[object, INetStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A peer that accepts connections and runs `serve` on each raw stream instead of negotiating; its address."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[tuple[str, Callable[[], None]]] = loop.create_future()
    keys = create_new_key_pair()

    async def main() -> None:
        with trio.fail_after(TIMEOUT_S):
            async with _host(keys) as host:
                host.swarm.set_stream_handler(partial(serve, host))
                (bound,) = await host.swarm.listen_on(Multiaddr("/ip4/127.0.0.1/tcp/0"))
                done = trio.Event()
                token = trio.lowlevel.current_trio_token()
                address = f"{bound}/p2p/{peer_id(keys.public_key.to_bytes())}"
                loop.call_soon_threadsafe(ready.set_result, (address, partial(token.run_sync_soon, done.set)))
                await done.wait()

    thread = asyncio.create_task(asyncio.to_thread(trio.run, main))
    address, stop = await ready
    try:
        yield address
    finally:
        stop()
        await thread
