"""Many runs: their digests do not depend on where they ran, and a hunt shows what it found in one command."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import get_args

import pytest

from simnet import cli, hunt, running, sweep
from simnet.checkers import Violation
from simnet.memory import TRUE
from simnet.scenario import Policy, Scenario, ScenarioError
from simnet.world import CoreError

SMALL = ("nodes=5", "duration_s=20", "settle_s=10", "workload.from_s=8")


@pytest.fixture
def small(tmp_path: object) -> str:
    scenario = Scenario.load("baseline").changed(SMALL)
    lines = [f"{setting.partition('=')[0]} = {setting.partition('=')[2]}" for setting in SMALL if "." not in setting]
    file = f"{tmp_path}/small.toml"
    with open(file, "w", encoding="utf-8") as handle:  # noqa: PTH123
        handle.write('about = "small"\n' + "\n".join(lines) + "\n[workload]\nfrom_s = 8\n")
    assert Scenario.load(file).workload == scenario.workload
    return file


def test_sweep__gives_the_digests_of_single_runs_in_one_process_and_in_two(small: str) -> None:
    work = sweep.jobs(small, range(1, 3), {"links.loss_permille": ["0", "100"]})
    assert [(job.seed, job.settings) for job in work] == [
        (seed, (f"links.loss_permille={loss}",)) for loss in (0, 100) for seed in (1, 2)
    ]
    alone = [sweep.run(job) for job in work]
    for workers in (1, 2):
        found = list(sweep.swept(work, workers=workers))
        assert [each["digest"] for each in found] == [each["digest"] for each in alone]
        assert sweep.digest(found) == sweep.digest(alone)
    assert len({each["digest"] for each in alone}) == len(alone)
    shown = sweep.table(alone)
    assert [line.split()[0] for line in shown] == ["links.loss_permille=0", "links.loss_permille=100"]


def test_sweep__runs_what_the_file_was_when_it_began(small: str) -> None:
    (job,) = sweep.jobs(small, [1], {})
    with open(small, "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write('difficulty_max = 1\nskills = ["arith"]\n')
    (changed,) = sweep.jobs(small, [1], {})
    found = sweep.run(job)
    assert found["content_digest"] == job.scenario.digest != changed.scenario.digest
    assert found["content"]["workload"]["difficulty_max"] == 3
    assert shlex.split(found["repeat"])[-2:] == ["--pin", job.scenario.digest]


def test_sweep__runs_nothing_on_a_machine_with_another_source(small: str) -> None:
    (job,) = sweep.jobs(small, [1], {})
    with pytest.raises(ScenarioError, match="has another source of tutti"):
        sweep.run(replace(job, source="0" * 64))


def test_run__has_the_same_digest_whoever_looks_on(small: str) -> None:
    scenario = Scenario.load(small)
    assert running.run(scenario, 1, checkers=[]).digest == running.run(scenario, 1).digest


def test_run__has_the_same_digest_with_everything_verified_truly(small: str) -> None:
    scenario = Scenario.load(small)
    assert running.run(scenario, 1, kept=TRUE).digest == running.run(scenario, 1).digest


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sweep", "baseline", "--seeds", "3"], "--seeds is A..B"),
        (["sweep", "baseline", "--seeds", "5..1"], "--seeds is A..B"),
        (["sweep", "baseline", "--grid", "nodes"], "--grid is KEY=V1,V2"),
        (["sweep", "baseline", "--grid", "nodes=1"], "nodes: Input should be greater"),
        (["sweep", "baseline", "--jobs", "0"], "--jobs must be 1 or more"),
        (["sweep", "baseline", "--engine", "ray://x"], "no engine 'ray://x'"),
        (["hunt", "--minutes", "0"], "--minutes must be 1 or more"),
    ],
)
def test_usage__of_sweep_and_hunt_is_said_in_a_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.USAGE
    assert said in capsys.readouterr().err


# --- Hunt


def test_hunt__draws_valid_scenarios_of_every_kind() -> None:
    drawn = [hunt.drawn(seed) for seed in range(200)]
    assert {fault.kind for scenario in drawn for fault in scenario.faults} == set(hunt._FAULTS)
    assert len({policy.policy for scenario in drawn for policy in scenario.adversaries}) == len(get_args(Policy))
    assert any(scenario.churn for scenario in drawn)
    assert hunt.drawn(7) == hunt.drawn(7)


def test_hunt__says_a_scenario_in_settings_that_give_it_again() -> None:
    base = Scenario.load("baseline")
    for seed in range(50):
        scenario = hunt.drawn(seed)
        again = base.changed(hunt.settings_of(scenario))
        assert again == scenario.model_copy(update={"name": base.name, "about": base.about})


def test_hunt__shrinks_to_what_still_violates() -> None:
    def look(scenario: Scenario, seed: int, checker: str | None = None) -> Violation | None:
        bad = any(fault.kind == "crash" for fault in scenario.faults) and scenario.nodes >= 7
        return Violation("safety", "x", 1, "n", f"{seed} {checker}") if bad else None

    seed = next(seed for seed in range(500) if look(hunt.drawn(seed), seed) and len(hunt.drawn(seed).faults) >= 3)
    violation = look(hunt.drawn(seed), seed)
    assert violation is not None
    found = hunt.shrunk(hunt.Found(hunt.drawn(seed), seed, violation), look)
    assert [fault.kind for fault in found.scenario.faults] == ["crash"]
    assert found.scenario.adversaries == ()
    assert found.scenario.nodes < 14
    words = shlex.split(found.command)
    assert words[:5] == ["simnet", "run", "baseline", "--seed", str(seed)]


def test_hunt__finds_an_error_that_a_core_raises(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(scenario: Scenario, seed: int, *_: object, **__: object) -> running.Result:
        raise CoreError(f"{scenario.name} {seed}: KeyError")

    monkeypatch.setattr(running, "run", run)
    assert cli.main(["run"]) == cli.CRASHED
    assert "KeyError" in capsys.readouterr().err
    assert cli.main(["hunt", "--minutes", "1", "--json"]) == cli.CRASHED
    found = json.loads(capsys.readouterr().out)
    assert found["found"]["checker"] == "no-error"
    assert "KeyError" in found["found"]["text"]
