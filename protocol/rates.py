"""What one peer may ask for in a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """One more each `interval_ms` in the mean, `burst` at once; the instant when it is full again says all about it."""

    interval_ms: int
    burst: int
    full_at_ms: int = 0

    def spend(self, now_ms: int) -> bool:
        """Take one if there is one."""
        full_at_ms = max(self.full_at_ms, now_ms) + self.interval_ms
        if full_at_ms > now_ms + self.burst * self.interval_ms:
            return False
        self.full_at_ms = full_at_ms
        return True
