"""The requester's beacon, the bids on it and the award."""

from __future__ import annotations

from dataclasses import replace

from protocol.constants import (
    BIDS_MAX,
    LIFETIME_MS_MAX,
    SEATS_DEFAULT,
    WINDOW_MS_MAX,
    WINDOW_MS_MIN,
)
from protocol.envelope import seal
from protocol.events import (
    MessageReceived,
    PeerLost,
    Publish,
)
from protocol.messages import (
    Award,
    Bid,
    BidAck,
    input_hash,
)
from protocol.outcome import OutcomeKind
from tests.core_bench import GOLD, QUESTION, STRANGER, answer, asked, awarded, holder, requester
from tests.support import (
    PARAMETERS,
    WALL_MS,
    Bench,
    bid_on,
    evidence,
    exercise,
    peers,
    sent,
)

# --- Requester: beacon and bids


def test_beacon__binds_the_question_without_showing_it() -> None:
    bench, others = requester()
    beacon, awards = awarded(bench, others)
    (data,) = [e.data for e in bench.effects if isinstance(e, Publish) and e.topic == "beacons"]
    assert QUESTION.encode() not in data
    assert beacon[1].skill == "arith"
    for _, award in awards:
        assert award.question == QUESTION
        assert input_hash(award.nonce, award.question, "number", beacon[1].tokens_max) == beacon[1].input_hash


def test_window__closes_with_the_last_expected_bid_and_not_by_a_fixed_wait() -> None:
    bench, others = requester(SEATS_DEFAULT)
    beacon = asked(bench)
    bench.bids(beacon, others[:-1])
    assert not sent(bench.effects, Award)
    last = bench.hear(others[-1], bid_on(beacon))
    assert len(sent(last, BidAck)) == 1
    assert {envelope.to for envelope, _ in sent(last, Award)} == {peer.public_key for peer in others}


def test_window__closes_at_its_minimum_with_enough_evidenced_bids() -> None:
    others = peers(6)
    bench = Bench(restored=evidence({peer.public_key: 10 if peer in others[:3] else 5 for peer in others}))
    for peer in others:
        bench.join(peer)
    beacon = asked(bench)
    bench.bids(beacon, others[2:5])
    assert not sent(bench.wait(WINDOW_MS_MIN - 1), Award)
    assert sent(bench.wait(1), Award), "whether the gate gives it to one alone or not"


def test_window__ends_with_too_few_bids_as_well() -> None:
    bench, others = requester()
    bench.bids(asked(bench), others[:1])
    assert not sent(bench.wait(WINDOW_MS_MAX - 1), Award)
    assert len(sent(bench.wait(1), Award)) == 1


def test_bid__is_acknowledged_once_and_counts_once() -> None:
    bench, others = requester()
    beacon = asked(bench)
    first = bench.hear(others[0], bid_on(beacon))
    ((_, ack),) = sent(first, BidAck)
    assert ack.bid != beacon[0].id
    for queued in range(1, 9):
        assert not sent(bench.hear(others[0], bid_on(beacon, queued)), BidAck)
    assert bench.core.rejected["repeated"] == 8
    awards = sent(bench.wait(WINDOW_MS_MAX), Award)
    assert [award[0].to for award in awards] == [others[0].public_key]


def test_bid__in_the_name_of_another_is_refused() -> None:
    bench, others = requester()
    beacon = asked(bench)

    class Forger:
        public_key = others[0].public_key
        sign = STRANGER.sign

    data = seal(Forger(), PARAMETERS.network, Bid.TYPE, bench.core.me, bid_on(beacon).body(), WALL_MS, LIFETIME_MS_MAX)
    assert not sent(bench.step(MessageReceived(STRANGER.public_key, data)), BidAck)
    assert bench.core.rejected["signature"] == 1
    assert sent(bench.hear(others[0], bid_on(beacon)), BidAck)


def test_bid__for_another_beacon_or_an_ended_task_is_refused() -> None:
    bench, others = requester()
    beacon, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others)
    late = peers(1, "late")[0]
    other = asked(bench, exercise("arith", 8).text)
    crossed = replace(bid_on(beacon), task=other[1].task)
    for bid in (bid_on(beacon), crossed, replace(bid_on(other), step=1), replace(bid_on(other), plan=1)):
        assert not sent(bench.hear(late, bid), BidAck)
    assert bench.core.rejected["late"] == 4


def test_bid__after_the_window_gets_the_seat_that_fails() -> None:
    bench, others = requester(6)
    beacon, mark = asked(bench), len(bench.effects)
    # Of equals the three smaller keys are awaited: the window closes on them and the others come after it.
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    assert {envelope.to for envelope, _ in awards} == {peer.public_key for peer in others[:3]}
    # Who is not in the view that the awards name was promised nothing.
    assert {envelope.to for envelope, _ in sent(bench.effects[mark:], BidAck)} == {peer.public_key for peer in others[:3]}
    bench.step(PeerLost(others[4].public_key))
    seen, again = {award.view for _, award in awards}, []
    for peer in others[:3]:
        again += sent(bench.step(PeerLost(peer.public_key)), Award)
    assert {envelope.to for envelope, _ in again} == {others[3].public_key, others[5].public_key}
    # It was ranked by another view, with all six bids, and says so.
    assert not seen & {award.view for _, award in again}
    for award in again:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer, len(outcome.bids)) == (OutcomeKind.ANSWERED, GOLD, 6)
    assert outcome.view == again[-1][1].view


def test_view__keeps_the_evidence_of_who_was_ranked_before() -> None:
    bench, others = requester(6)
    beacon = asked(bench)
    bench.bids(beacon, others)
    awards = sent(bench.effects, Award)
    before = bench.core.counts(others[0].public_key, "arith", bench.wall_ms).weight(10)
    for _ in range(9):
        bench.core.evidence.add(others[0].public_key, "arith", "miss", bench.wall_ms)
    awards += sent(bench.step(PeerLost(others[2].public_key)), Award)
    for award in awards:
        if holder(award, others) is not others[2]:
            answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    weights = {report.peer: report.weight for report in outcome.bids}
    assert weights[others[0].public_key] == before
    assert all(weights[report.peer] == report.weight for report in outcome.seats if report.state == "answered")


def test_bids__are_bounded_and_a_swarm_does_not_shut_out_who_earned_a_weight() -> None:
    bench, others = requester(SEATS_DEFAULT + 1)
    beacon, mark = asked(bench), len(bench.effects)
    bench.bids(beacon, peers(BIDS_MAX, "swarm"))
    assert bench.core.rejected["limit"] == BIDS_MAX // 2
    bench.bids(beacon, others[1:])
    bench.wait(WINDOW_MS_MAX)
    awards = sent(bench.effects[mark:], Award)
    assert {envelope.to for envelope, _ in awards} == {peer.public_key for peer in others[1:]}


def test_award__passes_over_who_left_after_bidding() -> None:
    bench, others = requester(4)
    beacon = asked(bench)
    bench.bids(beacon, others[1:])
    bench.step(PeerLost(others[1].public_key))
    awards = sent(bench.hear(others[0], bid_on(beacon)), Award)
    assert {envelope.to for envelope, _ in awards} == {others[number].public_key for number in (0, 2, 3)}
    for number in (0, 2, 3):
        answer(bench, next(award for award in awards if holder(award, others) is others[number]), others)
    # Its bid was acknowledged, so the view holds it all the same.
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert {report.peer for report in outcome.bids if not report.late} == {peer.public_key for peer in others}
