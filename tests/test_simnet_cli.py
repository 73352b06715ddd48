"""The command line `simnet`: what it prints can be repeated, and what is wrong with a scenario is said by its key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import CONNECTIONS_SOON
from protocol.exercises import DIFFICULTIES, SEED_MAX, SKILLS, generate
from simnet import cli
from simnet.reading import read
from simnet.report import interval
from simnet.scenario import Scenario, ScenarioError, names

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = [(skill, family) for skill in SKILLS for family in SKILLS[skill]]
SMALL = ("--nodes", "6", "--set", "duration_s=30", "--set", "settle_s=15", "--set", "workload.from_s=10")
Output = pytest.CaptureFixture[str]


def simnet(*argv: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from simnet.cli import main; sys.exit(main())", *argv],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def found(*argv: str, hash_seed: str = "0") -> dict[str, Any]:
    done = simnet("run", *argv, *SMALL, "--json", hash_seed=hash_seed)
    assert done.returncode == cli.OK, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def refused(capsys: Output, *argv: str) -> str:
    assert cli.main(argv) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(line.startswith("simnet: ") for line in captured.err.splitlines())
    return captured.err


# --- Runs


@pytest.mark.parametrize("scenario", ["baseline", "forgery"])
def test_run__gives_one_digest_under_two_hash_seeds(scenario: str) -> None:
    first, second = (found(scenario, hash_seed=seed) for seed in ("1", "2"))
    for each in (first, second):
        del each["cpu_s"], each["events_per_cpu_s"]
    assert first == second
    assert len(bytes.fromhex(first["digest"])) == 32
    assert first["questions"] > 0


def test_run__prints_the_command_that_repeats_it_and_another_seed_gives_another_digest(capsys: Output) -> None:
    assert cli.main(["run", "--seed", "5", *SMALL, "--json"]) == cli.OK
    first = json.loads(capsys.readouterr().out)
    program, *argv = first["repeat"].split()
    assert program == "simnet"
    assert cli.main([*argv, "--json"]) == cli.OK
    assert json.loads(capsys.readouterr().out)["digest"] == first["digest"]
    assert cli.main(["run", "--seed", "6", *SMALL]) == cli.OK
    shown = capsys.readouterr().out
    assert first["digest"] not in shown
    assert "checks       all hold" in shown
    assert "--seed 6" in shown


def test_run__counts_every_question_in_one_outcome(capsys: Output) -> None:
    assert cli.main(["run", *SMALL, "--json"]) == cli.OK
    shown = json.loads(capsys.readouterr().out)
    assert sum(shown["outcomes"].values()) == shown["questions"] == shown["ended"]
    assert 0 < shown["right"] <= shown["ended"]
    assert shown["violations"] == []
    assert shown["messages_per_task"] > 0


def test_list__shows_every_scenario_and_each_is_valid(capsys: Output) -> None:
    assert cli.main(["list", "--json"]) == cli.OK
    shown = json.loads(capsys.readouterr().out)["scenarios"]
    assert [each["name"] for each in shown] == names()
    assert cli.main(["list"]) == cli.OK
    shown = capsys.readouterr().out
    assert all(line.split()[0] == name for line, name in zip(shown.splitlines(), names(), strict=True))


# --- Errors


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "--sede", "3"], "did you mean --seed?"),
        (["sweep", "baseline", "--set", "nodes=3"], "this command takes no --set"),
        (["run", "--seed", "x"], "invalid number value: 'x'"),
        (["run", "--seed", "-1"], "--seed must be from 0"),
        (["walk"], "invalid choice: 'walk'"),
        (["run", "nothing"], "no scenario 'nothing'; there are audit-spotters, baseline"),
        (["run", "none.toml"], "cannot read none.toml"),
        (["run", "--nodes", "1"], "nodes: Input should be greater than or equal to 2"),
        (["run", "--set", "duration_s"], "'duration_s' is not key=value"),
        (["run", "--set", "duration=3"], "duration: no such key duration; there are"),
        (["run", "--set", "links.loss=3"], "links.loss: no such key loss; there are"),
        (["run", "--set", "churn.share_permille=3"], "nothing is set at churn"),
        (["run", "mass-crash", "--set", "faults.1.at_s=3"], "faults.1.at_s: there are 1, numbered from 0"),
        (["run", "mass-crash", "--set", "faults.0.at_s=290"], "faults.0 ends at 410 s, after duration_s = 300"),
        (["run", "--set", "links.loss_permille=1001"], "links.loss_permille: Input should be less than or equal to 1000"),
        (["run", "--set", "network=moon"], "network: Input should be 'dev', 'local' or 'testnet'"),
        (["run", "--set", 'population=[{model="foo"}]'], "population.0: no model foo; there are arith"),
        (["run", "--set", "workload.plans_permille=5"], 'needs a group of population with model = "plan"'),
        (["run", "--set", "solvers=magic"], "solvers: must be statistical, models or recorded:FILE, not 'magic'"),
        (["run", "--set", "solvers=recorded:none.jsonl"], "solvers: cannot read none.jsonl"),
        (["run", "--answers", "x"], "--answers needs models"),
        (["run", "--pin", "00"], "baseline is not the scenario any more that has the digest 00"),
        (["run", "--set", "join_s=500"], "join_s = 500 is after duration_s = 120"),
        (["run", "beacon-flood", "--set", "adversaries.0.lie_permille=3"], "means nothing to flooder"),
        (["hunt", "--seed", "-1"], "--seed must be from 0"),
        (["run", "--set", 'workload.skills=["cooking"]'], "workload: no skill cooking; there are arith"),
    ],
)
def test_usage__is_said_in_a_line_that_names_the_key(argv: list[str], said: str, capsys: Output) -> None:
    assert said in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = ", "not TOML"),
        ("nodes = 3", "about: Field required"),
        ('about = "x"\nnodes = "3"', "nodes: Input should be a valid integer"),
        ('about = "x"\ncolour = 3', "colour: no such key"),
        ('about = "x"\n[[faults]]\nkind = "flood"', "faults.0: Input tag 'flood'"),
        ('about = "x"\n[[faults]]\nkind = "partition"\nat_s = 1\nlasts_s = 2\nregions = ["moon"]', "faults.0.regions must be"),
        ('about = "x"\n[links.regions]\nmoon = 1', "links: no region moon; there are north-america"),
        ('about = "x"\nwhen = 2026-01-01', "when: no such key"),
        ('about = "x"\n[[adversaries]]\npolicy = "colluder"\nshare_permille = 1000', "leave no honest node"),
    ],
)
def test_scenario_file__with_an_error_says_which_key(text: str, said: str, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert said in refused(capsys, "run", str(file))


def test_scenario_file__that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="not text in UTF-8"):
        Scenario.load(str(tmp_path / "bytes.toml"))
    with pytest.raises(ScenarioError, match="cannot read"):
        Scenario.load(str(tmp_path / "none" / "x.toml"))


@given(
    st.dictionaries(
        st.sampled_from([*Scenario.model_fields, "x"]), st.none() | st.integers() | st.text() | st.lists(st.integers())
    )
)
def test_scenario__of_any_fields_is_valid_or_an_error_of_ours(fields: dict[str, object]) -> None:
    fields.pop("name", None)
    try:
        scenario = Scenario.read(fields, "any")
    except ScenarioError as error:
        assert str(error)
        return
    assert scenario.changed([]) == scenario


def test_version__is_that_of_the_package() -> None:
    done = simnet("version", "--json")
    assert (done.returncode, list(json.loads(done.stdout))) == (cli.OK, ["version"])


@given(st.sampled_from(FAMILIES), st.sampled_from(DIFFICULTIES), st.integers(0, SEED_MAX))
def test_read__finds_skill_and_gold_of_every_exercise(family: tuple[str, str], difficulty: int, seed: int) -> None:
    exercise = generate(family[0], difficulty, seed, family[1])
    found = read(exercise.text)
    assert found is not None
    assert found.difficulty <= (2 if exercise.family == "chain" and difficulty == 1 else difficulty)
    if exercise.skill == "plan":
        assert (f"plan_{found.family}", found.plan) == (exercise.family, exercise.gold)
    else:
        assert (found.skill, found.family, found.gold) == (exercise.skill, exercise.family, exercise.gold)


@given(st.text(max_size=200))
def test_read__takes_any_text(text: str) -> None:
    found = read(text)
    assert found is None or found.family in SKILLS[found.skill]


@pytest.mark.parametrize("text", ["Write a haiku", "Is Ana taller than Ben?", "Which is better, tea or coffee?", "a, b, c"])
def test_read__knows_nothing_of_what_is_no_exercise(text: str) -> None:
    assert read(text) is None


def test_interval__is_wilsons() -> None:
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(40, 40)[1] == 1.0


def test_bench__measures_what_is_asked_for(capsys: Output) -> None:
    assert cli.main(["bench", "--nodes", "3", "--seconds", "12", "--json"]) == cli.OK
    found = {each["name"]: each["value"] for each in json.loads(capsys.readouterr().out)["figures"]}
    assert found["idle core"] <= 40
    assert found["gossip, p99 of delivery"] <= 1.25
    assert found["gossip, copies"] <= 6
    assert found["gossip, delivered with 5 % loss"] == 100
    assert found["bare engine"] > found["whole protocol, remembered checks"] > 0
    assert cli.main(["bench", "--nodes", "1"]) == cli.USAGE


def test_bench__of_a_crowd_has_everybody_join(capsys: Output) -> None:
    assert cli.main(["bench", "--crowd", "--nodes", "12", "--json"]) == cli.OK
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["figures"]}
    assert found["crowd, whole protocol"]["value"] > 0
    assert found["crowd, memory"]["value"] > 0
    channels = float(found["crowd, whole protocol"]["beside"].split(", ")[1].split()[0])
    assert CONNECTIONS_SOON <= channels < 12
    assert cli.main(["bench", "--crowd", "--partition"]) == cli.USAGE
    assert "not allowed with" in capsys.readouterr().err
