"""`tutti init`: home, identity and a commented configuration; what exists already stays as it is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from node.cli.flags import add_network
from node.cli.place import located
from node.config import VERSION, Config
from node.errors import UserError
from node.home import NetworkHome, load_or_create_seed
from node.keys import recovery_key
from node.networks import load
from protocol.identity import KeySigner, peer_id
from protocol.parameters import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only the network: everything else is set in the file."""
    add_network(parser)


def run(args: argparse.Namespace) -> int:
    """Make what is missing and say what there is."""
    home, config = located(args)
    network = load(config.network)
    directory = home.network(network.directory)
    directory.create()
    seed, made = load_or_create_seed(directory.identity_file)
    _, recoverable = recovery_key(directory)
    written = _write_new(home.config_file, template(_lasting(config.network)))
    print(f"peer id        {peer_id(KeySigner(seed).public_key)}")
    print(f"network        {directory.data.name}")
    print(f"identity       {directory.identity_file} ({_made(made)})")
    print(f"recovery key   {_recovery(directory, recoverable)}")
    print(f"configuration  {home.config_file} ({_made(written)})")
    print(f"data           {directory.data}")
    print(f"state          {directory.state}")
    return 0


def _lasting(network: str) -> str:
    """The network as the file should name it: a path that means the same from every directory."""
    return network if network in PRESETS else str(Path(network).expanduser().absolute())


def _recovery(directory: NetworkHome, new: bool) -> str:  # noqa: FBT001  a word for a flag
    file = directory.recovery_file
    if not new and not file.exists():
        return "kept elsewhere, as it should be"
    return f"{file} ({_made(new)}): keep it elsewhere; it names the next identity if this one is lost or stolen"


def _made(new: bool) -> str:  # noqa: FBT001  a word for a flag
    return "made just now" if new else "was there, left as it is"


def template(network: str) -> str:
    """A configuration file in which everything but `network` is a comment: each key with its default and what it may be."""
    lines = [
        "# Settings of a Tutti node. A flag of `tutti run` wins over a variable TUTTI_<KEY>, that over this file.",
        f"version = {VERSION}",
        "",
    ]
    for key, field in Config.model_fields.items():
        unset = field.get_default() is None
        lines.append(f"# {field.description}" + ("; if not set, all that the model offers" if unset else ""))
        value = _toml(network if key == "network" else field.get_default())
        lines += [f"{'' if key == 'network' else '# '}{key} = {value}", ""]
    return "\n".join(lines[:-1]) + "\n"


def _toml(value: object) -> str:
    """A default as TOML; the one key without a default, `skills`, shows an example."""
    if isinstance(value, str):
        return json.dumps(value)  # a basic string of TOML as well
    if value is None:
        return '["arith"]'
    return "[]" if isinstance(value, tuple) else str(value)


def _write_new(file: Path, text: str) -> bool:
    """Whether the file was written: one that exists is its owner's."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another home with --home") from error
    return True
