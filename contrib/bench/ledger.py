"""What a ledger costs: to verify and load it, to write to it, and to catch up with one.

    python -m contrib.bench.ledger [ENTRIES] [APART]

ENTRIES (100,000) are verified as a stranger's file would be, every signature and link; then loaded as a node that starts does,
which checks every id and the last signature. APART (10,000) entries are what one of two real daemons holds of its own when the
other connects to it over loopback.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from node.dev.network import DevNode, ready, spawn, stop
from node.dev.statistics import percentile
from node.home import NetworkHome, load_or_create_seed
from node.ledgers import check
from node.store import Store
from protocol.canonical import Value
from protocol.capability import Record
from protocol.chain import Chain
from protocol.core import Core
from protocol.events import Instant, Persist, TimerFired
from protocol.identity import KeySigner
from protocol.ledger import SNAPSHOT, START, Entry, is_snapshot, make_entry
from protocol.own_ledger import TABLE, key_of
from protocol.parameters import preset

_ENTRIES = 100_000
_APART = 10_000
_WRITES = 200
_LOOK_S = 0.1
_PATIENCE_S = 120.0
_WALL_MS = 1_700_000_000_000
_NOBODY = Record(0, {}, "", 0, "", "", 0, 0, 1, available=False, addresses=())


def main(entries: int, apart: int) -> int:
    """Print the figures; 1 if a ledger did not hold, or the nodes did not agree in time."""
    home = Path(tempfile.mkdtemp(prefix="tutti-bench-"))
    try:
        signer = KeySigner(b"\x01" * 32)
        written = list(_ledger(signer, entries))
        begun = time.monotonic()
        verdict = check([entry.data for entry in written], preset("dev").network)
        print(f"verified {verdict.count} entries, each signature and link, in {time.monotonic() - begun:.1f} s", flush=True)
        loaded = _load(home / "load.sqlite", signer, written)
        _write(home / "write.sqlite", written)
        apart_s = asyncio.run(_converge(home, apart))
        if apart_s is not None:
            print(f"two nodes {apart} entries apart agreed {apart_s:.1f} s after the second one was ready")
        return 0 if verdict.reason is None and loaded == entries and apart_s is not None else 1
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _ledger(signer: KeySigner, count: int) -> Iterator[Entry]:
    """Beacons, as a node that asks writes them, with the snapshots that belong between them."""
    chain = Chain()
    for number in range(count):
        if number == 0:
            entry = _made(signer, chain, START, {"recovery": bytes(32), "succession": b""})
        elif is_snapshot(number):
            entry = _made(signer, chain, SNAPSHOT, chain.summary.body())
        else:
            entry = _made(signer, chain, "beacon", {"beacon": number.to_bytes(32, "big")})
        chain.add(entry)
        yield entry


def _made(signer: KeySigner, chain: Chain, kind: str, body: dict[str, Value]) -> Entry:
    return make_entry(signer, preset("dev").network, chain.head, kind, body, _WALL_MS)


def _load(path: Path, signer: KeySigner, entries: list[Entry]) -> int:
    store = Store(path)
    store.write([Persist(TABLE, key_of(entry.number), entry.data) for entry in entries])
    begun = time.monotonic()
    core = Core(signer, preset("dev"), _NOBODY, secrets.token_bytes, store.rows())
    core.step(TimerFired(), Instant(0, _WALL_MS))
    print(f"loaded {len(core.ledger.chain)} entries at a start in {time.monotonic() - begun:.1f} s", flush=True)
    store.close()
    return len(core.ledger.chain)


def _write(path: Path, entries: list[Entry]) -> None:
    store, spent = Store(path), []
    for entry in entries[:_WRITES]:
        begun = time.monotonic()
        store.write([Persist(TABLE, key_of(entry.number), entry.data)])
        spent.append(1_000 * (time.monotonic() - begun))
    store.close()
    print(f"a step with rows on disk: p50 {percentile(spent, 0.5):.1f} ms, p99 {percentile(spent, 0.99):.1f} ms", flush=True)


async def _converge(home: Path, apart: int) -> float | None:
    """Seconds from the second node being ready to its holding all entries of the first; None if it never did."""
    place = NetworkHome(home / "first" / "dev", home / "first" / "dev")
    place.create()
    signer = KeySigner(load_or_create_seed(place.identity_file)[0])
    store = Store(place.database_file)
    store.write([Persist(TABLE, key_of(entry.number), entry.data) for entry in _ledger(signer, apart)])
    store.close()
    running: list[DevNode] = []
    try:
        first = await _begin(home / "first", None, running)
        second = await _begin(home / "second", first.addresses[0], running)
        begun = time.monotonic()
        while time.monotonic() - begun < _PATIENCE_S:
            listed = await second.client.get("/v1/ledger")
            held = {row["author"]: row["first"] + row["count"] for row in listed["ledgers"]}
            if held.get(signer.public_key.hex(), 0) >= apart:
                return time.monotonic() - begun
            await asyncio.sleep(_LOOK_S)
        return None
    finally:
        await stop(running)


async def _begin(home: Path, bootstrap: str | None, running: list[DevNode]) -> DevNode:
    node = await spawn(home, "none", bootstrap)
    running.append(node)
    await ready(node)
    return node


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else _ENTRIES, given[1] if len(given) > 1 else _APART))
