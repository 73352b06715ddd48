"""What keeps a stranger from filling memory, places and queues, each shown by what it holds and not by what a process weighs.

Seen with the guard in question taken out: a stream that was reset keeps its window of data for a minute, one that we closed
stays as long as its peer likes, a negotiation line of any length and a yamux frame of 16 MiB are waited for, our own dials go
over the number of connections, and a peer that takes nothing keeps its place and what is queued for it for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from collections import Counter
from functools import partial

import pytest
import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import ID as PING_ID
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, FLAG_SYN, TYPE_DATA, YAMUX_HEADER_FORMAT, Yamux
from libp2p.utils import encode_varint_prefixed

from node import libp2p_inbox, libp2p_stack
from node.libp2p_guards import QUEUE_BYTES_PER_PEER, BoundedQueue
from node.libp2p_mesh import BACKOFF_S_MAX, Mesh
from node.libp2p_transport import Libp2pTransport
from node.libp2p_wire import READ_COST, READ_SIZE_MAX, STALL_S, Budgets, Wire
from node.limits import Limits, Rate
from node.transport import GossipReceived, PeerConnected, PeerLost
from tests.attack import in_trio
from tests.hostile import MESHSUB, Attacker, attack, connected, until_closed
from tests.test_libp2p_guards import CHANNEL, LOOPBACK, NETWORK, TIMEOUT_S, TOPIC, Pair, pair

ELSEWHERE = "127.0.0.66"
# Far more than anything here takes, and less than the minute for which stock keeps what was reset.
PATIENCE_S = 30


def frame(stream: int, flags: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, flags, stream, len(data) if length is None else length) + data


async def ping(attacker: Attacker) -> None:
    """Returns when the victim has handled what was sent before."""
    stream = await attacker.stream(PING_ID)
    await stream.write(bytes(32))
    await stream.read(32)


def muxer_of(it: Pair, attacker: Attacker) -> Yamux:
    """The victim's side of an attacker's connection."""
    stack = it.node._stack
    assert stack is not None
    (connection,) = stack.swarm.get_connections(attacker.host.get_id())
    assert isinstance(connection.muxed_conn, Yamux)
    return connection.muxed_conn


async def say(attacker: Attacker, data: bytes) -> None:
    muxed = attacker.connection.muxed_conn
    assert isinstance(muxed, Yamux)
    await muxed.secured_conn.write(data)


def test_stream_that_was_reset__keeps_none_of_its_data() -> None:
    numbers = range(101, 161, 2)

    async def main() -> None:
        async with pair(Limits(streams_per_connection=4)) as it:

            async def act(attacker: Attacker) -> None:
                for number in numbers:  # refused or negotiated badly: which of the two, the scheduler says
                    await say(attacker, frame(number, FLAG_SYN, encode_varint_prefixed(b"x" * 60_000)))
                last = await attacker.raw_stream()
                with contextlib.suppress(IOException):  # refused already
                    await last.write(encode_varint_prefixed(b"x" * 2_000))
                await until_closed(last)  # so all before it has been read
                muxed = muxer_of(it, attacker)
                with trio.fail_after(PATIENCE_S):
                    for table in (muxed.streams, muxed.stream_buffers, muxed.stream_events):
                        # Nothing tells when the last of them has been reset.
                        while any(number in table for number in numbers):  # noqa: ASYNC110
                            await trio.sleep(0.01)

            await it.attack(act)
            await it.still_serves()

    asyncio.run(main())


def test_stream_that_is_finished__is_forgotten_though_its_peer_never_closes_it() -> None:
    async def main() -> None:
        async with pair() as it:

            async def act(attacker: Attacker) -> None:
                for _ in range(40):  # more than a connection may have
                    stream = await attacker.stream(IDENTIFY_ID)
                    assert await until_closed(stream)
                await ping(attacker)
                muxed = muxer_of(it, attacker)
                for table in (muxed.streams, muxed.stream_buffers, muxed.stream_events):
                    assert len(table) < 8

            await it.attack(act)
            assert it.hits("guard_too_many_streams") == 0
            await it.still_serves()

    asyncio.run(main())


def test_streams__of_a_peer_are_counted_over_its_connections() -> None:
    keys = create_new_key_pair()

    async def two_connections(it: Pair) -> None:
        async with connected(it.address, keys) as first, connected(it.address, keys) as second:
            for _ in range(25):
                await first.raw_stream()
            await ping(first)
            assert it.hits("guard_too_many_streams") == 0
            for _ in range(25):
                await second.raw_stream()
            with trio.fail_after(PATIENCE_S):
                # Which of them are refused, and when, the scheduler says.
                while it.hits("guard_too_many_streams") < 8:  # noqa: ASYNC110
                    await trio.sleep(0.01)

    async def main() -> None:
        async with pair(Limits(streams_per_connection=32, streams_per_peer=40)) as it:
            await in_trio(partial(two_connections, it))
            await it.still_serves()

    asyncio.run(main())


def test_yamux_frame__of_more_than_the_window_ends_the_connection_before_it_is_read() -> None:
    async def act(attacker: Attacker) -> None:
        await say(attacker, frame(101, FLAG_SYN, b"", DEFAULT_WINDOW_SIZE + 1))
        await attacker.connection.event_closed.wait()

    async def main() -> None:
        async with pair() as it:
            await it.attack(act)
            await it.still_serves()

    asyncio.run(main())


@pytest.mark.parametrize("line", [b"\xff" * 9 + b"\x01", b"\x81\x08"])
def test_negotiation__a_line_that_is_too_long_is_not_waited_for(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a whole it may take far longer than this waits.
    monkeypatch.setattr(libp2p_stack, "NEGOTIATION_TIMEOUT_S", 10 * PATIENCE_S)
    monkeypatch.setattr(libp2p_stack, "HANDSHAKE_TIMEOUT_S", 10 * PATIENCE_S)

    async def main() -> None:
        async with pair() as it:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(it.address.split("/")[4]))
            writer.write(line)
            async with asyncio.timeout(PATIENCE_S):
                while await reader.read(1 << 16):
                    pass
            writer.close()
            await it.still_serves()
            assert it.hits("guard_handshake") == 1

    asyncio.run(main())


def test_dials__of_ours_push_out_strangers_the_newest_first() -> None:
    async def main() -> None:
        others = [Libp2pTransport(bytes([n]) * 32, [LOOPBACK], network=NETWORK) for n in range(1, 6)]
        async with pair(Limits(connections=4, connections_own=1)) as it:
            for other in others:
                await other.start()
            for stranger in others[:2]:  # with the honest peer, the three places that are not ours
                await stranger.dial(it.address)
                assert isinstance(await asyncio.wait_for(it.node.receive(), TIMEOUT_S), PeerConnected)
            for own in others[2:]:
                assert await it.node.dial(own.addresses()[0]) == own.peer
            events = [await asyncio.wait_for(it.node.receive(), TIMEOUT_S) for _ in range(5)]
            lost = [event.peer for event in events if isinstance(event, PeerLost)]
            assert lost == [others[1].peer, others[0].peer]
            assert it.node.peers() == sorted([it.honest.peer, *(own.peer for own in others[2:])])
            for other in others:
                await other.close()

    asyncio.run(main())


def test_inbox__peers_that_come_and_go_wait_while_the_daemon_has_not_been_told_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_inbox, "NEW_PEERS_MAX", 4)
    visits = 12

    async def act(attacker: Attacker) -> None:
        await attacker.stream(CHANNEL)
        with trio.move_on_after(0.05):
            await trio.sleep_forever()

    async def main() -> None:
        async with pair() as it:
            for _ in range(visits):
                await it.attack(act)
            assert len(it.node._inbox._events) <= 2 * libp2p_inbox.NEW_PEERS_MAX
            assert it.hits("new_peer_stalls")
            seen: Counter[type] = Counter()
            while seen[PeerLost] < libp2p_inbox.NEW_PEERS_MAX:
                seen[type(await asyncio.wait_for(it.node.receive(), TIMEOUT_S))] += 1
            assert seen[PeerConnected] >= seen[PeerLost]

    asyncio.run(main())


def test_queue_of_gossip__is_bounded_in_bytes_and_has_room_again() -> None:
    async def main() -> None:
        queue, rpc = BoundedQueue(), rpc_pb2.RPC(publish=[rpc_pb2.Message(data=bytes(60_000))])
        pushed = 0
        while queue.push(rpc):
            pushed += 1
        assert pushed == QUEUE_BYTES_PER_PEER // rpc.ByteSize()
        assert await queue.pop() == rpc
        assert queue.push(rpc)
        assert not queue.push(rpc)

    trio.run(main)


def test_gossip__news_of_one_address_are_limited_together_and_pass_from_another() -> None:
    data = [b"message %d" % n for n in range(20)]

    async def spray(it: Pair) -> None:
        for _ in range(2):  # two peers, one address
            async with connected(it.address, source=ELSEWHERE) as attacker:
                stream = await attacker.stream(MESHSUB)
                await attacker.gossip(stream, *(rpc_pb2.Message(data=each, topicIDs=[TOPIC]) for each in data))
                await stream.write(b"\x01\x08")
                await until_closed(stream)

    async def main() -> None:
        async with pair(Limits(gossip_new_per_address=Rate(1, 12))) as it:
            await in_trio(partial(spray, it))
            heard = [await asyncio.wait_for(it.node.receive(), TIMEOUT_S) for _ in range(12)]
            assert heard[:12] == [GossipReceived(TOPIC, each) for each in data[:12]]
            await it.honest.publish(TOPIC, data[19])
            while await asyncio.wait_for(it.node.receive(), TIMEOUT_S) != GossipReceived(TOPIC, data[19]):
                pass

    asyncio.run(main())


def test_gossip__old_messages_are_served_within_a_rate() -> None:
    async def main() -> None:
        async with pair(Limits(gossip_served_per_peer=Rate(1, 150_000))) as it:
            for _ in range(4):
                await it.node.publish(TOPIC, os.urandom(60_000))
                assert isinstance(await asyncio.wait_for(it.honest.receive(), TIMEOUT_S), GossipReceived)

            async def act(attacker: Attacker) -> None:
                stream = await attacker.stream(MESHSUB)
                for on in (True, False, True):  # subscribing again is no new claim
                    rpc = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=on, topicid=TOPIC)])
                    await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
                await stream.write(b"\x01\x08")
                await until_closed(stream)

            async def never(_: object) -> None:
                await trio.sleep_forever()

            await attack(it.address, act, gossip_handler=never)
            assert it.hits("gossip_not_served") >= 1
            await it.still_serves()

    asyncio.run(main())


def test_prune__cannot_ask_for_a_back_off_without_end() -> None:
    async def act(attacker: Attacker) -> None:
        stream = await attacker.stream(MESHSUB)
        rpc = rpc_pb2.RPC()
        rpc.control.prune.add(topicID=TOPIC, backoff=(1 << 64) - 1)
        await stream.write(encode_varint_prefixed(rpc.SerializeToString()) + b"\x01\x08")
        await until_closed(stream)

    async def main() -> None:
        async with pair() as it:
            await it.attack(act)
            stack = it.node._stack
            assert stack is not None
            assert stack.gossip is not None
            assert isinstance(stack.gossip.router, Mesh)
            (until,) = stack.gossip.router.back_off[TOPIC].values()
            assert until <= time.time() + BACKOFF_S_MAX

    asyncio.run(main())


def test_gossip__keeps_nothing_of_a_peer_that_never_took_a_stream_of_ours_and_left() -> None:
    async def act(attacker: Attacker) -> None:
        stream = await attacker.stream(MESHSUB)
        rpc = rpc_pb2.RPC()
        rpc.control.graft.add(topicID=TOPIC)
        rpc.control.ihave.add(topicID=TOPIC, messageIDs=[bytes(32)])
        rpc.control.idontwant.add(messageIDs=[os.urandom(32)])
        rpc.control.prune.add(topicID=TOPIC, backoff=1)
        await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
        await ping(attacker)

    async def main() -> None:
        async with pair() as it:
            stack = it.node._stack
            assert stack is not None
            assert stack.gossip is not None
            mesh = stack.gossip.router
            assert isinstance(mesh, Mesh)
            for _ in range(3):
                await it.attack(act)
            async with asyncio.timeout(TIMEOUT_S):
                # Nothing tells when the victim has seen the last of them go.
                while stack.gossip._readers.keys() - stack.gossip.peers.keys():  # noqa: ASYNC110
                    await asyncio.sleep(0)
            honest = set(stack.gossip.peers)
            kept = (mesh.graft_flood_tracking, mesh.ihave_message_limits, mesh.dont_send_message_ids, mesh.mesh[TOPIC])
            assert [len(set(table) - honest) for table in kept] == [0, 0, 0, 0]
            await it.still_serves()

    asyncio.run(main())


async def _wires(host: str, limits: Limits) -> tuple[Wire, trio.SocketStream, trio.SocketListener]:
    """Our side of a TCP connection, the other one, and the listener between."""
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    other = await trio.open_tcp_stream(host, listener.socket.getsockname()[1])
    return Wire(await listener.accept(), Budgets(limits, Counter())), other, listener


def test_wire__a_peer_that_takes_nothing_loses_its_connection() -> None:
    async def main() -> None:
        wire, other, listener = await _wires("127.0.0.1", Limits())
        async with other, listener:
            began = trio.current_time()
            with pytest.raises(ConnectionClosedError):
                await wire.write(bytes(64 << 20))
            assert trio.current_time() - began == STALL_S
            assert wire.closed

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.2))


def test_wire__who_sends_more_than_its_rate_is_read_more_slowly_and_loses_nothing() -> None:
    limits = Limits(work_per_address=Rate(100_000, 300_000))
    size = 2_000_000

    async def main() -> None:
        wire, other, listener = await _wires("127.0.0.1", limits)
        async with other, listener, trio.open_nursery() as nursery:
            nursery.start_soon(other.send_all, bytes(size))
            began, got, reads = trio.current_time(), 0, 0
            while got < size:
                got += len(await wire.read(1 << 30))
                reads += 1
            paid = size + reads * READ_COST
            assert got == size
            assert reads >= size // READ_SIZE_MAX
            assert trio.current_time() - began == pytest.approx((paid - 300_000) / 100_000)
            wire.abort()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


def test_wire__knows_its_peer_over_ipv6_too() -> None:
    async def main() -> None:
        wire, other, listener = await _wires("::1", Limits())
        async with other, listener:
            assert wire.get_remote_address() == other.socket.getsockname()[:2]
            assert wire.address == "::/64"
            wire.abort()

    trio.run(main)


def test_frames__of_one_peer_over_its_rate_wait_and_all_arrive() -> None:
    count = 60

    async def main() -> None:
        async with pair(Limits(frames_per_peer=Rate(200, 20))) as it:
            began = time.monotonic()
            for number in range(count):
                await it.honest.send(it.node.peer, b"%d" % number)
            for number in range(count):
                event = await asyncio.wait_for(it.node.receive(), TIMEOUT_S)
                assert event.data == b"%d" % number  # type: ignore[union-attr]
            # The last is handed over before what comes after it would wait.
            assert time.monotonic() - began >= (count - 1 - 20) / 200
            assert it.hits("channel_paced")

    asyncio.run(main())
