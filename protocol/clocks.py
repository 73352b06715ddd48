"""How far the clocks of connected peers are from ours, and whose is wrong (specs/05-capability.md).

A peer signs its own record a moment before it sends it on a new channel, so the record's date is the peer's clock. A wrong
clock makes whatever is signed expired or from the future, and its owner would only see that nobody answers.
"""

from __future__ import annotations

from protocol.constants import CLOCK_SKEW_MS_MAX, NOTICE_MS
from protocol.identity import peer_id
from protocol.outbox import Outbox

# One peer alone cannot tell whose clock is wrong.
_WITNESSES_MIN = 2


class Clocks:
    """One measurement for each connected peer."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._ahead_ms: dict[bytes, int] = {}
        self._notice_at_ms: dict[str, int] = {}

    @property
    def off_ms(self) -> int:
        """How far ahead our clock is (negative: behind) by what most peers say; 0 if they agree with us, or are too few."""
        ahead = sorted(self._ahead_ms.values())
        if len(ahead) < _WITNESSES_MIN:
            return 0
        middle = ahead[len(ahead) // 2]
        agree = sum(abs(other - middle) <= CLOCK_SKEW_MS_MAX for other in ahead)
        return -middle if abs(middle) > CLOCK_SKEW_MS_MAX and 2 * agree > len(ahead) else 0

    @property
    def peers_off(self) -> int:
        """How many connected peers' clocks are further from ours than the protocol allows."""
        return sum(abs(ahead) > CLOCK_SKEW_MS_MAX for ahead in self._ahead_ms.values())

    def observe(self, peer: bytes, issued_ms: int) -> None:
        """A connected peer's own record came on its channel; says so if its date cannot be."""
        ahead_ms = self._ahead_ms[peer] = issued_ms - self._outbox.now.wall_ms
        if abs(ahead_ms) <= CLOCK_SKEW_MS_MAX:
            return
        count = len(self._ahead_ms)
        if off_ms := self.off_ms:
            text = f"this machine's clock is {_apart(off_ms)} those of most of {count} peers, which refuse what it signs"
            self._tell("error", "own_clock_off", f"{text}; set it, for example with timedatectl set-ntp true", peer)
        elif count < _WITNESSES_MIN:
            text = f"this machine's clock is {_apart(-ahead_ms)} that of the only peer {peer_id(peer)}"
            self._tell("warning", "clocks_differ", f"{text}; one of both is wrong, look at this one first", peer)
        else:
            agree = f"those of {count - self.peers_off} of {count} peers agree with ours"
            text = f"the clock of peer {peer_id(peer)} is {_apart(ahead_ms)} ours, {agree}"
            self._tell("warning", "peer_clock_off", f"{text}; its owner has to set it", peer)

    def forget(self, peer: bytes) -> None:
        """The channel ended."""
        self._ahead_ms.pop(peer, None)

    def _tell(self, level: str, event: str, reason: str, peer: bytes) -> None:
        now_ms = self._outbox.now.mono_ms
        if now_ms >= self._notice_at_ms.get(event, 0):
            self._notice_at_ms[event] = now_ms + NOTICE_MS
            self._outbox.log(level, event, {"peer": peer.hex(), "reason": reason})


def _apart(ahead_ms: int) -> str:
    return f"{abs(ahead_ms) // 1_000} s {'ahead of' if ahead_ms > 0 else 'behind'}"
