"""The numbers from which the generators of exercises draw (specs/12-generators.md): SHA-256 over a key and a counter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Stream:
    """Integers drawn from SHA-256 over a key and a counter."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0

    def between(self, low: int, high: int) -> int:
        """A number in [low, high]. Reducing 64 bits modulo a range below 2**10 leaves a bias below 2**-54."""
        # specs/12-generators.md: "draw n, from 0, is the number d in the first 8 bytes, big-endian, of SHA-256(key `||` n as 4
        # bytes big-endian)."
        block = hashlib.sha256(self._key + self._counter.to_bytes(4, "big")).digest()
        self._counter += 1
        return low + int.from_bytes(block[:8], "big") % (high - low + 1)

    def choice(self, options: Sequence[_Item]) -> _Item:
        """One of the options, each as likely as the others."""
        return options[self.between(0, len(options) - 1)]

    def one_in(self, count: int) -> bool:
        """True once in `count` draws, on average."""
        return self.between(1, count) == 1

    def sample(self, options: Sequence[_Item], count: int) -> list[_Item]:
        """`count` different options, in random order."""
        rest = list(options)
        return [rest.pop(self.between(0, len(rest) - 1)) for _ in range(count)]
