"""The peers this node knows: their records, who is connected, and whom to remember.

Three kinds, and each may displace only its like or less: peers that are connected or have evidence here; peers that were
met, whose addresses are saved and outlive a restart; and strangers, of whom others handed over a record. A fresh key costs
nothing, so strangers are counted by who named them, and a crowd of them displaces its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import nsmallest

from protocol.addresses import host_of
from protocol.capability import Record
from protocol.constants import (
    CLOCK_SKEW_MS_MAX,
    JOIN_MS,
    PEER_SAVE_AGAIN_MS,
    PEER_SAVE_DELAY_MS,
    PEER_SAVED_MS_MAX,
    PEERS_MAX,
    PEERS_SAVED_MAX,
    RECORDS_SHARED_MAX,
    SEEK_MS,
    SEEKS_BURST,
    STRANGER_MS,
    STRANGERS_GOSSIPED_MAX,
    STRANGERS_PER_SOURCE_MAX,
)
from protocol.dialling import Dialling
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import Persist, Send
from protocol.lots import SEED_SIZE, lot_of
from protocol.meeting import Meeting
from protocol.outbox import Outbox
from protocol.peer import Peer
from protocol.rates import Bucket
from protocol.seek import Seek


class PeerTable:
    """Bounded table of peers, keyed by public key. `evidenced` names the peers of whom there is evidence.

    `suspect` is given the bytes of two records that one author may have given one number.
    """

    def __init__(
        self,
        outbox: Outbox,
        entropy: Callable[[int], bytes],
        evidenced: Callable[[], frozenset[bytes]],
        suspect: Callable[[bytes, bytes], None],
    ) -> None:
        self._outbox = outbox
        self._suspect = suspect
        self._entropy = entropy
        self._evidenced = evidenced
        self._peers: dict[bytes, Peer] = {}
        # How many of them were never met, by who named them.
        self._unmet: Counter[bytes | None] = Counter()
        # Asked for with every message; the table is far larger.
        self._connected: set[bytes] = set()
        # Changes with whatever decides who could answer a question: channels, records, ends of dials.
        self.version = 0
        self._connected_sorted: list[bytes] | None = None
        self._offering: dict[str, list[bytes]] = {}
        self.dialling = Dialling(outbox, entropy, self._peers, self._connected, evidenced, self._changed)
        self._unsaved: set[bytes] = set()
        self._save_at_ms: int | None = None
        self.joined_at_ms = 0
        self._gossiped = Bucket(STRANGER_MS, STRANGERS_GOSSIPED_MAX)
        self._seeks = Bucket(SEEK_MS, SEEKS_BURST)

    def get(self, peer: bytes) -> Peer | None:
        """What is known of `peer`."""
        return self._peers.get(peer)

    def all(self) -> list[tuple[bytes, Peer]]:
        """All known peers, by key."""
        return sorted(self._peers.items())

    def connected(self) -> list[bytes]:
        """Keys of connected peers, sorted."""
        if self._connected_sorted is None:
            self._connected_sorted = sorted(self._connected)
        return self._connected_sorted

    def is_connected(self, key: bytes) -> bool:
        """Whether there is a channel to `key`."""
        return key in self._connected

    def spend(self, of: str, key: bytes) -> bool:
        """Count something of `RATIONS` that a connected peer sent; whether it may be looked at."""
        return self._peers[key].spend(of, self._outbox.now.mono_ms)

    def met(self) -> frozenset[bytes]:
        """To whom there is, or was, a channel."""
        return frozenset(key for key, peer in self._peers.items() if peer.meeting is not None)

    def offering(self, skill: str) -> list[bytes]:
        """Connected peers whose record offers `skill`, sorted."""
        found = self._offering.get(skill)
        if found is None:
            records = ((key, self._peers[key].record) for key in self.connected())
            found = self._offering[skill] = [key for key, record in records if record is not None and record.offers(skill)]
        return found

    def joining(self, skill: str) -> bool:
        """Whether this node has just met its first peer, or one that offers `skill` is about to be connected at last.

        `joined_at_ms` is when the records of others, for which the first peer is asked, will have come.
        """
        if self._outbox.now.mono_ms < self.joined_at_ms:
            return True
        # Beyond the first few connections strangers are dialled one after the other, and nobody waits for all of them.
        soon, wall_ms = self.dialling.is_joining, self._outbox.now.wall_ms
        return any(
            not peer.tried
            and (soon or peer.dialling is not None)
            and peer.record is not None
            and peer.record.addresses
            and peer.record.offers(skill)
            for peer in self._peers.values()
            if peer.record_expires_ms > wall_ms
        )

    # --- What happens to a peer

    def connect(self, key: bytes, own_record: bytes) -> None:
        """A channel is up: hand over our record, and ask for those of others, so a newcomer knows the network at once."""
        now = self._outbox.now
        if not self._connected:
            self.joined_at_ms = now.mono_ms + JOIN_MS
        peer = self._peers.get(key)
        if peer is None:
            self._make_room(None)
            peer = self._peers[key] = Peer(source=key)
        elif peer.meeting is None:
            self._count_unmet(peer.source, -1)
        peer.connected, peer.tried = True, True
        self._set_connected(key, connected=True)
        self.dialling.on_connected(key, peer)
        peer.meeting = Meeting.again(peer.meeting, now.wall_ms)
        self._mark_unsaved(key, peer)
        self._outbox.emit(Send(self._outbox.number(), key, own_record))
        if self._seeks.spend(now.mono_ms):
            # Whoever it is: a first contact that tells of its own alone is not the last one that is asked.
            self._outbox.send(key, Seek(RECORDS_SHARED_MAX))

    def on_seek(self, key: bytes, seek: Seek) -> None:
        """Hand over the records of others: those we are connected to are the likeliest to be there.

        By lot, or the first contacts of a newcomer would all name the same ones.
        """
        if not self.is_connected(key):
            raise RemoteProtocolError("unconnected", "seeks others, and has no channel on which it could be told of them")
        if not self.spend("seeks", key):
            raise RemoteProtocolError("rate", "seeks others more often than one peer may")
        wall_ms, seed = self._outbox.now.wall_ms, self._entropy(SEED_SIZE)
        others = [
            (not other.connected, lot_of(seed, other_key), other_key)
            for other_key, other in self._peers.items()
            if other_key != key and other.record_expires_ms > wall_ms
        ]
        for _, _, other_key in nsmallest(seek.count, others):
            self._outbox.emit(Send(self._outbox.number(), key, self._peers[other_key].record_data))

    def lose(self, key: bytes) -> None:
        """The channel ended; dial again after the first backoff."""
        peer = self._peers.get(key)
        if peer is None:
            return
        peer.connected = False
        self._set_connected(key, connected=False)
        if peer.record is None and not peer.hint:
            # It never said who it is: there is nothing to keep, and such as it could fill the table. But its place is free.
            del self._peers[key]
        else:
            peer.meeting = Meeting.again(peer.meeting, self._outbox.now.wall_ms)
            self._mark_unsaved(key, peer)
            self.dialling.on_lost(key, peer)
        self.dialling.on_room()

    def learn(self, envelope: Envelope, data: bytes, source: bytes | None) -> bool:
        """Take in a record; whether it is news: the same one again is no fault, an older one raises `RemoteProtocolError`."""
        record = envelope.message(Record)
        key, peer = envelope.sender, self._peers.get(envelope.sender)
        if peer is not None and record.sequence <= peer.sequence:
            if peer.record_data != data:
                if record.sequence == peer.sequence and record != peer.record:
                    self._suspect(peer.record_data, data)
                raise RemoteProtocolError("stale", "a record with this sequence number or a later one is known")
            if peer.record is not None:
                return False
        if not self._takes_record(peer, source):
            # What is true comes again within a minute.
            raise RemoteProtocolError("rate", "more records than one author, or one that names strangers, may bring")
        if peer is None:
            if not self._admit(source):
                return False
            peer = self._peers[key] = Peer(source=source)
            self._count_unmet(source, 1)
        moved = record.addresses != peer.addresses
        peer.record, peer.record_data, peer.record_expires_ms = record, data, envelope.expires_ms
        self._changed()
        if peer.connected:
            peer.meeting = Meeting.again(peer.meeting, self._outbox.now.wall_ms)
            if moved or self._outbox.now.wall_ms >= peer.saved_at_ms + PEER_SAVE_AGAIN_MS:
                self._mark_unsaved(key, peer)
        elif peer.dialling is None:
            self.dialling.on_record(key, peer)
        return True

    def _changed(self) -> None:
        self.version += 1
        self._offering.clear()

    def _set_connected(self, key: bytes, *, connected: bool) -> None:
        (self._connected.add if connected else self._connected.discard)(key)
        self._connected_sorted = None
        self._changed()

    # --- Time

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        return min((due for due in (self.dialling.deadline_ms(), self._save_at_ms) if due is not None), default=None)

    def advance(self) -> None:
        """Write down who was met, and dial who is due."""
        if self._save_at_ms is not None and self._save_at_ms <= self._outbox.now.mono_ms:
            self._save()
        self.dialling.advance()

    # --- Bounds

    def _count_unmet(self, source: bytes | None, by: int) -> None:
        self._unmet[source] += by
        if not self._unmet[source]:
            del self._unmet[source]

    def _takes_record(self, author: Peer | None, source: bytes | None) -> bool:
        """Count a record against its author, if known, else who named the author, or all of gossip."""
        now_ms = self._outbox.now.mono_ms
        if author is not None:
            return author.spend("records", now_ms)
        naming = self._peers.get(source) if source is not None else None
        return naming.spend("strangers", now_ms) if naming is not None else self._gossiped.spend(now_ms)

    def _strangers(self) -> dict[bytes | None, list[bytes]]:
        """Keys of peers without meeting and evidence, by who named them; whoever goes first stands first.

        Evidence alone, without a record that holds, keeps no place: an examination is easily had, and the evidence stays.
        """
        evidenced, wall_ms = self._evidenced(), self._outbox.now.wall_ms
        found: dict[bytes | None, list[bytes]] = {}
        for key, peer in self._peers.items():
            if peer.meeting is None and (key not in evidenced or peer.record_expires_ms <= wall_ms):
                found.setdefault(peer.source, []).append(key)
        for keys in found.values():
            keys.sort(key=lambda key: (not self._peers[key].tried, self._peers[key].record_expires_ms, key))
        return found

    def _admit(self, source: bytes | None) -> bool:
        """Make room for one more stranger that `source` names; False if it must stay outside."""
        full = self._unmet[source] >= (STRANGERS_GOSSIPED_MAX if source is None else STRANGERS_PER_SOURCE_MAX)
        if not full and len(self._peers) < PEERS_MAX:
            return True
        strangers = self._strangers()
        if full and source in strangers:
            self._drop(strangers[source][0])
        elif len(self._peers) >= PEERS_MAX:
            if not strangers:
                return False
            self._make_room(strangers)
        return True

    def _make_room(self, strangers: dict[bytes | None, list[bytes]] | None) -> None:
        """Drop one if the table is full: a stranger of the source that named most, else whoever was met and is worth least."""
        if len(self._peers) < PEERS_MAX:
            return
        strangers = self._strangers() if strangers is None else strangers
        if strangers:
            crowd = max(strangers.items(), key=lambda item: (len(item[1]), item[0] or b""))[1]
            self._drop(crowd[0])
            return
        gone = self._by_worth()
        self._drop(next((key for key in reversed(gone) if not self._peers[key].connected), gone[-1]))

    def _drop(self, key: bytes) -> None:
        peer = self._peers.pop(key)
        self.dialling.forget(key, peer)
        if peer.meeting is None:
            self._count_unmet(peer.source, -1)
        self._set_connected(key, connected=False)
        self._unsaved.discard(key)
        if peer.saved_at_ms:
            self._outbox.emit(Persist("peers", key, None))

    def _by_worth(self) -> list[bytes]:
        """Peers that were met, whoever is most worth keeping first: evidence, days, the emptiest host, the longest known."""
        evidenced = self._evidenced()
        met = {key: peer.meeting for key, peer in self._peers.items() if peer.meeting is not None}
        hosts = {key: host_of(addresses[0]) if (addresses := self._peers[key].addresses) else "" for key in met}
        crowd = Counter(hosts.values())

        def rank(key: bytes) -> tuple[object, ...]:
            return key not in evidenced, -met[key].days, crowd[hosts[key]], met[key].first_ms, key

        return sorted(met, key=rank)

    # --- What outlives a restart

    def restore(self, key: bytes, value: bytes, network: bytes) -> bool:
        """Take back a saved peer as somebody to dial; False if it is damaged or too old to keep."""
        now = self._outbox.now
        try:
            meeting, envelope, data = Meeting.restored(value, key, network)
            record = envelope.message(Record)
        except RemoteProtocolError:
            return False
        if meeting.last_ms <= now.wall_ms - PEER_SAVED_MS_MAX or len(self._peers) >= PEERS_SAVED_MAX:
            return False
        # Its clock or ours may have gone back since; nothing is met in the future.
        meeting = meeting.not_after(now.wall_ms)
        # Once the record is over, so is all that was said before it; and an author that lost its count may begin anew.
        floor = record.sequence if envelope.expires_ms > now.wall_ms - CLOCK_SKEW_MS_MAX else -1
        self._peers[key] = peer = Peer(source=key, record_data=data, meeting=meeting, hint=record.addresses, floor=floor)
        peer.saved_at_ms = meeting.last_ms or 1
        self.dialling.on_restored(key)
        return True

    def _mark_unsaved(self, key: bytes, peer: Peer) -> None:
        if peer.addresses:
            self._unsaved.add(key)
            if self._save_at_ms is None:
                self._save_at_ms = self._outbox.now.mono_ms + PEER_SAVE_DELAY_MS

    def _save(self) -> None:
        """Write down those of the unsaved that are worth it, and forget on disk whom they displace."""
        self._save_at_ms = None
        worth = [key for key in self._by_worth() if self._peers[key].addresses]
        kept = frozenset(worth[:PEERS_SAVED_MAX])
        for key in worth[PEERS_SAVED_MAX:]:
            peer = self._peers[key]
            if peer.saved_at_ms:
                peer.saved_at_ms = 0
                self._outbox.emit(Persist("peers", key, None))
            if not peer.connected:
                # No better than somebody that another one named: so met peers beyond the bound fill no table.
                self.dialling.let_go(key)
                peer.meeting, peer.source = None, None
                self._count_unmet(None, 1)
        for key in sorted(self._unsaved & kept):
            peer = self._peers[key]
            assert peer.meeting is not None
            peer.saved_at_ms = self._outbox.now.wall_ms
            self._outbox.emit(Persist("peers", key, peer.meeting.saved(peer.record_data)))
        self._unsaved.clear()
