"""One TCP connection under everything, and what reading it may cost.

Whoever sends more than `Limits.work_per_peer` or `work_per_address` is read more slowly: its bytes stay in the kernel's
buffers and then on its own side, so nothing is dropped and nothing piles up here.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter

import trio
from libp2p.abc import INetStream, IRawConnection, ISecureConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.io import BaseNoiseMsgReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, HEADER_SIZE, TYPE_DATA, TYPE_PING, TYPE_WINDOW_UPDATE, Yamux

from node.limits import Limits, RateLimit

# One read takes as much as this from the kernel, whatever length a peer announced.
READ_SIZE_MAX = 1 << 16

# What costs more than its bytes, in bytes of `Limits.work_*`, by the processor time it takes beside that of bulk.
READ_COST = 1 << 10
FRAME_COST = 4 << 10
PING_COST = 32 << 10  # it is answered, with an encrypted packet of its own; an honest peer sends one in half a minute
STREAM_COST = 128 << 10
HANDSHAKE_COST = 256 << 10

# A peer that takes nothing for so long is gone, or wants us to wait: what is queued for it must not stay for ever.
STALL_S = 15

# A peer that vanished without a FIN (power, cable) is found dead after about 10 + 3 x 5 s.
KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}

_NS_PER_S = 1_000_000_000


def now_ns() -> int:
    """Trio's clock, for rate limits."""
    return int(trio.current_time() * _NS_PER_S)


class Budgets:
    """The work that peers and addresses may still cause; one for a stack."""

    def __init__(self, limits: Limits, hits: Counter[str]) -> None:
        self.limits = limits
        self._hits = hits
        self._peers = RateLimit(limits.work_per_peer)
        self._addresses = RateLimit(limits.work_per_address)

    def charge(self, peer: ID | None, address: str | None, cost: int) -> float:
        """Take `cost` and return the seconds for which to read no more of this peer and address."""
        now = now_ns()
        delay_ns = 0 if address is None else self._addresses.charge(address, now, cost)
        if peer is not None:
            delay_ns = max(delay_ns, self._peers.charge(peer, now, cost))
        self._hits["work_paced"] += delay_ns > 0
        return delay_ns / _NS_PER_S

    def tidy(self) -> None:
        """Forget peers and addresses that have not cost anything for a while."""
        for limit in (self._peers, self._addresses):
            limit.tidy(now_ns())


class Wire(TrioTCPStream):
    """A connection's socket. `address` is what limits of an address count it under, `peer` is known after the handshake."""

    def __init__(self, stream: trio.SocketStream, budgets: Budgets) -> None:
        super().__init__(stream)
        self._budgets = budgets
        self.peer: ID | None = None
        self.host = ""
        with contextlib.suppress(OSError):  # already gone; the first read says so
            # The library's own way fails for IPv6, whose names have four parts.
            host, port = stream.socket.getpeername()[:2]
            self.host = str(host)
            self._cached_remote_address = (self.host, int(port))
            self._keep_alive(stream.socket)
        self.address = budgets.limits.address_of(self.host)

    @staticmethod
    def _keep_alive(sock: trio.socket.SocketType) -> None:
        """Stock: no keep-alive, and yamux ignores that its own pings go unanswered, so who vanished stays for ever."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # other systems name some of them otherwise; their defaults are hours
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    async def pay(self, cost: int) -> None:
        """Take `cost` from the budgets of this peer and address; returns when they allow more."""
        delay_s = self._budgets.charge(self.peer, self.address, cost)
        if delay_s > 0:
            await trio.sleep(delay_s)

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes, after those before were paid for."""
        data = await super().read(None if n is None else min(n, READ_SIZE_MAX))
        if data:
            await self.pay(READ_COST + len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send all; a peer that takes nothing of it for `STALL_S`, or is gone, loses its connection.

        Stock goes on with what the peer had sent before, which may be a hundred thousand frames.
        """
        with trio.move_on_after(STALL_S) as scope:
            try:
                await super().write(data)
            except ConnectionClosedError:
                self.abort()
                raise
        if scope.cancelled_caught:
            self.abort()  # a part was sent, so nothing can follow
            raise ConnectionClosedError("the peer takes nothing", transport="tcp")

    def abort(self) -> None:
        """Close the socket at once; whoever reads or writes sees the end."""
        self.stream.socket.close()

    @property
    def closed(self) -> bool:
        """Whether the descriptor was given back."""
        return self.stream.socket.fileno() == -1


def wire_of(connection: IRawConnection | ISecureConn) -> Wire:
    """The wire under a connection of ours, encrypted or not."""
    if isinstance(connection, SecureSession):
        assert isinstance(connection.conn, BaseNoiseMsgReadWriter)
        connection = connection.conn.read_writer.read_write_closer  # type: ignore[assignment]
    assert isinstance(connection, RawConnection)
    assert isinstance(connection.stream, Wire)
    return connection.stream


def address_of(stream: INetStream) -> str | None:
    """What limits of an address count a peer's stream under; None if they do not hold for it."""
    muxed = stream.muxed_conn
    assert isinstance(muxed, Yamux)
    return wire_of(muxed.secured_conn).address


def meter(session: SecureSession, peer: ID) -> None:
    """Make a connection pay for what a peer does with its multiplexer, from now on.

    A packet of 64 KiB holds 5,000 pings, each of which we answer, and a stream costs more than 100 KiB of data.
    """
    wire = wire_of(session)
    wire.peer = peer
    read = session.read

    async def paid(n: int | None = None) -> bytes:
        data = await read(n)
        if wire.closed:
            raise ConnectionClosedError("closed by this side", transport="tcp")
        if n == HEADER_SIZE == len(data):
            kind, flags = data[1], data[3]
            opens = kind in (TYPE_DATA, TYPE_WINDOW_UPDATE) and flags & FLAG_SYN
            await wire.pay(STREAM_COST if opens else PING_COST if kind == TYPE_PING else FRAME_COST)
        return data

    session.read = paid  # type: ignore[method-assign]
