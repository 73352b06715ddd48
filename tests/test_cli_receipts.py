"""`tutti verify`, and the flags that write what it reads: files of any kind, one line for each that does not hold."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli import main
from node.errors import ExitCode
from protocol.constants import RECEIPT_SIZE_MAX
from protocol.events import MessageReceived
from protocol.faults import KINDS, Fault
from protocol.identity import peer_id
from protocol.outbox import FAULTS
from protocol.receipt import Receipt
from protocol.verification import verify
from tests.api_bench import Served, with_node
from tests.core_bench import GOLD, QUESTION, STRANGER
from tests.support import PARAMETERS, Bench
from tests.test_faults import LIAR, MAKERS, two_records
from tests.test_logs import restored_logging
from tests.test_receipts import made, resigned, result_of

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    with restored_logging():
        yield


def failed(argv: list[str], code: ExitCode, capsys: Output) -> str:
    """The one line of a command that fails."""
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tutti: ")
    assert captured.err.count("\n") == 1
    return captured.err


def written(tmp_path: Path, data: bytes) -> str:
    file = tmp_path / "file"
    file.write_bytes(data)
    return str(file)


# --- verify


def test_verify__says_what_is_proven_asserted_and_not_provable(tmp_path: Path, capsys: Output) -> None:
    file = written(tmp_path, made()[0])
    assert main(["verify", file]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"{file} holds: a receipt", f"question: {QUESTION}", f"answer:   {GOLD}"]
    titles = [line.split()[0] for line in lines if line[:1].isupper()]
    assert titles == ["PROVEN:", "ASSERTED:", "NOT"]
    assert main(["verify", file, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["holds"], found["kind"], found["failure"]) == (True, "receipt", None)
    assert [f"  {line}" for line in found["proven"]] == lines[5 : 5 + len(found["proven"])]


def test_verify__names_the_first_thing_that_does_not_hold(tmp_path: Path, capsys: Output) -> None:
    file = written(tmp_path, resigned(result_of("answer", "1")))
    assert "does not hold: it gives answer as '1', and from the votes follows" in failed(
        ["verify", file], ExitCode.FAILED, capsys
    )
    assert main(["verify", file, "--json"]) == ExitCode.FAILED
    found = json.loads(capsys.readouterr().out)
    assert found["holds"] is False
    assert "it gives answer" in found["failure"]
    assert found["proven"] == []


def test_verify__lets_no_escape_of_a_file_reach_the_terminal(tmp_path: Path, capsys: Output) -> None:
    file = written(tmp_path, resigned(result_of("answer", "\x1b[31m\n\n")))
    assert "\x1b" not in failed(["verify", file], ExitCode.FAILED, capsys)


@pytest.mark.parametrize("kind", KINDS)
def test_verify__checks_proofs_as_well(kind: str, tmp_path: Path, capsys: Output) -> None:
    file = written(tmp_path, MAKERS[kind](LIAR).encode())
    assert main(["verify", file]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert shown.startswith(f"{file} holds: a proof of a fault\n")
    assert f"{peer_id(LIAR.public_key)} {KINDS[kind].text}" in shown
    first, second, *rest = MAKERS[kind](LIAR).parts
    wrong = Fault(kind, (second, first, *rest))
    assert "does not hold" in failed(["verify", written(tmp_path, wrong.encode())], ExitCode.FAILED, capsys)
    assert "does not hold" in failed(["verify", written(tmp_path, Fault(kind, ()).encode())], ExitCode.FAILED, capsys)


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a receipt\n" * 9, b"\xdf\xff\xff\xff\xff" * 40, b"\x91" * 100_000])
def test_verify__of_any_bytes_is_one_line(data: bytes, tmp_path: Path, capsys: Output) -> None:
    assert "does not hold" in failed(["verify", written(tmp_path, data)], ExitCode.FAILED, capsys)


def test_verify__reads_no_more_than_a_receipt_may_have(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as handle:
        handle.truncate(4 << 30)
    assert f"{RECEIPT_SIZE_MAX} bytes" in failed(["verify", str(file)], ExitCode.FAILED, capsys)
    file.unlink()


def test_verify__of_what_is_no_file_says_so(tmp_path: Path, capsys: Output) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a directory" in failed(["verify", str(tmp_path)], ExitCode.USAGE, capsys)
    assert "there is no file" in failed(["verify", str(tmp_path / "none")], ExitCode.USAGE, capsys)
    for name in (str(tmp_path / "pipe"), "/dev/zero"):
        assert "not a plain file" in failed(["verify", name], ExitCode.USAGE, capsys)
    assert "no path" in failed(["verify", "a\0b"], ExitCode.USAGE, capsys)
    assert "does not know" in failed(["verify", "~nobody-of-that-name/x"], ExitCode.USAGE, capsys)
    assert "network file" in failed(["verify", written(tmp_path, b""), "--network", "./none"], ExitCode.USAGE, capsys)


# --- What writes them


def test_ask__writes_a_receipt_for_its_owner_alone(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "a.receipt"

    async def check(node: Served) -> None:
        # The node has no model, so its own lease fails: that has a receipt too.
        code = await node.tutti("ask", QUESTION, "--receipt", str(file))
        assert code == ExitCode.FAILED
        assert "no answer" in capsys.readouterr().err
        assert file.stat().st_mode & 0o777 == 0o600
        found = verify(file.read_bytes(), [PARAMETERS])
        assert (found.failure, found.question, found.answer) == (None, QUESTION, None)
        assert Receipt.open(file.read_bytes()).requester == node.node.peer
        assert "exists and is left as it is" in await _refused(node, str(file))
        assert "there is no directory" in await _refused(node, str(tmp_path / "none" / "file"))
        assert QUESTION not in node.log.getvalue()

    async def _refused(node: Served, name: str) -> str:
        assert await node.tutti("ask", QUESTION, "--receipt", name) == ExitCode.USAGE
        return capsys.readouterr().err

    with_node(tmp_path, check)


def test_api__gives_a_receipt_only_to_who_asks_for_it(tmp_path: Path) -> None:
    async def check(node: Served) -> None:
        for wanted in (False, True):
            asked = {"question": QUESTION, "receipt": wanted}
            status, found = await node.call("POST", "/v1/ask", json.dumps(asked).encode())
            assert status == 200
            assert ("receipt" in found) is wanted
        assert (await node.call("POST", "/v1/infer", json.dumps({"question": "2?", "receipt": True}).encode()))[0] == 400

    with_node(tmp_path, check)


def test_peers__show_who_broke_a_rule_and_write_the_proof(tmp_path: Path, capsys: Output) -> None:
    file, liar = tmp_path / "liar.proof", peer_id(LIAR.public_key)

    async def check(node: Served) -> None:
        told = Bench(wall_ms=node.node.started_wall_ms).sealed(STRANGER, two_records(), FAULTS)
        node.node.executor.feed(MessageReceived(None, told))
        assert await node.tutti("peers") == ExitCode.OK
        assert "broke a rule: records" in capsys.readouterr().out
        assert await node.tutti("peers", "--json") == ExitCode.OK
        (row,) = json.loads(capsys.readouterr().out)["peers"]
        assert row["faults"] == [{"kind": "records", "text": KINDS["records"].text}]
        assert await node.tutti("peers", liar, "--proof", str(file)) == ExitCode.OK
        assert Fault.decode(file.read_bytes()) == two_records()
        assert await node.tutti("verify", str(file)) == ExitCode.OK
        assert liar in capsys.readouterr().out
        own = peer_id(node.node.peer)
        assert await node.tutti("peers", own, "--proof", str(tmp_path / "own")) == ExitCode.FAILED
        assert "nothing is proven of" in capsys.readouterr().err
        assert await node.tutti("peers", "--proof", str(tmp_path / "any")) == ExitCode.USAGE
        assert (await node.call("GET", "/v1/peers/nobody/faults"))[0] == 400

    with_node(tmp_path, check)


def test_dev__writes_a_receipt_of_one_question_alone(tmp_path: Path, capsys: Output) -> None:
    assert "--receipt needs --ask" in failed(["dev", "--receipt", str(tmp_path / "r")], ExitCode.USAGE, capsys)
    there = written(tmp_path, b"")
    assert "is left as it is" in failed(["dev", "--ask", "2?", "--receipt", there], ExitCode.USAGE, capsys)
