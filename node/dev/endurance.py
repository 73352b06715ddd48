"""Whether a developer network stayed whole: nothing restarted, no connection ended, and no message lost.

A message that had to arrive is one of two kinds. Each message from one node to another (bid, acknowledgement, award,
accept, progress, decline, result, cancel) must have been taken by its recipient, so over all nodes as many of each type
were received as sent; no copy counts, because a replayed envelope is refused. Each beacon must have been taken by every
other node.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.dev.network import DevNode

BEACON = "beacon"
# Counters of the transport that say that a queue or a rate limit threw something away. Frames are never dropped: a channel
# that brings too many is read more slowly.
DROPS = ("gossip_dropped_in", "gossip_dropped_out", "gossip_over_rate")
# What is under way at the end of the last question (a cancelled seat, the end of an audit) needs a moment.
_SETTLE_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one node since it started. `memory_kb` is resident, its model's process included; 0 if unknown."""

    alive: bool
    restarts: int = 0
    peers_lost: int = 0
    sent: Mapping[str, int] = field(default_factory=dict)
    received: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    memory_kb: int = 0


async def snapshots(nodes: Sequence[DevNode]) -> list[Snapshot]:
    """One for each node, in their order."""
    return [await _snapshot(node) for node in nodes]


async def settled(nodes: Sequence[DevNode]) -> list[Snapshot]:
    """Snapshots once nothing is missing any more, or of what is still missing after some seconds."""
    end = asyncio.get_running_loop().time() + _SETTLE_S
    while True:
        found = await snapshots(nodes)
        if not missing(found) or asyncio.get_running_loop().time() > end:
            return found
        await asyncio.sleep(_POLL_S)


async def _snapshot(node: DevNode) -> Snapshot:
    if node.process.returncode is not None:
        return Snapshot(alive=False)
    status = await node.client.get("/v1/status")
    transport, model = status["transport"], status["model"]
    pids = [node.process.pid, *([model["pid"]] if model is not None and model["pid"] else [])]
    return Snapshot(
        alive=True,
        restarts=transport.get("restarts", 0) + (model["restarts"] if model is not None else 0),
        peers_lost=status["peers_lost"],
        sent=status["messages"]["sent"],
        received=status["messages"]["received"],
        dropped=sum(transport.get(name, 0) for name in DROPS),
        memory_kb=sum(_resident_kb(pid) for pid in pids),
    )


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def expected(nodes: Sequence[Snapshot]) -> Counter[str]:
    """How many messages of each type had to arrive: a beacon at every node but its sender, others at one."""
    total: Counter[str] = Counter()
    for node in nodes:
        for kind, count in node.sent.items():
            total[kind] += count * (len(nodes) - 1) if kind == BEACON else count
    return total


def missing(nodes: Sequence[Snapshot]) -> dict[str, int]:
    """Messages that had to arrive and did not, by type."""
    arrived = Counter[str]()
    for node in nodes:
        arrived.update(node.received)
    return {kind: count - arrived[kind] for kind, count in sorted(expected(nodes).items()) if count != arrived[kind]}


def verdict(before: Sequence[Snapshot], after: Sequence[Snapshot], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What happened between two moments, for the report; `whole` says that nothing was lost."""
    answered = sum(row["outcome"] == "answered" for row in rows)
    growth_kb = [late.memory_kb - early.memory_kb for early, late in zip(before, after, strict=True)]
    found = {
        "questions": len(rows),
        "answered": answered,
        "nodes": len(after),
        "alive": sum(node.alive for node in after),
        "restarts": sum(node.restarts for node in after),
        "connections_lost": sum(
            late.peers_lost - early.peers_lost for early, late in zip(before, after, strict=True) if late.alive
        ),
        "messages": sum(expected(after).values()),
        "missing": missing(after),
        "dropped": sum(node.dropped for node in after),
        "memory_kb": sum(node.memory_kb for node in after),
        "memory_growth_kb": sum(growth_kb),
        "memory_growth_kb_max": max(growth_kb),
    }
    whole = answered == len(rows) and found["alive"] == len(after) and not found["missing"]
    return {**found, "whole": whole and not (found["restarts"] or found["connections_lost"] or found["dropped"])}
