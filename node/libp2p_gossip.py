"""GossipSub for signed envelopes: py-libp2p's mesh, with our own way in and out of it.

Payloads are signed envelopes, so messages carry no second signature (StrictNoSign), and their id is the SHA-256 of
the data, which is the envelope's identity anyway. py-libp2p takes such an id for its seen cache but goes on using
`from + seqno`, both empty here, in its message cache and equivocation check; so those three places are replaced.
What a peer can fill (topics, ids, back-offs, rates) has a limit here; the library has none.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from node.libp2p_channel import ChunkReader
from node.libp2p_guards import GuardedHost, contained, verdict_of
from node.libp2p_inbox import Inbox
from node.transport import GOSSIP_SIZE_MAX, GossipReceived, Validator, Verdict

PROTOCOLS = (TProtocol("/meshsub/1.2.0"), TProtocol("/meshsub/1.1.0"))
HEARTBEAT_S = 1
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12

# One peer's RPCs: as large as other implementations send them.
RPC_SIZE_MAX = 1 << 20
VARINT_SIZE_MAX = 4
# Messages of one peer: twice the budget of the whole network of 200 a second, with a burst for replays.
RATE_PER_S = 400
BURST = 800
# Ids that one IHAVE or IWANT may name. A window of 3 heartbeats at 200 messages a second has 600.
IDS_MAX = 1024
# Messages sent for one IWANT; at most 4 MiB.
IWANT_MAX = 64
# Control entries of one RPC: one per topic and kind is normal.
CONTROL_MAX = 64
SEEN_S = 120
SEEN_MAX = 1 << 16
QUEUE_PER_PEER = 1024
# Below this, telling a neighbour not to send a message costs more than the message.
IDONTWANT_SIZE_MIN = 4096

assert SEEN_MAX > SEEN_S * 200


def message_id(message: rpc_pb2.Message) -> bytes:
    """SHA-256 of the data."""
    return hashlib.sha256(message.data).digest()


class DigestCache(MessageCache):
    """The library's message cache, by our id."""

    def put(self, msg: rpc_pb2.Message) -> None:
        """Remember a message for the window of gossip."""
        mid = message_id(msg)
        if mid not in self.msgs:
            self.msgs[mid] = msg
            self.history[0].append(CacheEntry(mid, msg.topicIDs))


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


class TokenBucket:
    """Allows `RATE_PER_S` with a burst of `BURST`."""

    def __init__(self) -> None:
        self._tokens = float(BURST)
        self._time = trio.current_time()

    def take(self) -> bool:
        """True if one more is allowed."""
        now = trio.current_time()
        self._tokens = min(BURST, self._tokens + (now - self._time) * RATE_PER_S)
        self._time = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Mesh(GossipSub):
    """The router: who gets a message."""

    def __init__(self, counters: Counter[str]) -> None:
        super().__init__(
            protocols=PROTOCOLS,
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_S,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        # Stock scoring is not calibrated; our weights come from audited work, not from gossip.
        self.scorer = None
        self.mcache = DigestCache(3, 5)
        self._counters = counters

    async def heartbeat(self) -> None:
        """The library's heartbeat, which goes on after an exception: what peers sent must not stop it."""
        while True:
            await contained(self._counters, "guard_heartbeat", super().heartbeat)
            await trio.sleep(HEARTBEAT_S)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Send a valid message on: our own to every subscriber, others' to the mesh."""
        assert self.pubsub is not None
        self.mcache.put(pubsub_msg)
        mid = message_id(pubsub_msg)
        topic = pubsub_msg.topicIDs[0]
        targets = set(self.pubsub.peer_topics.get(topic, ()))
        if msg_forwarder != self.pubsub.my_id:
            targets.discard(msg_forwarder)
            # The mesh, filled up to its degree: a subscriber whose GRAFT is still under way would miss the message
            # for good, as IHAVE goes only to peers outside the mesh.
            mesh = targets & self.mesh.get(topic, set())
            others = sorted(targets - mesh, key=ID.to_bytes)
            targets = mesh.union(others[: max(0, DEGREE - len(mesh))])
            if len(pubsub_msg.data) >= IDONTWANT_SIZE_MIN:
                await self._emit_idontwant_for_message(mid, [topic])
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        for peer in targets:
            if mid not in self.dont_send_message_ids.get(peer, ()):
                self._counters["gossip_messages_out"] += 1
                self._counters["gossip_bytes_out"] += len(pubsub_msg.data)
                self.send_rpc(peer, rpc)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Give a new subscriber the last seconds, through its queue; stock writes beside the queue's own writer."""
        for mid in self.mcache.window(topic):
            message = self.mcache.get(mid)
            if message is not None:
                self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Nothing is pending: `send_recent_messages` covers who subscribes late."""

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        """Send control without the signed peer record of stock, which every receiver would verify every time."""
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        self._counters["gossip_dropped_out"] += 1
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Do not dial the peers that a PRUNE names."""
        del px_peers
        self._counters["guard_peer_exchange"] += 1

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Control messages about topics of ours. Stock keeps state for any topic that a peer makes up."""
        control = rpc.control
        assert self.pubsub is not None
        for ihave in control.ihave[:CONTROL_MAX]:
            if ihave.topicID in self.mesh and isinstance(self.pubsub, Gossip):
                wanted = self.pubsub.unseen(ihave.messageIDs[:IDS_MAX])
                if wanted and self._check_ihave_rate_limit(sender_peer_id, ihave.topicID):
                    await self.emit_iwant(wanted, sender_peer_id)
        for iwant in control.iwant[:CONTROL_MAX]:
            # Stock answers a repeated id each time, so a small request makes a large answer.
            unique = list(OrderedDict.fromkeys(iwant.messageIDs[:IDS_MAX]))[:IWANT_MAX]
            await self.handle_iwant(rpc_pb2.ControlIWant(messageIDs=unique), sender_peer_id)
        for graft in control.graft[:CONTROL_MAX]:
            if graft.topicID in self.mesh:
                await self.handle_graft(graft, sender_peer_id)
        for prune in control.prune[:CONTROL_MAX]:
            if prune.topicID in self.mesh:
                await self.handle_prune(prune, sender_peer_id)
        for idontwant in control.idontwant[:CONTROL_MAX]:
            await self.handle_idontwant(idontwant, sender_peer_id)


class Gossip(Pubsub):
    """The way in: reads peers' RPCs, judges messages, hands accepted ones to the inbox and the mesh."""

    def __init__(
        self, host: GuardedHost, mesh: Mesh, topics: Mapping[str, Validator], inbox: Inbox, counters: Counter[str]
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
        self._seen = SeenCache()
        self._topics = topics
        self._inbox = inbox
        self._counters = counters

    def unseen(self, ids: list[bytes]) -> list[bytes]:
        """Those of `ids` that were not judged yet."""
        return [mid for mid in ids if not self._seen.has(mid)]

    async def send_own(self, topic: str, data: bytes) -> None:
        """Publish a message of ours; it is not delivered to ourselves."""
        message = rpc_pb2.Message(data=data, topicIDs=[topic])
        self._seen.add(message_id(message))
        await self.router.publish(self.my_id, message)

    async def stream_handler(self, stream: INetStream) -> None:
        """Guard 2. Stock lets the DecodeError of garbage end the service; here it costs the peer its stream."""
        try:
            await self._read(stream)
        except IOException:
            pass  # closed or reset by the peer
        except DecodeError:
            self._counters["guard_gossip_garbage"] += 1
        await stream.reset()

    async def _read(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        reader = ChunkReader(stream)
        bucket = TokenBucket()
        while True:
            size = shift = 0
            while True:
                byte = (await reader.exactly(1))[0]
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:  # noqa: PLR2004 - the continuation bit of a varint
                    break
                if shift >= 7 * VARINT_SIZE_MAX:
                    raise DecodeError("length too long")
            if size > RPC_SIZE_MAX:
                raise DecodeError("RPC too large")
            rpc = rpc_pb2.RPC.FromString(await reader.exactly(size))
            for entry in rpc.subscriptions[:CONTROL_MAX]:
                self.handle_subscription(peer, entry)
            for message in rpc.publish:
                if bucket.take():
                    # Guard 3: whatever a message can raise concerns this message alone.
                    await contained(self._counters, "guard_gossip_message", self.push_msg, peer, message)
                else:
                    self._counters["gossip_over_rate"] += 1
            if rpc.HasField("control"):
                await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
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
        self._seen.add(mid)
        verdict = verdict_of(self._counters, validator, msg.data)
        if verdict is not Verdict.ACCEPT:
            self._counters["gossip_rejected" if verdict is Verdict.REJECT else "gossip_ignored"] += 1
            return
        self._inbox.put_gossip(GossipReceived(msg.topicIDs[0], msg.data))
        await self.router.publish(msg_forwarder, msg)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        await super()._handle_new_peer(peer_id)
        queue = self.peer_queues.get(peer_id)
        if queue is not None:
            queue._queue.max_size = QUEUE_PER_PEER  # noqa: SLF001 - stock: 32, and a burst of our own is larger

    def connection_lost(self, connection: INetConn) -> None:
        """Open a new stream if the old one went with `connection` while the peer is still here on another.

        Stock only looks when the last connection goes: a peer that restarts at once, or one of two connections that
        ends, leaves a dead stream in the table, and the peer never learns what we subscribe to.
        """
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
