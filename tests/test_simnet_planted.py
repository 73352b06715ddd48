"""The exam of the checkers: its table is exact, and what is planted is found in a process of its own."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from simnet import cli, planted, planting
from simnet.planting import Hunted, Job, PlantingError

BY_NAME = {bug.name: bug for bug in planted.BUGS}


def test_table__has_25_bugs_each_in_a_place_of_its_own() -> None:
    assert len(planted.BUGS) == len(BY_NAME) == len({(bug.module, bug.old) for bug in planted.BUGS}) == 25
    assert len({bug.module for bug in planted.BUGS}) > 15


@pytest.mark.parametrize("name", BY_NAME)
def test_bug__stands_where_the_table_says_and_can_be_compiled(name: str) -> None:
    bug = BY_NAME[name]
    source, text = planting.source_of(bug.module), bug.planted()
    assert source != text
    assert len(text.splitlines()) - len(source.splitlines()) in (-1, 0, 1)
    compile(text, bug.module, "exec", dont_inherit=True)


def test_bug__whose_text_is_gone_is_refused() -> None:
    gone = planted.Bug("gone", "protocol.vote", "no such text", "", "")
    with pytest.raises(PlantingError, match="has its text 0 times, not once"):
        gone.planted()


# Of the first scenarios each of these takes one or two.
@pytest.mark.parametrize(("name", "checker"), [("weights-ignored", "follows"), ("quorum-off-by-one", "follows")])
def test_planted_bug__is_found_in_a_process_of_its_own(name: str, checker: str) -> None:
    bug = BY_NAME[name]
    found = planting.run(Job(bug.module, bug.planted(), 1, 3, 30))
    assert (found.checker, found.found) == (checker, True)
    assert found.text


def test_control__finds_nothing_in_the_same_scenarios() -> None:
    found = planting.run(Job("", "", 1, 3, 30))
    assert (found.checker, found.found, found.draws) == ("", False, 3)


def test_text__that_cannot_be_imported_is_not_found_by_a_checker() -> None:
    found = planting.run(Job("protocol.vote", "1 / 0\n", 1, 1, 30))
    assert (found.checker, found.found) == (planting.BROKEN, False)
    assert "ZeroDivisionError" in found.text


def test_instant__that_does_not_end_is_found() -> None:
    watchdog = planting._Watchdog()
    watchdog.look(0, None)

    class Still:
        now_us = 7_000_000

    watchdog.note(Still())  # type: ignore[arg-type]
    watchdog.look(0, None)
    with pytest.raises(planting._StuckError, match=r"7\.000000 s took more than"):
        watchdog.look(0, None)
    Still.now_us += 1
    watchdog.look(0, None)


def test_exam__fails_with_too_many_unseen_and_with_anything_found_in_the_source_as_it_is() -> None:
    seen, unseen = Hunted("follows", "x", 1, 1, 1.0), Hunted("", "", 3, 3, 2.0)
    rows = tuple((bug, seen) for bug in planted.BUGS)
    blind = tuple((bug, unseen) for bug in planted.BUGS[:3])
    assert planted.Exam(unseen, rows).passed
    assert planted.Exam(unseen, rows[2:] + blind[:2]).passed
    assert not planted.Exam(unseen, rows[3:] + blind).passed
    assert not planted.Exam(seen, rows).passed
    shown = planted.as_json(planted.Exam(unseen, rows[2:] + blind[:2]))
    assert (shown["planted"], shown["found"], shown["control"]["violations"]) == (25, 23, 0)
    assert asdict(seen)["checker"] == shown["bugs"][0]["checker"]


def test_hunt_planted__says_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(planting, "run", lambda job: Hunted("follows" if job.module else "", "why", job.seed, 2, 1.0))
    assert cli.main(["hunt", "--planted", "--json", "--seed", "4"]) == cli.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["planted"], shown["found"], shown["control"]["scenarios"]) == (25, 25, 2)
    assert all(bug["seed"] == 4 for bug in shown["bugs"])
    assert cli.main(["hunt", "--planted", "--only", "vote-twice"]) == cli.OK
    assert "1 of 1 found" in capsys.readouterr().out
    monkeypatch.setattr(planting, "run", lambda job: Hunted("", "", job.seed, 2, 1.0))
    assert cli.main(["hunt", "--planted"]) == cli.FAILED


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["hunt", "--only", "vote-twice"], "mean nothing without --planted"),
        (["hunt", "--planted", "--only", "none"], "no planted bug 'none'; there are replay-accepted"),
        (["hunt", "--planted", "--jobs", "0"], "--jobs must be 1 or more"),
    ],
)
def test_usage__of_the_exam_is_said_in_a_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.USAGE
    assert said in capsys.readouterr().err
