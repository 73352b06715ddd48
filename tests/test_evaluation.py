"""The evaluations on small made-up answers: what they compute, and that they say when they cannot."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from contrib.evaluation import gsm8k, learning
from contrib.evaluation.figures import figure, table
from contrib.evaluation.recorded import SPECIALISTS, VOTERS, Asked
from contrib.evaluation.voters import Auditor, Question


def made_up(count: int) -> list[Question]:
    """Four voters, right in 60, 40, 30 and 20 of a hundred; wrong answers scatter."""
    draws = random.Random(3)  # noqa: S311 - made-up answers
    rows = []
    for number in range(count):
        gold = str(number)
        said = [gold if draws.random() < share else f"{draws.randrange(10)}.5" for share in (0.6, 0.4, 0.3, 0.2)]
        rows.append(Question(str(number), gold, tuple(said)))
    return rows


@pytest.fixture
def few_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gsm8k, "SPLITS", 2)
    monkeypatch.setattr(gsm8k, "SHARES", (50,))


@pytest.mark.usefixtures("few_splits")
def test_gsm8k__colluders_gain_by_number_and_not_by_clusters() -> None:
    found = gsm8k.report(made_up(300))
    lying = found["colluders"]["lie on 50 %"]
    assert lying["loss_points"] <= 2 < lying["loss_points_alone"]
    assert found["colluders"]["newcomers, lie on 100 %"]["loss_points"] == 0
    best = max(row["mean"] for name, row in found["policies"].items() if "right" not in name)
    assert found["policies"]["tutti"]["mean"] >= best - 0.03
    assert "colluders" in gsm8k.show(found)


def test_gsm8k__splits_ties_of_plurality() -> None:
    assert gsm8k.plurality(Question("", "1", ("1", "2", None, "3"))) == pytest.approx(1 / 3)
    assert gsm8k.plurality(Question("", "1", (None, None))) == 0


def test_gsm8k__reads_numbers_as_models_write_them(tmp_path: Path) -> None:
    path = tmp_path / "votes"
    path.write_text(json.dumps({"id": 3, "gold": "2,125", "votes": {"a": "2125", "b": "$2,125.00", "c": ""}}))
    assert gsm8k.read(path) == [Question("3", "2125", ("2125", "2125", None))]


def test_gsm8k__says_that_it_was_skipped_and_where_the_answers_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gsm8k", str(tmp_path / "none")])
    assert gsm8k.main() == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("skipped: there is no ")
    assert "GSM8K" in err
    assert "MIT" in err


def test_learning__starts_at_plurality_and_learns_who_is_good_at_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "AUDITS_MAX", 8)
    monkeypatch.setattr(learning, "DRAWS", 2)
    rows = [
        Asked(
            f"{skill} {number}",
            skill,
            "yes",
            tuple("yes" if name == skill else ("no", "1", "2", "no", "no")[place % 5] for place, name in enumerate(VOTERS)),
            (1,) * len(VOTERS),
        )
        for skill in SPECIALISTS
        for number in range(10)
    ]
    found = learning.report(rows, rows)
    assert found["curve"][0]["mean"] == found["baselines"]["plurality"] < 0.5
    assert found["curve"][8]["mean"] == found["baselines"]["best of each skill, in hindsight"] == 1
    assert "audits a node and skill" in learning.show(found)


def test_auditor__leaves_newcomers_without_weight() -> None:
    auditor = Auditor(3, {"math": 10})
    for number in range(10):
        auditor.grade("math", str(number), "1", {0: "1", 1: f"{number}.5"})
    voters = auditor.voters("math")
    assert voters.weights[0] > 0
    assert voters.weights[1:] == (0, 0)
    assert voters.vote("task", ("1", "2", "2")) == "1"


def test_figure__is_the_mean_and_where_most_lie() -> None:
    found = figure([float(value) for value in range(80)])
    assert (found.mean, found.low, found.high) == (39.5, 2.0, 77.0)
    assert table([("a", "bb"), ("ccc", 1)]) == "a    bb\nccc   1"
