"""What a node answers other nodes' questions about the directory: libp2p's Kademlia messages, under our own limits.

The messages are those of the libp2p specification, as py-libp2p's KadDHT speaks them. Its handler and look-ups are not used:
twelve silent streams take all of its slots for ever, addresses from every answer fill the peer store, one false answer about
providers is believed for two days, whoever opens a stream enters the routing table, and a peer that goes on naming others
is followed without end. Here every store, stream and answer has a limit, and nothing is kept that was not checked.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Iterable

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.kademlia import CLOSEST, PEER_ID_PREFIX, Contact, Contacts, Entry, Shelf
from node.libp2p_address import parse_address
from node.libp2p_channel import ChunkReader
from node.limits import Rate, RateLimit
from node.transport import TransportError
from protocol.addresses import host_of
from protocol.constants import RECORD_ADDRESSES_MAX
from protocol.directory import check_value, record_key, skill_key
from protocol.errors import RemoteProtocolError
from protocol.genesis import protocol_prefix
from protocol.identity import PUBLIC_KEY_SIZE, check_public_key, peer_id, public_key_of

# The largest answer: providers and contacts with all their addresses, or a record.
KAD_MESSAGE_SIZE_MAX = 1 << 16
# Entries kept for others: nodes that offer one skill, and records. Under 10 MB at the very worst.
PROVIDERS_PER_SKILL_MAX = 256
RECORDS_KEPT_MAX = 1_024
# A provider announces itself three times in this.
PROVIDER_LIFETIME_S = 1_800
# Providers in one answer, drawn by lot: who asks several nodes sees more, and nobody can buy the first places.
PROVIDERS_TOLD_MAX = 16
# Requests of one peer: an honest announcement of all skills at once, then a few a minute.
KAD_REQUESTS_PER_S = 10
KAD_REQUESTS_BURST = 200
# Streams at once, and how long one may last.
KAD_STREAMS_PER_PEER_MAX = 4
KAD_STREAMS_MAX = 64
KAD_STREAM_S = 30


def kad_protocol(network: bytes) -> TProtocol:
    """The id of the directory of one network: those of two networks never mix."""
    return TProtocol(f"{protocol_prefix(network)}/kad/1.0.0")


def framed(message: Message) -> bytes:
    """A message for the wire: its length as a varint, then the message."""
    data = message.SerializeToString()
    size, prefix = len(data), bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(prefix) + bytes((size,)) + data


async def read_message(reader: ChunkReader) -> Message:
    """The next message of a stream; raises `DecodeError` for garbage and `IOException` at the end."""
    return Message.FromString(await reader.message(KAD_MESSAGE_SIZE_MAX))


def to_wire(contact: Contact) -> Message.Peer:
    """A contact as others read it; its addresses go without the peer id."""
    addresses = (parse_address(address)[0] for address in contact.addresses[:RECORD_ADDRESSES_MAX])
    bare = [address.decapsulate(Multiaddr(f"/p2p/{peer_id(contact.peer)}")).to_bytes() for address in addresses]
    return Message.Peer(id=PEER_ID_PREFIX + contact.peer, addrs=bare)


def from_wire(peer: Message.Peer) -> Contact | None:
    """The contact that somebody named, with those of its addresses that are well-formed; None if its id is not."""
    key = bytes(peer.id).removeprefix(PEER_ID_PREFIX)
    try:
        check_public_key(key)
    except RemoteProtocolError:
        return None
    if len(peer.id) != len(PEER_ID_PREFIX) + PUBLIC_KEY_SIZE:
        return None
    found: list[str] = []
    for raw in peer.addrs[:RECORD_ADDRESSES_MAX]:
        try:
            text = f"{Multiaddr(bytes(raw))}/p2p/{peer_id(key)}"
            parse_address(text)
        except (MultiaddrError, ValueError, TransportError):
            continue
        found.append(text)
    return Contact(key, tuple(found))


class KadServer:
    """Answers requests from the contacts and the two shelves, and takes entries in. `skills` are those of the network."""

    def __init__(self, network: bytes, skills: Iterable[str], contacts: Contacts, counters: Counter[str]) -> None:
        self._network = network
        self._contacts = contacts
        self._counters = counters
        self._records = Shelf(RECORDS_KEPT_MAX)
        self._providers = {skill_key(network, skill): Shelf(PROVIDERS_PER_SKILL_MAX) for skill in skills}
        self._limit = RateLimit(Rate(KAD_REQUESTS_PER_S, KAD_REQUESTS_BURST))
        self._streams: Counter[bytes] = Counter()

    async def handle(self, stream: INetStream) -> None:
        """The handler of streams that peers open; inside the guard of all stream handlers."""
        try:
            peer = public_key_of(str(stream.muxed_conn.peer_id))
        except RemoteProtocolError:
            self._counters["guard_foreign_key"] += 1
            await stream.reset()
            return
        if self._streams[peer] >= KAD_STREAMS_PER_PEER_MAX or self._streams.total() >= KAD_STREAMS_MAX:
            self._counters["dht_too_many_streams"] += 1
            await stream.reset()
            return
        self._streams[peer] += 1
        try:
            with trio.move_on_after(KAD_STREAM_S):
                await self._serve(stream, peer)
        except DecodeError:
            self._counters["guard_dht_garbage"] += 1
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]
            # Keys cost nothing: of those that asked once and went, nothing may stay.
            self._limit.tidy(time.monotonic_ns())
        await stream.reset()

    async def _serve(self, stream: INetStream, peer: bytes) -> None:
        remote = stream.get_remote_address()
        host = host_of(f"/{'ip6' if ':' in remote[0] else 'ip4'}/{remote[0]}/tcp/0") if remote else ""
        reader = ChunkReader(stream)
        while True:
            request = await read_message(reader)
            self._counters["dht_requests_in"] += 1
            if not self._limit.allows(peer, time.monotonic_ns()):
                self._counters["dht_over_rate"] += 1
                return
            answer = self.answer(peer, host, request)
            if answer is None:
                # As the specification wants it: what is refused gets no answer but the end of the stream.
                self._counters["dht_refused"] += 1
                return
            await stream.write(framed(answer))

    def answer(self, peer: bytes, host: str, request: Message) -> Message | None:
        """The answer to a request of `peer`, which came from `host`; None if it is refused."""
        key = bytes(request.key)
        answer = Message(type=request.type, key=key)
        match request.type:
            case Message.PING:
                return answer
            case Message.FIND_NODE if key:
                pass
            case Message.ADD_PROVIDER if self._provide(key, peer, host, request):
                return answer
            case Message.GET_PROVIDERS if key in self._providers:
                self._tell_providers(key, answer)
            case Message.PUT_VALUE if self._put(key, peer, host, request):
                answer.record.CopyFrom(request.record)
                return answer
            case Message.GET_VALUE if key:
                entry = self._records.get(key, now_ms())
                if entry is not None:
                    answer.record.key, answer.record.value = key, entry.value
            case _:
                return None
        closest = self._contacts.closest(key, CLOSEST + 1)
        answer.closerPeers.extend([to_wire(contact) for contact in closest if contact.peer != peer][:CLOSEST])
        return answer

    def _provide(self, key: bytes, peer: bytes, host: str, request: Message) -> bool:
        """Note that `peer` offers the skill behind `key`: each node speaks for itself alone."""
        shelf = self._providers.get(key)
        provider = from_wire(request.providerPeers[0]) if len(request.providerPeers) == 1 else None
        if shelf is None or provider is None or provider.peer != peer:
            return False
        now = now_ms()
        value = to_wire(provider).SerializeToString()
        return shelf.put(peer, Entry(value, host, now + 1_000 * PROVIDER_LIFETIME_S), now)

    def _tell_providers(self, key: bytes, answer: Message) -> None:
        shelf, now = self._providers[key], now_ms()
        known = shelf.keys(now)
        for peer in secrets.SystemRandom().sample(known, min(len(known), PROVIDERS_TOLD_MAX)):
            entry = shelf.get(peer, now)
            if entry is not None:
                answer.providerPeers.append(Message.Peer.FromString(entry.value))

    def _put(self, key: bytes, peer: bytes, host: str, request: Message) -> bool:
        """Keep the record of `peer`, unless there is one that is no older: each node puts its own, and under its own key."""
        now, data = now_ms(), bytes(request.record.value)
        if bytes(request.record.key) != key or key != record_key(peer):
            return False
        try:
            envelope, record = check_value(key, data, self._network, now)
        except RemoteProtocolError:
            return False
        old = self._records.get(key, now)
        if old is not None and (record.sequence, data) < (old.version, old.value):
            return False
        self._contacts.add(said(peer, record.addresses))
        return self._records.put(key, Entry(data, host, envelope.expires_ms, record.sequence), now)


def now_ms() -> int:
    """The wall clock, by which entries end."""
    return time.time_ns() // 1_000_000


def said(peer: bytes, addresses: Iterable[str]) -> Contact:
    """A peer at those of the addresses it signed that are well-formed and its own."""
    found: list[str] = []
    for address in addresses:
        with contextlib.suppress(TransportError):
            if parse_address(address)[1] == peer:
                found.append(address)
    return Contact(peer, tuple(found))
