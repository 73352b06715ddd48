"""What its owner lets a node do for others: so many requests an hour, so many tokens a day.

    fits(tokens) -> bool              whether an award that may take so many tokens stays below the caps
    reserve(tokens) -> Reservation    at the award: one request, and the most tokens it may take
    settle(reservation, tokens)       at its result: what it did not take comes back

A cap holds for every hour and every day, wherever they begin, and not only from one full hour to the next: what was taken
lies in slots, and a slot comes back when all of it is older than the window. What ends without a result counts in full, for
nobody knows what it took.

The windows have a clock of their own: mono time while the node runs, and over a restart the wall clock says how long it was
away, but never less than nothing. So a wall clock that jumps while the node runs changes nothing; one that was put back
while it was off gives the allowance back later; one that was put forward meanwhile gives it back sooner, since nothing here
can tell that from a night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol import canonical
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Instant

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
# Slots of a window. More would give an allowance back in smaller parts, and each is a number on disk at every award.
SLOTS: Final = 24
# A node that closed stays closed this long although a result gave tokens back: near its cap it would otherwise publish two
# records a lease, and all its peers would pass them on.
CLOSED_MS_MIN: Final = 60_000
_AMOUNT_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class Caps:
    """Work for others that a node's owner allows; 0 is no cap. Tokens are those that the model writes."""

    requests_per_hour: int = 0
    tokens_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an award has taken, and from which slot."""

    slot: int
    tokens: int


class Window:
    """At most `cap` in any `length_ms`; a cap of 0 is none, and nothing is counted."""

    def __init__(self, cap: int, length_ms: int) -> None:
        self.cap = cap
        self.slot = 0
        self.slot_ms = length_ms // SLOTS
        self._taken: dict[int, int] = {}

    @property
    def taken(self) -> int:
        """What was taken in the last window."""
        return sum(self._taken.values())

    def turn(self, clock_ms: int) -> None:
        """Move on; slots that are older than the window come back."""
        self.slot = clock_ms // self.slot_ms
        # One slot more than the window has: the oldest began before the window, and its last part may lie within.
        self._taken = {slot: amount for slot, amount in self._taken.items() if slot >= self.slot - SLOTS}

    def fits(self, amount: int) -> bool:
        """Whether `amount` can be taken now."""
        return not self.cap or self.taken + amount <= self.cap

    def take(self, amount: int) -> None:
        """Take `amount` now."""
        if self.cap:
            self._taken[self.slot] = self._taken.get(self.slot, 0) + amount

    def give_back(self, slot: int, amount: int) -> None:
        """Return `amount` to the slot that it was taken from; a negative one takes more than was reserved."""
        if slot in self._taken:
            self._taken[slot] = max(0, self._taken[slot] - amount)

    def fits_at_ms(self, amount: int) -> int:
        """When `amount` fits, on the clock of `turn`, if nothing is taken until then; 0 if it fits now."""
        over = self.taken + min(amount, self.cap) - self.cap
        if not self.cap or over <= 0:
            return 0
        for slot in sorted(self._taken):
            over -= self._taken[slot]
            if over <= 0:
                return (slot + SLOTS + 1) * self.slot_ms
        raise LocalProtocolError("more is over a cap than was taken")

    def rows(self) -> list[canonical.Value]:
        """The slots, to be persisted."""
        return [[slot, amount] for slot, amount in sorted(self._taken.items())]

    def restore(self, rows: canonical.Value) -> None:
        """Take back what `rows` gave; raises `LocalProtocolError` if it was damaged."""
        if not isinstance(rows, list) or len(rows) > SLOTS + 1:
            raise _damaged()
        self._taken = dict(_slot(row) for row in rows) if self.cap else {}


class Allowance:
    """The caps of one node and what was taken of them. `tokens_usual` is what the longest usual question may take."""

    def __init__(self, caps: Caps, tokens_usual: int) -> None:
        self.requests = Window(caps.requests_per_hour, HOUR_MS)
        self.tokens = Window(caps.tokens_per_day, DAY_MS)
        self._usual = tokens_usual
        self._now = Instant(0, 0)
        self._ahead_ms = 0
        self._closed_at_ms = -CLOSED_MS_MIN
        self._opens_at_ms = 0

    @property
    def capped(self) -> bool:
        """Whether there is any cap, and so anything to keep."""
        return bool(self.requests.cap or self.tokens.cap)

    @property
    def closed_until_ms(self) -> int | None:
        """The mono_ms at which any usual question fits again; None if one does now."""
        return self._opens_at_ms - self._ahead_ms if self._opens_at_ms > self._clock_ms else None

    def begin(self, now: Instant) -> None:
        """Move the windows on to `now`."""
        self._now = now
        self._turn()

    def fits(self, tokens: int) -> bool:
        """Whether an award that may take `tokens` stays below the caps."""
        return self.requests.fits(1) and self.tokens.fits(tokens)

    def reserve(self, tokens: int) -> Reservation:
        """Take a request and `tokens`; only for what fits."""
        if not self.fits(tokens):
            raise LocalProtocolError("a reservation beyond the caps")
        self.requests.take(1)
        self.tokens.take(tokens)
        self._turn()
        return Reservation(self.tokens.slot, tokens)

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Give back what a result did not take. One that took more than it was allowed counts as it was."""
        self.tokens.give_back(reservation.slot, reservation.tokens - tokens)
        self._turn()

    def row(self) -> bytes:
        """What a restart must not forget."""
        return canonical.encode(
            {
                "clock_ms": self._clock_ms,
                "wall_ms": self._now.wall_ms,
                "requests": self.requests.rows(),
                "tokens": self.tokens.rows(),
            }
        )

    def restore(self, row: bytes, now: Instant) -> None:
        """Go on from `row`; raises `LocalProtocolError` if it was damaged."""
        try:
            value = canonical.decode(row)
        except RemoteProtocolError as error:
            raise _damaged() from error
        if not isinstance(value, dict) or set(value) != {"clock_ms", "wall_ms", "requests", "tokens"}:
            raise _damaged()
        away_ms = max(0, now.wall_ms - _amount(value["wall_ms"]))
        self._ahead_ms = _amount(value["clock_ms"]) + away_ms - now.mono_ms
        self.requests.restore(value["requests"])
        self.tokens.restore(value["tokens"])
        self.begin(now)

    @property
    def _clock_ms(self) -> int:
        return self._now.mono_ms + self._ahead_ms

    def _turn(self) -> None:
        if not self.capped:
            return
        self.requests.turn(self._clock_ms)
        self.tokens.turn(self._clock_ms)
        fits_at_ms = max(self.requests.fits_at_ms(1), self.tokens.fits_at_ms(self._usual))
        if self.closed_until_ms is None and fits_at_ms > self._clock_ms:
            self._closed_at_ms = self._clock_ms
        self._opens_at_ms = max(fits_at_ms, self._closed_at_ms + CLOSED_MS_MIN)


def _damaged() -> LocalProtocolError:
    return LocalProtocolError("damaged entry on disk: not an allowance")


def _amount(value: canonical.Value) -> int:
    if type(value) is not int or not 0 <= value <= _AMOUNT_MAX:
        raise _damaged()
    return value


def _slot(row: canonical.Value) -> tuple[int, int]:
    if not isinstance(row, list) or len(row) != 2:  # noqa: PLR2004  a slot and its amount
        raise _damaged()
    return _amount(row[0]), _amount(row[1])
