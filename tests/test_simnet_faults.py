"""Faults by name: what a partition, a held link, a crash and a restart do to channels, gossip and nodes."""

from __future__ import annotations

import pytest

import simnet.world
from node.limits import Limits
from protocol.events import Effect, EffectDone, Input, Instant, PeerLost
from protocol.outbox import BEACONS
from simnet.faults import bounce, crash, hold, partition, release
from simnet.host import Host
from simnet.links import Link, Rule
from simnet.scenario import Scenario
from simnet.world import DEAD_US, World
from tests.support import EXPERT, PARAMETERS, exercise, record, solver

_DEAD_MS = DEAD_US // 1_000


def three(seed: int = 1, **link: int) -> tuple[World, list[Host]]:
    world = World(PARAMETERS, seed, Link(**link))
    hosts = [world.add(name, record("arith"), solver(EXPERT)) for name in ("a", "b", "c")]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=3_000)
    return world, hosts


def linked(host: Host) -> set[bytes]:
    return set(host.core.peers.connected())


def test_world__connects_everybody_who_heard_of_each_other() -> None:
    _, hosts = three()
    for host in hosts:
        assert linked(host) == {other.key for other in hosts} - {host.key}


def test_partition__ends_channels_after_the_time_that_tcp_takes_and_heals() -> None:
    world, (a, b, c) = three()
    rules = partition(world, [a], [b, c])
    world.run(for_ms=_DEAD_MS - 1_000)
    assert linked(a) == {b.key, c.key}
    world.run(for_ms=2_000)
    assert linked(a) == set()
    assert linked(b) == {c.key}
    release(world, rules)
    world.run(for_ms=90_000)
    assert linked(a) == {b.key, c.key}


def test_partition__that_is_short_loses_nothing_of_a_channel() -> None:
    world, (a, b, c) = three()
    request = world.ask(a, exercise("arith", 3).text)
    rules = partition(world, [a], [b, c])
    world.run(for_ms=5_000)
    release(world, rules)
    world.run(for_ms=30_000)
    assert linked(a) == {b.key, c.key}
    assert request in a.outcomes
    again = world.answer(a, exercise("arith", 4).text)
    assert again.answer == exercise("arith", 4).gold


def test_partition__one_way_keeps_the_other_way_open() -> None:
    world, (a, b, _) = three()
    partition(world, [a], [b], one_way=True)
    before = len(b.core.rejected), b.core.received.total()
    world.run(for_ms=1_000)
    asked = world.ask(b, exercise("arith", 5).text)
    world.run(for_ms=10_000)
    # What b says still comes to a, whose bids do not come back.
    assert b.core.received.total() - before[1] >= 0
    assert a.core.received["beacon"] > 0
    assert asked in b.outcomes


def test_hold__keeps_a_channel_alive_for_however_long() -> None:
    world, (a, b, c) = three()
    rules = hold(world, [a], [b, c])
    world.run(for_ms=4 * _DEAD_MS)
    assert linked(a) == {b.key, c.key}
    release(world, rules)
    assert world.answer(a, exercise("arith", 6).text).answer == exercise("arith", 6).gold


def test_crash__is_told_at_once_and_silent_after_a_time() -> None:
    for silent, told_ms in ((False, 10), (True, _DEAD_MS + 10)):
        world, (a, b, c) = three()
        crash(world, b, silent=silent)
        world.run(for_ms=told_ms)
        assert linked(a) == {c.key}
        if silent:
            world, (a, b, c) = three()
            crash(world, b, silent=True)
            world.run(for_ms=_DEAD_MS // 2)
            assert b.key in linked(a)


def test_silent_crash__takes_what_is_sent_and_loses_it_until_the_peer_gives_up() -> None:
    world, (a, b, _) = three()
    failed: list[Input] = []
    take = a.take

    def watched(event: Input, now: Instant) -> list[Effect]:
        if isinstance(event, EffectDone) and event.error is not None:
            failed.append(event)
        return take(event, now)

    a.take = watched  # type: ignore[method-assign]
    crash(world, b, silent=True)
    assert b.links == {}
    world.ask(a, exercise("arith", 3).text)
    world.run(for_ms=_DEAD_MS - 1)
    assert world.deliver(a, b.key, b"into the void")
    assert a.core.peers_lost == 0
    assert failed == []
    world.run(for_ms=2)
    assert a.core.peers_lost == 1
    assert not world.deliver(a, b.key, b"nobody there")


def test_silent_crash__keeps_the_edges_of_gossip_and_lets_nothing_through() -> None:
    world = World(PARAMETERS, 1)
    hub, a, c = (world.add(name, record("arith"), solver(EXPERT), reachable=name == "hub") for name in ("hub", "a", "c"))
    for leaf in (a, c):
        world.join(leaf, hub)
    world.run(for_ms=2_000)

    def heard() -> bool:
        before = c.core.rejected.total()
        world.gossip(a, BEACONS, b"no envelope")
        world.run(for_ms=100)
        return c.core.rejected.total() > before

    assert heard()
    crash(world, hub, silent=True)
    assert world._overlay.edges_of(a.index, first=True) == [hub.index]
    assert not heard()
    world.run(for_ms=_DEAD_MS)
    assert world._overlay.edges_of(a.index, first=True) == []
    world.restart(hub)
    world.run(for_ms=20_000)
    assert heard()


def test_silent_crash__is_told_at_once_when_the_machine_is_back() -> None:
    world, (a, b, c) = three()
    crash(world, b, silent=True)
    world.run(for_ms=5_000)
    assert a.core.peers_lost == 0
    world.restart(b)
    world.run(for_ms=0)
    assert a.core.peers_lost == 1
    world.run(for_ms=_DEAD_MS)
    # The news of the channel of the life before is no news of the one of this life.
    assert a.core.peers_lost == 1
    assert linked(a) == {b.key, c.key}


def test_silent_crash__of_both_ends_leaves_nothing_behind() -> None:
    world, (a, b, c) = three()
    crash(world, a, b, silent=True)
    world.restart(b)
    world.restart(a)
    world.run(for_ms=60_000)
    for host in (a, b, c):
        assert linked(host) == set(host.links) == {other.key for other in (a, b, c)} - {host.key}
        assert all(connection.open for connection in host.links.values())
        assert set(world._overlay.edges_of(host.index, first=True)) == {0, 1, 2} - {host.index}


def test_crash__loses_what_was_on_its_way_and_nothing_that_was_written() -> None:
    world, (a, b, _) = three()
    sequence, disk = b.core.own_record.sequence, dict(b.disk)
    crash(world, b)
    world.run(for_ms=1_000)
    assert b.disk == disk
    bounce(world, b)
    world.run(for_ms=20_000)
    assert b.core.own_record.sequence > sequence
    assert a.key in linked(b)


def test_bounce__is_told_as_an_end_and_a_beginning_however_far_the_peer_is() -> None:
    world, (a, b, c) = three(latency_us=400_000)
    for silent in (False, True):
        crash(world, b, silent=silent)
        bounce(world, b)
        world.run(for_ms=60_000)
        for host in (a, b, c):
            assert linked(host) == set(host.links) == {other.key for other in (a, b, c)} - {host.key}


def test_bounce__leaves_no_timer_of_the_life_before() -> None:
    world, (a, b, c) = three()
    for _ in range(5):
        bounce(world, b)
        world.run(for_ms=500)
    world.run(for_ms=30_000)
    assert linked(b) == {a.key, c.key}
    assert world.answer(b, exercise("arith", 7).text).answer == exercise("arith", 7).gold


def test_rule__of_loss_slows_a_channel_down_and_loses_nothing_of_it() -> None:
    world, (a, *_) = three()
    quick = world.answer(a, exercise("arith", 8).text)
    rule = Rule(loss_permille=500, delay_us=50_000)
    world.add_rule(rule)
    slow = world.answer(a, exercise("arith", 9).text)
    world.remove_rule(rule)
    assert slow.answer == exercise("arith", 9).gold
    assert slow.latency_ms > quick.latency_ms + 100


def test_node_that_nobody_can_dial__dials_others() -> None:
    world = World(PARAMETERS, 1)
    a, b = (world.add(name, record("arith"), solver(EXPERT), reachable=name == "a") for name in ("a", "b"))
    assert not world.connect(a, b.key)
    world.join(b, a)
    world.run(for_ms=1_000)
    assert linked(a) == {b.key}


def test_uplink__sends_no_faster_than_it_can() -> None:
    def took(bits_per_s: int) -> int:
        world, (a, *_) = three(bits_per_s=bits_per_s)
        return world.answer(a, exercise("arith", 3).text).latency_ms

    assert took(100_000) > took(0) + 50


def test_lost_peer__is_told_by_an_event_of_its_own() -> None:
    world, (a, b, _) = three()
    seen: list[Effect] = []
    world.observer = lambda host, effect: seen.append(effect) if host is a else None
    crash(world, b)
    world.run(for_ms=100)
    assert a.core.peers_lost == 1
    assert PeerLost(b.key) == PeerLost(b.key)


def test_node__with_as_many_channels_as_a_daemon_has_refuses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Limits().connections == simnet.world.CHANNELS_MAX
    monkeypatch.setattr(simnet.world, "CHANNELS_MAX", 3)
    world = World(PARAMETERS, 1)
    hosts = [world.add(f"node-{number}", record("arith"), solver(EXPERT)) for number in range(5)]
    assert [world.connect(host, hosts[0].key) for host in hosts[1:]] == [True, True, True, False]
    world.dial(hosts[4], hosts[0].key, 7)
    world.run(for_ms=1_000)
    assert len(hosts[0].links) == 3


def test_large_network__has_bootstrap_nodes_enough_for_everybody_to_join() -> None:
    for nodes in (2, 100, 1_000, 100_000):
        scenario = Scenario.load("baseline").changed([f"nodes={nodes}"])
        assert 3 * nodes / scenario.first < simnet.world.CHANNELS_MAX
    assert Scenario.load("baseline").changed(["nodes=1000", "bootstraps=2"]).first == 2
