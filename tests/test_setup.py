"""The set-up behind the Makefile: what it decides before it compiles or downloads anything."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrib.setup import console, environment, javascript, lock, system, wheels
from contrib.setup.console import Console, SetupError

RUN = wheels.HERE / "run"

names = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
hashes = st.lists(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), min_size=1, max_size=3)


def shell(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **variables},
    )


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


# --- The shell part


def test_run__an_old_python_is_named_in_one_line_with_the_remedy(tmp_path: Path) -> None:
    old = executable(tmp_path / "python3", "#!/bin/sh\nexit 1\n")
    answer = shell(RUN, "dev", PYTHON=str(old))
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "Python 3.11" in answer.stderr
    assert str(old) in answer.stderr
    assert "apt-get install python3" in answer.stderr


def test_run__takes_the_first_python_that_is_new_enough(tmp_path: Path) -> None:
    executable(tmp_path / "python3", "#!/bin/sh\nexit 1\n")
    (tmp_path / "python3.13").symlink_to(sys.executable)
    for tool in ("dirname", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    answer = shell(RUN, "nonsense", PATH=str(tmp_path), PYTHON="")
    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: contrib/setup/run WORD")


def test_makefile__help_is_the_default_and_needs_no_set_up() -> None:
    answer = shell("make", "--no-print-directory", "-C", wheels.REPOSITORY)
    assert answer.returncode == 0
    for word in ("demo", "test", "lint", "coverage", "mutants", "fuzz", "models", "bench", "lock", "clean"):
        assert f"make {word} " in answer.stdout


# --- What the system must have


def test_system__what_is_missing_is_one_line_with_the_exact_command() -> None:
    needs = [system.Need("a thing", "libthing-dev", lambda: False), system.Need("a tool", "tool", lambda: False)]
    line = system.advice(needs, debian=True)
    assert line == "missing: a thing, a tool; run: sudo apt-get install -y libthing-dev tool"
    assert "apt-get" not in system.advice(needs, debian=False)


def test_system__nothing_missing_runs_nothing(tmp_path: Path) -> None:
    log = Console(tmp_path / "log")
    system.provide((system.Need("a thing", "thing", lambda: True),), log)
    assert log.log.read_text() == ""


def test_system__without_root_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match=r"missing: a thing"):
        system.provide((system.Need("a thing", "thing", lambda: False),), Console(tmp_path / "log"))


def test_system__gmp_headers_are_looked_for_with_the_users_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(executable(tmp_path / "cc", "#!/bin/sh\nexit 1\n")))
    gmp = next(need for need in system.COMPILE_NEEDS if need.package == "libgmp-dev")
    assert not gmp.present()
    monkeypatch.setenv("CC", str(executable(tmp_path / "cc", "#!/bin/sh\nexit 0\n")))
    assert gmp.present()


# --- Compiled wheels


def test_wheels__key_follows_the_flags_and_not_the_checkout() -> None:
    plain, cuda = wheels.recipes("")[1], wheels.recipes("-DGGML_CUDA=on")[1]
    assert plain.key != cuda.key
    assert plain.key == wheels.recipes("")[1].key
    moved = wheels.Recipe(plain.title, plain.requirement, plain.flags, (("CMAKE_ARGS", "elsewhere"),))
    assert moved.key == plain.key


def test_wheels__the_users_flags_come_last_and_win() -> None:
    flags = wheels.recipes("-DGGML_NATIVE=ON '-DX=a b'")[1].flags
    assert flags[-2:] == ("-DGGML_NATIVE=ON", "-DX=a b")
    assert flags.index("-DGGML_NATIVE=OFF") < flags.index("-DGGML_NATIVE=ON")


def test_wheels__cache_follows_xdg_and_ignores_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert wheels.cache() == tmp_path / "tutti" / "wheels"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert wheels.cache() == tmp_path / "home" / ".cache" / "tutti" / "wheels"


@given(st.dictionaries(names, hashes, min_size=1, max_size=5))
def test_lock__a_requirement_is_found_with_exactly_its_own_hashes(packages: dict[str, list[str]]) -> None:
    blocks = {
        name: " \\\n".join([f"{name}==1.0", *(f"    --hash=sha256:{value}" for value in values)]) + "\n"
        for name, values in packages.items()
    }
    text = "# a comment\n" + "".join(blocks.values())
    for name, block in blocks.items():
        assert wheels.locked(text, name) == block


def test_lock__an_absent_package_names_the_remedy() -> None:
    with pytest.raises(SetupError, match="make lock"):
        wheels.locked("numpy==1.0\n", "fastecdsa")


# --- Lock files


def test_lock__no_host_and_no_path_can_get_into_it() -> None:
    for line in ("a @ https://example.org/a.whl", "--index-url x", "--extra-index-url x", "--find-links /opt"):
        with pytest.raises(SetupError, match="would name a host"):
            lock.cleaned(f"numpy==1.0\n{line}\n")
    assert lock.cleaned("# from https://example.org\nnumpy==1.0\n") == "numpy==1.0\n"


def test_lock__holds_every_exact_pin_of_the_project_with_hashes() -> None:
    project = tomllib.loads((wheels.REPOSITORY / "pyproject.toml").read_text())["project"]
    main = wheels.MAIN_LOCK.read_text()
    lock.cleaned(main)
    for pin in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, version = pin.split("==")
        text = wheels.LLAMA_LOCK.read_text() if name == lock.COMPILED_APART else main
        block = wheels.locked(text, name)
        assert block.startswith(f"{name}=={version}"), "run `make lock`"
        assert "--hash=sha256:" in block
    assert "\ntorch==" not in main


# --- When to do nothing


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> environment.Environment:
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    place = environment.Environment(tmp_path)
    place.python.parent.mkdir()
    place.python.touch()
    stamp(place, "")
    return place


def stamp(place: environment.Environment, cmake_args: str) -> None:
    digest = environment.fingerprint(place, cmake_args)
    place.stamp.write_text(json.dumps({"fingerprint": digest, "cmake_args": cmake_args}))


def test_stamp__an_unchanged_checkout_needs_no_work(made: environment.Environment) -> None:
    assert environment.is_ready(made)


def test_stamp__other_flags_or_a_lost_interpreter_need_work(
    made: environment.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    assert not environment.is_ready(made)
    monkeypatch.delenv("CMAKE_ARGS")
    made.python.unlink()
    assert not environment.is_ready(made)


def test_stamp__a_gpu_build_stays_one_when_the_variable_is_absent(
    made: environment.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp(made, "-DGGML_CUDA=on")
    assert environment.is_ready(made)
    assert environment.chosen_cmake_args(made) == "-DGGML_CUDA=on"
    monkeypatch.setenv("CMAKE_ARGS", "")
    assert not environment.is_ready(made), "set but empty asks for the plain build"


@given(content=st.binary(max_size=100))
def test_stamp__a_damaged_one_means_work_and_no_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = environment.Environment(tmp_path_factory.mktemp("environment"))
    place.stamp.write_bytes(content)
    assert not environment.is_ready(place)


# --- What is written in JavaScript


def test_javascript__without_npm_one_line_says_so_and_the_set_up_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    javascript.make(Console(tmp_path / "log"))
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "the tests with JavaScript cannot run: missing: Node.js" in line


def test_javascript__too_old_an_engine_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "node", "#!/bin/sh\necho false\n")
    executable(tmp_path / "npm", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [need.package for need in system.missing(javascript.NEEDS)] == ["nodejs"]


# --- What a person sees


def test_console__a_failure_shows_the_end_of_the_output_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Console(tmp_path / "log")
    with pytest.raises(SetupError) as error:
        log.run("compiling", ["sh", "-c", "seq 100; exit 3"], remedy="install a compiler")
    assert error.value.log_tail == tuple(str(number) for number in range(86, 101))
    assert "compiling failed: install a compiler" in str(error.value)
    assert str(log.log) in str(error.value)
    assert capsys.readouterr().out == "", "stdout belongs to the command that follows"


def test_console__without_a_terminal_a_step_is_one_plain_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Console(tmp_path / "log").run("compiling", ["true"], remedy="")
    assert capsys.readouterr().err == "  compiling ... 0:00\n"


@pytest.mark.parametrize(
    "output",
    [
        "WARNING: Retrying after connection broken by 'NewConnectionError('...: Name or service not known')'",
        "ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: none)",
        "E: Failed to fetch http://example.org/g++.deb",
        "npm error code EAI_AGAIN",
    ],
)
def test_console__a_failed_download_is_told_from_a_failed_build(tmp_path: Path, output: str) -> None:
    with pytest.raises(SetupError, match="check the network"):
        Console(tmp_path / "log").run("installing", ["sh", "-c", 'echo "$0"; exit 1', output], remedy="see the log")
    assert not console.is_network_failure("error: command 'g++' failed with exit code 1")


def test_console__stopping_ends_the_whole_tree_of_compilers(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # The grandchild holds the pipe open; its end shows as the end of the file, whoever reaps it.
    tree = ["sh", "-c", f"(echo started; exec sleep 60) > {pipe}; :"]
    # A shell starts what it runs in the background with this signal ignored, and the tests may be run so.
    script = f"""
import signal
from pathlib import Path
from contrib.setup.console import Console
signal.signal(signal.SIGINT, signal.default_int_handler)
Console(Path({str(tmp_path / "log")!r})).run("x", {tree!r}, remedy="")
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=wheels.REPOSITORY, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.read(7) == b"  x ..."
        with pipe.open() as held:
            assert held.readline() == "started\n"
            process.send_signal(signal.SIGINT)
            assert held.read() == ""
        assert process.wait(30) < 0, "the status tells that we were interrupted"
