"""What an attack is: something that goes on against one node, over the network alone, until it is cancelled.

The tables are in tests/attack_wire.py (bytes below the envelope) and tests/attack_protocol.py (envelopes). Attackers know of a
node what any stranger knows, so they run in a process of their own, and contrib/bench/attacks.py can time the victim.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio


@dataclass(frozen=True)
class Target:
    """A node as a stranger sees it. `peer` is its 32-byte public key, `network` the 32-byte network id."""

    host: str
    port: int
    peer_id: str
    peer: bytes
    network: bytes

    @property
    def address(self) -> str:
        """Where to dial it."""
        kind = "ip6" if ":" in self.host else "ip4"
        return f"/{kind}/{self.host}/tcp/{self.port}/p2p/{self.peer_id}"


@dataclass(frozen=True)
class Attack:
    """`run` attacks until it is cancelled, in an asyncio loop, with a third of a core at most, and leaves nothing behind."""

    name: str
    run: Callable[[Target], Awaitable[None]]


async def in_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` under trio in a thread, as libp2p needs it; cancelled with the caller, who waits until it has ended."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = loop.create_future()

    async def scoped() -> None:
        with trio.CancelScope() as scope:
            loop.call_soon_threadsafe(started.set_result, (trio.lowlevel.current_trio_token(), scope))
            await main()

    thread = asyncio.create_task(asyncio.to_thread(trio.run, scoped))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        token, scope = await started
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(scope.cancel)
        await thread
        raise
