"""Checkers of what must hold: each of them passes an honest run and finds what breaks its rule."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from protocol.constants import LEASES_MAX
from protocol.envelope import open_envelope, seal
from protocol.events import Deliver, Effect, Send
from protocol.messages import Award
from protocol.outcome import Outcome
from simnet.checkers import (
    Bounded,
    Checker,
    FaultsKnown,
    ForgeriesUnheard,
    LedgersConverge,
    NoLeaseLost,
    NoSeatTwice,
    OneOutcome,
    Rederives,
    all_checkers,
)
from simnet.host import Host
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, host_of, solver, world_of
from tests.test_faults import two_records


@functools.cache
def course() -> tuple[World, Host, tuple[Effect, ...]]:
    """A world in which a question was answered, who asked it, and all that it wanted done."""
    world = world_of({name: solver(EXPERT) for name in "abcd"})
    asker, seen = host_of(world, "a"), list[Effect]()
    world.observer = lambda host, effect: seen.append(effect) if host is asker else None
    world.answer(asker, exercise("arith", 3).text)
    # Until the question would have ended in any case.
    world.run(for_ms=70_000)
    return world, asker, tuple(seen)


def delivered() -> Deliver:
    (found,) = (effect for effect in course()[2] if isinstance(effect, Deliver))
    return found


def shown(checker: Checker, *effects: Effect, at_end: bool = False) -> list[str]:
    world, asker, _ = course()
    for effect in effects:
        checker.on_effect(world, asker, effect)
    if at_end:
        checker.on_end(world, list(world.hosts.values()))
    return [violation.text for violation in checker.found]


@pytest.mark.parametrize("number", range(len(all_checkers(PARAMETERS))))
def test_checker__finds_nothing_in_an_honest_run(number: int) -> None:
    checker = all_checkers(PARAMETERS)[number]
    assert shown(checker, *course()[2], at_end=True) == []


def test_one_outcome__finds_a_second_one_and_a_question_without_any() -> None:
    (text,) = shown(OneOutcome(), delivered(), delivered())
    assert "has a second outcome" in text
    assert "never had an outcome" in shown(OneOutcome(), at_end=True)[0]


def test_rederives__finds_a_receipt_that_does_not_hold() -> None:
    broken = replace(delivered(), receipt=delivered().receipt[:-1] + b"\x00")
    assert "does not hold" in shown(Rederives(PARAMETERS), broken)[0]


def test_no_seat_twice__finds_another_award_of_one_bid() -> None:
    awards = [effect for effect in course()[2] if isinstance(effect, Send) and open_envelope(effect.data).type == Award.TYPE]
    envelope = open_envelope(awards[0].data)
    asker, award = course()[1], envelope.message(Award)
    again = replace(award, seat=award.seat + 1)
    data = seal(asker.signer, envelope.network, Award.TYPE, envelope.to, again.body(), envelope.issued_ms, 60_000)
    (text,) = shown(NoSeatTwice(), *awards, Send(0, awards[0].peer, data))
    assert "was awarded twice" in text


def test_bounded__finds_more_leases_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(course()[1].core), "leases", LEASES_MAX + 1)
    assert f"has {LEASES_MAX + 1} leases" in shown(Bounded(), delivered())[0]


def test_no_lease_lost__finds_one_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(course()[1].core), "leases", 1)
    assert "still holds 1 leases" in shown(NoLeaseLost(), at_end=True)[0]


def test_ledgers_converge__finds_a_follower_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, _ = course()
    follower = host_of(world, "b")
    behind = type(asker.core.ledger.chain)()
    held = follower.core.followed.get(asker.key)
    assert held is not None
    for data in held.since(0, 1, 1 << 20):
        from protocol.ledger import parse_entry  # noqa: PLC0415

        behind.add(parse_entry(data))
    monkeypatch.setattr(follower.core.followed, "get", lambda author: behind if author == asker.key else None)
    assert "lacks entry 1 of a" in shown(LedgersConverge(), at_end=True)[0]


def test_ledgers_converge__finds_a_follower_that_holds_nothing_though_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, _ = course()
    followed = host_of(world, "b").core.followed
    get = followed.get
    monkeypatch.setattr(followed, "get", lambda author: None if author == asker.key else get(author))
    checker = LedgersConverge()
    assert shown(checker, at_end=True) == [f"lacks entry 0 of a, which holds {asker.core.ledger.chain.next}"]
    assert [(each.kind, each.node) for each in checker.found] == [("liveness", "b")]
    # Who has no room for it need not.
    with monkeypatch.context() as patch:
        patch.setattr(followed, "has_room", lambda author: author != asker.key)
        assert shown(LedgersConverge(), at_end=True) == []
    # Nor who has heard no record of it.
    peers = host_of(world, "b").core.peers
    known = peers.get(asker.key)
    assert known is not None
    monkeypatch.setattr(known, "record", None)
    assert shown(LedgersConverge(), at_end=True) == []


def test_faults_known__finds_a_proof_against_the_honest_and_one_that_was_not_told() -> None:
    world = world_of({name: solver(EXPERT) for name in "abc"})
    a, b, _ = world.hosts.values()
    fault = two_records(b.signer)
    a.core.faults._keep(b.key, fault)
    checker = FaultsKnown()
    checker.on_end(world, [a, b])
    assert ("safety", "a") in [(each.kind, each.node) for each in checker.found]
    checker = FaultsKnown()
    checker.on_end(world, [host for host in world.hosts.values() if host is not b])
    assert [(each.kind, each.node) for each in checker.found] == [("liveness", "c")]


def test_forgeries_unheard__finds_forged_bytes_in_a_receipt() -> None:
    world = course()[0]
    world.forged.append(delivered().receipt[100:200])
    try:
        assert "was forged" in shown(ForgeriesUnheard(), delivered())[0]
    finally:
        world.forged.clear()


def test_outcome__is_what_the_world_says() -> None:
    assert isinstance(delivered().outcome, Outcome)
