"""A seat at its requester: each state with each input, and inputs in any order, keep to the table `SEAT`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import Phase as HypothesisPhase
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from protocol.ballot import Commit, CommitSet
from protocol.constants import DEADLINE_MS_DEFAULT, LEASE_MS, REVEAL_MS_MAX, ROUNDS_MAX, SEATS_DEFAULT
from protocol.envelope import Envelope
from protocol.events import PeerLost
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Decline, Progress
from protocol.schema import Message
from protocol.seats import SEAT, Seat, SeatState
from protocol.task import Task
from tests.core_bench import GOLD, QUESTION, STRANGER, awarded, holder, requester
from tests.support import sealed_answer, sent

RIGHT: Final = f"answer: {GOLD}"


class Seats:
    """A requester with a task whose seats are awarded, and what their holders may say."""

    def __init__(self, peers: int = SEATS_DEFAULT) -> None:
        self.bench, self.others = requester(peers)
        awarded(self.bench, self.others)
        (self.task,) = self.bench.core._requester.tasks()
        # Lists of the task itself: they go on growing, and stay when it has ended.
        self.seats: list[Seat] = self.task.seats

    def award(self, seat: Seat) -> tuple[Envelope, Award]:
        return next(award for award in sent(self.bench.effects, Award) if award[0].id == seat.award_id)

    def peer(self, seat: Seat) -> KeySigner:
        return holder(self.award(seat), self.others)

    def says(self, seat: Seat, event: str, output: str = RIGHT, number: int | None = None) -> Message:
        """What the holder of a seat says by `event`: a name from the table; its answer is for the round that it is bound to."""
        award = self.award(seat)
        body = award[1]
        step = (body.task, body.plan, body.step, award[0].id)
        number = number if number is not None else seat.round if seat.commit else min(self.task.round, ROUNDS_MAX - 1)
        commit, reveal = sealed_answer(self.peer(seat), award, output, number)
        said: dict[str, Message] = {
            "accept": Accept(*step),
            "progress": Progress(*step),
            "decline": Decline(*step, "busy"),
            "commit": commit,
            "reveal": reveal,
            "mismatch": replace(reveal, answer="1000"),
        }
        return said[event]

    def hear(self, seat: Seat, event: str, output: str = RIGHT) -> None:
        self.bench.wait(1)  # or two accepts would be one envelope
        self.bench.hear(self.peer(seat), self.says(seat, event, output))


def offered(seats: Seats, seat: Seat) -> None:
    assert seat.state is SeatState.OFFERED, seats


def accepted(seats: Seats, seat: Seat) -> None:
    seats.hear(seat, "accept")


def committed(seats: Seats, seat: Seat) -> None:
    seats.hear(seat, "commit")


def sealed(seats: Seats, seat: Seat) -> None:
    """All commit, to different answers, so that what one of them opens decides nothing."""
    for number, each in enumerate(sorted(seats.seats, key=lambda other: other is seat)):
        seats.hear(each, "commit", f"answer: {number}")


def done(seats: Seats, seat: Seat) -> None:
    sealed(seats, seat)
    seats.hear(seat, "reveal", f"answer: {len(seats.seats) - 1}")


def failed(seats: Seats, seat: Seat) -> None:
    seats.hear(seat, "decline")


REACH: Final[dict[SeatState, Callable[[Seats, Seat], None]]] = {
    SeatState.OFFERED: offered,
    SeatState.ACCEPTED: accepted,
    SeatState.COMMITTED: committed,
    SeatState.SEALED: sealed,
    SeatState.DONE: done,
    SeatState.FAILED: failed,
}
SAID: Final = ("accept", "progress", "decline", "commit", "reveal", "mismatch")
# What the table knows and nobody says: time, channels, and the requester's own decisions.
DRIVEN: Final = ("expired", "lost", "set", "unneeded")


def test_tables__here_and_there_know_the_same_states_and_inputs() -> None:
    assert set(REACH) == set(SeatState)
    assert {event for _, event in SEAT} == {*SAID, *DRIVEN}


@pytest.mark.parametrize("event", SAID)
@pytest.mark.parametrize("state", SeatState)
def test_message__in_every_state_moves_the_seat_as_the_table_says_or_not_at_all(state: SeatState, event: str) -> None:
    seats = Seats()
    seat = seats.seats[0]
    REACH[state](seats, seat)
    assert seat.state is state
    refused, transcript = seats.bench.core.rejected.total(), len(seats.task.transcript)
    # What was committed is opened truly, or else not.
    seats.hear(seat, event, f"answer: {SEATS_DEFAULT - 1}" if state is SeatState.SEALED else RIGHT)
    expected = SEAT.get((state, event))
    assert seat.state is (expected or state)
    assert seats.bench.core.rejected.total() - refused == (expected is None)
    if expected is None:
        assert len(seats.task.transcript) == transcript


@pytest.mark.parametrize("event", SAID)
@pytest.mark.parametrize("state", SeatState)
def test_message__of_who_does_not_hold_the_seat_moves_nothing(state: SeatState, event: str) -> None:
    seats = Seats()
    seat = seats.seats[0]
    REACH[state](seats, seat)
    message = seats.says(seat, event)
    seats.bench.meet(STRANGER)
    for other in (seats.peer(seats.seats[1]), STRANGER):
        before = [each.state for each in seats.seats]
        seats.bench.hear(other, message)
        assert [each.state for each in seats.seats] == before
    assert seats.bench.core.rejected["impostor"] == 2


@pytest.mark.parametrize("state", SeatState)
def test_lost_channel__fails_every_seat_that_owes_something(state: SeatState) -> None:
    seats = Seats()
    seat = seats.seats[0]
    REACH[state](seats, seat)
    seats.bench.step(PeerLost(seat.peer))
    assert seat.state is SEAT.get((state, "lost"), state)


@pytest.mark.parametrize("state", SeatState)
def test_deadline__fails_every_seat_that_owes_something(state: SeatState) -> None:
    seats = Seats()
    seat = seats.seats[0]
    REACH[state](seats, seat)
    seats.bench.wait(DEADLINE_MS_DEFAULT)
    assert seat.state is SEAT.get((state, "expired"), state)
    assert not seats.bench.core.tasks


class AnyOrder(RuleBasedStateMachine):
    """Holders that say anything at any time: each seat moves along the table, and the question has one outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Seats(peers=6)
        self.before: list[SeatState] = []
        self.answers: dict[bytes, str] = {}
        self.members: set[tuple[bytes, int, bytes]] = set()
        self.read = 0
        self._note()

    @property
    def task(self) -> Task:
        return self.table.task

    def _note(self) -> None:
        self.before = [seat.state for seat in self.table.seats]

    @rule(
        number=st.integers(0, 15),
        event=st.sampled_from([*SAID, "commit", "commit", "commit", "reveal", "reveal"]),
        answer=st.sampled_from([GOLD, GOLD, "1", "2", "nothing"]),
    )
    def hear(self, number: int, event: str, answer: str) -> None:
        seat = self.table.seats[number % len(self.table.seats)]
        state, running = seat.state, bool(self.table.bench.core.tasks)
        refused = self.table.bench.core.rejected.total()
        if event in ("reveal", "mismatch"):
            answer = self.answers.get(seat.award_id, answer)
        elif event == "commit" and (state, event) in SEAT:
            self.answers[seat.award_id] = answer
        message = self.table.says(seat, event, f"answer: {answer}")
        if isinstance(message, Commit) and seat.at_work:
            message = replace(message, round=min(self.task.round, ROUNDS_MAX - 1))
        self.table.bench.wait(1)
        if seat.state is not state or bool(self.table.bench.core.tasks) != running:
            return  # its time was over before it spoke
        self.table.bench.hear(self.table.peer(seat), message)
        if not running or (state, event) not in SEAT:
            assert seat.state is state
            assert self.table.bench.core.rejected.total() > refused

    @rule(number=st.integers(0, 30), for_ms=st.sampled_from([1, 1, 30, 500, REVEAL_MS_MAX, LEASE_MS]))
    def let_pass(self, number: int, for_ms: int) -> None:
        """Time, and now and then a channel that ends."""
        if number < len(self.table.others):
            self.table.bench.step(PeerLost(self.table.others[number].public_key))
        self.table.bench.wait(for_ms)

    @invariant()
    def seats_move_along_the_table(self) -> None:
        for seat, old in zip(self.table.seats, self.before, strict=False):
            assert seat.state in _reachable(old), (old, seat.state)
        for seat in self.table.seats[len(self.before) :]:
            assert seat.state in _reachable(SeatState.OFFERED)
        self._note()

    @invariant()
    def each_seat_is_reported_once_when_it_is_over(self) -> None:
        over = [seat for seat in self.table.seats if not seat.open]
        assert sorted(report.peer for report in self.task.reports) == sorted(seat.peer for seat in over)
        assert len({seat.peer for seat in self.table.seats}) == len(self.table.seats)

    @invariant()
    def an_answer_counts_only_if_it_was_in_the_signed_set(self) -> None:
        new = sent(self.table.bench.effects[self.read :], CommitSet)
        self.read = len(self.table.bench.effects)
        self.members |= {(peer, sealed.round, bound) for _, sealed in new for peer, bound in sealed.members}
        for seat in self.table.seats:
            if seat.state is SeatState.DONE:
                assert seat.commit is not None
                assert (seat.peer, seat.round, seat.commit.commitment) in self.members

    def teardown(self) -> None:
        self.table.bench.wait(DEADLINE_MS_DEFAULT)
        assert self.table.bench.outcome(QUESTION) is not None
        assert not self.table.bench.core.tasks
        assert not any(seat.open for seat in self.table.seats)


def _reachable(state: SeatState) -> set[SeatState]:
    found, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        for (old, _), new in SEAT.items():
            if old is here and new not in found:
                found.add(new)
                waiting.append(new)
    return found


# Making an example smaller takes minutes here, and thirty steps can be read.
PHASES: Final = (HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate)


def test_holders__that_say_anything_in_any_order_move_seats_along_the_table_alone() -> None:
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=25, stateful_step_count=30, phases=PHASES))
