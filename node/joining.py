"""How a node gets into its network and back: bootstraps are dialled for ever, and an owner hears of it when nobody answers.

Saved peers are dialled by the core at the same time (specs/05-capability.md): a bootstrap is a hint and nobody's authority.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.libp2p_address import parse_address
from node.transport import TransportError
from protocol.constants import DIAL_BACKOFF_MS_MAX, DIAL_BACKOFF_MS_MIN, DIAL_JITTER_SHARE
from protocol.events import Log

if TYPE_CHECKING:
    from node.daemon import Running

# How long a node may be without peers before its owner is told, once until it has had one again.
ALONE_MS = 60_000
# How often it looks whom to dial and whether it is alone.
_TICK_S = 0.5
# The whole line must fit a field of the log; the longest reason, another key that answers, is 82 characters.
_REASON_SIZE_MAX = 110


@dataclass(slots=True)
class _Hint:
    key: bytes
    reached: bool = False
    dialling: bool = False
    backoff_ms: int = DIAL_BACKOFF_MS_MIN
    due_ms: int = 0
    reason: str = ""


class Bootstraps:
    """When which bootstrap is dialled: each until it was reached once, and again whenever no peer is left."""

    def __init__(self, addresses: Sequence[str], own: bytes) -> None:
        # By address: a peer may have several, of which one leads there today.
        self._hints = {address: _Hint(key) for address in addresses if (key := parse_address(address)[1]) != own}
        self._alone = True

    def __len__(self) -> int:
        return len(self._hints)

    @property
    def reason(self) -> str:
        """Why the last dial that failed did, if one of those not reached has."""
        return next((hint.reason for hint in reversed(self._hints.values()) if hint.reason), "")

    def due(self, connected: Sequence[bytes], now_ms: int) -> list[str]:
        """Addresses to dial now; `ended` must follow for each."""
        if not connected and not self._alone:
            for hint in self._hints.values():
                hint.backoff_ms, hint.due_ms = DIAL_BACKOFF_MS_MIN, now_ms
        self._alone = not connected
        reached = {hint.key for hint in self._hints.values() if hint.reached} if connected else set()
        found: list[str] = []
        for address, hint in self._hints.items():
            if hint.key in connected or hint.key in reached or hint.dialling or hint.due_ms > now_ms:
                continue
            hint.dialling = True
            found.append(address)
        return found

    def ended(self, address: str, reason: str, now_ms: int) -> bool:
        """A dial is over; `reason` says why it failed, empty if it did not. Whether that is news."""
        hint = self._hints[address]
        news = reason != hint.reason
        hint.dialling, hint.reason, hint.reached = False, reason, hint.reached or not reason
        # Nodes that lost the same bootstrap do not come back to it in the same instant.
        jitter_ms = secrets.randbelow(hint.backoff_ms // DIAL_JITTER_SHARE + 1)
        hint.due_ms = now_ms + hint.backoff_ms + jitter_ms
        hint.backoff_ms = min(2 * hint.backoff_ms, DIAL_BACKOFF_MS_MAX) if reason else DIAL_BACKOFF_MS_MIN
        return news


@dataclass(slots=True)
class Solitude:
    """Notices that a node has been without peers for ALONE_MS, once each time."""

    since_ms: int
    told: bool = field(default=False)

    def notice(self, peers: int, now_ms: int) -> bool:
        """Whether the owner must hear now that there are no peers."""
        if peers:
            self.since_ms, self.told = now_ms, False
            return False
        if self.told or now_ms < self.since_ms + ALONE_MS:
            return False
        self.told = True
        return True


def told_alone(bootstraps: int, saved: int, reason: str, address: str) -> Log:
    """What to say to an owner whose node has been alone for ALONE_MS: whom it tried, and what to do."""
    if bootstraps + saved == 0:
        # Its owner alone knows whether it is the first or was meant to join one.
        text = f"nobody has joined this node; others join it with --bootstrap {address}"
        return _line(f"{text}; to join somebody, start it with --bootstrap and the address of a node that runs now")
    counts = ((bootstraps, "bootstrap"), (saved, "saved peer"))
    tried = " and ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count)
    # The address stood in a line of its own before, with the remedy for it; here it would leave no room for the reason.
    why = reason.partition(": ")[2].partition("; ")[0] or reason
    last = f", the last because: {why[:_REASON_SIZE_MAX]}" if reason else ""
    remedy = "; run tutti doctor, or start with --bootstrap and the address of a node that runs now"
    return _line(f"none of {tried} answered{last}{remedy}")


def _line(reason: str) -> Log:
    return Log("error", "no_peers", {"elapsed_ms": ALONE_MS, "reason": reason})


async def join(node: Running) -> None:
    """Dial bootstraps and look for solitude, for ever."""
    bootstraps = Bootstraps(node.config.bootstrap, node.peer)
    solitude = Solitude(_now_ms())
    async with asyncio.TaskGroup() as dials:
        while True:
            peers = node.transport.peers()
            for address in bootstraps.due(peers, _now_ms()):
                dials.create_task(_dial(node, bootstraps, address))
            if solitude.notice(len(peers), _now_ms()):
                saved = sum(peer.meeting is not None for _, peer in node.executor.core.peers.all())
                own = next(iter(node.transport.addresses()), "MULTIADDR")
                node.events.emit(told_alone(len(bootstraps), saved, bootstraps.reason, own))
            await asyncio.sleep(_TICK_S)


async def _dial(node: Running, bootstraps: Bootstraps, address: str) -> None:
    reason = ""
    try:
        await node.transport.dial(address)
    except TransportError as error:
        reason = node.unreached[address] = str(error)
    else:
        node.unreached.pop(address, None)
    news = bootstraps.ended(address, reason, _now_ms())
    if reason:
        # For ever, each minute: once is enough for who reads along.
        node.events.emit(Log("warning" if news else "debug", "bootstrap_failed", {"reason": reason}))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
