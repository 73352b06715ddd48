"""Keeps a peer's bytes from ending the process: the guards around py-libp2p 0.8.1.

This is the only file that may catch broadly. py-libp2p runs all peers under a few shared nurseries, so one exception
that escapes anywhere ends every connection. A guard contains what one peer's input can raise, undoes that peer's
stream or connection, counts itself by name, and never hides a fault of the whole stack: those end the run, and the
supervisor starts it again. Each guard names the fault of the release that it covers; tests/test_libp2p_guards.py
sends each of these inputs to a running node.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, TypeVar

import trio
from libp2p.abc import IMuxedConn, INetConn, IPeerStore, IRawConnection
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING_ID
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.io.trio import TrioTCPStream
from libp2p.network import swarm as swarm_module
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp import tcp
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from node.transport import Validator, Verdict

T = TypeVar("T")

LIBP2P_VERSION = "0.8.1"

# A peer needs four streams: a channel and gossip each way. The rest is for identify, ping and a second connection.
STREAMS_PER_CONNECTION_MAX = 32

# Connections of one address that are still in the handshake. A handshake takes 15 ms on one core, so a host with
# hundreds of nodes stays below this, while half-open sockets of one attacker cannot fill the inbound slots.
HANDSHAKES_PER_ADDRESS_MAX = 32

# A peer that vanished without a FIN (power, cable) is found dead after about 10 + 3 x 5 s.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}

# Credit goes back to the sender in steps of this many bytes, a quarter of the yamux window.
WINDOW_STEP = yamux.DEFAULT_WINDOW_SIZE // 4

Hits = Counter[str]


def _check_release() -> None:
    """Refuse to run on a release whose insides may have moved: a guard that guards nothing would go unnoticed."""
    found = metadata.version("libp2p")
    if found != LIBP2P_VERSION:
        raise ImportError(f"the guards fit libp2p {LIBP2P_VERSION}, not {found}; install libp2p=={LIBP2P_VERSION}")
    needed: list[tuple[object, str]] = [
        (BasicHost, "_swarm_stream_handler"),
        (BasicHost, "_schedule_identify"),
        (SwarmConn, "close"),
        (TrioManager, "run_task"),
        (swarm_connection, "logging"),
        (swarm_module.Swarm, "_do_handle_inbound_connection"),
        (swarm_module.Swarm, "_handle_inbound_connection"),
        (swarm_module.Swarm, "dial_peer"),
        (tcp, "_set_reuse_flags"),
        (tcp.TCP, "_dial_resolved"),
        (yamux.YamuxStream, "_auto_tune_and_send_window_update"),
    ]
    for owner, name in needed:
        if not hasattr(owner, name):
            raise ImportError(f"libp2p {found} has no {name} in {owner!r}; install an unmodified libp2p=={found}")


async def contained(hits: Hits, name: str, action: Callable[..., Awaitable[object]], *args: object) -> bool:
    """Await `action(*args)`; count any exception as a hit of guard `name`. True if there was none.

    Broad because the callers are the last frame of ours before a shared nursery, and what can come is unbounded: the
    library's parsers raise whatever their input provokes. Cancellation passes, as it is no `Exception`.
    """
    try:
        await action(*args)
    except Exception:  # noqa: BLE001 - reason above
        hits[name] += 1
        return False
    return True


def verdict_of(hits: Hits, validator: Validator, data: bytes) -> Verdict:
    """Guard 4: what `validator` says of `data`; IGNORE if it raises, which is our bug and not the sender's fault.

    Stock: anything but its own ValidationError ends the service. Broad because a validator is code of the daemon and
    none of its bugs may end the network.
    """
    try:
        return validator(data)
    except Exception:  # noqa: BLE001 - reason above
        hits["guard_validator"] += 1
        return Verdict.IGNORE


async def answered(hits: Hits, name: str, action: Callable[..., Awaitable[T]], *args: object) -> T:
    """Await `action(*args)`, with whatever a peer's answer made it raise turned into a `SwarmException`.

    Broad because our side of a negotiation runs the same parsers as the other: stock lets, for example, the
    UnicodeDecodeError of a peer that answers with garbage come out of `new_stream`.
    """
    try:
        return await action(*args)
    except BaseLibp2pError:
        raise
    except Exception as error:
        hits[name] += 1
        raise SwarmException(f"the peer answered with garbage ({type(error).__name__})") from error


def death_of(run: Callable[[], None]) -> Exception | None:
    """Run the network stack to its end; the exception it died of, or None if it ended as asked.

    Broad because this is the top of the thread: whatever comes up is a fault of the stack that the supervisor must
    answer with a restart. KeyboardInterrupt and SystemExit never reach a thread that is not the main one.
    """
    try:
        run()
    except Exception as error:  # noqa: BLE001 - reason above
        inner: Exception = error
        while isinstance(inner, ExceptionGroup):
            inner = inner.exceptions[0]
        return inner
    return None


class GuardedManager(TrioManager):
    """Runs a libp2p service so that a failed task costs its own connection, not the service.

    The stock manager cancels the whole service when any task raises, although nearly all tasks belong to one peer.
    The service's own loops (daemon tasks) still end it, as nothing works without them.
    """

    def __init__(self, service: Any, hits: Hits) -> None:  # noqa: ANN401 - the library's services share no type
        super().__init__(service)
        self._hits = hits
        service._manager = self  # noqa: SLF001 - as background_trio_service does

    def run_task(
        self,
        async_fn: Any,  # noqa: ANN401 - as in the base class
        *args: Any,  # noqa: ANN401 - as in the base class
        daemon: bool = False,
        name: str | None = None,
        _internal: bool = False,
    ) -> None:
        """As in the base class; a task that is no daemon cannot end the service."""
        if daemon or _internal:
            super().run_task(async_fn, *args, daemon=daemon, name=name, _internal=_internal)
        else:
            super().run_task(self._run_contained, async_fn, *args, name=name)

    async def _run_contained(self, async_fn: Callable[..., Awaitable[object]], *args: object) -> None:
        if not await contained(self._hits, "guard_service_task", async_fn, *args):
            owner = getattr(async_fn, "__self__", None)
            if isinstance(owner, yamux.Yamux | SwarmConn):
                await contained(self._hits, "guard_service_task_close", owner.close)


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
        try:
            await super()._swarm_stream_handler(net_stream)
        except IOException:
            self.hits["guard_stream_ended"] += 1  # the peer closed or reset it: ordinary
            await net_stream.reset()
        except Exception:  # noqa: BLE001 - the last frame before the shared nursery; the stream is reset and counted
            self.hits["guard_stream_handler"] += 1
            await net_stream.reset()

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Do not ask peers who they are: addresses and abilities come in signed records.

        Stock: two more streams per connection, run as a system task of trio, where an exception ends the process.
        """


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


class TrackedTCP(tcp.TCP):
    """TCP that registers the sockets it dialled."""

    def __init__(self, sockets: OpenSockets) -> None:
        super().__init__()
        self._open = sockets

    async def _dial_resolved(self, maddr: Multiaddr, source: tuple[str, int] | None = None) -> IRawConnection:
        connection = await super()._dial_resolved(maddr, source)
        self._open.add(connection)
        return connection


class GuardedSwarm(swarm_module.Swarm):
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
            self._handshakes[address] += 1
            try:
                muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
            finally:
                self._handshakes[address] -= 1
                if not self._handshakes[address]:
                    del self._handshakes[address]
            if isinstance(muxed, yamux.Yamux):
                await muxed.event_closed.wait()
                self.forget(muxed)
        except Exception:  # noqa: BLE001 - a handshake can fail in any layer; stock catches here as well
            self.hits["guard_handshake"] += 1
        finally:
            with trio.CancelScope(shield=True):
                await contained(self.hits, "guard_close", raw.close)

    async def dial_peer(self, peer_id: ID) -> Any:  # noqa: ANN401 - never returns
        """Refuse to dial without an address that the daemon asked for.

        Stock: opening a stream to a peer that has just left, and the auto-connector, dial whatever address some peer
        put into the peer store.
        """
        raise SwarmException(f"not connected to {peer_id}")

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


def _set_reuse_flags(sock: trio.socket.SocketType) -> None:
    """Stock sets SO_REUSEPORT as well, so two nodes share one port in silence and each gets half of the peers."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


async def _send_window_update(self: yamux.YamuxStream, *, bytes_read: int = 0) -> None:
    """Give credit back in large steps.

    Stock: one update, a whole encrypted packet, for every read, or with PY_YAMUX_RELEASE_ON_READ=0 for every other.
    """
    self._pending_recv_release += bytes_read
    if self._pending_recv_release >= WINDOW_STEP:
        increment, self._pending_recv_release = self._pending_recv_release, 0
        self.recv_window += increment
        await self.send_window_update(increment)


def _install() -> None:
    _check_release()
    tcp._set_reuse_flags = _set_reuse_flags  # noqa: SLF001
    yamux.YamuxStream._auto_tune_and_send_window_update = _send_window_update  # type: ignore[method-assign]  # noqa: SLF001
    # The library logs through the root logger there, which installs a handler on it, and elsewhere under "libp2p"
    # without any handler, which makes Python print warnings about peers to stderr.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")  # type: ignore[assignment, attr-defined]
    logging.getLogger("libp2p").addHandler(logging.NullHandler())


_install()
