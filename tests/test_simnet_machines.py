"""What hosts compute and write: in order, on cores of their own or shared ones, and nothing at all unless it is asked for."""

from __future__ import annotations

import pytest

from simnet.links import Link
from simnet.machines import Machine
from simnet.running import run
from simnet.scenario import Scenario, ScenarioError
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, host_of, record, solver

_SETTLE_MS = 60_000


def asked(machine: Machine | None, seed: int = 1) -> tuple[World, int]:
    """A network on one machine, and how long a question takes there."""
    world = World(PARAMETERS, seed, Link(latency_us=1_000, jitter_us=0))
    hosts = [world.add(name, record("arith"), solver(EXPERT)) for name in ("a", "b", "c")]
    for host in hosts:
        host.machine = machine
        world.join(host, *hosts[: host is not hosts[0]])
    world.run(for_ms=_SETTLE_MS)
    world.answer(hosts[0], exercise("arith", 1).text)
    world.run(for_ms=_SETTLE_MS)
    return world, world.answer(hosts[0], exercise("arith", 2).text).latency_ms


def test_machine__serves_who_comes_first_on_as_many_cores_as_there_are() -> None:
    machine = Machine(cores=2, message_us=10)
    assert [machine.done_us(100, 1) for _ in range(5)] == [110, 110, 120, 120, 130]
    assert machine.done_us(125, 3) == 155
    assert machine.done_us(126, 0) == 126
    assert machine.done_us(500, 1) == 510


def test_machine__lets_one_host_go_on_where_it_was_and_others_have_the_other_core() -> None:
    machine = Machine(cores=2, message_us=10)
    # One host, whose messages wait for each other, needs one core and leaves the other one whole.
    now_us = 0
    for _ in range(4):
        now_us = machine.done_us(now_us, 1)
    assert now_us == 40
    assert machine.done_us(0, 4) == 40


def test_world__on_machines_that_cost_nothing_is_the_one_without() -> None:
    without, latency_ms = asked(None)
    on, same_ms = asked(Machine(cores=1, message_us=0))
    assert (on.digest(), same_ms) == (without.digest(), latency_ms)


def test_world__on_a_machine_is_repeated_to_the_bit() -> None:
    one, latency_ms = asked(Machine(2, 900, 3_000))
    other, same_ms = asked(Machine(2, 900, 3_000))
    assert (one.digest(), latency_ms) == (other.digest(), same_ms)


def test_question__takes_longer_by_every_message_and_write_on_its_way() -> None:
    took_ms = {cost_us: asked(Machine(1, cost_us))[1] for cost_us in (0, 1_000, 2_000)}
    # On one core everything is computed one after the other: beacon, bids, awards, commitments, openings, in and out.
    assert took_ms[1_000] - took_ms[0] >= 15
    assert took_ms[2_000] - took_ms[1_000] >= 15
    # More cores are worth something, and a disk that is slow is waited for before a beacon leaves.
    assert asked(Machine(3, 2_000))[1] < took_ms[2_000]
    assert asked(Machine(1, 0, write_us=40_000))[1] >= took_ms[0] + 40


def test_host__that_crashes_while_it_computes_has_lost_what_it_was_at() -> None:
    world, _ = asked(Machine(2, 200_000))
    a, b = host_of(world, "a"), host_of(world, "b")
    request = world.ask(a, exercise("arith", 3).text)
    world.run(for_ms=300)
    assert max(a.busy_us, b.busy_us) > world.now_us
    world.crash(b)
    world.run(for_ms=100)
    world.restart(b)
    assert b.busy_us == 0
    world.run(until=lambda: request in a.outcomes)


def test_scenario__names_what_is_wrong_about_machines() -> None:
    scenario = Scenario.load("loopback")
    assert scenario.machines.share == 2
    assert scenario.links.latency_us is not None
    with pytest.raises(ScenarioError, match=r"^machines\.share: "):
        scenario.changed(["machines.share=0"])
    with pytest.raises(ScenarioError, match=r"^links\.latency_us: "):
        scenario.changed(["links.latency_us=-1"])


def test_scenario__of_slow_machines_answers_later() -> None:
    small = ["nodes=5", "duration_s=16", "settle_s=0", "workload.from_s=10", "workload.questions_per_minute=30"]

    def median_ms(*settings: str) -> int:
        result = run(Scenario.load("loopback").changed([*small, *settings]), 1)
        assert not result.violations
        took = sorted(asked.outcome.latency_ms for asked in result.asked if asked.outcome is not None)
        return took[len(took) // 2]

    nothing = ("machines.message_us=0", "machines.write_us=0")
    assert median_ms() > median_ms(*nothing) + 20
    assert median_ms("machines.share=1") > median_ms("machines.share=8")


def test_scenario__gives_each_node_a_core_of_its_own_as_fast_as_its_hardware() -> None:
    fields = {
        "about": "Two classes of hardware.",
        "machines": {"message_us": 1_000, "write_us": 500},
        "population": [{"model": "arith", "hardware": "phone"}, {"model": "lists", "hardware": "server"}],
    }
    scenario = Scenario.read({**fields, "nodes": 12, "duration_s": 10, "workload": {"from_s": 10}}, "mine")
    found: dict[str, set[tuple[int, int]]] = {}
    hosts = run(scenario, 1, until_ms=1).world.hosts.values()
    for host in hosts:
        assert host.machine is not None
        found.setdefault(host.record.model, set()).add((host.machine.message_us, host.machine.write_us))
    assert found == {"arith": {(4_000, 500)}, "lists": {(250, 500)}}
    assert len({id(host.machine) for host in hosts}) == len(hosts)
