"""Checkers of what must hold: each of them passes an honest run and finds what breaks its rule."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from protocol.allowance import Caps
from protocol.constants import LEASES_MAX
from protocol.envelope import open_envelope, seal
from protocol.events import Deliver, Effect, Send
from protocol.ledger_messages import Heads
from protocol.messages import Accept, Award
from protocol.outcome import Outcome, OutcomeKind
from simnet import checkers
from simnet.checkers import (
    Bounded,
    Budgets,
    Checker,
    FaultsKnown,
    ForgeriesUnheard,
    LedgersConverge,
    NoLeaseLost,
    NoSeatTwice,
    OneOutcome,
    Recovers,
    Rederives,
    all_checkers,
)
from simnet.holdings import HOLDINGS
from simnet.host import Host
from simnet.running import run
from simnet.scenario import Scenario
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


@pytest.mark.parametrize("name", [name for name, *_ in HOLDINGS])
def test_bounded__finds_each_table_that_is_too_large(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = (row for row in HOLDINGS if row[0] == name)
    count = row[1](course()[1])
    monkeypatch.setattr(checkers, "HOLDINGS", ((name, row[1], count - 1),))
    assert f"has {count} {name}, more than {count - 1}" in shown(Bounded(), delivered())


def test_holdings__count_what_there_is() -> None:
    counts = {name: count(course()[1]) for name, count, _ in HOLDINGS}
    assert counts["own entries"] > 3
    assert counts["ledgers of others"] == counts["peers on disk"] == counts["peers"] == 3
    assert counts["ids of a sender"] > 10
    assert counts["bytes of others' ledgers"] > 100


def test_budgets__are_kept_and_more_than_the_owner_allows_is_found() -> None:
    fields = {
        "about": "a test",
        "nodes": 6,
        "duration_s": 60,
        "settle_s": 5,
        "join_s": 2,
        "links": {"regions": {"europe": 1}},
        "population": [{"model": "generalist", "requests_per_hour": 12, "tokens_per_day": 2_000}],
        "workload": {"questions_per_minute": 120, "askers": 1, "from_s": 5},
        "faults": [{"kind": "crash", "at_s": at_s, "lasts_s": 2, "share_permille": 500} for at_s in (20, 40)],
    }
    said: list[tuple[Host, Effect]] = []

    def watch(_: World, host: Host, effect: Effect) -> None:
        said.append((host, effect))

    result = run(Scenario.read(fields, "test"), 1, watch=watch)
    assert result.violations == ()
    host = max(result.world.hosts.values(), key=lambda host: sum(each is host and _accepts(effect) for each, effect in said))
    mine = [effect for each, effect in said if each is host]
    # The bound was reached, or nothing would have been tried.
    assert sum(map(_accepts, mine)) == 12
    for caps, text in (
        (Caps(11, 0), "took 12 requests in an hour, more than 11"),
        (Caps(0, 100), "tokens in a day, more than 100"),
    ):
        host.caps, checker = caps, Budgets()
        for effect in mine:
            checker.on_effect(result.world, host, effect)
        assert text in checker.found[0].text


def _accepts(effect: Effect) -> bool:
    return isinstance(effect, Send) and open_envelope(effect.data).type == Accept.TYPE


def test_recovers__finds_a_question_without_an_answer() -> None:
    world, asker, _ = course()
    good = next(iter(asker.outcomes))
    bad = replace(asker.outcomes[good], kind=OutcomeKind.NO_BIDS)
    try:
        world.probes.append((asker, good))
        assert shown(Recovers(), at_end=True) == []
        world.probes.append((asker, b"never"))
        assert "was over: nothing" in shown(Recovers(), at_end=True)[0]
        asker.outcomes[b"never"] = bad
        assert "was over: no bids" in shown(Recovers(), at_end=True)[0]
    finally:
        world.probes.clear()
        asker.outcomes.pop(b"never", None)


def test_recovers__finds_a_network_that_is_still_deaf() -> None:
    fields = {
        "about": "a test",
        "nodes": 5,
        "duration_s": 20,
        "settle_s": 45,
        "join_s": 2,
        "workload": {"questions_per_minute": 10, "askers": 1, "from_s": 5},
    }

    def deaf(world: World) -> None:
        for host in world.hosts.values():
            host.slow = 100_000

    well, ill = (run(Scenario.read(fields, "test"), 1, progress=progress) for progress in (None, deaf))
    assert len(well.world.probes) == 5
    assert well.violations == ()
    assert {violation.checker for violation in ill.violations} >= {"recovers"}


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
    # Nor is it owed anything by who told it nothing since a clock was off.
    checker = LedgersConverge()
    with monkeypatch.context() as patch:
        patch.setattr(host_of(world, "b"), "skew_ms", 6_000)
        checker.on_effect(world, host_of(world, "b"), delivered())
    assert shown(checker, at_end=True) == []
    heads = [each for each in course()[2] if isinstance(each, Send) and open_envelope(each.data).type == Heads.TYPE]
    patched = world.now_us
    try:
        world.now_us += 1
        checker.on_effect(world, asker, next(each for each in heads if each.peer == host_of(world, "b").key))
    finally:
        world.now_us = patched
    assert shown(checker, at_end=True) != []
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
