"""The gossip router: py-libp2p's GossipSub mesh under our message ids and limits.

A message's id is the SHA-256 of its data. py-libp2p takes such an id for its seen cache but goes on using
`from + seqno`, both empty here, in its message cache and equivocation check, so those are replaced. What a peer can
fill (topics, ids, back-offs) has a limit here; the library has none.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2

from node.libp2p_guards import contained
from node.libp2p_wire import now_ns
from node.limits import Limits, RateLimit

T = TypeVar("T")

PROTOCOLS = (TProtocol("/meshsub/1.2.0"), TProtocol("/meshsub/1.1.0"))
HEARTBEAT_S = 1
DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12

# Ids read of the IHAVE of one RPC. A window of 3 heartbeats at 200 messages a second has 600.
IDS_MAX = 1024
# Messages sent for the IWANT of one RPC, within `Limits.gossip_served_per_peer`.
IWANT_MAX = 64
# Control entries of one RPC: one per topic and kind is normal.
CONTROL_MAX = 64
# Below this, telling a neighbour not to send a message costs more than the message.
IDONTWANT_SIZE_MIN = 4096
# The longest time for which a peer may ask us not to GRAFT it; a number of its own would be kept for ever.
BACKOFF_S_MAX = 3600
WINDOW_HEARTBEATS, HISTORY_HEARTBEATS = 3, 5


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


class Mesh(GossipSub):
    """The router: who gets a message."""

    def __init__(self, limits: Limits, counters: Counter[str]) -> None:
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
        self.mcache = DigestCache(WINDOW_HEARTBEATS, HISTORY_HEARTBEATS)
        self.unseen: Callable[[Sequence[bytes]], list[bytes]] = list  # which ids of an IHAVE are news
        self.allows: Callable[[ID], bool] = lambda _: True  # whether one more entry of a peer may be handled
        self._served = RateLimit(limits.gossip_served_per_peer)
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
        self._serve(peer_id, self.mcache.window(topic))

    def _serve(self, peer: ID, ids: Sequence[bytes]) -> None:
        """Send old messages again, within the peer's rate: a request of some bytes can name megabytes, and subscribing too."""
        for mid in ids:
            message = self.mcache.get(mid)
            if message is not None:
                if not self._served.allows(peer, now_ns(), len(message.data)):
                    self._counters["gossip_not_served"] += 1
                    return
                self.send_rpc(peer, rpc_pb2.RPC(publish=[message]))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Nothing is pending: `send_recent_messages` covers who subscribes late."""

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        """Send control without the signed peer record of stock, which every receiver would verify every time."""
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        self._counters["gossip_dropped_out"] += 1
        super()._handle_dropped_rpc(peer_id, rpc, reason)

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Control messages about topics of ours.

        Stock keeps state for any topic that a peer makes up, and dials the peers that a PRUNE names.
        """
        control = rpc.control
        ids_left = IDS_MAX
        for ihave in self._entries(control.ihave, sender_peer_id):
            if ihave.topicID in self.mesh and ids_left > 0:
                ids = ihave.messageIDs[:ids_left]
                ids_left -= len(ids)
                wanted = self.unseen(ids)
                if wanted and self._check_ihave_rate_limit(sender_peer_id, ihave.topicID):
                    await self.emit_iwant(wanted, sender_peer_id)
        # Stock answers a repeated id each time, and signs a peer record for each answer.
        named = (mid for iwant in self._entries(control.iwant, sender_peer_id) for mid in iwant.messageIDs[:IDS_MAX])
        self._serve(sender_peer_id, list(islice(dict.fromkeys(islice(named, IDS_MAX)), IWANT_MAX)))
        for graft in self._entries(control.graft, sender_peer_id):
            if graft.topicID in self.mesh:
                await self.handle_graft(graft, sender_peer_id)
        for prune in self._entries(control.prune, sender_peer_id):
            if prune.topicID in self.mesh:
                self._counters["guard_peer_exchange"] += bool(prune.peers)
                backoff_s = min(prune.backoff, BACKOFF_S_MAX)
                await self.handle_prune(rpc_pb2.ControlPrune(topicID=prune.topicID, backoff=backoff_s), sender_peer_id)
        for idontwant in self._entries(control.idontwant, sender_peer_id):
            await self.handle_idontwant(rpc_pb2.ControlIDontWant(messageIDs=idontwant.messageIDs[:IDS_MAX]), sender_peer_id)

    def _entries(self, entries: Sequence[T], sender: ID) -> Iterator[T]:
        """The first entries of a kind, each of which counts as a message of the sender."""
        return (entry for entry in entries[:CONTROL_MAX] if self.allows(sender))

    def _prune_idontwant_entries(self) -> None:
        """At each heartbeat: also forget back-offs that are over, which stock keeps for every peer that ever pruned us."""
        super()._prune_idontwant_entries()
        now = int(time.time())
        for topic, until in self.back_off.items():
            self.back_off[topic] = {peer: till for peer, till in until.items() if till > now}
        self._served.tidy(now_ns())
