"""Ledgers travel: followed, pulled, bounded, compared; and a node gets its own back before it writes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.canonical import Value
from protocol.constants import (
    FOLLOW_AUTHOR_MS,
    FOLLOW_LOOK_MS,
    FOLLOW_PATIENCE_MS,
    FOLLOWED_MAX,
    HEADS_AGAIN_MS_MAX,
    HEADS_AGAIN_MS_MIN,
    HEADS_BURST,
    HEADS_DELAY_MS,
    HEADS_EACH_MS,
    LEDGER_RESTORE_MS_MAX,
    LEDGER_RESTORE_WAIT_MS,
    LEDGER_WAITING_MAX,
    PULL_COUNT_MAX,
    PULL_MS_MAX,
    PULL_TRIES_MAX,
    PULLS_BURST,
    SNAPSHOT_EVERY,
)
from protocol.envelope import open_envelope, seal
from protocol.events import Effect, LedgersWanted, Log, MessageReceived, PeerConnected, PeerLost, Send, TimerFired
from protocol.identity import KeySigner, Signer
from protocol.ledger import Entry, make_entry, open_entry
from protocol.ledger_messages import Entries, Heads, Pull, pack_head
from protocol.messages import DIRECT, Beacon
from protocol.outbox import HEADS, TOPICS
from protocol.own_ledger import Origin
from protocol.schema import Message
from tests.support import Bench, parse, peers, sent
from tests.test_ledger import NETWORK, ledger, note, rows

FORMER = Origin(fresh=False)


class Club:
    """Cores that are driven by hand, and the links between them. `passes` says which of the messages arrive."""

    def __init__(self, *benches: Bench) -> None:
        self.benches = {bench.core.me: bench for bench in benches}
        self.marks = {bench.core.me: len(bench.effects) for bench in benches}
        self.links: set[frozenset[bytes]] = set()
        self.passes: Callable[[bytes], bool] = lambda _: True

    def connect(self, first: Bench, second: Bench) -> None:
        self.links.add(frozenset((first.core.me, second.core.me)))
        first.step(PeerConnected(second.core.me))
        second.step(PeerConnected(first.core.me))
        self.pump()
        self.wait(HEADS_DELAY_MS, HEADS_DELAY_MS)

    def cut(self, first: Bench, second: Bench) -> None:
        self.links.discard(frozenset((first.core.me, second.core.me)))
        first.step(PeerLost(second.core.me))
        second.step(PeerLost(first.core.me))

    def replace(self, bench: Bench) -> None:
        """A node that was restarted stands in the place of the one before; its links are gone."""
        self.links = {link for link in self.links if bench.core.me not in link}
        for other in self.benches.values():
            if other.core.peers.is_connected(bench.core.me):
                other.step(PeerLost(bench.core.me))
        self.benches[bench.core.me] = bench
        self.marks[bench.core.me] = len(bench.effects)

    def due(self) -> list[tuple[bytes, bytes, bytes]]:
        """What was sent since the last look: source, target, bytes."""
        found = []
        for key, bench in self.benches.items():
            new, self.marks[key] = bench.effects[self.marks[key] :], len(bench.effects)
            found += [
                (key, effect.peer, effect.data)
                for effect in new
                if isinstance(effect, Send) and frozenset((key, effect.peer)) in self.links
            ]
        return found

    def pump(self) -> None:
        """Deliver until nothing is left."""
        for _ in range(10_000):
            found = self.due()
            if not found:
                return
            for source, target, data in found:
                if self.passes(data):
                    self.benches[target].step(MessageReceived(source, data))
        raise AssertionError("they never stop talking")

    def wait(self, for_ms: int, step_ms: int = 500) -> None:
        for _ in range(for_ms // step_ms):
            for bench in self.benches.values():
                bench.step(TimerFired(), step_ms)
            self.pump()


def club(*names: str) -> tuple[Club, list[Bench]]:
    benches = [Bench(("arith",), name=name) for name in names]
    return Club(*benches), benches


def held(follower: Bench, author: Bench) -> list[bytes | None]:
    chain = follower.core.followed.get(author.core.me)
    return [] if chain is None else [chain.get(number) for number in range(chain.first, chain.next)]


def own(bench: Bench) -> list[bytes | None]:
    chain = bench.core.ledger.chain
    return [chain.get(number) for number in range(chain.first, chain.next)]


def write(bench: Bench, count: int) -> None:
    """Let a node write so many entries, in steps of its own, so that they are on its disk."""
    for number in range(count):
        bench.core.ledger.ready = False
        assert bench.core.ledger.append("beacon", note(number)) is None
        bench.core.ledger.ready = True
        if number % LEDGER_WAITING_MAX == LEDGER_WAITING_MAX - 1:
            bench.step(TimerFired())
    bench.step(TimerFired())


def told(entries: Iterable[Entry]) -> Heads:
    return Heads(tuple(map(pack_head, entries)))


def logged(bench: Bench, event: str) -> list[Log]:
    return [effect for effect in bench.effects if isinstance(effect, Log) and effect.event == event]


# --- Following


def test_peer_that_connects__is_followed_and_goes_on_to_be() -> None:
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    assert held(a, b) == own(b) != []
    assert held(b, a) == own(a) != []
    write(b, 3 * PULL_COUNT_MAX)
    both.wait(HEADS_EACH_MS)
    assert held(a, b) == own(b)
    assert [value for (table, key), value in sorted(a.disk.items()) if table == "followed" and key[:32] == b.core.me] == own(b)


def test_heads__are_told_so_seldom_however_much_is_written() -> None:
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    mark = len(a.effects)
    for _ in range(20):
        write(a, 1)
        both.wait(500)
    assert len(sent(a.effects[mark:], Heads)) <= 1 + 20 * 500 // HEADS_EACH_MS


def test_head__that_nobody_heard_is_told_again_ever_more_seldom() -> None:
    _, (a, b) = club("a", "b")
    a.join(b.signer)
    a.wait(HEADS_EACH_MS)
    mark = len(a.effects)
    times = []
    for _ in range(4 * HEADS_AGAIN_MS_MAX // HEADS_AGAIN_MS_MIN):
        a.wait(HEADS_AGAIN_MS_MIN)
        if sent(a.effects[mark:], Heads):
            times.append(a.mono_ms // HEADS_AGAIN_MS_MIN)
            mark = len(a.effects)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) == HEADS_AGAIN_MS_MAX // HEADS_AGAIN_MS_MIN
    write(a, 1)
    a.wait(HEADS_EACH_MS)
    assert sent(a.effects[mark:], Heads)


def told_to(effects: Iterable[Effect]) -> list[tuple[bytes, bytes]]:
    """To whom heads were sent, and the bytes."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    assert len({effect.effect for effect in sends}) == len(sends)
    return [(effect.peer, effect.data) for effect in sends if open_envelope(effect.data).type == Heads.TYPE]


def test_peers_that_connect_within_the_delay__are_told_with_one_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, new = Bench(), peers(5)
    sealed: list[str] = []

    def counting(
        signer: Signer, network: bytes, kind: str, to: bytes | str, body: dict[str, Value], issued_ms: int, lifetime_ms: int
    ) -> bytes:
        sealed.append(kind)
        return seal(signer, network, kind, to, body, issued_ms, lifetime_ms)

    monkeypatch.setattr("protocol.outbox.seal", counting)
    for peer in new:
        assert told_to(bench.step(PeerConnected(peer.public_key), HEADS_DELAY_MS // len(new))) == []
    first_ms = HEADS_DELAY_MS // len(new) * (len(new) - 1)
    assert told_to(bench.step(TimerFired(), HEADS_DELAY_MS - first_ms - 1)) == []
    assert bench.core.deadline() == bench.mono_ms + 1
    found = told_to(bench.step(TimerFired(), 1))
    assert [peer for peer, _ in found] == [peer.public_key for peer in new]
    assert len({data for _, data in found}) == 1
    assert sealed.count(Heads.TYPE) == 1
    envelope, heads = parse(found[0][1])
    assert envelope.to == HEADS
    assert heads == Heads(told_heads(bench))
    assert bench.core.sent == {}


def told_heads(bench: Bench) -> tuple[bytes, ...]:
    """What a new peer is to be told: the own head, then all that are followed, by author."""
    chains = [bench.core.ledger.chain, *map(bench.core.followed.get, sorted(bench.core.followed.authors()))]
    return tuple(pack_head(chain.head) for chain in chains if chain is not None and chain.head is not None)


def test_new_peer__is_told_the_same_list_as_any_other() -> None:
    bench, authors = Bench(), peers(4, "author")
    for author in authors:
        bench.join(author)
        bench.hear(author, told(ledger(2, author)))
        bench.hear(author, answer(author, ledger(2, author)))
    bench.wait(HEADS_DELAY_MS)
    assert len(bench.core.followed) == len(authors)
    bench.step(PeerLost(authors[2].public_key))
    lists = []
    for key in (authors[2].public_key, peers(1)[0].public_key):
        mark = len(bench.effects)
        bench.step(PeerConnected(key))
        bench.wait(HEADS_DELAY_MS)
        lists += [heads.heads for _, heads in sent(bench.effects[mark:], Heads)]
    assert lists == [told_heads(bench)] * 2
    assert [head[:32] for head in lists[0]] == [bench.core.me, *(author.public_key for author in authors)]


def test_peer_that_goes_before_it_is_told__is_not_told() -> None:
    bench, (gone, stays) = Bench(), peers(2)
    bench.meet(gone, stays)
    bench.step(PeerLost(gone.public_key))
    assert [peer for peer, _ in told_to(bench.wait(HEADS_DELAY_MS))] == [stays.public_key]
    bench.meet(gone)
    bench.step(PeerLost(gone.public_key), HEADS_DELAY_MS - 1)
    bench.meet(gone)
    assert told_to(bench.wait(HEADS_DELAY_MS - 1)) == [], "the delay begins anew"
    assert [peer for peer, _ in told_to(bench.wait(1))] == [gone.public_key]


def test_node_with_nothing_to_tell__tells_nobody() -> None:
    bench = Bench(origin=FORMER)
    bench.meet(*peers(2))
    assert told_to(bench.wait(LEDGER_RESTORE_WAIT_MS - 1)) == []
    found = told_to(bench.wait(1))
    assert [peer for peer, _ in found] == [peer.public_key for peer in peers(2)]


def test_head_that_changed__is_told_to_all_with_one_signature_and_to_who_just_came_with_the_rest() -> None:
    bench, (*known, new) = Bench(), peers(4)
    bench.meet(*known)
    bench.wait(3 * HEADS_EACH_MS)
    bench.meet(new)
    write(bench, 1)
    found = told_to(bench.wait(1))
    assert [peer for peer, _ in found] == [peer.public_key for peer in known]
    assert len({data for _, data in found}) == 1
    ((peer, data),) = told_to(bench.wait(HEADS_DELAY_MS))
    assert peer == new.public_key
    assert parse(data)[1] == Heads(told_heads(bench))
    assert told_to(bench.wait(HEADS_EACH_MS)) == []


@pytest.mark.parametrize(("by_gossip", "to", "code"), [(True, HEADS, "unconnected"), (False, None, "recipient")])
def test_heads__by_gossip_or_to_one_node_are_refused(by_gossip: bool, to: str | None, code: str) -> None:  # noqa: FBT001
    bench, (author,) = Bench(), peers(1)
    bench.join(author)
    data = bench.sealed(author, told(ledger(3, author)[-1:]), to or bench.core.me)
    assert sent(bench.step(MessageReceived(None if by_gossip else author.public_key, data)), Pull) == []
    assert bench.core.rejected == {code: 1}
    assert len(sent(bench.hear(author, told(ledger(3, author)[-1:]), HEADS), Pull)) == 1


def test_heads__that_another_peer_hands_on_are_refused() -> None:
    bench, (author, other) = Bench(), peers(2)
    bench.join(author)
    bench.join(other)
    data = bench.sealed(author, told(ledger(3, author)[-1:]))
    assert sent(bench.step(MessageReceived(other.public_key, data)), Pull) == []
    assert bench.core.rejected == {"relayed": 1}


@pytest.mark.parametrize("message", [Pull(bytes(32), 0, 1), Entries(bytes(32), 0, ())], ids=lambda message: message.TYPE)
def test_pulls_and_entries__are_addressed_to_one_node(message: Message) -> None:
    bench, (peer,) = Bench(), peers(1)
    bench.join(peer)
    assert sent(bench.hear(peer, message, HEADS), Entries) == []
    assert bench.core.rejected == {"type": 1}


def test_heads__are_no_topic_of_gossip() -> None:
    assert HEADS not in TOPICS


def test_talk_of_ledgers__is_not_counted_among_the_messages_of_tasks() -> None:
    """Whoever compares what was sent with what arrived would take a head on its way for a lost message."""
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    write(b, 3)
    both.wait(HEADS_EACH_MS)
    for bench in (a, b):
        assert bench.core.sent.keys() <= {"beacon", *DIRECT}
        assert "entries" not in bench.core.received


def test_node_without_a_record__is_not_followed() -> None:
    bench, stranger = Bench(), KeySigner(b"s" * 32)
    bench.meet(stranger)
    assert sent(bench.hear(stranger, told(ledger(3, stranger)[-1:])), Pull) == []


def followed(count: int = 5) -> tuple[Bench, KeySigner, list[Entry]]:
    """A node that has asked a peer, whose ledger the test writes, for its entries."""
    bench, author = Bench(), peers(1)[0]
    bench.join(author)
    entries = ledger(count, author)
    ((_, pull),) = sent(bench.hear(author, told(entries[-1:])), Pull)
    assert (pull.author, pull.first, pull.count) == (author.public_key, 0, PULL_COUNT_MAX)
    return bench, author, entries


def answer(author: KeySigner, entries: Iterable[Entry], first: int = 0) -> Entries:
    return Entries(author.public_key, first, tuple(entry.data for entry in entries))


def test_range__is_taken_up_to_the_first_entry_that_does_not_hold() -> None:
    bench, author, entries = followed()
    forged = make_entry(peers(2, "other")[0], NETWORK, None, "start", {"recovery": bytes(32), "succession": b""}, 0)
    bench.hear(author, answer(author, [*entries[:2], forged]))
    chain = bench.core.followed.get(author.public_key)
    assert chain is not None
    assert chain.next == 2
    assert bench.core.rejected["chain"] == 1
    assert sent(bench.wait(PULL_MS_MAX * PULL_TRIES_MAX), Pull) == [], "what it says to hold is believed no more"


@pytest.mark.parametrize("case", ["unasked", "of another author", "of earlier ones"])
def test_entries__that_were_not_asked_for_are_refused(case: str) -> None:
    bench, author, entries = followed()
    if case == "unasked":
        bench.hear(author, answer(author, entries))
        message = answer(author, [])
    elif case == "of another author":
        message = Entries(bytes(32), 0, ())
    else:
        bench.hear(author, answer(author, entries[:3]))
        message = answer(author, entries[1:3], 1)
    bench.hear(author, message)
    assert bench.core.rejected["late"] == 1


def test_messages_of_ledgers__of_a_peer_without_a_channel_are_refused() -> None:
    bench, (stranger,) = Bench(), peers(1)
    for message in (Heads(()), Pull(bytes(32), 0, 1), answer(stranger, [])):
        bench.step(MessageReceived(None, bench.sealed(stranger, message)))
    assert bench.core.rejected["unconnected"] == 3


def test_teller_that_gives_one_entry_at_a_time__keeps_nobody_from_asking_the_author() -> None:
    bench, (author, slow) = Bench(), peers(2)
    bench.join(author)
    bench.join(slow)
    entries = ledger(100, author)
    bench.hear(slow, told(entries[-1:]))
    # The author tells of its first one, so that its ledger is followed; what comes then the slow one says to hold first.
    bench.hear(author, told(entries[:1]))
    bench.hear(author, answer(author, entries[:1]))
    bench.hear(slow, told(entries[-1:]))
    bench.hear(author, told(entries[-1:]))
    asked, pulls, end_ms = 0, sent(bench.effects, Pull), bench.mono_ms + FOLLOW_PATIENCE_MS + 3 * FOLLOW_LOOK_MS
    while bench.mono_ms < end_ms:
        pulls = sent(bench.wait(FOLLOW_LOOK_MS - 50), Pull)
        asked += sum(envelope.to == author.public_key for envelope, _ in pulls)
        chain = bench.core.followed.get(author.public_key)
        assert chain is not None
        bench.hear(slow, answer(author, entries[chain.next : chain.next + 1], chain.next))
    assert asked >= 1


def test_tellers_that_never_answer__keep_nobody_from_asking_the_author() -> None:
    bench, (*stalling, author) = Bench(), sorted(peers(13), key=lambda peer: peer.public_key)
    for peer in (*stalling, author):
        bench.join(peer)
    entries = ledger(5, author)
    bench.hear(author, told(entries[:1]))
    bench.hear(author, answer(author, entries[:1]))
    for peer in stalling:
        bench.hear(peer, told(entries[-1:]))
    mark = len(bench.effects)
    bench.hear(author, told(entries[-1:]))
    for _ in range(4):
        # Each time that they say it again they are believed anew.
        bench.wait(FOLLOW_PATIENCE_MS // 4 + FOLLOW_LOOK_MS)
        for peer in stalling:
            bench.hear(peer, told(entries[-1:]))
    assert any(envelope.to == author.public_key for envelope, _ in sent(bench.effects[mark:], Pull))


def test_wanted_ledger__of_which_nothing_more_can_be_taken_is_asked_for_once() -> None:
    bench, (author, other) = Bench(), peers(2)
    bench.join(other)
    own_entries = [bench.core.ledger.chain.get(number) for number in range(bench.core.ledger.chain.next)]
    for wanted, entries in ((bench.core.me, own_entries), (author.public_key, [])):
        effects, pulls = bench.step(LedgersWanted(wanted)), 0
        while (found := sent(effects, Pull)) and pulls < 10:
            pulls += len(found)
            first = found[-1][1].first
            effects = bench.hear(other, Entries(wanted, first, tuple(data for data in entries[first:] if data is not None)))
        assert pulls <= 2
        assert not bench.core.following.busy


def test_pull_without_answer__is_sent_again_and_then_given_up() -> None:
    bench, _, _ = followed()
    again = sent(bench.wait(PULL_MS_MAX * (PULL_TRIES_MAX + 2)), Pull)
    assert len(again) == PULL_TRIES_MAX - 1
    assert not bench.core.following.busy


def test_more_heads_and_pulls__than_one_peer_may_send_are_refused() -> None:
    bench, (peer,) = Bench(), peers(1)
    bench.join(peer)
    for _ in range(HEADS_BURST + 1):
        bench.hear(peer, Heads(()))
        bench.step(TimerFired(), 1)
    for number in range(PULLS_BURST + 1):
        bench.hear(peer, Pull(bench.core.me, number, 1))
    assert bench.core.rejected["rate"] == 2


def test_author__gets_no_more_pulls_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.following.FOLLOW_AUTHOR_BURST", 1)
    both, (a, b) = club("a", "b")
    write(b, 3 * PULL_COUNT_MAX)
    both.connect(a, b)
    assert len(held(a, b)) == PULL_COUNT_MAX
    both.wait(5 * FOLLOW_AUTHOR_MS)
    assert held(a, b) == own(b)


def test_pull__of_what_is_not_held_is_answered_with_nothing() -> None:
    bench, (peer,) = Bench(), peers(1)
    bench.join(peer)
    for author, first in ((bytes(32), 0), (bench.core.me, 99)):
        ((_, entries),) = sent(bench.hear(peer, Pull(author, first, 5)), Entries)
        assert entries == Entries(author, first, ())


def test_follower__that_is_far_behind_begins_at_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.following.FOLLOWED_ENTRIES_MAX", 2 * SNAPSHOT_EVERY)
    both, (a, b) = club("a", "b")
    write(b, 3 * SNAPSHOT_EVERY)
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    chain = a.core.followed.get(b.core.me)
    assert chain is not None
    assert chain.first == 2 * SNAPSHOT_EVERY
    assert held(a, b) == own(b)[chain.first :]
    assert chain.summary == b.core.ledger.chain.summary


def test_follower__goes_on_from_a_snapshot_when_what_is_between_is_gone() -> None:
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    both.cut(a, b)
    write(b, 2 * SNAPSHOT_EVERY)
    b.core.ledger.chain.drop_before(SNAPSHOT_EVERY)
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    assert held(a, b) == own(b)
    assert len([key for table, key in a.disk if table == "followed" and key[:32] == b.core.me]) == len(own(b))


def test_ledger_of_who_is_away__is_had_from_another_follower() -> None:
    three, (a, b, c) = club("a", "b", "c")
    three.connect(a, b)
    three.connect(c, b)
    three.cut(c, b)
    write(b, 5)
    three.wait(HEADS_EACH_MS)
    three.cut(a, b)
    three.connect(a, c)
    assert held(c, b) == own(b)


def test_owner__gets_what_there_is_now() -> None:
    three, (a, b, c) = club("a", "b", "c")
    three.connect(a, b)
    write(b, 300)
    assert held(a, b) != own(b)
    a.step(LedgersWanted())
    three.pump()
    assert held(a, b) == own(b)
    three.connect(a, c)
    three.cut(a, b)
    c.step(LedgersWanted(b.core.me))
    assert c.core.following.busy
    three.pump()
    assert held(c, b) == own(b), "of somebody whom it never met"
    assert not c.core.following.busy


# --- Bounds


def test_one_author__is_kept_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.followed.FOLLOWED_ENTRIES_MAX", 2 * SNAPSHOT_EVERY)
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    write(b, 3 * SNAPSHOT_EVERY)
    both.wait(4 * HEADS_EACH_MS)
    chain = a.core.followed.get(b.core.me)
    assert chain is not None
    assert chain.first == 2 * SNAPSHOT_EVERY
    kept = {key for table, key in a.disk if table == "followed" and key[:32] == b.core.me}
    assert len(kept) == len(chain) <= 2 * SNAPSHOT_EVERY
    again = Bench(("arith",), rows(a), name="a")
    assert held(again, b) == held(a, b), "it begins at a snapshot, so it can be read again"


def test_author_without_a_snapshot_within_its_bounds__is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.followed.FOLLOWED_BYTES_MAX", 2_000)
    both, (a, b) = club("a", "b")
    write(b, 50)
    both.connect(a, b)
    assert sum(len(data or b"") for data in held(a, b)) <= 2_000
    assert len([1 for table, _ in a.disk if table == "followed"]) == len(held(a, b))


def test_more_authors__than_have_a_place_displace_who_is_worth_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.followed.FOLLOWED_MAX", 2)
    assert FOLLOWED_MAX > 2
    four, (a, b, c, d) = club("a", "b", "c", "d")
    four.connect(a, b)
    four.connect(a, c)
    four.connect(a, d)
    assert len(a.core.followed) == 2, "all are connected: the first keep their places"
    assert held(a, d) == []
    four.cut(a, b)
    four.cut(a, d)
    four.connect(a, d)
    assert held(a, d) == own(d)
    assert held(a, b) == []


def test_all_authors_together__are_kept_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.followed.FOLLOWED_BYTES_TOTAL_MAX", 2_000)
    three, (a, b, c) = club("a", "b", "c")
    write(b, 4)
    write(c, 4)
    three.connect(a, b)
    three.connect(a, c)
    total = sum(len(value) for (table, _), value in a.disk.items() if table == "followed")
    assert 0 < total <= 2_000


# --- Forks


def forked(author: KeySigner) -> tuple[list[Entry], list[Entry]]:
    """Two ledgers of one author that part at entry 3."""
    first = ledger(6, author)
    second = first[:3]
    for number in range(3, 6):
        second.append(make_entry(author, NETWORK, second[-1], "beacon", note(100 + number), 1_000 * number))
    return first, second


def test_author_of_two_entries_with_one_number__is_found_out_and_followed_no_more() -> None:
    bench, author, _ = followed()
    first, second = forked(author)
    bench.hear(author, answer(author, first[:5]))
    ((_, pull),) = sent(bench.hear(author, told(second[4:5])), Pull)
    assert (pull.first, pull.count) == (4, 1)
    bench.hear(author, answer(author, second[4:5], 4))
    assert author.public_key in bench.core.faults
    chain = bench.core.followed.get(author.public_key)
    assert chain is not None
    assert chain.next == 5, "what was before the fork stands"
    assert sent(bench.hear(author, told(first[-1:])), Pull) == []


def test_fork__is_found_when_what_follows_does_not_follow() -> None:
    bench, author, _ = followed()
    first, second = forked(author)
    bench.hear(author, answer(author, first[:5]))
    bench.hear(author, told(second[-1:]))
    ((_, pull),) = sent(bench.hear(author, answer(author, second[5:], 5)), Pull)
    assert (pull.first, pull.count) == (4, 1)
    bench.hear(author, answer(author, second[4:5], 4))
    assert author.public_key in bench.core.faults


def test_fork__that_two_followers_were_told_is_found_when_they_meet() -> None:
    author = peers(1)[0]
    two, (a, b) = club("a", "b")
    for bench, entries in zip((a, b), forked(author), strict=True):
        bench.join(author)
        bench.hear(author, told(entries[-1:]))
        bench.hear(author, answer(author, entries))
    two.due()
    two.connect(a, b)
    assert author.public_key in a.core.faults
    assert author.public_key in b.core.faults


def test_fork__is_found_when_a_beacon_names_another_head() -> None:
    bench, author, _ = followed()
    first, second = forked(author)
    bench.hear(author, answer(author, first[:5]))
    beacon = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2, second[4].id, 4)
    ((_, pull),) = sent(bench.hear(author, beacon), Pull)
    assert (pull.first, pull.count) == (4, 1)
    bench.hear(author, answer(author, second[4:5], 4))
    assert author.public_key in bench.core.faults


def test_beacon__names_the_head_that_its_requester_had_when_it_sealed_it() -> None:
    bench, author = Bench(), peers(1)[0]
    bench.join(author)
    beacons = sent(bench.ask("What is 2 + 3?", skill="arith") + bench.wait(2_000), Beacon)
    noted = {entry.body.get("beacon"): entry for entry in (open_entry(data or b"") for data in own(bench))}
    for envelope, beacon in beacons:
        entry = noted[envelope.id]
        assert (beacon.head_number, beacon.head) == (entry.number - 1, entry.previous)
    former = Bench(origin=FORMER)
    former.join(author)
    ((_, beacon),) = sent(former.ask("What is 2 + 3?") + former.wait(2_000), Beacon)[:1]
    assert (beacon.head_number, beacon.head) == (0, bytes(32)), "it may not write yet, and has none to name"


def test_second_first_entry__behind_a_snapshot_is_a_fork() -> None:
    bench, author, entries = followed(2)
    bench.hear(author, answer(author, entries))
    other = make_entry(author, NETWORK, None, "start", {"recovery": b"\x01" * 32, "succession": b""}, 0)
    chain = ledger(SNAPSHOT_EVERY, author)
    body: dict[str, Value] = {"counts": {"start": 1, "beacon": SNAPSHOT_EVERY - 1}, "open": [], "sequence": 0}
    body |= {"start": other.data, "vector": bytes(32)}
    snapshot = make_entry(author, NETWORK, chain[-1], "snapshot", body, 10**9)
    bench.hear(author, told([snapshot]))
    bench.hear(author, answer(author, [snapshot], SNAPSHOT_EVERY))
    assert author.public_key in bench.core.faults


# --- Restart


def test_followed_ledgers__are_there_after_a_restart() -> None:
    both, (a, b) = club("a", "b")
    both.connect(a, b)
    write(b, 10)
    both.wait(HEADS_EACH_MS)
    again = Bench(("arith",), rows(a), name="a")
    assert held(again, b) == own(b)


@pytest.mark.parametrize("damage", ["entry", "head", "gap"])
def test_damaged_ledger_of_another__is_dropped_and_pulled_again(damage: str) -> None:
    both, (a, b) = club("a", "b")
    write(b, 5)
    both.connect(a, b)
    kept = sorted(key for table, key in a.disk if table == "followed" and key[:32] == b.core.me)
    at = {"entry": 2, "head": -1, "gap": 0}[damage]
    value = a.disk.pop(("followed", kept[at]))
    if damage != "gap":
        a.disk["followed", kept[at]] = bytes(64) + value[64:] if damage == "head" else b"garbage"
    again = Bench(("arith",), rows(a), name="a")
    both.replace(again)
    both.connect(again, b)
    assert held(again, b) == own(b)
    assert {key for table, key in again.disk if table == "followed" and key[:32] == b.core.me} == set(kept)


def test_own_entries__that_the_disk_lost_come_back_before_another_is_written() -> None:
    both, (a, b) = club("a", "b")
    write(a, 5)
    copy = rows(a)
    write(a, 2 * PULL_COUNT_MAX)
    whole = own(a)
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    again = Bench(("arith",), copy, name="a")
    both.replace(again)
    assert again.core.ledger.append("beacon", note(999)) is None
    both.connect(again, b)
    assert own(again) == whole, "at once"
    both.wait(LEDGER_RESTORE_WAIT_MS)
    assert own(again)[:-1] == whole
    assert logged(again, "own_fork") == []
    both.wait(HEADS_EACH_MS)
    assert held(b, again) == own(again)
    assert again.core.me not in b.core.faults


def test_identity_without_its_database__gets_its_ledger_back() -> None:
    both, (a, b) = club("a", "b")
    write(a, 20)
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    again = Bench(("arith",), name="a", origin=FORMER)
    both.replace(again)
    both.connect(again, b)
    both.wait(LEDGER_RESTORE_WAIT_MS)
    assert own(again)[: len(own(a))] == own(a)


def test_own_ledger_of_which_only_the_end_is_left__goes_on_from_a_snapshot() -> None:
    both, (a, b) = club("a", "b")
    copy = rows(a)
    write(a, SNAPSHOT_EVERY + 10)
    both.connect(a, b)
    both.wait(HEADS_EACH_MS)
    kept = b.core.followed.get(a.core.me)
    assert kept is not None
    kept.drop_before(SNAPSHOT_EVERY)
    again = Bench(("arith",), copy, name="a")
    both.replace(again)
    both.connect(again, b)
    both.wait(LEDGER_RESTORE_WAIT_MS)
    assert again.core.ledger.chain.first == SNAPSHOT_EVERY
    assert {key for table, key in again.disk if table == "ledger"} == {
        number.to_bytes(8, "big") for number in range(SNAPSHOT_EVERY, again.core.ledger.chain.next)
    }
    assert open_entry(own(again)[-1] or b"").author == a.core.me


def test_claim_to_hold_more_of_our_ledger__holds_it_up_for_a_while_only() -> None:
    bench, (liar,) = Bench(origin=FORMER), peers(1)
    bench.join(liar)
    entry = ledger(3)[-1]
    claim = bench.core.me + (10**6).to_bytes(8, "big") + entry.id
    while bench.mono_ms < 1_000 + LEDGER_RESTORE_MS_MAX:
        bench.hear(liar, Heads((claim,)))
        bench.wait(1_000)
        assert not bench.core.ledger.ready or bench.mono_ms >= 1_000 + LEDGER_RESTORE_MS_MAX
    bench.wait(2_000)
    assert bench.core.ledger.ready


def test_node_without_peers__waits_with_its_entries_and_not_with_more_than_some() -> None:
    bench = Bench(origin=FORMER)
    bench.wait(10 * LEDGER_RESTORE_MS_MAX)
    for number in range(LEDGER_WAITING_MAX + 5):
        assert bench.core.ledger.append("beacon", note(number)) is None
    bench.meet(KeySigner(b"p" * 32))
    bench.wait(LEDGER_RESTORE_WAIT_MS)
    assert len(own(bench)) == 1 + LEDGER_WAITING_MAX


def test_identity_that_runs_twice__is_told_so() -> None:
    both, (a, b) = club("a", "b")
    twin = Bench(("arith",), rows(a), name="a")
    both.connect(a, b)
    write(a, 3)
    both.wait(HEADS_EACH_MS)
    twin.meet(KeySigner(b"p" * 32))
    twin.wait(LEDGER_RESTORE_WAIT_MS)
    write(twin, 2)
    both.replace(twin)
    both.connect(twin, b)
    assert len(logged(twin, "own_fork")) == 1
    assert twin.core.me in b.core.faults


# --- Two followers over a bad link


class Gossips(RuleBasedStateMachine):
    """Two nodes write and follow each other while messages are lost, doubled and delayed; then the link is mended.

    A third one has told each of them another ledger.
    """

    @initialize()
    def begin(self) -> None:
        self.both, (self.a, self.b) = club("a", "b")
        self.kept: list[tuple[bytes, bytes, bytes]] = []
        self.liar = peers(1, "liar")[0]
        for bench, entries in zip((self.a, self.b), forked(self.liar), strict=True):
            bench.join(self.liar)
            bench.hear(self.liar, told(entries[-1:]))
            bench.hear(self.liar, answer(self.liar, entries))
        self.both.due()
        self.both.connect(self.a, self.b)

    @rule(who=st.booleans(), count=st.integers(1, 150))
    def write(self, who: bool, count: int) -> None:  # noqa: FBT001
        write(self.a if who else self.b, count)
        self.kept += self.both.due()

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Some of what is under way arrives, in any order, twice perhaps; some never does."""
        self.kept += self.both.due()
        for source, target, envelope in data.draw(st.permutations(self.kept)) if len(self.kept) < 9 else self.kept:
            for _ in range(data.draw(st.integers(0, 2))):
                self.both.benches[target].step(MessageReceived(source, envelope))
        self.kept = [item for item in self.kept if data.draw(st.booleans())][:50]

    @rule()
    def reconnect(self) -> None:
        self.kept = []
        self.both.cut(self.a, self.b)
        self.both.connect(self.a, self.b)

    @rule(step_ms=st.integers(1, PULL_MS_MAX))
    def wait(self, step_ms: int) -> None:
        for bench in (self.a, self.b):
            bench.step(TimerFired(), step_ms)
        self.kept += self.both.due()

    @invariant()
    def holds_only_what_was_signed(self) -> None:
        if hasattr(self, "a"):
            for one, other in ((self.a, self.b), (self.b, self.a)):
                found = held(one, other)
                assert found == own(other)[: len(found)]
                assert other.core.me not in one.core.faults

    def teardown(self) -> None:
        if hasattr(self, "a"):
            self.reconnect()
            self.both.wait(4 * HEADS_EACH_MS)
            assert held(self.a, self.b) == own(self.b)
            assert held(self.b, self.a) == own(self.a)
            # Each was told another ledger of one author, and told the other; the proof outlives a restart.
            for bench, name in ((self.a, "a"), (self.b, "b")):
                assert self.liar.public_key in bench.core.faults
                assert self.liar.public_key in Bench(("arith",), rows(bench), name=name).core.faults


TestGossips = Gossips.TestCase
TestGossips.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
