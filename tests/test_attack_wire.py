"""Each attacker of the wire against a node with all limits on: it serves an honest peer during and after, and keeps nothing.

That it keeps nothing is counted in connections, streams, buffers and keys, which depend on no machine's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from libp2p.stream_muxer.yamux.yamux import Yamux

from node.libp2p_channel import OUTBOUND_BYTES_MAX
from node.libp2p_guards import QUEUE_BYTES_PER_PEER, BoundedQueue
from node.libp2p_inbox import BYTES_MAX, GOSSIP_MAX, NEW_PEERS_MAX
from node.libp2p_stack import Stack
from node.libp2p_swarm import UNREAD_PER_CONNECTION_MAX
from node.libp2p_transport import Libp2pTransport
from node.limits import Limits, Rate
from node.transport import FrameReceived
from protocol import gossip
from protocol.genesis import protocol_prefix
from protocol.identity import peer_id
from protocol.outbox import TOPICS
from protocol.verdict import Verdict
from tests.attack import Attack, Target
from tests.attack_wire import ATTACKS

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
NETWORK = bytes(range(32))
TIMEOUT_S = 60
# The default, with less at once, so that attacks meet their limits soon.
LIMITS = Limits(work_per_peer=Rate(8 << 20, 2 << 20), work_per_address=Rate(16 << 20, 8 << 20), frames_per_peer=Rate(400, 400))

# What the victim has counted when an attack is under way, and so many of it.
SEEN = {
    "tcp_garbage": ("guard_handshake", 8),
    "multistream_garbage": ("guard_handshake", 8),
    "noise_garbage": ("guard_handshake", 8),
    "half_open": ("guard_too_many_handshakes", 100),
    "reconnects": ("connections_in", 4),
    "reconnects_at_once": ("guard_too_many_handshakes", 1),
    "channels_come_and_go": ("channels_in", 4),
    "yamux_garbage": ("connections_in", 4),
    "pings": ("work_paced", 1),
    "streams": ("guard_too_many_streams", 40),
    "streams_left_open": ("work_paced", 1),
    "ignores_the_window": ("channel_bytes_in", 1 << 20),
    "reads_nothing": ("channels_in", 4),
    "never_finishes": ("channels_in", 20),
    "channel_garbage": ("channel_messages_in", 20),
    "frame_flood": ("channel_paced", 1),
    "gossip_garbage": ("guard_gossip_garbage", 8),
    "gossip_junk": ("gossip_over_rate", 100),
    "subscriptions": ("gossip_over_rate", 100),
    "gossip_control": ("gossip_over_rate", 100),
}


def _judge(topic: str, data: bytes) -> Verdict:
    return gossip.Gate(NETWORK, topic, lambda _: False).validate(data, 0, 0)[0]


class Victim:
    """A node whose daemon only answers an honest peer."""

    def __init__(self, node: Libp2pTransport, honest: Libp2pTransport) -> None:
        self.node = node
        self.honest = honest
        self.other_frames = 0
        host, port = node.addresses()[0].split("/")[2:5:2]
        self.target = Target(host, int(port), peer_id(node.peer), node.peer, NETWORK)

    @property
    def stack(self) -> Stack:
        assert self.node._stack is not None
        return self.node._stack

    async def serve(self) -> None:
        """Answer the honest peer's frames."""
        while True:
            event = await self.node.receive()
            if isinstance(event, FrameReceived) and event.peer == self.honest.peer:
                await self.node.send(event.peer, event.data)

    async def answers(self, count: int) -> None:
        """The old channel of the honest peer carries questions and answers."""
        for number in range(count):
            question = b"question %d" % number
            await self.honest.send(self.node.peer, question)
            async with asyncio.timeout(TIMEOUT_S):
                while await self.honest.receive() != FrameReceived(self.node.peer, question):
                    pass

    async def lets_in(self, seed: bytes) -> None:
        """A new peer finds a place."""
        newcomer = Libp2pTransport(seed * 32, [], network=NETWORK)
        await newcomer.start()
        try:
            assert await newcomer.dial(self.node.addresses()[0]) == self.node.peer
        finally:
            await newcomer.close()

    async def is_under(self, attack: Attack) -> None:
        """Wait until the attack has done what it is for."""
        counter, count = SEEN[attack.name]
        async with asyncio.timeout(TIMEOUT_S):
            while self.node.counters().get(counter, 0) < count:
                await self.answers(1)

    def holds_little(self) -> None:
        """Everything that an attacker can fill is within its limits."""
        swarm, inbox, channels, pubsub = self.stack.swarm, self.node._inbox, self.stack.channels, self.stack.gossip
        assert channels is not None
        assert pubsub is not None
        assert len(swarm.admission.guests) <= LIMITS.connections_per_address + 2
        assert len(swarm.admission.handshakes) <= LIMITS.handshakes_per_address + 2
        for connection in swarm.get_connections():
            muxed = connection.muxed_conn
            assert isinstance(muxed, Yamux)
            assert len(muxed.streams) <= LIMITS.streams_per_connection + 16  # those in the act of being refused
            assert sum(map(len, muxed.stream_buffers.values())) <= UNREAD_PER_CONNECTION_MAX
        assert inbox._total.bytes_waiting <= BYTES_MAX
        assert len(inbox._events) <= GOSSIP_MAX + 4 * NEW_PEERS_MAX + 256 * len(swarm.admission.guests)
        assert all(link._queued.bytes_waiting <= OUTBOUND_BYTES_MAX for link in channels.links.values())
        for queue in pubsub.peer_queues.values():
            assert isinstance(queue, BoundedQueue)
            assert queue.bytes_waiting <= QUEUE_BYTES_PER_PEER
        assert set(pubsub.peer_topics) <= set(pubsub._topics)

    async def is_rid_of_it(self) -> None:
        """Only the honest peer's connection is left, and its sockets, streams and topics."""
        swarm, pubsub = self.stack.swarm, self.stack.gossip
        assert pubsub is not None
        async with asyncio.timeout(TIMEOUT_S):
            while len(swarm.admission.guests) > 1 or swarm.admission.handshakes or len(swarm.get_connections()) > 1:
                await self.answers(1)
            while not set(pubsub.peers) == set(pubsub._readers) == set(swarm.connections):
                await self.answers(1)
            while self.node.peers() != [self.honest.peer]:
                await self.answers(1)
        assert sum(not wire.closed for wire in swarm.sockets._wires) == 1
        assert set(pubsub.peers) == set(pubsub.peer_queues)
        assert "restarts" not in self.node.counters()


@asynccontextmanager
async def victim() -> AsyncIterator[Victim]:
    node = Libp2pTransport(b"v" * 32, [LOOPBACK], network=NETWORK, limits=LIMITS)
    honest = Libp2pTransport(b"h" * 32, [], network=NETWORK)
    for transport in (node, honest):
        for topic in TOPICS:
            transport.subscribe(f"{protocol_prefix(NETWORK)}/{topic}/1", lambda data, topic=topic: _judge(topic, data))  # type: ignore[misc]
        await transport.start()
    await honest.dial(node.addresses()[0])
    it = Victim(node, honest)
    serving = asyncio.create_task(it.serve())
    try:
        yield it
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await honest.close()
        await node.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack__leaves_honest_peers_served_and_nothing_behind(attack: Attack) -> None:
    async def main() -> None:
        async with victim() as it:
            attacking = asyncio.ensure_future(attack.run(it.target))
            await it.is_under(attack)
            it.holds_little()
            await it.lets_in(b"d")
            await it.answers(5)
            assert not attacking.done()
            attacking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await attacking
            await it.is_rid_of_it()
            await it.answers(5)
            await it.lets_in(b"a")

    asyncio.run(main())


def test_table__has_each_attack_once_and_tells_what_it_shows() -> None:
    assert sorted(attack.name for attack in ATTACKS) == sorted(SEEN)
