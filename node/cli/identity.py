"""`tutti id`: who this node is, read from its key; no node needs to run."""

from __future__ import annotations

import argparse

from node.cli.flags import add_json, add_network
from node.cli.place import located
from node.cli.terminal import print_json
from node.errors import UserError
from node.home import load_or_create_seed
from node.networks import load
from protocol.identity import KeySigner, peer_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which network's identity, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the peer id; an identity is never made here."""
    home, config = located(args)
    file = home.network(load(config.network).directory).identity_file
    if not file.exists():
        raise UserError(f"there is no identity in {file.parent} (network {config.network}): make one with `tutti init`")
    seed, _ = load_or_create_seed(file)
    peer = peer_id(KeySigner(seed).public_key)
    if args.json:
        print_json({"peer_id": peer, "network": config.network, "identity_file": str(file)})
    else:
        print(peer)
    return 0
