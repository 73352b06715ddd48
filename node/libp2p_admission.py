"""Who may connect: the places of a node, and who has to leave when they are taken.

A connection that we dialled never has to leave, nor does a peer with a channel for a stranger: floods of new connections push
out each other. A guest is useful once it has a channel, and idle until then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from libp2p.peer.id import ID

from node.libp2p_wire import Wire
from node.limits import Limits

# A handshake may be given up for another after this time, where it would take four round trips and 15 ms of work; before, the
# newcomer is refused, or many honest ones at once would only push out each other.
HANDSHAKE_GRACE_S = 1.0
# A channel is opened at once, so a peer without one after this time has another purpose; it may stay while there is room.
IDLE_GRACE_S = 5.0


@dataclass(eq=False, slots=True)
class Guest:
    """A connection that somebody opened to us."""

    wire: Wire
    since: float
    peer: ID | None = None  # known when the handshake is over
    useful: bool = False


class Admission:
    """The places of a node. Times are seconds of one clock."""

    def __init__(self, limits: Limits, hits: Counter[str]) -> None:
        self.handshakes: dict[Guest, None] = {}  # oldest first, as are the guests
        self.guests: dict[Guest, None] = {}
        self._limits = limits
        self._hits = hits
        self._handshakes_of: Counter[str] = Counter()
        self._guests_of: Counter[str] = Counter()

    def knock(self, wire: Wire, now: float) -> Guest | None:
        """A place for a handshake, or None."""
        reason = self._full(wire.address, now)
        if reason is not None:
            self._hits[reason] += 1
            return None
        guest = Guest(wire, now)
        self.handshakes[guest] = None
        if wire.address is not None:
            self._handshakes_of[wire.address] += 1
        return guest

    def _full(self, address: str | None, now: float) -> str | None:
        """Why nobody may knock from this address; else a handshake that takes long has left if its place was needed."""
        limits = self._limits
        if len(self.guests) >= limits.connections_inbound and not self._idle(None, now):
            return "guard_full"
        if address is not None and self._guests_of[address] >= limits.connections_per_address and not self._idle(address, now):
            return "guard_address_full"
        slow = [guest for guest in self.handshakes if guest.since < now - HANDSHAKE_GRACE_S]
        if address is not None and self._handshakes_of[address] >= limits.handshakes_per_address:
            if not self._dismiss([guest for guest in slow if guest.wire.address == address], "guard_slow_handshake"):
                return "guard_too_many_handshakes"
        elif len(self.handshakes) >= limits.handshakes and not self._dismiss(slow, "guard_slow_handshake"):
            return "guard_too_many_handshakes"
        return None

    def enter(self, guest: Guest, peer: ID, now: float) -> bool:
        """Whether a guest whose handshake is over, and whose peer id is known by that, may stay."""
        if guest not in self.handshakes:
            return False  # dismissed meanwhile
        self.leave(guest)
        address, limits = guest.wire.address, self._limits
        same = [other for other in self.guests if other.peer == peer]
        if len(same) >= limits.connections_per_peer:
            self._dismiss(same, "guard_too_many_of_peer")  # its older ones are dead, or too many
        if (
            address is not None
            and self._guests_of[address] >= limits.connections_per_address
            and not self._dismiss(self._idle(address, now), "guard_idle")
        ):
            self._hits["guard_address_full"] += 1
            return False
        if len(self.guests) >= limits.connections_inbound and not self._dismiss(self._idle(None, now), "guard_idle"):
            self._hits["guard_full"] += 1
            return False
        guest.peer, guest.since = peer, now
        self.guests[guest] = None
        if address is not None:
            self._guests_of[address] += 1
        return True

    def leave(self, guest: Guest) -> None:
        """Give the place back; may be called again."""
        for places, counts in ((self.handshakes, self._handshakes_of), (self.guests, self._guests_of)):
            if guest in places:
                del places[guest]
                address = guest.wire.address
                if address is not None:
                    counts[address] -= 1
                    if not counts[address]:
                        del counts[address]

    def make_room(self, own: int) -> bool:
        """Whether one more connection of ours may be had beside `own` others: the newest guests go for it, idle ones first."""
        while own + len(self.guests) >= self._limits.connections:
            newest = list(reversed(self.guests))
            if not self._dismiss([guest for guest in newest if not guest.useful] or newest, "guard_own_dial"):
                return False
        return True

    def _idle(self, address: str | None, now: float) -> list[Guest]:
        """The guests without a channel, of one address or of all, oldest first."""
        return [
            guest
            for guest in self.guests
            if not guest.useful and guest.since < now - IDLE_GRACE_S and address in (None, guest.wire.address)
        ]

    def _dismiss(self, candidates: Iterable[Guest], reason: str) -> bool:
        """End the connection of the first candidate; False if there is none."""
        for guest in candidates:
            self._hits[reason] += 1
            self.leave(guest)
            guest.wire.abort()
            return True
        return False
