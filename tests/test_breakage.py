"""What careless hands and damaged files do: each is told in one line that names the thing, and none is called a bug."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli import main
from node.client import Client
from node.config import Config, load
from node.daemon import running
from node.engine import EngineError
from node.errors import ExitCode, UserError
from node.home import NetworkHome, locate
from node.llama_engine import CONTEXT_TOKENS_MAX, SLOTS_MAX
from node.models import find
from node.store import Store
from protocol.events import Persist
from tests.tiny_gguf import write_endless

PATIENCE_S = 60


@pytest.fixture
def place(tmp_path: Path) -> NetworkHome:
    home = locate(str(tmp_path / "home"), {}).network("local")
    home.create()
    return home


def settings(text: str, file: Path) -> str:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load(file, {}, {})
    assert caught.value.code == ExitCode.USAGE
    return str(caught.value)


def failure(place: NetworkHome, **keys: object) -> str:
    """Why a node with these settings does not start."""

    async def start() -> None:
        async with asyncio.timeout(PATIENCE_S), running(place, Config.model_validate(keys)):
            pass

    with pytest.raises(UserError) as caught:
        asyncio.run(start())
    return str(caught.value)


# --- Words and settings


def test_home__of_an_unknown_user_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", "~nobody-here/x", "id"]) == ExitCode.FAILED
    assert "~nobody-here/x names a user whom this machine does not know" in capsys.readouterr().err


def test_model__of_an_unknown_user_is_told() -> None:
    with pytest.raises(EngineError, match=r"~nobody-here/x\.gguf names a user"):
        find("~nobody-here/x.gguf")


def test_config__a_number_too_long_to_read_is_told(tmp_path: Path) -> None:
    assert "is not TOML" in settings(f"version = 1\nthreads = {'9' * 6_000}", tmp_path / "config.toml")


def test_config__a_model_with_a_nul_is_told(tmp_path: Path) -> None:
    assert "model must be" in settings('version = 1\nmodel = "a\\u0000.gguf"', tmp_path / "config.toml")


@pytest.mark.parametrize(("key", "most"), [("slots", SLOTS_MAX), ("context", CONTEXT_TOKENS_MAX)])
def test_config__allows_what_the_engine_can(key: str, most: int, tmp_path: Path) -> None:
    assert str(most + 1) in settings(f"version = 1\n{key} = {most + 1}", tmp_path / "config.toml")
    assert getattr(load(tmp_path / "none", {}, {key: most}), key) == most


@pytest.mark.parametrize(
    "content", ['{"port": 1e400, "token": "x"}', "[" * 200_000, "", "[1]", '{"port": 99999999, "token": ""}']
)
def test_client__a_damaged_api_file_means_that_no_node_runs(content: str, place: NetworkHome) -> None:
    place.api_file.write_text(content)
    with pytest.raises(UserError, match="no node runs in") as caught:
        Client(place).get("/v1/status")
    assert caught.value.code == ExitCode.NO_DAEMON


def test_dev__a_question_that_is_no_text_is_refused_before_any_node_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node", "dev", "--ask", b"caf\xe9"], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, b"")
    assert done.stderr == b"tutti: the question is not UTF-8 text\n"


# --- Damaged files


@pytest.mark.parametrize(
    "row",
    [
        ("evidence", b"\0", b""),
        ("evidence", b"\0", b"\xff"),
        ("evidence", "text", b"\xff"),
        ("evidence", b"\0", "text"),
        ("peers", b"\0", 5),
        ("node", b"sequence", b"many"),
    ],
)
def test_daemon__damaged_rows_name_the_database(row: tuple[object, ...], place: NetworkHome) -> None:
    Store(place.database_file).close()
    with sqlite3.connect(place.database_file) as database:
        database.execute("INSERT INTO rows VALUES (?, ?, ?)", row)
    assert f"database {place.database_file} is damaged" in failure(place)


def test_store__gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.write([Persist("peers", b"key", b"value")])
    assert store.rows() == [("peers", b"key", b"value")]


def test_daemon__a_pipe_in_place_of_a_model_is_refused(place: NetworkHome, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "pipe.gguf is not a plain file" in failure(place, model=str(tmp_path / "pipe.gguf"))


def test_daemon__a_model_replaced_under_it_ends_the_node(place: NetworkHome, tmp_path: Path) -> None:
    async def scene() -> None:
        file = write_endless(tmp_path / "endless.gguf")
        async with (
            asyncio.timeout(PATIENCE_S),
            running(place, Config.model_validate({"model": str(file), "context": 64})) as node,
        ):
            assert node.engine is not None
            assert node.engine.pid is not None
            write_endless(tmp_path / "other.gguf", general__name="another").replace(file)
            os.kill(node.engine.pid, signal.SIGKILL)
            assert f"{file} was replaced" in str(await node.failed)

    asyncio.run(scene())


# --- The network


def test_daemon__a_silent_bootstrap_holds_up_no_other(place: NetworkHome, tmp_path: Path) -> None:
    other = locate(str(tmp_path / "other"), {}).network("local")

    async def scene(port: int) -> str:
        async with asyncio.timeout(PATIENCE_S), running(other, Config()) as there:
            dead = f"/ip4/127.0.0.1/tcp/{port}/p2p/12D3KooWSahP5pFRCEfaziPEba7urXtoif93yN3A9oeNL9ESkrVY"
            config = Config.model_validate({"bootstrap": [dead, there.transport.addresses()[0]]})
            async with running(place, config) as here:
                with here.events.listen() as events:
                    while (name := (await events.get())["event"]) not in {"peer_connected", "bootstrap_failed"}:
                        pass
                    return str(name)

    # The kernel takes the connection and nobody ever says a word on it.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(scene(silent.getsockname()[1])) == "peer_connected"
