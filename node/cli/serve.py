"""A node in this process, from its first message to its last; imports everything, so nothing else imports this early."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shlex
import signal
from pathlib import Path

from node.cli.guard import say
from node.cli.run import WrapEngine
from node.config import Config
from node.daemon import Running, running
from node.errors import ExitCode
from node.home import NetworkHome, load_or_create_seed
from node.keys import recovery_key
from protocol.identity import peer_id

_log = logging.getLogger(__name__)


async def serve(home: NetworkHome, config: Config, wrap: WrapEngine | None, *, as_json: bool, tape: Path | None = None) -> None:
    """Start the node, tell that it is ready, and return once it was stopped; raises `UserError` if it fails."""
    # What the imports made lives as long as the process: without this every full collection walks it, for up to half a
    # second on a busy machine, and the node stands still meanwhile.
    gc.freeze()
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, stop)
    home.create()
    fresh = load_or_create_seed(home.identity_file)[1]
    if fresh:
        say(f"made a new identity in {home.identity_file}; keep that file, it holds the trust this node will earn")
    if recovery_key(home)[1]:
        say(f"made its recovery key in {home.recovery_file}; keep it elsewhere: it names the next identity if this one is lost")
    say("questions that you ask can be read by the nodes that answer them, and this node reads those it answers")
    work = asyncio.create_task(_work(home, config, wrap, tape, fresh=fresh, as_json=as_json))
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        _log.info("stopping")
        work.cancel()
        await asyncio.wait({work})
    if not work.cancelled():
        work.result()


def _end(stop: asyncio.Future[None]) -> None:
    if stop.done():
        os._exit(ExitCode.FAILED)  # a second Ctrl-C: somebody does not want to wait for an orderly end
    stop.set_result(None)


async def _work(
    home: NetworkHome, config: Config, wrap: WrapEngine | None, tape: Path | None, *, fresh: bool, as_json: bool
) -> None:
    async with running(home, config, wrap, fresh=fresh, tape=tape) as node:
        _tell_ready(node, home, as_json=as_json)
        raise await node.failed


def _tell_ready(node: Running, home: NetworkHome, *, as_json: bool) -> None:
    peer, addresses = peer_id(node.peer), node.transport.addresses()
    for address in addresses:
        _log.info("listening", extra={"fields": {"address": address}})
    _log.info("ready", extra={"fields": {"network": home.data.name, "peer": peer, "path": str(home.api_file)}})
    if node.executor.core.availability.paused:
        say("this node is paused and takes no work: `tutti resume` ends that")
    if addresses:
        say(f"another node joins with: tutti run --network {shlex.quote(node.config.network)} --bootstrap {addresses[0]}")
    if as_json:
        print(json.dumps({"event": "ready", "peer_id": peer, "addresses": addresses, "api": str(home.api_file)}), flush=True)
