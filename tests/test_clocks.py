"""Clocks that are far off: whose, by how much, and told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from protocol.constants import CLOCK_SKEW_MS_MAX, NOTICE_MS, RECORD_FRESH_MS, RECORD_REFRESH_MS
from protocol.events import Effect, Log, MessageReceived, PeerConnected, PeerLost, Publish, Send
from protocol.identity import KeySigner, peer_id
from tests.support import WALL_MS, Bench, parse, peers, record

HOUR_MS = 3_600_000
EVENTS = ("own_clock_off", "clocks_differ", "peer_clock_off")


def notices(effects: Sequence[Effect]) -> list[tuple[str, str]]:
    logs = [effect for effect in effects if isinstance(effect, Log) and effect.event in EVENTS]
    return [(log.event, str(log.fields["reason"])) for log in logs]


def met(bench: Bench, peer: KeySigner, ahead_ms: int) -> list[tuple[str, str]]:
    """What the bench says when `peer` connects and brings a record signed by a clock that is so far ahead."""
    bench.step(PeerConnected(peer.public_key))
    return notices(bench.hear(peer, replace(record("arith"), sequence=1), issued_ms=bench.wall_ms + ahead_ms))


def exchange(one: Bench, other: Bench) -> tuple[list[Effect], list[Effect]]:
    """Connect two cores and carry what each sends first to the other; what both then did."""
    sent = [here.step(PeerConnected(there.core.me)) for here, there in ((one, other), (other, one))]
    results = []
    for here, there, effects in ((one, other, sent[1]), (other, one, sent[0])):
        got: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send) and effect.peer == here.core.me:
                got += here.step(MessageReceived(there.core.me, effect.data))
        results.append(got)
    return results[0], results[1]


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS, 20 * 60_000, -11_000])
def test_clocks__of_two_nodes_alone_are_told_at_both_ends_by_how_much(ahead_ms: int) -> None:
    one, other = Bench(name="one"), Bench(name="other", wall_ms=WALL_MS + ahead_ms)
    for bench in (one, other):
        bench.wait(RECORD_REFRESH_MS // 2)  # the record last published says nothing about now
    ((event, text),), ((_, theirs),) = (notices(effects) for effects in exchange(one, other))
    assert event == "clocks_differ"
    seconds, way = abs(ahead_ms) // 1_000, "behind" if ahead_ms > 0 else "ahead of"
    assert f"this machine's clock is {seconds} s {way} that of the only peer {peer_id(other.core.me)}" in text
    assert f"{seconds} s {'ahead of' if ahead_ms > 0 else 'behind'}" in theirs
    assert one.core.clocks.off_ms == 0


def test_clocks__that_differ_by_no_more_than_is_tolerated_are_not_told() -> None:
    one, other = Bench(name="one"), Bench(name="other", wall_ms=WALL_MS + CLOCK_SKEW_MS_MAX)
    for bench in (one, other):
        bench.wait(RECORD_REFRESH_MS - 1)
    assert [notices(effects) for effects in exchange(one, other)] == [[], []]


def test_own_clock__is_the_wrong_one_if_most_peers_agree_on_another_time() -> None:
    bench = Bench()
    first, second, third = peers(3)
    assert met(bench, first, HOUR_MS)[0][0] == "clocks_differ"
    ((event, text),) = met(bench, second, HOUR_MS + 900)
    assert event == "own_clock_off"
    assert "this machine's clock is 3600 s behind those of most of 2 peers" in text
    assert "set it" in text
    met(bench, third, 0)
    assert bench.core.clocks.off_ms == -HOUR_MS
    assert bench.core.clocks.peers_off == 2


def test_peers_clock__is_the_wrong_one_if_others_agree_with_ours() -> None:
    bench = Bench()
    good = peers(3)
    for peer in good[:2]:
        assert met(bench, peer, 200) == []
    ((event, text),) = met(bench, good[2], -HOUR_MS)
    assert event == "peer_clock_off"
    assert f"{peer_id(good[2].public_key)} is 3600 s behind ours" in text
    assert "those of 2 of 3 peers agree" in text
    assert (bench.core.clocks.off_ms, bench.core.clocks.peers_off) == (0, 1)


def test_peers_that_disagree_with_each_other__accuse_nobody_here() -> None:
    bench = Bench()
    for number, peer in enumerate(peers(3), 1):
        met(bench, peer, number * HOUR_MS)
    assert bench.core.clocks.off_ms == 0


def test_notice__comes_once_in_a_while_however_many_peers_come() -> None:
    bench = Bench()
    others = peers(8)
    events = [event for peer in others for event, _ in met(bench, peer, HOUR_MS)]
    assert events == ["clocks_differ", "own_clock_off"]
    bench.wait(NOTICE_MS)
    assert [event for event, _ in met(bench, others[0], HOUR_MS)] == ["own_clock_off"]


def test_measurement__ends_with_the_channel_and_is_only_of_a_peers_own_record() -> None:
    bench = Bench()
    one, two = peers(2)
    met(bench, one, HOUR_MS)
    assert bench.core.clocks.peers_off == 1
    bench.step(PeerLost(one.public_key))
    assert bench.core.clocks.peers_off == 0
    late = bench.sealed(two, replace(record("arith"), sequence=1), issued_ms=bench.wall_ms - HOUR_MS // 6)
    bench.step(PeerConnected(one.public_key))
    for source in (one.public_key, None, two.public_key):  # handed on, by gossip, and by one without a channel
        assert notices(bench.step(MessageReceived(source, late))) == []


def test_record__for_a_new_peer_is_signed_anew_and_not_published_again() -> None:
    bench = Bench()
    one, two = peers(2)
    bench.wait(RECORD_FRESH_MS + 1_000)
    effects = bench.step(PeerConnected(one.public_key))
    first = next(parse(effect.data)[0] for effect in effects if isinstance(effect, Send))
    assert first.issued_ms == bench.wall_ms
    assert not [effect for effect in effects if isinstance(effect, Publish)]
    # The next one comes at once and gets the same.
    again = next(effect for effect in bench.step(PeerConnected(two.public_key)) if isinstance(effect, Send))
    assert parse(again.data)[0] == first
