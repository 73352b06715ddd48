"""The command line `simnet`: runs of the protocol under virtual time, each repeatable from what it prints."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Final, NoReturn

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2

_DESCRIPTION: Final = """\
The simulator of Tutti: many nodes in one process, under virtual time, running the real protocol code of
protocol/ with simulated links and simulated models. The same seed gives the same digest on every machine.

What it does not do yet: scenario files, adversaries other than one liar, partitions, crashes, sweeps, replay of tapes,
checkers of invariants and report pages. --loss drops gossip only. The models are statistical: how often each kind is
right is an assumption written in simnet/solvers.py, so its accuracy says how well the protocol weighs such nodes and
nothing about any real model."""
_EXIT_CODES: Final = """\
exit codes:
  0  the run ended and every question had an explicit outcome
  1  it failed
  2  wrong usage"""
_FLAG: Final = re.compile(r"--[a-z][a-z-]*")


class _UsageError(Exception):
    """Wrong arguments, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except _UsageError as error:
        _say(str(error))
        return USAGE
    except RuntimeError as error:
        _say(str(error))
        return FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return FAILED
    except BrokenPipeError:
        # Nobody reads any more; without this the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _say(message: str) -> None:
    print(f"simnet: {message}", file=sys.stderr)


def _dispatch(argv: Sequence[str]) -> int:
    root = _Parser(
        prog="simnet",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    run = commands.add_parser(
        "run", help="one run of a small network", description=_DESCRIPTION, epilog=_EXIT_CODES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    for flag, purpose in {
        "seed": "decides every draw (1)",
        "nodes": "how many nodes (7)",
        "questions": "how many questions, asked one after the other (40)",
        "loss": "gossip lost, in thousandths (0)",
    }.items():
        run.add_argument(f"--{flag}", type=_integer, metavar="PERMILLE" if flag == "loss" else "N", help=purpose)
    version = commands.add_parser("version", help="the version", allow_abbrev=False)
    for command in (run, version):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    try:
        args, unknown = root.parse_known_args(argv)
    except SystemExit:
        # Only --help ends this way, once it has printed.
        return OK
    if unknown:
        _refuse(unknown, root, run)
    if args.command == "run":
        return _run(args)
    if args.command == "version":
        return _version(as_json=args.json)
    root.print_help()
    return OK


def _integer(text: str) -> int:
    return int(text, 10)


_integer.__name__ = "number"  # argparse names it so in its error


def _refuse(unknown: Sequence[str], *parsers: argparse.ArgumentParser) -> NoReturn:
    name = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
    known = [flag for parser in parsers for flag in _FLAG.findall(parser.format_help())]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    raise _UsageError(f"unknown argument {name[:60]!r}{hint}; see simnet --help")


def _version(*, as_json: bool) -> int:
    try:
        version = metadata.version("tutti-network")
    except metadata.PackageNotFoundError:
        version = "(not installed as a package)"
    print(json.dumps({"version": version}) if as_json else f"simnet of tutti {version}")
    return OK


def _run(args: argparse.Namespace) -> int:
    # Here and not above: the protocol's code need not be imported for help.
    from simnet import report, scenario  # noqa: PLC0415

    defaults = scenario.Settings()
    settings = scenario.Settings(
        seed=_within("--seed", args.seed, defaults.seed, 0, scenario.SEED_MAX),
        nodes=_within("--nodes", args.nodes, defaults.nodes, scenario.NODES_MIN, scenario.NODES_MAX),
        questions=_within("--questions", args.questions, defaults.questions, 1, scenario.QUESTIONS_MAX),
        loss_permille=_within("--loss", args.loss, defaults.loss_permille, 0, scenario.LOSS_PERMILLE_MAX),
    )
    found = scenario.run(settings)
    print(json.dumps(report.as_json(found)) if args.json else "\n".join(report.lines(found)))
    return OK


def _within(flag: str, given: int | None, default: int, low: int, high: int) -> int:
    if given is None:
        return default
    if not low <= given <= high:
        raise _UsageError(f"{flag} must be from {low} to {high}, not {given}")
    return given
