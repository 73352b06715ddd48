"""What one peer may ask for in a time, and what a node may send so that others need not refuse it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """One more each `interval_ms` in the mean, `burst` at once; the instant when it is full again says all about it."""

    interval_ms: int
    burst: int
    full_at_ms: int = 0

    @property
    def due_ms(self) -> int:
        """From when on there is one to take."""
        return self.full_at_ms - (self.burst - 1) * self.interval_ms

    def spend(self, now_ms: int) -> bool:
        """Take one if there is one."""
        full_at_ms = after_one(self.full_at_ms, self.interval_ms, self.burst, now_ms)
        if full_at_ms is None:
            return False
        self.full_at_ms = full_at_ms
        return True


def after_one(full_at_ms: int, interval_ms: int, burst: int, now_ms: int) -> int | None:
    """When a ration is full again if one is taken now; None if there is none to take."""
    if now_ms < full_at_ms - (burst - 1) * interval_ms:
        return None
    return max(full_at_ms, now_ms) + interval_ms
