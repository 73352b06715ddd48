"""A thousand connections to one daemon, from one address: one after the other, at once without a word, at once in full.

    python -m contrib.bench.connections [COUNT]

After each, twenty honest peers connect, from another address and from that one; each has a fresh key and one attempt. Exit
code 1 if one of them was refused or the daemon kept a descriptor. Linux only: it reads /proc and needs several loopback
addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import ID as PING_ID

from contrib.bench.processes import run
from contrib.bench.resources import status_kb
from node.dev.homes import temporary_home
from node.dev.network import DevNode, ready, spawn, stop
from tests.attack import in_trio
from tests.hostile import connected

_COUNT = 1_000
_HONEST = 20
_CROWD, _ELSEWHERE = "127.0.0.66", "127.0.0.77"
_TIMEOUT_S = 30
_SETTLE_S = 15
_REFUSED = (BaseLibp2pError, OSError, trio.TooSlowError)


async def visit(address: str, source: str) -> bool:
    """Whether a peer with a fresh key could connect."""
    try:
        with trio.fail_after(_TIMEOUT_S):
            async with connected(address, source=source) as visitor:
                await visitor.stream(PING_ID)
                return True
    except _REFUSED:
        return False


async def sequential(address: str, count: int) -> int:
    """Connect and go, one after the other; how many got in."""
    return sum([await visit(address, _CROWD) for _ in range(count)])


async def at_once(address: str, count: int) -> int:
    """Connect in full at once; how many got in."""
    inside: list[bool] = []

    async def one() -> None:
        inside.append(await visit(address, _CROWD))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return sum(inside)


async def half_open(address: str, count: int) -> int:
    """Connect and say nothing, also while honest peers come; no one gets in."""
    host, port = address.split("/")[2:5:2]
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            stream = await trio.open_tcp_stream(host, int(port), local_address=_CROWD)
            await stack.enter_async_context(stream)
        refused = await honest(address, _ELSEWHERE)
        if refused:
            raise SystemExit(f"{refused} of {_HONEST} honest peers were refused while {count} connections were half open")
    return 0


async def _warm_up(address: str) -> None:
    """Load what the first peers need."""
    await honest(address, _ELSEWHERE)


async def honest(address: str, source: str) -> int:
    """How many of some honest peers were refused."""
    return _HONEST - sum([await visit(address, source) for _ in range(_HONEST)])


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _phase(node: DevNode, name: str, crowd: Callable[[str, int], Awaitable[int]], count: int) -> bool:
    pid, address = node.process.pid, node.addresses[0]
    fds, rss_kb, began = _descriptors(pid), status_kb(pid, "VmRSS"), time.monotonic()
    figures: dict[str, int] = {}

    async def main() -> None:
        figures["inside"] = await crowd(address, count)
        figures["elsewhere"] = await honest(address, _ELSEWHERE)
        figures["same"] = await honest(address, _CROWD)

    await in_trio(main)
    took_s = time.monotonic() - began
    for _ in range(_SETTLE_S):
        left = _descriptors(pid) - fds
        if left <= 0:
            break
        await asyncio.sleep(1)
    grown = (status_kb(pid, "VmRSS") - rss_kb) / 1000
    print(
        f"{name:<24}{figures['inside']:>8}{took_s:>8.1f}{figures['elsewhere']:>12}{figures['same']:>12}"
        f"{fds:>8}{fds + left:>8}{rss_kb / 1000:>10.1f}{grown:>+8.1f}"
    )
    return not (figures["elsewhere"] or figures["same"] or left > 0)


async def main(count: int) -> int:
    """Print the table; 1 if a bound is broken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * count + 200  # a peer of ours has a socket and two descriptors of its host
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted if hard < 0 else min(wanted, hard)), hard))
    print(f"{count} connections from one address; {_HONEST} honest peers after each, from another address and from that one")
    print(f"{'':<24}{'inside':>8}{'s':>8}{'refused':>12}{'refused':>12}{'fds':>8}{'fds':>8}{'RSS MB':>10}{'RSS':>8}")
    print(f"{'':<24}{'':>8}{'':>8}{'elsewhere':>12}{'same':>12}{'before':>8}{'after':>8}{'before':>10}{'growth':>8}")
    with temporary_home() as home:
        flags = ["--network", "local", "--listen", "/ip4/127.0.0.1/tcp/0", "--api-port", "0"]
        node = await spawn(home / "node", "none", flags=flags)
        try:
            await ready(node)
            await in_trio(partial(_warm_up, node.addresses[0]))
            held = [
                await _phase(node, "one after the other", sequential, count),
                await _phase(node, "at once, half open", half_open, count),
                await _phase(node, "at once, in full", at_once, count),
            ]
        finally:
            await stop([node])
    return 0 if all(held) else 1


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _COUNT))
