"""Checkers of what must hold: each of them passes an honest run and finds what breaks its rule."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from protocol import canonical
from protocol.allowance import Caps
from protocol.ballot import CommitSet, Reveal
from protocol.capability import Record
from protocol.constants import LEASE_MS, LEASES_MAX, PULL_TRIES_MAX, PULLS_BURST, SEEKS_BURST
from protocol.envelope import Envelope, open_envelope, seal
from protocol.events import (
    AddressesChanged,
    Deliver,
    Dial,
    Effect,
    EffectDone,
    MessageReceived,
    PeerConnected,
    Persist,
    Publish,
    Send,
    TimerFired,
)
from protocol.ledger import parse_entry
from protocol.ledger_messages import Entries, Heads, Pull
from protocol.messages import Accept, Award, Beacon, Bid, Cancel
from protocol.outcome import Outcome, OutcomeKind
from protocol.schema import Message
from protocol.seek import Seek
from simnet import checkers
from simnet.bookkeeping import Chains, EvidenceOnce
from simnet.checkers import (
    Bounded,
    Budgets,
    FaultsKnown,
    Follows,
    ForgeriesUnheard,
    LedgersConverge,
    NoLeaseLost,
    NoSeatTwice,
    OneOutcome,
    Recovers,
    Rederives,
    all_checkers,
)
from simnet.checking import Checker, Stopped, Watcher
from simnet.conduct import Channels, DialsEnd, Founded, Heard, InTime, LeasesExpire, NewestRecord, ProofsTaken, Rations, Sleeps
from simnet.holdings import HOLDINGS
from simnet.host import Host
from simnet.introductions import Introductions
from simnet.running import run
from simnet.scenario import Scenario
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, host_of, record, solver, world_of
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
    world.observer = None
    return world, asker, tuple(seen)


def delivered() -> Deliver:
    (found,) = (effect for effect in course()[2] if isinstance(effect, Deliver))
    return found


def shown(checker: Checker, *effects: Effect, at_end: bool = False) -> list[str]:
    """What a checker finds when the asker wants these things done, beside what it had found before."""
    world, asker, _ = course()
    watcher, before = Watcher(world, [checker], {asker.index}), len(checker.found)
    for effect in effects:
        watcher.on_effect(asker, effect)
    if at_end:
        checker.on_end(world, list(world.hosts.values()))
    return [violation.text for violation in checker.found[before:]]


def said(kind: type[Message]) -> list[Send]:
    """The messages of a type that the asker sent."""
    return [effect for effect in course()[2] if isinstance(effect, Send) and open_envelope(effect.data).type == kind.TYPE]


def resealed(envelope: Envelope, message: Message, later_ms: int = 1) -> Send:
    """Another message of the asker to whom it wrote, dated later."""
    asker, peer = course()[1], envelope.to
    assert isinstance(peer, bytes)
    data = seal(asker.signer, envelope.network, message.TYPE, peer, message.body(), envelope.issued_ms + later_ms, 60_000)
    return Send(0, peer, data)


@functools.cache
def watched() -> tuple[World, dict[str, Checker]]:
    """A world whose every checker saw all of it from the start: questions, a node that crashed and came back, the end."""
    world = World(PARAMETERS, 1)
    hosts = [world.add(name, record("arith"), solver(EXPERT)) for name in "abcde"]
    checkers = {checker.name: checker for checker in all_checkers(PARAMETERS)}
    watcher = Watcher(world, list(checkers.values()), {host.index for host in hosts})
    world.observer, world.listener = watcher.on_effect, watcher.on_input
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=5_000)
    for number in range(3):
        world.answer(hosts[number % 2], exercise("arith", number).text)
    world.crash(hosts[3])
    world.run(for_ms=10_000)
    world.restart(hosts[3])
    world.run(for_ms=10_000)
    world.probes.append((hosts[3], world.ask(hosts[3], exercise("arith", 9).text)))
    world.run(for_ms=70_000)
    for checker in checkers.values():
        checker.on_end(world, hosts)
    return world, checkers


@pytest.mark.parametrize("name", [checker.name for checker in all_checkers(PARAMETERS)])
def test_checker__finds_nothing_in_a_healthy_run(name: str) -> None:
    assert watched()[1][name].found == []


def test_checkers__have_names_of_their_own_and_look_at_something() -> None:
    checkers = all_checkers(PARAMETERS)
    assert len({checker.name for checker in checkers}) == len(checkers)
    for checker in checkers:
        assert checker.name
        assert (*checker.effects, *checker.inputs, *checker.sent, *checker.heard) or "on_end" in vars(type(checker))


def test_checker__that_stops_ends_the_run_with_what_it_found() -> None:
    checker = OneOutcome()
    checker.stops = True
    shown(checker, delivered())
    with pytest.raises(Stopped) as stopped:
        shown(checker, delivered())
    assert "second outcome" in stopped.value.violation.text


def test_one_outcome__finds_a_second_one_and_a_question_without_any() -> None:
    (text,) = shown(OneOutcome(), delivered(), delivered())
    assert "has a second outcome" in text
    assert "never had an outcome" in shown(OneOutcome(), at_end=True)[0]


def test_rederives__finds_a_receipt_that_does_not_hold() -> None:
    broken = replace(delivered(), receipt=delivered().receipt[:-1] + b"\x00")
    assert "does not hold" in shown(Rederives(PARAMETERS), broken)[0]


def test_follows__finds_a_result_that_does_not_follow_from_the_votes() -> None:
    fields: Any = canonical.decode(delivered().receipt[64:], 1 << 22)
    fields["steps"][0]["result"]["margin"] = 999
    told = replace(delivered(), receipt=bytes(64) + canonical.encode(fields, 1 << 22))
    assert "its margin is 999, and from the votes follows 1000" in shown(Follows(), told)[0]


def test_no_seat_twice__finds_another_award_of_one_bid() -> None:
    awards = said(Award)
    envelope = open_envelope(awards[0].data)
    award = envelope.message(Award)
    (text,) = shown(NoSeatTwice(), *awards, resealed(envelope, replace(award, seat=award.seat + 1)))
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
        watcher = Watcher(result.world, [checker], {host.index})
        for effect in mine:
            watcher.on_effect(host, effect)
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
        shown(checker, next(each for each in heads if each.peer == host_of(world, "b").key))
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


# --- Single messages


@pytest.fixture
def heard() -> Iterator[tuple[World, Host, Heard, Envelope, bytes]]:
    """A checker that has seen `b` take a bid's acknowledgement of `a` in its first life; the message, and whose it is."""
    world, asker, _ = course()
    host, checker = host_of(world, "b"), Heard()
    envelope = next(open_envelope(effect.data) for effect in said(Award) if effect.peer == host.key)
    checker.on_input(world, host, AddressesChanged(()))
    before = host.core.received.copy()
    checker.on_heard(world, host, envelope, asker.key)
    checker.found.clear()
    yield world, host, checker, envelope, asker.key
    host.core.received.clear()
    host.core.received.update(before)


def fresh(world: World, source: Host, target: Host, message: Message) -> Envelope:
    now_ms = 1_700_000_000_000 + world.now_us // 1_000
    return open_envelope(seal(source.signer, PARAMETERS.network, message.TYPE, target.key, message.body(), now_ms, 60_000))


def test_heard__finds_what_is_handled_twice(heard: tuple[World, Host, Heard, Envelope, bytes]) -> None:
    world, host, checker, _, source = heard
    envelope = fresh(world, world.hosts[source], host, Accept(bytes(16), 0, 0, bytes(32)))
    for _ in range(2):
        host.core.received["accept"] += 1
        checker.on_heard(world, host, envelope, source)
    assert [each.text for each in checker.found] == ["handled one accept twice"]


def test_heard__finds_what_came_by_another_and_what_is_over(heard: tuple[World, Host, Heard, Envelope, bytes]) -> None:
    world, host, checker, old, source = heard
    envelope = fresh(world, world.hosts[source], host, Accept(bytes(16), 0, 0, bytes(32)))
    host.core.received["accept"] += 1
    checker.on_heard(world, host, envelope, host_of(world, "c").key)
    host.core.received["award"] += 1
    world.now_us += 1_000_000_000
    try:
        checker.on_heard(world, host, replace(old, id=bytes(32)), source)
    finally:
        world.now_us -= 1_000_000_000
    assert [each.text for each in checker.found] == [
        f"handled a {kind} that is forged, over, not for it, or came by another" for kind in ("accept", "award")
    ]


def test_heard__finds_what_was_not_heard(heard: tuple[World, Host, Heard, Envelope, bytes]) -> None:
    world, host, checker, _, source = heard
    checker.on_heard(world, host, fresh(world, world.hosts[source], host, Accept(bytes(16), 0, 0, bytes(32))), source)
    assert [each.text for each in checker.found] == ["did not hear a accept of a"]


def test_channels__finds_a_message_to_whom_there_is_none() -> None:
    assert "to whom it has no channel" in shown(Channels(), said(Award)[0])[0]


def test_founded__finds_a_bid_on_no_beacon_and_an_award_of_no_bid() -> None:
    world, asker, _ = course()
    other = host_of(world, "b")
    bid = fresh(world, asker, other, Bid(bytes(16), 0, 0, bytes(32), 0, 1, 0))
    (text,) = shown(Founded(), Send(0, other.key, bid.data))
    assert text == "a bid names a beacon that b did not send it"
    checker = Founded()
    assert "a award names a bid" in shown(checker, said(Award)[0])[0]
    again = fresh(world, asker, other, Bid(bytes(16), 0, 0, bytes(32), 1, 1, 0))
    assert "bids twice for one step" in shown(checker, *(Send(0, other.key, each.data) for each in (bid, again)))


def test_leases_expire__finds_one_that_is_silent_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, _ = course()
    award = said(Award)[0]
    envelope = open_envelope(award.data)
    task = envelope.message(Award).task
    cancel = resealed(envelope, Cancel(task, 0, 0, envelope.id))
    accept = fresh(world, world.hosts[award.peer], asker, Accept(task, 0, 0, envelope.id))
    for late_ms, found in ((LEASE_MS + 50, 0), (LEASE_MS + 500, 1)):
        checker = LeasesExpire()
        shown(checker, award)
        checker.on_heard(world, asker, accept, award.peer)
        with monkeypatch.context() as patch:
            patch.setattr(world, "now_us", world.now_us + 1_000 * late_ms)
            assert len(shown(checker, cancel)) == found


def test_rations__finds_more_entries_and_pulls_than_there_may_be() -> None:
    world, asker, _ = course()
    other = host_of(world, "b")
    pull = Send(0, other.key, fresh(world, asker, other, Pull(other.key, 0, 1)).data)
    assert shown(Rations(), *[pull] * PULL_TRIES_MAX) == []
    assert "asks 4 times" in shown(Rations(), *[pull] * (PULL_TRIES_MAX + 1))[0]
    entries = Send(0, other.key, fresh(world, asker, other, Entries(asker.key, 0, ())).data)
    assert shown(Rations(), *[entries] * PULLS_BURST) == []
    assert "sends more entries than one each 100 ms" in shown(Rations(), *[entries] * (PULLS_BURST + 2))[0]


def test_introductions__finds_seeks_beyond_the_ration_and_records_that_nobody_sought() -> None:
    world, asker, _ = course()
    other, third = host_of(world, "b"), host_of(world, "c")
    seek = Send(0, other.key, fresh(world, asker, other, Seek(1)).data)
    assert shown(Introductions(), *[seek] * SEEKS_BURST) == []
    assert "seeks others more often" in shown(Introductions(), *[seek] * (SEEKS_BURST + 1))[0]
    known = asker.core.peers.get(third.key)
    assert known is not None
    handed = Send(0, other.key, known.record_data)
    assert "whom nobody sought" in shown(Introductions(), handed)[0]
    checker = Introductions()
    checker.on_input(world, asker, PeerConnected(other.key))
    for _ in range(SEEKS_BURST + 5):
        checker.on_heard(world, asker, fresh(world, other, asker, Seek(2)), other.key)
    checker.on_heard(world, asker, fresh(world, other, asker, Seek(2)), third.key)
    assert shown(checker, *[handed] * (2 * SEEKS_BURST)) == []
    assert "more than are told" in shown(checker, handed)[0]


def test_dials_end__finds_one_that_ended_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, _ = course()
    other = host_of(world, "b").key
    monkeypatch.setattr(asker.core.peers.get(other), "dialling", 77)
    checker = DialsEnd()
    # One that began in this step was not shown yet.
    assert shown(checker, at_end=True) == []
    assert shown(checker, Dial(77, other, ()), at_end=True) == []
    checker.on_input(world, asker, EffectDone(77, "refused"))
    assert "that has ended" in checker.found[0].text
    with monkeypatch.context() as patch:
        patch.setattr(world, "now_us", world.now_us + 11_000_000)
        assert len(shown(checker, Dial(77, other, ()))) == 0
    late = DialsEnd()
    shown(late, Dial(77, other, ()))
    monkeypatch.setattr(world, "now_us", world.now_us + 11_000_000)
    assert "that has ended" in shown(late, at_end=True)[0]


def test_newest_record__finds_a_number_that_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, _ = course()
    other = host_of(world, "b")
    known, checker = asker.core.peers.get(other.key), NewestRecord()
    assert known is not None
    envelope = open_envelope(known.record_data)
    checker.on_heard(world, asker, envelope, other.key)
    monkeypatch.setattr(known, "record", replace(envelope.message(Record), sequence=1))
    checker.on_heard(world, asker, envelope, other.key)
    assert "goes back from record" in checker.found[0].text
    own = asker.core.own_record

    def published(sequence: int) -> Publish:
        now_ms = 1_700_000_000_000 + world.now_us // 1_000
        body = replace(own, sequence=sequence).body()
        return Publish("records", seal(asker.signer, PARAMETERS.network, Record.TYPE, "records", body, now_ms, 60_000))

    checker = NewestRecord()
    assert shown(checker, published(5), published(5), published(6)) == []
    assert "comes after 6" in shown(checker, published(4))[0]


def test_in_time__finds_an_outcome_after_its_deadline_and_a_question_that_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, effects = course()
    life, _ = asker.asked[delivered().request]
    monkeypatch.setitem(asker.asked, delivered().request, (life, world.now_us - 1_000_000))
    assert "ends 1000 ms after its deadline" in shown(InTime(), delivered())[0]
    monkeypatch.setitem(asker.asked, delivered().request, (life, world.now_us))
    beacons = [effect for effect in effects if isinstance(effect, Publish) and open_envelope(effect.data).type == Beacon.TYPE]
    waited = replace(delivered(), outcome=replace(delivered().outcome, latency_ms=5_000))
    assert "went out 5000 ms after it was asked" in shown(InTime(), *beacons, waited)[0]


def test_sleeps__finds_a_node_that_is_woken_without_end() -> None:
    world, asker, _ = course()
    checker = Sleeps()
    for _ in range(1_001):
        checker.on_input(world, asker, TimerFired())
    assert "was woken 1001 times" in checker.found[0].text


def test_proofs_taken__finds_an_opening_that_does_not_match_and_proves_nothing() -> None:
    world, asker, _ = course()
    peer, sealed = said(CommitSet)[0].peer, open_envelope(said(CommitSet)[0].data).message(CommitSet)
    award = next(open_envelope(effect.data).id for effect in said(Award) if effect.peer == peer)
    checker = ProofsTaken()
    shown(checker, said(CommitSet)[0])
    reveal = Reveal(sealed.task, 0, 0, award, sealed.round, bytes(32), "another")
    checker.on_heard(world, asker, fresh(world, world.hosts[peer], asker, reveal), peer)
    assert "holds no proof against" in checker.found[0].text


# --- What is kept


def test_chains__finds_a_fork_and_an_entry_that_does_not_follow() -> None:
    _, asker, _ = course()
    rows = [
        Persist("ledger", entry.number.to_bytes(8, "big"), entry.data)
        for entry in map(parse_entry, asker.core.ledger.chain.since(0, 4, 1 << 20))
    ]
    assert shown(Chains(), *rows) == []
    assert "does not follow the one before" in shown(Chains(), rows[0], replace(rows[2], key=rows[1].key))[0]
    assert "forks its own ledger at entry 1" in shown(Chains(), *rows, replace(rows[2], key=rows[1].key))[0]


def test_evidence_once__finds_an_audit_that_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    world, asker, effects = course()
    other = host_of(world, "b").key
    assert shown(EvidenceOnce(), *effects, at_end=True) == []
    days = asker.core.evidence.days
    monkeypatch.setattr(asker.core.evidence, "days", lambda *pair: days(*pair) * (2 if pair[0] == other else 1))
    assert "which it asked" in shown(EvidenceOnce(), *effects, at_end=True)[0]


def test_watcher__shows_what_cannot_be_read_to_nobody() -> None:
    world, asker, _ = course()
    checker = Heard()
    Watcher(world, [checker], {asker.index}).on_input(asker, MessageReceived(None, b"\xff" * 80))
    assert checker.found == []
