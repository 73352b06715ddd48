"""The parts of a Kademlia node that need no network: distance, the table of contacts, and bounded shelves for entries.

Peers are 32-byte public keys; distances are those of libp2p, between the SHA-256 of a peer id and that of a key. Identities
are free, so both bounded stores prefer what is there already, and what stands alone on its host over what stands in a crowd.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

from protocol.addresses import host_of, is_loopback

# A libp2p peer id of an Ed25519 key is the key behind this prefix (specs/01-identity.md).
PEER_ID_PREFIX = bytes.fromhex("002408011220")

# Contacts of one distance, as in the paper, and how many of them may live on one host: grinding keys is cheap, hosts are not.
BUCKET_SIZE = 16
BUCKET_PER_HOST_MAX = 4
# Replicas of an entry, and contacts that an answer names.
CLOSEST = 8

assert CLOSEST <= BUCKET_SIZE


def position(key: bytes) -> int:
    """Where a key stands among all keys."""
    return int.from_bytes(hashlib.sha256(key).digest(), "big")


def distance(peer: bytes, key: bytes) -> int:
    """How far a peer is from a key."""
    return position(PEER_ID_PREFIX + peer) ^ position(key)


@dataclass(frozen=True, slots=True)
class Contact:
    """A node that answers queries at one of `addresses`; `proven` if this node reached it there itself."""

    peer: bytes
    addresses: tuple[str, ...]
    proven: bool = False


class Contacts:
    """The routing table: up to BUCKET_SIZE contacts of each order of distance from this node."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._buckets: dict[int, dict[bytes, Contact]] = {}

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def get(self, peer: bytes) -> Contact | None:
        """The contact, if it is in the table."""
        return self._bucket(peer).get(peer)

    def add(self, contact: Contact) -> bool:
        """Take a contact in, or its new addresses; False if its bucket or its host has enough."""
        bucket = self._bucket(contact.peer)
        known = bucket.get(contact.peer)
        if contact.peer == self._own or not contact.addresses:
            return False
        if known is None:
            crowd = sum(_same_host(contact, other) for other in bucket.values())
            if crowd >= BUCKET_PER_HOST_MAX:
                return False
            if len(bucket) >= BUCKET_SIZE and not self._displace(bucket, contact):
                return False
        bucket[contact.peer] = replace(contact, proven=contact.proven or (known is not None and known.proven))
        return True

    def remove(self, peer: bytes) -> None:
        """Forget a contact that did not answer."""
        self._bucket(peer).pop(peer, None)

    def closest(self, key: bytes, count: int = CLOSEST) -> list[Contact]:
        """The `count` contacts that are closest to `key`, nearest first."""
        every = [contact for bucket in self._buckets.values() for contact in bucket.values()]
        return sorted(every, key=lambda contact: distance(contact.peer, key))[:count]

    def _bucket(self, peer: bytes) -> dict[bytes, Contact]:
        order = (position(PEER_ID_PREFIX + peer) ^ position(PEER_ID_PREFIX + self._own)).bit_length()
        return self._buckets.setdefault(order, {})

    @staticmethod
    def _displace(bucket: dict[bytes, Contact], entrant: Contact) -> bool:
        """Whoever answered us stays; a claim makes room for one that did."""
        claims = [peer for peer, contact in bucket.items() if not contact.proven]
        if not entrant.proven or not claims:
            return False
        del bucket[claims[-1]]
        return True


def _same_host(one: Contact, other: Contact) -> bool:
    # A whole network may live on one machine, which cannot attack itself over loopback from elsewhere. Any address counts,
    # or one of a crowd would only have to name another first.
    hosts = {host_of(address) for address in one.addresses if not is_loopback(address)}
    return any(host_of(address) in hosts for address in other.addresses)


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands on a shelf: its bytes, the host that brought it, when it is over, and which of its versions it is."""

    value: bytes
    host: str
    ends_ms: int
    version: int = 0


class Shelf:
    """A bounded store of entries by key. A crowd from one host can fill it, but displace nothing except its own."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now_ms: int) -> Entry | None:
        """The entry, unless it is over."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.ends_ms > now_ms else None

    def keys(self, now_ms: int) -> list[bytes]:
        """Keys of entries that are not over."""
        return [key for key, entry in self._entries.items() if entry.ends_ms > now_ms]

    def put(self, key: bytes, entry: Entry, now_ms: int) -> bool:
        """Take an entry in, in place of an older one of its key; False if there is no room for it."""
        if key not in self._entries and len(self._entries) >= self._places:
            self._entries = {known: old for known, old in self._entries.items() if old.ends_ms > now_ms}
            if len(self._entries) >= self._places and not self._displace(entry.host):
                return False
        self._entries[key] = entry
        return True

    def _displace(self, host: str) -> bool:
        crowds = Counter(entry.host for entry in self._entries.values())
        largest = max(crowds, key=lambda name: (crowds[name], name))
        if crowds[host] >= crowds[largest]:
            return False
        newest = next(key for key in reversed(self._entries) if self._entries[key].host == largest)
        del self._entries[newest]
        return True
