"""`tutti status`: what the running node is and does."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from node.cli.flags import add_json, add_network
from node.cli.place import client_of
from node.cli.terminal import brief, clean, number, print_json, print_lines, size, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the node and print what it says."""
    status = client_of(args).get("/v1/status")
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
        ("network", f"{clean(status['network'])}, id {clean(status['network_id'])[:16]}, revision {status['revision']}"),
        ("takes work", availability(status["availability"])),
        ("running for", duration(status["uptime_s"])),
        *(("address", clean(address)) for address in status["addresses"]),
        ("peers", f"{status['peers_connected']} connected, {status['peers_known']} known"),
        *(("unreached", clean(reason)) for reason in status["unreached"].values()),
        ("model", _model(status["model"])),
        *(("skill", f"{clean(name)}: {standing(skill)}") for name, skill in status["skills"].items()),
        ("work", f"{number(status['tasks'], 'task')} asked, {number(status['leases'], 'lease')} held"),
        ("ledger", _ledger(status["ledger"])),
        ("outcomes", str(status["answered"])),
        ("rejected", number(rejected, "message") + _reasons(status["rejected"])),
        (
            "traffic",
            f"{size(_total(traffic, 'bytes_in'))} in, {size(_total(traffic, 'bytes_out'))} out",
        ),
    ]
    return table(rows, indent="")


_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no model": "it has no model",
        "model down": "its model is down and is being started again",
        "paused": "paused by its owner (`tutti resume`)",
        "no peers": "it is connected to nobody",
    }
)


def availability(value: Mapping[str, Any]) -> str:
    """`yes`, or every reason why not, and what is left of the caps."""
    reasons = [_cap_reached(value) if word == "cap" else _REASONS[word] for word in value["reasons"]]
    caps = [f"{row['taken']} of {row['cap']} {noun}" for row, noun in _caps(value) if row["cap"]]
    used = f" ({', '.join(caps)})" if caps else ""
    return (f"no: {'; '.join(reasons)}" if reasons else "yes") + used


def _caps(value: Mapping[str, Any]) -> tuple[tuple[Mapping[str, int], str], ...]:
    return (value["requests_per_hour"], "requests this hour"), (value["tokens_per_day"], "tokens this day")


def _cap_reached(value: Mapping[str, Any]) -> str:
    until = dt.datetime.fromtimestamp(value["until_ms"] / 1_000, dt.UTC).astimezone()
    days = (until.date() - dt.datetime.now(dt.UTC).astimezone().date()).days
    return f"cap reached until {until:%H:%M}" + (" tomorrow" if days == 1 else f" in {days} days" if days > 1 else "")


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


def _ledger(ledger: Mapping[str, Any]) -> str:
    entries = f"{ledger['entries']} {'entry' if ledger['entries'] == 1 else 'entries'}"
    waits = "" if ledger["ready"] else ", waits for peers that may hold more of it"
    return f"{entries}{waits}; follows {number(ledger['followed'], 'peer')}"


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
