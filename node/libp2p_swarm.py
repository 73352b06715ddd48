"""The libp2p host, swarm and TCP as a node runs them: py-libp2p's, without what a peer could break or exhaust."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
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
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, Yamux, YamuxStream
from libp2p.transport.tcp.tcp import TCP, TCPListener
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from node.libp2p_admission import Admission, Guest
from node.libp2p_guards import Hits, contained
from node.libp2p_wire import HANDSHAKE_COST, Budgets, Wire, meter, wire_of
from node.limits import Limits

# Bytes of one connection that were received and not read: four streams that stand still with a full window.
UNREAD_PER_CONNECTION_MAX = 4 * DEFAULT_WINDOW_SIZE

# Connections that the kernel completed and we have not looked at: a thousand at once are no reason to drop an honest one.
BACKLOG = 1024


class OpenSockets:
    """Every TCP connection of a stack, surely closed at the end: a cancelled close of the library leaves its socket open."""

    def __init__(self) -> None:
        self._wires: set[Wire] = set()

    def add(self, wire: Wire) -> None:
        """Take a new connection in."""
        self._wires = {known for known in self._wires if not known.closed} | {wire}

    def close(self) -> None:
        """Close what is still open, without waiting."""
        for wire in self._wires:
            wire.abort()


class TrackedTCP(TCP):
    """TCP whose connections are wires."""

    def __init__(self, wrap: Callable[[trio.SocketStream], Wire]) -> None:
        super().__init__()
        self._wrap = wrap

    async def _dial_resolved(self, maddr: Multiaddr, source: tuple[str, int] | None = None) -> IRawConnection:
        connection = await super()._dial_resolved(maddr, source)
        assert isinstance(connection, RawConnection)
        assert isinstance(connection.stream, TrioTCPStream)
        connection.stream = self._wrap(connection.stream.stream)
        return connection


class _WindowBuffer(bytearray):
    """What a stream received and nobody read yet; at most the window, and its share of the connection's."""

    def __init__(self, beside: Mapping[int, bytearray]) -> None:
        super().__init__()
        self._beside = beside

    def extend(self, data: Iterable[SupportsIndex]) -> None:
        chunk = bytes(data)
        if len(self) + len(chunk) > DEFAULT_WINDOW_SIZE:
            raise ValueError("the peer sends more than it was given credit for")
        if sum(map(len, self._beside.values())) + len(chunk) > UNREAD_PER_CONNECTION_MAX:
            raise ValueError("the peer has sent too much on streams that are not read")
        super().extend(chunk)


class _WindowBuffers(dict[int, bytearray]):
    """The buffers of a connection by stream; a new one is a `_WindowBuffer`."""

    def __setitem__(self, stream: int, buffer: bytearray) -> None:
        super().__setitem__(stream, _WindowBuffer(self))


class WindowedUpgrader(TransportUpgrader):
    """Makes connections that hold a peer to the yamux window and pay for its frames and streams.

    Stock logs a warning and goes on filling memory, for example while the daemon is behind with this peer's frames.
    Here the stream counts as ended, which the library does for any exception while it stores data.
    """

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """As in the base class, which makes a plain `Yamux` whatever class it was given for the protocol."""
        muxed = await super().upgrade_connection(conn, peer_id)
        assert isinstance(muxed, Yamux)
        assert isinstance(conn, SecureSession)
        muxed.stream_buffers = _WindowBuffers()
        meter(conn, peer_id)
        return muxed


class GuardedSwarm(Swarm):
    """A swarm that knows who may connect, gives places back and dials nobody on its own."""

    def __init__(
        self, peer: ID, store: IPeerStore, upgrader: TransportUpgrader, config: ConnectionConfig, limits: Limits, hits: Hits
    ) -> None:
        self.sockets = OpenSockets()
        self.budgets = Budgets(limits, hits)
        super().__init__(
            peer,
            store,
            upgrader,
            transports=[TrackedTCP(self._wire)],
            retry_config=RetryConfig(max_retries=0),  # the daemon decides about another attempt
            connection_config=config,
        )
        self.hits = hits
        self.limits = limits
        self.admission = Admission(limits, hits)
        self.on_lost: Callable[[INetConn], None] | None = None
        self._guests: dict[IMuxedConn, Guest] = {}

    def _wire(self, stream: trio.SocketStream) -> Wire:
        wire = Wire(stream, self.budgets)
        self.sockets.add(wire)
        return wire

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        """Wedges 7 and 8.

        Stock: the slot is held until the swarm ends, so after as many connections as there are slots in a node's life
        every new peer is refused; and half-open sockets of one address fill all slots until they time out.
        """
        assert isinstance(read_write_closer, TrioTCPStream)
        wire = self._wire(read_write_closer.stream)
        guest = self.admission.knock(wire, trio.current_time())
        if guest is None:
            wire.abort()
            return
        try:
            await contained(self.hits, "guard_handshake", self._serve_inbound, guest, maddr)
        finally:
            self.admission.leave(guest)
            wire.abort()
            self.budgets.tidy()

    async def _serve_inbound(self, guest: Guest, listener: Multiaddr) -> None:
        with trio.fail_after(self.connection_config.inbound_upgrade_timeout):
            await guest.wire.pay(HANDSHAKE_COST)
        muxed = await self.upgrade_inbound_raw_conn(RawConnection(guest.wire, initiator=False), listener)
        assert isinstance(muxed, Yamux)
        try:
            if self.admission.enter(guest, muxed.peer_id, trio.current_time()):
                self._guests[muxed] = guest
                self.hits["connections_in"] += 1
                await muxed.event_closed.wait()
            else:
                guest.wire.abort()
        finally:
            self._guests.pop(muxed, None)
            self.forget(muxed)

    def keep(self, connection: INetConn) -> None:
        """Let no stranger push this connection out: it carries a channel."""
        guest = self._guests.get(connection.muxed_conn)
        if guest is not None:
            guest.useful = True

    async def upgrade_outbound_raw_conn(self, raw_conn: IRawConnection, peer_id: ID, pre_scope: object = None) -> SwarmConn:
        """Make a connection of ours, for which a stranger leaves if all places are taken."""
        own = sum(connection.muxed_conn not in self._guests for connection in self.get_connections())
        if not self.admission.make_room(own):
            wire_of(raw_conn).abort()
            raise SwarmException(f"all {self.limits.connections} connections are this node's own")
        return await super().upgrade_outbound_raw_conn(raw_conn, peer_id, pre_scope)

    def _schedule_prune(self) -> None:
        """Nothing to prune: `admission` decides before. Stock closes connections by criteria of its own."""

    def _trim_connections(self, peer_id: ID) -> None:
        """As `_schedule_prune`."""

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
        assert isinstance(listener, TCPListener)
        for socket_listener in listener.listeners:
            socket_listener.socket.listen(BACKLOG)
        return list(listener.get_addrs())


def _forget_stream(stream: YamuxStream) -> None:
    """Keep nothing of a stream whose handler has returned; what still comes on it is for no stream and goes nowhere.

    Stock keeps a stream that we closed until the peer closes it too, so a peer that never does has as many as it likes.
    """
    stream.closed = stream.send_closed = stream.recv_closed = True
    for table in (stream.conn.streams, stream.conn.stream_buffers, stream.conn.stream_events):
        table.pop(stream.stream_id, None)


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
        muxed, limits = net_stream.muxed_conn, self.swarm.limits
        of_peer = [connection.muxed_conn for connection in self.swarm.get_connections(muxed.peer_id)]
        if (
            len(muxed.streams) > limits.streams_per_connection
            or sum(len(other.streams) for other in of_peer if isinstance(other, Yamux)) > limits.streams_per_peer
        ):
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
        _forget_stream(net_stream.muxed_stream)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Do not ask peers who they are: addresses and abilities come in signed records.

        Stock: two more streams per connection, run as a system task of trio, where an exception ends the process.
        """
