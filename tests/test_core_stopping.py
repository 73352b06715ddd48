"""Early stop, the gate and further seats in a running core."""

from __future__ import annotations

import pytest

from protocol.ballot import CommitSet
from protocol.constants import (
    ACCEPT_MS_MAX,
    EXTRA_SEATS_MAX,
    LEASE_MS,
    REVEAL_MS_MAX,
    SEATS_DEFAULT,
    STRAGGLE_MS,
    WINDOW_MS_MAX,
)
from protocol.envelope import Envelope
from protocol.events import AuditsWanted, PeerLost, RequestMade
from protocol.identity import KeySigner
from protocol.messages import Award, Beacon, Cancel, Decline
from protocol.outcome import Gate, Outcome, OutcomeKind
from protocol.review import Judge
from protocol.stopping import is_checked
from tests.core_bench import GOLD, QUESTION, accept, answer, asked, awarded, holder, requester
from tests.support import Bench, evidence, peers, request_id, sealed_answer, sent
from tests.test_exercises import solve_arith

WRONG = "answer: 1"


def ended(bench: Bench) -> Outcome:
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    return outcome


def known(*hits: int, audits: int = 10) -> tuple[Bench, list[KeySigner]]:
    """A requester whose peers, by key, were right so often."""
    others = peers(len(hits))
    rows = evidence({peer.public_key: right for peer, right in zip(others, hits, strict=True)}, audits=audits)
    bench = Bench(restored=rows)
    for peer in others:
        bench.join(peer)
    return bench, others


def seated(bench: Bench, others: list[KeySigner]) -> list[tuple[Envelope, Award]]:
    """The awards after everyone has bid, by ascending holder."""
    beacon, mark = asked(bench), len(bench.effects)
    bench.bids(beacon, others)
    if not sent(bench.effects[mark:], Award):
        bench.wait(WINDOW_MS_MAX)
    return sorted(sent(bench.effects[mark:], Award), key=lambda award: award[0].to)


# --- Early stop


def test_slow_seat__is_not_waited_for_when_it_can_change_nothing() -> None:
    bench, others = requester(4)
    _, awards = awarded(bench, others)
    for award in awards:
        accept(bench, award, others)
    for award in awards[:2]:
        answer(bench, award, others)
    assert bench.outcome(QUESTION) is None
    assert not sent(bench.wait(STRAGGLE_MS - 1), CommitSet)
    assert len(sent(bench.wait(1), CommitSet)) == SEATS_DEFAULT
    assert bench.outcome(QUESTION) is None
    effects = bench.wait(STRAGGLE_MS)
    assert [envelope.to for envelope, _ in sent(effects, Cancel)] == [awards[2][0].to]
    outcome = ended(bench)
    assert (outcome.kind, outcome.answer, outcome.stopped, outcome.rounds) == (OutcomeKind.ANSWERED, GOLD, True, 1)
    assert [report.state for report in outcome.seats] == ["answered", "answered", "not needed"]
    # It let nobody down, so it gets no rest, and nobody takes its seat.
    assert not bench.core._standing.rests(awards[2][0].to)  # type: ignore[arg-type]
    assert not sent(effects, Award)


def test_straggler__that_comes_within_its_time_is_heard() -> None:
    bench, others = requester(3)
    _, awards = awarded(bench, others)
    for award in awards[:2]:
        answer(bench, award, others)
    bench.wait(STRAGGLE_MS - 1)
    answer(bench, awards[2], others, WRONG)
    outcome = ended(bench)
    assert outcome.tally is not None
    assert (outcome.rounds, outcome.stopped, outcome.tally.dissent) == (1, False, 1)


def test_slow_seat__is_heard_in_a_second_round_when_the_first_two_disagree() -> None:
    bench, others = requester(3)
    _, awards = awarded(bench, others)
    for award in awards:
        accept(bench, award, others)
    answer(bench, awards[0], others)
    answer(bench, awards[1], others, WRONG)
    bench.wait(STRAGGLE_MS)
    bench.wait(STRAGGLE_MS)
    assert bench.outcome(QUESTION) is None
    answer(bench, awards[2], others)
    outcome = ended(bench)
    assert (outcome.answer, outcome.rounds) == (GOLD, 2)
    assert [report.round for report in outcome.seats] == [0, 0, 1]


def test_round__is_not_closed_early_where_agreement_would_not_decide() -> None:
    bench, others = known(9, 6, 6)
    awards = seated(bench, others)
    for award in awards:
        accept(bench, award, others)
    answer(bench, awards[1], others)
    bench.wait(ACCEPT_MS_MAX // 2)
    assert not sent(bench.effects, CommitSet)
    # The heavy one alone outweighs neither of the two together.
    answer(bench, awards[2], others)
    bench.wait(STRAGGLE_MS)
    assert len(sent(bench.effects, CommitSet)) == SEATS_DEFAULT


def test_withholder__is_not_waited_for_when_it_can_change_nothing() -> None:
    bench, others = requester(3)
    _, awards = awarded(bench, others)
    for award in awards[:2]:
        answer(bench, award, others)
    bench.hear(holder(awards[2], others), sealed_answer(holder(awards[2], others), awards[2], WRONG)[0])
    assert bench.outcome(QUESTION) is None
    assert STRAGGLE_MS < REVEAL_MS_MAX
    bench.wait(STRAGGLE_MS)
    assert [report.state for report in ended(bench).seats] == ["answered", "answered", "not needed"]


def test_audit__waits_for_all_whom_it_examines() -> None:
    others = peers(3)
    bench = Bench()
    for peer in others:
        bench.join(peer)
    beacon, mark = sent(bench.step(AuditsWanted()), Beacon)[0], len(bench.effects)
    bench.bids(beacon, others)
    awards = [award for award in sent(bench.effects[mark:], Award) if award[1].task == beacon[1].task]
    gold = solve_arith(awards[0][1].question)
    for award in awards:
        accept(bench, award, others)
    for award in awards[:2]:
        answer(bench, award, others, f"answer: {gold}")
    effects = bench.wait(LEASE_MS // 2)
    # The sets go out as for a question, and nobody is cancelled.
    assert len(sent(effects, CommitSet)) == 3
    assert not sent(effects, Cancel)
    answer(bench, awards[2], others, f"answer: {gold}")
    found = [bench.core.counts(peer.public_key, "arith", bench.wall_ms).hits >> 8 for peer in others]
    assert found == [1, 1, 1]


# --- The gate


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.seating.is_checked", lambda _: False)


@pytest.mark.usefixtures("unchecked")
def test_gate__asks_one_alone_that_outweighs_the_others() -> None:
    bench, others = known(4, 10, 4)
    ((envelope, award),) = seated(bench, others)
    assert (envelope.to, award.seat) == (others[1].public_key, 0)
    answer(bench, (envelope, award), others)
    outcome = ended(bench)
    assert (outcome.answer, outcome.gate, len(outcome.seats)) == (GOLD, Gate.ALONE, 1)
    assert outcome.tally is not None
    assert outcome.tally.coverage == 1_000


@pytest.mark.usefixtures("unchecked")
def test_gate__asks_one_alone_that_is_nearly_always_right_unless_it_has_an_equal() -> None:
    bench, others = known(40, 39, 39, audits=40)
    ((envelope, _),) = seated(bench, others)
    assert envelope.to == others[0].public_key
    bench, others = known(40, 40, 39, audits=40)
    assert len(seated(bench, others)) == SEATS_DEFAULT


def test_gate__goes_to_the_whole_committee_when_the_draw_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[bytes]] = []

    def checked(acknowledgements: list[bytes]) -> bool:
        seen.append(acknowledgements)
        return True

    monkeypatch.setattr("protocol.seating.is_checked", checked)
    bench, others = known(4, 10, 4)
    awards = seated(bench, others)
    assert len(awards) == SEATS_DEFAULT
    assert [len(acknowledgements) for acknowledgements in seen] == [SEATS_DEFAULT]
    for award in awards:
        answer(bench, award, others)
    assert ended(bench).gate is Gate.CHECKED


def test_gate__draw_differs_from_task_to_task() -> None:
    drawn = set()
    for seed in range(40):
        bench, others = known(4, 10, 4)
        bench.core._entropy(1 + seed)
        drawn.add(len(seated(bench, others)))
    assert drawn <= {1, SEATS_DEFAULT}
    assert is_checked([]) in (True, False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("how", ["decline", "lost", "abstains"])
def test_gate__is_widened_when_the_one_brings_no_answer(how: str) -> None:
    bench, others = known(4, 10, 4)
    (award,) = seated(bench, others)
    mark = len(bench.effects)
    if how == "decline":
        bench.hear(holder(award, others), Decline(award[1].task, 0, 0, award[0].id, "model"))
    elif how == "lost":
        bench.step(PeerLost(award[0].to))  # type: ignore[arg-type]
    else:
        answer(bench, award, others, "I do not know")
    awards = sent(bench.effects[mark:], Award)
    assert {envelope.to for envelope, _ in awards} == {others[0].public_key, others[2].public_key}
    assert [body.seat for _, body in awards] == [0, 1]
    for award in awards:
        answer(bench, award, others)
    outcome = ended(bench)
    assert (outcome.answer, outcome.gate) == (GOLD, Gate.WIDENED)


# --- Further seats


def test_thin_margin__asks_further_bidders_with_a_weight_once() -> None:
    bench, others = known(9, 9, 9, 9, 9, 9)
    awards = seated(bench, others)
    said = [f"answer: {GOLD}", WRONG, "answer: 2"]
    mark = len(bench.effects)
    for award, output in zip(awards, said, strict=True):
        answer(bench, award, others, output)
    more = sent(bench.effects[mark:], Award)
    assert [(award.seat, award.round) for _, award in more] == [(3, 1), (4, 1)]
    assert len(more) == EXTRA_SEATS_MAX
    mark = len(bench.effects)
    answer(bench, more[0], others)
    answer(bench, more[1], others, WRONG)
    # Level again, and that is that.
    assert not sent(bench.effects[mark:], Award)
    outcome = ended(bench)
    assert (outcome.further, outcome.rounds, len(outcome.seats)) == (EXTRA_SEATS_MAX, 2, SEATS_DEFAULT + EXTRA_SEATS_MAX)


def test_thin_margin__asks_nobody_without_a_weight() -> None:
    bench, others = known(9, 9, 0, 0)
    for award, output in zip(seated(bench, others), [f"answer: {GOLD}", WRONG], strict=True):
        answer(bench, award, others, output)
    outcome = ended(bench)
    assert (outcome.further, outcome.rounds) == (0, 1)


def test_thin_margin__of_texts_is_left_to_those_who_judge_them() -> None:
    bench, others = known(9, 9, 9, 9, 9)
    beacon, mark = asked(bench, "write a haiku"), len(bench.effects)
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    mark = len(bench.effects)
    for number, award in enumerate(awards):
        answer(bench, award, others, f"poem {number}")
    assert sent(bench.effects[mark:], Judge)
    assert not sent(bench.effects[mark:], Award)


def test_thin_margin__after_a_revision_asks_nobody() -> None:
    bench, others = known(9, 9, 9, 9, 9)
    (beacon,) = sent(bench.step(RequestMade(request_id(QUESTION), QUESTION, refine=1)), Beacon)
    mark = len(bench.effects)
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    mark = len(bench.effects)
    right = f"answer: {GOLD}"
    for outputs in ([right, right, WRONG], [right, "answer: 2", WRONG]):
        for award, output in zip(awards, outputs, strict=True):
            answer(bench, award, others, output)
    assert not sent(bench.effects[mark:], Award)
    assert (ended(bench).refined, ended(bench).further) == (1, 0)


def test_thin_margin__asks_nobody_when_the_end_is_near() -> None:
    bench, others = known(9, 9, 9, 9)
    beacon, mark = asked(bench, deadline_ms=4_000), len(bench.effects)
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    for award in awards:
        accept(bench, award, others)
    bench.wait(3_000)
    for award, output in zip(awards, [f"answer: {GOLD}", WRONG, "answer: 2"], strict=True):
        answer(bench, award, others, output)
    assert ended(bench).further == 0
