"""Starts single daemons for measurements, as `tutti run` in a throw-away home."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import NoReturn

from node.dev.network import DevNode, ready, spawn, stop
from node.errors import UserError


def run(work: Coroutine[None, None, int | None]) -> NoReturn:
    """Run a benchmark; what stops it is told in one line."""
    try:
        sys.exit(asyncio.run(work) or 0)
    except UserError as error:
        sys.exit(f"benchmark: {error}")


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
