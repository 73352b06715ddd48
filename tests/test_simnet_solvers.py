"""Simulated models: right as often as was measured, alone and together; recorded answers; and the packaged models."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrib.evaluation.calibration import counts, pattern
from protocol.answers import answer_of
from protocol.exercises import ANSWERS, DIFFICULTIES, ONE_STEP, SEED_MAX, SKILLS, Exercise, generate
from protocol.plan import canonical_plan
from simnet import answerbook, calibration, cli
from simnet.draws import Stream
from simnet.reading import read
from simnet.running import run
from simnet.scenario import Scenario, ScenarioError
from simnet.solvers import KINDS, PACKAGED, solver

Output = pytest.CaptureFixture[str]
FAMILIES = [(skill, family) for skill in SKILLS for family in SKILLS[skill]]
SAMPLE = 1_500


def said(kind: str, exercise: Exercise) -> str | None:
    return answer_of(ANSWERS[exercise.skill], solver(KINDS[kind])(exercise.text, Stream(1, "x")).text)


# --- What was measured


def test_pattern__says_who_is_right_and_who_errs_alike() -> None:
    assert pattern(["4", "4", None, "5", "6", "5"], "4") == "00-121"
    assert counts(["0", "1", "0", "-"]) == {"0": 2, "-": 1, "1": 1}


@pytest.mark.parametrize(("skill", "family"), FAMILIES)
def test_calibration__has_every_family_at_every_difficulty(skill: str, family: str) -> None:
    for difficulty in DIFFICULTIES:
        found = calibration.tiny(family, difficulty)
        assert set(found.models) == {name for name in PACKAGED if skill in KINDS[name].skills}
        assert found.questions >= 20
        assert all(len(each) == len(found.models) for each, _ in found.patterns)


def test_calibration__of_gsm8k_is_of_all_its_questions() -> None:
    found = calibration.gsm8k()
    assert found.questions == 1_319
    assert {name: KINDS[name].skills["arith"] for name in found.models} == {
        name: 1_000 * found.right(name) // 1_319 for name in found.models
    }
    assert 1_000 * found.right("gsm8k:175b_verification") // 1_319 == 562


# --- Statistical models


@given(st.sampled_from(FAMILIES), st.integers(0, SEED_MAX))
def test_solver__the_liar_is_never_right(family: tuple[str, str], seed: int) -> None:
    exercise = generate(family[0], 1, seed, family[1])
    assert said("liar", exercise) != exercise.gold


@pytest.mark.parametrize(
    ("model", "skill"), [("generalist", "arith"), ("generalist", "lists"), ("arith", "arith"), ("lists", "text")]
)
def test_solver__is_right_as_often_as_its_model_was(model: str, skill: str) -> None:
    exercises = [generate(skill, 1 + seed % 3, seed) for seed in range(SAMPLE)]
    right = sum(said(model, exercise) == exercise.gold for exercise in exercises)
    expected = 0.0
    if skill in KINDS[model].skills:
        for exercise in exercises:
            found = read(exercise.text)
            assert found is not None
            measured = calibration.tiny(found.family, found.difficulty)
            expected += measured.right(model) / measured.questions
    assert right / SAMPLE == pytest.approx(expected / SAMPLE, abs=0.03)


def test_solvers__of_one_model_give_one_answer_and_those_of_others_err_together_as_they_did() -> None:
    names = calibration.gsm8k().models
    exercises = [generate(ONE_STEP[seed % 4], 3, seed) for seed in range(SAMPLE)]
    seen = Counter(pattern([said(name, exercise) for name in names], exercise.gold) for exercise in exercises)
    measured = dict(calibration.gsm8k().patterns)
    # All right, all wrong in ways of their own, and two kinds in which some err: each as often as it was.
    for each in ("0000", "0010", "1000"):
        assert seen[each] / SAMPLE == pytest.approx(measured[each] / 1_319, abs=0.03)
    for exercise in exercises[:50]:
        one, other = (solver(KINDS[names[0]])(exercise.text, Stream(node, "node")).text for node in (1, 2))
        assert one == other


def test_planner__writes_the_plan_and_errs_in_one_that_can_be_carried_out() -> None:
    exercises = [generate("plan", 1 + seed % 3, seed) for seed in range(300)]
    plans = [said("plan", exercise) for exercise in exercises]
    right = sum(plan == exercise.gold for plan, exercise in zip(plans, exercises, strict=True))
    assert 280 <= right <= 300
    liars = [said("liar", exercise) for exercise in exercises]
    assert all(said("composite", generate("composite", 1, seed)) is not None for seed in range(20))
    assert all(plan is not None and canonical_plan(plan) == plan for plan in plans)
    assert liars != plans


def test_plans__of_a_workload_are_planned_and_answered() -> None:
    scenario = Scenario.load("plans").changed(["nodes=24", "duration_s=60", "settle_s=5", "links.regions={europe=1}"])
    result = run(scenario, 1)
    asked = [each for each in result.asked if each.exercise.skill == "composite"]
    planned = [each for each in asked if each.outcome is not None and each.outcome.plans]
    right = sum(each.outcome is not None and each.outcome.answer == each.exercise.gold for each in planned)
    assert result.violations == ()
    assert len(asked) > 10
    assert len(planned) >= 0.8 * len(asked)
    assert right >= 0.8 * len(planned)


# --- Recorded answers, and real ones

SMALL = ("nodes=6", "duration_s=14", "settle_s=1", "workload.from_s=5", "links.regions={europe=1}")


def test_recording__gives_what_stands_in_it_and_fails_in_what_does_not(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    row = {"model": "arith", "question": "1 + 2", "text": "answer: 3", "tokens": 10, "prompt_tokens": 4}
    file.write_text(json.dumps(row) + "\n")
    source = answerbook.opened(file, answerbook.digest(file))
    solve = answerbook.solver(KINDS["arith"], "laptop", source)
    found = solve("1 + 2", Stream(1, "x"))
    assert (found.text, found.tokens, found.prompt_tokens, found.error) == ("answer: 3", 10, 4, None)
    assert solve("2 + 2", Stream(1, "x")).error == answerbook.MISSING
    with pytest.raises(answerbook.AnswerbookError, match="was changed since"):
        answerbook.opened(file, "0" * 64)
    file.write_text("{}\n")
    with pytest.raises(answerbook.AnswerbookError, match="line 1: not an answer"):
        answerbook.opened(file, answerbook.digest(file))


def test_scenario__pins_its_recording(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("")
    scenario = Scenario.load("baseline").changed([f"solvers=recorded:{file}", *SMALL])
    assert scenario.solvers == f"recorded:{file}#{answerbook.digest(file)}"
    assert scenario.changed([]) == scenario
    file.write_text("\n")
    with pytest.raises(ScenarioError, match="is not the recording any more"):
        run(scenario, 1)


def test_run__of_real_models_is_recorded_and_given_again(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "answers.jsonl"
    words = [word for setting in SMALL for word in ("--set", setting)]
    assert cli.main(["run", *words, "--set", "solvers=models", "--answers", str(file), "--json"]) == cli.OK
    real = json.loads(capsys.readouterr().out)
    assert real["questions"] > 3
    assert real["right"] >= 0.7 * real["ended"]
    assert len(file.read_text().splitlines()) > 10
    assert cli.main(["run", *words, "--set", f"solvers=recorded:{file}", "--json"]) == cli.OK
    again = json.loads(capsys.readouterr().out)
    assert again["digest"] == real["digest"]
