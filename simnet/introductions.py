"""What a node may tell of others: only what it was asked for, by specs/04-transport.md and 05-capability.md."""

from __future__ import annotations

from collections import Counter

from protocol.constants import RECORDS_SHARED_MAX, SEEK_MS, SEEKS_BURST
from protocol.envelope import Envelope
from protocol.events import Input, PeerConnected
from simnet.checking import Checker
from simnet.host import Host
from simnet.queue import Guard
from simnet.world import World


class _Ration:
    """How many may be sought: SEEKS_BURST at once and one more in SEEK_MS, by a count of its own."""

    def __init__(self, life: Guard) -> None:
        self.life = life
        self._left = SEEKS_BURST
        self._since_ms = 0

    def take(self, now_ms: int) -> bool:
        """Take one, if there is one."""
        if self._left == SEEKS_BURST:
            self._since_ms = now_ms
        grown = (now_ms - self._since_ms) // SEEK_MS
        self._since_ms += grown * SEEK_MS
        self._left = min(SEEKS_BURST, self._left + grown)
        if not self._left:
            return False
        self._left -= 1
        return True


class Introductions(Checker):
    """A node seeks others at its ration, and tells a peer of others as much as that one sought at its own."""

    name = "introductions"
    inputs = (PeerConnected,)
    sent = ("record", "seek")
    heard = ("seek",)

    def __init__(self) -> None:
        super().__init__()
        # Those of hosts, and of their peers over a channel; how many records each host owes to all of them.
        self._own: dict[int, _Ration] = {}
        self._theirs: dict[tuple[int, bytes], _Ration] = {}
        self._owed: Counter[int] = Counter()

    def on_input(self, world: World, host: Host, event: Input) -> None:  # noqa: ARG002
        """Whoever connects may seek."""
        if isinstance(event, PeerConnected):
            self._theirs[host.index, event.peer] = _Ration(host.life)

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """Somebody seeks."""
        ration = self._theirs.get((host.index, envelope.sender))
        if source == envelope.sender and ration is not None and ration.take(world.now_us // 1_000):
            self._owed[host.index] += _wanted(envelope)

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """It seeks itself, or hands over what another one signed."""
        if envelope.type == "seek":
            ration = self._own.get(host.index)
            if ration is None or ration.life is not host.life:
                ration = self._own[host.index] = _Ration(host.life)
            if not ration.take(world.now_us // 1_000):
                self.report(world, host, f"seeks others more often than once in {SEEK_MS} ms and {SEEKS_BURST} times at once")
        elif envelope.sender != host.key:
            self._owed[host.index] -= 1
            if self._owed[host.index] < 0:
                self.report(world, host, "tells of others whom nobody sought, or more than are told")


def _wanted(envelope: Envelope) -> int:
    count = envelope.body.get("count")
    return count if isinstance(count, int) and 1 <= count <= RECORDS_SHARED_MAX else 0
