"""Starts single daemons for measurements, as `tutti run` in a throw-away home."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import NoReturn

from node.dev.network import DevNode, ready, spawn, stop
from node.errors import UserError

_CONNECTED_S = 60.0
_POLL_S = 0.02


def run(work: Coroutine[None, None, int | None]) -> NoReturn:
    """Run a benchmark; what stops it is told in one line."""
    try:
        sys.exit(asyncio.run(work) or 0)
    except UserError as error:
        sys.exit(f"benchmark: {error}")


async def until_connected(node: DevNode, peers: int) -> float:
    """Wait until the node has so many peers; gives the instant on the monotonic clock. Raises `TimeoutError` after a minute."""
    async with asyncio.timeout(_CONNECTED_S):
        # Polled: only the node knows, and an event that came before anybody listened would be missed.
        while (await node.client.get("/v1/status"))["peers_connected"] < peers:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
    return time.monotonic()


@contextlib.asynccontextmanager
async def daemon(model: str, bootstrap: str | None = None) -> AsyncIterator[DevNode]:
    """A running daemon with a packaged model or "none", connected to `bootstrap` if given."""
    home = Path(tempfile.mkdtemp(prefix="tutti-bench-"))
    node = await spawn(home / "node", model, bootstrap)
    try:
        await ready(node)
        yield node
    finally:
        await stop([node])
        shutil.rmtree(home, ignore_errors=True)
