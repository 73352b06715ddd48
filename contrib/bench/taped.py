"""Networks of daemons that write tapes: what went into each core, to be gone through again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.dev.network import DevNode, met, ready, spawn


async def begin(home: Path, role: str, tape: Path, bootstrap: str | None) -> DevNode:
    """Start a node of a role in a home, with a new tape, and wait until it is ready; raises `UserError`."""
    node = await spawn(home, role, bootstrap, flags=["--tape", str(tape)])
    await ready(node)
    return node


async def begin_all(place: Path, of_roles: Sequence[str], nodes: list[DevNode]) -> None:
    """Start nodes of these roles, one after the other, and wait until all are connected to all.

    Homes and tapes stand in `place`, both called by number and role. Nodes that were started are in `nodes`, whatever follows.
    """
    for number, role in enumerate(of_roles):
        name = f"{number}-{role}"
        bootstrap = nodes[0].addresses[0] if nodes else None
        nodes.append(await begin(place / name, role, place / f"{name}.tape", bootstrap))
    await met(nodes)
