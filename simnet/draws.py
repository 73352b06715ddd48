"""Counter-based random streams: one a node and purpose, the same on every machine."""

from __future__ import annotations

import hashlib


class Stream:
    """Bytes and integers from SHA-256 over (seed, name, counter)."""

    def __init__(self, seed: int, name: str) -> None:
        self._prefix = hashlib.sha256(b"tutti/simnet/1\x00" + seed.to_bytes(8, "big") + name.encode()).digest()
        self._counter = 0

    def bytes(self, size: int) -> bytes:
        """The next `size` bytes."""
        blocks = []
        for _ in range(-(-size // 32)):
            blocks.append(hashlib.sha256(self._prefix + self._counter.to_bytes(8, "big")).digest())
            self._counter += 1
        return b"".join(blocks)[:size]

    def below(self, bound: int) -> int:
        """An integer in [0, bound); the bias is below bound / 2^64."""
        return int.from_bytes(self.bytes(8), "big") * bound >> 64
