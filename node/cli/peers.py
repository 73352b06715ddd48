"""`tutti peers`: whom the running node knows, what each says of itself, what each has earned here and by which evidence."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from node.cli.evidence import explain_evidence
from node.cli.flags import add_json, add_network
from node.cli.place import client_of
from node.cli.status import audits
from node.cli.terminal import brief, clean, print_json, print_lines, short, table
from node.client import Client
from node.errors import ExitCode, UserError
from node.receipts import keep, new_file

_MODEL_SHOWN = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    parser.add_argument(
        "peer", nargs="?", metavar="PEER", help="one peer, by the end of its id that the list shows, or all of it"
    )
    parser.add_argument("--explain", action="store_true", help="say of PEER which evidence there is, and from whom")
    parser.add_argument("--proof", metavar="FILE", help="write the proof that PEER broke a rule, for `tutti verify`")
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the node and print its peers, or what is known of one."""
    if (args.explain or args.proof is not None) and args.peer is None:
        flag = "--explain" if args.explain else "--proof"
        raise UserError(f"{flag} needs a PEER: `tutti peers` lists them", ExitCode.USAGE)
    file = new_file(args.proof) if args.proof is not None else None
    client = client_of(args)
    peers = client.get("/v1/peers")
    if args.peer is not None:
        peers = {"peers": [_one(args.peer, peers["peers"], client.get("/v1/status"))]}
    if file is not None:
        keep(file, _proof(client, peers["peers"][0]["peer_id"]))
    if args.explain:
        evidence = client.get(f"/v1/peers/{peers['peers'][0]['peer_id']}/evidence")
        if args.json:
            print_json(evidence)
        else:
            print_lines(explain_evidence(evidence))
        return 0
    if args.json:
        print_json(peers)
    else:
        print_lines(show(peers["peers"]))
    return 0


def _proof(client: Client, peer_id: str) -> str:
    """The proof of the first fault of a peer, in base64."""
    faults = client.get(f"/v1/peers/{peer_id}/faults")["faults"]
    if not faults:
        raise UserError(f"nothing is proven of {short(peer_id)}")
    return str(faults[0]["proof"])


def _one(named: str, peers: Sequence[Mapping[str, Any]], status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The peer whose id ends in `named`; this node itself is one too."""
    own = {
        "peer_id": status["peer_id"],
        "connected": True,
        "available": None,
        "model": None,
        "tokens_per_s": None,
        "skills": {},
        "faults": [],
    }
    if status["model"] is not None:
        own |= {"model": status["model"]["name"], "tokens_per_s": status["model"]["tokens_per_s"]}
    found = [peer for peer in (*peers, own | {"skills": status["skills"]}) if str(peer["peer_id"]).endswith(named)]
    if len(found) != 1:
        reason = "no peer's" if not found else f"{len(found)} peers'"
        raise UserError(f"{reason} id ends in {named!r}; `tutti peers --json` shows whole ids", ExitCode.USAGE)
    return found[0]


def show(peers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines for a person."""
    if not peers:
        return ["no peers yet: start this node with --bootstrap MULTIADDR of a running one"]
    rows = [("PEER", "STATE", "MODEL", "SPEED", "SKILLS (weight earned here, audits)")]
    for peer in peers:
        state = "connected" if peer["connected"] else "known"
        if peer["available"] is False:
            state += ", takes no work"
        if peer["faults"]:
            state = f"broke a rule: {', '.join(clean(fault['kind']) for fault in peer['faults'])}"
        speed = f"{peer['tokens_per_s']} tok/s" if peer["tokens_per_s"] else "-"
        model = brief(peer["model"] or "-", _MODEL_SHOWN)
        rows.append((short(peer["peer_id"]), state, model, speed, _skills(peer["skills"])))
    connected = sum(peer["connected"] for peer in peers)
    return [*table(rows, indent=""), f"{connected} connected, {len(peers)} known; --json shows whole peer ids and addresses"]


def _skills(skills: Mapping[str, Mapping[str, Any]]) -> str:
    """Weights come from audits alone; what a peer claims is in the JSON."""
    shown = [f"{clean(name)} {row['weight']:.2f} ({audits(row['hits'], row['misses'])})" for name, row in skills.items()]
    return "; ".join(shown) or "-"
