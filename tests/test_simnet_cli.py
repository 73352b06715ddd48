"""The command line `simnet`: what it prints can be repeated, and its simulated models know what they claim to know."""

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

from protocol.exercises import DIFFICULTIES, ONE_STEP, SEED_MAX, SKILLS, generate
from simnet import cli, scenario
from simnet.draws import Stream
from simnet.reading import read
from simnet.report import interval
from simnet.solvers import KINDS, solver

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = [(skill, family) for skill in ONE_STEP for family in SKILLS[skill]]


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


def report(*argv: str, hash_seed: str = "0") -> dict[str, Any]:
    done = simnet("run", "--json", *argv, hash_seed=hash_seed)
    assert done.returncode == cli.OK, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_run__gives_one_digest_under_two_hash_seeds() -> None:
    first, second = (report("--questions", "4", "--nodes", "5", "--loss", "100", hash_seed=seed) for seed in ("1", "2"))
    assert first == second
    assert len(bytes.fromhex(first["digest"])) == 32


def test_run__another_seed_gives_another_digest() -> None:
    one, two = (scenario.run(scenario.Settings(seed=seed, questions=2)) for seed in (1, 2))
    assert one.digest != two.digest


def test_run__prints_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--seed", "5", "--questions", "2", "--json"]) == cli.OK
    first = json.loads(capsys.readouterr().out)
    program, *argv = first["repeat"].split()
    assert program == "simnet"
    assert cli.main([*argv, "--json"]) == cli.OK
    assert json.loads(capsys.readouterr().out) == first


def test_run__counts_every_question_in_one_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--questions", "6", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert sum(found["outcomes"].values()) == found["questions"] == 6
    assert 0 <= found["right"] <= 6
    assert found["messages_per_task"] > 0


def test_run__prints_for_a_person_what_the_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--questions", "2"]) == cli.OK
    shown = capsys.readouterr().out
    assert cli.main(["run", "--questions", "2", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert found["digest"] in shown
    assert found["repeat"] in shown
    assert "answered 2" in shown


def test_network__a_liar_is_outvoted_by_what_audits_found() -> None:
    found = scenario.run(scenario.Settings(seed=3, questions=40))
    assert found.outcomes == {"answered": 40}
    assert found.right >= 36


def test_population__has_one_liar_however_large() -> None:
    assert scenario.population(2) == ("arith", "lists")
    for count in (6, 10, 11, 20, scenario.NODES_MAX):
        names = scenario.population(count)
        assert len(names) == count
        assert names.count("liar") == 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["run", "--sed", "3"], "simnet: unknown argument '--sed', did you mean --seed?; see simnet --help"),
        (["run", "--nodes", "1"], "simnet: --nodes must be from 2 to 64, not 1"),
        (["run", "--loss", "1000"], "simnet: --loss must be from 0 to 900, not 1000"),
        (["run", "--questions", "0"], "simnet: --questions must be from 1 to 10000, not 0"),
        (["run", "--seed", "x"], "simnet: argument --seed: invalid number value: 'x'; see simnet run --help"),
    ],
)
def test_usage__a_wrong_argument_is_named_in_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.err == f"{line}\n"
    assert captured.out == ""


def test_help__says_what_is_not_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == cli.OK
    shown = capsys.readouterr().out
    assert cli.main(["--help"]) == cli.OK
    assert capsys.readouterr().out == shown
    assert "does not do yet" in shown
    assert "exit codes" in shown


def test_version__is_that_of_the_package() -> None:
    done = simnet("version", "--json")
    assert (done.returncode, list(json.loads(done.stdout))) == (cli.OK, ["version"])


@given(st.sampled_from(FAMILIES), st.sampled_from(DIFFICULTIES), st.integers(0, SEED_MAX))
def test_read__finds_skill_and_gold_of_every_exercise(family: tuple[str, str], difficulty: int, seed: int) -> None:
    exercise = generate(family[0], difficulty, seed, family[1])
    assert read(exercise.text) == (exercise.skill, exercise.gold)


@given(st.text(max_size=200))
def test_read__takes_any_text(text: str) -> None:
    found = read(text)
    assert found is None or found[0] in SKILLS


@pytest.mark.parametrize("text", ["Write a haiku", "Is Ana taller than Ben?", "Which is better, tea or coffee?", "a, b, c"])
def test_read__knows_nothing_of_what_is_no_exercise(text: str) -> None:
    assert read(text) is None


@given(st.sampled_from(FAMILIES), st.integers(0, SEED_MAX))
def test_solver__the_liar_is_never_right(family: tuple[str, str], seed: int) -> None:
    exercise = generate(family[0], 1, seed, family[1])
    solution = solver(KINDS["liar"])(exercise.text, Stream(seed % 2**63, "liar"))
    assert solution.text != f"answer: {exercise.gold}"


@pytest.mark.parametrize(("kind", "skill"), [("arith", "arith"), ("text", "text"), ("generalist", "logic"), ("arith", "lists")])
def test_solver__is_right_as_often_as_its_kind_says(kind: str, skill: str) -> None:
    solve, draws = solver(KINDS[kind]), Stream(1, "solver")
    exercises = [generate(skill, 1, seed) for seed in range(2_000)]
    right = sum(solve(exercise.text, draws).text == f"answer: {exercise.gold}" for exercise in exercises)
    assert right / 2_000 == pytest.approx(KINDS[kind].skills.get(skill, 0) / 1_000, abs=0.04)


def test_interval__is_wilsons() -> None:
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert interval(40, 40)[1] == 1.0
