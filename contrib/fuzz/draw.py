"""Turns a fuzzer's bytes into decisions, and changes values by them; no other randomness, so an input is its own replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from protocol.canonical import Value
from protocol.constants import DEPTH_MAX

Item = TypeVar("Item")

_NUMBERS: Final = (0, 1, 2, 3, 9, 63, 64, 255, 256, 1_000, 65_535, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**64 - 1, -1, -(2**63))
_TEXTS: Final = (
    "",
    "a",
    "arith",
    "7",
    "answer: 7",
    "[1, 2]",
    "yes",
    "\u0130",
    "\u2028",
    "\x00",
    "x" * 33,
    "/ip4/127.0.0.1/tcp/1",
)
_SIZES: Final = (0, 1, 16, 31, 32, 33, 64, 65, 200)
_CHANGES: Final = 9


class Draw:
    """Reads decisions from `data`; when it is used up, every decision is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether bytes are left."""
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """The next `size` bytes, zeros at the end."""
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece.ljust(size, b"\x00")

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        return int.from_bytes(self.take(1 if bound <= 1 << 8 else 2), "big") % bound

    def choice(self, options: Sequence[Item]) -> Item:
        """One of `options`."""
        return options[self.below(len(options))]

    def value(self, depth: int = 0) -> Value:  # noqa: PLR0911  a table of types
        """Any value that has an encoding."""
        match self.below(8 if depth < DEPTH_MAX else 6):
            case 0:
                return self.choice((None, True, False))
            case 1:
                return self.choice(_NUMBERS)
            case 2:
                return int.from_bytes(self.take(4), "big")
            case 3:
                return self.choice(_TEXTS)
            case 4:
                return self.take(self.below(24)).decode("utf-8", "replace")
            case 5:
                return self.take(1) * self.choice(_SIZES)
            case 6:
                return [self.value(depth + 1) for _ in range(self.below(4))]
            case _:
                return {self.choice(_TEXTS): self.value(depth + 1) for _ in range(self.below(4))}

    def changed(self, value: Value, known: Sequence[bytes] = ()) -> Value:  # noqa: PLR0911  a table of changes
        """`value` with one change somewhere in it, for which `known` are byte strings that mean something."""
        if isinstance(value, dict) and value and self.below(_CHANGES):
            name = self.choice(sorted(value))
            if self.below(16) == 1:
                return {key: item for key, item in value.items() if key != name}
            return value | {name: self.changed(value[name], known)}
        if isinstance(value, list) and value and self.below(_CHANGES):
            place = self.below(len(value))
            match self.below(8):
                case 1:
                    return value[:place] + value[place + 1 :]
                case 2:
                    return [*value, value[place]]
                case 3:
                    return value[place:] + value[:place]
                case _:
                    return [*value[:place], self.changed(value[place], known), *value[place + 1 :]]
        if isinstance(value, bytes) and self.below(3):
            alike = [other for other in known if len(other) == len(value)]
            if alike and self.below(2):
                return self.choice(alike)
            return self.flipped(value)
        if type(value) is int and self.below(3):
            return max(-(2**63), min(2**64 - 1, value + self.choice((1, -1, 2, -value, 1_000, -1_000))))
        if isinstance(value, str) and value and self.below(3):
            place = self.below(len(value))
            return value[:place] + self.choice(_TEXTS) + value[place + self.below(3) :]
        return self.value(1)

    def flipped(self, data: bytes) -> bytes:
        """`data` with a bit turned, a byte put in, or its end gone."""
        if not data:
            return self.take(1)
        place = self.below(len(data))
        match self.below(4):
            case 0:
                return data[:place]
            case 1:
                return data[:place] + self.take(1) + data[place:]
            case _:
                return data[:place] + bytes([data[place] ^ (1 << self.below(8))]) + data[place + 1 :]
