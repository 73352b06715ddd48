"""The networks a node can join: the presets, and files that a founder made with `tutti network new`.

A network file is JSON that people read and pass on (specs/10-network.md). It is trusted for nothing: its id follows from its
genesis and its parameters must carry the founder's signature. Only the bootstrap addresses in it are mere hints.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from node.errors import ExitCode, UserError
from node.home import NetworkHome, read_plain, write_private
from node.libp2p_address import parse_address
from node.transport import TransportError
from protocol.errors import RemoteProtocolError
from protocol.genesis import Genesis
from protocol.parameters import PRESETS, Parameters, preset

VERSION: Final = 1
# Parameters of the largest size that can be signed, indented for people, and their bootstraps stay below this.
FILE_SIZE_MAX: Final = 256 * 1024
BOOTSTRAPS_MAX: Final = 16
# So many digits of the id tell networks of one name apart in a directory's name.
_DIRECTORY_DIGITS: Final = 8

_FIELDS: Final = frozenset({"tutti_network", "genesis", "id", "parameters", "signature", "bootstrap"})


@dataclass(frozen=True, slots=True)
class Network:
    """A network and where to find its first peers. The signature of a preset is empty: its parameters are built in."""

    parameters: Parameters
    signature: bytes = b""
    bootstrap: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """What the network's directory in a home is called; two networks of one name have two."""
        if not self.signature:
            return self.parameters.name
        return f"{self.parameters.name}-{self.parameters.network.hex()[:_DIRECTORY_DIGITS]}"


def load(name: str) -> Network:
    """The network that `name` says, a preset's or the path of a file; raises `UserError`."""
    if name in PRESETS:
        return Network(preset(name))
    return parse(read(name), name)


def read(name: str) -> bytes:
    """The bytes of a network file; raises `UserError`."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            raise UserError(f"{name} is a directory: name the network file in it", ExitCode.USAGE)
        data = read_plain(path, FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        known = " or ".join(PRESETS)
        raise UserError(f"there is no network file {name}: ask the founder for it, or use {known}", ExitCode.USAGE) from None
    except RuntimeError as error:
        raise UserError(f"{name} names a user whom this machine does not know: write the whole path", ExitCode.USAGE) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no path"
        raise UserError(f"cannot read the network file {name}: {reason}", ExitCode.USAGE) from error
    if len(data) > FILE_SIZE_MAX:
        raise UserError(f"{name} is larger than {FILE_SIZE_MAX} bytes: that is no network file")
    return data


def parse(data: bytes, name: str, *, signed: bool = True) -> Network:
    """The network in the bytes of file `name`; raises `UserError` with the first thing that does not hold.

    Without `signed` the signature is not checked: the founder has edited the parameters and is about to sign them.
    """
    fields = _json(data, name)
    if not isinstance(fields, dict) or "tutti_network" not in fields:
        raise UserError(f"{name} is no network file: it must have the fields {', '.join(sorted(_FIELDS))}")
    # Before the other fields, for a later version may have others.
    if type(fields["tutti_network"]) is not int or fields["tutti_network"] != VERSION:
        raise UserError(f"{name}: tutti_network must be {VERSION}; a higher number needs a newer tutti-network")
    if fields.keys() != _FIELDS:
        raise UserError(f"{name} is no network file: it must have the fields {', '.join(sorted(_FIELDS))}")
    try:
        genesis = Genesis.parse(_with_bytes(fields["genesis"], "founder", "nonce"))
        parameters = Parameters.parse(genesis, _map(fields["parameters"], "parameters"))
        if _hex(fields["id"], "id") != genesis.network:
            raise RemoteProtocolError("field", "the id is not that of the genesis, so one of them was altered")
        signature = _hex(fields["signature"], "signature")
        if signed:
            _check_signature(parameters, signature)
        bootstrap = _bootstrap(fields["bootstrap"])
    except RemoteProtocolError as error:
        raise UserError(f"{name} does not hold: {error}") from error
    return Network(parameters, signature, bootstrap)


def render(network: Network) -> bytes:
    """The file of a network, for people to read and pass on."""
    parameters = network.parameters
    fields = {
        "tutti_network": VERSION,
        "genesis": {
            "name": parameters.genesis.name,
            "founder": parameters.genesis.founder.hex(),
            "nonce": parameters.genesis.nonce.hex(),
        },
        "id": parameters.network.hex(),
        "bootstrap": list(network.bootstrap),
        "signature": network.signature.hex(),
        "parameters": parameters.body(),
    }
    return json.dumps(fields, indent=2, ensure_ascii=False).encode() + b"\n"


def newest(home: NetworkHome, given: Network) -> Network:
    """The latest revision of the given network that this home has seen, kept there; raises `UserError`.

    The founder's higher number replaces a lower one, whichever file comes later.
    """
    if not given.signature:
        return given
    held = None
    # A damaged copy is no loss: the file that was given has just been checked.
    with contextlib.suppress(FileNotFoundError, OSError, UserError):
        held = parse(home.network_file.read_bytes(), str(home.network_file))
    if held is not None and held.parameters.network == given.parameters.network:
        if held.parameters.revision > given.parameters.revision:
            return replace(held, bootstrap=tuple(dict.fromkeys((*given.bootstrap, *held.bootstrap))))
        if held.parameters.revision == given.parameters.revision and held.parameters != given.parameters:
            raise UserError(
                f"the founder signed two different revisions {held.parameters.revision} of this network (the other stands in"
                f" {home.network_file}): ask for a later one that replaces both"
            )
    write_private(home.network_file, render(given))
    return given


def _check_signature(parameters: Parameters, signature: bytes) -> None:
    try:
        parameters.check(signature)
    except RemoteProtocolError as error:
        if error.code == "key":
            raise RemoteProtocolError("key", "the founder's key is not a usable Ed25519 key") from error
        reason = "the founder's signature does not hold, so the parameters, the genesis or the signature was altered"
        raise RemoteProtocolError("signature", reason) from error


def _json(data: bytes, name: str) -> object:
    """JSON whose meaning is plain: no key twice, no number that is not an integer."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON of a network file: {str(error)[:120]}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:20]} is not an integer")


def _map(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RemoteProtocolError("field", f"{name} is not an object")
    return value


def _with_bytes(value: object, *names: str) -> dict[str, Any]:
    fields = _map(value, "genesis")
    return {key: _hex(item, key) if key in names else item for key, item in fields.items()}


def _hex(value: object, name: str) -> bytes:
    # One spelling only: what people compare by eye should be equal byte by byte.
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            data = bytes.fromhex(value)
            if data.hex() == value:
                return data
    raise RemoteProtocolError("field", f"{name} is not bytes in lower-case hexadecimal")


def _bootstrap(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > BOOTSTRAPS_MAX or not all(isinstance(item, str) for item in value):
        raise RemoteProtocolError("field", f"bootstrap is not a list of at most {BOOTSTRAPS_MAX} addresses")
    for address in value:
        try:
            parse_address(address)
        except TransportError as error:
            raise RemoteProtocolError("field", str(error)) from error
    return tuple(value)
