"""Where a command finds the node: the home and the settings that its flags, the environment and the file name."""

from __future__ import annotations

import argparse
import os
import shlex

from node import networks
from node.client import Client
from node.config import KEYS, Config, load
from node.home import Home, NetworkHome, locate


def located(args: argparse.Namespace) -> tuple[Home, Config]:
    """The home and the settings; nothing is created. Raises `UserError`."""
    home = locate(getattr(args, "home", None), os.environ)
    flags = {key: value for key in KEYS if (value := getattr(args, key, None)) is not None}
    return home, load(home.config_file, os.environ, flags)


def client_of(args: argparse.Namespace) -> Client:
    """A client of the node that the flags mean; raises `UserError`."""
    given = {flag: getattr(args, flag, None) for flag in ("home", "network")}
    flags = "".join(f" --{flag} {shlex.quote(value)}" for flag, value in given.items() if value is not None)
    return Client(network_home(args), f"tutti run{flags}")


def network_home(args: argparse.Namespace) -> NetworkHome:
    """The directories of the node on the chosen network; raises `UserError`."""
    home, config = located(args)
    return home.network(networks.load(config.network).directory)
