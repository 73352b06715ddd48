"""Rates that one peer may not exceed."""

from __future__ import annotations

from collections.abc import Hashable

_NS_PER_S = 1_000_000_000


class RateLimit:
    """A token bucket for each key: `per_s` in the mean and `burst` at once; what is over is dropped and counted."""

    def __init__(self, per_s: int, burst: int) -> None:
        self.dropped = 0
        self._cost_ns = _NS_PER_S // per_s
        self._burst_ns = burst * self._cost_ns
        self._full_at_ns: dict[Hashable, int] = {}

    def allows(self, key: Hashable, now_ns: int) -> bool:
        """Whether one more of `key` may be handled."""
        # The instant at which the bucket would be full again says all about it in one number.
        full_at_ns = max(self._full_at_ns.get(key, 0), now_ns) + self._cost_ns
        if full_at_ns > now_ns + self._burst_ns:
            self.dropped += 1
            return False
        self._full_at_ns[key] = full_at_ns
        return True

    def tidy(self, now_ns: int) -> None:
        """Drop full buckets, which say nothing. Those of peers that left stay until then, or reconnecting would refill them."""
        self._full_at_ns = {key: full_at_ns for key, full_at_ns in self._full_at_ns.items() if full_at_ns > now_ns}
