"""Peers and their records; replay, clocks and restart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.capability import Record
from protocol.constants import (
    CALM_MS,
    CLOCK_SKEW_MS_MAX,
    CONNECTIONS_AGAIN_MAX,
    CONNECTIONS_SOON,
    CONNECTIONS_TARGET,
    DIAL_BACKOFF_MS_MAX,
    DIAL_BACKOFF_MS_MIN,
    DIAL_DELAY_MS,
    DIAL_JITTER_SHARE,
    DIAL_SLOW_MS,
    DIALS_PER_SOURCE_MAX,
    LIFETIME_MS_MAX,
    LOST_MAX,
    LOST_TOGETHER_MS,
    PEER_SAVE_DELAY_MS,
    PEERS_SAVED_MAX,
    RECORD_REFRESH_MS,
    SEATS_DEFAULT,
    WATERMARK_STEP_MS,
)
from protocol.envelope import seal
from protocol.errors import LocalProtocolError
from protocol.events import (
    Dial,
    Effect,
    EffectDone,
    Infer,
    MessageReceived,
    ModelChanged,
    PeerConnected,
    PeerLost,
    Persist,
    Publish,
    Send,
)
from protocol.messages import (
    Award,
    Beacon,
    Bid,
    BidAck,
)
from tests.core_bench import GOLD, QUESTION, STRANGER, asked, newer, offered, requester
from tests.support import (
    PARAMETERS,
    Bench,
    bid_on,
    evidence,
    inferred,
    peers,
    record,
    sent,
)

# --- Peers and records


def dials(effects: list[Effect]) -> list[Dial]:
    return [effect for effect in effects if isinstance(effect, Dial)]


def test_stale_record__is_ignored() -> None:
    bench = Bench()
    bench.join(STRANGER, newer(record("arith"), 5))
    for sequence in (0, 3, 4):
        bench.hear(STRANGER, newer(record("lists"), sequence))
    assert bench.core.rejected["stale"] == 3
    assert bench.core.candidates("arith") == [STRANGER.public_key]
    assert bench.core.candidates("lists") == []
    bench.hear(STRANGER, newer(record("lists"), 6))
    assert bench.core.candidates("lists") == [STRANGER.public_key]


def test_record__is_addressed_to_all_and_speaks_for_its_author_alone() -> None:
    bench = Bench()
    own = newer(record("arith"), 5)
    data = seal(STRANGER, PARAMETERS.network, own.TYPE, bench.core.me, own.body(), bench.wall_ms, LIFETIME_MS_MAX)
    bench.step(MessageReceived(STRANGER.public_key, data))
    assert bench.core.rejected["recipient"] == 1
    # A copy of our own record that comes back changes nothing.
    bench.hear(bench.signer, newer(record("lists"), 2**50))
    assert bench.core.own_record.sequence < 2**50


def test_candidate__is_connected_and_has_its_model() -> None:
    bench = Bench(("arith",))
    bench.hear(STRANGER, newer(record("arith"), 5))
    assert bench.core.candidates("arith") == [bench.core.me]
    bench.step(PeerConnected(STRANGER.public_key))
    assert set(bench.core.candidates("arith")) == {bench.core.me, STRANGER.public_key}
    bench.hear(STRANGER, replace(newer(record("arith"), 6), available=False))
    assert bench.core.candidates("arith") == [bench.core.me]


def test_lost_peers__are_dialled_by_a_node_with_enough_others_and_called_when_one_is_back() -> None:
    bench = Bench()
    everybody = peers(CONNECTIONS_TARGET + 6)
    for number, peer in enumerate(everybody):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
        bench.step(PeerConnected(peer.public_key))
    *lost, later = everybody[:5]
    tried = set()
    for peer in lost:
        bench.step(PeerLost(peer.public_key))
    while bench.mono_ms < 2 * LOST_TOGETHER_MS + 10 * DIAL_BACKOFF_MS_MAX:
        for dial in dials(bench.wait(DIAL_BACKOFF_MS_MIN)):
            tried.add(dial.peer)
            bench.step(EffectDone(dial.effect, error="no answer"))
    assert tried == {peer.public_key for peer in lost}
    assert len(bench.core.peers.connected()) > CONNECTIONS_TARGET
    bench.step(PeerLost(later.public_key))
    effects = bench.step(PeerConnected(lost[0].public_key)) + bench.wait(100)
    assert {dial.peer for dial in dials(effects)} == {peer.public_key for peer in lost[1:]}


def test_newcomer__dials_a_few_strangers_at_once_and_the_others_calmly() -> None:
    bench = Bench()
    for number, peer in enumerate(peers(3 * CONNECTIONS_SOON)):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
    bench.wait(2 * DIAL_DELAY_MS)
    first = dials(bench.effects)
    assert len(first) == CONNECTIONS_SOON
    for dial in first:
        bench.step(PeerConnected(dial.peer))
    mark, times = len(bench.effects), list[int]()
    for _ in range(4 * CALM_MS // 100):
        for dial in dials(bench.wait(100)):
            times.append(bench.mono_ms)
            bench.step(PeerConnected(dial.peer))
    assert len(dials(bench.effects[mark:])) == len(times) >= 3
    assert all(later - earlier >= CALM_MS for earlier, later in itertools.pairwise(times))


def test_newcomer__whose_dials_take_long_begins_others_meanwhile() -> None:
    bench = Bench()
    for number, peer in enumerate(peers(3 * CONNECTIONS_SOON)):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
    bench.wait(DIAL_SLOW_MS // 2)
    assert len(dials(bench.effects)) == CONNECTIONS_SOON
    bench.wait(DIAL_SLOW_MS)
    assert len({dial.peer for dial in dials(bench.effects)}) == min(2 * CONNECTIONS_SOON, DIALS_PER_SOURCE_MAX)


def test_strangers__are_dialled_in_an_order_of_each_node_s_own() -> None:
    dialled = []
    for name in ("one", "another"):
        bench = Bench(name=name)
        for number, peer in enumerate(peers(3 * CONNECTIONS_SOON)):
            bench.step(MessageReceived(None, bench.sealed(peer, newer(record("arith"), 5, f"/sim/{number}"))), 0)
        bench.wait(2 * DIAL_DELAY_MS)
        dialled.append({dial.peer for dial in dials(bench.effects)})
    assert dialled[0] != dialled[1]


def test_peers_that_were_met__are_all_dialled_at_once() -> None:
    bench = Bench()
    known = peers(2 * CONNECTIONS_SOON)
    for number, peer in enumerate(known):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
        bench.step(PeerConnected(peer.public_key))
    mark = len(bench.effects)
    for peer in known:
        bench.step(PeerLost(peer.public_key))
    bench.wait(DIAL_BACKOFF_MS_MIN * 2)
    assert {dial.peer for dial in dials(bench.effects[mark:])} == {peer.public_key for peer in known}


def test_end_of_a_nameless_channel__leaves_room_for_those_that_were_lost() -> None:
    bench = Bench()
    named, nameless = peers(4), peers(CONNECTIONS_AGAIN_MAX, "nameless")
    for number, peer in enumerate(named):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
        bench.step(PeerConnected(peer.public_key))
    for peer in nameless:
        bench.step(PeerConnected(peer.public_key))
    for peer in named:
        bench.step(PeerLost(peer.public_key))
    assert not dials(bench.wait(2 * DIAL_BACKOFF_MS_MIN))
    mark = len(bench.effects)
    for peer in nameless:
        bench.step(PeerLost(peer.public_key))
    bench.wait(100)
    assert {dial.peer for dial in dials(bench.effects[mark:])} == {peer.public_key for peer in named}


def test_lost_peers__are_not_displaced_by_fresh_keys_that_come_and_go() -> None:
    bench = Bench()
    (lost, *others), fresh = peers(CONNECTIONS_TARGET + 3), peers(LOST_MAX + 5, "fresh")
    for number, peer in enumerate((lost, *others)):
        bench.hear(peer, newer(record("arith"), 5, f"/sim/{number}"))
        bench.step(PeerConnected(peer.public_key))
    bench.step(PeerLost(lost.public_key))
    for number, peer in enumerate(fresh):
        bench.step(PeerConnected(peer.public_key), 1_000)
        bench.hear(peer, newer(record("arith"), 5, f"/sim/fresh-{number}"))
        bench.step(PeerLost(peer.public_key))
    assert lost.public_key in bench.core.peers.dialling.lost()
    assert len(bench.core.peers.dialling.lost()) == LOST_MAX


def test_peers_that_come_and_go__beyond_what_is_saved_are_lost_no_more() -> None:
    bench = Bench()
    for number, peer in enumerate(peers(PEERS_SAVED_MAX + LOST_MAX)):
        # The first share a host, and so are the first that are not saved.
        address = f"/ip4/1.2.3.4/tcp/{4000 + number}" if number < LOST_MAX else f"/sim/{number}"
        bench.step(PeerConnected(peer.public_key), 100)
        bench.hear(peer, newer(record("arith"), 5, address))
        bench.step(PeerLost(peer.public_key))
    bench.wait(PEER_SAVE_DELAY_MS)
    lost = bench.core.peers.dialling.lost()
    assert len(lost) <= LOST_MAX
    assert lost <= bench.core.peers.met()
    bench.step(PeerConnected(STRANGER.public_key))
    bench.hear(STRANGER, newer(record("arith"), 5, "/sim/stranger"))
    bench.step(PeerLost(STRANGER.public_key))
    assert STRANGER.public_key in bench.core.peers.dialling.lost()


def test_dial__backs_off_and_starts_again_after_a_connection() -> None:
    bench = Bench()
    bench.hear(STRANGER, newer(record("arith"), 5, "/sim/stranger"))
    begun_ms, waits = bench.mono_ms, list[int]()
    for _ in range(9):
        while not (found := dials(bench.effects)[len(waits) :]):
            bench.wait(10)
        assert found[0].addresses == ("/sim/stranger",)
        waits.append(bench.mono_ms - begun_ms)
        begun_ms = bench.mono_ms
        bench.step(EffectDone(found[0].effect, error="refused"))
    backoff_ms = DIAL_BACKOFF_MS_MIN
    for waited_ms in waits[1:]:
        # A part is added by lot, so that those who lost one peer at once do not all come back at once.
        assert backoff_ms <= waited_ms <= backoff_ms + backoff_ms // DIAL_JITTER_SHARE + 10
        backoff_ms = min(2 * backoff_ms, DIAL_BACKOFF_MS_MAX)
    assert len({waited_ms % 1_000 for waited_ms in waits[1:]}) > 1
    bench.step(PeerConnected(STRANGER.public_key))
    assert not dials(bench.wait(2 * DIAL_BACKOFF_MS_MAX))
    bench.step(PeerLost(STRANGER.public_key))
    assert len(dials(bench.wait(2 * DIAL_BACKOFF_MS_MIN))) == 1


def test_dial__of_one_pair_starts_from_the_smaller_key() -> None:
    small, large = peers(2)
    bench = Bench()
    effects = []
    for peer in (small, large):
        effects += bench.hear(peer, newer(record("arith"), 5, "/sim/a"))
    assert {dial.peer for dial in dials(effects)} == {
        peer.public_key for peer in (small, large) if bench.core.me < peer.public_key
    }
    later = dials(bench.wait(DIAL_DELAY_MS))
    assert {dial.peer for dial in later} == {peer.public_key for peer in (small, large) if bench.core.me > peer.public_key}


def test_own_record__is_refreshed_with_a_rising_sequence() -> None:
    bench = Bench(("arith",))
    first = bench.core.own_record.sequence
    records = sent(bench.wait(3 * RECORD_REFRESH_MS), Record)
    assert len(records) == 3
    sequences = [first, *(body.sequence for _, body in records)]
    assert sequences == sorted(set(sequences))


def test_record__with_another_networks_name_is_refused() -> None:
    bench = Bench()
    own = newer(record("arith"), 5)
    data = seal(STRANGER, b"n" * 32, own.TYPE, "records", own.body(), bench.wall_ms, LIFETIME_MS_MAX)
    bench.step(MessageReceived(None, data))
    assert bench.core.rejected["network"] == 1


# --- Replay, clocks and restart


def test_bad_signature__does_not_keep_the_original_out() -> None:
    bench, others = requester()
    beacon = asked(bench)
    data = bench.sealed(others[0], bid_on(beacon))
    damaged = bytes([data[0] ^ 1]) + data[1:]
    assert not sent(bench.step(MessageReceived(None, damaged)), BidAck)
    assert len(sent(bench.step(MessageReceived(others[0].public_key, data)), BidAck)) == 1
    assert not sent(bench.step(MessageReceived(others[0].public_key, data)), BidAck)
    assert bench.core.rejected["replay"] == 1


def test_watermark__is_on_disk_before_anything_that_follows_from_the_message() -> None:
    bench, others = requester()
    beacon = asked(bench)
    bench.wait(10)
    kinds = [type(effect) for effect in bench.hear(others[0], bid_on(beacon)) if isinstance(effect, Persist | Send)]
    assert kinds.index(Send) > 0
    assert kinds[0] is Persist


def test_persist__stands_before_the_publish_that_depends_on_it() -> None:
    bench = Bench(("arith",))
    for effects in (bench.wait(RECORD_REFRESH_MS), bench.step(ModelChanged(available=False, tokens_per_s=1))):
        keys = [
            effect.key if isinstance(effect, Persist) else b"publish"
            for effect in effects
            if isinstance(effect, Persist | Publish)
        ]
        assert keys == [b"sequence", b"publish"]


@pytest.mark.parametrize("ahead_ms", [0, 3_000, CLOCK_SKEW_MS_MAX])
def test_watermark__is_written_once_a_step_whatever_a_peers_clock_says(ahead_ms: int) -> None:
    bench, others = requester(1)
    written = 0
    for step in range(40):
        beacon = Beacon(b"t" * 16, 0, step, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2)
        effects = bench.hear(others[0], beacon, issued_ms=bench.wall_ms + ahead_ms)
        written += sum(isinstance(effect, Persist) and effect.key == b"watermark" for effect in effects)
        bench.wait(100)
    assert 1 <= written <= 40 * 100 // WATERMARK_STEP_MS + 1


def restarted(bench: Bench, after_ms: int = 2_000, skills: tuple[str, ...] = ()) -> Bench:
    rows = [(table, key, value) for (table, key), value in sorted(bench.disk.items())]
    return Bench(skills, rows, bench.wall_ms + after_ms)


def test_restart__keeps_evidence_and_raises_the_sequence() -> None:
    bench, others = requester()
    again = restarted(bench)
    for peer in others:
        known = bench.core.counts(peer.public_key, "arith", bench.wall_ms)
        assert known.any
        assert again.core.counts(peer.public_key, "arith", bench.wall_ms) == known
    assert again.core.own_record.sequence > bench.core.own_record.sequence
    # Even if the clock went back meanwhile.
    back = restarted(bench, -3_600_000)
    assert back.core.own_record.sequence > bench.core.own_record.sequence


def test_restart__refuses_what_was_handled_before_it() -> None:
    bench = Bench(("arith",))
    bench.meet(STRANGER)
    data = bench.sealed(STRANGER, Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2))
    assert len(sent(bench.step(MessageReceived(None, data)), Bid)) == 1
    again = restarted(bench, skills=("arith",))
    again.meet(STRANGER)
    assert not sent(again.step(MessageReceived(None, data)), Bid)
    assert again.core.rejected["replay"] == 1


def test_restart__holds_a_question_until_bids_are_no_longer_taken_for_replays() -> None:
    bench, others = requester()
    bench.bids(asked(bench), others[:1])
    again = restarted(bench, after_ms=1)
    for peer in others:
        again.join(peer)
    assert not sent(again.ask(QUESTION), Beacon)
    (beacon,) = sent(again.wait(WATERMARK_STEP_MS + 1), Beacon)
    again.bids(beacon, others)
    assert len(sent(again.effects, Award)) == SEATS_DEFAULT


def test_restart__with_a_clock_that_went_back_does_not_leave_the_node_deaf() -> None:
    bench = Bench(("arith",))
    offered(bench, STRANGER)
    again = restarted(bench, -3_600_000, ("arith",))
    again.wait(WATERMARK_STEP_MS + 1)
    assert offered(again, STRANGER)


def test_own_bid__closes_the_window_in_the_step_that_opened_it() -> None:
    signer = Bench().signer
    bench = Bench(("arith",), evidence({signer.public_key: 9}))
    effects = bench.ask(QUESTION)
    assert len([effect for effect in effects if isinstance(effect, Infer)]) == 1
    bench.step(inferred(effects, f"answer: {GOLD}"))
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.answer, outcome.latency_ms) == (GOLD, 0)


@pytest.mark.parametrize(
    "row",
    [("node", b"watermark", b"x"), ("node", b"sequence", b""), ("node", b"sequence", b"-5"), ("evidence", b"k", b"\xff")],
)
def test_damaged_disk__is_our_own_error(row: tuple[str, bytes, bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        Bench(restored=[row])


@settings(max_examples=40)
@given(st.binary(max_size=60))
def test_damaged_peer_on_disk__is_ignored(value: bytes) -> None:
    assert Bench(restored=[("peers", b"p" * 32, value)]).core.candidates("arith") == []
