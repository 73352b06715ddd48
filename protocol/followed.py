"""The ledgers of others that a node holds: verified ranges, bounded by author and all together (specs/06-ledger.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.chain import Chain
from protocol.constants import FOLLOWED_BYTES_MAX, FOLLOWED_BYTES_TOTAL_MAX, FOLLOWED_ENTRIES_MAX, FOLLOWED_MAX, SNAPSHOT_EVERY
from protocol.errors import RemoteProtocolError
from protocol.events import Persist
from protocol.identity import PUBLIC_KEY_SIZE
from protocol.ledger import Entry, open_entry, parse_entry
from protocol.ledger_messages import pack_head
from protocol.outbox import Outbox

TABLE: Final = "followed"
_NUMBER_SIZE: Final = 8


class Followed:
    """Chains by author. `worth` ranks authors: the lowest goes first; `taken` hears of each entry, in its author's order."""

    def __init__(self, outbox: Outbox, worth: Callable[[bytes], tuple[int, ...]], taken: Callable[[Entry], None]) -> None:
        self._outbox = outbox
        self._worth = worth
        self._taken = taken
        self._chains: dict[bytes, Chain] = {}
        # Who says to follow another key: asked for with each new author, and mostly nobody.
        self._successions: dict[bytes, bytes] = {}
        self._authors: list[bytes] | None = None
        # What is told to new peers, by author.
        self._heads: dict[bytes, bytes] = {}
        self._bytes_total = 0

    def __len__(self) -> int:
        return len(self._chains)

    def get(self, author: bytes) -> Chain | None:
        """What is held of `author`."""
        return self._chains.get(author)

    def authors(self) -> list[bytes]:
        """Of whom something is held, by key."""
        if self._authors is None:
            self._authors = sorted(self._chains)
        return self._authors

    def heads(self) -> list[bytes]:
        """The packed heads of all that is held, by author."""
        return [self._heads[author] for author in self.authors()]

    def successions(self) -> list[tuple[bytes, bytes]]:
        """Who says to follow another key, by key, with the statement."""
        return sorted(self._successions.items())

    def has_room(self, author: bytes) -> bool:
        """Whether the ledger of `author` may be held: it is, or there is a place, or it is worth more than another."""
        if author in self._chains or len(self._chains) < FOLLOWED_MAX:
            return True
        worth = self._worth(author)
        return any(self._worth(other) < worth for other in self._chains)

    def add(self, entry: Entry) -> None:
        """Take the entry after the head of its author's range, or the first of a range; raises `RemoteProtocolError`.

        The signature must have been verified.
        """
        chain = self._chains.get(entry.author) or Chain()
        chain.add(entry)
        self._put(entry.author, chain)
        self._bytes_total += len(entry.data)
        self._outbox.emit(Persist(TABLE, _key(entry.author, entry.number), entry.data))
        self._bound(entry.author, chain)
        self._taken(entry)

    def forget(self, author: bytes) -> None:
        """Hold nothing of `author` any more."""
        chain = self._chains.pop(author, None)
        if chain is not None:
            self._authors = None
            del self._heads[author]
            self._successions.pop(author, None)
            self._gone(author, range(chain.first, chain.next), chain.bytes_total)

    def _put(self, author: bytes, chain: Chain) -> None:
        if author not in self._chains:
            self._chains[author] = chain
            self._authors = None
        assert chain.head is not None
        self._heads[author] = pack_head(chain.head)
        if chain.summary.succession:
            self._successions[author] = chain.summary.succession

    # --- Restart

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back one entry of the disk; what does not follow goes, since it can be pulled again."""
        author = key[:PUBLIC_KEY_SIZE]
        chain = self._chains.get(author) or Chain()
        try:
            entry = parse_entry(value)
            if entry.author != author or key != _key(author, entry.number) or entry.network != self._outbox.network:
                raise RemoteProtocolError("chain", "an entry of another ledger")
            chain.add(entry)
        except RemoteProtocolError:
            self._outbox.emit(Persist(TABLE, key, None))
            return
        self._put(author, chain)
        self._bytes_total += len(value)

    def restored(self) -> None:
        """All is back. The ids hold a range together, so the signature on its last entry vouches for what all of it says."""
        for author in list(self.authors()):
            chain = self._chains[author]
            try:
                assert chain.head is not None
                open_entry(chain.head.data)
            except RemoteProtocolError:
                self.forget(author)
                continue
            for number in range(chain.first, chain.next):
                data = chain.get(number)
                assert data is not None
                self._taken(parse_entry(data))

    def inherit(self, entries: list[Entry]) -> None:
        """Keep the ledger of an identity that this node had before, for those who follow it."""
        for entry in entries:
            if entry.network == self._outbox.network:
                self.add(entry)

    # --- Bounds

    def _bound(self, author: bytes, chain: Chain) -> None:
        if len(chain) > FOLLOWED_ENTRIES_MAX or chain.bytes_total > FOLLOWED_BYTES_MAX:
            self._shorten(author, chain)
        while len(self._chains) > FOLLOWED_MAX or self._bytes_total > FOLLOWED_BYTES_TOTAL_MAX:
            self.forget(min(self._chains, key=lambda other: (self._worth(other), other)))

    def _shorten(self, author: bytes, chain: Chain) -> None:
        """Drop the older half, up to a snapshot; all of it if there is none, so that no author can pile up more."""
        half = max(chain.first + 1, chain.next - len(chain) // 2)
        snapshot = -(-half // SNAPSHOT_EVERY) * SNAPSHOT_EVERY
        if chain.get(snapshot) is None:
            snapshot = (chain.next - 1) // SNAPSHOT_EVERY * SNAPSHOT_EVERY
        if snapshot <= chain.first:
            self.forget(author)
            return
        size = chain.bytes_total
        gone = chain.drop_before(snapshot)
        self._gone(author, range(gone[0], snapshot), size - chain.bytes_total)

    def _gone(self, author: bytes, numbers: range, size: int) -> None:
        self._bytes_total -= size
        for number in numbers:
            self._outbox.emit(Persist(TABLE, _key(author, number), None))


def _key(author: bytes, number: int) -> bytes:
    return author + number.to_bytes(_NUMBER_SIZE, "big")
