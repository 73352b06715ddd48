"""The requester's leases: accept, progress, decline, loss, and what is not the sender's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.constants import (
    ACCEPT_MS_MAX,
    CALIBRATION_MS_MAX,
    LEASE_MS,
    SEATS_DEFAULT,
    WINDOW_MS_MAX,
)
from protocol.events import (
    Deliver,
    PeerLost,
    Publish,
    Send,
)
from protocol.messages import (
    Award,
    Cancel,
    Decline,
    Progress,
)
from protocol.outcome import OutcomeKind
from tests.core_bench import GOLD, QUESTION, STRANGER, accept, answer, asked, awarded, disagree, holder, requester
from tests.support import (
    Bench,
    bid_on,
    evidence,
    exercise,
    peers,
    sealed_answer,
    sent,
)

# --- Requester: leases


def test_answers__are_opened_and_voted_when_the_last_one_is_committed() -> None:
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
    disagree(bench, awards, others)
    for _ in range(5):
        assert not sent(bench.wait(LEASE_MS - 1), Cancel)
        bench.hear(holder(awards[0], others), progress)
    assert len(sent(bench.wait(LEASE_MS), Cancel)) == 1
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert sorted(report.state for report in outcome.seats) == ["answered", "answered", "lease expired"]


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
    awarded(bench, others)
    for number in range(len(others)):
        # The last of three seats goes on to the next, for there is no vote yet.
        answer(bench, sent(bench.effects, Award)[number], others, "I do not know")
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
    for number, award in enumerate(awards[:answers]):
        answer(bench, award, others, f"answer: {number}")
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


def test_free_text__is_one_seat_of_the_most_trusted_and_not_voted_where_few_have_a_weight() -> None:
    others = peers(4)
    # Two know nothing, so nobody could judge between the others but they themselves.
    bench = Bench(restored=evidence(dict(zip((peer.public_key for peer in others), (0, 0, 9, 10), strict=True))))
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
    bench, others = requester(2)
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


def test_commitment__of_a_peer_without_a_lease_counts_for_nothing() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    reserve = next(peer for peer in others if peer.public_key not in {award[0].to for award in awards})
    for peer in (STRANGER, reserve, holder(awards[1], others)):
        bench.hear(peer, sealed_answer(peer, awards[0], "answer: 1")[0])
    assert bench.core.rejected["impostor"] == 3
    bench.hear(STRANGER, replace(sealed_answer(STRANGER, awards[0], "answer: 1")[0], award=bytes(32)))
    assert bench.core.rejected["late"] == 1
    for award in awards:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.answer == GOLD
    assert outcome.tally is not None
    assert [answer for answer, _ in outcome.tally.support] == [GOLD]


def test_second_commitment__of_one_lease_counts_for_nothing() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    answer(bench, awards[0], others)
    answer(bench, awards[0], others, "answer: 1")
    body = awards[0][1]
    assert not sent(bench.hear(holder(awards[0], others), Decline(body.task, 0, 0, awards[0][0].id, "busy")), Award)
    assert bench.core.rejected["state"] == 2


def test_late_commitment__of_an_ended_task_does_nothing() -> None:
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
    crossed = replace(sealed_answer(holder(awards[0], others), awards[0], "answer: 1")[0], task=other[1].task)
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
                crossed = sealed_answer(holder(award, others), award, "answer: 77777")[0]
                bench.hear(holder(award, others), replace(crossed, task=other[1].task))
        answer(bench, award, others, f"answer: {by_question[award[1].question]}")
    for text in texts:
        outcome = bench.outcome(text.text)
        assert outcome is not None
        assert outcome.answer == text.gold
        assert outcome.tally is not None
        assert outcome.tally.support[0][0] == text.gold
        assert len(outcome.tally.support) == 1
        assert len(outcome.bids) == len(others)
