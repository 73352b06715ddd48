"""`tutti run` as a person runs it: real processes that meet over the real network, answer, and end when told to."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from node.errors import ExitCode

ROOT = Path(__file__).resolve().parents[1]
# Generous: other work may hold every core of this machine.
PATIENCE_S = 120


def _line(stream: IO[bytes]) -> bytes:
    """The next line of a process, which must come in time. The stream is unbuffered, so nothing hides from `select`."""
    ready, _, _ = select.select([stream], [], [], PATIENCE_S)
    assert ready, "the node said nothing for too long"
    return stream.readline()


@dataclass
class Node:
    """A node process; `ready` is what it printed when it was."""

    process: subprocess.Popen[bytes]
    home: Path
    ready: dict[str, Any]
    before_ready: list[str]

    def logged(self, event: str) -> dict[str, Any]:
        """The next line of the log with this event."""
        assert self.process.stderr is not None
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            line = _line(self.process.stderr)
            if line.startswith(b"{") and json.loads(line)["event"] == event:
                value: dict[str, Any] = json.loads(line)
                return value
        raise AssertionError(f"no {event} in the log")

    def end(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def _command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "node", *argv]


def tutti(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*argv), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@contextmanager
def running(home: Path, *flags: str) -> Iterator[Node]:
    process = subprocess.Popen(
        _command("run", "--home", str(home), "--json", "--threads", "1", *flags),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("TUTTI_")},
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = _line(process.stdout)
            assert first, process.stderr.read()
            before: list[str] = []
            while not before or '"ready"' not in before[-1]:
                before.append(_line(process.stderr).decode())
            yield Node(process, home, json.loads(first), before)
        finally:
            process.kill()


def test_two_nodes__meet_and_answer_a_question(tmp_path: Path) -> None:
    with running(tmp_path / "a", "--model", "arith") as first:
        address = first.ready["addresses"][0]
        assert address.endswith(f"/p2p/{first.ready['peer_id']}")
        with running(tmp_path / "b", "--model", "arith", "--bootstrap", address) as second:
            assert second.logged("peer_connected")["peer"] == first.ready["peer_id"]
            ids = {first.ready["peer_id"], second.ready["peer_id"]}
            done = tutti("ask", "--home", str(tmp_path / "b"), "--json", "What is 12 + 30?")
            assert done.returncode == ExitCode.OK, done.stderr
            outcome = json.loads(done.stdout)
            assert (outcome["answer"], outcome["skill"], outcome["voted"]) == ("42", "arith", True)
            assert outcome["votes"]
            assert {vote["peer_id"] for vote in outcome["votes"]} <= ids
            peers = json.loads(tutti("peers", "--home", str(tmp_path / "b"), "--json").stdout)["peers"]
            assert [peer["peer_id"] for peer in peers] == [first.ready["peer_id"]]
            status = json.loads(tutti("status", "--home", str(tmp_path / "a"), "--json").stdout)
            assert (status["peer_id"], status["peers_connected"]) == (first.ready["peer_id"], 1)
            shown = tutti("ask", "--home", str(tmp_path / "a"), "What is 312 + 456?", "--explain")
            assert shown.returncode == ExitCode.OK, shown.stderr
            assert shown.stdout.splitlines()[0] == "768"
            assert "\nSkill: arith" in shown.stdout
            assert second.ready["peer_id"][-8:] in tutti("peers", "--home", str(tmp_path / "a")).stdout
            assert first.ready["peer_id"] in tutti("status", "--home", str(tmp_path / "a")).stdout
            assert second.end(signal.SIGINT) == ExitCode.OK
        assert first.end(signal.SIGTERM) == ExitCode.OK


def test_paused_node__is_seen_by_others_finds_itself_in_order_and_stays_paused(tmp_path: Path) -> None:
    home, other = str(tmp_path / "a"), str(tmp_path / "b")
    with running(tmp_path / "a", "--model", "arith", "--requests-per-hour", "50") as first:
        with running(tmp_path / "b", "--bootstrap", first.ready["addresses"][0]) as second:
            second.logged("peer_connected")
            assert tutti("pause", "--home", home).stdout.startswith("paused: this node takes no more work")
            end = time.monotonic() + PATIENCE_S
            while json.loads(tutti("peers", "--home", other, "--json").stdout)["peers"][0]["available"] is not False:
                assert time.monotonic() < end
            assert "takes no work" in tutti("peers", "--home", other).stdout
            done = tutti("ask", "--home", other, "What is 12 + 30?")
            assert "no answer: nobody bid on this question" in done.stderr
            report = tutti("doctor", "--home", home, "--json")
            assert report.returncode == ExitCode.OK, report.stdout
            assert "paused by its owner" in report.stdout
            for private in (str(tmp_path), first.ready["peer_id"], json.loads(Path(first.ready["api"]).read_text())["token"]):
                assert private not in report.stdout
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    with running(tmp_path / "a", "--model", "arith") as again:
        assert again.ready["peer_id"] == first.ready["peer_id"]
        assert json.loads(tutti("status", "--home", home, "--json").stdout)["availability"]["paused"] is True
        assert tutti("resume", "--home", home).stdout.startswith("this node is paused no more")


def test_ask__without_peers_says_how_to_get_some(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        done = tutti("ask", "--home", str(node.home), "What is 12 + 30?")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, "")
    assert done.stderr.startswith("tutti: no peers: ")


def test_first_run__tells_once_where_the_identity_is_and_each_time_who_reads_questions(tmp_path: Path) -> None:
    for start in range(2):
        with running(tmp_path) as node:
            told = "".join(node.before_ready)
            assert node.end(signal.SIGTERM) == ExitCode.OK
        assert ("made a new identity in " + str(tmp_path / "local" / "identity.key") in told) == (start == 0)
        assert told.count("can be read by the nodes that answer them") == 1
        ready = json.loads(node.before_ready[-1])
        assert (ready["event"], ready["peer"], ready["path"]) == ("ready", node.ready["peer_id"], node.ready["api"])
        assert any(node.ready["addresses"][0] in line for line in node.before_ready)
        assert tutti("id", "--home", str(tmp_path)).stdout == f"{node.ready['peer_id']}\n"


def test_home__of_a_running_node_is_refused_to_a_second_one(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        done = tutti("run", "--home", str(tmp_path))
        assert done.returncode == ExitCode.FAILED
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"tutti: the home {tmp_path}/local is in use by process {node.process.pid}: ")
        assert tutti("status", "--home", str(tmp_path)).returncode == ExitCode.OK


def test_ports__that_are_taken_are_told_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "a") as node:
        port = json.loads(Path(node.ready["api"]).read_text())["port"]
        listen = node.ready["addresses"][0].partition("/p2p/")[0]
        for flags in (["--api-port", str(port)], ["--listen", listen]):
            done = tutti("run", "--home", str(tmp_path / "b"), *flags)
            assert done.returncode == ExitCode.FAILED
            last = done.stderr.splitlines()[-1]
            assert last.startswith("tutti: ")
            assert "Traceback" not in done.stderr
            assert (str(port) if "--api-port" in flags else listen.rpartition("/")[2]) in last


@pytest.mark.parametrize("model", ["no-such-model", "/nowhere/model.gguf"])
def test_model__that_is_missing_is_told_in_one_line(model: str, tmp_path: Path) -> None:
    done = tutti("run", "--home", str(tmp_path), "--model", model)
    assert done.returncode == ExitCode.FAILED
    assert model in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_killed_node__leaves_a_file_that_fools_nobody(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        assert node.end(signal.SIGKILL) == -signal.SIGKILL
        assert Path(node.ready["api"]).exists()
    done = tutti("status", "--home", str(tmp_path))
    assert (done.returncode, done.stdout) == (ExitCode.NO_DAEMON, "")
    assert "start one with `tutti run --home" in done.stderr
    with running(tmp_path) as again:
        assert again.ready["peer_id"] == node.ready["peer_id"]
