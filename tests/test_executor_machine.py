"""A lease at its executor, under inputs in any order: it is begun once, answered once, opened once, and always given back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import DEADLINE_MS_DEFAULT, LEASE_MS, ROUNDS_MAX
from protocol.envelope import envelope_id
from protocol.events import CancelInference, Effect, EffectDone, Infer, InferenceResult, PeerConnected, PeerLost
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Bid, Cancel, Decline
from protocol.schema import Message
from tests.core_bench import offered
from tests.support import Bench, peers, sent

ASKERS: Final = peers(3, "asker")
_OTHER: Final = b"\x01" * 32


@dataclass
class Given:
    """One award, and all that the executor said and did about it."""

    asker: KeySigner
    award: Award
    id: bytes
    said: list[Message] = field(default_factory=list)
    sets: list[CommitSet] = field(default_factory=list)

    def count(self, kind: type[Message]) -> int:
        return sum(isinstance(message, kind) for message in self.said)


class Executor(RuleBasedStateMachine):
    """Three requesters that say anything to a node with one slot."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(("arith",))
        self.given: dict[bytes, Given] = {}
        self.running: set[int] = set()
        self.read = 0
        self.step_number = 0

    @initialize()
    def all_are_connected(self) -> None:
        self.bench.meet(*ASKERS)

    # --- Inputs

    @rule(
        who=st.sampled_from(ASKERS),
        wrong=st.sampled_from([None, None, None, None, "question", "bid", "twice"]),
        ends=st.sampled_from(["answer: 4", None, "no mark", "error"]),
    )
    def award(self, who: KeySigner, wrong: str | None, ends: str | None) -> None:
        """A beacon, and the award that follows its bid; or one that does not fit it."""
        self.step_number = (self.step_number + 1) % 64
        if not self.bench.core.peers.is_connected(who.public_key):
            self.bench.step(PeerConnected(who.public_key))
        try:
            award, effects = offered(self.bench, who, step=self.step_number)
        except ValueError:
            return  # an earlier bid of that step is still open
        assert len(sent(effects, Bid)) == 1
        if wrong == "question":
            award = replace(award, question="another")
        elif wrong == "bid":
            award = replace(award, bid=_OTHER)
        for _ in range(2 if wrong == "twice" else 1):
            data = self.bench.sealed(who, award)
            award_id = envelope_id(data)
            self.given.setdefault(award_id, Given(who, award, award_id))
            self.bench.hear(who, award)
            self.bench.wait(1)
        self._note()
        if self.running and ends is not None:
            self.model_ends(number=0, how=ends)

    def _one(self, number: int) -> Given:
        return list(self.given.values())[number % len(self.given)]

    @precondition(lambda self: self.given)
    @rule(number=st.integers(0, 30), who=st.sampled_from([None, *ASKERS]))
    def cancel(self, number: int, who: KeySigner | None) -> None:
        if number >= len(self.given):
            return
        one = self._one(number)
        award = one.award
        self.bench.wait(1)
        self.bench.hear(who or one.asker, Cancel(award.task, award.plan, award.step, one.id))

    @precondition(lambda self: self.given)
    @rule(
        number=st.integers(0, 9),
        what=st.sampled_from(["own", "own", "own", "without", "other", "late"]),
        who=st.sampled_from([None] * 9 + ASKERS),
    )
    def commit_set(self, number: int, what: str, who: KeySigner | None) -> None:
        bound_ones = [one for one in self.given.values() if one.count(Commit)]
        one = bound_ones[number % len(bound_ones)] if bound_ones and number else self._one(number)
        commits = [message for message in one.said if isinstance(message, Commit)]
        bound = commits[-1] if commits else None
        members = {
            "own": ((self.bench.core.me, bound.commitment if bound else _OTHER),),
            "other": ((self.bench.core.me, _OTHER),),
        }
        at = bound.round if bound else 0
        sealed = CommitSet(
            one.award.task,
            one.award.plan,
            one.award.step,
            min(at + 1, ROUNDS_MAX - 1) if what == "late" else at,
            members.get("own" if what == "late" else what, ()),
        )
        self.bench.wait(1)
        if who in (None, one.asker):
            one.sets.append(sealed)
        self.bench.hear(who or one.asker, sealed)

    @precondition(lambda self: self.running)
    @rule(number=st.integers(0, 9), how=st.sampled_from(["answer: 4", "no mark", "error", "long"]))
    def model_ends(self, number: int, how: str) -> None:
        effect = sorted(self.running)[number % len(self.running)]
        self.running.discard(effect)
        if how in ("error", "long"):
            self.bench.step(EffectDone(effect, error="x", too_long=how == "long"))
        else:
            self.bench.step(EffectDone(effect, result=InferenceResult(how, 1, 2, 3)))

    @rule(number=st.integers(0, 30), for_ms=st.sampled_from([1, 1, 1, LEASE_MS // 3, DEADLINE_MS_DEFAULT]))
    def let_pass(self, number: int, for_ms: int) -> None:
        """Time, and now and then a channel that ends."""
        if number < len(ASKERS):
            self.bench.step(PeerLost(ASKERS[number].public_key))
        self.bench.wait(for_ms)

    # --- What holds

    @invariant()
    def what_holds(self) -> None:
        self._note()
        self._model_works_on_leases_alone()
        self._awards_have_one_course()
        self._answers_are_opened_against_their_own_sets()
        self._rounds_have_one_commitment()

    def _note(self) -> None:
        new: list[Effect] = self.bench.effects[self.read :]
        self.read = len(self.bench.effects)
        for effect in new:
            if isinstance(effect, Infer):
                self.running.add(effect.effect)
            elif isinstance(effect, CancelInference):
                self.running.discard(effect.effect)
        for kind in (Accept, Decline, Commit, Reveal):
            for envelope, message in sent(new, kind):
                assert isinstance(message, Accept | Decline | Commit | Reveal)
                one = self.given[message.award]
                assert envelope.to == one.asker.public_key, "spoke of an award to another than who made it"
                one.said.append(message)

    def _model_works_on_leases_alone(self) -> None:
        assert len(self.running) <= min(self.bench.core.leases, 1)

    def _awards_have_one_course(self) -> None:
        for one in self.given.values():
            assert one.count(Accept) + one.count(Decline) <= 1 or one.count(Accept) == one.count(Decline) == 1
            assert not one.count(Commit) or one.count(Accept) == 1
            assert one.count(Reveal) <= 1

    def _answers_are_opened_against_their_own_sets(self) -> None:
        for one in self.given.values():
            for reveal in (message for message in one.said if isinstance(message, Reveal)):
                commit = next(said for said in one.said if isinstance(said, Commit) and said.round == reveal.round)
                first = next(sealed for sealed in one.sets if sealed.round == reveal.round)
                assert dict(first.members)[self.bench.core.me] == commit.commitment

    def _rounds_have_one_commitment(self) -> None:
        for one in self.given.values():
            rounds = Counter(message.round for message in one.said if isinstance(message, Commit))
            assert all(count == 1 for count in rounds.values())

    def teardown(self) -> None:
        while self.running:
            self.bench.step(EffectDone(self.running.pop(), error="the end"))
            self._note()  # the model has the next lease now, if one waits
        assert self.bench.core.leases == 0
        self.bench.wait(2 * DEADLINE_MS_DEFAULT)
        execution = self.bench.core._execution
        assert not execution._bidding._bids
        assert not execution._commitments._bound


def test_requesters__that_say_anything_in_any_order_leave_each_award_one_course() -> None:
    phases = (Phase.explicit, Phase.reuse, Phase.generate)  # making an example smaller takes minutes here
    run_state_machine_as_test(Executor, settings=settings(max_examples=25, stateful_step_count=30, phases=phases))
