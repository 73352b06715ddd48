"""A node behind its API, with a real core and store and no network, for the tests of the commands that speak to one."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession

from node import logs
from node.api import Api
from node.cli import main
from node.config import Config
from node.daemon import Running
from node.engine import Engine
from node.events import EventStream
from node.executor import Executor
from node.store import Store
from node.transport import Transport
from protocol.allowance import Caps
from protocol.core import Core
from protocol.identity import KeySigner
from protocol.outbox import TOPICS
from tests.core_bench import STRANGER
from tests.support import PARAMETERS, REQUIREMENT_MAP, record

PATIENCE_S = 30


class Loopback:
    """A transport with one peer, on which nothing arrives."""

    def peers(self) -> list[bytes]:
        return [STRANGER.public_key]

    def addresses(self) -> list[str]:
        return ["/ip4/127.0.0.1/tcp/4101"]

    def counters(self) -> Mapping[str, int]:
        return {}

    async def send(self, peer: bytes, data: bytes) -> None: ...

    async def publish(self, topic: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class Served:
    """A node behind its API; `home` is what --home names."""

    node: Running
    home: Path
    session: ClientSession
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def api(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", json.loads((self.home / "local" / "api.json").read_text()))

    async def call(self, method: str, path: str, data: bytes | None = None) -> tuple[int, Mapping[str, Any]]:
        headers = {"Authorization": f"Bearer {self.api['token']}"}
        async with self.session.request(
            method, f"http://127.0.0.1:{self.api['port']}{path}", headers=headers, data=data
        ) as reply:
            assert reply.content_type == "application/json"
            return reply.status, await reply.json()

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, end, and give all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.api["port"])
        writer.write(data)
        writer.write_eof()
        reply = await reader.read()
        writer.close()
        return reply

    async def tutti(self, *argv: str) -> int:
        return await asyncio.to_thread(main, [*argv, "--home", str(self.home)])


@asynccontextmanager
async def served(home: Path, caps: Caps) -> AsyncIterator[Served]:
    (home / "local").mkdir(parents=True, exist_ok=True)
    log = io.StringIO()
    logs.configure("debug", log)
    store, transport, events = Store(home / "local" / "node.sqlite"), cast("Transport", Loopback()), EventStream()
    own = record("arith", available=True)
    core = Core(KeySigner(b"\x05" * 32), PARAMETERS, own, secrets.token_bytes, store.rows(), REQUIREMENT_MAP, caps)
    executor = Executor(
        core, transport, cast("Engine", None), store, {topic: topic for topic in TOPICS}, events.emit, lambda _: None
    )
    loop = asyncio.get_running_loop()
    node = Running(Config(), executor, transport, None, PARAMETERS, events, loop.time(), loop.create_future())
    async with asyncio.timeout(PATIENCE_S), ClientSession() as session:
        executor.start()
        async with Api(node, home / "local" / "api.json", 0).serving():
            yield Served(node, home, session, log)
        await executor.close()
        store.close()


Check = Callable[[Served], Awaitable[None]]


def with_node(home: Path, check: Check, caps: Caps = Caps()) -> None:  # noqa: B008  frozen
    async def work() -> None:
        async with served(home, caps) as node:
            await check(node)

    asyncio.run(work())
