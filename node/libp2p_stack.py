"""The libp2p side of the transport: host, gossip and channels, from listening to leaving, in one trio run."""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from node.libp2p_address import parse_address, shown_addresses
from node.libp2p_channel import Channels, Link, channel_protocol
from node.libp2p_dht import Dht
from node.libp2p_faults import why_no_channel, why_not
from node.libp2p_gossip import Gossip
from node.libp2p_guards import GuardedManager, answered, contained
from node.libp2p_inbox import Inbox
from node.libp2p_mesh import Mesh
from node.libp2p_swarm import GuardedHost, GuardedSwarm, WindowedUpgrader
from node.limits import Limits
from node.transport import TransportError, Validator

DIAL_TIMEOUT_S = 10
# An honest handshake needs four round trips and some milliseconds of work.
HANDSHAKE_TIMEOUT_S = 5
NEGOTIATION_TIMEOUT_S = 5
# Closing a listener takes a millisecond; it waits for a task, so it has a limit.
LEAVE_S = 0.3


def build_host(keys: KeyPair, limits: Limits, hits: Counter[str]) -> GuardedHost:
    """A host with the identity of `keys` that speaks Noise and yamux over TCP and nothing else.

    The swarm is put together by hand, because `new_host` also offers plaintext and secio and adds a resource manager
    whose circuit breaker lets five bad connections refuse everybody for a minute.
    """
    own = ID.from_pubkey(keys.public_key)
    store = PeerStore()
    store.add_key_pair(own, keys)
    upgrader = WindowedUpgrader(
        {TProtocol(NOISE_PROTOCOL): Noise(keys, create_noise_key_pair().private_key)},
        {TProtocol(YAMUX_PROTOCOL): Yamux},
        NEGOTIATION_TIMEOUT_S,
    )
    config = ConnectionConfig(
        # `admission` counts; the library's own limits only refuse, and count what is already closing.
        max_connections=2 * limits.connections,
        high_watermark=0,  # the auto-connector dials whom the peer store knows until it has half of this
        min_connections=0,  # the auto-connector never dials; whom to know is the daemon's decision
        low_watermark=0,
        max_connections_per_peer=limits.connections_per_peer,
        dial_timeout=DIAL_TIMEOUT_S,
        inbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
        outbound_upgrade_timeout=HANDSHAKE_TIMEOUT_S,
        inbound_stream_protocol_negotiation_timeout=NEGOTIATION_TIMEOUT_S,
        outbound_stream_protocol_negotiation_timeout=NEGOTIATION_TIMEOUT_S,
    )
    swarm = GuardedSwarm(own, store, upgrader, config, limits, hits)
    return GuardedHost(swarm, hits)


class Stack:
    """One life of the network. `run` lasts until `stop` or a fault of the stack itself."""

    def __init__(
        self,
        seed: bytes,
        network: bytes,
        skills: Sequence[str],
        limits: Limits,
        inbox: Inbox,
        counters: Counter[str],
    ) -> None:
        self.host = build_host(create_new_key_pair(seed), limits, counters)
        self.swarm = self.host.swarm
        self.own: bytes = self.host.get_public_key().to_bytes()
        self._network = network
        self._channel = channel_protocol(network)
        self._limits = limits
        self._inbox = inbox
        self._counters = counters
        self._stop = trio.Event()
        self._dials: dict[bytes, trio.Event] = {}
        self.dht = Dht(self.host, network, skills, self._linked, counters)
        self.channels: Channels | None = None
        self.gossip: Gossip | None = None

    async def run(
        self,
        listen: list[Multiaddr],
        topics: Mapping[str, Validator],
        outgoing: deque[tuple[str, bytes]],
        ready: Callable[[list[Multiaddr]], None],
    ) -> None:
        """Listen, report the addresses with their real ports to `ready`, and serve until `stop`."""
        try:
            async with trio.open_nursery() as nursery:
                self.channels = Channels(self.own, self._limits, self._inbox, self._counters, nursery)
                self.host.set_stream_handler(self._channel, self.channels.accept)
                mesh = Mesh(self._limits, self._counters)
                self.gossip = Gossip(self.host, mesh, topics, self._limits, self._inbox, self._counters)
                for service in (self.swarm, self.gossip, mesh):
                    manager = GuardedManager(service, self._counters)
                    nursery.start_soon(manager.run)
                    await manager.wait_started()
                try:
                    await self.gossip.wait_until_ready()
                    for topic in sorted(topics):
                        await self.gossip.subscribe(topic)
                    bound = [await self._listen(address) for address in listen]
                    self.dht.listen(shown_addresses(bound, self.own))
                    ready(bound)
                    self._publish = trio.Event()
                    nursery.start_soon(self._publish_all, outgoing)
                    await self._stop.wait()
                finally:
                    await self._leave()
                nursery.cancel_scope.cancel()
        finally:
            self.swarm.sockets.close()

    async def _listen(self, address: Multiaddr) -> Multiaddr:
        try:
            (bound,) = await self.swarm.listen_on(address)
        except BaseLibp2pError as error:
            text = str(error)
            if os.strerror(errno.EADDRINUSE) in text:
                why = "the port is taken; stop the program that uses it or choose another port, 0 for any free one"
            elif os.strerror(errno.EADDRNOTAVAIL) in text:
                why = "this machine has no such address; use /ip4/0.0.0.0/tcp/<port> for all of its addresses"
            elif os.strerror(errno.EACCES) in text:
                why = "ports below 1024 need privileges; choose a higher one"
            else:
                why = f"{text}; choose another address, like /ip4/0.0.0.0/tcp/0"
            raise TransportError(f"cannot listen on {address}: {why}") from error
        return bound

    async def _leave(self) -> None:
        """Close all sockets; peers see the end of the stream. The library's own way takes 0.2 s for each peer."""
        self.swarm.sockets.close()
        with trio.CancelScope(deadline=trio.current_time() + LEAVE_S, shield=True):
            for listener in list(self.swarm.listeners.values()):
                await contained(self._counters, "guard_close", listener.close)

    def stop(self) -> None:
        """End `run`; in the trio thread."""
        self._stop.set()

    def flush(self, dirty: deque[Link]) -> None:
        """Let the writers of `dirty` links and the publisher look at their queues; in the trio thread."""
        while dirty:
            link = dirty.popleft()
            link.dirty = False
            link.wake.set()
        self._publish.set()

    async def _publish_all(self, outgoing: deque[tuple[str, bytes]]) -> None:
        assert self.gossip is not None
        while True:
            while outgoing:
                topic, data = outgoing.popleft()
                await self.gossip.send_own(topic, data)
            self._publish = trio.Event()
            await self._publish.wait()

    async def dial(self, address: str) -> bytes:
        """Connect and open the channel, unless there is one; one attempt at a time for each peer."""
        target, key = parse_address(address)
        assert self.channels is not None
        if key == self.own:
            raise TransportError(f"cannot dial {address}: that is this node's own address")
        while key in self._dials:
            await self._dials[key].wait()
        if key in self.channels.links:
            return key
        done = self._dials[key] = trio.Event()
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                await self._connect(target, key, address)
        except trio.TooSlowError as error:
            raise TransportError(f"cannot reach {address} within {DIAL_TIMEOUT_S} s: {await why_not(error, target)}") from error
        finally:
            del self._dials[key]
            done.set()
        return key

    async def _connect(self, target: Multiaddr, key: bytes, address: str) -> None:
        assert self.channels is not None
        peer = ID(bytes.fromhex("002408011220") + key)
        if not self.swarm.get_connections(peer):
            try:
                await answered(self._counters, "guard_dial", self.swarm.dial_addr, target, peer)
            except BaseLibp2pError as error:
                raise TransportError(f"cannot reach {address}: {await why_not(error, target)}") from error
        try:
            stream = await answered(self._counters, "guard_open", self.host.new_stream, peer, [self._channel])
        except BaseLibp2pError as error:
            reason = await why_no_channel(self.host, peer, self._network, self._counters)
            await contained(self._counters, "guard_close", self.swarm.close_peer, peer)
            raise TransportError(f"cannot use {address}: it is {reason}") from error
        assert isinstance(stream, NetStream)
        self.channels.open(stream, key, address)
        self.dht.reached(key, address)

    def _linked(self, peer: bytes) -> bool:
        return self.channels is not None and peer in self.channels.links
