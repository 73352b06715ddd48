"""The configuration: order of the sources, and errors that name the source, the key and what is allowed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import KEYS, Config, check_skills, load
from node.errors import ExitCode, UserError
from node.libp2p_address import EXAMPLE_PEER
from protocol.parameters import preset


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def failure(file: Path, environment: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(UserError) as error:
        load(file, environment or {}, flags or {})
    assert error.value.code is ExitCode.USAGE
    return str(error.value)


def test_default__a_missing_file_gives_the_defaults(file: Path) -> None:
    config = load(file, {}, {})
    assert config == Config()
    assert config.listen_on == ("/ip4/127.0.0.1/tcp/0",)


def test_order__flag_beats_environment_beats_file_beats_default(file: Path) -> None:
    file.write_text("version = 1\nslots = 2\nthreads = 2\napi_port = 2\n")
    config = load(file, {"TUTTI_SLOTS": "3", "TUTTI_THREADS": "3"}, {"slots": 4})
    assert (config.slots, config.threads, config.api_port, config.context) == (4, 3, 2, 0)


def test_file__every_key_can_be_set(file: Path) -> None:
    file.write_text(f"""version = 1
listen = ["/ip4/0.0.0.0/tcp/4101"]
bootstrap = ["{EXAMPLE_PEER}"]
network = "dev"
mdns = "off"
model = "none"
skills = ["arith"]
threads = 1
slots = 1
context = 512
gpu_layers = -1
api_port = 0
requests_per_hour = 100
tokens_per_day = 4096
auditors_ignored = ["{EXAMPLE_PEER.rpartition("/")[2]}"]
log_level = "debug"
""")
    assert load(file, {}, {}).model_fields_set == set(KEYS)


def test_environment__lists_are_separated_by_commas(file: Path) -> None:
    config = load(file, {"TUTTI_SKILLS": "arith, lists", "TUTTI_LISTEN": "/ip4/127.0.0.1/tcp/1"}, {})
    assert config.skills == ("arith", "lists")
    assert config.listen == ("/ip4/127.0.0.1/tcp/1",)


def test_environment__variables_that_are_no_keys_are_left_alone(file: Path) -> None:
    assert load(file, {"TUTTI_HOME": "/x", "TUTTI_PORT": "tcp://192.0.2.1:80"}, {}) == Config()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("listen = []", ["config.toml", "version must be 1", "version = 1"]),
        ("version = true", ["config.toml", "version must be 1"]),
        ("version = 2\nnew_key = 1", ["config.toml", "version 2 is newer", "install"]),
        ("version = 1\nlisten_on = []", ["config.toml", "unknown key 'listen_on'", "did you mean listen?"]),
        ("version = 1\n[zzz]\nx = 1", ["unknown key 'zzz'", "the keys are listen, bootstrap"]),
        ('version = 1\nthreads = "4"', ["config.toml: threads", "an integer from 1 to 1024", "'4'"]),
        ("version = 1\nthreads = true", ["config.toml: threads", "an integer", "True"]),
        ("version = 1\nslots = 0", ["config.toml: slots", "an integer from 1 to 16", "not 0"]),
        ('version = 1\nnetwork = "home"', ['network must be "dev", "local" or the path', "'home'"]),
        ('version = 1\nskills = ["A B"]', ["skills must be a list of names", "'A B'"]),
        ('version = 1\nbootstrap = "x"', ["bootstrap must be a list", "'x'"]),
        ('version = 1\nbootstrap = ["host:4101"]', ["bootstrap", "host:4101", EXAMPLE_PEER]),
        ('version = 1\nauditors_ignored = ["anna"]', ["auditors_ignored", "'anna'", "tutti network show"]),
        ('version = 1\nlisten = ["/ip4/1.2.3.4/udp/1"]', ["listen", "/ip4/1.2.3.4/udp/1", "write it like"]),
        ("version = 1\nlisten = [,]", ["config.toml is not TOML", "line 2"]),
        ("x" * 70_000, ["config.toml is larger than 65536 bytes"]),
        ("a=" + "[" * 20_000, ["config.toml is not TOML"]),
    ],
)
def test_file__a_mistake_is_named_with_what_is_allowed(file: Path, text: str, parts: list[str]) -> None:
    file.write_text(text)
    message = failure(file)
    for part in parts:
        assert part in message


def test_file__a_directory_in_its_place_is_one_line(tmp_path: Path) -> None:
    assert "cannot read" in failure(tmp_path)


def test_file__a_mistake_is_told_even_where_a_flag_hides_it(file: Path) -> None:
    file.write_text("version = 1\nslots = 99\n")
    assert "config.toml: slots" in failure(file, flags={"slots": 2})


def test_environment__an_error_names_the_variable(file: Path) -> None:
    assert failure(file, {"TUTTI_API_PORT": "http"}).startswith("TUTTI_API_PORT must be a port")


def test_flags__an_error_names_the_flag(file: Path) -> None:
    assert failure(file, flags={"api_port": 70_000}).startswith("--api-port must be a port from 1 to 65535")


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"version = 1\n{text}".encode()))
def test_file__any_bytes_give_a_config_or_one_line(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_bytes(content)
    try:
        load(file, {}, {})
    except UserError as error:
        assert str(file) in str(error)
        assert len(str(error).splitlines()) == 1


@given(key=st.sampled_from(KEYS), text=st.text(alphabet=st.characters(exclude_characters="\0"), max_size=50))
def test_environment__any_text_gives_a_config_or_a_line_with_the_variable(key: str, text: str) -> None:
    variable = f"TUTTI_{key.upper()}"
    try:
        load(Path("/nonexistent/config.toml"), {variable: text}, {})
    except UserError as error:
        assert str(error).startswith(variable)


def test_skills__that_the_network_lacks_are_refused_with_those_it_has(tmp_path: Path) -> None:
    config = load(tmp_path / "config.toml", {}, {"skills": ("arith", "cooking")})
    with pytest.raises(UserError, match="no skill 'cooking'; it has arith, composite, lists") as caught:
        check_skills(config, preset("local"))
    assert caught.value.code is ExitCode.USAGE


def test_file__a_pipe_in_its_place_is_one_line_and_no_wait(file: Path) -> None:
    os.mkfifo(file)
    assert failure(file) == f"cannot read {file}: it is not a plain file, so move it away"
