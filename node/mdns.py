"""Finds nodes of the same network on the local link by multicast DNS, and lets them find this one.

Whoever is on the link can answer anything, so what is found is a hint to dial, at a bounded rate, and nothing else: the peer id
in it is proven by the handshake, everything further by signed records.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from zeroconf import Error, InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from node.limits import Rate, RateLimit
from node.transport import TransportError
from protocol.addresses import is_loopback, worth_dialling
from protocol.errors import RemoteProtocolError
from protocol.events import Log
from protocol.genesis import short_id
from protocol.identity import peer_id, public_key_of

if TYPE_CHECKING:
    from node.daemon import Running

SERVICE = "_tutti._tcp.local."
# Answers that are looked into, in the mean and at once: a link with dozens of nodes is found in seconds.
MDNS_HINTS_PER_S = 1
MDNS_HINTS_BURST = 32
# Addresses of one answer, and answers looked into at once.
MDNS_ADDRESSES_MAX = 4
MDNS_QUESTIONS_MAX = 16
_ANSWER_MS = 3_000

Interfaces = Sequence[str] | InterfaceChoice


class Neighbours:
    """Says that this node is here and calls `found` with the multiaddr of each other node of the network `network`."""

    def __init__(self, network: bytes, peer: bytes, addresses: Sequence[str], found: Callable[[str], None]) -> None:
        self._network = short_id(network)
        self._peer = peer_id(peer)
        self._addresses = tuple(addresses)
        self._found = found
        self._limit = RateLimit(Rate(MDNS_HINTS_PER_S, MDNS_HINTS_BURST))
        self._questions: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def present(self, interfaces: Interfaces = InterfaceChoice.Default) -> AsyncIterator[None]:
        """Be found and look for others; raises `OSError` where the machine has no multicast."""
        zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        try:
            own = self._own_service()
            if own is not None:
                with contextlib.suppress(Error):  # another one of our name; the peer id is ours, so it is a copy of this node
                    await (await zeroconf.async_register_service(own))
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._on_change])
            yield
            await browser.async_cancel()
        finally:
            for question in self._questions:
                question.cancel()
            await asyncio.gather(*self._questions, return_exceptions=True)
            await zeroconf.async_close()

    def _own_service(self) -> AsyncServiceInfo | None:
        """The name of the service is the peer id; its text names the network."""
        parts = [address.split("/") for address in self._addresses]
        found = [(part[2], int(part[4])) for part in parts if part[1] == "ip4"]
        if not found:
            return None
        port = found[0][1]
        return AsyncServiceInfo(
            SERVICE,
            f"{self._peer}.{SERVICE}",
            port=port,
            parsed_addresses=[host for host, at in found if at == port][:MDNS_ADDRESSES_MAX],
            properties={"network": self._network},
            server=f"{self._peer}.local.",
        )

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """A service came or changed; zeroconf calls it in the loop."""
        if state_change is ServiceStateChange.Removed or name == f"{self._peer}.{SERVICE}":
            return
        if len(self._questions) >= MDNS_QUESTIONS_MAX or not self._limit.allows(None, time.monotonic_ns()):
            return
        question = asyncio.get_running_loop().create_task(self._ask(zeroconf, service_type, name))
        self._questions.add(question)
        question.add_done_callback(self._questions.discard)

    async def _ask(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        try:
            info = AsyncServiceInfo(service_type, name)
            await info.async_request(zeroconf, _ANSWER_MS)
        except (Error, OSError):
            return  # nobody answers under that name, or not in a form that can be read
        for address in self.hints(name, info):
            self._found(address)

    def hints(self, name: str, info: AsyncServiceInfo) -> tuple[str, ...]:
        """The addresses to dial that an answer names; none unless it is of this network and well-formed."""
        peer = name.removesuffix(f".{SERVICE}")
        with contextlib.suppress(RemoteProtocolError):
            public_key_of(peer)
            if info.properties.get(b"network") == self._network.encode() and info.port:
                hosts = [ip_address(text) for text in info.parsed_addresses(IPVersion.V4Only)[:MDNS_ADDRESSES_MAX]]
                named = [f"/ip4/{host}/tcp/{info.port}/p2p/{peer}" for host in hosts if isinstance(host, IPv4Address)]
                return worth_dialling(named, self._addresses)
        return ()


async def greet(node: Running) -> None:
    """Be present on the local link, for ever, if others there can dial this node; what is found is dialled."""
    addresses = [address for address in node.transport.addresses() if not is_loopback(address)]
    if node.config.mdns == "off" or not addresses:
        return
    dials: set[asyncio.Task[None]] = set()

    def found(address: str) -> None:
        task = asyncio.create_task(_dial(node, address))
        dials.add(task)
        task.add_done_callback(dials.discard)

    try:
        async with Neighbours(node.parameters.network, node.peer, addresses, found).present():
            await asyncio.Event().wait()
    except OSError as error:
        # Containers and some hosts have no multicast; the other ways into the network remain.
        node.events.emit(Log("warning", "mdns_unavailable", {"reason": error.strerror or type(error).__name__}))
    finally:
        for task in dials:
            task.cancel()


async def _dial(node: Running, address: str) -> None:
    try:
        await node.transport.dial(address)
    except TransportError as error:
        node.events.emit(Log("debug", "neighbour_failed", {"reason": str(error)}))
