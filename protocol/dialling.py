"""Whom a node dials, and when: up to a number of connections, with back-off, and again those it lost (specs/05).

The first few connections are made at once, further ones to strangers calmly: of a network in which everybody joins at the
same time nobody could carry all of them, and a newcomer is of use with a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from protocol.addresses import DialBudget, worth_dialling
from protocol.constants import (
    CALM_MS,
    CONNECTIONS_AGAIN_MAX,
    CONNECTIONS_SOON,
    CONNECTIONS_TARGET,
    DIAL_BACKOFF_GONE_MS_MAX,
    DIAL_BACKOFF_MS_MAX,
    DIAL_BACKOFF_MS_MIN,
    DIAL_DELAY_MS,
    DIAL_JITTER_SHARE,
    DIAL_SLOW_MS,
    DIALS_AT_ONCE_MAX,
    DIALS_PER_SOURCE_MAX,
    LOST_MAX,
    LOST_PROBE_MS,
    LOST_TOGETHER_MS,
    PEER_SAVED_MS_MAX,
    PEERS_PER_LOOK_MS,
    RECORD_LIFETIME_MS_MAX,
)
from protocol.events import Dial
from protocol.lots import SEED_SIZE, lot_of
from protocol.outbox import Outbox
from protocol.peer import Peer


class Dialling:
    """Dials those of `peers` that are not `connected`; both belong to the table of peers, which says what happens to them.

    `evidenced` names the peers of whom there is evidence. `changed` is called when a peer that was about to join is no more.
    """

    def __init__(
        self,
        outbox: Outbox,
        entropy: Callable[[int], bytes],
        peers: dict[bytes, Peer],
        connected: set[bytes],
        evidenced: Callable[[], frozenset[bytes]],
        changed: Callable[[], None],
    ) -> None:
        self.own_addresses: tuple[str, ...] = ()
        self._outbox = outbox
        self._entropy = entropy
        self._peers = peers
        self._connected = connected
        self._evidenced = evidenced
        self._changed = changed
        # Whom each dial is for and when it began, by effect, the oldest first.
        self._dials: dict[int, tuple[bytes, int]] = {}
        # Who was met and has no channel now; and when the channel to whom ended, of some of them.
        self._apart: set[bytes] = set()
        self._lost: dict[bytes, int] = {}
        self._budget = DialBudget()
        self._look_ms = 0
        # When the next stranger may be dialled beyond the first few connections.
        self._calm_at_ms = 0
        self._seed = b""
        self._next_dial_ms: int | None = None
        self._probe_at_ms: int | None = None

    def lost(self) -> frozenset[bytes]:
        """Whose channel ended, of those that are dialled again whatever the number of connections."""
        return frozenset(self._lost)

    # --- What happens to a peer

    def on_connected(self, key: bytes, peer: Peer) -> None:
        """A channel is up."""
        if len(peer.dialled) == 1:
            # Of several nobody knows which one led there, and the others may be a third party's.
            self._budget.refund(peer.dialled[0])
        self._end_dial(peer)
        self._apart.discard(key)
        peer.dialled, peer.backoff_ms = (), DIAL_BACKOFF_MS_MIN
        self._call_lost_with(key)
        self._schedule(self._outbox.now.mono_ms)

    def on_lost(self, key: bytes, peer: Peer) -> None:
        """The channel of a peer that is known ended: dial it again after the first back-off."""
        self._apart.add(key)
        self._lost[key] = self._outbox.now.mono_ms
        if len(self._lost) > LOST_MAX:
            del self._lost[min(self._lost, key=self._worth_finding)]
        if self._probe_at_ms is None:
            self._plan_probe()
        self._wait(peer)

    def on_restored(self, key: bytes) -> None:
        """The peer was met in an earlier run."""
        self._apart.add(key)
        self.on_room()

    def on_room(self) -> None:
        """There may be room for another connection now."""
        self._schedule(self._outbox.now.mono_ms)
        if not self._connected:
            self._begin_anew()

    def on_record(self, key: bytes, peer: Peer) -> None:
        """A new record of a peer without a channel."""
        if peer.backoff_ms > DIAL_BACKOFF_MS_MAX:
            peer.backoff_ms, peer.dial_at_ms = DIAL_BACKOFF_MS_MIN, 0  # it was gone, and lives
        # Both ends learn of each other at the same time; the smaller key dials at once, the other only if that failed.
        now_ms = self._outbox.now.mono_ms
        peer.dial_at_ms = max(peer.dial_at_ms, now_ms if self._outbox.me < key else now_ms + DIAL_DELAY_MS)
        self._schedule(peer.dial_at_ms if peer.meeting is not None else max(peer.dial_at_ms, self._stranger_at_ms()))

    def let_go(self, key: bytes) -> None:
        """The peer counts as never met."""
        self._apart.discard(key)
        self._lost.pop(key, None)

    def forget(self, key: bytes, peer: Peer) -> None:
        """The peer goes out of the table."""
        self._end_dial(peer)
        self.let_go(key)

    def on_failed(self, effect: int) -> bool:
        """Double the backoff of the peer that effect `effect` dialled; whether there was one."""
        if effect not in self._dials:
            return False
        peer = self._peers[self._dials[effect][0]]
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

    # --- Whom it lost

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

    # --- Time

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        return min((due for due in (self._next_dial_ms, self._probe_at_ms) if due is not None), default=None)

    def advance(self) -> None:
        """Dial who is due."""
        now_ms = self._outbox.now.mono_ms
        if self._probe_at_ms is not None and self._probe_at_ms <= now_ms:
            self._probe()
        if self._next_dial_ms is not None and self._next_dial_ms <= now_ms:
            self._next_dial_ms = None
            # A look goes through the whole table: whoever fills it must not also say when.
            self._look_ms = now_ms + len(self._peers) // PEERS_PER_LOOK_MS
            self._dial()

    def _dial(self) -> None:
        now_ms, busy = self._outbox.now.mono_ms, len(self._connected) + len(self._dials)
        whom: Iterable[bytes] = self._peers
        free = min(CONNECTIONS_TARGET - busy, DIALS_AT_ONCE_MAX - len(self._dials))
        if busy >= CONNECTIONS_TARGET and self._lost:
            whom, free = self._lost, min(CONNECTIONS_AGAIN_MAX - busy, DIALS_PER_SOURCE_MAX - len(self._dials))
        # The end of a connection or of a dial schedules the next look.
        if free <= 0:
            return
        if whom is self._peers and (stranger_at_ms := self._stranger_at_ms()) > now_ms:
            # The table is mostly strangers.
            whom = self._apart
            self._schedule(stranger_at_ms)
        known = ((key, self._peers[key]) for key in whom)
        waiting = [item for item in known if not item[1].connected and item[1].dialling is None and self._dialable(item[1])]
        under_way = Counter(
            peer.source for peer in (self._peers[key] for key, _ in self._dials.values()) if peer.meeting is None
        )
        for key, peer in sorted((item for item in waiting if item[1].dial_at_ms <= now_ms), key=self._whom_first):
            if free <= 0:
                return
            if peer.meeting is None and (stranger_at_ms := self._stranger_at_ms()) > now_ms:
                # Only strangers are left.
                self._schedule(stranger_at_ms)
                break
            if peer.meeting is not None or under_way[peer.source] < DIALS_PER_SOURCE_MAX:
                begun = self._begin(key, peer)
                free -= begun
                if begun and peer.meeting is None:
                    under_way[peer.source] += 1
                    self._calm_at_ms = now_ms + CALM_MS
        later_ms = min((peer.dial_at_ms for _, peer in waiting if peer.dial_at_ms > now_ms), default=None)
        if later_ms is not None and free > 0:
            self._schedule(later_ms)

    @property
    def is_joining(self) -> bool:
        """Whether it makes its first few connections, which it does at once.

        A dial that takes long is likely to fail, and holds up no other.
        """
        return len(self._connected) + len(self._fresh()) < CONNECTIONS_SOON

    def _fresh(self) -> list[int]:
        """When dials began that do not take long yet, the oldest first."""
        late_ms = self._outbox.now.mono_ms - DIAL_SLOW_MS
        return [begun_ms for _, begun_ms in self._dials.values() if begun_ms > late_ms]

    def _stranger_at_ms(self) -> int:
        """When a stranger may be dialled, unless a connection or a dial ends before."""
        if self.is_joining:
            return self._outbox.now.mono_ms
        return min([self._calm_at_ms, *(begun_ms + DIAL_SLOW_MS for begun_ms in self._fresh()[:1])])

    def _whom_first(self, item: tuple[bytes, Peer]) -> tuple[object, ...]:
        """Who was met last and on most days first, then strangers by how often they failed and by lot.

        The lot is this node's own: whoever everybody dialled first would be full soon.
        """
        key, peer = item
        if peer.meeting is not None:
            return False, -peer.meeting.last_day, -peer.meeting.days, -peer.meeting.last_ms, key
        self._seed = self._seed or self._entropy(SEED_SIZE)
        return True, peer.backoff_ms, lot_of(self._seed, key), 0, key

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
        self._dials[peer.dialling] = key, now_ms
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
