"""What the daemon asks of a network: events in, frames and gossip out.

Peers are raw 32-byte Ed25519 public keys here; only addresses carry libp2p peer ids. The daemon knows this file and
nothing of libp2p, so the CLI starts without loading it and tests can run on another transport.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.verdict import Verdict

# One frame carries one envelope, at most 64 KiB today, and 256 KiB leave room for ranges of a ledger. Any stranger can make us
# hold one that it never finishes.
FRAME_SIZE_MAX = 1 << 18

# Gossip is copied about six times by the mesh, so it carries beacons and records (a few KiB), never bulk.
GOSSIP_SIZE_MAX = 1 << 16


Validator = Callable[[bytes], Verdict]


class TransportError(Exception):
    """The network could not do what was asked: one line that names the thing and the remedy."""


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A peer's frame. Frames of one peer come in the order in which they were sent."""

    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """A message of a topic that its validator accepted, once per message. Who sent it stands inside, signed."""

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The channel to `peer` can be used from now on. `address` is a multiaddr, with the port it came from if inbound."""

    peer: bytes
    address: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The channel is gone. Comes exactly once for each `PeerConnected`, and nothing of this peer comes between."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class TransportRestarted:
    """The network stack died and runs again, on the same ports; every peer was reported lost before."""

    reason: str


TransportEvent = FrameReceived | GossipReceived | PeerConnected | PeerLost | TransportRestarted


class Transport(Protocol):
    """A node's network, used from one asyncio loop."""

    peer: bytes  # this node's public key

    def addresses(self) -> list[str]:
        """The multiaddrs it listens on, each with `/p2p/<peer id>`; empty before `start`."""
        ...

    async def start(self) -> None:
        """Listen. Raises `TransportError` if an address is bad or taken."""
        ...

    async def close(self) -> None:
        """Leave the network; afterwards every call raises `TransportError`. May be called twice."""
        ...

    async def dial(self, address: str) -> bytes:
        """Connect to a multiaddr with `/p2p/<peer id>` and return the peer's key, at once if already connected.

        `PeerConnected` comes before this returns. Raises `TransportError` with the address and the reason.
        """
        ...

    async def send(self, peer: bytes, data: bytes) -> None:
        """Queue one frame for `peer` and return without waiting for it to leave.

        Raises `TransportError` if there is no channel, the frame is over `FRAME_SIZE_MAX` or the queue is full.
        """
        ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Gossip `data` to every connected subscriber of `topic`, which forward it.

        Raises `TransportError` for a topic that was not subscribed, over `GOSSIP_SIZE_MAX`, or if the queue is full.
        """
        ...

    def subscribe(self, topic: str, validator: Validator) -> None:
        """Receive `topic`; only before `start`. `validator` runs in the network's thread and touches nothing of another."""
        ...

    async def receive(self) -> TransportEvent:
        """The next event. Raises `TransportError` once the transport is closed or has died for good."""
        ...

    def peers(self) -> list[bytes]:
        """The keys of all peers with a usable channel, sorted."""
        ...

    def is_connected(self, peer: bytes) -> bool:
        """Whether there is a usable channel to `peer`; the one call for any thread."""
        ...

    def counters(self) -> Mapping[str, int]:
        """Messages and bytes in and out for channel and gossip, drops, and hits of each guard by name."""
        ...


class Directory(Protocol):
    """Where nodes that never met find each other: a distributed table of who offers a skill, and of signed records."""

    async def announce(self, skills: Sequence[str], record: bytes) -> int:
        """Put this node's signed record there, and its name under each skill; gives how many others keep it.

        Nothing if this node cannot be dialled. Raises `TransportError` while the network is down.
        """
        ...

    async def look_up(self, skill: str) -> list[bytes]:
        """Signed records, checked, of nodes that offer `skill` and have no channel to this one; the latest of each.

        Raises `TransportError` while the network is down.
        """
        ...

    def introduce(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Name peers with a channel and the addresses in their signed records: the contacts that look-ups begin with."""
        ...
