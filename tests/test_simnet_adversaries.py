"""Adversaries: each policy does something, and what the protocol makes of it."""

from __future__ import annotations

import functools

import pytest

from simnet.adversaries import HOSTS, Adversary
from simnet.running import Result, run
from simnet.scenario import Scenario


@functools.cache
def course(policy: str) -> Result:
    fields = {
        "about": "a test",
        "nodes": 9,
        "duration_s": 45,
        "settle_s": 65,
        "join_s": 2,
        "links": {"regions": {"europe": 1}},
        "workload": {"questions_per_minute": 40, "askers": 3, "from_s": 5},
        "adversaries": [{"policy": policy, "share_permille": 340}],
    }
    return run(Scenario.read(fields, "test"), 1)


def bad(result: Result) -> list[Adversary]:
    return [host for host in result.world.hosts.values() if isinstance(host, Adversary)]


@pytest.mark.parametrize("policy", sorted(HOSTS))
def test_policy__does_something_and_everything_holds(policy: str) -> None:
    result = course(policy)
    assert len(bad(result)) == 3
    assert sum(host.touched for host in bad(result)) > 0
    assert result.violations == ()
    assert len(result.asked) > 10


def test_equivocators__are_proven_and_known_to_all_who_met_them() -> None:
    result = course("equivocator")
    honest = [host for host in result.world.hosts.values() if not isinstance(host, Adversary)]
    for host in bad(result):
        assert all(other.core.is_faulty(host.key) for other in honest)


def test_colluders__that_lie_on_everything_earn_nothing() -> None:
    result = course("colluder")
    right = sum(asked.outcome is not None and asked.outcome.answer == asked.exercise.gold for asked in result.asked)
    assert right >= 0.8 * len(result.asked)


def test_adversary__is_honest_until_it_begins() -> None:
    scenario = course("colluder").scenario.model_dump(mode="json", exclude={"name"})
    scenario["adversaries"][0]["from_s"] = 45
    assert sum(host.touched for host in bad(run(Scenario.read(scenario, "test"), 1, until_ms=44_999))) == 0
