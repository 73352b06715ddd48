"""Where a command finds the node: the home and the settings that its flags, the environment and the file name."""

from __future__ import annotations

import argparse
import os

from node import networks
from node.config import KEYS, Config, load
from node.home import Home, NetworkHome, locate


def located(args: argparse.Namespace) -> tuple[Home, Config]:
    """The home and the settings; nothing is created. Raises `UserError`."""
    home = locate(getattr(args, "home", None), os.environ)
    flags = {key: value for key in KEYS if (value := getattr(args, key, None)) is not None}
    return home, load(home.config_file, os.environ, flags)


def network_home(args: argparse.Namespace) -> NetworkHome:
    """The directories of the node on the chosen network; raises `UserError`."""
    home, config = located(args)
    return home.network(networks.load(config.network).directory)
