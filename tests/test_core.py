"""One core, driven by hand: what it sends for what it hears, and that nothing a peer sends moves what is not its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.canonical import Value
from protocol.capability import Record
from protocol.constants import (
    ACCEPT_MS_MAX,
    BIDS_MAX,
    CALIBRATION_MS_MAX,
    CLOCK_SKEW_MS_MAX,
    DEADLINE_MS_MAX,
    DIAL_BACKOFF_MS_MAX,
    DIAL_BACKOFF_MS_MIN,
    LEASE_MS,
    LEASES_MAX,
    LIFETIME_MS_MAX,
    PROGRESS_SHARE,
    QUESTION_SIZE_MAX,
    RECORD_REFRESH_MS,
    RESULT_TEXT_SIZE_MAX,
    SEATS_DEFAULT,
    TASKS_MAX,
    WATERMARK_STEP_MS,
    WINDOW_MS_MAX,
    WINDOW_MS_MIN,
)
from protocol.envelope import Envelope, seal
from protocol.errors import LocalProtocolError
from protocol.events import (
    AuditsWanted,
    CancelInference,
    Deliver,
    Dial,
    Effect,
    EffectDone,
    Infer,
    InferenceResult,
    MessageReceived,
    ModelChanged,
    PeerConnected,
    PeerLost,
    Persist,
    Publish,
    RequestMade,
    Send,
    TimerFired,
)
from protocol.evidence import EvidenceBook
from protocol.identity import KeySigner
from protocol.messages import (
    DIRECT,
    Accept,
    Award,
    Beacon,
    Bid,
    BidAck,
    Cancel,
    Decline,
    Progress,
    Result,
    input_hash,
)
from protocol.outcome import OutcomeKind
from protocol.schema import Message
from tests.support import (
    PARAMETERS,
    WALL_MS,
    Bench,
    bid_on,
    evidence,
    exercise,
    inferred,
    parse,
    peers,
    record,
    request_id,
    result_of,
    sent,
)
from tests.test_exercises import solve_arith

QUESTION = exercise("arith", 3).text
GOLD = exercise("arith", 3).gold
STRANGER = peers(1, "stranger")[0]


def requester(count: int = 5, hits: int = 9) -> tuple[Bench, list[KeySigner]]:
    """A core that knows `count` connected peers well enough to want no audits; it has no model itself."""
    others = peers(count)
    bench = Bench(restored=evidence({peer.public_key: hits for peer in others}))
    for peer in others:
        bench.join(peer)
    return bench, others


def asked(bench: Bench, text: str = QUESTION, deadline_ms: int | None = None) -> tuple[Envelope, Beacon]:
    (beacon,) = sent(bench.ask(text, deadline_ms=deadline_ms), Beacon)
    return beacon


def awarded(bench: Bench, others: list[KeySigner]) -> tuple[tuple[Envelope, Beacon], list[tuple[Envelope, Award]]]:
    """Ask, let everyone bid, and give the beacon and the awards."""
    beacon, mark = asked(bench), len(bench.effects)
    # Of equals the smaller keys are awaited, so nobody is too late when they bid last.
    bench.bids(beacon, others[::-1])
    return beacon, sent(bench.effects[mark:], Award)


def holder(award: tuple[Envelope, Award], others: list[KeySigner]) -> KeySigner:
    return next(peer for peer in others if peer.public_key == award[0].to)


def accept(bench: Bench, award: tuple[Envelope, Award], others: list[KeySigner]) -> list[Effect]:
    body = award[1]
    return bench.hear(holder(award, others), Accept(body.task, body.plan, body.step, award[0].id))


def answer(bench: Bench, award: tuple[Envelope, Award], others: list[KeySigner], text: str = f"answer: {GOLD}") -> list[Effect]:
    return bench.hear(holder(award, others), result_of(award, text))


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
    assert len(sent(bench.wait(1), Award)) == SEATS_DEFAULT


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
    assert len(sent(bench.effects[mark:], BidAck)) == 6
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


# --- Requester: leases


def test_results__are_voted_when_the_last_one_is_there() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    for award in awards:
        assert bench.outcome(QUESTION) is None
        accept(bench, award, others)
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer, outcome.voted) == (OutcomeKind.ANSWERED, GOLD, True)
    assert [report.state for report in outcome.seats] == ["answered"] * SEATS_DEFAULT
    assert outcome.tally is not None
    assert outcome.tally.margin == 1_000
    assert bench.core.tasks == 0


def test_accept__that_never_comes_gives_the_seat_to_the_next_bid() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    for award in awards[1:]:
        accept(bench, award, others)
    assert not sent(bench.wait(ACCEPT_MS_MAX - 1), Award)
    effects = bench.wait(1)
    ((cancelled, cancel),) = sent(effects, Cancel)
    ((_, again),) = sent(effects, Award)
    assert (cancelled.to, cancel.award) == (awards[0][0].to, awards[0][0].id)
    assert again.seat == awards[0][1].seat
    # The first holder's lease is gone: what it still sends counts for nothing.
    accept(bench, awards[0], others)
    answer(bench, awards[0], others, "answer: 1")
    assert bench.core.rejected["state"] == 2


def test_lease__lives_while_progress_comes_and_no_longer() -> None:
    bench, others = requester(SEATS_DEFAULT)
    _, awards = awarded(bench, others)
    for award in awards:
        accept(bench, award, others)
    body = awards[0][1]
    progress = Progress(body.task, body.plan, body.step, awards[0][0].id)
    for award in awards[1:]:
        answer(bench, award, others)
    for _ in range(5):
        assert not sent(bench.wait(LEASE_MS - 1), Cancel)
        bench.hear(holder(awards[0], others), progress)
    assert len(sent(bench.wait(LEASE_MS), Cancel)) == 1
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert [report.state for report in outcome.seats] == ["answered", "answered", "lease expired"]


def test_decline__gives_the_seat_to_the_next_bid() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    body = awards[0][1]
    effects = bench.hear(holder(awards[0], others), Decline(body.task, 0, 0, awards[0][0].id, "busy"))
    ((envelope, again),) = sent(effects, Award)
    assert again.seat == body.seat
    assert envelope.to not in {award[0].to for award in awards}


def test_lost_peer__gives_the_seat_to_the_next_bid_at_once() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    accept(bench, awards[0], others)
    effects = bench.step(PeerLost(holder(awards[0], others).public_key))
    assert len(sent(effects, Award)) == 1


def test_lost_reserve__is_not_offered_a_seat() -> None:
    bench, others = requester(4)
    _, awards = awarded(bench, others)
    (reserve,) = [peer for peer in others if peer.public_key not in {award[0].to for award in awards}]
    bench.step(PeerLost(reserve.public_key))
    assert not sent(bench.step(PeerLost(holder(awards[0], others).public_key)), Award)


def test_all_failed__is_an_outcome() -> None:
    bench, others = requester()
    awarded(bench, others)
    for peer in others:
        bench.step(PeerLost(peer.public_key))
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ALL_FAILED, None)
    assert [report.state for report in outcome.seats] == ["connection lost"] * len(outcome.seats)
    assert len(outcome.seats) >= SEATS_DEFAULT


def test_all_abstained__is_all_failed() -> None:
    bench, others = requester()
    for award in awarded(bench, others)[1]:
        answer(bench, award, others, "I do not know")
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ALL_FAILED, None)
    assert {report.state for report in outcome.seats} == {"abstained"}


def test_no_candidates__is_no_bids_at_the_windows_end() -> None:
    bench = Bench()
    bench.ask(QUESTION)
    bench.wait(WINDOW_MS_MAX - 1)
    assert bench.outcome(QUESTION) is None
    bench.wait(1)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.NO_BIDS


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_deadline__ends_with_what_there_is(answers: int) -> None:
    bench, others = requester()
    beacon = asked(bench, deadline_ms=4_000)
    bench.bids(beacon, others)
    awards = sent(bench.effects, Award)
    for award in awards:
        accept(bench, award, others)
    for award in awards[:answers]:
        answer(bench, award, others)
    assert bench.outcome(QUESTION) is None
    cancels = sent(bench.wait(4_000), Cancel)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.kind is (OutcomeKind.ANSWERED if answers else OutcomeKind.DEADLINE)
    assert outcome.latency_ms == 4_000
    assert len(cancels) == SEATS_DEFAULT - answers


def test_unearned__is_said_when_no_voter_has_a_weight() -> None:
    bench, others = requester(hits=0)
    for award in awarded(bench, others)[1]:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.UNEARNED, GOLD)


def test_deadline__shorter_than_the_calibration_is_kept() -> None:
    others = peers(2)
    bench = Bench()
    for peer in others:
        bench.join(peer)
    bench.ask(QUESTION, deadline_ms=CALIBRATION_MS_MAX // 3)
    bench.wait(CALIBRATION_MS_MAX // 3)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.latency_ms) == (OutcomeKind.DEADLINE, CALIBRATION_MS_MAX // 3)


def test_free_text__is_one_seat_of_the_most_trusted_and_not_voted() -> None:
    others = peers(4)
    bench = Bench(restored=evidence({peer.public_key: 5 + number for number, peer in enumerate(others)}))
    for peer in others:
        bench.join(peer)
    text = "write a haiku"
    beacon, mark = asked(bench, text), len(bench.effects)
    bench.bids(beacon, others)
    (award,) = sent(bench.effects[mark:], Award)
    assert award[0].to == others[3].public_key
    answer(bench, award, others, "  An old silent pond\nA frog jumps  ")
    outcome = bench.outcome(text)
    assert outcome is not None
    assert (outcome.kind, outcome.voted, outcome.tally) == (OutcomeKind.ANSWERED, False, None)
    assert outcome.answer == "An old silent pond\nA frog jumps"


def test_free_text__goes_to_the_next_when_the_first_wrote_nothing() -> None:
    bench, others = requester()
    beacon = asked(bench, "write a haiku")
    bench.bids(beacon, others)
    (award,) = sent(bench.effects, Award)
    (again,) = sent(answer(bench, award, others, "  "), Award)
    answer(bench, again, others, "a long poem " * 1_000)
    outcome = bench.outcome("write a haiku")
    assert outcome is not None
    assert outcome.answer is not None
    assert outcome.answer.startswith("a long poem")


# --- Requester: what is not the sender's own


def test_result__of_a_peer_without_a_lease_counts_for_nothing() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    reserve = next(peer for peer in others if peer.public_key not in {award[0].to for award in awards})
    for peer in (STRANGER, reserve, holder(awards[1], others)):
        bench.hear(peer, result_of(awards[0], "answer: 1"))
    assert bench.core.rejected["impostor"] == 3
    bench.hear(STRANGER, replace(result_of(awards[0], "answer: 1"), award=bytes(32)))
    assert bench.core.rejected["late"] == 1
    for award in awards:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.answer == GOLD
    assert outcome.tally is not None
    assert [answer for answer, _ in outcome.tally.support] == [GOLD]


def test_second_result__of_one_lease_counts_for_nothing() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    answer(bench, awards[0], others)
    answer(bench, awards[0], others, "answer: 1")
    body = awards[0][1]
    assert not sent(bench.hear(holder(awards[0], others), Decline(body.task, 0, 0, awards[0][0].id, "busy")), Award)
    assert bench.core.rejected["state"] == 2


def test_late_result__of_an_ended_task_does_nothing() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others)
    before = bench.outcome(QUESTION)
    other = asked(bench, exercise("arith", 9).text)
    effects = answer(bench, awards[0], others, "answer: 1")
    assert not [effect for effect in effects if isinstance(effect, Send | Publish | Deliver)]
    assert bench.core.rejected["late"] == 1
    # Nor does it count for the task that came next.
    crossed = replace(result_of(awards[0], "answer: 1"), task=other[1].task)
    bench.hear(holder(awards[0], others), crossed)
    assert bench.core.rejected["late"] == 2
    assert bench.outcome(QUESTION) == before


def test_two_tasks__never_mix_whatever_their_bidders_cross() -> None:
    bench, others = requester()
    texts = [exercise("arith", seed) for seed in (21, 22, 23, 24)]
    beacons = [asked(bench, text.text) for text in texts]
    assert len({beacon[1].task for beacon in beacons}) == len(texts)
    for peer in reversed(others):
        for beacon in beacons:
            for wrong in beacons:
                if wrong is not beacon:
                    bench.hear(peer, replace(bid_on(wrong), task=beacon[1].task))
            bench.hear(peer, bid_on(beacon))
    awards = sent(bench.effects, Award)
    assert len(awards) == len(texts) * SEATS_DEFAULT
    by_question = {text.text: text.gold for text in texts}
    for award in reversed(awards):
        for other in awards:
            if other[1].task != award[1].task:
                bench.hear(holder(award, others), replace(result_of(award, "answer: 77777"), task=other[1].task))
        answer(bench, award, others, f"answer: {by_question[award[1].question]}")
    for text in texts:
        outcome = bench.outcome(text.text)
        assert outcome is not None
        assert outcome.answer == text.gold
        assert outcome.tally is not None
        assert outcome.tally.support[0][0] == text.gold
        assert len(outcome.tally.support) == 1
        assert len(outcome.bids) == len(others)


# --- Questions


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "x" * (QUESTION_SIZE_MAX + 1), "é" * (QUESTION_SIZE_MAX // 2 + 1), "x" * 1_000_000, "\ud800", "a\udfffb"],
    ids=lambda text: ascii(text[:8]) + str(len(text)),
)
@pytest.mark.parametrize("skill", [None, "arith", "general"])
def test_question__that_cannot_be_sent_is_refused_at_once(text: str, skill: str | None) -> None:
    bench, _ = requester(1)
    with pytest.raises(LocalProtocolError):
        bench.ask(text, skill)
    assert bench.core.tasks == 0
    bench.wait(5_000)
    assert bench.outcome(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "x" * QUESTION_SIZE_MAX,
        "é" * (QUESTION_SIZE_MAX // 2),
        "\x00",
        "a\x00b",
        "<|user|>",
        "</s>[INST]",
        "answer: 5",
        "\u202e5",
    ],
    ids=lambda text: ascii(text[:8]) + str(len(text)),
)
@pytest.mark.parametrize("skill", [None, "arith"])
def test_question__reaches_the_executor_as_it_is(text: str, skill: str | None) -> None:
    bench, others = requester(1)
    beacon = sent(bench.ask(text, skill), Beacon)[0]
    bench.bids(beacon, others)
    bench.wait(WINDOW_MS_MAX)
    (award,) = sent(bench.effects, Award)
    assert award[1].question == text


@pytest.mark.parametrize("deadline_ms", [0, -1, DEADLINE_MS_MAX + 1])
def test_deadline__outside_its_limits_is_misuse(deadline_ms: int) -> None:
    with pytest.raises(LocalProtocolError):
        Bench().ask(QUESTION, deadline_ms=deadline_ms)


def test_skill__unknown_to_the_network_is_misuse() -> None:
    with pytest.raises(LocalProtocolError, match="arith, lists, general"):
        Bench().ask(QUESTION, skill="poetry")


def test_tasks__are_bounded() -> None:
    bench, _ = requester(1)
    for number in range(TASKS_MAX):
        bench.ask(f"{QUESTION} {number}", skill="arith")
    with pytest.raises(LocalProtocolError):
        bench.ask(QUESTION)


# --- Executor


def offered(bench: Bench, asker: KeySigner, question: str = QUESTION, step: int = 0) -> tuple[Award, list[Effect]]:
    """Send the bench a beacon, take its bid and give the award that would follow, with the effects of the beacon."""
    nonce = b"n" * 32
    beacon = Beacon(b"t" * 16, 0, step, "arith", "number", input_hash(nonce, question, "number", 256), 3, 256, 1_500, 60_000, 1)
    effects = bench.hear(asker, beacon)
    ((bid, body),) = sent(effects, Bid)
    return Award(body.task, 0, step, body.beacon, bid.id, bytes(32), 0, nonce, question, LEASE_MS), effects


def test_executor__bids_accepts_infers_and_sends_the_result() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, award)
    ((_, taken),) = sent(effects, Accept)
    (infer,) = [effect for effect in effects if isinstance(effect, Infer)]
    assert (infer.prompt, infer.tokens_max, infer.deadline_ms) == (QUESTION, 256, 60_000)
    assert bench.core.leases == 1
    ((envelope, result),) = sent(bench.step(EffectDone(infer.effect, result=InferenceResult("answer: 4", 5, 6, 7))), Result)
    assert envelope.to == STRANGER.public_key
    assert (result.award, result.text, result.inference_ms) == (taken.award, "answer: 4", 7)
    assert bench.core.leases == 0


@pytest.mark.parametrize(("skills", "asked_skill"), [((), "arith"), (("lists",), "arith"), ((), "general")])
def test_executor__does_not_bid_on_what_it_does_not_offer(skills: tuple[str, ...], asked_skill: str) -> None:
    bench = Bench(skills)
    beacon = Beacon(b"t" * 16, 0, 0, asked_skill, "number", bytes(32), 3, 256, 1_500, 60_000, 1)
    assert not sent(bench.hear(STRANGER, beacon), Bid)


def test_executor__stops_bidding_when_its_model_is_gone() -> None:
    bench = Bench(("arith",))
    bench.step(ModelChanged(available=False, tokens_per_s=0))
    beacon = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 1)
    assert not sent(bench.hear(STRANGER, beacon), Bid)


def test_busy_executor__bids_and_says_how_busy_it_is() -> None:
    bench = Bench(("arith",))
    for step in range(5):
        award, effects = offered(bench, STRANGER, step=step)
        ((_, bid),) = sent(effects, Bid)
        assert bid.queued == step
        bench.hear(STRANGER, award)


def test_executor__bids_once_however_often_the_beacon_comes() -> None:
    bench = Bench(("arith",))
    data = bench.sealed(STRANGER, Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 1))
    copies = [sent(bench.step(MessageReceived(None, data)), Bid) for _ in range(4)]
    assert [len(found) for found in copies] == [1, 0, 0, 0]
    assert bench.core.rejected["replay"] == 3


@pytest.mark.parametrize(
    "change",
    [{"question": QUESTION + " "}, {"nonce": b"m" * 32}, {"question": "What is 1 + 1?"}],
    ids=["longer", "nonce", "another"],
)
def test_award__with_another_input_than_the_beacon_bound_is_declined(change: dict[str, object]) -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, replace(award, **change))  # type: ignore[arg-type]
    assert [body.reason for _, body in sent(effects, Decline)] == ["input"]
    assert not [effect for effect in effects if isinstance(effect, Infer)]


@pytest.mark.parametrize("change", [{"beacon": bytes(32)}, {"bid": bytes(32)}, {"task": b"u" * 16}, {"step": 1}, {"plan": 1}])
def test_award__that_matches_no_bid_is_not_answered(change: dict[str, object]) -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, replace(award, **change))  # type: ignore[arg-type]
    assert (sent(effects, Decline), sent(effects, Accept)) == ([], [])
    assert bench.core.rejected == {"unknown": 1}


def test_award__from_another_than_the_beacons_author_is_not_answered() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    thief = peers(1, "thief")[0]
    assert sent(bench.hear(thief, award), Decline) == []
    assert len(sent(bench.hear(STRANGER, award), Accept)) == 1


def test_second_award__for_one_bid_is_not_answered() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    bench.hear(STRANGER, award)
    assert sent(bench.hear(STRANGER, replace(award, seat=1)), Accept) == []
    assert bench.core.leases == 1


def test_leases__are_bounded() -> None:
    bench = Bench(("arith",))
    for number in range(LEASES_MAX + 1):
        asker = peers(1, f"asker {number}")[0]
        effects = bench.hear(asker, offered(bench, asker)[0])
    assert [body.reason for _, body in sent(effects, Decline)] == ["busy"]
    assert bench.core.leases == LEASES_MAX


def test_failed_inference__gives_the_lease_back() -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    done = replace(inferred(effects, ""), result=None, error="the worker died")
    assert [body.reason for _, body in sent(bench.step(done), Decline)] == ["model"]
    assert bench.core.leases == 0


def test_progress__is_sent_while_the_model_works() -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    assert len(sent(bench.wait(3 * LEASE_MS // PROGRESS_SHARE), Progress)) == 3
    bench.step(inferred(effects, "answer: 1"))
    assert not sent(bench.wait(3 * LEASE_MS // PROGRESS_SHARE), Progress)


def test_cancel__stops_the_model_for_its_requester_alone() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, award)
    ((_, taken),) = sent(effects, Accept)
    cancel = Cancel(award.task, 0, 0, taken.award)
    other = peers(1, "other")[0]
    assert not [effect for effect in bench.hear(other, cancel) if isinstance(effect, CancelInference)]
    assert len([effect for effect in bench.hear(STRANGER, cancel) if isinstance(effect, CancelInference)]) == 1
    assert bench.core.leases == 0
    # A result that was on its way meets nobody.
    assert not sent(bench.step(inferred(effects, "answer: 1")), Result)


def test_requester_that_left__has_its_inferences_cancelled() -> None:
    bench = Bench(("arith",))
    bench.join(STRANGER)
    bench.hear(STRANGER, offered(bench, STRANGER)[0])
    effects = bench.step(PeerLost(STRANGER.public_key))
    assert len([effect for effect in effects if isinstance(effect, CancelInference)]) == 1


@pytest.mark.parametrize("text", ["y" * RESULT_TEXT_SIZE_MAX, "é" * RESULT_TEXT_SIZE_MAX, "\ud800" * 9, "\x00" * 9])
def test_long_or_odd_output__keeps_its_end_and_its_answer(text: str) -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    ((_, result),) = sent(bench.step(inferred(effects, text + "answer: 42")), Result)
    assert result.text.endswith("answer: 42")
    assert len(result.text.encode()) <= RESULT_TEXT_SIZE_MAX


# --- Peers and records


def newer(own: Record, sequence: int, *addresses: str) -> Record:
    return replace(own, sequence=sequence, addresses=addresses)


def dials(effects: list[Effect]) -> list[Dial]:
    return [effect for effect in effects if isinstance(effect, Dial)]


def test_stale_record__is_ignored() -> None:
    bench = Bench()
    bench.join(STRANGER, newer(record("arith"), 5))
    for sequence in (0, 4, 5):
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


def test_newcomer__is_handed_our_record_and_those_of_others() -> None:
    bench = Bench(("arith",))
    first, second = peers(2)
    bench.join(first, newer(record("lists"), 5))
    effects = bench.step(PeerConnected(second.public_key))
    authors = [envelope.sender for envelope, _ in sent(effects, Record)]
    assert authors == [bench.core.me, first.public_key]
    assert {effect.peer for effect in effects if isinstance(effect, Send)} == {second.public_key}


def test_dial__backs_off_and_starts_again_after_a_connection() -> None:
    bench = Bench()
    bench.hear(STRANGER, newer(record("arith"), 5, "/sim/stranger"))
    wait_ms = 0
    waits: list[int] = []
    for _ in range(9):
        found: list[Dial] = dials(bench.effects)[len(waits) :]
        while not found:
            wait_ms += 1_000
            found = dials(bench.wait(1_000))
        assert found[0].addresses == ("/sim/stranger",)
        waits.append(wait_ms)
        wait_ms = 0
        bench.step(EffectDone(found[0].effect, error="refused"))
    assert waits[1:3] == [DIAL_BACKOFF_MS_MIN, 2 * DIAL_BACKOFF_MS_MIN]
    assert waits[-2:] == [DIAL_BACKOFF_MS_MAX, DIAL_BACKOFF_MS_MAX]
    bench.step(PeerConnected(STRANGER.public_key))
    assert not dials(bench.wait(DIAL_BACKOFF_MS_MAX))
    bench.step(PeerLost(STRANGER.public_key))
    assert len(dials(bench.wait(DIAL_BACKOFF_MS_MIN))) == 1


def test_dial__of_one_pair_starts_from_the_smaller_key() -> None:
    small, large = peers(2)
    bench = Bench()
    effects = []
    for peer in (small, large):
        effects += bench.hear(peer, newer(record("arith"), 5, "/sim/a"))
    assert {dial.peer for dial in dials(effects)} == {
        peer.public_key for peer in (small, large) if bench.core.me < peer.public_key
    }
    later = dials(bench.wait(DIAL_BACKOFF_MS_MIN))
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
        beacon = Beacon(b"t" * 16, 0, step, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 1)
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
    data = bench.sealed(STRANGER, Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 1))
    assert len(sent(bench.step(MessageReceived(None, data)), Bid)) == 1
    again = restarted(bench, skills=("arith",))
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


def test_restart__dials_the_peers_it_knew() -> None:
    bench = Bench()
    bench.hear(STRANGER, newer(record("arith"), 5, "/sim/stranger"))
    again = restarted(bench)
    again.wait(DIAL_BACKOFF_MS_MIN)
    assert [dial.peer for dial in dials(again.effects)] == [STRANGER.public_key]


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


# --- Audits


def test_audit__looks_like_a_question() -> None:
    """Same type, seats, limits and sizes of fields: nothing in beacon or award tells an audit from a task."""
    others = peers(1)
    bench = Bench()
    bench.join(others[0])
    ((_, audit),) = sent(bench.step(AuditsWanted()), Beacon)[:1]
    known, _ = requester(1)
    _, question = asked(known)
    for name in ("plan", "step", "skill", "answer", "seats", "tokens_max", "window_ms", "deadline_ms", "revision"):
        assert getattr(audit, name) == getattr(question, name), name


def test_declared_prior__orders_audits_and_enters_no_weight() -> None:
    modest, boaster = peers(2)
    bench = Bench()
    bench.join(modest, newer(replace(record("arith"), skills={"arith": 1}), 5))
    bench.join(boaster, newer(replace(record("arith"), skills={"arith": 1_000}), 5))
    assert bench.core.audits.needy("arith") == [boaster.public_key, modest.public_key]
    for peer in (modest, boaster):
        assert bench.core.counts(peer.public_key, "arith", WALL_MS).weight(10) == 0
    beacon = sent(bench.ask(QUESTION) + bench.wait(CALIBRATION_MS_MAX), Beacon)[-1]
    bench.bids(beacon, [modest, boaster])
    bench.wait(WINDOW_MS_MAX)
    for award in sent(bench.effects, Award):
        if award[1].task == beacon[1].task:
            answer(bench, award, [modest, boaster])
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert {report.weight for report in outcome.bids} == {0}
    assert outcome.kind is OutcomeKind.UNEARNED


def audited(bench: Bench, others: list[KeySigner]) -> list[tuple[Envelope, Award]]:
    """Start the first audit, let everyone bid on it, and give its awards."""
    beacon = sent(bench.step(AuditsWanted()), Beacon)[0]
    mark = len(bench.effects)
    bench.bids(beacon, others)
    return [award for award in sent(bench.effects[mark:], Award) if award[1].task == beacon[1].task]


def verdicts(bench: Bench, peer: KeySigner) -> tuple[int, int, int]:
    counts = bench.core.counts(peer.public_key, "arith", bench.wall_ms)
    return counts.hits >> 8, counts.misses >> 8, bench.core.evidence.audits(peer.public_key, "arith", bench.wall_ms)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("right", (1, 0, 1)),
        ("wrong", (0, 1, 1)),
        ("abstains", (0, 0, 1)),
        ("model", (0, 1, 1)),
        ("busy", (0, 0, 0)),
        ("lost", (0, 0, 0)),
    ],
)
def test_audit__counts(what: str, expected: tuple[int, int, int]) -> None:
    others = peers(1)
    bench = Bench()
    bench.join(others[0])
    (award,) = audited(bench, others)
    gold = solve_arith(award[1].question)
    if what == "lost":
        bench.step(PeerLost(others[0].public_key))
    elif what in ("model", "busy"):
        bench.hear(others[0], Decline(award[1].task, 0, 0, award[0].id, what))
    else:
        answer(bench, award, others, {"right": f"answer: {gold}", "wrong": "answer: -1", "abstains": "hm"}[what])
    assert verdicts(bench, others[0]) == expected
    # What it counted is on disk in the same step.
    book = EvidenceBook()
    for (table, key), value in bench.disk.items():
        if table == "evidence":
            book.restore(key, value)
    assert book.counts(others[0].public_key, "arith", bench.wall_ms) == bench.core.counts(
        others[0].public_key, "arith", bench.wall_ms
    )


def test_audit__of_a_peer_that_bid_and_left_before_the_award_counts_for_nothing() -> None:
    others = peers(2)
    bench = Bench()
    for peer in others:
        bench.join(peer)
    beacon = sent(bench.step(AuditsWanted()), Beacon)[0]
    bench.hear(others[0], bid_on(beacon))
    bench.step(PeerLost(others[0].public_key))
    bench.wait(WINDOW_MS_MAX + ACCEPT_MS_MAX + LEASE_MS)
    assert verdicts(bench, others[0]) == (0, 0, 0)


# --- Garbage


def live() -> tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]], list[Effect]]:
    """A core with a task whose leases are out and a lease of its own at work."""
    others = peers(4)
    signer = Bench().signer
    rows = evidence({peer.public_key: 9 for peer in others}) + evidence({signer.public_key: 9}, "lists")
    bench = Bench(("lists",), rows)
    for peer in others:
        bench.join(peer)
    _, awards = awarded(bench, others)
    nonce = b"n" * 32
    bound = input_hash(nonce, "sort 2 1", "list", 256)
    beacon = Beacon(b"t" * 16, 0, 0, "lists", "list", bound, 3, 256, 1_500, 60_000, 1)
    ((bid, body),) = sent(bench.hear(STRANGER, beacon), Bid)
    award = Award(body.task, 0, 0, body.beacon, bid.id, bytes(32), 0, nonce, "sort 2 1", LEASE_MS)
    return bench, others, awards, bench.hear(STRANGER, award)


def finish(bench: Bench, others: list[KeySigner], awards: list[tuple[Envelope, Award]], work: list[Effect]) -> None:
    """End both tasks as if nothing had happened and check that nothing had."""
    for award in awards:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)
    assert outcome.tally is not None
    assert outcome.tally.margin == 1_000
    assert len(outcome.seats) == SEATS_DEFAULT
    ((envelope, result),) = sent(bench.step(inferred(work, "answer: 1 2")), Result)
    assert (envelope.to, result.text) == (STRANGER.public_key, "answer: 1 2")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=120), max_size=20))
def test_garbage_bytes__never_raise_and_change_no_outcome(garbage: list[bytes]) -> None:
    bench, others, awards, work = live()
    for data in garbage:
        assert not bench.step(MessageReceived(None, data))
    finish(bench, others, awards, work)


IDS = [bytes(16), b"t" * 16, bytes(32), b"i" * 32]
wire = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | st.text(max_size=8) | st.sampled_from(IDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_signed_garbage__never_raises_and_changes_no_outcome(draw: st.DataObject) -> None:
    """Bodies of every type by a peer with a right key, made of true ids and false ones, none of them its own."""
    bench, others, awards, work = live()
    attacker = peers(1, "attacker")[0]
    award = awards[0][1]
    values = wire | st.sampled_from([awards[0][0].id, award.beacon, award.bid, award.view, award.task])
    kinds: dict[str, type[Message]] = {**DIRECT, "beacon": Beacon, "record": Record}
    for _ in range(draw.draw(st.integers(1, 8))):
        kind = draw.draw(st.sampled_from([*sorted(kinds), "unknown", ""]))
        names = list(kinds[kind].RULES) if kind in kinds else ["a"]
        sensible: dict[str, Value] = {
            "task": awards[0][1].task,
            "plan": 0,
            "step": 0,
            "award": awards[0][0].id,
            "beacon": awards[0][1].beacon,
            "bid": awards[0][1].bid,
            "text": "answer: 1",
            "reason": "busy",
        }
        body: dict[str, Value] = {
            name: sensible[name] if name in sensible and draw.draw(st.booleans()) else draw.draw(values) for name in names
        }
        to = draw.draw(st.sampled_from(["beacons", "records", "elsewhere"]) | st.sampled_from([bench.core.me, bytes(32)]))
        lifetime_ms = draw.draw(st.sampled_from([1, LIFETIME_MS_MAX]))
        issued_ms = bench.wall_ms + draw.draw(st.sampled_from([0, -LIFETIME_MS_MAX, 5_000, 50_000]))
        data = seal(attacker, PARAMETERS.network, kind, to, body, issued_ms, lifetime_ms)
        bench.step(MessageReceived(attacker.public_key, data))
    finish(bench, others, awards, work)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_holder_that_misbehaves__spoils_its_own_seat_alone(draw: st.DataObject) -> None:
    """Any order of lease messages by one holder leaves the other seats, and the outcome, as they would be."""
    bench, others, awards, _ = live()
    body, award_id = awards[0][1], awards[0][0].id
    step = (body.task, 0, 0)
    moves = [
        Accept(*step, award_id),
        Progress(*step, award_id),
        Decline(*step, award_id, "busy"),
        result_of(awards[0], "answer: 1"),
        result_of(awards[0], ""),
        Cancel(*step, award_id),
        BidAck(*step, award_id),
    ]
    for number in draw.draw(st.lists(st.integers(0, len(moves) - 1), max_size=6)):
        bench.wait(draw.draw(st.integers(1, 50)))
        bench.hear(holder(awards[0], others), moves[number])
    for award in sent(bench.effects, Award):
        if award[0].id != award_id:
            answer(bench, award, others)
    bench.wait(ACCEPT_MS_MAX + LEASE_MS)
    for award in sent(bench.effects, Award)[len(awards) :]:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)


def test_driver_events__that_name_nothing_are_ignored() -> None:
    bench = Bench(("arith",))
    for event in (EffectDone(999), EffectDone(999, error="x"), PeerLost(b"q" * 32), TimerFired(), TimerFired()):
        assert not [effect for effect in bench.step(event) if isinstance(effect, Send | Publish | Infer | Deliver)]


def test_request__is_answered_exactly_once_even_if_asked_twice_with_one_text() -> None:
    bench, others = requester()
    ids = [request_id("a"), request_id("b")]
    for identifier in ids:
        (beacon,) = sent(bench.step(RequestMade(identifier, QUESTION)), Beacon)
        bench.bids(beacon, others)
    for award in sent(bench.effects, Award):
        answer(bench, award, others)
    delivered = [effect.request for effect in bench.effects if isinstance(effect, Deliver)]
    assert sorted(delivered) == sorted(ids)


def test_log__holds_neither_question_nor_answer() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others, f"a secret thought\nanswer: {GOLD}")
    logs = [str(effect) for effect in bench.effects if type(effect).__name__ == "Log"]
    assert logs
    assert not [line for line in logs if QUESTION in line or "secret" in line]


def test_parse__opens_everything_the_core_sends() -> None:
    bench, others = requester()
    awarded(bench, others)
    for effect in bench.effects:
        if isinstance(effect, Send | Publish):
            parse(effect.data)


def test_channel__a_peer_speaks_for_itself_alone_but_hands_on_records() -> None:
    bench = Bench()
    relay, author = KeySigner(b"\x21" * 32), KeySigner(b"\x22" * 32)
    bench.step(MessageReceived(relay.public_key, bench.sealed(author, BidAck(bytes(16), 0, 0, bytes(32)))))
    assert bench.core.rejected == {"relayed": 1}
    record = Record(1, {}, "m", 1, "Q8_0", "", 512, 1, 1, available=True, addresses=())
    bench.step(MessageReceived(relay.public_key, bench.sealed(author, record)))
    assert bench.core.peers.get(author.public_key) is not None
    assert bench.core.rejected == {"relayed": 1}
