"""Questions on their way, and the executor: bid, lease, commitment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.ballot import Commit, Reveal
from protocol.constants import (
    DEADLINE_MS_MAX,
    LEASE_MS,
    LEASES_MAX,
    PROGRESS_SHARE,
    QUESTION_SIZE_MAX,
    TASKS_MAX,
    TEXT_SIZE_MAX,
    WINDOW_MS_MAX,
)
from protocol.errors import LocalProtocolError
from protocol.events import (
    CancelInference,
    EffectDone,
    Infer,
    InferenceResult,
    MessageReceived,
    ModelChanged,
    PeerLost,
)
from protocol.messages import (
    Accept,
    Award,
    Beacon,
    Bid,
    Cancel,
    Decline,
    Progress,
)
from protocol.sealing import commitment
from tests.core_bench import QUESTION, STRANGER, offered, requester, set_of
from tests.support import (
    PARAMETERS,
    Bench,
    inferred,
    peers,
    sent,
)

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
    with pytest.raises(LocalProtocolError, match="arith, composite, lists, logic, plan, text, general"):
        Bench().ask(QUESTION, skill="poetry")


def test_tasks__are_bounded() -> None:
    bench, _ = requester(1)
    for number in range(TASKS_MAX):
        bench.ask(f"{QUESTION} {number}", skill="arith")
    with pytest.raises(LocalProtocolError):
        bench.ask(QUESTION)


# --- Executor


def test_executor__bids_accepts_infers_commits_and_opens() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, award)
    ((_, taken),) = sent(effects, Accept)
    (infer,) = [effect for effect in effects if isinstance(effect, Infer)]
    assert (infer.question, infer.kind, infer.tokens_max, infer.deadline_ms) == (QUESTION, "number", 256, 60_000)
    assert bench.core.leases == 1
    effects = bench.step(EffectDone(infer.effect, result=InferenceResult("answer: 4", 5, 6, 7)))
    ((envelope, commit),) = sent(effects, Commit)
    assert envelope.to == STRANGER.public_key
    assert (commit.award, commit.round, commit.inference_ms) == (taken.award, 0, 7)
    assert not sent(effects, Reveal)
    assert bench.core.leases == 0
    ((envelope, reveal),) = sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    assert (envelope.to, reveal.award, reveal.answer) == (STRANGER.public_key, taken.award, "4")
    bound = commitment(PARAMETERS.network, reveal.step_id, 0, bench.core.me, reveal.nonce, "4")
    assert bound == commit.commitment


@pytest.mark.parametrize(("skills", "asked_skill"), [((), "arith"), (("lists",), "arith"), ((), "general")])
def test_executor__does_not_bid_on_what_it_does_not_offer(skills: tuple[str, ...], asked_skill: str) -> None:
    bench = Bench(skills)
    bench.meet(STRANGER)
    beacon = Beacon(b"t" * 16, 0, 0, asked_skill, "number", bytes(32), 3, 256, 1_500, 60_000, 2)
    assert not sent(bench.hear(STRANGER, beacon), Bid)


def test_executor__stops_bidding_when_its_model_is_gone() -> None:
    bench = Bench(("arith",))
    bench.meet(STRANGER)
    bench.step(ModelChanged(available=False, tokens_per_s=0))
    beacon = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2)
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
    bench.meet(STRANGER)
    data = bench.sealed(STRANGER, Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2))
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


@pytest.mark.parametrize(("too_long", "reason"), [(False, "model"), (True, "length")])
def test_failed_inference__gives_the_lease_back(too_long: bool, reason: str) -> None:  # noqa: FBT001 - pytest's
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    done = replace(inferred(effects, ""), result=None, error="the worker died", too_long=too_long)
    assert [body.reason for _, body in sent(bench.step(done), Decline)] == [reason]
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
    # An answer that was on its way meets nobody.
    assert not sent(bench.step(inferred(effects, "answer: 1")), Commit)


def test_requester_that_left__has_its_inferences_cancelled() -> None:
    bench = Bench(("arith",))
    bench.join(STRANGER)
    bench.hear(STRANGER, offered(bench, STRANGER)[0])
    effects = bench.step(PeerLost(STRANGER.public_key))
    assert len([effect for effect in effects if isinstance(effect, CancelInference)]) == 1


@pytest.mark.parametrize("text", ["y" * TEXT_SIZE_MAX, "é" * TEXT_SIZE_MAX, "\ud800" * 9, "\x00" * 9])
def test_long_or_odd_output__keeps_its_answer(text: str) -> None:
    bench = Bench(("arith",))
    effects = bench.hear(STRANGER, offered(bench, STRANGER)[0])
    ((_, commit),) = sent(bench.step(inferred(effects, text + "answer: 42")), Commit)
    ((_, reveal),) = sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    assert reveal.answer == "42"
