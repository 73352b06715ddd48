"""Flags that several commands share; kept apart from what reads the settings, which takes longer to import."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from protocol.constants import PLANNERS_DEFAULT, PLANNERS_MAX


def add_network(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that looks for a node."""
    parser.add_argument("--network", metavar="NAME|FILE", help="the network whose node is meant (else from the configuration)")


def add_home(parser: argparse.ArgumentParser) -> None:
    """The flag of every command; it may stand before or behind the command's name."""
    parser.add_argument(
        "--home",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="keep everything below this directory (else TUTTI_HOME, else the XDG directories)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that reads."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")


def add_plan(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that ask: how many plans a question is to be answered by."""
    parser.add_argument(
        "--plan",
        nargs="?",
        type=int,
        const=PLANNERS_DEFAULT,
        choices=range(PLANNERS_MAX + 1),
        metavar="M",
        help=f"have M nodes plan it in steps for others (after the question; {PLANNERS_DEFAULT} without a number, "
        f"at most {PLANNERS_MAX}; 0: never)",
    )


def add_verbs(parser: argparse.ArgumentParser, *, of_a_node: bool = True) -> Callable[[str, str], argparse.ArgumentParser]:
    """Let a command have verbs: gives what adds one of a name and a purpose, with the flags that say which node is meant."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=type(parser))

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        verb: argparse.ArgumentParser = verbs.add_parser(name, help=purpose, description=purpose, allow_abbrev=False)
        add_home(verb)
        if of_a_node:
            add_network(verb)
        return verb

    return add
