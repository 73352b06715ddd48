"""Sealed answers: nobody opens before the set is signed, nobody gets into a set that is signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import COMMITMENTS_MAX, DEADLINE_MS_DEFAULT, LEASE_MS, REVEAL_MS_MAX, ROUNDS_MAX, SEATS_DEFAULT
from protocol.envelope import Envelope, open_envelope
from protocol.errors import LocalProtocolError
from protocol.events import Effect, PeerLost, Send
from protocol.faults import Fault
from protocol.identity import KeySigner
from protocol.messages import Award, Cancel, Progress
from protocol.outcome import OutcomeKind
from protocol.sealing import commitment
from protocol.step import StepId
from tests.core_bench import GOLD, QUESTION, STRANGER, accept, answer, awarded, disagree, holder, offered, requester, set_of
from tests.support import PARAMETERS, Bench, inferred, peers, sealed_answer, sent

WRONG = "answer: 1"
RIGHT = f"answer: {GOLD}"

# --- The commitment


@pytest.mark.parametrize(
    "change",
    [
        {"network": bytes(32)},
        {"step": StepId(b"u" * 16)},
        {"step": StepId(b"t" * 16, 1)},
        {"step": StepId(b"t" * 16, 0, 1)},
        {"number": 1},
        {"peer": b"q" * 32},
        {"nonce": b"m" * 32},
        {"answer": "43"},
        {"answer": ""},
        {"answer": None},
    ],
    ids=str,
)
def test_commitment__binds_everything(change: dict[str, object]) -> None:
    base: dict[str, object] = {
        "network": PARAMETERS.network,
        "step": StepId(b"t" * 16),
        "number": 0,
        "peer": b"p" * 32,
        "nonce": b"n" * 32,
        "answer": "42",
    }
    assert commitment(**base) != commitment(**base | change)  # type: ignore[arg-type]


# --- The requester


def ready() -> tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]]]:
    bench, others = requester(SEATS_DEFAULT)
    _, awards = awarded(bench, others)
    return bench, others, awards


def commits(bench: Bench, others: list[KeySigner], awards: list[tuple[Envelope, Award]], output: str = RIGHT) -> list[Effect]:
    """Everyone commits and opens nothing yet."""
    return [
        effect
        for award in awards
        for effect in bench.hear(holder(award, others), sealed_answer(holder(award, others), award, output)[0])
    ]


def opens(bench: Bench, others: list[KeySigner], award: tuple[Envelope, Award], output: str = RIGHT) -> list[Effect]:
    return bench.hear(holder(award, others), sealed_answer(holder(award, others), award, output)[1])


def states(bench: Bench) -> list[str]:
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    return [report.state for report in outcome.seats]


def test_set__is_signed_once_with_every_commitment_and_goes_to_each_member() -> None:
    bench, others, awards = ready()
    assert not sent(commits(bench, others, awards[:-1]), CommitSet)
    sets = sent(commits(bench, others, awards[-1:]), CommitSet)
    assert [envelope.to for envelope, _ in sets] == sorted(peer.public_key for peer in others)
    bound = [(award[0].to, sealed_answer(holder(award, others), award, RIGHT)[0].commitment) for award in awards]
    assert {sealed.members for _, sealed in sets} == {tuple(sorted(bound))}
    assert bench.outcome(QUESTION) is None
    for award in awards:
        opens(bench, others, award)
    assert states(bench) == ["answered"] * SEATS_DEFAULT
    assert not sent(bench.wait(DEADLINE_MS_DEFAULT), CommitSet)


def test_reveal__before_the_set_counts_for_nothing() -> None:
    bench, others, awards = ready()
    opens(bench, others, awards[0])
    commits(bench, others, awards[:1])
    bench.wait(1)
    opens(bench, others, awards[0])
    assert bench.core.rejected == {"state": 2}
    bench.wait(1)
    commits(bench, others, awards[1:])
    for award in awards:
        opens(bench, others, award)
    assert states(bench) == ["answered"] * SEATS_DEFAULT


def test_reveal__of_another_answer_loses_the_seat_and_stays_in_the_transcript() -> None:
    bench, others, awards = ready()
    commits(bench, others, awards)
    (task,) = bench.core._requester.tasks()
    opens(bench, others, awards[0], WRONG)
    kept = [open_envelope(data).type for data in task.transcript]
    assert kept[-1] == Reveal.TYPE
    # What it signed proves it to everybody.
    ((_, fault),) = sent(bench.effects, Fault)
    assert fault.check(PARAMETERS.network) == holder(awards[0], others).public_key
    for award in awards:
        opens(bench, others, award)
    assert bench.core.rejected == {"state": 1}
    assert states(bench) == ["opened another answer", "answered", "answered"]


def test_reveal__of_a_copied_commitment_cannot_be_made() -> None:
    bench, others, awards = ready()
    first, copier = holder(awards[0], others), holder(awards[1], others)
    commit, reveal = sealed_answer(first, awards[0], RIGHT)
    bench.hear(first, commit)
    bench.hear(copier, replace(commit, award=awards[1][0].id))
    commits(bench, others, awards[2:])
    bench.hear(first, reveal)
    # It may even have seen how the other one opened.
    bench.hear(copier, replace(reveal, award=awards[1][0].id))
    opens(bench, others, awards[2])
    assert states(bench) == ["answered", "opened another answer", "answered"]


def test_second_commitment__of_one_seat_is_refused_and_the_first_one_stands() -> None:
    bench, others, awards = ready()
    commits(bench, others, awards[:1])
    commits(bench, others, awards[:1], WRONG)
    assert bench.core.rejected == {"state": 1}
    commits(bench, others, awards[1:])
    for award in awards:
        opens(bench, others, award)
    assert states(bench) == ["answered"] * SEATS_DEFAULT


def test_withheld_answer__costs_its_seat_and_a_rest_and_the_next_one_is_asked() -> None:
    bench, others = requester(4)
    _, awards = awarded(bench, others)
    disagree(bench, awards, others)
    commits(bench, others, awards[:1])
    assert not sent(bench.wait(REVEAL_MS_MAX - 1), Award)
    effects = bench.wait(1)
    ((envelope, _),) = sent(effects, Cancel)
    assert envelope.to == holder(awards[0], others).public_key
    ((_, again),) = sent(effects, Award)
    assert (again.seat, again.round) == (awards[0][1].seat, 1)
    assert bench.core._standing.rests(holder(awards[0], others).public_key)
    (award,) = sent(effects, Award)
    answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert [(report.state, report.round) for report in outcome.seats] == [
        ("answered", 0),
        ("answered", 0),
        ("withheld", 0),
        ("answered", 1),
    ]


def test_commitment__waits_for_the_others_however_long_they_work() -> None:
    bench, others, awards = ready()
    for award in awards:
        accept(bench, award, others)
    answer(bench, awards[0], others)
    for _ in range(4):
        bench.wait(LEASE_MS - 1)
        for award in awards[1:]:
            bench.hear(holder(award, others), Progress(award[1].task, 0, 0, award[0].id))
    for award in awards[1:]:
        answer(bench, award, others)
    assert states(bench) == ["answered"] * SEATS_DEFAULT


def test_committed_holder__that_is_lost_loses_its_seat() -> None:
    bench, others, awards = ready()
    commits(bench, others, awards[:1])
    bench.step(PeerLost(holder(awards[0], others).public_key))
    for award in awards[1:]:
        answer(bench, award, others)
    assert sorted(states(bench)) == ["answered", "answered", "connection lost"]


@pytest.mark.parametrize("text", ["042", "84.", " 84", "eighty", ""])
def test_opened_answer__that_is_not_canonical_is_an_abstention(text: str) -> None:
    bench, others, awards = ready()
    peer = holder(awards[0], others)
    commit, reveal = sealed_answer(peer, awards[0], RIGHT)
    bound = commitment(PARAMETERS.network, commit.step_id, 0, peer.public_key, reveal.nonce, text)
    bench.hear(peer, replace(commit, commitment=bound))
    for award in awards[1:]:
        answer(bench, award, others)
    bench.hear(peer, replace(reveal, answer=text))
    assert sorted(states(bench)) == ["abstained", "answered", "answered"]


def test_answers__that_are_there_are_sealed_in_time_before_the_end() -> None:
    bench, others, awards = ready()
    for award in awards:
        accept(bench, award, others)
    answer(bench, awards[0], others)
    while bench.outcome(QUESTION) is None:
        for award in awards[1:]:
            bench.hear(holder(award, others), Progress(award[1].task, 0, 0, award[0].id))
        bench.wait(1_000)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)
    sets = sent(bench.effects, CommitSet)
    # Who is at work is shown the set as well: its own answer is for the next round.
    assert {envelope.to for envelope, _ in sets} == {peer.public_key for peer in others}
    assert len({sealed.members for _, sealed in sets}) == 1
    assert bench.wall_ms - sets[0][0].issued_ms >= REVEAL_MS_MAX


def test_late_answer__is_sealed_in_the_next_round() -> None:
    bench, others, awards = ready()
    for award in awards:
        accept(bench, award, others)
    answer(bench, awards[0], others)
    while not sent(bench.effects, CommitSet):
        for award in awards[1:]:
            bench.hear(holder(award, others), Progress(award[1].task, 0, 0, award[0].id))
        bench.wait(1_000)
    commits(bench, others, awards[1:2])
    assert bench.core.rejected["late"] == 1
    answer(bench, awards[1], others, WRONG)
    assert {sealed.round for _, sealed in sent(bench.effects, CommitSet)} == {0, 1}
    bench.wait(REVEAL_MS_MAX)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert [(report.state, report.round) for report in outcome.seats] == [("answered", 0), ("answered", 1), ("deadline", 0)]


def test_transcript__holds_every_envelope_of_the_task_in_order() -> None:
    bench, others = requester(SEATS_DEFAULT)
    _, awards = awarded(bench, others)
    (task,) = bench.core._requester.tasks()
    for award in awards:
        accept(bench, award, others)
        answer(bench, award, others)
    kinds = [open_envelope(data).type for data in task.transcript]
    assert kinds == [
        "beacon",
        *["bid", "bid_ack"] * SEATS_DEFAULT,
        *["award"] * SEATS_DEFAULT,
        *["accept", "commit"] * SEATS_DEFAULT,
        *["commit_set"] * SEATS_DEFAULT,
        *["reveal"] * SEATS_DEFAULT,
    ]
    written = {effect.data for effect in bench.effects if isinstance(effect, Send)}
    assert all(data in written for data in task.transcript if open_envelope(data).type in ("bid_ack", "award", "commit_set"))


# --- The executor


def committed(bench: Bench, asker: KeySigner = STRANGER, output: str = "answer: 4", step: int = 0) -> Commit:
    """Bring the bench to a commitment under an award of `asker`."""
    award, _ = offered(bench, asker, step=step)
    ((_, commit),) = sent(bench.step(inferred(bench.hear(asker, award), output)), Commit)
    return commit


def test_executor__opens_once() -> None:
    bench = Bench(("arith",))
    commit = committed(bench)
    assert len(sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)) == 1
    bench.wait(1)
    assert not sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    assert bench.core.rejected == {"repeated": 1}


def test_executor__opens_an_abstention_as_well() -> None:
    bench = Bench(("arith",))
    ((_, reveal),) = sent(bench.hear(STRANGER, set_of(bench, committed(bench, output="hm"))), Reveal)
    assert reveal.answer is None


def test_executor__opens_to_no_other_than_its_requester() -> None:
    bench = Bench(("arith",))
    commit = committed(bench)
    other = peers(1, "other")[0]
    assert not sent(bench.hear(other, set_of(bench, commit)), Reveal)
    assert bench.core.rejected == {"unknown": 1}


@pytest.mark.parametrize("change", [{"task": b"u" * 16}, {"step": 1}, {"plan": 1}])
def test_executor__opens_for_no_other_step(change: dict[str, object]) -> None:
    bench = Bench(("arith",))
    sealed = replace(set_of(bench, committed(bench)), **change)  # type: ignore[arg-type]
    assert not sent(bench.hear(STRANGER, sealed), Reveal)
    assert bench.core.rejected == {"unknown": 1}


def test_executor__does_not_open_against_a_set_with_another_commitment() -> None:
    bench = Bench(("arith",))
    commit = replace(committed(bench), commitment=bytes(32))
    assert not sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    assert bench.core.rejected == {"commitment": 1}


def test_executor__does_not_open_before_it_has_an_answer() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, award)
    forged = CommitSet(award.task, 0, 0, 0, ((bench.core.me, bytes(32)),))
    assert not sent(bench.hear(STRANGER, forged), Reveal)
    assert bench.core.rejected == {"commitment": 1}
    assert len(sent(bench.step(inferred(effects, "answer: 4")), Commit)) == 1


def test_set_without_us__closes_the_round_and_the_answer_is_committed_anew() -> None:
    bench = Bench(("arith",))
    first = committed(bench)
    effects = bench.hear(STRANGER, replace(set_of(bench, first), members=((STRANGER.public_key, bytes(32)),)))
    assert not sent(effects, Reveal)
    ((_, again),) = sent(effects, Commit)
    assert (again.round, again.award) == (1, first.award)
    assert again.commitment != first.commitment
    ((_, reveal),) = sent(bench.hear(STRANGER, set_of(bench, again)), Reveal)
    assert (reveal.round, reveal.answer) == (1, "4")


def test_set_without_us__that_comes_before_the_answer_moves_it_to_the_next_round() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    effects = bench.hear(STRANGER, award)
    bench.hear(STRANGER, CommitSet(award.task, 0, 0, 0, ((STRANGER.public_key, bytes(32)),)))
    ((_, commit),) = sent(bench.step(inferred(effects, "answer: 4")), Commit)
    assert commit.round == 1


def test_rounds__end_with_the_last_one() -> None:
    bench = Bench(("arith",))
    commit = committed(bench)
    for number in range(ROUNDS_MAX):
        effects = bench.hear(STRANGER, CommitSet(commit.task, 0, 0, number, ()))
        assert len(sent(effects, Commit)) == (1 if number + 1 < ROUNDS_MAX else 0)


def test_second_set__for_one_round_is_refused_and_proven_to_all() -> None:
    bench = Bench(("arith",))
    commit = committed(bench)
    sealed = set_of(bench, commit)
    other = replace(sealed, members=())
    assert len(sent(bench.hear(STRANGER, sealed), Reveal)) == 1
    effects = bench.hear(STRANGER, other)
    assert not sent(effects, Reveal)
    assert bench.core.rejected == {"conflict": 1}
    ((_, fault),) = sent(effects, Fault)
    assert fault.kind == "commit_sets"
    assert fault.check(PARAMETERS.network) == STRANGER.public_key
    assert {CommitSet.parse(open_envelope(data).body) for data in fault.parts} == {sealed, other}


def test_second_set__after_one_without_us_does_not_open_it_either() -> None:
    bench = Bench(("arith",))
    sealed = set_of(bench, committed(bench))
    bench.hear(STRANGER, replace(sealed, members=()))
    assert not sent(bench.hear(STRANGER, sealed), Reveal)
    assert bench.core.rejected == {"conflict": 1}


@pytest.mark.parametrize("how", ["cancel", "lost", "over"])
def test_answer__is_forgotten_when_nobody_waits_for_it(how: str) -> None:
    bench = Bench(("arith",))
    bench.join(STRANGER)
    commit = committed(bench)
    if how == "cancel":
        bench.hear(STRANGER, Cancel(commit.task, 0, 0, commit.award))
    elif how == "lost":
        bench.step(PeerLost(STRANGER.public_key))
    else:
        bench.wait(DEADLINE_MS_DEFAULT)
    bench.hear(STRANGER, set_of(bench, commit))
    assert bench.core.rejected == {"unknown": 1}


def test_answers__are_bounded_and_who_has_most_loses_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.commitments.COMMITMENTS_MAX", 4)
    assert COMMITMENTS_MAX > 4
    bench = Bench(("arith",))
    quiet = peers(1, "quiet")[0]
    kept = committed(bench, quiet)
    many = [committed(bench, STRANGER, step=step) for step in range(5)]
    assert len(sent(bench.hear(quiet, set_of(bench, kept)), Reveal)) == 1
    opened = [len(sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)) for commit in many]
    assert opened == [0, 0, 1, 1, 1]


def test_opened_answers__go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.commitments.COMMITMENTS_MAX", 4)
    bench = Bench(("arith",))
    early = [committed(bench, STRANGER, step=step) for step in range(3)]
    bench.hear(STRANGER, set_of(bench, early[2]))
    late = [committed(bench, STRANGER, step=step) for step in range(3, 5)]
    assert [len(sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)) for commit in (*early[:2], *late)] == [1, 1, 1, 1]


def test_commit_set__out_of_order_cannot_be_built() -> None:
    with pytest.raises(LocalProtocolError):
        CommitSet(bytes(16), 0, 0, 0, ((b"b" * 32, bytes(32)), (b"a" * 32, bytes(32))))
