"""What a whole network sees of one owner's pause and caps: a node that is not there to ask, and never a lease that expires."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.allowance import HOUR_MS, SLOTS, Caps
from protocol.ballot import Commit
from protocol.constants import TOKENS_GENERAL
from protocol.events import Effect, Infer, Paused
from protocol.outcome import Outcome
from simnet.host import Host, Solver
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, host_of, parse, record, solver

TOKENS = 200
NAMES = ("asker", "one", "two", "three", "four")
_MISSED = ("lease expired", "deadline", "connection lost")


def wordy(solve: Solver) -> Solver:
    return lambda prompt, draws: replace(solve(prompt, draws), tokens=TOKENS)


def world_with(caps: Caps = Caps(), seed: int = 1) -> World:  # noqa: B008  frozen
    """Five experts; the last one's owner set `caps`."""
    world = World(PARAMETERS, seed)
    hosts = [
        world.add(name, record("arith"), wordy(solver(EXPERT)), caps=caps if name == NAMES[-1] else Caps()) for name in NAMES
    ]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=5_000)
    return world


def ask(world: World, count: int, apart_ms: int = 300, first: int = 0) -> list[tuple[str, Outcome]]:
    """Ask one question after another without waiting; gives (gold, outcome)."""
    asker, asked = host_of(world, "asker"), []
    for seed in range(first, first + count):
        question = exercise("arith", seed)
        asked.append((question.gold, world.ask(asker, question.text)))
        world.run(for_ms=apart_ms)
    world.run(until=lambda: all(request in asker.outcomes for _, request in asked))
    return [(gold, asker.outcomes[request]) for gold, request in asked]


def missed(outcomes: list[tuple[str, Outcome]]) -> list[str]:
    return [seat.state for _, outcome in outcomes for seat in outcome.seats if seat.state in _MISSED]


def work_of(world: World, host: Host) -> list[Effect]:
    """Collect from now on every inference that `host` begins."""
    begun: list[Effect] = []

    def observe(source: Host, effect: Effect) -> None:
        if source is host and isinstance(effect, Infer):
            begun.append(effect)

    world.observer = observe
    return begun


@given(pauses=st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), min_size=1, max_size=6), seed=st.integers(1, 3))
@settings(max_examples=6)
def test_pause__at_any_moment_costs_no_answer_and_no_lease(pauses: list[tuple[int, bool]], seed: int) -> None:
    world = world_with(seed=seed)
    for delay_ms, paused in pauses:
        world.after(delay_ms, host_of(world, "four"), Paused(paused))
    outcomes = ask(world, 8)
    assert [outcome.answer for _, outcome in outcomes] == [gold for gold, _ in outcomes]
    assert missed(outcomes) == []


def test_paused_node__begins_no_work_and_others_know() -> None:
    world = world_with()
    four = host_of(world, "four")
    world.after(0, four, Paused(paused=True))
    world.run(for_ms=1_000)
    begun = work_of(world, four)
    outcomes = ask(world, 10)
    assert begun == []
    assert all(four.key not in {bid.peer for bid in outcome.bids} for _, outcome in outcomes)
    assert four.key not in host_of(world, "asker").core.candidates("arith")


def test_paused_node__asks_and_is_answered() -> None:
    world = world_with()
    four = host_of(world, "four")
    world.after(0, four, Paused(paused=True))
    question = exercise("arith", 5)
    outcome = world.answer(four, question.text)
    assert outcome.answer == question.gold
    assert four.key not in {bid.peer for bid in outcome.bids}


def test_capped_node__works_up_to_its_cap_and_again_when_the_hour_is_over() -> None:
    world = world_with(Caps(requests_per_hour=7))
    four = host_of(world, "four")
    begun = work_of(world, four)
    outcomes = ask(world, 40)
    assert [outcome.answer for _, outcome in outcomes] == [gold for gold, _ in outcomes]
    assert missed(outcomes) == []
    # Audits are requests like any other.
    assert len(begun) == 7
    assert four.core.own_record.available is False
    assert four.key not in host_of(world, "asker").core.candidates("arith")
    world.run(for_ms=HOUR_MS + HOUR_MS // SLOTS)
    assert four.key in host_of(world, "asker").core.candidates("arith")


def test_node_with_a_cap_on_tokens__counts_what_its_model_wrote() -> None:
    world = world_with(Caps(tokens_per_day=4_096))
    four = host_of(world, "four")
    begun = work_of(world, four)
    outcomes = ask(world, 50)
    assert missed(outcomes) == []
    assert four.core.own_record.available is False
    # What is left is less than a question without a skill may take.
    assert 4_096 - TOKENS_GENERAL < TOKENS * len(begun) <= 4_096


def test_capped_node__never_sends_more_than_its_cap_whatever_is_asked_at_once() -> None:
    world = world_with(Caps(requests_per_hour=5))
    four, results = host_of(world, "four"), Counter[bytes]()

    def observe(source: Host, effect: Effect) -> None:
        data = getattr(effect, "data", b"")
        if source is four and data and isinstance(parse(data)[1], Commit):
            results[four.key] += 1

    world.observer = observe
    outcomes = ask(world, 30, apart_ms=0)
    assert results[four.key] <= 5
    assert missed(outcomes) == []
    declined = [seat.state for _, outcome in outcomes for seat in outcome.seats if seat.state.startswith("declined")]
    assert set(declined) <= {"declined: cap", "declined: busy"}
