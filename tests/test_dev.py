"""The developer network end to end: real processes, real models, real libp2p."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from node.dev.homes import remove_leftovers
from node.dev.liar import lie
from node.dev.network import DevNode, network, population, roles, skills
from node.dev.questions import questions
from node.dev.run import Course
from node.dev.screen import Quiet
from node.errors import UserError

_TIMEOUT_S = 120
# Two nodes for each skill that these tests ask for, so that either may go.
_FOUR = ("arith", "lists", "generalist", "arith")
_T = TypeVar("_T")


def _dev(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "node", "dev", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
    )


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    async def bounded() -> _T:
        async with asyncio.timeout(_TIMEOUT_S):
            return await work

    return asyncio.run(bounded())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_dev__json_tells_nodes_questions_accuracy_and_cost(tmp_path: Path) -> None:
    process = _dev(tmp_path, "--nodes", "3", "--questions", "6", "--seed", "5", "--json")
    out, err = process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert len(report["nodes"]) == 3
    assert len({node["pid"] for node in report["nodes"]} | {node["peer_id"] for node in report["nodes"]}) == 6
    assert [question.text for question in questions(5, 6, skills(node["model"] for node in report["nodes"]))] == [
        row["text"] for row in report["questions"]
    ]
    for row in report["questions"]:
        assert row["outcome"] == "answered"
        assert row["correct"] == (row["answer"] == row["gold"])
        assert row["bids"]
        assert row["award"]["seats"]
        assert row["messages"] > 0 < row["bytes"]
        assert row["tokens"] > 0 < row["latency_ms"]
        assert all(vote["peer_id"].startswith("12D3KooW") for vote in row["votes"])
    names = {"network", "best_single", "majority", "majority_honest", "random", "oracle_route", "self_consistency"}
    assert set(report["accuracy"]) == names
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in report["accuracy"].values())
    assert report["cost"]["audits"]["tokens"] > 0
    assert report["cost"]["self_consistency"]["tokens"] >= report["cost"]["tokens"]
    assert {row["skill"] for row in report["breakdown"]} == {row["skill"] for row in report["questions"]}
    assert list(tmp_path.iterdir()) == []
    assert not any(_alive(node[pid]) for node in report["nodes"] for pid in ("pid", "worker_pid"))


def test_dev__free_text_gets_the_most_trusted_answer_labelled_not_voted(tmp_path: Path) -> None:
    process = _dev(tmp_path, "--nodes", "2", "--ask", "write a haiku")
    out, err = process.communicate(timeout=_TIMEOUT_S)
    assert process.returncode == 0, err
    assert "not voted" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev__a_signal_leaves_no_process_and_no_home(tmp_path: Path, number: signal.Signals) -> None:
    process = _dev(tmp_path, "--nodes", "2", "--questions", "100000")
    assert process.stdout is not None
    pids = []
    for line in process.stdout:
        if " pid " in line:
            pids.append(int(line.rsplit(" pid ", 1)[1]))
        if line.startswith("One question"):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=_TIMEOUT_S)
    assert "Traceback" not in err
    assert len(pids) == 2
    assert not any(_alive(pid) for pid in pids)
    assert list(tmp_path.iterdir()) == []


def test_dev__what_a_killed_run_left_goes_with_the_next_one(tmp_path: Path) -> None:
    process = _dev(tmp_path, "--nodes", "2", "--questions", "100000")
    assert process.stdout is not None
    next(line for line in process.stdout if " pid " in line)
    process.kill()
    process.communicate(timeout=_TIMEOUT_S)
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("--questions", "-1"), ("--questions", "x"), ("--ask", " "), ("--nodes", "1"), ("--frobnicate",)]
)
def test_dev__bad_arguments_are_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    process = _dev(tmp_path, *arguments)
    out, err = process.communicate(timeout=_TIMEOUT_S)
    assert (process.returncode, out) == (2, "")
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


async def _first_award(course: Course, nodes: list[DevNode]) -> DevNode:
    async for event in course.asked.client.events():
        if event["event"] == "award" and event["peer"] != course.asked.peer_id:
            return next(node for node in nodes if node.peer_id == event["peer"])
    raise AssertionError("the event stream ended")


async def _ask_and_kill(*, worker: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Ask while the first node that is offered a seat, or its model's process, is killed; then ask once more."""
    async with network(_FOUR) as nodes:
        course = Course(nodes, nodes[1], 3, Quiet())
        await course.audit()
        asked = questions(course.seed, 40, ("arith", "lists"))
        pids = {node.peer_id: (await node.client.get("/v1/status"))["model"]["pid"] for node in nodes}

        async def strike() -> str:
            victim = await _first_award(course, nodes)
            os.kill(pids[victim.peer_id] if worker else victim.process.pid, signal.SIGKILL)
            return victim.peer_id

        striking = asyncio.create_task(strike())
        rows = []
        # The event stream may open a moment after the first questions; the strike comes within one of the others.
        for question in asked:
            rows.append(await course.ask(question))
            if striking.done():
                break
        victim = await striking
        rows += [await course.ask(question) for question in asked[-3:]]
        if worker:
            node = next(node for node in nodes if node.peer_id == victim)
            assert node.process.returncode is None
            await node.client.get("/v1/status")
        return rows, [victim]


@pytest.mark.parametrize("worker", [False, True])
def test_dev__a_killed_executor_or_model_costs_no_answer(worker: bool) -> None:  # noqa: FBT001 - pytest passes it
    rows, _ = _run(_ask_and_kill(worker=worker))
    assert all(row["answer"] is not None for row in rows)


async def _survives_the_bootstrap() -> list[dict[str, Any]]:
    async with network(_FOUR) as nodes:
        course = Course(nodes, nodes[2], 4, Quiet())
        os.kill(nodes[0].process.pid, signal.SIGKILL)
        await nodes[0].process.wait()
        await course.audit()
        return [await course.ask(question) for question in questions(course.seed, 3, ("arith", "lists"))]


def test_dev__a_dead_bootstrap_is_not_a_dead_network() -> None:
    assert all(row["outcome"] == "answered" for row in _run(_survives_the_bootstrap()))


def test_network__a_node_that_cannot_start_is_one_line_and_the_others_end() -> None:
    async def start() -> None:
        async with network(("none", "none", "no-such-model")):
            raise AssertionError("it started")

    with pytest.raises(UserError, match=r"the no-such-model node did not start: .*no-such-model"):
        _run(start())


@pytest.mark.parametrize("begun", [1, 3])
def test_dev__a_signal_while_nodes_start_leaves_nothing(tmp_path: Path, begun: int) -> None:
    process = _dev(tmp_path, "--nodes", "6")
    while process.poll() is None and len(list(tmp_path.glob("*/*/log"))) < begun:
        pass
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=_TIMEOUT_S)
    assert "Traceback" not in err
    assert err.strip().endswith("the temporary home is gone")
    assert list(tmp_path.iterdir()) == []


def test_questions__one_seed_gives_the_same_distinct_questions_skills_in_turn() -> None:
    first = questions(11, 200, ("arith", "lists"))
    assert first == questions(11, 200, ("arith", "lists"))
    assert len({question.text for question in first}) == 200
    assert [question.skill for question in first] == ["arith", "lists"] * 100


def test_roles__the_standard_network_has_two_of_each_specialist_a_generalist_and_a_liar_last() -> None:
    standard = population()
    counts = Counter(standard)
    assert counts.pop("generalist") == counts.pop("liar") == 1
    assert set(counts.values()) == {2}
    assert roles(len(standard)) == list(standard)
    assert standard[-1] == "liar"


def test_roles__a_larger_network_has_one_liar_and_a_smaller_one_none() -> None:
    assert len(roles(20)) == 20
    assert roles(20).count("liar") == 1
    assert roles(3).count("liar") == 0


def test_leftovers__only_homes_of_dead_runs_of_ours_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    gone = tmp_path / f"tutti-dev-{dead.pid}-abc"
    kept = [
        tmp_path / f"tutti-dev-{os.getpid()}-abc",
        tmp_path / f"tutti-dev-{dead.pid}-locked",
        tmp_path / f"another-{dead.pid}-abc",
        tmp_path / "tutti-dev-abc",
    ]
    for home in (gone, *kept):
        home.mkdir()
        (home / "lock").touch()
    (tmp_path / f"tutti-dev-{dead.pid}-link").symlink_to(kept[0])
    with (kept[1] / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
    assert not gone.exists()
    assert all(home.exists() for home in kept)
    assert len(list(tmp_path.iterdir())) == len(kept) + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+1\nanswer: 2", "1+1\nanswer: 3"),
        ("answer: 3 5 9", "answer: 3 5 0"),
        ("no mark", "no mark\nanswer: 0"),
        ("answer: ?", "answer: ?\nanswer: 0"),
        ("answer: Yes.", "answer: no"),
        ("answer: even", "answer: odd"),
        ("drow\nanswer: drow", "drow\nanswer: drox"),
        ("answer: xyz", "answer: xya"),
    ],
)
def test_liar__changes_the_answer_and_keeps_its_form(text: str, expected: str) -> None:
    assert lie(text) == expected
