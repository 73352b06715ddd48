"""A flood leaves everything else its turn."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from node.dev.client import NodeClient
from node.libp2p_transport import Libp2pTransport
from protocol.envelope import seal
from protocol.identity import KeySigner
from protocol.messages import Award
from protocol.parameters import preset

_TIMEOUT_S = 60
_FLOOD = 500


def _award(number: int) -> Award:
    return Award(number.to_bytes(16, "big"), 0, 0, bytes(32), bytes(32), bytes(32), 0, bytes(32), "x", 6_000, 0)


async def _flood(address: str, api: Path, started_ms: int) -> dict[str, object]:
    """Send signed, well-formed awards of bids that nobody made, as fast as the wire takes them, and ask for the status."""
    signer = KeySigner(b"\x07" * 32)
    transport = Libp2pTransport(b"\x07" * 32, [], network=preset("dev").network)
    client = NodeClient()
    client.open(api)
    await transport.start()
    try:
        target = await transport.dial(address)
        issued_ms = started_ms
        flood = [
            seal(signer, preset("dev").network, "award", target, _award(number).body(), issued_ms + number % 1_000, 60_000)
            for number in range(_FLOOD)
        ]
        for data in flood:
            await transport.send(target, data)
        # The frames are still on their way when the last was taken; bounded by the caller's timeout.
        while True:
            status = await client.get("/v1/status")
            if status["rejected"].get("unknown"):
                return status
    finally:
        await transport.close()
        await client.close()


def test_flood_of_made_up_awards__leaves_the_node_alive_and_its_owner_heard(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "run", "--home", str(tmp_path), "--network", "dev", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdout is not None
        try:
            ready = json.loads(node.stdout.readline())
            api = Path(ready["api"])
            started_ms = int(api.stat().st_mtime * 1_000)

            async def bounded() -> dict[str, object]:
                async with asyncio.timeout(_TIMEOUT_S):
                    return await _flood(ready["addresses"][0], api, started_ms)

            status = asyncio.run(bounded())
            assert node.poll() is None
            rejected, transport = status["rejected"], status["transport"]
            assert isinstance(rejected, dict)
            assert isinstance(transport, dict)
            assert rejected["unknown"] > 0
            # Nothing was answered: a reply for each would have let the flood fill our own queue. What leaves are the own
            # record and the head of the own ledger, each again if it changed meanwhile.
            assert transport["channel_messages_out"] <= 4
        finally:
            node.send_signal(signal.SIGTERM)
            assert node.wait(_TIMEOUT_S) == 0
