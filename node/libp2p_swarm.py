"""The libp2p host, swarm and TCP as a node runs them: py-libp2p's, without what a peer could break or exhaust."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import trio
from libp2p.abc import IMuxedConn, INetConn, IPeerStore, IRawConnection, ISecureConn
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING_ID
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, Yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from node.libp2p_guards import Hits, contained

# A peer needs four streams: a channel and gossip each way. The rest is for identify, ping and a second connection.
STREAMS_PER_CONNECTION_MAX = 32

# Connections of one address that are still in the handshake. A handshake takes 15 ms on one core, so a host with
# hundreds of nodes stays below this, while half-open sockets of one attacker cannot fill the inbound slots.
HANDSHAKES_PER_ADDRESS_MAX = 32

# A peer that vanished without a FIN (power, cable) is found dead after about 10 + 3 x 5 s.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class OpenSockets:
    """Every TCP connection of a stack: kept alive while it lasts, and surely closed at the end.

    Stock: no keep-alive, and yamux ignores that its own pings go unanswered, so a peer that vanished stays for ever;
    and a cancelled close of a connection leaves its socket open.
    """

    def __init__(self) -> None:
        self._sockets: set[trio.socket.SocketType] = set()

    def add(self, connection: IRawConnection) -> None:
        """Take a new connection in."""
        stream = connection.stream if isinstance(connection, RawConnection) else None
        if not isinstance(stream, TrioTCPStream):
            return
        sock = stream.stream.socket
        self._sockets = {known for known in self._sockets if known.fileno() != -1} | {sock}
        with contextlib.suppress(OSError):  # the peer is already gone; the next read says so
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):  # other systems name some of them otherwise; their defaults are hours
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def close(self) -> None:
        """Close what is still open, without waiting."""
        for sock in self._sockets:
            sock.close()


class TrackedTCP(TCP):
    """TCP that registers the sockets it dialled."""

    def __init__(self, sockets: OpenSockets) -> None:
        super().__init__()
        self._open = sockets

    async def _dial_resolved(self, maddr: Multiaddr, source: tuple[str, int] | None = None) -> IRawConnection:
        connection = await super()._dial_resolved(maddr, source)
        self._open.add(connection)
        return connection


class _WindowBuffer(bytearray):
    """What a stream received and nobody read yet; at most the window."""

    def extend(self, data: Iterable[SupportsIndex]) -> None:
        chunk = bytes(data)
        if len(self) + len(chunk) > DEFAULT_WINDOW_SIZE:
            raise ValueError("the peer sends more than it was given credit for")
        super().extend(chunk)


class _WindowBuffers(dict[int, bytearray]):
    """The buffers of a connection by stream; a new one is a `_WindowBuffer`."""

    def __setitem__(self, stream: int, buffer: bytearray) -> None:
        super().__setitem__(stream, _WindowBuffer(buffer))


class WindowedUpgrader(TransportUpgrader):
    """Makes connections that hold a peer to the yamux window.

    Stock logs a warning and goes on filling memory, for example while the daemon is behind with this peer's frames.
    Here the stream counts as ended, which the library does for any exception while it stores data.
    """

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """As in the base class, which makes a plain `Yamux` whatever class it was given for the protocol."""
        muxed = await super().upgrade_connection(conn, peer_id)
        if isinstance(muxed, Yamux):
            muxed.stream_buffers = _WindowBuffers()
        return muxed


class GuardedSwarm(Swarm):
    """A swarm that gives its inbound slots back and dials nobody on its own."""

    def __init__(self, peer: ID, store: IPeerStore, upgrader: TransportUpgrader, limits: ConnectionConfig, hits: Hits) -> None:
        self.sockets = OpenSockets()
        super().__init__(
            peer,
            store,
            upgrader,
            transports=[TrackedTCP(self.sockets)],
            retry_config=RetryConfig(max_retries=0),  # the daemon decides about another attempt
            connection_config=limits,
        )
        self.hits = hits
        self.on_lost: Callable[[INetConn], None] | None = None
        # A quarter of the connections is kept for those that we dial.
        self._inbound_limiter = trio.CapacityLimiter(max(1, limits.max_connections * 3 // 4))
        self._handshakes: Counter[str] = Counter()

    async def _do_handle_inbound_connection(
        self, read_write_closer: ReadWriteCloser, maddr: Multiaddr, failure_event: object
    ) -> None:
        """Wedges 7 and 8.

        Stock: the slot is held until the swarm ends, so after as many connections as there are slots in a node's life
        every new peer is refused; and half-open sockets of one address fill all slots until they time out.
        """
        del failure_event  # a metric that nobody reads
        remote = read_write_closer.get_remote_address()
        address = remote[0] if remote else ""
        raw = RawConnection(read_write_closer, initiator=False)
        if self._handshakes[address] >= HANDSHAKES_PER_ADDRESS_MAX:
            self.hits["guard_too_many_handshakes"] += 1
            await contained(self.hits, "guard_close", raw.close)
            return
        self.sockets.add(raw)
        try:
            await contained(self.hits, "guard_handshake", self._serve_inbound, raw, address, maddr)
        finally:
            with trio.CancelScope(shield=True):
                await contained(self.hits, "guard_close", raw.close)

    async def _serve_inbound(self, raw: RawConnection, address: str, listener: Multiaddr) -> None:
        self._handshakes[address] += 1
        try:
            muxed = await self.upgrade_inbound_raw_conn(raw, listener)
        finally:
            self._handshakes[address] -= 1
            if not self._handshakes[address]:
                del self._handshakes[address]
        if isinstance(muxed, Yamux):
            await muxed.event_closed.wait()
            self.forget(muxed)

    def forget(self, muxed: IMuxedConn) -> None:
        """Do not count a dead connection any more, nor open streams on it; stock goes on for 0.2 s."""
        for connection in self.get_connections(muxed.peer_id):
            if connection.muxed_conn is muxed and isinstance(connection, SwarmConn):
                self.remove_conn(connection)

    async def notify_disconnected(self, conn: INetConn) -> None:
        """Tell the services. Stock also wakes the auto-connector, which keeps each peer id that ever left."""
        await self._notify("disconnected", conn)
        if self.on_lost is not None:
            self.on_lost(conn)

    async def listen_on(self, address: Multiaddr) -> list[Multiaddr]:
        """Listen and return the real addresses; raises OpenConnectionError, which the stock `listen` swallows."""

        async def accept(connection: ReadWriteCloser) -> None:
            await self._handle_inbound_connection(connection, address)

        listener = self.transport_manager.add_listen_addr(address, accept)
        if listener is None:
            raise SwarmException(f"no transport for {address}")
        self.listeners[str(address)] = listener
        await listener.listen(address)
        return list(listener.get_addrs())


class GuardedHost(BasicHost):
    """A host whose stream handlers cannot take the connection, the swarm and the process with them."""

    def __init__(self, swarm: GuardedSwarm, hits: Hits) -> None:
        # identify/push would let any peer write into the peer store, which we do not use; so it is not offered.
        handlers = OrderedDict([(IDENTIFY_ID, identify_handler_for(self)), (PING_ID, PingService(self).handle_ping)])
        super().__init__(swarm, default_protocols=handlers, disable_identify_address_discovery=True)
        self.swarm = swarm
        self.hits = hits

    async def _swarm_stream_handler(self, net_stream: Any) -> None:  # noqa: ANN401 - NetStream or a test's
        """Guards 1, 5 and 6.

        Stock: invalid UTF-8 in the negotiation, an exception in a handler, or only the StreamEOF of an ordinary close
        leaves this method and ends the connection's nursery, then the swarm's, then the host's.
        """
        connection = net_stream.swarm_conn
        if connection is not None and len(connection.streams) > STREAMS_PER_CONNECTION_MAX:
            self.hits["guard_too_many_streams"] += 1
            await net_stream.reset()
            return
        handle = super()._swarm_stream_handler

        async def handle_to_the_end() -> None:
            try:
                await handle(net_stream)
            except IOException:
                self.hits["guard_stream_ended"] += 1  # the peer closed or reset it: ordinary
                await net_stream.reset()

        if not await contained(self.hits, "guard_stream_handler", handle_to_the_end):
            await net_stream.reset()

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Do not ask peers who they are: addresses and abilities come in signed records.

        Stock: two more streams per connection, run as a system task of trio, where an exception ends the process.
        """
