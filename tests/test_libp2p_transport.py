"""The transport between real nodes over loopback: connect, frames, gossip, loss, restart, leaving."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.exceptions import IOException

from node import libp2p_transport
from node.libp2p_address import EXAMPLE_LISTEN, EXAMPLE_PEER, parse_address, parse_listen
from node.libp2p_channel import OUTBOUND_BYTES_MAX, OUTBOUND_FRAMES_MAX, ChunkReader, channel_protocol
from node.libp2p_inbox import FRAMES_PER_PEER_MAX
from node.libp2p_transport import Libp2pTransport
from node.transport import (
    FRAME_SIZE_MAX,
    GOSSIP_SIZE_MAX,
    FrameReceived,
    GossipReceived,
    PeerConnected,
    PeerLost,
    TransportError,
    TransportEvent,
    TransportRestarted,
)
from protocol.identity import KeySigner, peer_id
from protocol.verdict import Verdict
from tests.hostile import Attacker, attack

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
TOPIC = "/tutti/test/records/1"
NETWORK = bytes(range(32))
CHANNEL = channel_protocol(NETWORK)
TIMEOUT_S = 60


def judge(data: bytes) -> Verdict:
    return {b"i": Verdict.IGNORE, b"r": Verdict.REJECT}.get(data[:1], Verdict.ACCEPT)


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Libp2pTransport]]:
    """Running transports, not connected yet."""
    made = [Libp2pTransport(bytes([65 + n]) * 32, [LOOPBACK], network=NETWORK) for n in range(count)]
    try:
        for transport in made:
            transport.subscribe(TOPIC, judge)
            await transport.start()
        yield made
    finally:
        for transport in made:
            await transport.close()


async def event(transport: Libp2pTransport) -> TransportEvent:
    return await asyncio.wait_for(transport.receive(), TIMEOUT_S)


async def connect(dialler: Libp2pTransport, listener: Libp2pTransport) -> None:
    """Dial and take both `PeerConnected`."""
    assert await dialler.dial(listener.addresses()[0]) == listener.peer
    assert await event(dialler) == PeerConnected(listener.peer, listener.addresses()[0])
    other = await event(listener)
    assert isinstance(other, PeerConnected)
    assert other.peer == dialler.peer
    assert other.address.endswith(f"/p2p/{peer_id(dialler.peer)}")


def test_channel__frames_arrive_whole_and_in_order_both_ways() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await connect(a, b)
            frames = [bytes([n % 251]) * size for n, size in enumerate([1, 3, 70_000, 100, FRAME_SIZE_MAX, 5, 65_535])]
            for frame in frames:
                await a.send(b.peer, frame)
                await b.send(a.peer, frame[::-1])
            assert [await event(b) for _ in frames] == [FrameReceived(a.peer, frame) for frame in frames]
            assert [await event(a) for _ in frames] == [FrameReceived(b.peer, frame[::-1]) for frame in frames]
            assert (a.peers(), b.peers()) == ([b.peer], [a.peer])
            size = sum(map(len, frames))
            for name, value in {"messages_in": len(frames), "messages_out": len(frames), "bytes_in": size}.items():
                assert a.counters()[f"channel_{name}"] == value

    asyncio.run(main())


def test_channel__a_slow_reader_slows_the_sender_and_loses_nothing() -> None:
    count = FRAMES_PER_PEER_MAX + 700

    async def main() -> None:
        async with nodes(2) as (a, b):
            await connect(a, b)
            for number in range(count):
                await a.send(b.peer, number.to_bytes(4, "big"))
                await asyncio.to_thread(int)  # lets the other threads run, so that the reader does fall behind
            for number in range(count):
                assert await event(b) == FrameReceived(a.peer, number.to_bytes(4, "big"))

    asyncio.run(main())


def test_send__errors_for_no_channel_and_bad_sizes() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            with pytest.raises(TransportError, match=f"no channel to {peer_id(b.peer)}"):
                await a.send(b.peer, b"x")
            await connect(a, b)
            for data in (b"", bytes(FRAME_SIZE_MAX + 1)):
                with pytest.raises(TransportError, match=f"1 to {FRAME_SIZE_MAX} bytes, not {len(data)}"):
                    await a.send(b.peer, data)

    asyncio.run(main())


async def send_until_refused(transport: Libp2pTransport, peer: bytes, data: bytes) -> None:
    """The network's buffers take some; the queue behind them must fill."""
    for _ in range(OUTBOUND_FRAMES_MAX):
        await transport.send(peer, data)


def test_send__a_full_queue_is_an_error_and_not_a_silent_drop() -> None:
    async def main() -> None:
        async with nodes(1) as (a,):
            loop = asyncio.get_running_loop()
            full = loop.create_future()

            async def fill(attacker: Attacker) -> None:
                await attacker.stream(CHANNEL)  # and never reads
                done = trio.Event()
                token = trio.lowlevel.current_trio_token()
                loop.call_soon_threadsafe(full.add_done_callback, lambda _: token.run_sync_soon(done.set))
                await done.wait()

            task = asyncio.create_task(attack(a.addresses()[0], fill))
            connected = await event(a)
            assert isinstance(connected, PeerConnected)
            big = bytes(FRAME_SIZE_MAX // 4)
            for _ in range(OUTBOUND_BYTES_MAX // len(big)):
                await a.send(connected.peer, big)
            with pytest.raises(TransportError, match="too slowly"):
                await send_until_refused(a, connected.peer, big)
            full.set_result(None)
            await task

    asyncio.run(main())


def test_dial__twice_at_once_or_again_gives_one_channel() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            address = b.addresses()[0]
            assert await asyncio.gather(*(a.dial(address) for _ in range(5))) == [b.peer] * 5
            assert await a.dial(address) == b.peer
            await a.send(b.peer, b"first")
            assert isinstance(await event(a), PeerConnected)
            assert isinstance(await event(b), PeerConnected)
            assert await event(b) == FrameReceived(a.peer, b"first")

    asyncio.run(main())


def test_dial__from_both_sides_at_once_gives_one_channel() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await asyncio.gather(a.dial(b.addresses()[0]), b.dial(a.addresses()[0]))
            for number in range(20):
                await a.send(b.peer, bytes([number]))
                await b.send(a.peer, bytes([number]))
            for one, other in ((a, b), (b, a)):
                assert isinstance(await event(one), PeerConnected)
                got = [await event(one) for _ in range(20)]
                assert all(isinstance(frame, FrameReceived) and frame.peer == other.peer for frame in got)
                assert one.peers() == [other.peer]
            await a.close()
            assert await event(b) == PeerLost(a.peer)

    asyncio.run(main())


def test_dial__errors_name_the_address_and_the_reason() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            refused = f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(b.peer)}"
            with pytest.raises(TransportError, match=f"cannot reach {refused}: connection refused"):
                await a.dial(refused)
            other = KeySigner(b"z" * 32).public_key
            wrong = b.addresses()[0].replace(peer_id(b.peer), peer_id(other))
            with pytest.raises(TransportError, match=f"cannot reach {wrong}: another key answers there"):
                await a.dial(wrong)
            with pytest.raises(TransportError, match="own address"):
                await a.dial(a.addresses()[0])
            with pytest.raises(TransportError, match="bad address 'nonsense'"):
                await a.dial("nonsense")
            assert await a.dial(b.addresses()[0]) == b.peer  # none of it stands in the way

    asyncio.run(main())


def test_listen__a_taken_port_is_an_error_with_a_remedy_even_beside_another_node() -> None:
    async def main() -> None:
        async with nodes(1) as (a,):
            taken = a.addresses()[0].split("/p2p/")[0]
            b = Libp2pTransport(b"b" * 32, [taken], network=NETWORK)
            with pytest.raises(TransportError, match=f"cannot listen on {taken}: the port is taken; .* choose another"):
                await b.start()
            with pytest.raises(TransportError):
                await b.receive()

    asyncio.run(main())


@pytest.mark.parametrize("bad", ["", "4101", "/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3/tcp/1", "/dns4/a/tcp/1"])
def test_listen__a_bad_multiaddr_is_an_error_with_an_example(bad: str) -> None:
    with pytest.raises(TransportError, match=EXAMPLE_LISTEN):
        Libp2pTransport(b"b" * 32, [bad], network=NETWORK)


def test_listen__a_wildcard_is_shown_as_real_addresses() -> None:
    async def main() -> None:
        a = Libp2pTransport(b"a" * 32, ["/ip4/0.0.0.0/tcp/0"], network=NETWORK)
        await a.start()
        shown = a.addresses()
        await a.close()
        assert any(address.startswith("/ip4/127.0.0.1/tcp/") for address in shown)
        assert not any("0.0.0.0" in address or "/tcp/0/" in address for address in shown)  # noqa: S104
        assert {parse_address(address)[1] for address in shown} == {a.peer}

    asyncio.run(main())


def test_parse_address__takes_an_address_with_a_peer_id() -> None:
    address, key = parse_address(EXAMPLE_PEER)
    assert str(address) == EXAMPLE_PEER
    assert EXAMPLE_PEER.endswith(peer_id(key))


@given(st.text() | st.from_regex(r"/(ip4|ip6|dns|tcp|udp|p2p)(/[\w.:]*){0,5}"))
def test_parse_address__raises_nothing_but_transport_errors(text: str) -> None:
    for parse in (parse_address, parse_listen):
        try:
            parse(text)
        except TransportError as error:
            assert "like /ip4/" in str(error)
            assert "\n" not in str(error)


@given(st.lists(st.binary(max_size=40), max_size=20), st.data())
def test_chunk_reader__gives_the_same_frames_however_the_bytes_were_cut(frames: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    chunks = [wire[i:j] for i, j in zip([0, *cuts], [*cuts, len(wire)], strict=True) if i < j]

    class Chunks:
        async def read(self, n: int | None = None) -> bytes:
            assert n
            if not chunks:
                raise IOException
            return chunks.pop(0)

    async def main() -> None:
        reader = ChunkReader(Chunks())
        for frame in frames:
            assert await reader.exactly(int.from_bytes(await reader.exactly(4), "big")) == frame
        with pytest.raises(IOException):
            await reader.exactly(1)

    trio.run(main)


def test_gossip__reaches_every_node_once_over_several_hops() -> None:
    async def main() -> None:
        async with nodes(4) as line:
            for one, other in pairwise(line):
                await connect(one, other)
            for number in range(20):
                await line[0].publish(TOPIC, b"message %d" % number)
            for transport in line[1:]:
                got = {await event(transport) for _ in range(20)}
                assert got == {GossipReceived(TOPIC, b"message %d" % n) for n in range(20)}
            await line[3].send(line[2].peer, b"next")  # so nothing else came, at least from this side
            assert await event(line[2]) == FrameReceived(line[3].peer, b"next")

    asyncio.run(main())


def test_gossip__what_a_validator_ignores_or_rejects_goes_no_further() -> None:
    async def main() -> None:
        async with nodes(3) as (a, b, c):
            await connect(a, b)
            await connect(b, c)
            for data in (b"rejected", b"ignored", b"accepted"):
                await a.publish(TOPIC, data)
            for transport in (b, c):
                assert await event(transport) == GossipReceived(TOPIC, b"accepted")
            assert b.counters()["gossip_rejected"] == b.counters()["gossip_ignored"] == 1
            assert c.counters()["gossip_messages_in"] == 1

    asyncio.run(main())


def test_gossip__who_connects_just_after_a_message_still_gets_it() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await a.publish(TOPIC, b"early")
            await connect(b, a)
            assert await event(b) == GossipReceived(TOPIC, b"early")

    asyncio.run(main())


def test_gossip__goes_both_ways_again_with_a_peer_that_restarted_at_once() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await connect(b, a)
            for number in range(5):
                await b.publish(TOPIC, b"old life %d" % number)
                assert await event(a) == GossipReceived(TOPIC, b"old life %d" % number)
                await b.close()
                b = Libp2pTransport(b"B" * 32, [], network=NETWORK)  # noqa: PLW2901 - the same identity in its next life
                b.subscribe(TOPIC, judge)
                await b.start()
                await b.dial(a.addresses()[0])
                assert await event(a) == PeerLost(b.peer)
                assert isinstance(await event(a), PeerConnected)
                assert isinstance(await event(b), PeerConnected)
                await a.publish(TOPIC, b"to %d" % number)
                while await event(b) != GossipReceived(TOPIC, b"to %d" % number):
                    pass  # recent messages of the old life come again: this life has not seen them
                await b.publish(TOPIC, b"from %d" % number)
                assert await event(a) == GossipReceived(TOPIC, b"from %d" % number)
            await b.close()

    asyncio.run(main())


def test_gossip__goes_both_ways_when_both_sides_dialled_at_once() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await asyncio.gather(a.dial(b.addresses()[0]), b.dial(a.addresses()[0]))
            for one, other in ((a, b), (b, a)):
                assert isinstance(await event(one), PeerConnected)
                await other.publish(TOPIC, b"from " + other.peer)
                assert await event(one) == GossipReceived(TOPIC, b"from " + other.peer)

    asyncio.run(main())


def test_publish__errors_for_a_topic_not_subscribed_and_bad_sizes() -> None:
    async def main() -> None:
        async with nodes(1) as (a,):
            with pytest.raises(TransportError, match="subscribe to other before"):
                await a.publish("other", b"x")
            with pytest.raises(TransportError, match=f"1 to {GOSSIP_SIZE_MAX} bytes"):
                await a.publish(TOPIC, bytes(GOSSIP_SIZE_MAX + 1))
            with pytest.raises(TransportError, match="before the transport starts"):
                a.subscribe("late", judge)

    asyncio.run(main())


KILLED = """
import asyncio, sys
from node.libp2p_transport import Libp2pTransport
async def main():
    node = Libp2pTransport(b"k" * 32, [], network=bytes(range(32)))
    await node.start()
    await node.dial(sys.argv[1])
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_loss__a_killed_process_is_reported_once_and_may_come_back() -> None:
    async def main() -> None:
        async with nodes(1) as (a,):
            for _ in range(2):
                command = [sys.executable, "-c", KILLED, a.addresses()[0]]
                with subprocess.Popen(command, cwd=Path(__file__).parent.parent) as process:  # noqa: ASYNC220 - no pipe
                    connected = await asyncio.wait_for(a.receive(), 3 * TIMEOUT_S)
                    assert isinstance(connected, PeerConnected)
                    process.send_signal(signal.SIGKILL)
                    assert await event(a) == PeerLost(connected.peer)
                assert a.peers() == []

    asyncio.run(main())


def test_close__ends_receive_and_the_peer_and_leaves_no_thread_or_socket() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> None:
        threads, files = threading.active_count(), open_files()
        a, b = Libp2pTransport(b"a" * 32, [LOOPBACK], network=NETWORK), Libp2pTransport(b"b" * 32, [LOOPBACK], network=NETWORK)
        await a.start()
        await b.start()
        await connect(a, b)
        waiting = asyncio.create_task(a.receive())
        await a.close()
        with pytest.raises(TransportError, match="closed"):
            await waiting
        assert await event(b) == PeerLost(a.peer)
        await b.close()
        await b.close()
        for refused in (a.send(b.peer, b"x"), a.publish(TOPIC, b"x"), a.dial(EXAMPLE_PEER), a.receive(), a.start()):
            with pytest.raises(TransportError):
                await refused
        assert (threading.active_count(), open_files()) == (threads, files)

    asyncio.run(main())


def test_close__before_start_and_while_dialling() -> None:
    async def main() -> None:
        a = Libp2pTransport(b"a" * 32, [LOOPBACK], network=NETWORK)
        await a.close()
        with pytest.raises(TransportError):
            await a.start()
        async with nodes(1) as (b,):
            port = server.getsockname()[1]
            dialling = asyncio.create_task(b.dial(f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(a.peer)}"))
            while not b._pending:
                await asyncio.to_thread(int)
            await b.close()
            with pytest.raises(TransportError, match="closed"):
                await dialling

    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts, and nobody says a word
        asyncio.run(main())


async def die() -> None:
    raise RuntimeError("the stack is broken")


def kill_stack(transport: Libp2pTransport) -> None:
    nursery = transport._nursery
    assert nursery is not None
    transport._call_trio(lambda: nursery.start_soon(die))


def test_supervision__a_dead_stack_comes_back_on_its_port_and_says_so() -> None:
    async def main() -> None:
        async with nodes(2) as (a, b):
            await connect(a, b)
            address = a.addresses()
            kill_stack(a)
            assert await event(a) == PeerLost(b.peer)
            assert await event(a) == TransportRestarted("RuntimeError: the stack is broken")
            assert await event(b) == PeerLost(a.peer)
            assert a.addresses() == address
            await connect(b, a)
            await b.publish(TOPIC, b"again")
            assert await event(a) == GossipReceived(TOPIC, b"again")
            assert a.counters()["restarts"] == 1

    asyncio.run(main())


def test_supervision__gives_up_after_too_many_deaths_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_transport, "RESTARTS_MAX", 1)
    monkeypatch.setattr(libp2p_transport, "RESTART_DELAY_S", 0)

    async def main() -> None:
        async with nodes(1) as (a,):
            kill_stack(a)
            assert isinstance(await event(a), TransportRestarted)
            kill_stack(a)
            with pytest.raises(TransportError, match="died 2 times in a row, last of RuntimeError: the stack is broken"):
                await event(a)

    asyncio.run(main())
