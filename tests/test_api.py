"""The daemon's API and the commands over it, with a real core and no network: pause, resume, status, and wrong requests."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli import main
from node.errors import ExitCode
from protocol.allowance import Caps
from protocol.identity import peer_id
from tests.api_bench import Served, with_node
from tests.test_logs import SECRET, restored_logging

POST = "POST /v1/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n"


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    with restored_logging():
        yield


# --- Pause


def test_pause__is_told_once_shown_and_kept_over_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def first(node: Served) -> None:
        assert await node.tutti("pause") == ExitCode.OK
        assert (
            capsys.readouterr().out
            == "paused: this node takes no more work. You can still ask; `tutti resume` ends the pause.\n"
        )
        assert await node.tutti("pause") == ExitCode.OK
        assert capsys.readouterr().out.startswith("this node was paused already.")
        assert await node.tutti("status") == ExitCode.OK
        assert "paused by its owner (`tutti resume`)" in capsys.readouterr().out

    async def second(node: Served) -> None:
        assert await node.tutti("status", "--json") == ExitCode.OK
        shown = json.loads(capsys.readouterr().out)["availability"]
        assert (shown["available"], shown["paused"], "paused" in shown["reasons"]) == (False, True, True)
        assert await node.tutti("resume", "--json") == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["changed"] is True
        assert await node.tutti("resume") == ExitCode.OK
        assert capsys.readouterr().out.startswith("this node was not paused; takes work: ")

    with_node(tmp_path, first)
    with_node(tmp_path, second)


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_pause__without_a_node_is_exit_code_three(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--home", str(tmp_path)]) == ExitCode.NO_DAEMON
    assert f"start one with `tutti run --home {tmp_path}`" in capsys.readouterr().err


# --- Caps


def test_cap__that_is_reached_is_shown_with_the_time_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def check(node: Served) -> None:
        core = node.node.executor.core
        core.availability.allowance.reserve(256)
        core.availability.allowance.reserve(256)
        assert await node.tutti("status") == ExitCode.OK
        shown = capsys.readouterr().out
        assert re.search(r"cap reached until \d\d:\d\d.*\(2 of 2 requests this hour, 512 of 9000 tokens this day\)", shown)

    with_node(tmp_path, check, Caps(2, 9_000))


# --- Evidence


def test_evidence__of_a_peer_is_told_in_sentences_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def check(node: Served) -> None:
        core = node.node.executor.core
        for verdict in ("hit", "hit", "miss"):
            core.evidence.add(core.me, "arith", verdict, time.time_ns() // 1_000_000, 7)
        own = peer_id(core.me)
        assert await node.tutti("peers", own[-6:], "--explain") == ExitCode.OK
        shown = capsys.readouterr().out
        assert f"{own} (this node itself)" in shown
        assert "2 of 3 audits right today" in shown
        assert "They were committed in entry 7 of this node's ledger." in shown
        assert await node.tutti("peers", own, "--explain", "--json") == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["skills"]["arith"]["own"]["entries"] == [7]
        assert await node.tutti("peers", own, "--json") == ExitCode.OK
        assert [peer["peer_id"] for peer in json.loads(capsys.readouterr().out)["peers"]] == [own]
        assert await node.tutti("peers", "nobody", "--explain") == ExitCode.USAGE
        assert "no peer's id ends in 'nobody'" in capsys.readouterr().err
        assert (await node.call("GET", "/v1/peers/nobody/evidence"))[0] == 400

    with_node(tmp_path, check)


# --- Wrong requests


def test_wrong_path_and_method__are_json_errors(tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        assert (await node.call("GET", "/v1/moon"))[0] == 404
        status, body = await node.call("DELETE", "/v1/status")
        assert (status, body["error"]) == (405, "this path takes GET, HEAD")
        assert (await node.call("GET", "/v1/ask"))[1]["error"] == "this path takes POST"

    with_node(tmp_path, check)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b"null",
        b"{}",
        b'{"question": 1}',
        b'{"question": "2?", "more": 1}',
        b'{"question": "2?", "refine": 4}',
        b'{"question": "2?", "refine": true}',
        b'{"question": "\\ud800"}',
    ],
)
def test_wrong_body__is_a_json_error(body: bytes, tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        assert (await node.call("POST", "/v1/ask", data=body))[0] == 400

    with_node(tmp_path, check)


def test_large_body__is_a_json_error(tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        assert (await node.call("POST", "/v1/ask", data=b"x" * 1_000_000))[0] == 413

    with_node(tmp_path, check)


@pytest.mark.parametrize(
    "data",
    [
        f"{POST}Content-Length: 900\r\n\r\n{SECRET}".encode(),
        f"{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n{SECRET}".encode(),
        f"GET /{SECRET} HTTP/9.9\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\n{SECRET}\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00" + SECRET.encode(),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["half a body", "wrong chunk", "wrong version", "wrong header", "TLS", "long header"],
)
def test_client__that_goes_or_speaks_no_http_is_no_error_of_the_node_and_not_quoted(data: bytes, tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        await node.raw(data.replace(b"TOKEN", node.api["token"].encode()))
        assert (await node.call("GET", "/v1/status"))[0] == 200
        lines = [json.loads(line) for line in node.log.getvalue().splitlines()]
        assert [line for line in lines if line["level"] in ("warning", "error")] == []
        assert SECRET not in node.log.getvalue()
        assert node.api["token"] not in node.log.getvalue()

    with_node(tmp_path, check)


def test_question__that_is_asked_or_refused_is_in_no_log(tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        asked = {"question": SECRET, "deadline_ms": 50}
        assert (await node.call("POST", "/v1/ask", json.dumps(asked | {"refine": 1}).encode()))[0] == 200
        assert (await node.call("POST", "/v1/ask", json.dumps(asked | {"skill": "cooking"}).encode()))[0] == 400
        assert (await node.call("POST", "/v1/infer", json.dumps(asked).encode()))[0] == 409
        assert '"event": "outcome"' in node.log.getvalue()
        assert SECRET not in node.log.getvalue()

    with_node(tmp_path, check)
