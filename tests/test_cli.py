"""The command line `tutti`: every wrong input is one line and a documented exit code, and light commands stay light."""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node import networks
from node.cli import main
from node.cli.init import template
from node.cli.parser import MODULES
from node.cli.version import PROTOCOLS
from node.config import KEYS, Config, load
from node.errors import ExitCode
from node.home import locate
from node.libp2p_channel import channel_protocol
from protocol import envelope
from protocol.constants import QUESTION_SIZE_MAX
from protocol.identity import public_key_of
from tests.test_cli_answer import NOTHING, SHOWN, VOTED, outcome

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("libp2p", "trio", "multiaddr", "aiohttp", "rich", "pydantic", "llama_cpp", "numpy", "cryptography")

Capture = pytest.CaptureFixture[str]


def tutti(*argv: str, before: str = "", stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; `before` is Python to run first."""
    program = f"import sys; from node.cli import main\n{before}\nsys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def answering(home: Path, reply: Callable[[str], tuple[int, bytes] | None]) -> Iterator[None]:
    """Something on loopback that this home's API file names; `reply` gets the path, None ends the connection."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = reply(self.path)
            if given is None:
                self.close_connection = True
                return
            self.send_response(given[0])
            self.send_header("Content-Length", str(len(given[1])))
            self.end_headers()
            self.wfile.write(given[1])

        do_GET = do_POST = _any  # noqa: N815  names that the library asks for

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _write_api(home, server.server_address[1])
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _write_api(home: Path, port: int) -> None:
    file = home / "local" / "api.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"port": port, "token": "t"}))


def _failure(capsys: Capture, argv: list[str], code: ExitCode) -> str:
    """The one line on stderr of a command that fails with `code` and prints no data."""
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"tutti: [^\n]+\n", captured.err)
    return captured.err.removeprefix("tutti: ").rstrip("\n")


# --- Help, version, wrong usage


def test_no_argument__prints_the_help_with_all_commands_and_exit_codes(capsys: Capture) -> None:
    assert main([]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert main(["--help"]) == ExitCode.OK
    assert capsys.readouterr().out == shown
    assert all(re.search(rf"^    {name} ", shown, re.MULTILINE) for name in MODULES)
    assert all(f"\n  {code.value}  " in shown for code in ExitCode)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "dev"])
def test_help__of_each_command_documents_the_exit_codes(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: tutti {name} ")
    assert "exit codes:" in shown
    assert "--home DIR" in shown


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["statsu"], "unknown command 'statsu', did you mean status?; see tutti --help"),
        (["--foo"], "unknown flag '--foo'; see tutti --help"),
        (["run", "--modle", "x"], "unknown flag '--modle', did you mean --model?; see tutti run --help"),
        (["run", "--modle=x"], "unknown flag '--modle', did you mean --model?; see tutti run --help"),
        (["ask", "--skil", "arith", "q"], "unknown flag '--skil', did you mean --skill?; see tutti ask --help"),
        (["status", "--jso"], "unknown flag '--jso', did you mean --json?; see tutti status --help"),
        (["status", "more"], "unexpected argument 'more'; see tutti status --help"),
        (["peers", "--explain"], "--explain needs a PEER: `tutti peers` lists them"),
        (["id", "--home"], "argument --home: expected one argument; see tutti id --help"),
        (["run", "--threads", "abc"], "--threads must be an integer from 1 to 1024, or 0 for this machine's cores, not 'abc'"),
        (
            ["status", "--network", "moon"],
            '--network must be "dev", "local" or the path of a network file, such as ./choir.json, not \'moon\'',
        ),
    ],
)
def test_usage__a_wrong_word_is_named_with_the_nearest_right_one(
    argv: list[str], line: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUTTI_HOME", str(tmp_path))
    assert _failure(capsys, argv, ExitCode.USAGE) == line


def test_bad_address__is_told_with_an_example(capsys: Capture, tmp_path: Path) -> None:
    line = _failure(capsys, ["run", "--home", str(tmp_path), "--bootstrap", "localhost:4101"], ExitCode.USAGE)
    assert line.startswith("--bootstrap: bad address 'localhost:4101'")
    assert "/ip4/" in line


def test_unknown_key__in_the_file_is_told_with_the_nearest(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("version = 1\nslot = 2\n")
    line = _failure(capsys, ["run", "--home", str(tmp_path)], ExitCode.USAGE)
    assert line == f"{tmp_path}/config.toml: unknown key 'slot'; did you mean slots?"


def test_home__may_stand_before_or_after_the_command(capsys: Capture, tmp_path: Path) -> None:
    assert main(["--home", str(tmp_path), "init"]) == ExitCode.OK
    capsys.readouterr()
    for argv in (["--home", str(tmp_path), "id"], ["id", "--home", str(tmp_path)], [f"--home={tmp_path}", "id"]):
        assert main(argv) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1


@pytest.mark.parametrize("argv", [[], ["--help"], ["version"], ["version", "--json"]])
def test_light_commands__load_none_of_the_big_libraries(argv: list[str]) -> None:
    before = (
        "import atexit\n"
        f"atexit.register(lambda: print('loaded', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))"
    )
    done = tutti(*argv, before=before)
    assert (done.returncode, done.stderr) == (0, "loaded []\n")


@pytest.mark.parametrize("argv", [["status"], ["peers"], ["id"], ["pause"], ["doctor"], ["ask", "2 + 2?"], ["run", "--help"]])
def test_commands__load_neither_the_network_nor_a_model(argv: list[str], tmp_path: Path) -> None:
    heavy = ("libp2p", "trio", "aiohttp", "rich", "llama_cpp", "numpy")
    before = (
        "import atexit\n"
        f"atexit.register(lambda: print('loaded', [name for name in {heavy!r} if name in sys.modules], file=sys.stderr))"
    )
    assert tutti(*argv, before=before, TUTTI_HOME=str(tmp_path)).stderr.splitlines()[-1] == "loaded []"


def test_version__names_the_protocols_that_the_code_speaks(capsys: Capture) -> None:
    assert main(["version", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["protocols"] == dict(PROTOCOLS)
    assert shown["libraries"]["libp2p"]
    assert PROTOCOLS["channel"].replace("<network>", "00" * 8) == channel_protocol(bytes(32))
    assert PROTOCOLS["envelope"].encode() + b"\x00" == envelope.DOMAIN
    assert main(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith(f"tutti {shown['version']}\n")


# --- Home and identity


def test_init__makes_an_identity_and_a_configuration_and_keeps_them(capsys: Capture, tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    assert main(["init", "--home", str(home), "--network", "dev"]) == ExitCode.OK
    first = capsys.readouterr().out
    key, settings = home / "dev" / "identity.key", home / "config.toml"
    kept = key.read_bytes(), settings.read_bytes()
    assert main(["init", "--home", str(home)]) == ExitCode.OK
    second = capsys.readouterr().out
    assert (key.read_bytes(), settings.read_bytes()) == kept
    assert first.replace("made just now", "was there, left as it is") == second
    assert str(key) in first
    assert main(["id", "--home", str(home), "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["network"] == "dev"
    assert f"peer id        {shown['peer_id']}\n" in first
    assert len(public_key_of(shown["peer_id"])) == 32


def test_init__where_nothing_can_be_written_says_so(capsys: Capture) -> None:
    line = _failure(capsys, ["init", "--home", "/proc/tutti"], ExitCode.FAILED)
    assert line.startswith("cannot make the directory /proc/tutti/local: ")
    assert line.endswith("; choose another with --home")


def test_template__changes_no_setting_and_each_key_in_it_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(template("local"))
    assert load(file, {}, {}) == Config()
    file.write_text(re.sub(rf"(?m)^# (?=({'|'.join(KEYS)}) = )", "", template("dev")))
    assert load(file, {}, {}) == Config(network="dev", skills=("arith",))


def test_id__without_an_identity_makes_none(capsys: Capture, tmp_path: Path) -> None:
    assert "`tutti init`" in _failure(capsys, ["id", "--home", str(tmp_path)], ExitCode.FAILED)
    assert list(tmp_path.iterdir()) == []


# --- A daemon that is not there, or not itself


@pytest.mark.parametrize("command", [["status"], ["peers"], ["ask", "2 + 2?"]])
def test_no_daemon__is_exit_code_three_with_the_home_and_the_remedy(
    command: list[str], capsys: Capture, tmp_path: Path
) -> None:
    line = _failure(capsys, [*command, "--home", str(tmp_path)], ExitCode.NO_DAEMON)
    assert line == f"no node runs in {tmp_path}/local (network local): start one with `tutti run --home {tmp_path}`"


def test_no_daemon__repeats_the_flags_as_a_shell_takes_them(capsys: Capture, tmp_path: Path) -> None:
    home = str(tmp_path / "my home")
    line = _failure(capsys, ["status", "--home", home, "--network", "dev"], ExitCode.NO_DAEMON)
    command = line.partition("`")[2].rstrip("`")
    assert shlex.split(command) == ["tutti", "run", "--home", home, "--network", "dev"]


def test_no_daemon__on_this_network_names_the_one_that_may_run(capsys: Capture, tmp_path: Path) -> None:
    _write_api(tmp_path, 1)
    line = _failure(capsys, ["status", "--home", str(tmp_path), "--network", "dev"], ExitCode.NO_DAEMON)
    assert "--network local" in line


def test_no_daemon__names_a_founded_network_by_a_file_that_the_flag_takes(capsys: Capture, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert main(["--home", str(home), "network", "new", "choir", "--out", str(tmp_path / "choir.json")]) == ExitCode.OK
    network = networks.load(str(tmp_path / "choir.json"))
    there = locate(str(home), {}).network(network.directory)
    there.create()
    networks.newest(there, network)
    there.api_file.write_text("{}")
    capsys.readouterr()
    line = _failure(capsys, ["status", "--home", str(home)], ExitCode.NO_DAEMON)
    named = line.partition("--network ")[2].partition(",")[0]
    assert networks.load(named) == network


def test_stale_api_file__of_a_killed_daemon_is_no_daemon(capsys: Capture, tmp_path: Path) -> None:
    with answering(tmp_path, lambda _: (200, b"{}")):
        pass  # leaves a file that names a port on which nobody listens any more
    assert "start one" in _failure(capsys, ["status", "--home", str(tmp_path)], ExitCode.NO_DAEMON)


@pytest.mark.parametrize("reply", [(200, b"<html>"), (200, b"[]"), (401, b'{"error": "no"}'), (404, b"")])
def test_stranger__on_the_port_of_a_killed_daemon_is_no_daemon(
    reply: tuple[int, bytes], capsys: Capture, tmp_path: Path
) -> None:
    with answering(tmp_path, lambda _: reply):
        assert "start one" in _failure(capsys, ["status", "--home", str(tmp_path)], ExitCode.NO_DAEMON)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"port": "x", "token": 1}', b"[1]"])
def test_damaged_api_file__is_no_daemon(content: bytes, capsys: Capture, tmp_path: Path) -> None:
    _write_api(tmp_path, 1)
    (tmp_path / "local" / "api.json").write_bytes(content)
    _failure(capsys, ["status", "--home", str(tmp_path)], ExitCode.NO_DAEMON)


def test_daemon__that_stops_during_a_question_is_told(capsys: Capture, tmp_path: Path) -> None:
    with answering(tmp_path, lambda _: None):
        assert "stopped before it answered" in _failure(capsys, ["ask", "2?", "--home", str(tmp_path)], ExitCode.NO_DAEMON)


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, ExitCode.FAILED), (503, ExitCode.FAILED), (400, ExitCode.USAGE), (413, ExitCode.USAGE)],
)
def test_daemons_refusal__is_passed_on_in_one_line(status: int, code: ExitCode, capsys: Capture, tmp_path: Path) -> None:
    with answering(tmp_path, lambda _: (status, json.dumps({"error": "no peers:\n\x1b[2Jdo this"}).encode())):
        line = _failure(capsys, ["ask", "2 + 2?", "--home", str(tmp_path)], code)
    assert line.startswith("no peers: ")
    assert line.isprintable()


# --- ask


@pytest.mark.parametrize(
    ("argv", "stdin", "says"),
    [
        (["ask"], b"", "no question"),
        (["ask", ""], b"", "is empty"),
        (["ask", " \t\n"], b"", "is empty"),
        (["ask", "-"], b" \n", "is empty"),
        (["ask", "-"], b"x" * 1_000_000, "longer than 16384 bytes"),
        (["ask", "-"], "ü".encode() * 500_000, "longer than 16384 bytes"),
        (["ask", "ü" * (QUESTION_SIZE_MAX // 2 + 1)], b"", "longer than 16384 bytes"),
        (["ask", "-"], b"\xff\xfe?", "not UTF-8"),
        (["ask", "\udcff"], b"", "not UTF-8"),
        (["ask", "2?", "--deadline", "0"], b"", "--deadline must be more than 0 and at most 110 seconds, not 0"),
        (["ask", "2?", "--deadline", "nan"], b"", "--deadline must be"),
        (["ask", "2?", "--refine", "4"], b"", "argument --refine: invalid choice: 4"),
        (["ask", "2?", "--deadline", "111"], b"", "--deadline must be"),
        (["ask", "2?", "--deadline", "soon"], b"", "invalid float value: 'soon'"),
    ],
)
def test_question__is_checked_before_any_node_is_asked(
    argv: list[str], stdin: bytes, says: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert says in _failure(capsys, [*argv, "--home", str(tmp_path)], ExitCode.USAGE)


def _network(outcome_json: object) -> Callable[[str], tuple[int, bytes]]:
    replies = {
        "/v1/ask": outcome_json,
        "/v1/peers": {"peers": [{"peer_id": row["peer_id"], "model": "tiny \x1b[31m"} for row in VOTED["bids"][1:]]},
        "/v1/status": {"peer_id": VOTED["bids"][0]["peer_id"], "model": {"name": "tiny"}},
    }
    return lambda path: (200, json.dumps(replies[path]).encode())


def test_ask__prints_the_answer_alone_on_the_first_line(capsys: Capture, tmp_path: Path) -> None:
    with answering(tmp_path, _network(VOTED)):
        assert main(["--home", str(tmp_path), "ask", "What is 12 + 30?"]) == ExitCode.OK
        shown = capsys.readouterr()
        assert (shown.out.splitlines()[0], shown.err) == ("42", "")
        assert "aliceAAA  tiny, this node  42" in shown.out
        assert shown.out.replace("\n", "").isprintable()
        assert len(shown.out.splitlines()) == len(SHOWN.splitlines())
        assert main(["--home", str(tmp_path), "ask", "What is 12 + 30?", "--explain"]) == ExitCode.OK
        assert "\n\nSkill: arith" in capsys.readouterr().out


def test_ask__json_is_the_nodes_outcome(capsys: Capture, tmp_path: Path) -> None:
    with answering(tmp_path, _network(VOTED)):
        assert main(["--home", str(tmp_path), "ask", "--json", "What is 12 + 30?"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == VOTED


def test_ask__without_an_answer_fails_and_keeps_stdout_for_answers(capsys: Capture, tmp_path: Path) -> None:
    failed = outcome(outcome="no bids", **NOTHING)
    with answering(tmp_path, _network(failed)):
        assert main(["--home", str(tmp_path), "ask", "2?"]) == ExitCode.FAILED
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.splitlines()[-1].startswith("tutti: no answer: nobody bid")
        assert main(["--home", str(tmp_path), "ask", "2?", "--json"]) == ExitCode.FAILED
        assert json.loads(capsys.readouterr().out)["outcome"] == "no bids"


# --- models


def test_models__lists_what_the_manifest_says(capsys: Capture) -> None:
    assert main(["models", "list", "--json"]) == ExitCode.OK
    models = json.loads(capsys.readouterr().out)["models"]
    assert all(Path(model["path"]).is_file() for model in models)
    assert main(["models", "list"]) == ExitCode.OK
    shown = capsys.readouterr().out
    for model in models:
        if len(model["skills"]) == 1:
            family = model["families"][0]
            assert f"{family} {model['accuracy'][family]['permille'] / 10:.1f}" in shown
        for skill in model["skills"][1:]:
            assert f"{skill} {model['declared_prior_permille'][skill] / 10:.1f}" in shown
        assert re.search(rf"^{model['name']} .*{model['quantisation']}", shown, re.MULTILINE)


# --- What must never show a traceback


def test_bug__ends_in_one_line_that_says_so() -> None:
    before = "import node.cli.version as command\ncommand.run = lambda args: {}['a question']"
    done = tutti("version", before=before)
    assert done.returncode == ExitCode.FAILED
    assert re.fullmatch(r"tutti: internal error: KeyError at <string>:\d+: this is a bug in tutti; [^\n]+\n", done.stderr)
    logged = tutti("version", before=before, TUTTI_LOG_LEVEL="debug").stderr
    assert '"error": "KeyError"' in logged
    assert "a question" not in logged


def test_interrupt__is_one_line() -> None:
    before = "import node.cli.version as command\ndef run(args): raise KeyboardInterrupt\ncommand.run = run"
    done = tutti("version", before=before)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.FAILED, "", "tutti: interrupted\n")


def test_reader_that_goes__ends_the_command_in_silence() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "node", "version"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (ExitCode.FAILED, b"")


def test_full_disk__is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "node", "version"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == ExitCode.FAILED
    assert re.fullmatch(rb"tutti: the system refused: [^\n]+\n", done.stderr)


@pytest.mark.parametrize("redirect", ["<&-", ">&- </dev/null"])
def test_closed_streams__are_no_bug(redirect: str) -> None:
    command = f'"{sys.executable}" -m node ask - {redirect}'
    done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.USAGE, "tutti: the question is empty: give it a text\n")


def test_terminal_without_unicode__shows_the_number_of_a_letter() -> None:
    before = "import node.cli.version as command\ndef run(args): print('\\u00fc'); return 0\ncommand.run = run"
    done = tutti("version", before=before, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "\\xfc\n")
