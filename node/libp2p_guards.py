"""Keeps a peer's bytes from ending the process: the guards around py-libp2p 0.8.1.

This is the only file that may catch broadly. py-libp2p runs all peers under a few shared nurseries, so one exception
that escapes anywhere ends every connection. A guard contains what one peer's input can raise, undoes that peer's
stream or connection, counts itself by name, and never hides a fault of the whole stack: those end the run, and the
supervisor starts it again. Each guard names the fault of the release that it covers; tests/test_libp2p_guards.py
sends each of these inputs to a running node.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, TypeVar

import trio
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import Reader
from libp2p.network import swarm as swarm_module
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.mcache import MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp import tcp
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from node.transport import GOSSIP_SIZE_MAX, Validator
from protocol.verdict import Verdict

T = TypeVar("T")

LIBP2P_VERSION = "0.8.1"

# Credit goes back to the sender in steps of this many bytes, a quarter of the yamux window.
WINDOW_STEP = yamux.DEFAULT_WINDOW_SIZE // 4

# A name of a protocol in a negotiation; ours have 40 bytes.
NEGOTIATION_SIZE_MAX = 1024

# An RPC of ours holds one message of at most 64 KiB. Each peer can make us hold one that it does not finish.
RPC_SIZE_MAX = 1 << 17

# Gossip waiting for a slow peer: five seconds of the network's whole budget in messages of 1 KiB, or 16 of the largest.
QUEUE_PER_PEER = 1024
QUEUE_BYTES_PER_PEER = 1 << 20

assert RPC_SIZE_MAX >= 2 * GOSSIP_SIZE_MAX

Hits = Counter[str]


def _check_release() -> None:
    """Refuse to run on a release whose insides may have moved: a guard that guards nothing would go unnoticed."""
    found = metadata.version("libp2p")
    if found != LIBP2P_VERSION:
        raise ImportError(f"the guards fit libp2p {LIBP2P_VERSION}, not {found}; install libp2p=={LIBP2P_VERSION}")
    overridden: list[tuple[object, str]] = [
        (BasicHost, "_swarm_stream_handler _schedule_identify"),
        (GossipSub, "heartbeat publish handle_rpc send_recent_messages flush_pending_messages emit_control_message"),
        (GossipSub, "_handle_dropped_rpc _check_ihave_rate_limit _emit_idontwant_for_message"),
        (GossipSub, "handle_prune handle_idontwant _prune_idontwant_entries"),
        (MessageCache, "put"),
        (Pubsub, "stream_handler push_msg handle_subscription _handle_new_peer _handle_dead_peer _peer_is_connected"),
        (SwarmConn, "close"),
        (TrioManager, "run_task"),
        (swarm_connection, "logging"),
        (multiselect_communicator, "read_delim"),
        (pubsub_module, "RpcQueue"),
        (RpcQueue, "push pop"),
        (swarm_module.Swarm, "_handle_inbound_connection upgrade_inbound_raw_conn upgrade_outbound_raw_conn"),
        (swarm_module.Swarm, "dial_peer dial_addr notify_disconnected remove_conn _notify"),
        (swarm_module.Swarm, "_schedule_prune _trim_connections"),
        (tcp, "_set_reuse_flags"),
        (tcp.TCP, "_dial_resolved"),
        (TransportUpgrader, "upgrade_connection"),
        (yamux, "MAX_WINDOW_SIZE"),
        (yamux.Yamux, "_finalize_stream_locked"),
        (yamux.YamuxStream, "_auto_tune_and_send_window_update send_window_update"),
    ]
    for owner, names in overridden:
        for name in names.split():
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


async def _read_delim(reader: Reader) -> bytes:
    """A line of a negotiation. Stock reads as many bytes as the peer announces into memory, before any key is known."""
    line = await read_varint_prefixed_bytes_limited(reader, NEGOTIATION_SIZE_MAX)
    if line[-1:] != b"\n":
        raise ParseError("no end of line")
    return line[:-1]


_finalize_stream_locked = yamux.Yamux._finalize_stream_locked  # noqa: SLF001


def _finalize_and_drop(self: yamux.Yamux, stream: yamux.YamuxStream, *, fully_closed: bool) -> None:
    """Drop what a stream that was reset still holds, as nobody may read it, and wake who reads.

    Stock keeps it for a minute and more, so a peer whose streams are refused fills the memory with them; and a task of
    ours that reads a stream which another one resets waits until the connection ends.
    """
    if fully_closed and stream.reset_received:
        self.stream_buffers.get(stream.stream_id, bytearray()).clear()
        if stream.stream_id in self.stream_events:
            self.stream_events[stream.stream_id].set()
    _finalize_stream_locked(self, stream, fully_closed=fully_closed)


class BoundedQueue(RpcQueue):
    """Gossip that waits for one peer. Stock bounds the RPCs and not their bytes, and its 32 are fewer than our bursts."""

    def __init__(self) -> None:
        super().__init__(max_size=QUEUE_PER_PEER, max_message_size=RPC_SIZE_MAX)
        self.bytes_waiting = 0

    def push(self, rpc: rpc_pb2.RPC, priority: bool = False) -> bool:  # noqa: FBT001, FBT002 - as in the base class
        """Whether there was room."""
        size = rpc.ByteSize()
        if self.bytes_waiting + size > QUEUE_BYTES_PER_PEER or not super().push(rpc, priority):
            return False
        self.bytes_waiting += size
        return True

    async def pop(self) -> rpc_pb2.RPC | None:
        """The next one; None after the end."""
        rpc = await super().pop()
        if rpc is not None:
            self.bytes_waiting -= rpc.ByteSize()
        return rpc


def _install() -> None:
    _check_release()
    multiselect_communicator.read_delim = _read_delim  # type: ignore[attr-defined]
    pubsub_module.RpcQueue = BoundedQueue  # type: ignore[attr-defined, assignment]
    # The largest frame is what a peer has credit for; stock takes 16 MiB at once into memory for any connection.
    yamux.MAX_WINDOW_SIZE = yamux.DEFAULT_WINDOW_SIZE
    yamux.Yamux._finalize_stream_locked = _finalize_and_drop  # type: ignore[method-assign]  # noqa: SLF001
    tcp._set_reuse_flags = _set_reuse_flags  # noqa: SLF001
    yamux.YamuxStream._auto_tune_and_send_window_update = _send_window_update  # type: ignore[method-assign]  # noqa: SLF001
    # The library logs through the root logger there, which installs a handler on it, and elsewhere under "libp2p"
    # without any handler, which makes Python print warnings about peers to stderr.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")  # type: ignore[assignment, attr-defined]
    # What it says there is about peers' bytes, a line for each, so any stranger could fill the disk: the counters say it.
    logging.getLogger("libp2p").addHandler(logging.NullHandler())
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)


_install()
