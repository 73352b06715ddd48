"""`tutti status`: what the running node is and does."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from node.cli.flags import add_json, add_network
from node.cli.place import network_home
from node.cli.terminal import brief, clean, number, print_json, print_lines, size, table
from node.client import Client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the node and print what it says."""
    status = Client(network_home(args)).get("/v1/status")
    if args.json:
        print_json(status)
    else:
        print_lines(show(status))
    return 0


def show(status: Mapping[str, Any]) -> list[str]:
    """The lines for a person."""
    traffic = status["transport"]
    rejected = sum(status["rejected"].values())
    rows = [
        ("peer id", clean(status["peer_id"])),
        ("network", clean(status["network"])),
        ("running for", duration(status["uptime_s"])),
        *(("address", clean(address)) for address in status["addresses"]),
        ("peers", f"{status['peers_connected']} connected, {status['peers_known']} known"),
        ("model", _model(status["model"])),
        *(("skill", f"{clean(name)}: {standing(skill)}") for name, skill in status["skills"].items()),
        ("work", f"{number(status['tasks'], 'task')} asked, {number(status['leases'], 'lease')} held"),
        ("outcomes", str(status["answered"])),
        ("rejected", number(rejected, "message") + _reasons(status["rejected"])),
        (
            "traffic",
            f"{size(_total(traffic, 'bytes_in'))} in, {size(_total(traffic, 'bytes_out'))} out",
        ),
    ]
    return table(rows, indent="")


def standing(skill: Mapping[str, Any]) -> str:
    """What a node has earned in a skill, and apart from it what it claims."""
    return f"weight {skill['weight']:.2f}, {audits(skill['hits'], skill['misses'])} (claims {skill['declared']:.2f})"


def audits(hits: float, misses: float) -> str:
    """`9 of 10 audits right`; counts shrink with age, so they need not be whole."""
    if hits + misses == 0:
        return "no audits yet"
    return f"{hits:g} of {round(hits + misses, 1):g} audits right"


def duration(seconds: int) -> str:
    """The two largest units."""
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _model(model: Mapping[str, Any] | None) -> str:
    if model is None:
        return "none: this node asks and does not answer"
    process = f"process {model['pid']}" if model["pid"] is not None else "its process is down"
    again = f", restarted {number(model['restarts'], 'time')}" if model["restarts"] else ""
    return (
        f"{brief(model['name'], 60)} ({clean(model['quantisation'])}, {model['parameters'] / 1e6:.1f} M parameters, "
        f"context {model['context']}, {model['tokens_per_s']} tokens/s), {process}{again}"
    )


def _reasons(rejected: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{clean(code)} {count}' for code, count in rejected.items())})" if rejected else ""


def _total(counters: Mapping[str, int], ending: str) -> int:
    return sum(count for name, count in counters.items() if name.endswith(ending))
