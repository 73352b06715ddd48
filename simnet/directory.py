"""The directory, as a model: which records a node finds of others, and when, with what it costs in messages.

It has the daemon's parameters (node/discovery.py, node/kademlia.py, node/libp2p_dht.py): who can be dialled serves, and puts
its record on the CLOSEST nodes to each of its skills; whoever has a peer looks up each skill of the network, and what it finds
goes to its core as gossip does. It is no simulation of Kademlia: routing tables are taken to be full, so a walk ends at the
closest nodes of all that can be reached, after as many rounds as that takes in a tree of buckets; and nobody lies in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.constants import RECORD_LIFETIME_MS_MAX
from simnet.draws import Draws

if TYPE_CHECKING:
    from simnet.host import Host

TICK_MS: Final = 5_000
ANNOUNCE_MS: Final = 300_000
LOOK_UP_MS: Final = 600_000
JITTER_SHARE: Final = 4
CLOSEST: Final = 8
BUCKET_SIZE: Final = 16
ALPHA: Final = 4
QUERIES_MAX: Final = 32
RECORDS_FOUND_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that stands on a node for others to find, until it is over."""

    peer: bytes
    data: bytes
    until_ms: int


class Directory:
    """What stands on which host. `reaches` says whether one host can talk to another now."""

    def __init__(self, seed: int, reaches: Callable[[Host, Host], bool]) -> None:
        self.messages = 0
        self._reaches = reaches
        self._draws = Draws(seed, "directory")
        self._servers: list[Host] = []
        self._places: dict[int, int] = {}
        # By host and skill what others put there, by peer.
        self._shelves: dict[tuple[int, str], dict[bytes, Kept]] = {}
        self._closest: dict[str, list[Host]] = {}

    def add(self, host: Host) -> None:
        """One more node; only those that can be dialled answer others."""
        if host.reachable:
            self._servers.append(host)
            self._places[host.index] = _position(host.key)
            self._closest.clear()

    def forget(self, host: Host) -> None:
        """A node that ends keeps nothing: the daemon's shelves are in memory alone."""
        for where in [where for where in self._shelves if where[0] == host.index]:
            del self._shelves[where]

    def jittered_ms(self, period_ms: int) -> int:
        """A period, less up to a part of it by lot."""
        return period_ms - self._draws.below(period_ms // JITTER_SHARE)

    def announce(self, host: Host, now_ms: int) -> None:
        """Put the record of a node on those that are closest to each of its skills."""
        if not host.reachable or not host.core.record_data:
            return
        record = host.core.own_record
        for skill in sorted(record.skills) if record.available else ():
            closest = self._found(host, skill)
            self.messages += self._walk_messages() + 2 * len(closest)
            kept = Kept(host.key, host.core.record_data, now_ms + RECORD_LIFETIME_MS_MAX)
            for server in closest:
                self._shelves.setdefault((server.index, skill), {})[host.key] = kept

    def look_up(self, host: Host, skill: str, now_ms: int) -> list[bytes]:
        """Records of nodes that offer a skill, other than this one and those with a channel."""
        found: dict[bytes, bytes] = {}
        self.messages += self._walk_messages()
        for server in self._found(host, skill):
            shelf = self._shelves.get((server.index, skill), {})
            for peer in [peer for peer, kept in shelf.items() if kept.until_ms <= now_ms]:
                del shelf[peer]
            for peer, kept in sorted(shelf.items()):
                if peer != host.key and peer not in host.links and peer not in found and len(found) < RECORDS_FOUND_MAX:
                    self.messages += 2
                    found[peer] = kept.data
        return list(found.values())

    def rounds(self) -> int:
        """Steps of a walk, one after the other: each comes closer by a bucket's bits."""
        rounds, reach = 1, BUCKET_SIZE
        while reach < len(self._servers):
            rounds, reach = rounds + 1, reach * BUCKET_SIZE
        return rounds

    def _walk_messages(self) -> int:
        return 2 * min(QUERIES_MAX, max(CLOSEST, ALPHA * self.rounds()))

    def _found(self, host: Host, skill: str) -> list[Host]:
        """The closest nodes to a skill's key that the walk of a host ends at: they are up, and it can talk to them."""
        ordered = self._closest.get(skill)
        if ordered is None:
            key = _position(skill.encode())
            ordered = self._closest[skill] = sorted(self._servers, key=lambda server: self._places[server.index] ^ key)
        found: list[Host] = []
        for server in ordered:
            if server.up and (server is host or self._reaches(host, server)):
                found.append(server)
                if len(found) == CLOSEST:
                    break
        return found


def _position(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest(), "big")
