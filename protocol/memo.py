"""Results of pure functions of bytes, kept for a while.

A daemon meets the same bytes twice: gossip's gate checks them before the core does, and openings show envelopes that came
before. A simulator meets them as often as it has nodes. What raises is not kept, so nothing that is false takes up room.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Found = TypeVar("_Found")


class Memo(Generic[_Found]):
    """The latest results, by what they were made from: between `size` and twice as many; with 0 none.

    One process may have several cores, and all of them share it: who made a result changes nothing about it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._new: dict[Hashable, _Found] = {}
        self._old: dict[Hashable, _Found] = {}

    def get(self, key: Hashable, make: Callable[[], _Found]) -> _Found:
        """What was made from `key` before, else what `make` gives now; what `make` raises comes through."""
        found = self._new.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                found = make()
            self.put(key, found)
        return found

    def forget(self) -> None:
        """Keep nothing of what was."""
        self._new, self._old = {}, {}

    def put(self, key: Hashable, found: _Found) -> None:
        """Keep what is known without being made."""
        if len(self._new) >= self.size:
            if not self.size:
                return
            self._old, self._new = self._new, {}
        self._new[key] = found
