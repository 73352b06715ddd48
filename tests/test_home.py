"""A node's directories, its identity key, and the lock that keeps two daemons apart."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ExitCode, UserError
from node.home import Home, NetworkHome, load_or_create_seed, locate, write_private


@pytest.fixture
def home(tmp_path: Path) -> NetworkHome:
    place = locate(str(tmp_path / "home"), {}).network("dev")
    place.create()
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_locate__flag_beats_variable_beats_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag, variable = tmp_path / "flag", tmp_path / "variable"
    assert locate(str(flag), {"TUTTI_HOME": str(variable)}) == Home(flag, flag, flag)
    assert locate(None, {"TUTTI_HOME": str(variable)}) == Home(variable, variable, variable)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert locate(None, {}).data == tmp_path / "data" / "tutti" or sys.platform != "linux"


def test_locate__a_relative_home_becomes_absolute() -> None:
    assert locate("somewhere", {}).data == Path.cwd() / "somewhere"


def test_network__each_has_its_own_directory_and_identity(tmp_path: Path) -> None:
    root = locate(str(tmp_path), {})
    assert root.network("dev").identity_file != root.network("local").identity_file


@pytest.mark.parametrize("name", ["", "..", "a/b", "Dev", "-x", "x" * 42, "a\n"])
def test_network__a_name_that_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="network"):
        locate(str(tmp_path), {}).network(name)


def test_create__directories_are_the_owners_alone(home: NetworkHome) -> None:
    assert mode(home.data) == 0o700


def test_create__a_file_in_the_way_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.*--home"):
        locate(str(tmp_path / "file"), {}).network("dev").create()


def test_identity__made_once_then_read_with_mode_0600(home: NetworkHome) -> None:
    seed, created = load_or_create_seed(home.identity_file)
    assert (len(seed), created) == (32, True)
    assert mode(home.identity_file) == 0o600
    assert load_or_create_seed(home.identity_file) == (seed, False)
    assert list(home.data.iterdir()) == [home.identity_file], "no scratch file stays behind"


def test_identity__first_starts_at_once_agree(home: NetworkHome) -> None:
    barrier = threading.Barrier(8)
    seeds: list[tuple[bytes, bool]] = []

    def start() -> None:
        barrier.wait(10)
        seeds.append(load_or_create_seed(home.identity_file))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seeds) == 8
    assert len({seed for seed, _ in seeds}) == 1
    assert sum(created for _, created in seeds) == 1


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610])
def test_identity__readable_by_others_is_refused_with_the_remedy(home: NetworkHome, bits: int) -> None:
    load_or_create_seed(home.identity_file)
    home.identity_file.chmod(bits)
    with pytest.raises(UserError, match=r"read by others.*chmod 600"):
        load_or_create_seed(home.identity_file)


@given(content=st.binary(max_size=2000))
def test_identity__a_malformed_file_is_refused_and_kept(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("keys") / "identity.key"
    write_private(path, content)
    with pytest.raises(UserError, match="damaged") as error:
        load_or_create_seed(path)
    assert path.read_bytes() == content
    assert len(str(error.value).splitlines()) == 1


def test_identity__a_pipe_in_its_place_does_not_hang(home: NetworkHome) -> None:
    os.mkfifo(home.identity_file, 0o600)
    with pytest.raises(UserError, match="not a plain file"):
        load_or_create_seed(home.identity_file)


def test_identity__an_error_never_quotes_the_key(home: NetworkHome) -> None:
    seed, _ = load_or_create_seed(home.identity_file)
    home.identity_file.write_text(home.identity_file.read_text().upper())
    with pytest.raises(UserError) as error:
        load_or_create_seed(home.identity_file)
    assert seed.hex() not in str(error.value).lower()


def test_write_private__replaces_at_once_and_stays_private(home: NetworkHome) -> None:
    home.api_file.write_text("old")
    home.api_file.chmod(0o644)
    write_private(home.api_file, b"new")
    assert home.api_file.read_bytes() == b"new"
    assert mode(home.api_file) == 0o600


def test_write_private__a_full_path_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write_private(tmp_path / "absent" / "api.json", b"")


HOLD = """
import sys
from node.home import locate
home = locate(sys.argv[1], {}).network("dev")
home.create()
with home.locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock__second_daemon_is_told_home_and_pid_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    home = locate(str(tmp_path), {}).network("dev")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError) as error, home.locked():
            pass
        assert str(home.data) in str(error.value)
        assert f"process {holder.pid}" in str(error.value)
        assert "--home" in str(error.value)
        holder.kill()
        holder.wait(10)
        with home.locked():
            assert home.lock_file.read_text() == f"{os.getpid()}\n"


def test_lock__is_free_again_after_the_with_block(home: NetworkHome) -> None:
    for _ in range(2):
        with home.locked():
            pass


@given(st.text())
def test_user_error__is_one_printable_line(text: str) -> None:
    message = str(UserError(text))
    assert len(message.splitlines()) <= 1
    assert message.isprintable()


def test_exit_codes__are_the_documented_ones() -> None:
    assert {code.name: int(code) for code in ExitCode} == {"OK": 0, "FAILED": 1, "USAGE": 2, "NO_DAEMON": 3}
