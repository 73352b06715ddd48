"""Gossip of signed envelopes: the way in from peers, the way out from us, around the mesh.

Payloads are signed envelopes, so messages carry no second signature (StrictNoSign): `from`, `seqno`, `signature` and
`key` must be absent. The library's path for messages is replaced, because one bad message ends its whole service.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetConn, INetStream
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from node.libp2p_channel import ChunkReader
from node.libp2p_guards import RPC_SIZE_MAX, contained, verdict_of
from node.libp2p_inbox import Inbox
from node.libp2p_mesh import CONTROL_MAX, Mesh, message_id
from node.libp2p_swarm import GuardedHost
from node.libp2p_wire import address_of, now_ns
from node.limits import Limits, RateLimit
from node.transport import GOSSIP_SIZE_MAX, GossipReceived, Validator
from protocol.verdict import Verdict

# Streams of one peer: py-libp2p opens one for each of two connections made at once. The oldest of more is taken for dead.
READERS_PER_PEER_MAX = 2
# Messages looked at of one RPC, which could hold a hundred thousand empty ones; more than a peer may send at once.
MESSAGES_MAX = 1024
SEEN_S = 120
SEEN_MAX = 1 << 16

assert SEEN_MAX > SEEN_S * 200


class SeenCache:
    """Ids judged within `SEEN_S`, at most `SEEN_MAX`; the oldest go first."""

    def __init__(self) -> None:
        self._times: OrderedDict[bytes, float] = OrderedDict()

    def has(self, mid: bytes) -> bool:
        """True if the id was added recently."""
        return mid in self._times

    def add(self, mid: bytes) -> None:
        """Remember an id and forget the old ones."""
        now = trio.current_time()
        self._times[mid] = now
        while self._times and (len(self._times) > SEEN_MAX or next(iter(self._times.values())) < now - SEEN_S):
            self._times.popitem(last=False)


class Gossip(Pubsub):
    """The way in: reads peers' RPCs, judges messages, hands accepted ones to the inbox and the mesh."""

    def __init__(
        self,
        host: GuardedHost,
        mesh: Mesh,
        topics: Mapping[str, Validator],
        limits: Limits,
        inbox: Inbox,
        counters: Counter[str],
    ) -> None:
        super().__init__(
            host,
            mesh,
            strict_signing=False,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=RPC_SIZE_MAX,
            allowed_topics=set(topics),
        )
        self.seen_messages.stop()  # a thread of its own, and no limit; `_seen` takes its place
        host.swarm.on_lost = self.connection_lost
        mesh.unseen = self.unseen
        mesh.allows = self.allows
        self._seen = SeenCache()
        # By peer and not by stream, of which a connection may have many.
        self._limit = RateLimit(limits.gossip_per_peer)
        self._news = RateLimit(limits.gossip_new_per_address)
        self._parsing = trio.Lock()
        self._readers: dict[ID, list[INetStream]] = {}
        self._topics = topics
        self._inbox = inbox
        self._counters = counters

    def unseen(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those of `ids` that were not judged yet."""
        return [mid for mid in ids if not self._seen.has(mid)]

    def allows(self, peer: ID) -> bool:
        """Whether one more entry of a peer's gossip may be handled; else it is counted and dropped."""
        allowed = self._limit.allows(peer, now_ns())
        if not allowed:
            self._counters["gossip_over_rate"] += 1
        return allowed

    async def send_own(self, topic: str, data: bytes) -> None:
        """Publish a message of ours; it is not delivered to ourselves."""
        message = rpc_pb2.Message(data=data, topicIDs=[topic])
        self._seen.add(message_id(message))
        await self.router.publish(self.my_id, message)

    async def stream_handler(self, stream: INetStream) -> None:
        """Guard 2. Stock lets the DecodeError of garbage end the service; here it costs the peer its stream."""
        peer = stream.muxed_conn.peer_id
        readers = self._readers.setdefault(peer, [])
        readers.append(stream)
        if len(readers) > READERS_PER_PEER_MAX:
            self._counters["guard_too_many_gossip_streams"] += 1
            await readers[0].reset()
        try:
            await self._read(stream)
        except IOException:
            pass  # closed or reset by the peer
        except DecodeError:
            self._counters["guard_gossip_garbage"] += 1
        finally:
            readers.remove(stream)
            if not readers:
                self._readers.pop(peer, None)
                self._forget(peer)
        await stream.reset()

    async def _read(self, stream: INetStream) -> None:
        peer, address = stream.muxed_conn.peer_id, address_of(stream)
        reader = ChunkReader(stream)
        while True:
            data = await reader.message(RPC_SIZE_MAX)
            # Parsed, an RPC of empty messages is sixty times as large: one of all peers is in memory at a time.
            async with self._parsing:
                await self._handle(peer, address, data)

    async def _handle(self, peer: ID, address: str | None, data: bytes) -> None:
        """Take what one RPC says; raises DecodeError for garbage."""
        rpc = rpc_pb2.RPC.FromString(data)
        for entry in rpc.subscriptions[:CONTROL_MAX]:
            if self.allows(peer):
                self.handle_subscription(peer, entry)
        self._counters["gossip_over_rate"] += max(0, len(rpc.publish) - MESSAGES_MAX)
        for message in rpc.publish[:MESSAGES_MAX]:
            if self.allows(peer):
                # Guard 3: whatever a message can raise concerns this message alone.
                await contained(self._counters, "guard_gossip_message", self.push_msg, peer, message, address)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message, address: str | None = None) -> None:
        """Judge a peer's message once, deliver it and pass it on."""
        self._counters["gossip_messages_in"] += 1
        self._counters["gossip_bytes_in"] += len(msg.data)
        validator = self._topics.get(msg.topicIDs[0]) if len(msg.topicIDs) == 1 else None
        # StrictNoSign: from, seqno, signature and key must be absent, else one payload could have many forms.
        if (
            validator is None
            or len(msg.data) > GOSSIP_SIZE_MAX
            or msg.from_id
            or msg.seqno
            or msg.HasField("signature")
            or msg.HasField("key")
        ):
            self._counters["gossip_malformed"] += 1
            return
        mid = message_id(msg)
        if self._seen.has(mid):
            self._counters["gossip_copies"] += 1
            return
        if address is not None and not self._news.allows(address, now_ns()):
            self._counters["gossip_over_rate"] += 1
            return  # not seen: another peer may bring it
        self._seen.add(mid)
        verdict = verdict_of(self._counters, validator, msg.data)
        if verdict is not Verdict.ACCEPT:
            self._counters["gossip_rejected" if verdict is Verdict.REJECT else "gossip_ignored"] += 1
            return
        self._inbox.put_gossip(GossipReceived(msg.topicIDs[0], msg.data))
        await self.router.publish(msg_forwarder, msg)

    def connection_lost(self, connection: INetConn) -> None:
        """Open a new stream if the old one went with `connection` while the peer is still here on another.

        Stock only looks when the last connection goes: a peer that restarts at once, or one of two connections that
        ends, leaves a dead stream in the table, and the peer never learns what we subscribe to.
        """
        for limit in (self._limit, self._news):
            limit.tidy(now_ns())
        stream = self.peers.get(connection.muxed_conn.peer_id)
        if isinstance(stream, NetStream) and stream.swarm_conn is connection:
            self._handle_dead_peer(connection.muxed_conn.peer_id)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        """Forget our stream to a peer, and what it subscribes to only if it is gone; stock forgets that always."""
        topics = [topic for topic, peers in self.peer_topics.items() if peer_id in peers]
        try:
            super()._handle_dead_peer(peer_id)
        except (KeyError, IOException):
            self._counters["guard_dead_peer"] += 1  # the peer is gone all the same, and the service must go on
        if self._peer_is_connected(peer_id):
            for topic in topics:
                self.peer_topics.setdefault(topic, set()).add(peer_id)
        self._forget(peer_id)

    def _forget(self, peer: ID) -> None:
        """Keep nothing in the mesh of a peer that is gone.

        Stock does so only for one that had taken a stream of ours, so fresh keys that take none fill its tables; and what a
        peer had sent may be read after it went.
        """
        if not self._peer_is_connected(peer) and peer not in self._readers:
            self.router.remove_peer(peer)
