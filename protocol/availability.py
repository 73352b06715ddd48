"""Whether this node takes work: its model is alive, its owner has not paused it, and allowance is left.

Caps are for the work of others: the owner's own questions go on when they are reached. A pause stops both.
"""

from __future__ import annotations

from protocol.allowance import Allowance, Reservation
from protocol.errors import LocalProtocolError
from protocol.events import Persist
from protocol.outbox import Outbox

PAUSED = b"paused"
ALLOWANCE = b"allowance"


class Availability:
    """What a record's `available` and the answer to an award follow from."""

    def __init__(self, outbox: Outbox, allowance: Allowance, *, alive: bool) -> None:
        self.allowance = allowance
        self.alive = alive
        self.paused = False
        self._outbox = outbox

    @property
    def for_owner(self) -> bool:
        """Whether this node's model works on its owner's own questions."""
        return self.alive and not self.paused

    @property
    def for_others(self) -> bool:
        """Whether any usual question of others would be taken: what the record says."""
        return self.for_owner and self.allowance.closed_until_ms is None

    def takes(self, requester: bytes, tokens: int) -> bool:
        """Whether to bid on what may take `tokens`."""
        return self.for_owner if requester == self._outbox.me else self.for_others and self.allowance.fits(tokens)

    def refusal(self, requester: bytes, tokens: int) -> str | None:
        """Why an award must be declined, None if it need not. A bid may be older than the pause or the last free token."""
        if self.paused:
            return "paused"
        if requester != self._outbox.me and not self.allowance.fits(tokens):
            return "cap"
        return None

    def pause(self, *, paused: bool) -> bool:
        """Stop or go on; whether that was new."""
        if paused == self.paused:
            return False
        self.paused = paused
        self._outbox.emit(Persist("node", PAUSED, b"1" if paused else None))
        self._outbox.log("info", "paused" if paused else "resumed")
        return True

    def reserve(self, requester: bytes, tokens: int) -> Reservation | None:
        """Count an award before it is accepted; the owner's own work is not counted."""
        if requester == self._outbox.me or not self.allowance.capped:
            return None
        reservation = self.allowance.reserve(tokens)
        self._keep()
        return reservation

    def settle(self, reservation: Reservation | None, tokens: int) -> None:
        """Count what the result of an award took."""
        if reservation is not None:
            self.allowance.settle(reservation, tokens)
            self._keep()

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back what was persisted; raises `LocalProtocolError` if it was damaged."""
        if key == PAUSED:
            if value != b"1":
                raise LocalProtocolError("damaged entry on disk: not a pause")
            self.paused = True
        elif key == ALLOWANCE:
            self.allowance.restore(value, self._outbox.now)

    def _keep(self) -> None:
        self._outbox.emit(Persist("node", ALLOWANCE, self.allowance.row()))
