"""Cores over links that lose, reorder and double what they carry: every request has one outcome, and nothing is left behind.

The channel promises better (specs/04-transport.md): a node that keeps this keeps its owner's questions whatever the wire does.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import ClassVar, Final

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from protocol.answers import answer_of
from protocol.constants import DEADLINE_MS_MAX, LEASES_MAX, TASKS_MAX
from protocol.outcome import OutcomeKind
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from tests.support import EXPERT, exercise, failing, solver
from tests.wild import IDLE_MS, Wild, entries

QUESTIONS: Final = [exercise("arith", seed) for seed in range(4)]
GOLDS: Final = {question.text: question.gold for question in QUESTIONS}

# What a node may hold more of after a question than before: the entries of ledgers, which grow for good, and what has a
# bound of its own. Evidence of its own and from others, with the batches of audits that it comes from; ids against replay,
# awards that were taken, attempts at an address, counters with one entry a type of message or kind of fault. Who rests or is
# left alone is forgotten when the next one has to, and whose clock seems wrong (a record came late) when its channel ends.
_GROWS: Final = re.compile(
    r"\._senders\b|\._full_at_ms$|\.(sent|received|_?rejected|_resting_until_ms|_paused_until_ms|_notice_at_ms)$|\._?faults\._awards$"
    r"|\._?(ledger|followed|following|imports|evidence|audit_records|records|openings|batches|acknowledged)\b"
    # What the last step wanted done, which the next one begins anew.
    r"|\._outbox\.effects$"
    # What was computed, until something changes; bounded by itself.
    r"|^core\._counted$"
)


def slow(prompt: str, draws: Stream) -> Solution:
    """A model that takes longer than a lease without signs of life."""
    return solver(EXPERT, elapsed_ms=9_000)(prompt, draws)


class Wires(RuleBasedStateMachine):
    """Two nodes, of which one has a model; the other rules are those of the links."""

    solvers: ClassVar[tuple[Solver | None, ...]] = (None, solver(EXPERT))
    evidenced: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.wild = Wild(self.solvers, evidenced=self.evidenced)
        self.asked: list[tuple[Host, bytes, str]] = []
        self.baseline: list[Counter[str]] = []

    @initialize()
    def one_question_has_been_answered(self) -> None:
        """So that every table that a question fills for good has been filled."""
        for host in self.wild.hosts:
            self.asked.append((host, self.wild.ask(host, QUESTIONS[0].text), QUESTIONS[0].text))
        self.wild.settle(IDLE_MS)
        self.baseline = [entries(host.core) for host in self.wild.hosts]

    def _host(self, number: int) -> Host:
        return self.wild.hosts[number % len(self.wild.hosts)]

    def _packet(self, number: int) -> int:
        return number % len(self.wild.packets)

    # --- Inputs

    @rule(
        number=st.integers(0, 3),
        question=st.sampled_from(QUESTIONS),
        deadline_ms=st.sampled_from([None, 1, 500, DEADLINE_MS_MAX]),
    )
    def ask(self, number: int, question: object, deadline_ms: int | None) -> None:
        text = question.text  # type: ignore[attr-defined]
        host = self._host(number)
        self.asked.append((host, self.wild.ask(host, text, deadline_ms), text))

    @precondition(lambda self: self.wild.packets)
    @rule(number=st.integers(0, 20), count=st.integers(1, 6))
    def arrive_out_of_order(self, number: int, count: int) -> None:
        for _ in range(count):
            if self.wild.packets:
                self.wild.arrive(self.wild.packets.pop(self._packet(number)))

    @precondition(lambda self: self.wild.packets)
    @rule()
    def arrive_in_order(self) -> None:
        for _ in range(len(self.wild.packets)):
            if self.wild.packets:
                self.wild.arrive(self.wild.packets.pop(0))

    @precondition(lambda self: self.wild.packets)
    @rule(number=st.integers(0, 20))
    def arrive_twice(self, number: int) -> None:
        """The first time now, the second time later, if its channel is still there then."""
        self.wild.arrive(self.wild.packets[self._packet(number)])

    @precondition(lambda self: self.wild.packets)
    @rule(number=st.integers(0, 20))
    def lose(self, number: int) -> None:
        del self.wild.packets[self._packet(number)]

    @rule(one=st.integers(0, 3), other=st.integers(0, 3))
    def cut(self, one: int, other: int) -> None:
        self.wild.cut(self._host(one), self._host(other))

    @rule()
    def heal(self) -> None:
        self.wild.heal()

    @rule(for_ms=st.sampled_from([1, 40, 150, 1_500, 2_000, 6_000, 40_000]))
    def let_pass(self, for_ms: int) -> None:
        self.wild.let_pass(for_ms)

    # --- What holds at every moment, and at the end

    @invariant()
    def no_request_has_two_outcomes(self) -> None:
        assert all(count == 1 for count in self.wild.delivered.values())

    @invariant()
    def tables_have_their_bounds(self) -> None:
        for host in self.wild.hosts:
            assert host.core.leases <= LEASES_MAX
            assert host.core.tasks <= TASKS_MAX

    def teardown(self) -> None:
        self.wild.heal()
        self.wild.settle(IDLE_MS)
        for host, request, text in self.asked:
            assert self.wild.delivered[host.key, request] == 1
            self._agrees(host, request, text)
        for host, baseline in zip(self.wild.hosts, self.baseline, strict=True):
            assert (host.core.tasks, host.core.leases) == (0, 0)
            grown = {path: count for path, count in entries(host.core).items() if count > baseline[path]}
            left = {path: count for path, count in grown.items() if not _GROWS.search(path)}
            assert not left, left

    def _agrees(self, host: Host, request: bytes, text: str) -> None:
        """What the requester's tally counts for an executor is what that executor's model wrote."""
        outcome = host.outcomes[request]
        for seat in outcome.seats:
            if seat.state == "answered":
                assert seat.answer in {answer_of("number", said) for said in self.wild.said[seat.peer, text]}
        if outcome.kind is OutcomeKind.ANSWERED and all(
            answer in (None, GOLDS[text]) for answer in (s.answer for s in outcome.seats)
        ):
            assert outcome.answer == GOLDS[text]


class FourWires(Wires):
    """Four nodes: two good models, one that fails, and one that is slower than a lease."""

    solvers = (solver(EXPERT), solver(EXPERT), failing, slow)


class Audited(Wires):
    """Nodes that know nothing of each other yet, so the first question of each brings audits with it."""

    solvers = (None, solver(EXPERT), solver({"arith": 300}))
    evidenced = False


# Making an example smaller takes minutes here, and thirty steps can be read.
_SETTINGS: Final = settings(max_examples=12, stateful_step_count=30, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@pytest.mark.parametrize("machine", [Wires, FourWires, Audited])
def test_links_that_lose_reorder_and_double__leave_one_outcome_a_request_and_nothing_behind(machine: type[Wires]) -> None:
    run_state_machine_as_test(machine, settings=_SETTINGS)
