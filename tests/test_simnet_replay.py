"""`simnet replay`: a run again, up to a moment or to its digest, and the tape of a daemon, to the byte."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

import pytest

from node.tapes import TapeFile
from simnet import cli
from tests.test_cli_run import running, tutti
from tests.test_tape import tapes

Output = pytest.CaptureFixture[str]
SMALL = ("--nodes", "4", "--set", "duration_s=15", "--set", "settle_s=5", "--set", "workload.from_s=5")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from simnet.report import as_json, command  # noqa: PLC0415
    from simnet.running import run  # noqa: PLC0415
    from simnet.scenario import Scenario  # noqa: PLC0415

    settings = [*SMALL[3::2], "nodes=4"]
    result = run(Scenario.load("baseline").changed(settings), 3)
    file = tmp_path_factory.mktemp("report") / "run.json"
    file.write_text(json.dumps(as_json(result, command("baseline", 3, settings))))
    (file.parent / "name").write_text(next(iter(result.world.hosts.values())).name)
    return file


def test_run__is_repeated_to_the_same_digest(report: Path, capsys: Output) -> None:
    assert cli.main(["replay", str(report)]) == cli.OK
    assert capsys.readouterr().out == f"digest {json.loads(report.read_text())['digest']}, the same\n"


def test_run__up_to_a_moment_shows_what_one_node_does(report: Path, capsys: Output) -> None:
    assert cli.main(["replay", str(report), "--until", "6.5", "--node", (report.parent / "name").read_text()]) == cli.OK
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "stopped there"
    times = [float(line.split()[0]) for line in lines]
    assert lines
    assert times == sorted(times)
    assert times[-1] <= 6.5
    assert any(" log " in line and "peer_connected" in line for line in lines)


def test_run__of_another_source_or_digest_is_told(report: Path, tmp_path: Path, capsys: Output) -> None:
    found = json.loads(report.read_text())
    file = tmp_path / "other.json"
    file.write_text(json.dumps(found | {"source": "0" * 64}))
    assert cli.main(["replay", str(file)]) == cli.USAGE
    assert "made by another source" in capsys.readouterr().err
    file.write_text(json.dumps(found | {"digest": "0" * 64}))
    assert cli.main(["replay", str(file)]) == cli.FAILED
    assert "another one" in capsys.readouterr().out


def test_run__is_repeated_by_what_it_holds_and_needs_no_file(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('about = "mine"\nnodes = 4\nduration_s = 15\nsettle_s = 5\n[workload]\nfrom_s = 5\n')
    assert cli.main(["run", str(file), "--set", "links.loss_permille=20", "--seed", "2", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert found["content"]["links"]["loss_permille"] == 20
    assert found["content"]["workload"]["difficulty_max"] == 3
    run = tmp_path / "run.json"
    run.write_text(json.dumps(found))
    repeat = shlex.split(found["repeat"])
    # The command that repeats the run names the file, so it refuses once that is another scenario.
    file.write_text(file.read_text().replace("nodes = 4", "nodes = 5"))
    assert cli.main(repeat[1:]) == cli.USAGE
    assert "mine.toml is not the scenario any more that has the digest" in capsys.readouterr().err
    file.unlink()
    assert cli.main(["replay", str(run)]) == cli.OK
    assert capsys.readouterr().out == f"digest {found['digest']}, the same\n"


def test_run__whose_scenario_was_changed_is_refused(report: Path, tmp_path: Path, capsys: Output) -> None:
    found = json.loads(report.read_text())
    file = tmp_path / "run.json"
    for content, said in (
        (found["content"] | {"duration_s": 16}, "the scenario in the report was changed since the run"),
        (found["content"] | {"nodes": 0}, "nodes: "),
        ({}, "not a report"),
        ([1], "not a report"),
    ):
        file.write_text(json.dumps(found | {"content": content}))
        assert cli.main(["replay", str(file)]) == cli.USAGE
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a tape"),
        (b"{}", "not a report"),
        (b"{", "neither a report"),
        (b"\x00\x00\x00\x01\xc0", "not a tape"),
        (b"\xff" * 9, "not a tape"),
    ],
)
def test_file__that_is_neither_is_refused_in_a_line(content: bytes, said: str, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert cli.main(["replay", str(file)]) == cli.USAGE
    assert said in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "none")]) == cli.USAGE
    assert "cannot read" in capsys.readouterr().err


def test_tape__of_a_simulated_node_is_gone_through_to_the_byte(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "tape"
    frames = tapes()[0]
    file.write_bytes(b"".join(frames))
    assert cli.main(["replay", str(file), "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert found["differs_at"] is None
    assert found["steps"] > 20
    assert cli.main(["replay", str(file), "--until", "3", "--node", "it"]) == cli.OK
    assert "to the byte" in capsys.readouterr().out
    # A step that was being written when the node was killed is left out, and that is said.
    file.write_bytes(b"".join([*frames, frames[-1][:9]]))
    assert cli.main(["replay", str(file)]) == cli.OK
    assert capsys.readouterr().out.endswith("its last 9 bytes are a step that was being written when the node was killed\n")
    # Something that was drawn otherwise shows from there on.
    last = bytearray(frames[-1])
    last[-2] ^= 1
    file.write_bytes(b"".join([*frames[:-1], bytes(last)]))
    assert cli.main(["replay", str(file)]) == cli.FAILED


def test_tape_file__is_for_its_owner_and_ends_without_the_node(tmp_path: Path) -> None:
    file = TapeFile(tmp_path / "tape")
    file.write(b"ab")
    file.close()
    file.write(b"cd")
    assert (tmp_path / "tape").read_bytes() == b"ab"
    assert (tmp_path / "tape").stat().st_mode & 0o777 == 0o600
    full = TapeFile(tmp_path / "full")
    assert full._file is not None
    os.dup2(os.open("/dev/full", os.O_WRONLY), full._file)
    full.write(b"ab")
    full.write(b"cd")
    assert full._file is None


def test_daemon__that_tapes_is_replayed_to_the_byte_whatever_ended_it(tmp_path: Path, capsys: Output) -> None:
    tapes_of = {name: tmp_path / f"{name}.tape" for name in "ab"}
    with running(tmp_path / "a", "--model", "arith", "--tape", str(tapes_of["a"])) as first:
        bootstrap = ("--bootstrap", first.ready["addresses"][0])
        with running(tmp_path / "b", "--model", "none", *bootstrap, "--tape", str(tapes_of["b"])) as second:
            second.logged("peer_connected")
            asked = tutti("--home", str(tmp_path / "b"), "ask", "--network", "local", "What is 2 + 2?")
            assert asked.stdout.split()[0] == "4"
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
            assert second.end(signal.SIGTERM) == 0
    for tape in tapes_of.values():
        assert cli.main(["replay", str(tape), "--json"]) == cli.OK
        found = json.loads(capsys.readouterr().out)
        assert found["differs_at"] is None
        assert found["steps"] > 10
