"""A stranger in the network: a libp2p peer with a key of its own, which seals what it likes and hears what any peer hears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from node.libp2p_transport import Libp2pTransport
from node.transport import FrameReceived, GossipReceived, PeerLost, TransportError
from protocol import canonical
from protocol.canonical import Value
from protocol.capability import Record
from protocol.constants import LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.envelope import DOMAIN, Envelope, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.genesis import protocol_prefix
from protocol.identity import KeySigner, peer_id
from protocol.ledger_messages import Heads
from protocol.messages import DIRECT, Beacon, Bid, input_hash
from protocol.outbox import BEACONS, HEADS, RECORDS, TOPICS
from protocol.schema import Message
from protocol.verdict import Verdict
from tests.attack import Target

NONCE: Final = b"n" * 32
QUESTION: Final = "What is 2 + 2?"


# --- Envelopes


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Sealer:
    """Makes envelopes as any node does, or with whatever is changed about them."""

    signer: KeySigner
    network: bytes
    to: bytes

    def seal(self, kind: str, to: bytes | str, body: dict[str, Value], **change: Value) -> bytes:
        """An envelope issued now; `change` sets fields after the rules were kept."""
        issued_ms = change.get("issued_ms", wall_ms())
        assert type(issued_ms) is int
        lifetime_ms = RECORD_LIFETIME_MS_MAX if kind == Record.TYPE else LIFETIME_MS_MAX
        fields: dict[str, Value] = {
            "network": self.network,
            "type": kind,
            "sender": self.signer.public_key,
            "to": to,
            "issued_ms": issued_ms,
            "expires_ms": issued_ms + lifetime_ms,
            "body": body,
        }
        payload = canonical.encode(fields | change)
        return self.signer.sign(DOMAIN + payload) + payload

    def message(self, message: Message, /, **change: Value) -> bytes:
        """A message of the protocol, to where it belongs."""
        to: bytes | str = {Record.TYPE: RECORDS, Beacon.TYPE: BEACONS, Heads.TYPE: HEADS}.get(message.TYPE, self.to)
        return self.seal(message.TYPE, to, message.body(), **change)


def spoiled(data: bytes) -> bytes:
    """The same envelope under a signature that does not hold."""
    return bytes([data[0] ^ 1]) + data[1:]


def beacon(task: bytes | None = None, question: str = QUESTION) -> Beacon:
    """A beacon that any node with a model answers."""
    bound = input_hash(NONCE, question, "number", 256)
    return Beacon(task or os.urandom(16), 0, 0, "arith", "number", bound, 3, 256, 1_500, 60_000, 2)


def record(sequence: int, *addresses: str) -> Record:
    """A record that offers everything, and claims the most."""
    skills = dict.fromkeys(("arith", "lists"), 1_000)
    return Record(sequence, skills, "m", 1, "Q8_0", "", 512, 100_000, 1, available=True, addresses=addresses)


def bid(on: Envelope, body: Beacon) -> Bid:
    """A bid of somebody who is idle."""
    return Bid(body.task, body.plan, body.step, on.id, 0, 1_024, 10_000_000)


def dead_address(key: bytes) -> str:
    """Where nobody listens, in a network for documentation or on this machine."""
    return f"/ip4/127.0.0.1/tcp/{1_024 + key[0] * 200 + key[1] % 200}/p2p/{peer_id(key)}"


# --- A stranger in the network


class Stranger:
    """A connected peer. `beacons` are the latest of the target and `mail` what it was sent."""

    def __init__(self, target: Target) -> None:
        seed = os.urandom(32)
        self.sealer = Sealer(KeySigner(seed), target.network, target.peer)
        self.beacons: deque[tuple[Envelope, Beacon]] = deque(maxlen=8)
        self.gossip: deque[tuple[str, bytes]] = deque(maxlen=64)
        self.mail: asyncio.Queue[tuple[Envelope, Message]] = asyncio.Queue(1_024)
        self._target = target
        self._transport = Libp2pTransport(seed, [], network=target.network)
        self._topics = {topic: f"{protocol_prefix(target.network)}/{topic}/1" for topic in TOPICS}

    async def run(self, act: Callable[[Stranger], Awaitable[None]]) -> None:
        """Join, attack until cancelled, and leave. Raises `TransportError` when the target hangs up."""
        for name in self._topics.values():
            self._transport.subscribe(name, lambda _: Verdict.ACCEPT)
        await self._transport.start()
        try:
            await self._transport.dial(self._target.address)
            acting = asyncio.ensure_future(act(self))
            listening = asyncio.ensure_future(self._listen())
            try:
                done, _ = await asyncio.wait((acting, listening), return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()
            finally:
                for task in (acting, listening):
                    task.cancel()
                await asyncio.gather(acting, listening, return_exceptions=True)
        finally:
            await self._transport.close()

    async def send(self, data: bytes) -> None:
        """On the channel."""
        await self._transport.send(self._target.peer, data)

    async def publish(self, topic: str, data: bytes) -> None:
        """By gossip."""
        await self._transport.publish(self._topics[topic], data)

    async def say(self, message: Message) -> None:
        """A message as the protocol has it."""
        data = self.sealer.message(message)
        topic = {Record.TYPE: RECORDS, Beacon.TYPE: BEACONS}.get(message.TYPE)
        await (self.send(data) if topic is None else self.publish(topic, data))

    async def offer(self) -> None:
        """Become a candidate."""
        await self.send(self.sealer.message(record(wall_ms())))

    async def next(self, kind: type[Message]) -> tuple[Envelope, Message]:
        """The next message of a kind; others are left unread."""
        while True:
            envelope, message = await self.mail.get()
            if isinstance(message, kind):
                return envelope, message

    async def _listen(self) -> None:
        while True:
            match await self._transport.receive():
                case GossipReceived(topic, data):
                    name = next(name for name, full in self._topics.items() if full == topic)
                    self.gossip.append((name, data))
                    self._take(data)
                case FrameReceived(data=data):
                    self._take(data)
                case PeerLost():
                    raise TransportError("hung up")

    def _take(self, data: bytes) -> None:
        with contextlib.suppress(RemoteProtocolError):
            envelope = open_envelope(data)
            if envelope.type == Beacon.TYPE and envelope.sender == self._target.peer:
                found = envelope, Beacon.parse(envelope.body)
                self.beacons.append(found)
                self._put(found)
            elif envelope.type in DIRECT:
                self._put((envelope, DIRECT[envelope.type].parse(envelope.body)))

    def _put(self, item: tuple[Envelope, Message]) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.mail.put_nowait(item)


async def pace(per_s: int) -> AsyncIterator[int]:
    """0, 1, 2, ... so many a second; what could not be kept up is left out."""
    loop = asyncio.get_running_loop()
    due, number = loop.time(), 0
    while True:
        yield number
        number += 1
        due = max(due + 1 / per_s, loop.time() - 0.1)
        await asyncio.sleep(max(0.0, due - loop.time()))
