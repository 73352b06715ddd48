"""How a node keeps itself in the network's directory and finds in it the nodes that it has not met."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from node.transport import Directory, TransportError
from protocol.capability import GENERAL
from protocol.constants import RECORD_LIFETIME_MS_MAX, RECORD_REFRESH_MS
from protocol.events import Log, MessageReceived

if TYPE_CHECKING:
    from node.daemon import Running

# How often it looks whether there is something to do, and tells the directory who is connected.
TICK_S = 5
# A record must stand there again before it is over, with a chance to spare.
ANNOUNCE_S = 300
# Each skill of the network is looked up this often; the first time as soon as there is somebody to ask.
LOOK_UP_S = 600
# Up to one part of either period is taken off by lot, so that a network that started at once does not ask at once.
JITTER_SHARE = 4

assert 2 * ANNOUNCE_S * 1_000 < RECORD_LIFETIME_MS_MAX - RECORD_REFRESH_MS


class Agenda:
    """When each thing is due next, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def take(self, thing: str, period_s: float, now_s: float) -> bool:
        """Whether `thing` is due; if so, it is due again a period later, less a part by lot."""
        if now_s < self._due.get(thing, now_s):
            return False
        self._due[thing] = now_s + period_s - secrets.randbelow(int(1_000 * period_s) // JITTER_SHARE) / 1_000
        return True

    def clear(self) -> None:
        """Everything is due now."""
        self._due.clear()


async def discover(node: Running, directory: Directory) -> None:
    """Announce this node and look up every skill of the network, for ever; what is found goes to the core as gossip does."""
    agenda = Agenda()
    while True:
        if not node.transport.peers():
            agenda.clear()  # there is nobody to ask; with the first peer everything is due
        else:
            await _visit(node, directory, agenda)
        await asyncio.sleep(TICK_S if node.transport.peers() else 1)


async def _visit(node: Running, directory: Directory, agenda: Agenda) -> None:
    core = node.executor.core
    directory.introduce(
        {key: peer.record.addresses for key, peer in core.peers.all() if peer.connected and peer.record is not None}
    )
    try:
        if agenda.take("announce", ANNOUNCE_S, time.monotonic()):
            own = core.own_record
            skills = sorted(set(own.skills) & set(node.parameters.skills)) if own.available else []
            kept = await directory.announce(skills, core.record_data)
            node.events.emit(Log("debug", "announced", {"count": kept}))
        for skill in sorted(node.parameters.skills):
            if skill != GENERAL and agenda.take(skill, LOOK_UP_S, time.monotonic()):
                found = await directory.look_up(skill)
                node.events.emit(Log("debug", "looked_up", {"skill": skill, "count": len(found)}))
                for data in found:
                    node.executor.feed(MessageReceived(None, data))
    except TransportError:
        agenda.clear()  # the network restarts; its directory has forgotten us
