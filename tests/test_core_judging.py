"""Free text: sealed answers, pairs judged by members that wrote neither, a ranking or the most trusted text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.ballot import Commit
from protocol.constants import JUDGE_MS_MAX, JUDGE_TOKENS_MAX, LEASE_MS, PROGRESS_SHARE, SEATS_DEFAULT, WINDOW_MS_MAX
from protocol.envelope import Envelope, open_envelope
from protocol.events import JUDGE_KIND, CancelInference, Effect, Infer, Paused, PeerLost
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Cancel, Progress
from protocol.outcome import Outcome, OutcomeKind
from protocol.review import Judge, Judgement
from protocol.step import StepId
from simnet.draws import Stream
from simnet.host import Solution, Solver
from tests.core_bench import STRANGER, accept, answer, asked, holder, offered_text, set_of
from tests.support import Bench, evidence, host_of, inferred, peers, record, sent, world_of

TEXT = "write a haiku"


def ready(*hits: int, deadline_ms: int | None = None) -> tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]]]:
    """A free text with its committee: peers by key, who were right so often in ten audits."""
    others = peers(len(hits))
    bench = Bench(restored=evidence({peer.public_key: right for peer, right in zip(others, hits, strict=True)}))
    for peer in others:
        bench.join(peer)
    beacon, mark = asked(bench, TEXT, deadline_ms), len(bench.effects)
    bench.bids(beacon, others)
    if not sent(bench.effects[mark:], Award):
        bench.wait(WINDOW_MS_MAX)
    return bench, others, sorted(sent(bench.effects[mark:], Award), key=lambda award: award[0].to)


def written(bench: Bench, others: list[KeySigner], awards: list[tuple[Envelope, Award]]) -> list[tuple[Envelope, Judge]]:
    """Everyone writes; gives what the members are asked to judge, by ascending member."""
    mark = len(bench.effects)
    for number, award in enumerate(awards):
        answer(bench, award, others, f"poem {number}")
    return sorted(sent(bench.effects[mark:], Judge), key=lambda judge: judge[0].to)


def judge(bench: Bench, others: list[KeySigner], asked_: tuple[Envelope, Judge], better: str | None) -> list[Effect]:
    """Let a member prefer a text, or none."""
    envelope, body = asked_
    preference = {body.first: "first", body.second: "second"}.get(better or "", "none")
    peer = next(peer for peer in others if peer.public_key == envelope.to)
    return bench.hear(peer, Judgement(body.task, 0, 0, body.award, body.number, preference, 9, 1, 70))


def ended(bench: Bench) -> Outcome:
    outcome = bench.outcome(TEXT)
    assert outcome is not None
    return outcome


# --- The requester


def test_texts__are_judged_in_pairs_by_who_wrote_neither() -> None:
    bench, others, awards = ready(9, 9, 9)
    assert len(awards) == SEATS_DEFAULT
    judges = written(bench, others, awards)
    pairs = {(envelope.to, frozenset((body.first, body.second))) for envelope, body in judges}
    poems = [f"poem {number}" for number in range(3)]
    assert pairs == {
        (award[0].to, frozenset(poem for poem in poems if poem != own)) for award, own in zip(awards, poems, strict=True)
    }
    # Nothing in it names an author.
    for envelope, body in judges:
        others_keys = [peer.public_key for peer in others if peer.public_key != envelope.to]
        assert not [key for key in others_keys if key in str(body.body()).encode()]
    assert bench.outcome(TEXT) is None
    for asked_ in judges:
        judge(bench, others, asked_, "poem 2" if "poem 2" in (asked_[1].first, asked_[1].second) else "poem 1")
    outcome = ended(bench)
    assert (outcome.kind, outcome.voted, outcome.answer, outcome.author) == (
        OutcomeKind.ANSWERED,
        True,
        "poem 2",
        awards[2][0].to,
    )
    assert [item.points for item in outcome.ranking] == [4, 2, 0]
    assert (outcome.tally, len(outcome.judged)) == (None, 3)
    assert outcome.inference_ms == 40 + 70
    assert outcome.tokens == 3 * 50 + 3 * 10


@pytest.mark.parametrize("how", ["none", "one", "silent", "lost"])
def test_too_few_judgements__give_the_most_trusted_text_and_say_so(how: str) -> None:
    bench, others, awards = ready(7, 9, 8)
    judges = written(bench, others, awards)
    if how == "lost":
        for peer in (others[0], others[2]):
            bench.step(PeerLost(peer.public_key))
        judge(bench, others, judges[1], None)
    elif how == "silent":
        effects = bench.wait(JUDGE_MS_MAX)
        assert len(sent(effects, Cancel)) == 3
    else:
        for number, asked_ in enumerate(judges):
            judge(bench, others, asked_, asked_[1].first if how == "one" and number == 0 else None)
    outcome = ended(bench)
    assert (outcome.kind, outcome.voted, outcome.ranking) == (OutcomeKind.ANSWERED, False, ())
    assert (outcome.answer, outcome.author) == ("poem 1", others[1].public_key)


def test_judgement__that_is_not_owed_counts_for_nothing() -> None:
    bench, others, awards = ready(9, 9, 9)
    early = Judgement(awards[0][1].task, 0, 0, awards[0][0].id, 0, "first", 1, 1, 1)
    bench.hear(holder(awards[0], others), early)
    judges = written(bench, others, awards)
    judge(bench, others, judges[0], judges[0][1].first)
    bench.wait(1)
    judge(bench, others, judges[0], judges[0][1].second)
    bench.hear(others[1], replace(early, award=judges[2][1].award))
    bench.hear(others[1], replace(early, award=judges[1][1].award, number=1))
    assert bench.core.rejected == {"late": 3, "impostor": 1}
    assert bench.outcome(TEXT) is None
    assert len(bench.core._requester.tasks()[0].judged) == 1


def test_clustered_members__do_not_judge_each_other() -> None:
    bench, others, awards = ready(9, 9, 9)
    (task,) = bench.core._requester.tasks()
    assert task.view is not None
    task.view = replace(task.view, clusters={others[0].public_key: 1, others[1].public_key: 1})
    judges = written(bench, others, awards)
    # The first may judge no pair with the second's text, nor the reverse: one judge is left, who is too few.
    assert judges == []
    assert not ended(bench).voted


def test_text__whose_author_gave_none_is_judged_by_it() -> None:
    bench, others, awards = ready(9, 9, 9)
    answer(bench, awards[0], others, "poem 0")
    answer(bench, awards[1], others, "  ")
    mark = len(bench.effects)
    answer(bench, awards[2], others, "poem 2")
    # One judge of one pair is too few.
    assert sent(bench.effects[mark:], Judge) == []
    assert [report.state for report in ended(bench).seats] == ["answered", "abstained", "answered"]


def test_deadline__ends_the_judging() -> None:
    bench, others, awards = ready(9, 9, 9, deadline_ms=5_000)
    written(bench, others, awards)
    bench.wait(5_000)
    outcome = ended(bench)
    assert (outcome.latency_ms, outcome.voted, outcome.kind) == (5_000, False, OutcomeKind.ANSWERED)


def test_texts__are_not_judged_when_the_end_is_near() -> None:
    bench, others, awards = ready(9, 9, 9, deadline_ms=5_000)
    for award in awards:
        accept(bench, award, others)
    bench.wait(4_001)
    assert written(bench, others, awards) == []
    assert not ended(bench).voted


def test_transcript__holds_what_was_asked_and_said() -> None:
    bench, others, awards = ready(9, 9, 9)
    judges = written(bench, others, awards)
    (task,) = bench.core._requester.tasks()
    for asked_ in judges:
        judge(bench, others, asked_, asked_[1].first)
    kinds = [open_envelope(data).type for data in task.transcript]
    assert kinds[-6:] == ["judge"] * 3 + ["judgement"] * 3


# --- The executor


def opened(bench: Bench) -> tuple[StepId, bytes]:
    """Bring the bench to an opened free text under an award of the stranger; gives its step and award."""
    award, _ = offered_text(bench, STRANGER, TEXT)
    effects = bench.hear(STRANGER, award)
    ((_, commit),) = sent(bench.step(inferred(effects, "my poem")), Commit)
    bench.hear(STRANGER, set_of(bench, commit))
    return commit.step_id, commit.award


def ask_to_judge(step: StepId, award: bytes, number: int = 0) -> Judge:
    return Judge(step.task, step.plan, step.step, award, number, "one poem", "another poem")


@pytest.mark.parametrize(("output", "preference"), [("answer: first", "first"), ("answer: Second.", "second"), ("hm", "none")])
def test_executor__asks_its_model_and_says_what_it_prefers(output: str, preference: str) -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, ask_to_judge(*opened(bench)))
    (infer,) = [effect for effect in effects if isinstance(effect, Infer)]
    assert (infer.kind, infer.question, infer.texts) == (JUDGE_KIND, TEXT, ("one poem", "another poem"))
    assert infer.tokens_max == JUDGE_TOKENS_MAX
    assert bench.core.leases == 1
    ((envelope, judgement),) = sent(bench.step(inferred(effects, output)), Judgement)
    assert (envelope.to, judgement.number, judgement.preference) == (STRANGER.public_key, 0, preference)
    assert bench.core.leases == 0


def test_executor__whose_model_fails_has_no_preference() -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, ask_to_judge(*opened(bench)))
    failed = replace(inferred(effects, ""), result=None, error="the worker died")
    ((_, judgement),) = sent(bench.step(failed), Judgement)
    assert (judgement.preference, judgement.inference_ms) == ("none", 0)


def test_paused_executor__judges_nothing() -> None:
    bench = Bench(("arith",))
    step, award = opened(bench)
    bench.step(Paused(paused=True))
    effects = bench.hear(STRANGER, ask_to_judge(step, award))
    assert [body.preference for _, body in sent(effects, Judgement)] == ["none"]
    assert not [effect for effect in effects if isinstance(effect, Infer)]


def test_executor__judges_each_number_once_and_sends_no_signs_of_life() -> None:
    bench = Bench(("arith",))
    step, award = opened(bench)
    bench.hear(STRANGER, ask_to_judge(step, award))
    assert not sent(bench.wait(3 * LEASE_MS // PROGRESS_SHARE), Progress)
    bench.hear(STRANGER, ask_to_judge(step, award))
    assert bench.core.rejected == {"repeated": 1}
    bench.hear(STRANGER, ask_to_judge(step, award, 1))
    assert bench.core.leases == 2


def test_executor__judges_only_under_an_award_whose_answer_is_opened() -> None:
    bench = Bench(("arith",))
    award, _ = offered_text(bench, STRANGER, TEXT)
    effects = bench.hear(STRANGER, award)
    ((accepted, taken),) = sent(effects, Accept)
    asked_ = ask_to_judge(taken.step_id, taken.award)
    bench.hear(STRANGER, asked_)
    bench.hear(peers(1, "other")[0], asked_)
    bench.hear(STRANGER, replace(asked_, award=bytes(32)))
    bench.hear(STRANGER, replace(asked_, step=1))
    assert bench.core.rejected == {"state": 1, "unknown": 3}
    assert accepted.to == STRANGER.public_key


def test_cancel__stops_the_judging_as_well() -> None:
    bench = Bench(("arith",))
    step, award = opened(bench)
    bench.hear(STRANGER, ask_to_judge(step, award))
    effects = bench.hear(STRANGER, Cancel(step.task, 0, 0, award))
    assert len([effect for effect in effects if isinstance(effect, CancelInference)]) == 1
    assert bench.core.leases == 0


# --- A whole network


def poet(name: str) -> Solver:
    """Writes a poem of its own and prefers the one by c to all, and the one by b to that by a."""

    def solve(prompt: str, _: Stream) -> Solution:
        head, *rest = prompt.split("\n")
        if head != JUDGE_KIND:
            return Solution(f"a poem by {name}", 50)
        first, second = rest[-2:]
        return Solution(f"answer: {'first' if first > second else 'second'}", 20)

    return solve


def test_network__votes_on_a_free_text() -> None:
    world = world_of({name: poet(name) for name in ("asker", "a", "b", "c")}, skills=("arith",))
    asker = host_of(world, "asker")
    names = [host_of(world, name) for name in ("a", "b", "c")]
    rows = evidence({host.key: 9 for host in names})
    for table, key, value in rows:
        asker.disk[table, key] = value
        asker.core.evidence.restore(key, value)
    asker.record = record()
    outcome = world.answer(asker, TEXT)
    assert outcome.kind is OutcomeKind.ANSWERED
    assert outcome.voted
    assert outcome.answer == "a poem by c"
    assert [item.points for item in outcome.ranking] == [4, 2, 0]
