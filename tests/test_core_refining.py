"""Revisions: members see what the others answered and answer again, sealed; the first answers stay on record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import LEASE_MS, PROGRESS_SHARE, REFINE_MAX, REFINE_TEXT_SIZE_MAX, REVEAL_MS_MAX, STRAGGLE_MS
from protocol.envelope import Envelope
from protocol.errors import LocalProtocolError
from protocol.events import Effect, Infer, Paused, PeerLost, RequestMade
from protocol.identity import KeySigner
from protocol.messages import Award, Beacon, Cancel, Decline, Progress
from protocol.outcome import Gate, Outcome, OutcomeKind
from protocol.review import Judge, Refine
from tests.core_bench import GOLD, QUESTION, STRANGER, answer, disagree, holder, offered, requester, set_of
from tests.support import Bench, inferred, peers, request_id, sealed_answer, sent

RIGHT, WRONG = f"answer: {GOLD}", "answer: 1"


def ready(refine: int = 1, text: str = QUESTION, count: int = 3) -> tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]]]:
    bench, others = requester(count)
    (beacon,) = sent(bench.step(RequestMade(request_id(text), text, refine=refine)), Beacon)
    mark = len(bench.effects)
    bench.bids(beacon, others)
    return bench, others, sent(bench.effects[mark:], Award)


def refined(effects: list[Effect]) -> dict[bytes | str, Refine]:
    return {envelope.to: refine for envelope, refine in sent(effects, Refine)}


def first(bench: Bench, others: list[KeySigner], awards: list[tuple[Envelope, Award]]) -> dict[bytes | str, Refine]:
    """The first holder is wrong, the others right; gives what each is asked then."""
    mark = len(bench.effects)
    for award, output in zip(awards, (WRONG, RIGHT, RIGHT), strict=True):
        answer(bench, award, others, output)
    return refined(bench.effects[mark:])


def ended(bench: Bench) -> Outcome:
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    return outcome


# --- The requester


def test_revision__shows_each_member_what_the_others_answered_and_is_sealed_again() -> None:
    bench, others, awards = ready()
    asked = first(bench, others, awards)
    assert {peer: sorted(refine.answers) for peer, refine in asked.items()} == {
        award[0].to: sorted(own) for award, own in zip(awards, ([GOLD, GOLD], ["1", GOLD], ["1", GOLD]), strict=True)
    }
    assert {refine.round for refine in asked.values()} == {1}
    assert bench.outcome(QUESTION) is None
    mark = len(bench.effects)
    for award in awards:
        answer(bench, award, others, RIGHT)
    assert {sealed.round for _, sealed in sent(bench.effects[mark:], CommitSet)} == {1}
    outcome = ended(bench)
    assert (outcome.kind, outcome.answer, outcome.rounds, outcome.refined) == (OutcomeKind.ANSWERED, GOLD, 2, 1)
    assert outcome.tally is not None
    assert (outcome.tally.margin, outcome.tally.dissent) == (1_000, 0)
    revised = {report.peer: (report.answer, report.first_answer, report.round, report.round_first) for report in outcome.seats}
    assert revised == {award[0].to: (GOLD, before, 1, 0) for award, before in zip(awards, ("1", GOLD, GOLD), strict=True)}
    # Both inferences of each.
    assert outcome.tokens == 2 * 3 * 50


def test_revisions__go_on_as_often_as_was_asked_and_while_anybody_differs() -> None:
    bench, others, awards = ready(refine=REFINE_MAX)
    assert first(bench, others, awards)
    for number in range(REFINE_MAX):
        mark = len(bench.effects)
        for award, output in zip(awards, (WRONG, RIGHT, RIGHT), strict=True):
            answer(bench, award, others, output)
        assert len(refined(bench.effects[mark:])) == (3 if number + 1 < REFINE_MAX else 0)
    outcome = ended(bench)
    assert (outcome.refined, outcome.rounds) == (REFINE_MAX, 1 + REFINE_MAX)


def test_revision__is_not_asked_for_where_all_agree_or_nobody_wanted_it() -> None:
    bench, others, awards = ready()
    for award in awards:
        answer(bench, award, others)
    assert (ended(bench).refined, refined(bench.effects)) == (0, {})
    bench, others, awards = ready(refine=0)
    assert first(bench, others, awards) == {}
    assert ended(bench).answer == GOLD


def test_question__that_is_to_be_revised_is_never_asked_of_one_alone() -> None:
    bench, others, awards = ready(count=3)
    assert len(awards) == 3
    assert first(bench, others, awards)
    for award in awards:
        answer(bench, award, others)
    assert ended(bench).gate is Gate.COMMITTEE


@pytest.mark.parametrize("how", ["abstains", "declines", "lost", "silent", "withholds"])
def test_revision__that_fails_leaves_the_answer_as_it_was(how: str) -> None:
    bench, others, awards = ready(refine=2)
    first(bench, others, awards)
    peer, award = holder(awards[1], others), awards[1]
    mark = len(bench.effects)
    if how == "abstains":
        answer(bench, award, others, "hm")
    elif how == "declines":
        bench.hear(peer, Decline(award[1].task, 0, 0, award[0].id, "busy"))
    elif how == "lost":
        bench.step(PeerLost(peer.public_key))
    elif how == "withholds":
        bench.hear(peer, sealed_answer(peer, award, RIGHT, 1)[0])
    answer(bench, awards[0], others, WRONG)
    answer(bench, awards[2], others, "answer: 2")
    if how == "silent":
        bench.wait(STRAGGLE_MS)
        bench.wait(LEASE_MS)
    elif how == "withholds":
        bench.wait(REVEAL_MS_MAX)
    # They all differ, so they are asked once more, but for whom nothing more is expected of.
    again = refined(bench.effects[mark:])
    assert set(again) == {seat[0].to for seat in awards if how == "abstains" or seat is not award}
    # Nobody takes the place of a member in a revision.
    assert not sent(bench.effects[mark:], Award)
    for seat in awards:
        if seat[0].to in again:
            answer(bench, seat, others, RIGHT)
    outcome = ended(bench)
    assert outcome.answer == GOLD
    assert [(report.state, report.answer) for report in outcome.seats] == [("answered", GOLD)] * 3
    rests = bench.core._standing.rests(peer.public_key)
    assert rests == (how in ("silent", "withholds"))


def test_revision__under_way_stops_early_when_it_can_change_nothing() -> None:
    bench, others, awards = ready()
    first(bench, others, awards)
    for award in awards[:2]:
        answer(bench, award, others)
    bench.wait(STRAGGLE_MS)
    effects = bench.wait(STRAGGLE_MS)
    assert [envelope.to for envelope, _ in sent(effects, Cancel)] == [awards[2][0].to]
    outcome = ended(bench)
    assert (outcome.answer, outcome.stopped) == (GOLD, True)
    assert {report.peer: report.round for report in outcome.seats} == {
        award[0].to: number for award, number in zip(awards, (1, 1, 0), strict=True)
    }


def test_revision__is_not_asked_for_when_the_end_is_near() -> None:
    bench, others = requester(3)
    (beacon,) = sent(bench.step(RequestMade(request_id(QUESTION), QUESTION, None, 4_000, 2)), Beacon)
    mark = len(bench.effects)
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    for award in awards:
        bench.hear(holder(award, others), Progress(award[1].task, 0, 0, award[0].id))
    answer(bench, awards[0], others, WRONG)
    bench.wait(1_999)
    assert bench.outcome(QUESTION) is None
    bench.wait(1_001)
    disagree(bench, awards, others)
    bench.wait(1_000)
    assert (ended(bench).refined, refined(bench.effects)) == (0, {})


def test_texts__are_revised_and_then_judged() -> None:
    text = "write a haiku"
    bench, others, awards = ready(text=text)
    for number, award in enumerate(awards):
        answer(bench, award, others, f"poem {number}" + "x" * REFINE_TEXT_SIZE_MAX)
    asked = refined(bench.effects)
    assert len(asked) == 3
    assert all(len(shown) == REFINE_TEXT_SIZE_MAX for refine in asked.values() for shown in refine.answers)
    assert not sent(bench.effects, Judge)
    for number, award in enumerate(awards):
        answer(bench, award, others, f"better poem {number}")
    judges = sent(bench.effects, Judge)
    assert len(judges) == 3
    assert all(body.first.startswith("better") for _, body in judges)


@pytest.mark.parametrize("refine", [-1, REFINE_MAX + 1])
def test_refine__outside_its_limits_is_misuse(refine: int) -> None:
    with pytest.raises(LocalProtocolError, match="revised"):
        Bench().step(RequestMade(bytes(16), QUESTION, refine=refine))


# --- The executor


def opened(bench: Bench) -> Commit:
    """Bring the bench to an opened answer under an award of the stranger."""
    award, _ = offered(bench, STRANGER)
    ((_, commit),) = sent(bench.step(inferred(bench.hear(STRANGER, award), "answer: 4")), Commit)
    bench.hear(STRANGER, set_of(bench, commit))
    return commit


def asks(commit: Commit, number: int = 1) -> Refine:
    return Refine(commit.task, 0, 0, commit.award, number, ("5", "6"))


def test_executor__answers_again_with_what_it_is_shown_and_seals_it() -> None:
    bench = Bench(("arith",))
    commit = opened(bench)
    effects = bench.hear(STRANGER, asks(commit))
    (infer,) = [effect for effect in effects if isinstance(effect, Infer)]
    assert (infer.kind, infer.question, infer.texts, infer.tokens_max) == ("number", QUESTION, ("5", "6"), 256)
    assert len(sent(bench.wait(LEASE_MS // PROGRESS_SHARE), Progress)) == 1
    ((_, again),) = sent(bench.step(inferred(effects, "answer: 5")), Commit)
    assert (again.round, again.award) == (1, commit.award)
    ((_, reveal),) = sent(bench.hear(STRANGER, set_of(bench, again)), Reveal)
    assert (reveal.round, reveal.answer) == (1, "5")
    # The round before is over for good.
    bench.wait(1)
    assert not sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    bench.hear(STRANGER, asks(again))
    assert bench.core.rejected == {"repeated": 1, "state": 1}


def test_executor__revises_only_under_an_award_whose_answer_is_opened() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    ((_, commit),) = sent(bench.step(inferred(bench.hear(STRANGER, award), "answer: 4")), Commit)
    bench.hear(STRANGER, asks(commit))
    bench.hear(peers(1, "other")[0], asks(commit))
    bench.hear(STRANGER, replace(asks(commit), award=bytes(32)))
    assert bench.core.rejected == {"state": 1, "unknown": 2}
    assert bench.core.leases == 0


def test_paused_executor__declines_to_revise() -> None:
    bench = Bench(("arith",))
    commit = opened(bench)
    bench.step(Paused(paused=True))
    assert [body.reason for _, body in sent(bench.hear(STRANGER, asks(commit)), Decline)] == ["paused"]


def test_failed_revision__declines_and_what_was_opened_stands() -> None:
    bench = Bench(("arith",))
    commit = opened(bench)
    effects = bench.hear(STRANGER, asks(commit))
    failed = replace(inferred(effects, ""), result=None, error="the worker died")
    assert [body.reason for _, body in sent(bench.step(failed), Decline)] == ["model"]
    # It may be asked again, for a later round.
    assert [effect for effect in bench.hear(STRANGER, asks(commit, 2)) if isinstance(effect, Infer)]


def test_cancel__of_a_revision_forgets_the_answer() -> None:
    bench = Bench(("arith",))
    commit = opened(bench)
    bench.hear(STRANGER, asks(commit))
    bench.hear(STRANGER, Cancel(commit.task, 0, 0, commit.award))
    assert bench.core.leases == 0
    bench.hear(STRANGER, asks(commit, 2))
    assert bench.core.rejected == {"unknown": 1}
