"""What a node does with its network all the time: take in what comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from node.transport import (
    FrameReceived,
    GossipReceived,
    PeerConnected,
    PeerLost,
    TransportRestarted,
)
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
