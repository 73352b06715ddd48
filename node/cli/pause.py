"""`tutti pause` and `tutti resume`: whether the running node takes work; kept over its restarts."""

from __future__ import annotations

import argparse

from node.cli.flags import add_json, add_network
from node.cli.place import client_of
from node.cli.status import availability
from node.cli.terminal import number, print_json, print_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Tell the node and print what is so now; a second time changes nothing and is no error."""
    answer = client_of(args).post(f"/v1/{args.command}", {})
    if args.json:
        print_json(answer)
    elif args.command == "pause":
        print_lines([_paused(answer["changed"], answer["leases"])])
    else:
        was = "this node is paused no more" if answer["changed"] else "this node was not paused"
        print_lines([f"{was}; takes work: {availability(answer['availability'])}"])
    return 0


def _paused(changed: bool, leases: int) -> str:  # noqa: FBT001  a word for a flag
    now = "paused: this node takes no more work" if changed else "this node was paused already"
    rest = f"; {number(leases, 'lease')} at work will finish" if leases else ""
    return f"{now}{rest}. You can still ask; `tutti resume` ends the pause."
