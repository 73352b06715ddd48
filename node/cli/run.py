"""`tutti run`: one node in the foreground, until Ctrl-C, SIGTERM or a failure it cannot mend."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from node.cli.guard import guarded
from node.cli.parser import parse
from node.cli.place import located
from node.config import check_skills
from node.engine import Engine
from node.errors import ExitCode
from node.logs import configure
from node.networks import load
from node.receipts import new_file

WrapEngine = Callable[[Engine], Engine]

# Keys of the configuration that may be given more than once.
_REPEATED: Final = {
    "listen": ("MULTIADDR", "listen here, for example /ip4/0.0.0.0/tcp/4101; repeatable"),
    "bootstrap": ("MULTIADDR", "dial this peer first, with /p2p/PEER_ID at the end; repeatable"),
    "auditors_ignored": ("PEER_ID", "believe this auditor of the network no more than anybody else; repeatable"),
}
_TEXTS: Final = {
    "network": ("NAME|FILE", "dev, local or the path of a network file"),
    "mdns": ("on|off", "find nodes on the local link, and be found there, unless only loopback is listened on"),
    "model": ("NAME|FILE", "a packaged model, the path of a GGUF file, or none"),
    "log_level": ("LEVEL", "debug, info, warning or error"),
}
_NUMBERS: Final = {
    "threads": "threads of the model, 0 for this machine's cores",
    "slots": "answers computed at once",
    "context": "tokens of context, 0 for the model's own",
    "gpu_layers": "layers on the GPU, -1 for all",
    "requests_per_hour": "requests of others answered in an hour at most, 0 for no cap",
    "tokens_per_day": "tokens written for others in a day at most, 0 for no cap",
    "api_port": "port of the API on loopback, 0 for any free one",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each key of the configuration. None has a default: what is not given comes from the other sources."""
    parser.usage = "tutti run [flags]"
    for key, (name, purpose) in _REPEATED.items():
        parser.add_argument(_flag(key), action="append", metavar=name, help=purpose)
    for key, (name, purpose) in _TEXTS.items():
        parser.add_argument(_flag(key), metavar=name, help=purpose)
    parser.add_argument("--skills", type=_names, metavar="A,B", help="offer only these skills, separated by commas")
    for key, purpose in _NUMBERS.items():
        parser.add_argument(_flag(key), type=_integer, metavar="N", help=purpose)
    parser.add_argument("--tape", metavar="FILE", help="write what goes into the protocol, questions too, for `simnet replay`")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout when the node is ready")


def run(args: argparse.Namespace, wrap: WrapEngine | None = None) -> int:
    """Run until stopped; raises `UserError`. `wrap` is for `tutti dev` alone."""
    home, config = located(args)
    network = load(config.network)
    check_skills(config, network.parameters)
    tape = new_file(args.tape) if args.tape is not None else None
    configure(config.log_level)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # until the loop takes over, there is nothing to put away
    # Here and not above: the network's libraries take a second to import, and --help or a wrong flag need none of them.
    from node.cli.serve import serve  # noqa: PLC0415

    asyncio.run(serve(home.network(network.directory), config, wrap, as_json=args.json, tape=tape))
    return ExitCode.OK


def main(argv: Sequence[str], wrap: WrapEngine | None = None) -> int:
    """`tutti run` with `argv` and a wrapper around the model; gives the exit code."""

    def work() -> int:
        args = parse(["run", *argv])
        return ExitCode.OK if args is None else run(args, wrap)

    return guarded(work)


def _leave(*_: object) -> None:
    sys.exit(ExitCode.OK)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _integer(text: str) -> int | str:
    """The number if it is one; what is not is left for the configuration to refuse, which says what is allowed."""
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < len(str(sys.maxsize)) else text


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
