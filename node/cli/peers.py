"""`tutti peers`: whom the running node knows, what each says of itself and what each has earned here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from node.cli.flags import add_json, add_network
from node.cli.place import client_of
from node.cli.status import audits
from node.cli.terminal import brief, clean, print_json, print_lines, short, table

_MODEL_SHOWN = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the node and print its peers."""
    peers = client_of(args).get("/v1/peers")
    if args.json:
        print_json(peers)
    else:
        print_lines(show(peers["peers"]))
    return 0


def show(peers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines for a person."""
    if not peers:
        return ["no peers yet: start this node with --bootstrap MULTIADDR of a running one"]
    rows = [("PEER", "STATE", "MODEL", "SPEED", "SKILLS (weight earned here, audits)")]
    for peer in peers:
        state = "connected" if peer["connected"] else "known"
        if peer["available"] is False:
            state += ", takes no work"
        speed = f"{peer['tokens_per_s']} tok/s" if peer["tokens_per_s"] else "-"
        model = brief(peer["model"] or "-", _MODEL_SHOWN)
        rows.append((short(peer["peer_id"]), state, model, speed, _skills(peer["skills"])))
    connected = sum(peer["connected"] for peer in peers)
    return [*table(rows, indent=""), f"{connected} connected, {len(peers)} known; --json shows whole peer ids and addresses"]


def _skills(skills: Mapping[str, Mapping[str, Any]]) -> str:
    """Weights come from this node's audits alone; what a peer claims is in the JSON."""
    shown = [f"{clean(name)} {row['weight']:.2f} ({audits(row['hits'], row['misses'])})" for name, row in skills.items()]
    return "; ".join(shown) or "-"
