"""An asynchronous client of one node's API, for the developer network and its measurements."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from node.errors import UserError

# An answer may take a task's whole deadline.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=150)


class NodeClient:
    """Speaks to the node whose api.json it is given."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._base = ""

    def open(self, file: Path) -> None:
        """Read the port and the token."""
        api = json.loads(file.read_bytes())
        self._base = f"http://127.0.0.1:{api['port']}"
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {api['token']}"}, timeout=_TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON object; raises `UserError` with the node's reason."""
        return await self._call("GET", path, None)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """As `get`, with a JSON body."""
        return await self._call("POST", path, body or {})

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What happens in the node from now on."""
        async with self._open_session().get(f"{self._base}/v1/events") as response:
            async for line in response.content:
                yield json.loads(line)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise UserError("the node has not started yet")
        return self._session

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            async with self._open_session().request(method, self._base + path, json=body) as response:
                value: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, json.JSONDecodeError) as error:
            raise UserError(f"the node at {self._base} does not answer: {type(error).__name__}") from error
        if response.status != HTTPStatus.OK:
            raise UserError(str(value.get("error", f"the node answered with status {response.status}")))
        return value
