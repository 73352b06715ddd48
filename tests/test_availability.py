"""Pause and caps in a running core: the record says so, no bid, awards on their way are declined, leases finish."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.reports import availability_json
from protocol.allowance import CLOSED_MS_MIN, HOUR_MS, SLOTS, Caps
from protocol.ballot import Commit
from protocol.capability import Record
from protocol.errors import LocalProtocolError
from protocol.events import Effect, EffectDone, Infer, InferenceResult, Instant, ModelChanged, Paused, PeerConnected, PeerLost
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Beacon, Bid, Decline
from tests.core_bench import STRANGER, answer, asked, awarded, holder, newer, offered, requester
from tests.support import Bench, evidence, inferred, peers, sent

BEACON = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2)


def capped(requests: int = 0, tokens: int = 0) -> Bench:
    return Bench(("arith",), caps=Caps(requests, tokens))


def restarted(bench: Bench, caps: Caps | None = None) -> Bench:
    rows = [(table, key, value) for (table, key), value in sorted(bench.disk.items())]
    return Bench(("arith",), restored=rows, wall_ms=bench.wall_ms, caps=caps or Caps())


def met(bench: Bench) -> KeySigner:
    """The stranger, connected: only such a one is heard."""
    if not bench.core.peers.is_connected(STRANGER.public_key):
        bench.meet(STRANGER)
    return STRANGER


def told(bench: Bench) -> list[bool]:
    """The availability in each record that was published."""
    return [body.available for _, body in sent(bench.effects, Record)]


# --- Pause


def test_pause__is_told_at_once_and_once() -> None:
    bench = Bench(("arith",))
    assert [body.available for _, body in sent(bench.step(Paused(paused=True)), Record)] == [False]
    assert not sent(bench.step(Paused(paused=True)), Record)
    assert [body.available for _, body in sent(bench.step(Paused(paused=False)), Record)] == [True]
    assert not sent(bench.step(Paused(paused=False)), Record)


def test_pause__bids_no_more_and_declines_the_award_that_was_on_its_way() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    bench.step(Paused(paused=True))
    effects = bench.hear(STRANGER, award)
    assert [body.reason for _, body in sent(effects, Decline)] == ["paused"]
    assert not [effect for effect in effects if isinstance(effect, Infer)]
    assert not sent(bench.hear(met(bench), replace(BEACON, step=1)), Bid)
    bench.step(Paused(paused=False))
    assert sent(bench.hear(met(bench), replace(BEACON, step=2)), Bid)


def test_pause__lets_a_lease_at_work_finish() -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    bench.step(Paused(paused=True))
    assert sent(bench.step(inferred(effects, "answer: 4")), Commit)


def test_pause__outlives_a_restart_and_no_record_says_otherwise() -> None:
    bench = Bench(("arith",))
    bench.step(Paused(paused=True))
    again = restarted(bench)
    again.step(PeerConnected(STRANGER.public_key))
    assert set(told(again)) == {False}
    again.step(Paused(paused=False))
    assert set(told(restarted(again))) == {True}


def test_pause__and_a_lost_model_are_two_reasons() -> None:
    bench = Bench(("arith",))
    bench.step(ModelChanged(available=False, tokens_per_s=0))
    bench.step(Paused(paused=True))
    bench.step(ModelChanged(available=True, tokens_per_s=9))
    assert not bench.core.own_record.available
    bench.step(Paused(paused=False))
    assert bench.core.own_record.available


@pytest.mark.parametrize(
    ("model", "connected", "reasons"),
    [(True, True, []), (True, False, ["no peers"]), (False, True, ["no model"]), (False, False, ["no model", "no peers"])],
)
def test_status__is_available_where_there_is_no_reason_against_it(
    model: bool,  # noqa: FBT001 - pytest passes it
    connected: bool,  # noqa: FBT001 - pytest passes it
    reasons: list[str],
) -> None:
    bench = Bench(("arith",))
    shown = availability_json(bench.core, model=model, connected=connected, now=Instant(0, 0))
    assert (shown["available"], shown["reasons"]) == (not reasons, reasons)
    bench.step(Paused(paused=True))
    shown = availability_json(bench.core, model=model, connected=connected, now=Instant(0, 0))
    assert (shown["available"], "paused" in shown["reasons"]) == (False, True)


def test_pause__does_not_stop_the_owners_questions() -> None:
    bench, others = requester()
    bench.step(Paused(paused=True))
    _, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others)
    assert bench.outcome("".join({award[1].question for award in awards})) is not None


def test_pause__keeps_the_own_model_out_of_the_owners_questions() -> None:
    bench = Bench(("arith",))
    assert bench.core.candidates("arith") == [bench.core.me]
    bench.step(Paused(paused=True))
    assert bench.core.candidates("arith") == []


def test_damaged_pause__is_told() -> None:
    with pytest.raises(LocalProtocolError, match="damaged"):
        Bench(restored=[("node", b"paused", b"yes")])


# --- Caps


def test_cap__that_is_reached_is_told_with_no_bid_until_the_window_has_moved_on() -> None:
    bench = capped(requests=2)
    for step in range(2):
        bench.hear(STRANGER, offered(bench, STRANGER, step=step)[0])
    assert told(bench)[-1] is False
    assert not sent(bench.hear(met(bench), replace(BEACON, step=7)), Bid)
    effects = bench.wait(HOUR_MS + HOUR_MS // SLOTS)
    assert [body.available for _, body in sent(effects, Record)][-1] is True
    assert sent(bench.hear(met(bench), replace(BEACON, step=8)), Bid)


def test_cap__declines_an_award_that_no_longer_fits() -> None:
    bench = capped(requests=1)
    awards = [offered(bench, STRANGER, step=step)[0] for step in range(3)]
    effects = [effect for award in awards for effect in bench.hear(STRANGER, award)]
    assert len(sent(effects, Accept)) == 1
    assert [body.reason for _, body in sent(effects, Decline)] == ["cap", "cap"]


def test_cap__on_tokens_counts_what_the_model_wrote() -> None:
    bench = capped(tokens=4_096)
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    assert bench.core.availability.allowance.tokens.taken == 256
    bench.step(inferred(effects, "answer: 4"))
    assert bench.core.availability.allowance.tokens.taken == 30


def test_cap__is_not_reset_by_a_restart_and_the_award_was_written_down_before_it_was_accepted() -> None:
    bench = capped(requests=1)
    bench.hear(STRANGER, offered(bench, STRANGER)[0])
    again = restarted(bench, Caps(requests_per_hour=1))
    assert set(told(again)) == {False}
    assert not sent(again.hear(met(again), replace(BEACON, step=1)), Bid)


def test_cap__does_not_count_the_owners_own_questions() -> None:
    # It needs no audits any more, so its model is free for the question.
    known = evidence({Bench().core.me: 9})
    bench = Bench(("arith",), restored=known, caps=Caps(requests_per_hour=1))
    bench.step(inferred(bench.hear(STRANGER, offered(bench, STRANGER)[0]), "answer: 4"))
    assert bench.core.own_record.available is False
    assert bench.core.candidates("arith") == [bench.core.me]
    effects = bench.ask("What is 2 + 2?", skill="arith") + bench.wait(3_000)
    assert [effect.question for effect in effects if isinstance(effect, Infer)].count("What is 2 + 2?") == 1
    assert bench.core.availability.allowance.requests.taken == 1


def test_cap__near_its_end_publishes_no_record_for_each_result() -> None:
    bench, working = capped(tokens=4_096), list[Effect]()
    for number in range(15):
        asker = peers(1, f"asker {number}")[0]
        working += bench.hear(asker, offered(bench, asker)[0])
    assert told(bench)[-1] is False
    for _ in range(15):
        working = bench.step(inferred(working, "answer: 4"))
        assert not sent(working, Record)
    assert [body.available for _, body in sent(bench.wait(CLOSED_MS_MIN), Record)] == [True]


def test_cap__gives_back_the_tokens_of_a_lease_that_the_model_never_began() -> None:
    bench = capped(tokens=4_096)
    first, second = peers(2, "asker")
    bench.hear(first, offered(bench, first)[0])
    bench.hear(second, offered(bench, second)[0])
    bench.step(PeerLost(second.public_key))
    assert bench.core.availability.allowance.tokens.taken == 256
    bench.step(PeerLost(first.public_key))
    assert bench.core.availability.allowance.tokens.taken == 256


@given(
    steps=st.lists(st.sampled_from(["award", "pause", "resume", "done", "fail", "lose", "back", "wait"]), max_size=40),
    requests=st.integers(0, 3),
    tokens=st.sampled_from([0, 4_096]),
)
@settings(max_examples=60)
def test_award__that_follows_a_bid_gets_one_accept_or_one_decline(steps: list[str], requests: int, tokens: int) -> None:
    bench, working = capped(requests, tokens), list[int]()
    for number, what in enumerate(steps):
        asker = peers(1, f"asker {number}")[0]
        if what == "award":
            bench.meet(asker)
            effects = bench.hear(asker, replace(BEACON, task=number.to_bytes(16)))
            if not sent(effects, Bid):
                assert not bench.core.own_record.available
                continue
            award, _ = offered(bench, asker)
            if number % 3 == 0:
                bench.step(Paused(paused=True))
            if number % 5 == 0:
                bench.step(ModelChanged(available=False, tokens_per_s=0))
            effects = bench.hear(asker, award)
            assert len(sent(effects, Accept)) + len(sent(effects, Decline)) == 1
            working += [effect.effect for effect in effects if isinstance(effect, Infer)]
        elif what in ("pause", "resume"):
            bench.step(Paused(paused=what == "pause"))
        elif what in ("done", "fail") and working:
            result = InferenceResult("answer: 4", 9, 100, 5) if what == "done" else None
            bench.step(EffectDone(working.pop(0), None if result else "died", result))
        elif what in ("lose", "back"):
            bench.step(ModelChanged(available=what == "back", tokens_per_s=1))
        elif what == "wait":
            bench.wait(1_000)


# --- Seen by a requester


def unavailable(bench: Bench, peer: KeySigner) -> None:
    """Hear the record of a peer that has been paused."""
    known = bench.core.peers.get(peer.public_key)
    assert known is not None
    assert known.record is not None
    bench.hear(peer, replace(newer(known.record, known.record.sequence + 1), available=False))


def test_unavailable_peer__is_no_candidate_and_nobody_waits_for_its_bid() -> None:
    bench, others = requester(4)
    beacon = asked(bench)
    unavailable(bench, others[0])
    assert others[0].public_key not in bench.core.candidates("arith")
    mark = len(bench.effects)
    bench.bids(beacon, others[1:])
    assert len(sent(bench.effects[mark:], Award)) == 3


@pytest.mark.parametrize("reason", ["paused", "cap", "busy"])
def test_decline__gives_the_seat_to_the_next_bid_at_once(reason: str) -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    body = awards[0][1]
    effects = bench.hear(holder(awards[0], others), Decline(body.task, 0, 0, awards[0][0].id, reason))
    ((_, second),) = sent(effects, Award)
    assert second.seat == body.seat


@pytest.mark.parametrize("reason", ["paused", "cap"])
def test_decline__of_an_audit_is_no_miss_and_leaves_the_peer_alone_a_while(reason: str) -> None:
    peer = peers(1)[0]
    bench = Bench()
    bench.join(peer)
    bench.ask("What is 2 + 2?", skill="arith")
    beacons = sent(bench.effects, Beacon)
    assert beacons
    mark = len(bench.effects)
    for beacon in beacons:
        bench.bids(beacon, [peer])
    for envelope, body in sent(bench.effects[mark:], Award):
        bench.hear(peer, Decline(body.task, 0, 0, envelope.id, reason))
    counts = bench.core.counts(peer.public_key, "arith", bench.wall_ms)
    assert (counts.hits, counts.misses) == (0, 0)
    assert peer.public_key not in bench.core.audits.needy("arith")
