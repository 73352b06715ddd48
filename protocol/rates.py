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
        if now_ms < self.due_ms:
            return False
        self.full_at_ms = max(self.full_at_ms, now_ms) + self.interval_ms
        return True
