"""`tutti doctor`: it finds what is wrong, says how to mend it, changes nothing, and its report can be pasted in public."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import doctor, main
from node.doctor import links, model
from node.doctor.finding import Level
from node.doctor.redaction import Redaction
from node.errors import ExitCode
from node.home import NetworkHome, load_or_create_seed, locate
from node.models import MODELS_DIRECTORY
from node.store import Store
from protocol.events import Persist
from protocol.identity import KeySigner, peer_id
from tests.api_bench import Served, with_node
from tests.core_bench import STRANGER
from tests.tiny_gguf import write_endless

PEER = peer_id(STRANGER.public_key)
TINY = MODELS_DIRECTORY / "arith-Q8_0.gguf"

Capture = pytest.CaptureFixture[str]
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  as the library's own


@pytest.fixture
def place(tmp_path: Path) -> NetworkHome:
    """A home in which a node has run."""
    home = locate(str(tmp_path), {}).network("local")
    home.create()
    load_or_create_seed(home.identity_file)
    Store(home.database_file).close()
    return home


def report(capsys: Capture, home: Path, *argv: str) -> dict[str, list[tuple[str, str]]]:
    """For each area the levels and lines of the report; checks that the exit code follows from them."""
    code = main(["doctor", "--json", "--home", str(home), *argv])
    captured = capsys.readouterr()
    assert captured.err == ""
    value = json.loads(captured.out)
    failed = any(row["level"] == "FAIL" for row in value["findings"])
    assert (code, value["ok"]) == ((ExitCode.FAILED, False) if failed else (ExitCode.OK, True))
    found: dict[str, list[tuple[str, str]]] = {}
    for row in value["findings"]:
        assert Level(row["level"])
        assert row["level"] == "ok" or row["remedy"] or ":" in row["text"], "what is wrong comes with a remedy"
        line = f"{row['text']} -> {row['remedy']}" if row["remedy"] else row["text"]
        assert line.isprintable()
        found.setdefault(row["area"], []).append((row["level"], line))
    return found


def failed(found: Mapping[str, list[tuple[str, str]]]) -> list[str]:
    """The areas that fail."""
    return sorted(area for area, rows in found.items() if any(level == "FAIL" for level, _ in rows))


# --- Without a node


def test_fresh_machine__is_in_order_and_nothing_is_made(tmp_path: Path, capsys: Capture) -> None:
    home = tmp_path / "home"
    found = report(capsys, home)
    assert failed(found) == []
    assert set(found) >= {"versions", "machine", "config", "network", "identity", "disk", "database", "clock", "ports", "model"}
    assert not home.exists()


def test_report__for_people_has_a_line_each_and_a_verdict(place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:
    place.identity_file.chmod(0o644)
    assert main(["doctor", "--home", str(tmp_path)]) == ExitCode.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("FAIL  identity") for line in lines) == 1
    assert lines[-1].startswith("1 to mend, 0 to look at, ")
    assert str(tmp_path) not in "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [(None, 0o644, "chmod 600 <home>/local/identity.key"), (b"?", 0o600, "is damaged"), (b"", 0o600, "is damaged")],
)
def test_identity__that_others_can_read_or_that_is_damaged(
    content: bytes | None, mode: int, says: str, place: NetworkHome, tmp_path: Path, capsys: Capture
) -> None:
    if content is not None:
        place.identity_file.write_bytes(content)
    place.identity_file.chmod(mode)
    found = report(capsys, tmp_path)
    assert failed(found) == ["identity"]
    assert says in found["identity"][0][1]


def test_directory__in_which_others_may_write(place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:
    place.data.chmod(0o777)
    assert ("FAIL", "others may write into <home>/local (mode 0777) -> run chmod 700 <home>/local") in report(capsys, tmp_path)[
        "identity"
    ]


def _overwritten(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[100 : len(data)] = b"\xff" * (len(data) - 100)
    file.write_bytes(data)


def _foreign_rows(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO rows VALUES ('node', 'sequence', 'x')")
    connection.close()


def _bad_row(file: Path) -> None:
    store = Store(file)
    store.write([Persist("node", b"sequence", b"many")])
    store.close()


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("damage", [_overwritten, _foreign_rows, _bad_row, _pipe])
def test_database__that_is_damaged(damage: Any, place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:  # noqa: ANN401
    damage(place.database_file)
    found = report(capsys, tmp_path)
    assert failed(found) == ["database"]
    assert "move it away" in found["database"][0][1]


def test_database__is_only_read(place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:
    before = place.database_file.read_bytes()
    assert failed(report(capsys, tmp_path)) == []
    assert place.database_file.read_bytes() == before


def test_clock__that_was_put_back_behind_the_last_record(place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:
    store = Store(place.database_file)
    store.write([Persist("node", b"sequence", b"9000000000000")])
    store.close()
    found = report(capsys, tmp_path)
    assert failed(found) == ["clock"]
    assert "before the last record that this node signed -> set the clock" in found["clock"][0][1]


@pytest.mark.parametrize(("free", "level"), [(5_000_000, "FAIL"), (500_000_000, "warn"), (50_000_000_000, "ok")])
def test_disk__that_is_nearly_full(
    free: int, level: str, place: NetworkHome, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, free))
    assert place
    assert report(capsys, tmp_path)["disk"][0][0] == level


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = 1\nslot = 2", "unknown key 'slot'; did you mean slots?"),
        ("version = 1\nslots = 99", "slots must be an integer"),
        ("version = 1\ntokens_per_day = 5", "at least 4096, or 0 for no cap"),
        ('version = 1\nskills = ["cooking"]', "no skill 'cooking'"),
        ('version = 1\nnetwork = "nowhere.json"', "there is no network file"),
        ("version =", "is not TOML"),
    ],
)
def test_config__with_a_mistake(text: str, says: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.toml").write_text(text)
    found = report(capsys, tmp_path)
    assert failed(found) == ["config"]
    assert says in found["config"][0][1]


def test_config__that_is_a_pipe_or_a_directory_is_one_line_and_no_wait(tmp_path: Path, capsys: Capture) -> None:
    os.mkfifo(tmp_path / "config.toml")
    assert "it is not a plain file, so move it away" in report(capsys, tmp_path)["config"][0][1]
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    assert "it is not a plain file, so move it away" in report(capsys, tmp_path)["config"][0][1]
    assert main(["status", "--home", str(tmp_path)]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"tutti: cannot read {tmp_path}/config.toml: it is not a plain file, so move it away\n"


def test_port__that_is_taken_or_not_ours(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("TUTTI_LISTEN", f"/ip4/127.0.0.1/tcp/{port},/ip4/192.0.2.1/tcp/4101")
        monkeypatch.setenv("TUTTI_API_PORT", str(port))
        levels = report(capsys, tmp_path)["ports"]
    told = [line for level, line in levels if level == "FAIL"]
    assert [line.partition(" -> ")[0] for line in told] == [
        f"port {port} of 127.0.0.1 is taken",
        "port 4101 of 192.0.x.x is on an address that this machine does not have",
        "the API's port is taken",
    ]


def test_port__that_nobody_asked_for_and_is_taken_is_no_fault(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr("node.doctor.links.PORT_DEFAULT", taken.getsockname()[1])
        monkeypatch.setattr("node.config.PORT_DEFAULT", taken.getsockname()[1])
        taken.listen()
        file = tmp_path / "choir.json"
        assert main(["--home", str(tmp_path / "home"), "network", "new", "choir", "--out", str(file)]) == ExitCode.OK
        capsys.readouterr()
        monkeypatch.setenv("TUTTI_NETWORK", str(file))
        levels = report(capsys, tmp_path)["ports"]
    assert [level for level, _ in levels] == ["warn"]
    assert "would listen on any free one" in levels[0][1]


def test_database__without_a_byte_is_filled_by_the_next_run(place: NetworkHome, tmp_path: Path, capsys: Capture) -> None:
    place.database_file.write_bytes(b"")
    (line,) = report(capsys, tmp_path)["database"]
    assert line[0] == "ok"


def test_bootstraps__say_why_not(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}/p2p/{PEER}"
        monkeypatch.setenv("TUTTI_BOOTSTRAP", address)
        ((level, line),) = report(capsys, tmp_path)["bootstrap"]
        closed.listen()
        ((_, then),) = report(capsys, tmp_path)["bootstrap"]
    assert level == "warn"
    assert "refused, so the machine is there -> check the port" in line
    assert PEER not in line
    assert then.endswith("takes connections")


# --- The model


def test_model__loads_and_tells_its_speed_and_memory(tmp_path: Path, capsys: Capture) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text('version = 1\nmodel = "arith"\n')
    file, loads = report(capsys, home)["model"]
    assert file[0] == loads[0] == "ok"
    assert "tokens/s, " in loads[1]
    assert "MB of memory" in loads[1]


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"x" * 1_000])
def test_model__that_is_missing_or_damaged(content: bytes | None, tmp_path: Path, capsys: Capture) -> None:
    if content is not None:
        (tmp_path / "x.gguf").write_bytes(content)
    (tmp_path / "config.toml").write_text(f'version = 1\nmodel = "{tmp_path}/x.gguf"\n')
    found = report(capsys, tmp_path)
    assert failed(found) == ["model"]
    assert "<home>/x.gguf" in found["model"][0][1]


def test_packaged_model__that_was_altered(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "find", lambda _: (write_endless(tmp_path / "endless.gguf"), "0" * 64))
    monkeypatch.setenv("TUTTI_MODEL", "arith")
    ((level, line),) = report(capsys, tmp_path)["model"]
    assert level == "FAIL"
    assert "was altered or damaged" in line


STATUS = {"name": "m", "quantisation": "Q8_0", "context": 64, "tokens_per_s": 9, "restarts": 2}


def test_running_model__whose_file_is_gone_or_replaced_or_whose_process_is_down(tmp_path: Path) -> None:
    gone = STATUS | {"file": str(tmp_path / "x.gguf"), "sha256": "0" * 64, "pid": os.getpid()}
    assert [found.level.value for found in model.running({"model": gone})] == ["ok", "FAIL"]
    replaced = gone | {"file": str(TINY)}
    assert [found.remedy for found in model.running({"model": replaced})][1] == "start the node again to offer the new one"
    down = replaced | {"pid": None}
    assert [found.level.value for found in model.running({"model": down})] == ["FAIL", "FAIL"]


# --- With a node


def test_node__that_runs_is_asked(tmp_path: Path, capsys: Capture) -> None:
    async def check(node: Served) -> None:
        with locate(str(tmp_path), {}).network("local").locked():
            assert await node.tutti("doctor") == ExitCode.OK
        shown = capsys.readouterr().out
        assert re.search(rf"^ok +node +process {os.getpid()} runs for", shown, re.MULTILINE)
        assert "listens on /ip4/127.0.0.1/tcp/4101" in shown
        assert "1 connected, 0 known" in shown
        assert "takes work: no: it has no model" in shown
        assert node.api["token"] not in shown

    with_node(tmp_path, check)


def told(jumped_ms: int = 0, off_ms: int = 0, peers_off: int = 0) -> dict[str, int]:
    return {"clock_jumped_ms": jumped_ms, "clock_off_ms": off_ms, "peers_clock_off": peers_off}


def test_clock__that_is_not_the_peers_is_told_by_how_much() -> None:
    (own,) = links.clock(told(off_ms=-3_600_000, peers_off=3))
    assert (own.level, own.text) == (Level.FAIL, "this machine's clock is 3600 s behind those of most peers")
    (theirs,) = links.clock(told(peers_off=1))
    assert (theirs.level, theirs.text) == (Level.WARN, "the clocks of 1 peer differ from this one's")


def test_node__whose_clock_was_moved_is_told(tmp_path: Path, capsys: Capture) -> None:
    async def check(node: Served) -> None:
        assert (await node.call("GET", "/v1/status"))[1]["clock_jumped_ms"] in range(-500, 500)
        moved = replace(node.node, started_wall_ms=node.node.started_wall_ms + 3_600_000)
        (found,) = links.clock(told(-3_600_000))
        assert (found.level, moved.started_wall_ms) == (Level.FAIL, node.node.started_wall_ms + 3_600_000)
        assert found.text.startswith("the clock was put back by 3600 s")
        assert [row.level for row in links.clock(told(60_000))] == [Level.WARN]
        assert list(links.clock(told(100))) == []

    with_node(tmp_path, check)
    assert capsys.readouterr().err == ""


def test_node__that_hangs_is_told_with_its_process(
    place: NetworkHome, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_ANSWER_S", 0.05)
    with socket.socket() as deaf, place.locked():
        assert report(capsys, tmp_path)["node"][0][0] == "warn"
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        place.api_file.write_text(json.dumps({"port": deaf.getsockname()[1], "token": "t"}))
        found = report(capsys, tmp_path)
    assert failed(found) == ["node"]
    assert f"process {os.getpid()} holds this home, and its API does not answer" in found["node"][0][1]


def peers_status(connected: int) -> dict[str, Any]:
    return {"peers_connected": connected, "peers_known": connected, "unreached": {}}


def test_peers__of_a_lonely_node_are_told_with_the_reason() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}/p2p/{PEER}"
        assert [found.level.value for found in links.peers(peers_status(0), [address], [])] == ["FAIL", "warn"]
        closed.listen()
        first, _ = links.peers(peers_status(0), [address], [])
        assert (first.level, first.remedy.partition(":")[0]) == (
            Level.WARN,
            "a bootstrap answers, but not as a peer of this network",
        )
        tried = peers_status(0) | {"unreached": {address: "cannot use it: of another network; ask for its file"}}
        assert [found.remedy for found in links.peers(tried, [address], [])][1] == "ask for its file"
        there = [{"peer_id": PEER, "connected": True}]
        _, bootstrap = links.peers(peers_status(1), [address], there)
        assert bootstrap.text == f"{address}: its peer is connected"
    (alone,) = links.peers(peers_status(0), [], [])
    assert "--bootstrap MULTIADDR" in alone.remedy


# --- What is left out

HOME = locate("/home/alice/nodes/first", {})
PRIVATE = {
    "peer": PEER,
    "token": "Zk3pX9qv0yT5rLw2uB8nC6mA1sD4fG7hJ-kQ_eR0tYo",
    "key": KeySigner(b"\x07" * 32).public_key.hex(),
    "address": "203.0.113.77",
    "address of six": "2001:db8:85a3::8a2e:370:7334",
    "host": "/dns4/alice.example.org/",
    "file": "/home/alice/models/x.gguf",
    "other's file": "/Users/bob/x",
    "user": "alice",
}


@given(
    what=st.sampled_from(sorted(PRIVATE)),
    before=st.sampled_from(["", "at ", "(", "'", "/ip4/", "/p2p/", "peer="]),
    after=st.sampled_from(["", " x", ")", "'", "/tcp/4101", ": no", ","]),
)
def test_redaction__nothing_private_is_left_wherever_it_stands(what: str, before: str, after: str) -> None:
    private = PRIVATE[what]
    told = Redaction(HOME, "alice")(f"{before}{private}{after}")
    assert private not in told
    assert "alice" not in told
    assert "bob" not in told


@pytest.mark.parametrize(
    "text",
    [
        "listens on /ip4/127.0.0.1/tcp/4101",
        "/ip6/::1/tcp/4101 and /ip6/::/tcp/1",
        "/ip4/0.0.0.0/tcp/4101",
        "2026-11-21 09:44:31 UTC",
        "cap reached until 14:05 (2 of 2 requests this hour)",
        "python 3.11.7, llama-cpp-python 0.3.36, libp2p 0.8.1",
        "local, id 0b4a12d1be99fca0, revision 2, built in",
    ],
)
def test_redaction__leaves_what_everybody_may_see(text: str) -> None:
    assert Redaction(HOME, "alice")(text) == text


def test_redaction__keeps_enough_to_recognise_a_peer_and_a_network() -> None:
    assert Redaction(HOME, "")(f"/ip4/198.51.100.9/tcp/1/p2p/{PEER}") == f"/ip4/198.51.x.x/tcp/1/p2p/...{PEER[-8:]}"
    assert Redaction(HOME, "")("/home/alice/nodes/first/local/identity.key") == "<home>/local/identity.key"
    assert Redaction(HOME, "")("/home/alice/nodes/firstborn") == "/home/.../nodes/firstborn"
