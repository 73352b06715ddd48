"""The peers this node knows: their records, who is connected, whom to dial next, and whom to remember.

Three kinds, and each may displace only its like or less: peers that are connected or have evidence here; peers that were
met, whose addresses are saved and outlive a restart; and strangers, of whom others handed over a record. A fresh key costs
nothing, so strangers are counted by who named them, and a crowd of them displaces its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final

from protocol.addresses import DialBudget, host_of, worth_dialling
from protocol.capability import Record
from protocol.constants import (
    BEACON_MS,
    BEACON_SHARE_BURST,
    BEACON_SHARE_MS,
    BEACONS_BURST,
    CLOCK_SKEW_MS_MAX,
    CONNECTIONS_AGAIN_MAX,
    CONNECTIONS_TARGET,
    DIAL_BACKOFF_GONE_MS_MAX,
    DIAL_BACKOFF_MS_MAX,
    DIAL_BACKOFF_MS_MIN,
    DIAL_DELAY_MS,
    DIAL_JITTER_SHARE,
    DIALS_AT_ONCE_MAX,
    DIALS_PER_SOURCE_MAX,
    FAULT_MS,
    FAULTS_BURST,
    HEADS_BURST,
    HEADS_MS,
    JOIN_MS,
    LOST_MAX,
    LOST_PROBE_MS,
    LOST_TOGETHER_MS,
    PEER_SAVE_AGAIN_MS,
    PEER_SAVE_DELAY_MS,
    PEER_SAVED_MS_MAX,
    PEERS_MAX,
    PEERS_PER_LOOK_MS,
    PEERS_SAVED_MAX,
    PULL_MS,
    PULLS_BURST,
    RECORD_LIFETIME_MS_MAX,
    RECORD_MS,
    RECORDS_BURST,
    RECORDS_SHARED_MAX,
    STRANGER_MS,
    STRANGERS_GOSSIPED_MAX,
    STRANGERS_PER_SOURCE_MAX,
)
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import Dial, Persist, Send
from protocol.meeting import Meeting
from protocol.outbox import Outbox
from protocol.rates import Bucket

# What one peer may send of each: one more in so many milliseconds, and how many at once.
RATIONS: Final = {
    "beacons": (BEACON_MS, BEACONS_BURST),
    "beacons_share": (BEACON_SHARE_MS, BEACON_SHARE_BURST),
    "records": (RECORD_MS, RECORDS_BURST),
    "heads": (HEADS_MS, HEADS_BURST),
    "pulls": (PULL_MS, PULLS_BURST),
    "strangers": (STRANGER_MS, STRANGERS_PER_SOURCE_MAX),
    "faults": (FAULT_MS, FAULTS_BURST),
}


@dataclass(slots=True)
class Peer:
    """What is known of one peer. `record_data` is its signed envelope, to be handed on as it is.

    `tried` says whether it was ever connected or a dial ended: until then it may be about to join. `source` is who named
    it first, None for gossip. `hint` are addresses from an earlier run: to dial, and nothing else. `floor` is the `sequence` of
    the record that named them, while what its author said before may still hold.
    """

    source: bytes | None = None
    record: Record | None = None
    record_data: bytes = b""
    record_expires_ms: int = 0
    connected: bool = False
    tried: bool = False
    dialling: int | None = None
    dialled: tuple[str, ...] = ()
    backoff_ms: int = DIAL_BACKOFF_MS_MIN
    dial_at_ms: int = 0
    meeting: Meeting | None = None
    hint: tuple[str, ...] = ()
    floor: int = -1
    saved_at_ms: int = 0
    # Made when they are first spent: most peers are strangers, and never spend any.
    rations: dict[str, Bucket] = field(default_factory=dict)

    def ration(self, of: str) -> Bucket:
        """What it may send of this, one of `RATIONS`."""
        found = self.rations.get(of)
        if found is None:
            found = self.rations[of] = Bucket(*RATIONS[of])
        return found

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it says that it is, or said in an earlier run."""
        return self.record.addresses if self.record is not None else self.hint

    @property
    def sequence(self) -> int:
        """That of its latest record, which no older one may follow; below all of them if none is known."""
        return self.record.sequence if self.record is not None else self.floor


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
        # Whom each dial is for, by effect.
        self._dials: dict[int, bytes] = {}
        # When the channel to whom ended, latest last.
        self._lost: dict[bytes, int] = {}
        self._probe_at_ms: int | None = None
        self._look_ms = 0
        self._budget = DialBudget()
        self._next_dial_ms: int | None = None
        self._unsaved: set[bytes] = set()
        self._save_at_ms: int | None = None
        self.own_addresses: tuple[str, ...] = ()
        self.joined_at_ms = 0
        self._gossiped = Bucket(STRANGER_MS, STRANGERS_GOSSIPED_MAX)

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
        return self._peers[key].ration(of).spend(self._outbox.now.mono_ms)

    def met(self) -> frozenset[bytes]:
        """To whom there is, or was, a channel."""
        return frozenset(key for key, peer in self._peers.items() if peer.meeting is not None)

    def lost(self) -> frozenset[bytes]:
        """Whose channel ended, of those that are dialled again whatever the number of connections."""
        return frozenset(self._lost)

    def offering(self, skill: str) -> list[bytes]:
        """Connected peers whose record offers `skill`, sorted."""
        found = self._offering.get(skill)
        if found is None:
            records = ((key, self._peers[key].record) for key in self.connected())
            found = self._offering[skill] = [key for key, record in records if record is not None and record.offers(skill)]
        return found

    def joining(self, skill: str) -> bool:
        """Whether this node has just met its first peer, or one that offers `skill` is about to be connected at last.

        `joined_at_ms` is when the records of others, which the first peer hands over, will have come.
        """
        if self._outbox.now.mono_ms < self.joined_at_ms:
            return True
        wall_ms = self._outbox.now.wall_ms
        return any(
            not peer.tried and peer.record is not None and peer.record.addresses and peer.record.offers(skill)
            for peer in self._peers.values()
            if peer.record_expires_ms > wall_ms
        )

    # --- What happens to a peer

    def connect(self, key: bytes, own_record: bytes) -> None:
        """A channel is up: hand over our record and those of others, so a newcomer knows the network at once."""
        now = self._outbox.now
        if not self._connected:
            self.joined_at_ms = now.mono_ms + JOIN_MS
        peer = self._peers.get(key)
        # Of whom others told this node, the same gossip told the others.
        is_told = peer is not None and peer.meeting is None and peer.record_expires_ms > now.wall_ms
        if peer is None:
            self._make_room(None)
            peer = self._peers[key] = Peer(source=key)
        elif peer.meeting is None:
            self._count_unmet(peer.source, -1)
        if len(peer.dialled) == 1:
            # Of several nobody knows which one led there, and the others may be a third party's.
            self._budget.refund(peer.dialled[0])
        self._end_dial(peer)
        peer.connected, peer.tried, peer.dialled = True, True, ()
        self._set_connected(key, connected=True)
        peer.backoff_ms = DIAL_BACKOFF_MS_MIN
        self._call_lost_with(key)
        peer.meeting = Meeting.again(peer.meeting, now.wall_ms)
        self._mark_unsaved(key, peer)
        self._schedule(now.mono_ms)
        self._outbox.emit(Send(self._outbox.number(), key, own_record))
        if not is_told:
            self._introduce(key)

    def _introduce(self, key: bytes) -> None:
        """Hand over the records of others: those we are connected to and heard of last are the likeliest to be there."""
        wall_ms = self._outbox.now.wall_ms
        others = [
            (not other.connected, -other.record_expires_ms, other_key)
            for other_key, other in self._peers.items()
            if other_key != key and other.record_expires_ms > wall_ms
        ]
        for _, _, other_key in nsmallest(RECORDS_SHARED_MAX, others):
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
            self._schedule(self._outbox.now.mono_ms)
            if not self._connected:
                self._begin_anew()
            return
        peer.meeting = Meeting.again(peer.meeting, self._outbox.now.wall_ms)
        self._lost[key] = self._outbox.now.mono_ms
        if len(self._lost) > LOST_MAX:
            del self._lost[min(self._lost, key=self._worth_finding)]
        if self._probe_at_ms is None:
            self._plan_probe()
        self._mark_unsaved(key, peer)
        self._wait(peer)
        if not self._connected:
            self._begin_anew()

    def _call_lost_with(self, key: bytes) -> None:
        """One that was lost is back: those that were lost at the same time probably are as well."""
        lost_ms, now_ms = self._lost.pop(key, None), self._outbox.now.mono_ms
        if lost_ms is None:
            return
        for other, other_lost_ms in self._lost.items():
            peer = self._peers[other]
            if abs(other_lost_ms - lost_ms) <= LOST_TOGETHER_MS and peer.backoff_ms > DIAL_BACKOFF_MS_MIN:
                peer.backoff_ms, peer.dial_at_ms = DIAL_BACKOFF_MS_MIN, now_ms

    def _worth_finding(self, key: bytes) -> tuple[bool, int, int]:
        """Of those that were lost, fresh keys go first: they cost nothing, and could displace everybody else."""
        meeting = self._peers[key].meeting
        assert meeting is not None
        return key in self._evidenced(), meeting.days, -meeting.first_ms

    def _plan_probe(self) -> None:
        lot = int.from_bytes(self._entropy(4), "big")
        self._probe_at_ms = self._outbox.now.mono_ms + LOST_PROBE_MS // 2 + (lot * LOST_PROBE_MS >> 32)

    def _probe(self) -> None:
        """Try one of those that were lost and wait for long, by lot."""
        self._probe_at_ms = None
        lost = [self._peers[key] for key in self._lost]
        waiting = [peer for peer in lost if peer.dialling is None and peer.backoff_ms > DIAL_BACKOFF_MS_MAX]
        if waiting:
            waiting[int.from_bytes(self._entropy(4), "big") % len(waiting)].dial_at_ms = self._outbox.now.mono_ms
            self._schedule(self._outbox.now.mono_ms)
        if lost:
            self._plan_probe()

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
        if not self._ration(peer, source).spend(self._outbox.now.mono_ms):
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
            if peer.backoff_ms > DIAL_BACKOFF_MS_MAX:
                peer.backoff_ms, peer.dial_at_ms = DIAL_BACKOFF_MS_MIN, 0  # it was gone, and lives
            # Both ends learn of each other at the same time; the smaller key dials at once, the other only if that failed.
            delay_ms = 0 if self._outbox.me < key else DIAL_DELAY_MS
            peer.dial_at_ms = max(peer.dial_at_ms, self._outbox.now.mono_ms + delay_ms)
            self._schedule(peer.dial_at_ms)
        return True

    def dial_failed(self, effect: int) -> bool:
        """Double the backoff of the peer that effect `effect` dialled; whether there was one."""
        if effect not in self._dials:
            return False
        peer = self._peers[self._dials[effect]]
        self._end_dial(peer)
        peer.dialled, peer.tried = (), True
        self._changed()
        self._wait(peer)
        gone = peer.record_expires_ms <= self._outbox.now.wall_ms and bool(self._connected)
        peer.backoff_ms = min(2 * peer.backoff_ms, DIAL_BACKOFF_GONE_MS_MAX if gone else DIAL_BACKOFF_MS_MAX)
        self._schedule(self._outbox.now.mono_ms)  # another one may have waited for this dial to end
        return True

    def _end_dial(self, peer: Peer) -> None:
        if peer.dialling is not None:
            del self._dials[peer.dialling]
            peer.dialling = None

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
        parts = self._next_dial_ms, self._save_at_ms, self._probe_at_ms
        return min((due for due in parts if due is not None), default=None)

    def advance(self) -> None:
        """Dial who is due, up to the target number of connections, and write down who was met."""
        now_ms = self._outbox.now.mono_ms
        if self._save_at_ms is not None and self._save_at_ms <= now_ms:
            self._save()
        if self._probe_at_ms is not None and self._probe_at_ms <= now_ms:
            self._probe()
        if self._next_dial_ms is not None and self._next_dial_ms <= now_ms:
            self._next_dial_ms = None
            # A look goes through the whole table: whoever fills it must not also say when.
            self._look_ms = now_ms + len(self._peers) // PEERS_PER_LOOK_MS
            self._dial()

    def _dial(self) -> None:
        now_ms, busy = self._outbox.now.mono_ms, len(self._connected) + len(self._dials)
        whom, free = self._peers.items(), min(CONNECTIONS_TARGET - busy, DIALS_AT_ONCE_MAX - len(self._dials))
        if busy >= CONNECTIONS_TARGET and self._lost:
            whom = {key: self._peers[key] for key in self._lost}.items()
            free = min(CONNECTIONS_AGAIN_MAX - busy, DIALS_PER_SOURCE_MAX - len(self._dials))
        # The end of a connection or of a dial schedules the next look.
        if free <= 0:
            return
        waiting = [
            item for item in whom if not item[1].connected and item[1].dialling is None and self._dialable(item[1])
        ]  # fmt: skip
        under_way = Counter(peer.source for peer in map(self._peers.__getitem__, self._dials.values()) if peer.meeting is None)
        for key, peer in sorted((item for item in waiting if item[1].dial_at_ms <= now_ms), key=_whom_first):
            if free <= 0:
                return
            if peer.meeting is not None or under_way[peer.source] < DIALS_PER_SOURCE_MAX:
                begun = self._begin(key, peer)
                free -= begun
                under_way[peer.source] += begun and peer.meeting is None
        later_ms = min((peer.dial_at_ms for _, peer in waiting if peer.dial_at_ms > now_ms), default=None)
        if later_ms is not None and free > 0:
            self._schedule(later_ms)

    def _begin(self, key: bytes, peer: Peer) -> bool:
        """Dial those of a peer's addresses that may be tried now, else look again when one may."""
        now_ms = self._outbox.now.mono_ms
        worth = worth_dialling(peer.addresses, self.own_addresses)
        found = tuple(address for address in worth if self._budget.due_ms(address, now_ms) <= now_ms)
        if not found:
            # Nowhere to go from here, until it says another address; or not yet.
            again_ms = [self._budget.due_ms(address, now_ms) for address in worth]
            peer.dial_at_ms = min(again_ms, default=now_ms + DIAL_BACKOFF_MS_MAX)
            peer.tried = True
            self._changed()
            self._schedule(peer.dial_at_ms)
            return False
        for address in found:
            self._budget.spend(address, now_ms)
        peer.dialling, peer.dialled = self._outbox.number(), found
        self._dials[peer.dialling] = key
        self._outbox.emit(Dial(peer.dialling, key, found))
        return True

    def _dialable(self, peer: Peer) -> bool:
        wall_ms = self._outbox.now.wall_ms
        if not peer.addresses:
            return False
        if peer.record_expires_ms > wall_ms - RECORD_LIFETIME_MS_MAX:
            return True
        return peer.meeting is not None and peer.meeting.last_ms > wall_ms - PEER_SAVED_MS_MAX

    def _wait(self, peer: Peer) -> None:
        lot = int.from_bytes(self._entropy(4), "big")
        jitter_ms = lot * (peer.backoff_ms // DIAL_JITTER_SHARE) >> 32
        peer.dial_at_ms = self._outbox.now.mono_ms + peer.backoff_ms + jitter_ms
        self._schedule(peer.dial_at_ms)

    def _begin_anew(self) -> None:
        """No peer is left: whoever was met is dialled as after a start, however long it did not answer."""
        now_ms = self._outbox.now.mono_ms
        for peer in self._peers.values():
            if peer.meeting is not None and peer.backoff_ms > DIAL_BACKOFF_MS_MIN:
                peer.backoff_ms, peer.dial_at_ms = DIAL_BACKOFF_MS_MIN, now_ms
                self._schedule(now_ms)

    def _schedule(self, mono_ms: int) -> None:
        mono_ms = max(mono_ms, self._look_ms)
        self._next_dial_ms = mono_ms if self._next_dial_ms is None else min(self._next_dial_ms, mono_ms)

    # --- Bounds

    def _count_unmet(self, source: bytes | None, by: int) -> None:
        self._unmet[source] += by
        if not self._unmet[source]:
            del self._unmet[source]

    def _ration(self, author: Peer | None, source: bytes | None) -> Bucket:
        """What a record is counted against: its author, if known, else who named the author, or all of gossip."""
        if author is not None:
            return author.ration("records")
        naming = self._peers.get(source) if source is not None else None
        return naming.ration("strangers") if naming is not None else self._gossiped

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
        self._end_dial(peer)
        self._lost.pop(key, None)
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
        self._schedule(now.mono_ms)
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
                peer.meeting, peer.source = None, None
                self._count_unmet(None, 1)
        for key in sorted(self._unsaved & kept):
            peer = self._peers[key]
            assert peer.meeting is not None
            peer.saved_at_ms = self._outbox.now.wall_ms
            self._outbox.emit(Persist("peers", key, peer.meeting.saved(peer.record_data)))
        self._unsaved.clear()


def _whom_first(item: tuple[bytes, Peer]) -> tuple[object, ...]:
    """Who was met last and on most days first, then strangers by how often they failed."""
    key, peer = item
    if peer.meeting is not None:
        return False, -peer.meeting.last_day, -peer.meeting.days, -peer.meeting.last_ms, key
    return True, peer.backoff_ms, 0, 0, key
