"""Follows the ledgers of connected peers, and asks them for this node's own after a restart (specs/06-ledger.md).

Heads are told, entries are pulled: whoever verifies says how fast. One pull is under way with each peer. Whatever two peers
hold differently of one author is pulled from both and shows that the author signed two entries with one number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.chain import Chain
from protocol.constants import (
    FOLLOW_AUTHOR_BURST,
    FOLLOW_AUTHOR_MS,
    FOLLOW_BURST,
    FOLLOW_LOOK_MS,
    FOLLOW_MS,
    FOLLOW_PATIENCE_MS,
    FOLLOWED_ENTRIES_MAX,
    HEADS_AGAIN_MS_MAX,
    HEADS_AGAIN_MS_MIN,
    HEADS_DELAY_MS,
    HEADS_EACH_MS,
    HEADS_MAX,
    LEDGER_RESTORE_MS_MAX,
    LEDGER_RESTORE_WAIT_MS,
    NOTICE_MS,
    PULL_COUNT_MAX,
    PULL_MS_MAX,
    PULL_SIZE_MAX,
    PULL_TRIES_MAX,
    SNAPSHOT_EVERY,
)
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.followed import Followed
from protocol.ledger import NOTHING, SNAPSHOT, Entry, open_entry
from protocol.ledger_messages import Entries, Heads, Pull, pack_head
from protocol.outbox import Outbox
from protocol.own_ledger import OwnLedger
from protocol.peers import PeerTable
from protocol.rates import Bucket


@dataclass(slots=True)
class _UnderWay:
    author: bytes
    first: int
    due_ms: int


@dataclass(slots=True)
class _Teller:
    """A connected peer: the last entry that it said to hold of each author of whom that is news, and what is to be had of it.

    `doubts` are entries that it holds differently from us, `wanted` authors that are pulled until it has no more.
    """

    claims: dict[bytes, int] = field(default_factory=dict)
    doubts: tuple[tuple[bytes, int], ...] = ()
    wanted: tuple[bytes, ...] = ()
    tries: int = 0
    pulls: Bucket = field(default_factory=lambda: Bucket(FOLLOW_AUTHOR_MS, FOLLOW_AUTHOR_BURST))

    def unwant(self, author: bytes) -> None:
        """Pull no more of an author because the owner wanted it."""
        self.wanted = tuple(other for other in self.wanted if other != author)


class Following:
    """`own` is this node's ledger, `followed` those of others. `is_faulty` names authors of whom nothing more is taken."""

    def __init__(
        self,
        outbox: Outbox,
        own: OwnLedger,
        followed: Followed,
        peers: PeerTable,
        is_faulty: Callable[[bytes], bool],
        on_fork: Callable[[bytes, bytes], None],
    ) -> None:
        self._outbox = outbox
        self._own = own
        self._followed = followed
        self._table = peers
        self._is_faulty = is_faulty
        self._on_fork = on_fork
        self._tellers: dict[bytes, _Teller] = {}
        self._pulls: dict[bytes, _UnderWay] = {}
        self._budget = Bucket(FOLLOW_MS, FOLLOW_BURST)
        # When what had to wait is looked at again.
        self.look_at_ms: int | None = None
        # Since when an author that holds more is not asked because others give its entries.
        self._deferred: dict[bytes, int] = {}
        self._met_at_ms: int | None = None
        # Peers that were told nothing yet, and when they are.
        self._untold: set[bytes] = set()
        self._greet_at_ms = 0
        self._adopted_at_ms = 0
        self._told: int = -1
        self._tell_at_ms = 0
        self._tell_again_at_ms = 0
        self._again_ms = HEADS_AGAIN_MS_MIN
        self._notice_at_ms = 0

    @property
    def busy(self) -> bool:
        """Whether a pull is under way, or something that the owner wanted still to come."""
        return bool(self._pulls) or any(teller.wanted for teller in self._tellers.values())

    # --- Peers

    def connect(self, peer: bytes) -> None:
        """A channel is up: in a moment, tell what is held; more peers may come until then, and one signature does for all."""
        now_ms = self._outbox.now.mono_ms
        self._tellers[peer] = _Teller()
        if self._met_at_ms is None:
            self._met_at_ms = now_ms
        if not self._untold:
            self._greet_at_ms = now_ms + HEADS_DELAY_MS
        self._untold.add(peer)

    def lose(self, peer: bytes) -> None:
        """The channel ended."""
        self._tellers.pop(peer, None)
        self._untold.discard(peer)
        self._pulls.pop(peer, None)
        self._deferred.pop(peer, None)

    def want(self, author: bytes | None) -> None:
        """The owner wants what there is now: of `author` from everybody, or of each connected peer from itself."""
        for peer, teller in sorted(self._tellers.items()):
            wanted = peer if author is None else author
            if wanted not in teller.wanted:
                teller.wanted += (wanted,)
            self._next(peer)

    # --- Messages

    def on_heads(self, envelope: Envelope, message: Heads) -> None:
        """Note what a peer holds, and ask for what is missing or differs."""
        teller = self._teller(envelope.sender)
        if not self._table.spend("heads", envelope.sender):
            raise RemoteProtocolError("rate", "more heads than a ledger can have")
        for author, number, entry in message.unpacked:
            chain = self._chain(author)
            if chain is not None or author == envelope.sender or self._table.is_connected(author):
                self._claim(teller, envelope.sender, author, chain, number, entry)
        teller.tries = 0
        self._next(envelope.sender)

    def on_beacon(self, sender: bytes, number: int, entry: bytes) -> None:
        """A beacon names its requester's head, to all alike: whoever was told another ledger sees it by that."""
        teller = self._tellers.get(sender)
        if teller is not None and entry != NOTHING:
            self._claim(teller, sender, sender, self._chain(sender), number, entry)
            self._next(sender)

    def _claim(self, teller: _Teller, sender: bytes, author: bytes, chain: Chain | None, number: int, entry: bytes) -> None:
        if author == sender:
            teller.claims[author] = number
        elif (chain is None or number >= chain.next) and (author in teller.claims or len(teller.claims) < HEADS_MAX):
            # Of others only what is or may be followed here, and more than is held: everybody tells everybody of dozens.
            teller.claims[author] = number
        known = None if chain is None else chain.id_of(number)
        if known is not None and known != entry:
            self._doubt(teller, author, number)

    def on_pull(self, envelope: Envelope, message: Pull) -> None:
        """Give entries as they are; from the first that is held if what was asked for is older, and that is a snapshot."""
        self._teller(envelope.sender)
        if not self._table.spend("pulls", envelope.sender):
            raise RemoteProtocolError("rate", "more pulls than one follower needs")
        chain = self._chain(message.author) or Chain()
        first = max(message.first, chain.first) if len(chain) else message.first
        found = chain.since(first, message.count, PULL_SIZE_MAX)
        self._outbox.send(envelope.sender, Entries(message.author, first if found else message.first, tuple(found)))

    def on_entries(self, envelope: Envelope, message: Entries) -> None:
        """Verify and take what was asked for, and go on; raises `RemoteProtocolError` at the first that does not hold."""
        teller, pull = self._teller(envelope.sender), self._pulls.get(envelope.sender)
        if pull is None or message.author != pull.author or message.first < pull.first:
            raise RemoteProtocolError("late", "entries that were not asked for")
        del self._pulls[envelope.sender]
        teller.tries = 0
        before = self._chain(message.author)
        held = 0 if before is None else before.next
        try:
            if not message.entries:
                self._no_more(teller, message.author)
            for number, data in enumerate(message.entries, message.first):
                self._take(teller, message.author, number, data)
            after = self._chain(message.author)
            if after is None or after.next == held:
                # What the owner wants cannot be taken: of a faulty author, or of one for whom there is no room.
                teller.unwant(message.author)
        except RemoteProtocolError:
            self._no_more(teller, message.author)
            raise
        finally:
            self._next(envelope.sender)

    def _teller(self, peer: bytes) -> _Teller:
        teller = self._tellers.get(peer)
        if teller is None:
            raise RemoteProtocolError("unconnected", "of a peer without a channel")
        return teller

    def _take(self, teller: _Teller, author: bytes, number: int, data: bytes) -> None:
        entry = open_entry(data)
        if (entry.author, entry.network, entry.number) != (author, self._outbox.network, number):
            raise RemoteProtocolError("chain", "not the entry that was asked for")
        chain = self._chain(author) or Chain()
        known = chain.get(number)
        if known is not None:
            if chain.id_of(number) != entry.id:
                self._fork(author, known, data)
            return
        if chain.head is None or number == chain.next:
            if chain.head is not None and entry.previous != chain.head.id:
                # Another entry with the number of our head must stand before it: the peer has to show that one.
                self._doubt(teller, author, chain.head.number)
            self._add(entry)
        elif number > chain.next:
            self._begin_later(chain, entry)

    def _add(self, entry: Entry) -> None:
        if entry.author == self._outbox.me:
            self._adopted_at_ms = self._outbox.now.mono_ms
            self._own.adopt(entry)
        elif not self._is_faulty(entry.author):
            self._followed.add(entry)

    def _begin_later(self, chain: Chain, entry: Entry) -> None:
        """What is between is held by nobody any more: go on from a snapshot, which holds entry 0."""
        start = entry.body.get("start")
        if entry.kind != SNAPSHOT or not isinstance(start, bytes):
            raise RemoteProtocolError("chain", "entries are missing before it")
        Chain().add(entry)
        if start != chain.summary.start:
            self._fork(entry.author, chain.summary.start, start)
        elif entry.author == self._outbox.me:
            self._own.begin_at(entry)
        else:
            self._followed.forget(entry.author)
            self._followed.add(entry)

    def _fork(self, author: bytes, first: bytes, second: bytes) -> None:
        """Two entries of one author with one number, both with its signature."""
        now_ms = self._outbox.now.mono_ms
        if author != self._outbox.me:
            self._on_fork(first, second)
        elif now_ms >= self._notice_at_ms:
            self._notice_at_ms = now_ms + NOTICE_MS
            reason = "this identity signed two entries with one number: it ran twice, or its database went back to an old copy"
            self._outbox.log("error", "own_fork", {"reason": f"{reason}; stop the other node, and rotate the key"})

    def _doubt(self, teller: _Teller, author: bytes, number: int) -> None:
        if not self._is_faulty(author) and (author, number) not in teller.doubts and len(teller.doubts) < HEADS_MAX:
            teller.doubts += ((author, number),)

    @staticmethod
    def _no_more(teller: _Teller, author: bytes) -> None:
        teller.claims.pop(author, None)
        teller.unwant(author)

    # --- What to pull

    def _next(self, peer: bytes) -> None:
        """Ask a peer for the next thing, if none is under way and something is missing."""
        teller = self._tellers[peer]
        if peer in self._pulls:
            return
        now_ms = self._outbox.now.mono_ms
        if teller.doubts:
            (author, number), *_ = teller.doubts
            teller.doubts = teller.doubts[1:]
            self._pull(peer, author, number, 1)
        elif self._is_behind(teller, self._outbox.me):
            self._pull(peer, self._outbox.me, self._own.chain.next, PULL_COUNT_MAX)
        elif (chosen := self._missing(peer, teller)) is not None:
            if teller.pulls.spend(now_ms) and self._budget.spend(now_ms):
                self._pull(peer, chosen, self._from(teller, chosen), PULL_COUNT_MAX)
            else:
                self._look(now_ms + FOLLOW_LOOK_MS)

    def _missing(self, peer: bytes, teller: _Teller) -> bytes | None:
        """The author whose entries this peer should be asked for: what the owner wants, itself, then others."""
        if teller.wanted:
            return teller.wanted[0]
        known = self._table.get(peer)
        # What it tells of is mostly held already, so that is looked at first.
        behind = {author for author in teller.claims if self._is_behind(teller, author)}
        if peer not in behind:
            self._deferred.pop(peer, None)
        coming = behind & self._coming()
        if peer in coming and self._is_overdue(peer):
            coming.remove(peer)
        if coming:
            self._look(self._outbox.now.mono_ms + FOLLOW_LOOK_MS)
            behind -= coming
        if peer in behind and known is not None and known.record is not None and self._followed.has_room(peer):
            return peer
        return min((author for author in behind if self._followed.get(author) is not None), default=None)

    def _coming(self) -> set[bytes]:
        """Authors whose entries somebody was asked for a moment ago: two would give the same ones.

        After a partition all followers of an author come at once, and it alone could not serve them.
        """
        late_ms = self._outbox.now.mono_ms + PULL_MS_MAX - FOLLOW_LOOK_MS
        return {pull.author for pull in self._pulls.values() if pull.due_ms > late_ms}

    def _is_overdue(self, author: bytes) -> bool:
        """Whether an author was long enough not asked because others give its entries; so until it says to hold no more."""
        now_ms = self._outbox.now.mono_ms
        return now_ms - self._deferred.setdefault(author, now_ms) >= FOLLOW_PATIENCE_MS

    def _is_behind(self, teller: _Teller, author: bytes) -> bool:
        """Whether the peer says to hold more of `author` than we do."""
        number = teller.claims.get(author, -1)
        chain = self._chain(author)
        return number >= (chain.next if chain is not None else 0) and not self._is_faulty(author)

    def _from(self, teller: _Teller, author: bytes) -> int:
        """The entry to go on with; with a new author far ahead, a snapshot that leaves as much as is kept."""
        chain = self._chain(author)
        if chain is not None:
            return chain.next
        number = teller.claims.get(author, 0)
        if number < FOLLOWED_ENTRIES_MAX:
            return 0
        return (number - FOLLOWED_ENTRIES_MAX // 2) // SNAPSHOT_EVERY * SNAPSHOT_EVERY

    def _chain(self, author: bytes) -> Chain | None:
        return self._own.chain if author == self._outbox.me else self._followed.get(author)

    def _pull(self, peer: bytes, author: bytes, first: int, count: int) -> None:
        self._pulls[peer] = _UnderWay(author, first, self._outbox.now.mono_ms + PULL_MS_MAX)
        self._outbox.send(peer, Pull(author, first, count))

    # --- Time

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        due = [pull.due_ms for pull in self._pulls.values()]
        if self.look_at_ms is not None:
            due.append(self.look_at_ms)
        if self._untold:
            due.append(self._greet_at_ms)
        if self._met_at_ms is not None and not self._own.ready:
            due.append(self._release_at_ms(self._met_at_ms))
        if self._own.chain.head is not None and self._tellers:
            due.append(self._tell_at_ms if self._own.head[0] != self._told else self._tell_again_at_ms)
        return min(due, default=None)

    def advance(self) -> None:
        """Give up on what does not come, go on with what had to wait, let the own ledger go on, and tell its head."""
        now_ms = self._outbox.now.mono_ms
        for peer in sorted(peer for peer, pull in self._pulls.items() if pull.due_ms <= now_ms):
            self._give_up(peer)
        if self.look_at_ms is not None and self.look_at_ms <= now_ms:
            self.look_at_ms = None
            for peer in sorted(self._tellers):
                self._next(peer)
        self._release()
        self._tell()
        self._greet()

    def _give_up(self, peer: bytes) -> None:
        author, teller = self._pulls.pop(peer).author, self._tellers[peer]
        teller.tries += 1
        if teller.tries >= PULL_TRIES_MAX:
            self._no_more(teller, author)
        self._next(peer)

    def _release(self) -> None:
        """After a restart: let the ledger go on once those who could hold more of it had the time to say so."""
        if self._own.ready or self._met_at_ms is None:
            return
        if self._outbox.now.mono_ms >= self._release_at_ms(self._met_at_ms):
            self._own.release()

    def _release_at_ms(self, met_at_ms: int) -> int:
        """Longer while somebody says to hold more, but not for ever: saying so is easy, and only signed entries prove it."""
        claimed = any(self._is_behind(teller, self._outbox.me) for teller in self._tellers.values())
        if claimed or any(pull.author == self._outbox.me for pull in self._pulls.values()):
            return max(met_at_ms, self._adopted_at_ms) + LEDGER_RESTORE_MS_MAX
        return met_at_ms + LEDGER_RESTORE_WAIT_MS

    def _tell(self) -> None:
        head, now_ms = self._own.chain.head, self._outbox.now.mono_ms
        if head is None or not self._tellers:
            return
        if head.number != self._told:
            if now_ms < self._tell_at_ms:
                return
            self._again_ms = HEADS_AGAIN_MS_MIN
        elif now_ms < self._tell_again_at_ms:
            return
        else:
            # specs/06-ledger.md: "HEADS_AGAIN_MS_MIN later and then after twice the time before, up to HEADS_AGAIN_MS_MAX"
            self._again_ms = min(2 * self._again_ms, HEADS_AGAIN_MS_MAX)
        self._told, self._tell_at_ms = head.number, now_ms + HEADS_EACH_MS
        self._tell_again_at_ms = now_ms + self._again_ms
        # Whoever was told nothing yet is told this head with all others, in a moment.
        told = sorted(self._tellers.keys() - self._untold)
        if told:
            self._outbox.tell(told, Heads((pack_head(head),)))

    def _greet(self) -> None:
        """Tell new peers what is held; of their own ledgers too, which they may have lost, and only others can tell them."""
        if not self._untold or self._outbox.now.mono_ms < self._greet_at_ms:
            return
        new, self._untold = sorted(self._untold), set()
        head = self._own.chain.head
        # specs/06-ledger.md: "the own head first, if there is one, then those of all ledgers that it follows, by author"
        heads = ([] if head is None else [pack_head(head)]) + self._followed.heads()
        if heads:
            self._outbox.tell(new, Heads(tuple(heads[:HEADS_MAX])))

    def _look(self, mono_ms: int) -> None:
        self.look_at_ms = mono_ms if self.look_at_ms is None else min(self.look_at_ms, mono_ms)
