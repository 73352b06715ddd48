"""What a node does with its network all the time: take in what comes, and dial its bootstraps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from node.libp2p_address import parse_address
from node.transport import (
    FrameReceived,
    GossipReceived,
    PeerConnected,
    PeerLost,
    TransportError,
    TransportRestarted,
)
from protocol.constants import DIAL_BACKOFF_MS_MAX, DIAL_BACKOFF_MS_MIN
from protocol.events import Log, MessageReceived
from protocol.events import PeerConnected as CorePeerConnected
from protocol.events import PeerLost as CorePeerLost

if TYPE_CHECKING:
    from node.daemon import Running


async def receive(node: Running) -> None:
    """Turn what the network brings into inputs of the core."""
    executor = node.executor
    while True:
        event = await node.transport.receive()
        match event:
            case FrameReceived():
                executor.feed(MessageReceived(event.peer, event.data))
            case GossipReceived():
                executor.feed(MessageReceived(None, event.data))
            case PeerConnected():
                executor.feed(CorePeerConnected(event.peer))
            case PeerLost():
                executor.feed(CorePeerLost(event.peer))
            case TransportRestarted():
                node.events.emit(Log("warning", "network_restarted", {"reason": event.reason}))
        # `receive` returns at once while events wait: without this nothing else would get a turn during a flood, not even
        # what carries our own messages away.
        await asyncio.sleep(0)


async def bootstrap(node: Running) -> None:
    """Dial the given bootstraps until each was reached once and again when no peer is left, with backoff, for ever."""
    waiting = {parse_address(address)[1]: address for address in node.config.bootstrap}
    waiting.pop(node.peer, None)
    backoff_ms = DIAL_BACKOFF_MS_MIN
    reached: set[bytes] = set()
    while waiting:
        connected = set(node.transport.peers())
        missing = [key for key in waiting if key not in connected and not (key in reached and connected)]
        # All at once: one that does not answer takes ten seconds to say so, and the others may be there.
        found = await asyncio.gather(*(_reach(node, waiting[key]) for key in missing))
        reached.update(key for key, there in zip(missing, found, strict=True) if there)
        alive = bool(node.transport.peers())
        backoff_ms = DIAL_BACKOFF_MS_MIN if alive else min(2 * backoff_ms, DIAL_BACKOFF_MS_MAX)
        await asyncio.sleep(backoff_ms / 1_000 if not alive else DIAL_BACKOFF_MS_MAX / 1_000)


async def _reach(node: Running, address: str) -> bool:
    """Whether the peer at `address` could be dialled; why not stands in the log."""
    try:
        await node.transport.dial(address)
    except TransportError as error:
        node.events.emit(Log("warning", "bootstrap_failed", {"reason": str(error)}))
        return False
    return True
