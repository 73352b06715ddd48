"""`tutti version`: what this is, what it speaks and what it stands on."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Final

from node.cli.flags import add_json
from node.cli.terminal import print_json, print_lines, table

# Written out, for importing the modules that define them takes a second; a test holds them together.
PROTOCOLS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "envelope": "tutti/envelope/1",
        "channel": "/tutti/<network>/channel/1",
        "topics": "/tutti/<network>/<topic>/1",
        "api": "/v1",
    }
)
DISTRIBUTION: Final = "tutti-network"
LIBRARIES: Final = ("llama-cpp-python", "libp2p")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to print it."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the versions, read from the installed packages' metadata."""
    version = version_of(DISTRIBUTION)
    libraries = {name: version_of(name) for name in LIBRARIES}
    if args.json:
        print_json(
            {"version": version, "protocols": dict(PROTOCOLS), "python": platform.python_version(), "libraries": libraries}
        )
        return 0
    rows = [
        *PROTOCOLS.items(),
        ("python", platform.python_version()),
        *((name, found or "not installed") for name, found in libraries.items()),
    ]
    print_lines([f"tutti {version or '(not installed as a package)'}", *table(rows)])
    return 0


def version_of(distribution: str) -> str | None:
    """The installed version, None without one."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
