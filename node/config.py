"""What the owner of a node can set: a TOML file, TUTTI_* variables and flags, in one table of keys.

A flag wins over the environment, that over the file, that over the default. Every source is checked on its own first,
so that a mistake in the file is told even where a flag hides it, and each error names the source and the key.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from node.errors import ExitCode, UserError
from node.home import read_plain
from node.libp2p_address import parse_address, parse_listen
from node.transport import TransportError
from protocol.capability import GENERAL
from protocol.constants import TOKENS_MAX
from protocol.errors import RemoteProtocolError
from protocol.identity import public_key_of
from protocol.parameters import Parameters

VERSION = 1
VARIABLE_PREFIX = "TUTTI_"

# A file of this size is not a configuration; it is refused before it is parsed.
FILE_SIZE_MAX = 64 * 1024
LIST_LENGTH_MAX = 64
_SHOWN_MAX = 60

# A founded network is for others to join: all of this machine's addresses, and one port that a firewall can be told.
PORT_DEFAULT = 4101
# Both presets are for trying things out, so nothing outside can reach them.
_LISTEN_OF_NETWORK: Mapping[str, tuple[str, ...]] = {
    "dev": ("/ip4/127.0.0.1/tcp/0",),
    "local": ("/ip4/127.0.0.1/tcp/0",),
}


def _listen_address(text: str) -> str:
    try:
        parse_listen(text)
    except TransportError as error:
        raise ValueError(str(error)) from error
    return text


def _peer_address(text: str) -> str:
    try:
        parse_address(text)
    except TransportError as error:
        raise ValueError(str(error)) from error
    return text


def _peer(text: str) -> str:
    try:
        public_key_of(text)
    except RemoteProtocolError as error:
        raise ValueError(f"{error}; `tutti network show` gives the peer ids of a network's auditors") from error
    return text


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
PeerAddress = Annotated[str, AfterValidator(_peer_address)]


def _tokens_cap(tokens: int) -> int:
    if 0 < tokens < TOKENS_MAX:
        raise ValueError(f"{tokens} tokens are fewer than one question may take: at least {TOKENS_MAX}, or 0 for no cap")
    return tokens


TokensCap = Annotated[int, AfterValidator(_tokens_cap)]
# Decoding base58 takes the square of the length, so that is looked at first.
PeerId = Annotated[str, StringConstraints(max_length=64), AfterValidator(_peer)]
Skill = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class Config(BaseModel):
    """A node's settings, valid once built. The description of a key says what is allowed and ends up in errors."""

    # Lists arrive as TOML arrays and stay fixed, hence tuples; nothing else is converted silently ("4" is no integer).
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    listen: tuple[ListenAddress, ...] = Field(
        (), strict=False, max_length=LIST_LENGTH_MAX, description="a list of multiaddrs to listen on"
    )
    bootstrap: tuple[PeerAddress, ...] = Field(
        (), strict=False, max_length=LIST_LENGTH_MAX, description="a list of peers' multiaddrs to dial first"
    )
    network: str = Field(
        "local",
        # A path shows itself by its dot or slash, so that a preset's name with a slip is not taken for a file.
        pattern=r"^(dev|local|[^\x00]*[./][^\x00]*)$",
        max_length=4096,
        description='"dev", "local" or the path of a network file, such as ./choir.json',
    )
    mdns: Literal["on", "off"] = Field("on", description='"on" or "off"')
    model: str = Field("none", pattern=r"^[^\x00]{1,4096}$", description='a model\'s name, the path of a GGUF file, or "none"')
    skills: tuple[Skill, ...] | None = Field(
        None, strict=False, max_length=LIST_LENGTH_MAX, description="a list of names in lower case, such as arith"
    )
    threads: int = Field(0, ge=0, le=1024, description="an integer from 1 to 1024, or 0 for this machine's cores")
    slots: int = Field(1, ge=1, le=16, description="an integer from 1 to 16: answers computed at once")
    context: int = Field(0, ge=0, le=32_768, description="tokens, up to 32768, or 0 for the model's own")
    gpu_layers: int = Field(0, ge=-1, le=1000, description="an integer up to 1000, or -1 for all layers")
    api_port: int = Field(0, ge=0, le=65535, description="a port from 1 to 65535, or 0 for any free one")
    requests_per_hour: int = Field(
        0, ge=0, le=1_000_000, description="an integer up to 1000000: requests of others answered in an hour, or 0 for no cap"
    )
    tokens_per_day: TokensCap = Field(
        0,
        ge=0,
        le=10**12,
        description=f"an integer from {TOKENS_MAX} to a million million: tokens written for others in a day, or 0 for no cap",
    )
    auditors_ignored: tuple[PeerId, ...] = Field(
        (),
        strict=False,
        max_length=LIST_LENGTH_MAX,
        description="a list of peer ids: auditors of the network that this node believes no more than anybody else",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description='"debug", "info", "warning" or "error"')

    @property
    def listen_on(self) -> tuple[str, ...]:
        """The addresses to listen on: those set, else the network's own."""
        return self.listen or _LISTEN_OF_NETWORK.get(self.network, (f"/ip4/0.0.0.0/tcp/{PORT_DEFAULT}",))


KEYS = tuple(Config.model_fields)
_LIST_KEYS = frozenset({"listen", "bootstrap", "skills", "auditors_ignored"})
_INTEGER_KEYS = frozenset({"threads", "slots", "context", "gpu_layers", "api_port", "requests_per_hour", "tokens_per_day"})


def load(file: Path, environment: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """The settings from all sources; raises `UserError` (exit code 2) that names the source, the key and what is allowed.

    `flags` holds only those that were given. A missing file is an empty one.
    """
    layers = (
        _checked(read_file(file), {key: f"{file}: {key}" for key in KEYS}, str(file)),
        _checked(_of_environment(environment), {key: _variable(key) for key in KEYS}, "the environment"),
        _checked(flags, {key: f"--{key.replace('_', '-')}" for key in KEYS}, "the command line"),
    )
    merged: dict[str, object] = {}
    for layer in layers:
        merged.update(layer)
    return Config.model_validate(merged)


def check_skills(config: Config, parameters: Parameters) -> None:
    """Raise `UserError` (exit code 2) for a skill that the network does not have; only now are both known."""
    known = sorted(parameters.skills)
    unknown = [skill for skill in config.skills or () if skill not in (*known, GENERAL)]
    if unknown:
        raise _usage(f"skills: network {parameters.name} has no skill {_shown(unknown[0])}; it has {', '.join(known)}")


def read_file(file: Path) -> dict[str, object]:
    """The keys in a TOML file of `version = 1`, not yet checked one by one; raises `UserError`."""
    try:
        content = read_plain(file, FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _usage(f"cannot read {file}: {error.strerror}") from error
    if len(content) > FILE_SIZE_MAX:
        raise _usage(f"{file} is larger than {FILE_SIZE_MAX} bytes: that is no configuration")
    # ValueError covers text that is not UTF-8 or TOML, and a number too long for Python to read.
    try:
        values: dict[str, object] = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise _usage(f"{file} is not TOML: {error}") from error
    version = values.pop("version", None)
    if type(version) is not int or version < 1:
        raise _usage(f"{file}: version must be {VERSION}; put `version = {VERSION}` on its first line")
    if version > VERSION:
        raise _usage(f"{file}: version {version} is newer than this tutti knows ({VERSION}): install a newer tutti-network")
    return values


def _checked(values: Mapping[str, object], names: Mapping[str, str], source: str) -> Mapping[str, object]:
    for key in values:
        if key not in names:
            raise _usage(f"{source}: unknown key {_shown(key)}; {_suggestion(key)}")
    try:
        Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "value_error":
            raise _usage(f"{names[key]}: {first['ctx']['error']}") from error
        allowed = Config.model_fields[key].description
        raise _usage(f"{names[key]} must be {allowed}, not {_shown(first['input'])}") from error
    return values


def _of_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Our variables, as the types of the file. Others with our prefix are left alone: Kubernetes makes TUTTI_PORT itself."""
    values: dict[str, object] = {}
    for key in KEYS:
        text = environment.get(_variable(key))
        if text is None:
            continue
        if key in _LIST_KEYS:
            values[key] = [part.strip() for part in text.split(",") if part.strip()]
        elif key in _INTEGER_KEYS and text.strip().removeprefix("-").isdecimal() and len(text) < _SHOWN_MAX:
            values[key] = int(text)
        else:
            values[key] = text
    return values


def _variable(key: str) -> str:
    return VARIABLE_PREFIX + key.upper()


def _suggestion(key: str) -> str:
    close = difflib.get_close_matches(key, KEYS, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"the keys are {', '.join(KEYS)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


def _usage(message: str) -> UserError:
    return UserError(message, ExitCode.USAGE)
