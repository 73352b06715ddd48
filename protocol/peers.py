"""The peers this node knows: their records, who is connected, whom to dial next."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.capability import Record
from protocol.constants import (
    CONNECTIONS_TARGET,
    DIAL_BACKOFF_MS_MAX,
    DIAL_BACKOFF_MS_MIN,
    DIAL_DELAY_MS,
    JOIN_MS,
    PEERS_MAX,
    RECORD_LIFETIME_MS_MAX,
    RECORDS_SHARED_MAX,
)
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import Dial, Instant, Persist, Send
from protocol.outbox import Outbox


@dataclass(slots=True)
class Peer:
    """What is known of one peer. `record_data` is its signed envelope, to be handed on as it is.

    `tried` says whether it was ever connected or a dial ended: until then it may be about to join.
    """

    record: Record | None = None
    record_data: bytes = b""
    record_expires_ms: int = 0
    connected: bool = False
    tried: bool = False
    dialling: int | None = None
    backoff_ms: int = DIAL_BACKOFF_MS_MIN
    dial_at_ms: int = 0


class PeerTable:
    """Bounded table of peers, keyed by public key."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._peers: dict[bytes, Peer] = {}
        self._next_dial_ms: int | None = None
        self.joined_at_ms = 0

    def get(self, peer: bytes) -> Peer | None:
        """What is known of `peer`."""
        return self._peers.get(peer)

    def all(self) -> list[tuple[bytes, Peer]]:
        """All known peers, by key."""
        return sorted(self._peers.items())

    def connected(self) -> list[bytes]:
        """Keys of connected peers, sorted."""
        return sorted(key for key, peer in self._peers.items() if peer.connected)

    def offering(self, skill: str) -> list[bytes]:
        """Connected peers whose record offers `skill`, sorted."""
        return [key for key in self.connected() if (record := self._peers[key].record) is not None and record.offers(skill)]

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

    def connect(self, key: bytes, own_record: bytes) -> None:
        """A channel is up: hand over our record and those of others, so a newcomer knows the network at once."""
        if not self.connected():
            self.joined_at_ms = self._outbox.now.mono_ms + JOIN_MS
        peer = self._entry(key)
        peer.connected, peer.tried, peer.dialling, peer.backoff_ms = True, True, None, DIAL_BACKOFF_MS_MIN
        wall_ms = self._outbox.now.wall_ms
        self._outbox.emit(Send(self._outbox.number(), key, own_record))
        others = [other for other_key, other in self.all() if other_key != key and other.record_expires_ms > wall_ms]
        # Those we are connected to and heard of last are the likeliest to be there.
        others.sort(key=lambda other: (not other.connected, -other.record_expires_ms))
        for other in others[:RECORDS_SHARED_MAX]:
            self._outbox.emit(Send(self._outbox.number(), key, other.record_data))

    def lose(self, key: bytes) -> None:
        """The channel ended; dial again after the first backoff."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.connected = False
            peer.dial_at_ms = self._outbox.now.mono_ms + peer.backoff_ms
            self._schedule(peer.dial_at_ms)

    def learn(self, envelope: Envelope, data: bytes) -> None:
        """Take in a record; raises `RemoteProtocolError` if a later one is known. The same one again is no fault."""
        record = Record.parse(envelope.body)
        known = self._peers.get(envelope.sender)
        if known is not None and known.record_data == data:
            return
        if known is not None and known.record is not None and record.sequence <= known.record.sequence:
            raise RemoteProtocolError("stale", "a record with this sequence number or a later one is known")
        peer = self._entry(envelope.sender)
        peer.record, peer.record_data, peer.record_expires_ms = record, data, envelope.expires_ms
        if record.addresses:
            self._outbox.emit(Persist("peers", envelope.sender, data))
        if not peer.connected and peer.dialling is None:
            # Both ends learn of each other at the same time; the smaller key dials at once, the other only if that failed.
            delay_ms = 0 if self._outbox.me < envelope.sender else DIAL_DELAY_MS
            peer.dial_at_ms = max(peer.dial_at_ms, self._outbox.now.mono_ms + delay_ms)
            self._schedule(peer.dial_at_ms)

    def dial_failed(self, effect: int) -> bool:
        """Double the backoff of the peer that effect `effect` dialled; whether there was one."""
        for peer in self._peers.values():
            if peer.dialling == effect:
                peer.dialling, peer.tried = None, True
                peer.dial_at_ms = self._outbox.now.mono_ms + peer.backoff_ms
                peer.backoff_ms = min(2 * peer.backoff_ms, DIAL_BACKOFF_MS_MAX)
                self._schedule(peer.dial_at_ms)
                return True
        return False

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        return self._next_dial_ms

    def advance(self) -> None:
        """Dial who is due, up to the target number of connections."""
        now = self._outbox.now
        if self._next_dial_ms is None or now.mono_ms < self._next_dial_ms:
            return
        self._next_dial_ms = None
        busy = sum(peer.connected or peer.dialling is not None for peer in self._peers.values())
        for key, peer in self.all():
            if peer.connected or peer.dialling is not None or not self._dialable(peer, now):
                continue
            if busy >= CONNECTIONS_TARGET:
                return
            if peer.dial_at_ms > now.mono_ms:
                self._schedule(peer.dial_at_ms)
                continue
            busy += 1
            peer.dialling = self._outbox.number()
            assert peer.record is not None
            self._outbox.emit(Dial(peer.dialling, key, peer.record.addresses))

    def _dialable(self, peer: Peer, now: Instant) -> bool:
        return (
            peer.record is not None
            and bool(peer.record.addresses)
            and peer.record_expires_ms > now.wall_ms - RECORD_LIFETIME_MS_MAX
        )

    def _schedule(self, mono_ms: int) -> None:
        self._next_dial_ms = mono_ms if self._next_dial_ms is None else min(self._next_dial_ms, mono_ms)

    def _entry(self, key: bytes) -> Peer:
        if key not in self._peers and len(self._peers) >= PEERS_MAX:
            self._drop_one()
        return self._peers.setdefault(key, Peer())

    def _drop_one(self) -> None:
        # A peer that nobody refreshed goes first; connected ones only if all are connected.
        gone = min(self._peers, key=lambda key: (self._peers[key].connected, self._peers[key].record_expires_ms, key))
        del self._peers[gone]
        self._outbox.emit(Persist("peers", gone, None))
