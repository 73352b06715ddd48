"""Faults of a scenario whose times overlap: each has its own effect, and the end of one leaves the others as they are."""

from __future__ import annotations

import functools

import pytest

from protocol.envelope import open_envelope
from protocol.events import Effect, Publish, Send
from protocol.ledger_messages import LEDGER
from simnet.host import Host
from simnet.running import Result, run
from simnet.scenario import Scenario, ScenarioError
from simnet.world import World

# One begins at 2 s and ends at 8 s, the other at 5 s and 11 s; churn leaves everybody alone.
TIMES = ((2, 6), (5, 6))


@functools.cache
def world(kind: str, at_s: int, **more: object) -> World:
    """A network with two faults of a kind, as it is at a moment."""
    fields = {
        "about": "a test",
        "nodes": 5,
        "duration_s": 20,
        "settle_s": 10,
        "join_s": 1,
        "bootstraps": 1,
        "links": {"regions": {"europe": 1, "japan": 1}},
        "workload": {"questions_per_minute": 0},
        "faults": [{"kind": kind, "at_s": begins_s, "lasts_s": lasts_s, **more} for begins_s, lasts_s in TIMES],
    }
    return run(Scenario.read(fields, "test"), 1, until_ms=1_000 * at_s + 500).world


def hosts(found: World) -> list[Host]:
    return list(found.hosts.values())


def test_gray__is_as_slow_as_both_together_and_then_as_the_other_alone() -> None:
    slow = [[host.slow for host in hosts(world("gray", at_s, share_permille=1_000, factor=3))] for at_s in (1, 3, 6, 9, 12)]
    assert [max(each) for each in slow] == [1, 3, 9, 3, 1]
    assert min(slow[2]) == 1  # the node that others bootstrap from


def test_skew__is_the_sum_of_both_and_then_the_other_alone() -> None:
    before, first, both, second, after = (
        [host.skew_ms for host in hosts(world("skew", at_s, share_permille=1_000, up_to_ms=5_000))] for at_s in (1, 3, 6, 9, 12)
    )
    assert set(before) == set(after) == {0}
    assert both == [one + other for one, other in zip(first, second, strict=True)]
    assert any(first)
    assert any(second)
    assert first != second


@pytest.mark.parametrize("silent", [False, True])
def test_crash__lasts_until_the_last_of_its_causes_is_over(*, silent: bool) -> None:
    up = [
        sum(host.up for host in hosts(world("crash", at_s, share_permille=1_000, silent=silent))) for at_s in (1, 3, 6, 9, 12)
    ]
    assert up == [5, 1, 1, 1, 5]


def test_partition__lasts_until_the_last_of_its_causes_is_over() -> None:
    rules = [len(world("partition", at_s, regions=("japan",)).rules) for at_s in (1, 3, 6, 9, 12)]
    assert rules == [0, 2, 4, 2, 0]


def test_crash__of_nodes_that_churn_keeps_them_away_until_both_are_over() -> None:
    def ups(*, faults: bool) -> list[tuple[bool, ...]]:
        fields = {
            "about": "a test",
            "nodes": 8,
            "duration_s": 60,
            "settle_s": 10,
            "join_s": 1,
            "bootstraps": 1,
            "links": {"regions": {"europe": 1}},
            "workload": {"questions_per_minute": 0},
            "churn": {"median_session_s": 5, "median_absence_s": 5, "from_s": 2},
            "faults": [{"kind": "crash", "at_s": 10, "lasts_s": 15, "share_permille": 1_000}] if faults else [],
        }
        scenario = Scenario.read(fields, "test")
        return [
            tuple(host.up for host in hosts(run(scenario, 1, until_ms=1_000 * at_s + 1).world)) for at_s in (11, 24, 26, 40)
        ]

    alone, crashed = ups(faults=False), ups(faults=True)
    # Nobody but the first is there while all are crashed; who churned away meanwhile is still away afterwards.
    assert crashed[0] == crashed[1] == (True,) + (False,) * 7
    assert crashed[2:] == alone[2:]
    assert 1 < sum(alone[2]) < 8


def test_operator__is_struck_as_a_whole_and_nobody_else() -> None:
    def played(at_s: int, **victims: object) -> World:
        fields = {
            "about": "a test",
            "nodes": 20,
            "duration_s": 20,
            "settle_s": 5,
            "join_s": 1,
            "bootstraps": 1,
            "links": {"regions": {"europe": 1}},
            "population": [{"model": "arith", "operator": "acme"}, {"model": "lists"}],
            "adversaries": [{"policy": "free-rider", "share_permille": 300}],
            "workload": {"questions_per_minute": 0},
            "faults": [{"kind": "crash", "at_s": 5, "lasts_s": 5, **victims}],
        }
        return run(Scenario.read(fields, "test"), 1, until_ms=1_000 * at_s).world

    for operator, count in (("acme", 8), ("free-rider", 6)):
        names = {host.name for host in hosts(played(6, operator=operator)) if not host.up}
        assert names == {host.name for host in hosts(played(1, operator=operator)) if host.operator == operator}
        assert len(names) == count
        assert all(host.up for host in hosts(played(11, operator=operator)))
    with pytest.raises(ScenarioError, match=r"faults\.0: no operator nobody; there are acme, free-rider"):
        played(1, operator="nobody")
    with pytest.raises(ScenarioError, match="say share_permille or operator, and not both"):
        played(1, operator="acme", share_permille=10)


def test_reach__has_nodes_of_both_classes_and_bootstraps_are_open() -> None:
    fields = {"about": "a test", "nodes": 200, "reach": {"open": 1, "nat": 3}, "workload": {"questions_per_minute": 0}}
    found = hosts(run(Scenario.read(fields, "test"), 1, until_ms=1).world)
    assert 30 < sum(host.reachable for host in found) < 80
    assert all(host.reachable for host in found[:3])
    with pytest.raises(ScenarioError, match="nobody is open"):
        Scenario.read(fields | {"reach": {"open": 0, "nat": 1}}, "test")


@pytest.mark.parametrize("late_ms", [0, 3_000, 130_000])
def test_duplicate__changes_nothing_of_what_is_said_and_decided(late_ms: int) -> None:
    def played(*faults: dict[str, object]) -> tuple[Result, list[tuple[int, str, bytes]]]:
        fields = {
            "about": "a test",
            "nodes": 6,
            "duration_s": 20,
            "settle_s": 70,
            "join_s": 2,
            # Neither jitter nor an uplink of which a second answer takes a part.
            "links": {"regions": {"europe": 1}, "jitter_permille": 0, "bits_per_s": 0},
            "workload": {"questions_per_minute": 60, "askers": 3, "from_s": 5},
            "faults": list(faults),
        }
        said: list[tuple[int, str, bytes]] = []

        def watch(found: World, host: Host, effect: Effect) -> None:
            # What asks for entries of a ledger is answered twice, and that changes nothing (specs/06-ledger.md).
            if isinstance(effect, Send | Publish) and open_envelope(effect.data).type not in LEDGER:
                said.append((found.now_us, host.name, effect.data))

        return run(Scenario.read(fields, "test"), 1, watch=watch), said

    once, said_once = played()
    # From when all have joined: whoever seeks others twice (specs/05-capability.md) hears sooner of those that came meanwhile.
    twice, said_twice = played({"kind": "duplicate", "at_s": 3, "lasts_s": 17, "permille": 900, "late_ms": late_ms})
    assert twice.violations == ()
    assert sum(host.core.rejected["replay"] for host in hosts(twice.world)) > 100
    assert said_twice == said_once
    assert [asked.outcome for asked in twice.asked] == [asked.outcome for asked in once.asked]
