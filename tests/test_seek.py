"""Introductions on demand: whom a node asks for records of others, what it answers, and how often it may be asked."""

from __future__ import annotations

import pytest

from protocol.capability import Record
from protocol.constants import (
    CLOCK_SKEW_MS_MAX,
    JOIN_MS,
    RECORD_LIFETIME_MS_MAX,
    RECORDS_SHARED_MAX,
    SEEK_MS,
    SEEKS_BURST,
    WATERMARK_STEP_MS,
)
from protocol.events import Effect, MessageReceived, PeerConnected, PeerLost, Send, TimerFired
from protocol.identity import KeySigner
from protocol.seek import Seek
from simnet.links import Link
from simnet.world import World
from tests.core_bench import STRANGER, newer
from tests.support import EXPERT, PARAMETERS, Bench, parse, peers, record, sent, solver

ALL = Seek(RECORDS_SHARED_MAX)


def authors(effects: list[Effect]) -> list[bytes]:
    """Whose records were sent, in order."""
    return [envelope.sender for envelope, _ in sent(effects, Record)]


def asked(effects: list[Effect]) -> list[tuple[bytes | str, int]]:
    """Whom the core asked for records of others, and for how many."""
    return [(envelope.to, message.count) for envelope, message in sent(effects, Seek)]


def named(bench: Bench, *others: KeySigner) -> None:
    """Let gossip bring a record of each, a second apart."""
    for other in others:
        bench.step(MessageReceived(None, bench.sealed(other, newer(record("arith"), 5))), after_ms=1_000)


# --- Who asks


def test_connection__brings_the_own_record_and_a_seek_and_nobody_elses_record() -> None:
    bench = Bench(("arith",))
    first, second = peers(2)
    bench.join(first, newer(record("lists"), 5))
    effects = bench.step(PeerConnected(second.public_key))
    assert authors(effects) == [bench.core.me]
    assert asked(effects) == [(second.public_key, RECORDS_SHARED_MAX)]
    kinds = [type(parse(effect.data)[1]) for effect in effects if isinstance(effect, Send)]
    # Who is asked knows by then whose record it need not hand over.
    assert kinds.index(Record) < kinds.index(Seek)


def test_newcomer__asks_its_first_contacts_and_no_more_until_the_time_is_over() -> None:
    bench = Bench(("arith",))
    contacts = peers(SEEKS_BURST + 5)
    *first, last, later, too_late = contacts[: SEEKS_BURST + 3]
    bench.meet(*first, last)
    assert [peer for peer, _ in asked(bench.effects)] == [peer.public_key for peer in first]
    bench.wait(SEEK_MS)
    assert len(asked(bench.effects)) == SEEKS_BURST, "only at a connection"
    bench.meet(later, too_late)
    assert [peer for peer, _ in asked(bench.effects)][SEEKS_BURST:] == [later.public_key]


def test_node_that_lives_on__asks_others_now_and_then_whoever_connects() -> None:
    bench = Bench(("arith",))
    surrounding, others = peers(SEEKS_BURST, "attacker"), peers(10)
    bench.meet(*surrounding)
    for other in others:
        bench.wait(SEEK_MS)
        bench.meet(other)
    assert [peer for peer, _ in asked(bench.effects)][SEEKS_BURST:] == [other.public_key for other in others]


def test_first_contact_at_the_other_end_of_the_world__has_introduced_the_others_when_a_newcomer_takes_itself_to_know_them() -> (
    None
):
    world = World(PARAMETERS, 1, Link(latency_us=150_000, jitter_us=0))
    hub, *others = [world.add(f"node {number}", record("arith"), solver(EXPERT)) for number in range(5)]
    for other in others:
        world.join(other, hub)
    world.run(for_ms=5_000)
    newcomer = world.add("newcomer", record("arith"), solver(EXPERT))
    world.join(newcomer, hub)
    begun_ms = world.now_us // 1_000
    while not newcomer.core.peers.connected():
        world.run(for_ms=10)
        assert world.now_us // 1_000 < begun_ms + 5_000
    world.run(for_ms=newcomer.core.peers.joined_at_ms - world.now_us // 1_000 - 1)
    assert newcomer.core.peers.joining("arith")
    known = {key for key, peer in newcomer.core.peers.all() if peer.record is not None}
    assert known == {host.key for host in (hub, *others)}


def test_newcomer__waits_for_the_answer_of_its_first_contact() -> None:
    bench = Bench()
    bench.meet(STRANGER)
    assert bench.core.peers.joined_at_ms == bench.mono_ms + JOIN_MS
    assert bench.core.peers.joining("arith")
    bench.step(TimerFired(), after_ms=JOIN_MS)
    assert not bench.core.peers.joining("arith")


# --- What is answered


def test_answer__is_the_records_of_others_connected_ones_first() -> None:
    bench = Bench(("arith",))
    linked, asker, *others = peers(5)
    bench.join(asker, newer(record("arith"), 5))
    bench.join(linked, newer(record("arith"), 5))
    named(bench, *others)
    effects = bench.hear(asker, ALL)
    first, *later = authors(effects)
    assert first == linked.public_key
    assert sorted(later) == sorted(peer.public_key for peer in others)
    assert {effect.peer for effect in effects if isinstance(effect, Send)} == {asker.public_key}
    # As their authors signed them.
    known = bench.core.peers.get(linked.public_key)
    assert known is not None
    assert next(effect.data for effect in effects if isinstance(effect, Send)) == known.record_data


def test_answers__are_drawn_anew_each_time() -> None:
    bench = Bench()
    bench.meet(STRANGER)
    named(bench, *peers(4 * RECORDS_SHARED_MAX))
    answers = {frozenset(authors(bench.hear(STRANGER, ALL))) for _ in range(SEEKS_BURST)}
    assert len(answers) == SEEKS_BURST


@pytest.mark.parametrize("count", [1, 7, RECORDS_SHARED_MAX])
def test_answer__has_no_more_records_than_were_wanted(count: int) -> None:
    bench = Bench()
    bench.meet(STRANGER)
    named(bench, *peers(RECORDS_SHARED_MAX + 5))
    assert len(authors(bench.hear(STRANGER, Seek(count)))) == count


def test_answer__leaves_out_records_that_are_over_and_is_nothing_if_nobody_is_known() -> None:
    bench = Bench()
    bench.meet(STRANGER)
    assert not bench.hear(STRANGER, ALL)[1:]
    named(bench, *peers(3))
    bench.wait(RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX)
    assert not authors(bench.hear(STRANGER, ALL))


def test_seeks__of_one_peer_are_rationed_and_those_of_another_are_not_touched() -> None:
    bench = Bench()
    other = peers(1, "other")[0]
    bench.meet(STRANGER, other)
    named(bench, peers(1)[0])
    answers = [len(authors(bench.hear(STRANGER, ALL))) for _ in range(SEEKS_BURST + 4)]
    assert answers == [1] * SEEKS_BURST + [0] * 4
    assert bench.core.rejected == {"rate": 4}
    assert len(authors(bench.hear(other, ALL))) == 1
    bench.wait(SEEK_MS)
    assert [len(authors(bench.hear(STRANGER, ALL))) for _ in range(2)] == [1, 0]


def test_seeks__of_a_peer_that_comes_and_goes_are_rationed_all_the_same() -> None:
    bench = Bench()
    named(bench, peers(1)[0])
    answers = 0
    for _ in range(10):
        bench.join(STRANGER, newer(record("arith"), 5))
        answers += len(authors(bench.hear(STRANGER, ALL)))
        bench.step(PeerLost(STRANGER.public_key))
    assert answers <= SEEKS_BURST + 10 * JOIN_MS // SEEK_MS


def test_seek__of_somebody_without_a_channel_is_refused() -> None:
    bench = Bench()
    named(bench, *peers(2))
    bench.step(MessageReceived(None, bench.sealed(STRANGER, ALL)))
    assert not authors(bench.hear(STRANGER, ALL))
    assert bench.core.rejected == {"unconnected": 2}
    # Nor is one that is known and away.
    bench.join(STRANGER, newer(record("arith"), 5))
    bench.step(PeerLost(STRANGER.public_key))
    assert not authors(bench.hear(STRANGER, ALL))
    assert bench.core.rejected == {"unconnected": 3}


def test_seek__that_another_peer_hands_on_or_that_is_for_another_is_refused() -> None:
    bench = Bench()
    thief, other = peers(2, "thief")
    bench.meet(STRANGER, thief)
    named(bench, peers(1)[0])
    assert not authors(bench.step(MessageReceived(thief.public_key, bench.sealed(STRANGER, ALL))))
    assert not authors(bench.hear(STRANGER, ALL, to=other.public_key))
    assert not authors(bench.hear(STRANGER, ALL, to="records"))
    assert bench.core.rejected == {"relayed": 1, "recipient": 1, "type": 1}


def test_seek__that_was_signed_before_the_watermark_is_answered_after_a_restart() -> None:
    bench = Bench(("arith",))
    bench.meet(STRANGER)
    bench.hear(STRANGER, ALL)
    rows = [(table, key, value) for (table, key), value in sorted(bench.disk.items())]
    again = Bench(("arith",), rows, bench.wall_ms + 1)
    again.meet(STRANGER)
    again.step(MessageReceived(None, again.sealed(peers(1)[0], newer(record("arith"), 5))))
    assert again.core._deaf_ms() > WATERMARK_STEP_MS // 2
    assert len(authors(again.hear(STRANGER, ALL))) == 1
    assert not again.core.rejected
