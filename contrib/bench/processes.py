"""Starts single daemons for measurements, as `tutti run` in a throw-away home."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from node.dev.network import DevNode, ready, spawn, stop


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
