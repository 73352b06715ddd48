"""Every command that README.md shows is run: here as it stands, by .ci/run, or it is listed with why it cannot be.

A command in README's ```sh blocks without a row in the tables below fails here, and so does a row without its command.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from node.models import packaged

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent
# Generous: other work may hold every core of this machine.
PATIENCE_S: Final = 120

# Run here, in README's order, in one session: what a command must print on stdout. Those of NODES run until they are ended.
SESSION: Final[Mapping[str, str]] = {
    "tutti --home /tmp/ann init": r"^peer id +12D3KooW\w+$",
    "tutti --home /tmp/ann run --model arith": "",
    "tutti --home /tmp/bob run --model lists --bootstrap MULTIADDR": "",
    'tutti --home /tmp/bob ask "What is 12 + 30?"': r"\A42$",
    'tutti --home /tmp/bob ask --explain "Sort 5 3 1."': r"\A1 3 5$(?s:.*)^Skill: lists",
    "tutti --home /tmp/bob peers": r"arith",
    "tutti --home /tmp/bob peers PEER --explain": r"^  Own audits: ",
    "tutti --home /tmp/bob status --json": r'"peers_connected": ?1\b',
    "tutti --home /tmp/bob id": r"\A12D3KooW\w+$",
    "tutti --home /tmp/bob pause": r"",
    "tutti --home /tmp/bob resume": r"",
    "tutti --home /tmp/bob doctor": r"\b0 to mend\b",
    "tutti --home /tmp/bob ledger show": r"^kinds +.*\bbeacon [1-9]",
    "tutti --home /tmp/bob ledger sync": r"entr(y|ies)$|^nothing new$",
    "tutti --home /tmp/bob ledger check": r"\Athe ledger of 12D3KooW\w+ holds$",
    "tutti --home /tmp/bob ledger export bob.ledger": r"entries of 12D3KooW\w+ are in bob\.ledger$",
    "tutti --home /tmp/eve init": r"^recovery key +.*keep it elsewhere",
    "tutti --home /tmp/eve keys rotate": r"^12D3KooW\w+ follows 12D3KooW\w+",
    "tutti --home /tmp/eve keys recover /tmp/eve/local/recovery.key": r"^12D3KooW\w+ follows 12D3KooW\w+",
    'tutti --home /tmp/bob ask "What is 12 + 30?" --receipt bob.receipt': r"\A42$",
    "tutti verify bob.receipt": r"\Abob\.receipt holds: a receipt$(?s:.*)^PROVEN: ",
    "tutti --home /tmp/ann network new choir": r"^network file +choir\.json",
    "tutti --home /tmp/ann network show choir.json": r"^network +choir$",
    "tutti --home /tmp/ann run --network choir.json --model text": "",
    "tutti --home /tmp/bob network check choir.json": r"\Achoir\.json holds$",
    "tutti --home /tmp/bob run --network choir.json --model logic --bootstrap MULTIADDR": "",
    'tutti --home /tmp/bob ask --network choir.json "Reverse the word banana."': r"\Aananab$",
    "tutti --home /tmp/cat run --model ~/models/some-instruct-Q4_K_M.gguf": "",
}
NODES: Final = tuple(command for command in SESSION if " run " in command)

# Run here by themselves: what must be printed, with flags that only make them smaller.
ALONE: Final[Mapping[str, tuple[str, str]]] = {
    "simnet list": ("", r"^baseline +100 nodes"),
    "simnet run mass-crash --seed 1": (" --nodes 5 --set workload.questions_per_minute=6", r"^digest +[0-9a-f]{64}$"),
    "simnet sweep baseline --seeds 1..10 --grid links.loss_permille=0,50": (
        " --seeds 1..1 --grid nodes=4 --grid duration_s=20 --grid settle_s=10 --grid workload.from_s=8",
        r"^digest of all: [0-9a-f]{64}$",
    ),
    "tutti models list": ("", r"^arith\b"),
}
KEEP: Final = "tutti dev --keep"
KEEP_SMALLER: Final = " --nodes 2 --questions 0"

# Run by .ci/run: the line of that file, which may ask fewer questions than README or the Makefile.
CI: Final[Mapping[str, str]] = {
    "make demo": ".venv/bin/tutti dev --questions 8",
    "make test": 'make --no-print-directory test 2>&1 | tee "$scratch/tests.txt"',
    "make lint": "make --no-print-directory lint",
    "make coverage": "make --no-print-directory coverage",
    'tutti dev --ask "Reverse the word banana."': '.venv/bin/tutti dev --ask "Reverse the word banana."',
}

# Not run by any test, and why. Those of the Makefile must at least be words of it.
NOT_RUN: Final[Mapping[str, str]] = {
    'CMAKE_ARGS="-DGGML_CUDA=on" make test': "cannot run here: needs an NVIDIA GPU and its compiler",
    'CMAKE_ARGS="-DGGML_METAL=on" make test': "cannot run here: needs a Mac",
    "tutti --home /tmp/eve keys export eve.key": "asks for a passphrase; tests/test_cli_ledger.py gives it one",
    "make models": "trains for an hour; the manifest it wrote is tested by test_models_manifest.py",
    "make bench": "measures for an hour and more on a machine with nothing else to do",
    "make vectors": "writes into the checkout; test_vectors.py makes the same files and compares them",
    "make mutants": "runs the tests a hundred times",
    "simnet compare --seeds 1..2": "takes ten minutes; test_simnet_compare.py runs all of its policies for one",
    "simnet bench": "measures; test_simnet_cli.py runs it for a small network",
    "simnet run churn --json > churn.json": "simulates twenty minutes of a hundred nodes; test_simnet_cli.py runs smaller ones",
    "simnet report churn.json": "needs that run; test_simnet_report_page.py makes pages of smaller ones",
    "simnet hunt --planted": "plants what takes minutes to find; test_simnet_planted.py runs its parts",
    "simnet hunt --minutes 5": "looks for faults for as long as it is told; test_simnet_sweep.py runs its parts",
    "make fuzz": "looks for faults for as long as it is told; test_fuzz.py runs each target for a moment",
    **dict.fromkeys(
        (
            "tutti --home ~/choir network new choir --skills instruct",
            "tutti --home ~/choir run --network choir.json --model ~/models/qwen2.5-1.5b-instruct-q4_k_m.gguf",
            "tutti --home ~/choir network check choir.json",
            "tutti --home ~/choir run --network choir.json --model ~/models/llama-3.2-1b-q4_k_m.gguf --bootstrap MULTIADDR",
            'tutti --home ~/choir ask --network choir.json "A train goes 60 km in 45 minutes. How far in an hour?"',
            'tutti --home ~/choir ask --network choir.json --explain --skill math "What is 17 * 23?"',
            "tutti --home ~/choir peers --network choir.json",
            "tutti --home ~/choir status --network choir.json",
        ),
        "needs instruct models of a gigabyte, which no test may fetch; README says so above the commands",
    ),
}


def commands() -> list[str]:
    """The commands of README's sh blocks in their order, each in one line, without comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [" ".join(re.sub(r"(^|\s)#\s.*", "", line).split()) for line in lines]
    return [line for line in found if line]


def test_readme__shows_no_command_that_nothing_runs() -> None:
    rows = {*SESSION, *ALONE, KEEP, *CI, *NOT_RUN}
    shown = commands()
    for command in shown:
        assert command in rows, (
            f"README.md shows `{command}`, which nothing runs: add it to a table of tests/test_readme.py "
            "(SESSION or ALONE run it here, CI names the line of .ci/run that does, NOT_RUN says why nothing can)"
        )
    for command in rows:
        assert command in shown, f"README.md no longer shows `{command}`: delete its row in tests/test_readme.py"


def test_readme__the_example_of_the_simulator_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  our own text
    assert capsys.readouterr().out == "42\n"


def test_readme__marks_every_block_of_commands_so_that_it_is_checked() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for fence in re.findall(r"^```(\w+)", text, re.MULTILINE):
        assert fence not in {"bash", "shell", "console", "zsh"}, f"README.md: write ```sh instead of ```{fence}"


@pytest.mark.parametrize(("command", "line"), CI.items())
def test_readme__what_ci_runs_stands_in_ci(command: str, line: str) -> None:
    lines = [text.strip() for text in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    assert line in lines, f"`{command}` of README.md was run by .ci/run as `{line}`, which is gone: put it back or run it here"


@pytest.mark.parametrize("command", [command for command in (*CI, *NOT_RUN) if "make " in command])
def test_readme__a_word_of_make_is_one(command: str) -> None:
    # Under `make test` these would tell the inner make whose child it is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    target = command.rpartition("make ")[2]
    make = shutil.which("make")
    assert make is not None, "README asks for make"
    done = subprocess.run(
        [make, "--dry-run", target], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


# --- As a person types them


class Terminal:
    """Runs README's lines in a shell, below a folder of its own instead of /tmp and the user's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        folder.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUTTI_", "XDG_"))}
        # A founded network would listen on a fixed port of every interface.
        kept["TUTTI_LISTEN"] = "/ip4/127.0.0.1/tcp/0"
        self._environment = {**kept, "HOME": str(folder), "TMPDIR": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}"}
        for word in ("tutti", "simnet"):
            assert (BIN / word).exists(), f"{word} is not beside {sys.executable}; run `make test`, or install the checkout"

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Begin a command; its process is the one that gets signals."""
        line = command.replace("/tmp/", f"{self.folder}/").replace("MULTIADDR", self.address)  # noqa: S108 - as README has it
        line = re.sub(r"\bPEER\b", self.address.rpartition("/")[2], line)
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self._environment,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, command: str) -> str:
        """What a command that worked printed on stdout."""
        with self.start(command) as process:
            out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, f"`{command}`: {err.decode()}"
        assert b"Traceback" not in err
        return out.decode()


def _until(process: subprocess.Popen[bytes], mark: str, *, stdout: bool = False) -> list[str]:
    """The lines of a process up to the one with `mark`. The stream is unbuffered, so nothing hides from `select`."""
    stream = process.stdout if stdout else process.stderr
    assert stream is not None
    lines: list[str] = []
    end = time.monotonic() + PATIENCE_S
    while not lines or mark not in lines[-1]:
        ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no {mark!r} in {lines}"
        line = stream.readline()
        assert line, f"ended without {mark!r}: {lines}"
        lines.append(line.decode())
    return lines


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with Ctrl-C, as a person does; nothing of it may survive."""
    with process:
        try:
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_session__of_readme_works_as_it_stands(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "t")
    own = terminal.folder / "models" / "some-instruct-Q4_K_M.gguf"
    own.parent.mkdir()
    shutil.copy(next(model.path for model in packaged() if model.name == "arith"), own)
    with contextlib.ExitStack() as stack:
        for command in (command for command in commands() if command in SESSION):
            if command not in NODES:
                out = terminal.run(command)
                assert re.search(SESSION[command], out, re.MULTILINE), f"`{command}` printed {out}"
                continue
            process = terminal.start(command)
            stack.enter_context(_ended(process))
            joins = _until(process, "another node joins with:")[-1].split()
            if "MULTIADDR" in command:
                _until(process, "peer_connected")
            terminal.address = joins[joins.index("--bootstrap") + 1]
        status = json.loads(terminal.run("tutti --home /tmp/cat status --json"))
        assert status["model"]["sha256"] == next(model.entry["sha256"] for model in packaged() if model.name == "arith")


@pytest.mark.parametrize("command", ALONE)
def test_command__of_readme_works_as_it_stands(command: str, tmp_path: Path) -> None:
    smaller, expected = ALONE[command]
    out = Terminal(tmp_path / "t").run(command + smaller)
    assert re.search(expected, out, re.MULTILINE), f"`{command}` printed {out}"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, list[str]]]:
    """A network that `tutti dev --keep` left running, and the lines that it printed."""
    terminal = Terminal(tmp_path_factory.mktemp("kept") / "t")
    process = terminal.start(KEEP + KEEP_SMALLER)
    with _ended(process):
        yield terminal, [line.strip() for line in _until(process, "--bootstrap", stdout=True)]
    assert list(terminal.folder.glob("tutti*")) == []


def test_dev__kept_says_how_to_ask(kept: tuple[Terminal, list[str]]) -> None:
    terminal, told = kept
    asks = [line for line in told if line.startswith("tutti --home") and " ask " in line]
    assert len(asks) == 2
    for line in asks:
        # It names real paths; `start` puts the folder back.
        assert re.search(r"\A42$", terminal.run(line.replace(f"{terminal.folder}/", "/tmp/")), re.MULTILINE)  # noqa: S108


def test_dev__kept_says_how_to_join(kept: tuple[Terminal, list[str]]) -> None:
    terminal, told = kept
    joining = terminal.start(told[-1])
    with _ended(joining):
        _until(joining, "peer_connected")
