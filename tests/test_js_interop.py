"""A daemon and a js-libp2p node, an implementation that shares no line with ours, over loopback.

The JavaScript side is tests/js; `make test` installs its packages. What it carries is made and read here.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from contrib.setup import javascript
from node.client import Client
from node.home import locate
from protocol.capability import Record
from protocol.constants import RECORD_LIFETIME_MS_MAX
from protocol.envelope import Envelope, open_envelope, seal
from protocol.identity import KeySigner, peer_id
from protocol.outbox import BEACONS, RECORDS
from protocol.parameters import preset
from tests.support import record
from tests.test_cli_run import running

PROGRAM: Final = javascript.INTEROP / "interop.js"
NODE_JS: Final = shutil.which("node")
PATIENCE_S: Final = 60
NETWORK: Final = preset("dev").network
TOPICS: Final = {topic: f"/tutti/{NETWORK.hex()[:16]}/{topic}/1" for topic in (BEACONS, RECORDS)}
# One is the node in JavaScript, which sends its record on the channel; of the other only a record exists, in gossip.
SPEAKER: Final = KeySigner(b"s" * 32)
ABSENT: Final = KeySigner(b"a" * 32)


def _missing() -> str | None:
    if NODE_JS is None:
        return "Node.js is missing: `make test` says which package to install"
    if not javascript.is_ready(javascript.INTEROP):
        return "js-libp2p is not installed: `make test` does it, or says why not"
    return None


def _sealed(signer: KeySigner, own: Record) -> bytes:
    return seal(signer, NETWORK, Record.TYPE, RECORDS, own.body(), time.time_ns() // 1_000_000, RECORD_LIFETIME_MS_MAX)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _opened(event: Mapping[str, Any]) -> Envelope:
    return open_envelope(base64.b64decode(event["data"]))


class JsNode:
    """The process of tests/js/interop.js."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._seen: list[dict[str, Any]] = []

    def event(self, name: str, kind: str | None = None) -> dict[str, Any]:
        """The first event of this name, and with an envelope of type `kind` where one is asked for."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for event in self._seen:
                if event["event"] == name and (kind is None or _opened(event).type == kind):
                    return event
            self._seen.append(json.loads(self._line()))
        raise AssertionError(f"no {name} in {self._seen}")

    def _line(self) -> bytes:
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        ready, _, _ = select.select([out], [], [], PATIENCE_S)
        line = out.readline() if ready else b""
        if not line:
            self._process.kill()
            raise AssertionError(f"nothing more after {self._seen}: {err.read().decode()[-2_000:]}")
        return line


@contextmanager
def _js_node(**wanted: object) -> Iterator[JsNode]:
    command = [str(NODE_JS), str(PROGRAM)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    with process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(wanted).encode() + b"\n")
            yield JsNode(process)
        finally:
            process.kill()


def _wait_for_peer(client: Client, signer: KeySigner) -> dict[str, Any]:
    """What the daemon knows of a peer, once it knows its record."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for row in client.get("/v1/peers")["peers"]:
            if row["peer_id"] == peer_id(signer.public_key) and row["model"] is not None:
                return dict(row)
    raise AssertionError("the daemon did not take the record")


def test_js__is_installed_where_tests_decide() -> None:
    assert os.environ.get("CI") != "true" or _missing() is None, _missing()


@pytest.mark.parametrize("directory", javascript.DIRECTORIES, ids=lambda path: path.name)
def test_js__the_lock_file_pins_contents_and_names_no_server(directory: Path) -> None:
    text = (directory / "package-lock.json").read_text()
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert "://" not in text
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    wanted = json.loads((directory / "package.json").read_text())["dependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_js__identifies_pings_speaks_on_the_channel_and_gossips_both_ways(tmp_path: Path) -> None:
    gossip = {"topic": TOPICS[RECORDS], "data": _text(_sealed(ABSENT, record("arith", available=False)))}
    with (
        running(tmp_path, "--network", "dev") as daemon,
        _js_node(
            seed=_text(b"s" * 32),
            address=daemon.ready["addresses"][0],
            topics=list(TOPICS.values()),
            frame=_text(_sealed(SPEAKER, record("lists", available=False))),
            gossip=gossip,
        ) as js,
    ):
        client = Client(locate(str(tmp_path), {}).network("dev"))
        own_id = daemon.ready["peer_id"]
        assert js.event("connected") == {
            "event": "connected",
            "peer_id": own_id,
            "encryption": "/noise",
            "multiplexer": "/yamux/1.0.0",
        }
        identified = js.event("identify")
        assert identified["peer_id"] == own_id
        assert {"/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.2.0", "/meshsub/1.1.0"} <= set(identified["protocols"])
        assert js.event("ping")["ms"] >= 0

        # The channel, both ways: its record to the daemon, the daemon's to it.
        assert peer_id(_opened(js.event("frame", "record")).sender) == own_id
        heard = _wait_for_peer(client, SPEAKER)
        assert (heard["connected"], list(heard["skills"])) == (True, ["lists"])

        # Gossip to the daemon: a record of a third party, which it believes for its signature.
        published = js.event("published")
        assert published["recipients"] == [own_id]
        assert "/meshsub/1.2.0" in published["streams"]
        passed_on = _wait_for_peer(client, ABSENT)
        assert (passed_on["connected"], list(passed_on["skills"])) == (False, ["arith"])

        # Gossip from the daemon: it is asked and looks for executors.
        assert client.post("/v1/ask", {"question": "What is 12 + 30?"}, PATIENCE_S)["outcome"] == "no bids"
        beacon = js.event("gossip", "beacon")
        assert beacon["topic"] == TOPICS[BEACONS]
        assert peer_id(_opened(beacon).sender) == own_id
        assert client.get("/v1/status")["rejected"] == {}
