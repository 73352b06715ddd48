"""Peers that were met are found again after any time; strangers displace neither them nor each other without bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.capability import Record
from protocol.constants import (
    CLOCK_SKEW_MS_MAX,
    CONNECTIONS_SOON,
    DIAL_BACKOFF_GONE_MS_MAX,
    DIAL_SLOW_MS,
    DIALS_PER_SOURCE_MAX,
    DIALS_PER_TARGET_MAX,
    LIFETIME_MS_MAX,
    PEER_SAVE_DELAY_MS,
    PEER_SAVED_MS_MAX,
    PEERS_MAX,
    PEERS_SAVED_MAX,
    RECORD_LIFETIME_MS_MAX,
    RECORD_REFRESH_MS,
    RECORDS_SHARED_MAX,
    STRANGERS_GOSSIPED_MAX,
    STRANGERS_PER_SOURCE_MAX,
)
from protocol.envelope import seal
from protocol.events import Dial, Effect, EffectDone, MessageReceived, PeerConnected, PeerLost, Persist, Send
from protocol.identity import KeySigner
from protocol.seek import Seek
from tests.core_bench import STRANGER, newer
from tests.support import Bench, evidence, peers, record, sent

DAY_MS = 86_400_000


def at(address: str, sequence: int = 5) -> Record:
    return newer(record("arith"), sequence, address)


def dials(effects: list[Effect]) -> list[Dial]:
    return [effect for effect in effects if isinstance(effect, Dial)]


def saves(effects: list[Effect]) -> list[Persist]:
    return [effect for effect in effects if isinstance(effect, Persist) and effect.table == "peers"]


def met(bench: Bench, peer: KeySigner, own: Record) -> None:
    bench.join(peer, own)
    bench.wait(PEER_SAVE_DELAY_MS)


def restarted(bench: Bench, after_ms: int) -> Bench:
    rows = [(table, key, value) for (table, key), value in sorted(bench.disk.items())]
    return Bench((), rows, bench.wall_ms + after_ms)


def told(bench: Bench, source: bytes | None, author: KeySigner, own: Record) -> list[Effect]:
    """A record that somebody else hands over, or gossip."""
    return bench.step(MessageReceived(source, bench.sealed(author, own)))


# --- Found again


@pytest.mark.parametrize("after_ms", [0, RECORD_LIFETIME_MS_MAX + 1, 5 * DAY_MS, PEER_SAVED_MS_MAX - DAY_MS])
def test_saved_peer__is_dialled_at_once_however_long_the_node_was_away(after_ms: int) -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    again = restarted(bench, after_ms)
    assert dials(again.effects) == [Dial(dials(again.effects)[0].effect, STRANGER.public_key, ("/sim/stranger",))]


def test_saved_peer__is_dialled_for_ever() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    again = restarted(bench, 5 * DAY_MS)
    for _ in range(60):
        found = dials(again.effects)
        again.step(EffectDone(found[-1].effect, error="refused"))
        again.wait(2 * 60_000)
        assert len(dials(again.effects)) > len(found)


def test_saved_peer_that_is_gone__costs_little_until_it_lives_or_nobody_else_does() -> None:
    bench = Bench()
    gone, there = peers(2)
    met(bench, gone, at("/sim/gone"))
    again = restarted(bench, 5 * DAY_MS)
    again.join(there, at("/sim/there"))
    answered: list[Dial] = []

    def dialled_in(for_ms: int) -> int:
        count, end_ms = 0, again.mono_ms + for_ms
        while again.mono_ms < end_ms:
            for dial in dials(again.effects)[len(answered) :]:
                answered.append(dial)
                count += dial.peer == gone.public_key
                again.step(EffectDone(dial.effect, error="no answer"))
            again.wait(5_000)
        return count

    dialled_in(3 * DIAL_BACKOFF_GONE_MS_MAX)
    assert 2 <= dialled_in(3 * DIAL_BACKOFF_GONE_MS_MAX) <= 3
    # Its record comes: it lives, and is dialled as often as anybody.
    told(again, there.public_key, gone, at("/sim/gone", 50))
    assert dialled_in(60_000) >= 3
    dialled_in(4 * DIAL_BACKOFF_GONE_MS_MAX)
    # The last peer goes: whoever was met is tried again as after a start.
    again.step(PeerLost(there.public_key))
    assert dialled_in(60_000) >= 3


def test_saved_peer__is_a_hint_and_no_record() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    again = restarted(bench, RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX + 1)
    again.step(PeerConnected(STRANGER.public_key))
    # It offers nothing and is handed to nobody until it says so again.
    assert again.core.candidates("arith") == []
    other = peers(1)[0]
    again.step(PeerConnected(other.public_key))
    assert not sent(again.hear(other, Seek(RECORDS_SHARED_MAX)), Record)
    # The very record that was saved counts as new where it is still good.
    soon = restarted(bench, 1_000)
    soon.step(PeerConnected(STRANGER.public_key))
    known = bench.core.peers.get(STRANGER.public_key)
    assert known is not None
    soon.step(MessageReceived(STRANGER.public_key, known.record_data))
    assert soon.core.candidates("arith") == [STRANGER.public_key]


def test_saved_peer__has_no_older_record_that_still_holds_played_again() -> None:
    bench, naming = Bench(), peers(1)[0]
    old = bench.sealed(STRANGER, at("/sim/old", 4))
    met(bench, STRANGER, at("/sim/stranger"))
    again = restarted(bench, 1_000)
    again.join(naming)
    again.step(MessageReceived(naming.public_key, old))
    assert again.core.rejected["stale"] == 1
    again.step(PeerConnected(STRANGER.public_key))
    assert again.core.candidates("arith") == [naming.public_key]
    # Its author may go on from there, and from anywhere once nothing that it said before holds.
    again.hear(STRANGER, at("/sim/stranger", 6))
    assert STRANGER.public_key in again.core.candidates("arith")
    later = restarted(bench, RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX)
    later.step(PeerConnected(STRANGER.public_key))
    later.hear(STRANGER, at("/sim/stranger", 1))
    assert later.core.candidates("arith") == [STRANGER.public_key]


def test_saved_peers__those_met_last_and_on_most_days_come_first() -> None:
    bench = Bench()
    early, often, late = peers(3)
    met(bench, early, at("/sim/early"))
    bench.step(PeerLost(early.public_key))
    met(bench, often, at("/sim/often"))
    bench.wait(DAY_MS)
    bench.step(PeerLost(often.public_key))
    bench.wait(DAY_MS // 2)
    met(bench, late, at("/sim/late"))
    again = restarted(bench, DAY_MS)
    assert [dial.peer for dial in dials(again.effects)] == [late.public_key, often.public_key, early.public_key]


def test_saved_peers__of_one_day_come_by_the_days_on_which_they_were_met() -> None:
    bench = Bench()
    often, once = peers(2)
    for _ in range(2):
        met(bench, often, at("/sim/often"))
        bench.step(PeerLost(often.public_key))
        bench.wait(DAY_MS)
    met(bench, often, at("/sim/often", 6))
    bench.step(PeerLost(often.public_key))
    # It comes as often and later, all on one day.
    for number in range(3):
        met(bench, once, at("/sim/once", 5 + number))
        bench.step(PeerLost(once.public_key))
    again = restarted(bench, 1_000)
    assert [dial.peer for dial in dials(again.effects)] == [often.public_key, once.public_key]


def test_saved_peer__is_forgotten_after_a_month_and_from_the_disk_too() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    again = restarted(bench, PEER_SAVED_MS_MAX + 1)
    assert not dials(again.effects)
    assert ("peers", STRANGER.public_key) not in again.disk


def test_saved_peer__that_moved_is_saved_anew_and_one_that_did_not_is_not() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/old"))
    mark = len(bench.effects)
    for number in range(5):
        bench.wait(RECORD_REFRESH_MS)
        bench.hear(STRANGER, at("/sim/old", 6 + number))
    assert not saves(bench.effects[mark:])
    bench.hear(STRANGER, at("/sim/new", 20))
    bench.wait(PEER_SAVE_DELAY_MS)
    assert [dial.addresses for dial in dials(restarted(bench, DAY_MS).effects)] == [("/sim/new",)]


def test_saved_peer__under_another_name_or_network_is_refused() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    row = bench.disk["peers", STRANGER.public_key]
    other = peers(1)[0].public_key
    assert not dials(Bench((), [("peers", other, row)], bench.wall_ms).effects)
    foreign = seal(STRANGER, b"n" * 32, "record", "records", at("/sim/a").body(), bench.wall_ms, LIFETIME_MS_MAX)
    bench.core.peers._peers[STRANGER.public_key].record_data = foreign
    bench.hear(STRANGER, at("/sim/b", 9))
    assert not dials(Bench((), [("peers", STRANGER.public_key, row[:-1])], bench.wall_ms).effects)


def test_clock_that_went_back__leaves_saved_peers_usable() -> None:
    bench = Bench()
    met(bench, STRANGER, at("/sim/stranger"))
    assert dials(restarted(bench, -90 * DAY_MS).effects)


# --- Floods


def crowd(count: int, name: str = "crowd") -> list[KeySigner]:
    return peers(count, name)


def test_strangers__of_one_source_displace_only_each_other() -> None:
    bench = Bench()
    honest, flooder = peers(2)
    bench.step(PeerConnected(honest.public_key))
    bench.step(PeerConnected(flooder.public_key))
    named = crowd(RECORDS_SHARED_MAX, "named by the honest one")
    for author in named:
        told(bench, honest.public_key, author, at("/sim/honest"))
    for author in crowd(2 * STRANGERS_PER_SOURCE_MAX):
        told(bench, flooder.public_key, author, at("/sim/victim"))
    known = dict(bench.core.peers.all())
    assert {author.public_key for author in named} <= set(known)
    assert (
        sum(peer.source == flooder.public_key and peer.meeting is None for peer in known.values()) == STRANGERS_PER_SOURCE_MAX
    )


def test_gossiped_strangers__leave_room_for_everybody_else() -> None:
    bench = Bench()
    for author in crowd(STRANGERS_GOSSIPED_MAX + 50):
        told(bench, None, author, at("/sim/victim"))
    assert len(bench.core.peers.all()) == STRANGERS_GOSSIPED_MAX


def test_full_table__keeps_peers_that_are_connected_evidenced_or_were_met() -> None:
    known = peers(3)
    bench = Bench(restored=evidence({known[0].public_key: 9}))
    told(bench, None, known[0], at("/sim/evidenced"))
    met(bench, known[1], at("/sim/met"))
    bench.step(PeerLost(known[1].public_key))
    bench.join(known[2], at("/sim/connected"))
    sources = crowd(1 + PEERS_MAX // STRANGERS_PER_SOURCE_MAX, "source")
    authors = iter(crowd(PEERS_MAX + 200))
    for source in sources:
        for author, _ in zip(authors, range(STRANGERS_PER_SOURCE_MAX), strict=False):
            told(bench, source.public_key, author, at("/sim/victim"))
    table = dict(bench.core.peers.all())
    assert len(table) <= PEERS_MAX
    assert {peer.public_key for peer in known} <= set(table)


def test_full_table__has_room_again_once_examined_peers_that_came_and_went_have_no_record_left() -> None:
    examined = crowd(PEERS_MAX + 10, "examined")
    bench = Bench(restored=evidence({author.public_key: 1 for author in examined}))
    for author in examined:
        bench.step(PeerConnected(author.public_key))
        bench.hear(author, at("/ip4/192.0.2.66/tcp/1"))
        bench.step(PeerLost(author.public_key))
    bench.wait(PEER_SAVE_DELAY_MS)
    bench.wait(RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX)
    told(bench, None, STRANGER, at("/sim/stranger"))
    assert bench.core.peers.get(STRANGER.public_key) is not None


def test_flood_of_records__writes_nothing_to_disk() -> None:
    bench = Bench()
    mark = len(bench.effects)
    for author in crowd(100):
        told(bench, None, author, at("/sim/victim"))
    bench.wait(10_000)
    assert not saves(bench.effects[mark:])


def test_flood_of_connections__keeps_the_table_and_the_disk_bounded_and_old_friends_on_it() -> None:
    bench = Bench()
    friend = STRANGER
    met(bench, friend, at("/ip4/192.0.2.1/tcp/1"))
    bench.wait(DAY_MS)
    bench.hear(friend, at("/ip4/192.0.2.1/tcp/1", 6))
    bench.step(PeerLost(friend.public_key))
    mark = len(bench.effects)
    for author in crowd(2 * PEERS_SAVED_MAX):
        bench.step(PeerConnected(author.public_key))
        bench.hear(author, at("/ip4/192.0.2.66/tcp/1"))
        bench.step(PeerLost(author.public_key))
    bench.wait(PEER_SAVE_DELAY_MS)
    rows = {key for table, key in bench.disk if table == "peers"}
    assert friend.public_key in rows
    assert len(rows) <= PEERS_SAVED_MAX
    assert len(saves(bench.effects[mark:])) <= PEERS_SAVED_MAX
    # Those who came and said nothing leave nothing.
    silent = crowd(5, "silent")
    for author in silent:
        bench.step(PeerConnected(author.public_key))
        bench.step(PeerLost(author.public_key))
        assert bench.core.peers.get(author.public_key) is None


# --- Dials


def test_one_target__is_not_dialled_more_for_a_crowd_of_names() -> None:
    bench = Bench()
    for author in crowd(100):
        told(bench, None, author, at(f"/ip4/8.8.8.8/tcp/25/p2p/{author.public_key.hex()}"))
    for _ in range(100):
        for dial in dials(bench.wait(500)):
            bench.step(EffectDone(dial.effect, error="no Tutti node"))
    # 50 s: the burst, and not yet one more.
    assert len(dials(bench.effects)) == DIALS_PER_TARGET_MAX


def test_source_that_names_dead_addresses__does_not_hold_up_the_others() -> None:
    bench = Bench()
    honest, flooder = peers(2)
    bench.step(PeerConnected(honest.public_key))
    bench.step(PeerConnected(flooder.public_key))
    for number, author in enumerate(crowd(100)):
        told(bench, flooder.public_key, author, at(f"/sim/dead{number}"))
    bench.wait(CONNECTIONS_SOON * DIAL_SLOW_MS)
    assert len(dials(bench.effects)) == DIALS_PER_SOURCE_MAX
    told(bench, honest.public_key, STRANGER, at("/sim/alive"))
    bench.wait(1_000)
    assert dials(bench.effects)[-1].peer == STRANGER.public_key


def test_record_that_names_no_place_from_here__is_not_dialled_and_costs_no_timer() -> None:
    bench = Bench()
    bench.core.peers.dialling.own_addresses = ("/ip4/8.8.8.8/tcp/4101/p2p/A",)
    told(bench, None, STRANGER, replace(at("/ip4/127.0.0.1/tcp/22"), sequence=7))
    assert not dials(bench.wait(600_000))
    assert [effect.peer for effect in bench.step(PeerConnected(STRANGER.public_key)) if isinstance(effect, Send)]
