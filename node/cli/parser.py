"""The words of the command line: which commands there are, and short answers to a wrong one.

The flags of a command stand in its own module, which is imported only for that command.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NoReturn

from node.cli.flags import add_home
from node.errors import ExitCode, UserError

# Command -> (module with `add_arguments(parser)` and `run(args) -> int`, what it does).
_COMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "init": ("node.cli.init", "make the home, the identity and a commented configuration"),
        "run": ("node.cli.run", "run a node until Ctrl-C"),
        "status": ("node.cli.status", "what the running node is doing"),
        "pause": ("node.cli.pause", "let the running node take no more work, until `tutti resume`"),
        "resume": ("node.cli.pause", "let a paused node take work again"),
        "id": ("node.cli.identity", "this node's peer id"),
        "peers": ("node.cli.peers", "whom the running node knows, and what each has earned"),
        "ask": ("node.cli.ask", "ask the network a question through the running node"),
        "ledger": ("node.cli.ledger", "what this node and those that it follows have signed; check it"),
        "keys": ("node.cli.keys", "copy the identity, or let another one follow it"),
        "verify": ("node.cli.verify", "what a receipt or a proof of a fault shows, and what it cannot"),
        "network": ("node.cli.network", "found a network, look at one, check its file"),
        "doctor": ("node.cli.doctor", "what is wrong with this node and how to mend it; can be pasted in public"),
        "models": ("node.cli.models", "the packaged models"),
        "dev": ("node.dev.command", "a whole network on this machine, in one command"),
        "version": ("node.cli.version", "versions of the package, the protocols and what they stand on"),
    }
)
MODULES: Final[Mapping[str, str]] = MappingProxyType({name: module for name, (module, _) in _COMMANDS.items()})

EXIT_CODES: Final = """\
exit codes:
  0  it worked
  1  it failed, or there is no answer
  2  wrong usage: a flag, a setting or the question itself
  3  no node is running in this home"""

_ROOT_DESCRIPTION: Final = "Tutti: a peer-to-peer network of small language models that bid for questions, answer and vote."
_FLAG: Final = re.compile(r"--[a-z][a-z-]*")


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help", ExitCode.USAGE)


def _parser(prog: str, description: str, epilog: str) -> _Parser:
    return _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def parse(argv: Sequence[str]) -> argparse.Namespace | None:
    """The arguments, with `command` set; None if help was printed. Raises `UserError` (exit code 2) in one line."""
    root = _parser("tutti", _ROOT_DESCRIPTION, EXIT_CODES)
    add_home(root)
    root.add_argument("--version", action="store_true", help="as the command version")
    root.usage = "tutti [--home DIR] COMMAND [--help] ..."
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands", prog="tutti", parser_class=_Parser)
    chosen = _command_in(argv)
    parser = root
    for name, (module, purpose) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            parser = command
            add_home(command)
            importlib.import_module(module).add_arguments(command)
    try:
        args, unknown = root.parse_known_args(argv)
    except SystemExit:
        # Only --help ends this way, once it has printed.
        return None
    if unknown:
        _refuse(unknown, parser)
    if args.version and args.command is None:
        args.command, args.json = "version", False
    if args.command is None:
        root.print_help()
        return None
    return args


def _command_in(argv: Sequence[str]) -> str | None:
    """The first word that is neither a flag nor the value of --home; raises `UserError` if it is no command."""
    words = iter(argv)
    for word in words:
        if word == "--home":
            next(words, None)
        elif not word.startswith("-"):
            if word not in _COMMANDS:
                raise UserError(
                    f"unknown command {_shown(word)}{_near(word, list(_COMMANDS))}; see tutti --help", ExitCode.USAGE
                )
            return word
    return None


def _refuse(unknown: Sequence[str], parser: argparse.ArgumentParser) -> NoReturn:
    flag = next((word for word in unknown if word.startswith("-")), None)
    if flag is None:
        raise UserError(f"unexpected argument {_shown(unknown[0])}; see {parser.prog} --help", ExitCode.USAGE)
    name = flag.partition("=")[0]
    hint = _near(name, _FLAG.findall(parser.format_usage() + parser.format_help()))
    raise UserError(f"unknown flag {_shown(name)}{hint}; see {parser.prog} --help", ExitCode.USAGE)


def _near(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else f"{word[:60]}...")  # noqa: PLR2004  enough to recognise it
