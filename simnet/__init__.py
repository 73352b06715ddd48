"""The simulator: whole networks of nodes under virtual time, running the protocol code of the daemon.

    from simnet import Link, World, partition, release

As a library it is a world of hosts, links between them, and faults done to both between two runs; README has an example.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from simnet.faults import bounce, crash, hold, partition, release
    from simnet.host import Host
    from simnet.links import Link, Rule
    from simnet.running import run
    from simnet.world import World

__all__ = ["Host", "Link", "Rule", "World", "bounce", "crash", "hold", "partition", "release", "run"]

# Imported when they are first asked for: the command line need not wait for all of it to say its help.
_HOMES: Final = {
    "Host": "host",
    "Link": "links",
    "Rule": "links",
    "World": "world",
    "bounce": "faults",
    "crash": "faults",
    "hold": "faults",
    "partition": "faults",
    "release": "faults",
    "run": "running",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  one of the names above
    if name not in _HOMES:
        raise AttributeError(f"module 'simnet' has no attribute {name!r}")
    return getattr(import_module(f"simnet.{_HOMES[name]}"), name)
