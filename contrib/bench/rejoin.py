"""A node that ran before finds its network again with every bootstrap dead.

    python -m contrib.bench.rejoin [TIMES]

A network of daemons meets through one bootstrap and another node joins it. That node is stopped, the bootstrap killed, and
the node starts again and again from its home, with the dead bootstrap as the only address that it is given: whom it finds, it
finds by its saved peers. It listens on another port each time, so nobody can find it first.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from contrib.bench.processes import run, until_connected
from node.dev.network import DevNode, ready, spawn, stop
from node.dev.statistics import percentile
from protocol.constants import PEER_SAVE_DELAY_MS

_TIMES = 50
_PEERS = 4


async def main(times: int) -> int:
    """Print a line a start and the percentiles; 1 if any start did not find all peers again."""
    home = Path(tempfile.mkdtemp(prefix="tutti-bench-"))
    running: list[DevNode] = []
    try:
        bootstrap = await _begin(home / "bootstrap", None, running)
        for number in range(_PEERS):
            await _begin(home / f"peer{number}", bootstrap.addresses[0], running)
        first = await _begin(home / "node", bootstrap.addresses[0], running)
        await until_connected(first, _PEERS + 1)
        await asyncio.sleep(2 * PEER_SAVE_DELAY_MS / 1_000)
        await _end(first, running)
        bootstrap.process.kill()
        await _end(bootstrap, running)
        return await _rejoin(home / "node", bootstrap.addresses[0], running, times)
    finally:
        await stop(running)
        shutil.rmtree(home, ignore_errors=True)


async def _rejoin(home: Path, dead: str, running: list[DevNode], times: int) -> int:
    one: list[float] = []
    every: list[float] = []
    for number in range(times):
        begun = time.monotonic()
        node = await _begin(home, dead, running)
        try:
            one.append(await until_connected(node, 1) - begun)
            every.append(await until_connected(node, _PEERS) - begun)
            print(f"{number + 1}: first peer after {one[-1]:.2f} s, all {_PEERS} after {every[-1]:.2f} s", flush=True)
        except TimeoutError:
            print(f"{number + 1}: not all peers within a minute", flush=True)
        await _end(node, running)
    print(f"rejoined: {len(every)} of {times}, {_PEERS} peers, their bootstrap dead")
    for name, values in (("first peer", one), ("all peers", every)):
        if values:
            print(f"{name}: p50 {percentile(values, 0.5):.2f} s, slowest {max(values):.2f} s after the start of the process")
    return 0 if len(every) == times else 1


async def _begin(home: Path, bootstrap: str | None, running: list[DevNode]) -> DevNode:
    node = await spawn(home, "none", bootstrap)
    running.append(node)
    await ready(node)
    return node


async def _end(node: DevNode, running: list[DevNode]) -> None:
    await stop([node])
    running.remove(node)


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _TIMES))
