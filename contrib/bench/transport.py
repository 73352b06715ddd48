"""What the transport does on this machine: round trips on the channel, the stream-per-request baseline, gossip.

    python contrib/bench/transport.py [--round-trips 1000] [--nodes 5] [--messages 500] [--rate 100]

Every node is a process of its own. One line per figure; latencies in milliseconds. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.libp2p_guards import GuardedManager
from node.libp2p_stack import build_host
from node.libp2p_swarm import GuardedHost
from node.libp2p_transport import Libp2pTransport
from node.limits import Limits, Rate
from node.transport import FrameReceived, GossipReceived, PeerConnected
from protocol.identity import KeySigner, peer_id
from protocol.verdict import Verdict

LISTEN = "/ip4/127.0.0.1/tcp/0"
ECHO = TProtocol("/bench/echo/1")
TOPIC = "/bench/1"
NETWORK = bytes(32)
# What the machine can do, not what a stranger may.
_ANY = Rate(1 << 40, 1 << 40)
FREE = Limits(
    work_per_peer=_ANY,
    frames_per_peer=_ANY,
    gossip_per_peer=_ANY,
    gossip_served_per_peer=_ANY,
    exempt_loopback=True,
)
PAYLOAD = 100
IN_FLIGHT = 32
GOSSIP_PAYLOAD = 500


def seed(number: int) -> bytes:
    """A different identity for each number."""
    return number.to_bytes(32, "big")


def percentile(values: list[float], part: float) -> float:
    """The value below which `part` of the values lie, in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] * 1000


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The script again, in another process, with stdin and stdout as lines; ended at the end."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def echo_frames() -> None:
    """Child: send every frame back."""
    transport = Libp2pTransport(seed(2), [LISTEN], network=NETWORK, limits=FREE)
    await transport.start()
    print(transport.addresses()[0], flush=True)
    while True:
        event = await transport.receive()
        if isinstance(event, FrameReceived):
            await transport.send(event.peer, event.data)


async def measure_channel(address: str, count: int) -> dict[str, float]:
    """Round trips one after the other, then with `IN_FLIGHT` at once."""
    transport = Libp2pTransport(seed(1), [], network=NETWORK, limits=FREE)
    await transport.start()
    begin = time.perf_counter()
    peer = await transport.dial(address)
    figures = {"dial_ms": (time.perf_counter() - begin) * 1000}

    async def reply() -> None:
        while not isinstance(await transport.receive(), FrameReceived):
            pass

    latencies: list[float] = []
    begin = time.perf_counter()
    for _ in range(count):
        sent = time.perf_counter()
        await transport.send(peer, bytes(PAYLOAD))
        await reply()
        latencies.append(time.perf_counter() - sent)
    figures["round_trips_per_s"] = count / (time.perf_counter() - begin)
    figures["p50_ms"], figures["p99_ms"] = percentile(latencies, 0.5), percentile(latencies, 0.99)

    begin = time.perf_counter()
    for number in range(count + IN_FLIGHT):
        if number < count:
            await transport.send(peer, bytes(PAYLOAD))
        if number >= IN_FLIGHT:
            await reply()
    figures["pipelined_per_s"] = count / (time.perf_counter() - begin)
    await transport.close()
    return figures


async def run_plain_host(number: int, use: Callable[[GuardedHost], Awaitable[None]]) -> None:
    """A host without channels or gossip, for the baseline."""
    host = build_host(create_new_key_pair(seed(number)), FREE, Counter())
    async with trio.open_nursery() as nursery:
        manager = GuardedManager(host.swarm, Counter())
        nursery.start_soon(manager.run)
        await manager.wait_started()
        await use(host)
        nursery.cancel_scope.cancel()


async def echo_streams() -> None:
    """Child: answer one request on each stream."""

    async def answer(stream: INetStream) -> None:
        await stream.write(await stream.read(PAYLOAD))
        await stream.close()

    async def use(host: GuardedHost) -> None:
        host.set_stream_handler(ECHO, answer)
        (bound,) = await host.swarm.listen_on(Multiaddr(LISTEN))
        print(bound, flush=True)
        await trio.sleep_forever()

    await run_plain_host(4, use)


def measure_streams(address: str, count: int) -> dict[str, float]:
    """A new stream for each request, one after the other."""
    latencies: list[float] = []

    async def use(host: GuardedHost) -> None:
        peer = ID.from_base58(peer_id(KeySigner(seed(4)).public_key))
        await host.swarm.dial_addr(Multiaddr(address), peer)
        for _ in range(count):
            begin = time.perf_counter()
            stream = await host.new_stream(peer, [ECHO])
            await stream.write(bytes(PAYLOAD))
            await stream.read(PAYLOAD)
            await stream.close()
            latencies.append(time.perf_counter() - begin)

    trio.run(run_plain_host, 3, use)
    return {
        "round_trips_per_s": count / sum(latencies),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
    }


async def gossip_node(number: int, addresses: list[str], messages: int) -> None:
    """Child: join everybody named, receive `messages` messages, print when each came."""
    transport = Libp2pTransport(seed(number), [LISTEN], network=NETWORK, limits=FREE)
    transport.subscribe(TOPIC, lambda _: Verdict.ACCEPT)
    await transport.start()
    for address in addresses:
        await transport.dial(address)
    print(transport.addresses()[0], flush=True)
    delays: list[float] = []
    while len(delays) < messages:
        event = await transport.receive()
        if isinstance(event, GossipReceived):
            delays.append(time.monotonic() - float(event.data[:32]))
    print(json.dumps({"delays": delays, "counters": dict(transport.counters())}), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # goes on forwarding until the parent has all reports
    await transport.close()


async def measure_gossip(nodes: int, messages: int, rate: int) -> dict[str, float]:
    """Publish from one node of a full mesh; delays over all other nodes."""
    publisher = Libp2pTransport(seed(100), [LISTEN], network=NETWORK, limits=FREE)
    publisher.subscribe(TOPIC, lambda _: Verdict.ACCEPT)
    await publisher.start()
    addresses = publisher.addresses()
    with ExitStack() as stack:
        others = []
        for number in range(1, nodes):
            process = stack.enter_context(child("--gossip-node", str(100 + number), str(messages), *addresses))
            others.append(process)
            addresses.append(line_of(process))
        connected = 0
        while connected < nodes - 1:
            connected += isinstance(await publisher.receive(), PeerConnected)
        begin = time.monotonic()
        for number in range(messages):
            await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
            await publisher.publish(TOPIC, f"{time.monotonic():.9f}".ljust(32).encode() + number.to_bytes(GOSSIP_PAYLOAD))
        delays: list[float] = []
        copies = 0
        for process in others:
            report = json.loads(await asyncio.wait_for(asyncio.to_thread(line_of, process), 30))
            delays += report["delays"]
            copies += report["counters"].get("gossip_copies", 0)
    await publisher.close()
    return {
        "delivered_share": len(delays) / (messages * (nodes - 1)),
        "copies_per_message": copies / len(delays),
        "p50_ms": percentile(delays, 0.5),
        "p99_ms": percentile(delays, 0.99),
    }


def show(title: str, figures: dict[str, float]) -> None:
    """One line."""
    print(f"{title:32}" + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)


def main() -> None:
    """Run all three, or one child's part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trips", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--rate", type=int, default=100, help="messages a second")
    parser.add_argument("--echo-frames", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--echo-streams", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--gossip-node", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    gc.freeze()  # as the daemon does: a full collection would walk all of libp2p, 100 ms in which nothing moves
    if options.echo_frames:
        asyncio.run(echo_frames())
    elif options.echo_streams:
        trio.run(echo_streams)
    elif options.gossip_node:
        number, messages, *addresses = options.gossip_node
        asyncio.run(gossip_node(int(number), addresses, int(messages)))
    else:
        with child("--echo-frames") as process:
            show("channel", asyncio.run(measure_channel(line_of(process), options.round_trips)))
        with child("--echo-streams") as process:
            show("new stream for each request", measure_streams(line_of(process), options.round_trips))
        title = f"gossip, {options.nodes} nodes, {options.rate}/s"
        show(title, asyncio.run(measure_gossip(options.nodes, options.messages, options.rate)))


if __name__ == "__main__":
    main()
