"""How a node asks others about the directory: bounded walks towards a key, announcements, and look-ups of a skill.

What strangers name is only ever a candidate of the walk at hand. A walk asks QUERIES_MAX nodes, follows NAMED_MAX contacts of
one answer, dials within a budget and ends after WALK_S; connections that it made are closed unless they became channels.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID

from node.kademlia import CLOSEST, PEER_ID_PREFIX, Contact, Contacts, distance
from node.libp2p_address import parse_address
from node.libp2p_channel import ChunkReader
from node.libp2p_guards import answered, contained
from node.libp2p_kad import PROVIDERS_TOLD_MAX, KadServer, framed, from_wire, kad_protocol, now_ms, read_message, said, to_wire
from node.libp2p_swarm import GuardedHost
from node.limits import Rate, RateLimit
from protocol.addresses import DialBudget, worth_dialling
from protocol.directory import check_value, record_key, skill_key
from protocol.errors import RemoteProtocolError

# Queries under way in a walk.
ALPHA = 4
# Nodes asked in a walk: six steps of four in a network of a million, and some that do not answer.
QUERIES_MAX = 32
# Candidates that one answer may bring into a walk, so that one liar cannot use it up.
NAMED_MAX = 4
# An answer takes milliseconds; one that does not come costs its walk this long, and a walk in all that long.
QUERY_S = 5
WALK_S = 30
# Addresses that walks dial, at once and in the mean. Most contacts are connected or known to be there.
DHT_DIALS_PER_S = 1
DHT_DIALS_BURST = 64
# Records that one look-up brings, and those that it goes looking for by themselves because nobody had them at hand.
RECORDS_FOUND_MAX = 64
RECORDS_SOUGHT_MAX = 4

Take = Callable[[Contact, Message], Awaitable[None]]


class Talk:
    """The streams of one operation, one to each node asked."""

    def __init__(self, open_stream: Callable[[Contact], Awaitable[INetStream]], hits: Counter[str]) -> None:
        self._open = open_stream
        self._hits = hits
        self._streams: dict[bytes, tuple[INetStream, ChunkReader]] = {}

    async def ask(self, contact: Contact, request: Message) -> Message:
        """The answer of a node; raises `BaseLibp2pError` if none comes, in time and of this kind."""
        self._hits["dht_requests_out"] += 1
        try:
            with trio.fail_after(QUERY_S):
                answer = await answered(self._hits, "guard_dht_answer", self._exchange, contact, request)
        except trio.TooSlowError as error:
            raise SwarmException("no answer in time") from error
        if answer.type != request.type:
            raise SwarmException("an answer to another question")
        return answer

    async def _exchange(self, contact: Contact, request: Message) -> Message:
        if contact.peer not in self._streams:
            stream = await self._open(contact)
            self._streams[contact.peer] = stream, ChunkReader(stream)
        stream, reader = self._streams[contact.peer]
        await stream.write(framed(request))
        return await read_message(reader)

    async def end(self) -> None:
        """Close all streams."""
        for stream, _ in self._streams.values():
            await contained(self._hits, "guard_close", stream.reset)


class Dht:
    """A node of the directory. `linked` says whether there is a channel to a peer; such connections are never closed here."""

    def __init__(
        self,
        host: GuardedHost,
        network: bytes,
        skills: Iterable[str],
        linked: Callable[[bytes], bool],
        counters: Counter[str],
    ) -> None:
        self.own: bytes = host.get_public_key().to_bytes()
        self.addresses: tuple[str, ...] = ()
        self.contacts = Contacts(self.own)
        self.server = KadServer(network, skills, self.contacts, counters)
        self._host = host
        self._network = network
        self._protocol = kad_protocol(network)
        self._linked = linked
        self._counters = counters
        self._budget = DialBudget()
        self._dials = RateLimit(Rate(DHT_DIALS_PER_S, DHT_DIALS_BURST))
        # Connections that walks made, and how many still use each.
        self._borrowed: Counter[bytes] = Counter()

    def listen(self, addresses: Sequence[str]) -> None:
        """Answer others from now on: only who can be dialled is of use to them."""
        self.addresses = tuple(addresses)
        if self.addresses:
            self._host.set_stream_handler(self._protocol, self.server.handle)

    def introduce(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Peers with a channel, at the addresses in their signed records: the first contacts."""
        for peer, addresses in peers.items():
            self.contacts.add(said(peer, addresses))

    def reached(self, peer: bytes, address: str) -> None:
        """Note that this node dialled `peer` there: a contact that others can use too."""
        self.contacts.add(Contact(peer, (address,), proven=True))

    # --- What the daemon asks for

    async def announce(self, skills: Sequence[str], record: bytes) -> int:
        """Put this node's record and its skills into the directory; on how many other nodes they stand now."""
        own = Contact(self.own, self.addresses)
        if not own.addresses:
            return 0
        key = record_key(self.own)
        put = Message(type=Message.PUT_VALUE, key=key)
        put.record.key, put.record.value = key, record
        offers = {
            skill: Message(type=Message.ADD_PROVIDER, key=skill_key(self._network, skill), providerPeers=[to_wire(own)])
            for skill in skills
        }
        for request in (put, *offers.values()):
            self.server.answer(self.own, "", request)
        took: set[bytes] = set()

        async def work(talk: Talk) -> None:
            for target, offer in ((key, None), *((bytes(offer.key), offer) for offer in offers.values())):
                closest = await self._walk(talk, Message(type=Message.FIND_NODE, key=target))
                async with trio.open_nursery() as nursery:
                    for contact in closest:
                        # Whoever looks for a skill finds the record where it found the provider.
                        requests = [put] if contact.peer not in took else []
                        requests += [offer] if offer is not None else []
                        nursery.start_soon(self._give, talk, contact, requests, took)

        await self._operate(work)
        return len(took)

    async def look_up(self, skill: str) -> list[bytes]:
        """Signed records of nodes that offer `skill`, other than this one and those with a channel."""
        found: dict[bytes, tuple[int, bytes]] = {}
        missing: set[bytes] = set()

        async def take(ask: Callable[[Message], Awaitable[Message]], answer: Message) -> None:
            with trio.move_on_after(QUERY_S):
                for named in answer.providerPeers[:PROVIDERS_TOLD_MAX]:
                    provider = from_wire(named)
                    if provider is None or provider.peer in found or self._linked(provider.peer) or provider.peer == self.own:
                        continue
                    if len(found) >= RECORDS_FOUND_MAX:
                        return
                    request = Message(type=Message.GET_VALUE, key=record_key(provider.peer))
                    if self._keep(found, skill, provider.peer, await ask(request)):
                        missing.discard(provider.peer)
                    else:
                        missing.add(provider.peer)

        async def work(talk: Talk) -> None:
            request = Message(type=Message.GET_PROVIDERS, key=skill_key(self._network, skill))
            await take(self._ask_own, await self._ask_own(request))
            await self._walk(talk, request, lambda contact, answer: take(partial(talk.ask, contact), answer))
            for peer in sorted(missing)[:RECORDS_SOUGHT_MAX]:
                await self._seek(talk, skill, peer, found)

        await self._operate(work)
        return [data for _, data in found.values()]

    async def _ask_own(self, request: Message) -> Message:
        """What this node would answer itself."""
        return self.server.answer(self.own, "", request) or Message(type=request.type)

    async def _seek(self, talk: Talk, skill: str, peer: bytes, found: dict[bytes, tuple[int, bytes]]) -> None:
        """Look for one record where it must stand."""

        async def take(_: Contact, answer: Message) -> None:
            self._keep(found, skill, peer, answer)

        await self._walk(talk, Message(type=Message.GET_VALUE, key=record_key(peer)), take)

    def _keep(self, found: dict[bytes, tuple[int, bytes]], skill: str, peer: bytes, answer: Message) -> bool:
        """Take the record in an answer if it is good, of that peer, for that skill and the latest so far."""
        data = bytes(answer.record.value)
        if not data:
            return False
        try:
            _, record = check_value(record_key(peer), data, self._network, now_ms())
        except RemoteProtocolError:
            self._counters["dht_forged"] += 1
            return False
        if skill not in record.skills:
            return False
        if peer not in found or found[peer][0] < record.sequence:
            found[peer] = record.sequence, data
        return True

    # --- Walks

    async def _operate(self, work: Callable[[Talk], Awaitable[None]]) -> None:
        """One operation with its streams and connections, whatever comes of it."""
        borrowed: list[bytes] = []
        talk = Talk(partial(self._open_stream, borrowed), self._counters)
        try:
            with trio.move_on_after(WALK_S):
                await contained(self._counters, "guard_dht_walk", work, talk)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + QUERY_S, shield=True):
                await talk.end()
                for peer in borrowed:
                    await self._give_back(peer)

    async def _walk(self, talk: Talk, request: Message, take: Take | None = None) -> list[Contact]:
        """Ask ever closer nodes; gives the closest that answered. `take` gets each answer; if it fails, that node has."""
        key = bytes(request.key)
        found = {contact.peer: contact for contact in self.contacts.closest(key, QUERIES_MAX)}
        asked: set[bytes] = set()
        there: list[Contact] = []

        async def query(contact: Contact) -> None:
            try:
                answer = await talk.ask(contact, request)
                if take is not None:
                    await take(contact, answer)
            except BaseLibp2pError:
                self._counters["dht_unanswered"] += 1
                del found[contact.peer]
                if not self._linked(contact.peer):
                    self.contacts.remove(contact.peer)
                return
            there.append(contact)
            self.contacts.add(Contact(contact.peer, contact.addresses, proven=True))
            named = [candidate for peer in answer.closerPeers[:CLOSEST] if (candidate := from_wire(peer)) is not None]
            news = [item for item in named if item.peer not in found and item.peer not in asked and item.peer != self.own]
            found.update({item.peer: item for item in news[:NAMED_MAX]})

        while True:
            nearest = sorted(found.values(), key=lambda contact: distance(contact.peer, key))[:CLOSEST]
            batch = [contact for contact in nearest if contact.peer not in asked][: min(ALPHA, QUERIES_MAX - len(asked))]
            if not batch:
                return sorted(there, key=lambda contact: distance(contact.peer, key))[:CLOSEST]
            asked.update(contact.peer for contact in batch)
            async with trio.open_nursery() as nursery:
                for contact in batch:
                    nursery.start_soon(query, contact)

    async def _give(self, talk: Talk, contact: Contact, requests: Sequence[Message], took: set[bytes]) -> None:
        try:
            for request in requests:
                await talk.ask(contact, request)
                took.add(contact.peer)
        except BaseLibp2pError:
            self._counters["dht_unanswered"] += 1

    async def _open_stream(self, borrowed: list[bytes], contact: Contact) -> INetStream:
        peer = ID(PEER_ID_PREFIX + contact.peer)
        if contact.peer in self._borrowed or not self._host.swarm.get_connections(peer):
            self._borrowed[contact.peer] += 1
            borrowed.append(contact.peer)
        if not self._host.swarm.get_connections(peer):
            await self._dial(contact, peer)
        return await self._host.new_stream(peer, [self._protocol])

    async def _dial(self, contact: Contact, peer: ID) -> None:
        """Connect to a contact within the budget; raises `SwarmException` if it cannot be reached now."""
        for address in worth_dialling(contact.addresses, self.addresses):
            mono_ms = time.monotonic_ns() // 1_000_000
            if self._budget.due_ms(address, mono_ms) > mono_ms or not self._dials.allows(None, time.monotonic_ns()):
                self._counters["dht_dials_withheld"] += 1
                continue
            self._budget.spend(address, mono_ms)
            self._counters["dht_dials"] += 1
            try:
                await self._host.swarm.dial_addr(parse_address(address)[0], peer)
            except BaseLibp2pError:
                continue
            self._budget.refund(address)
            return
        raise SwarmException("no address leads there")

    async def _give_back(self, peer: bytes) -> None:
        """Close what was dialled for walks alone, once none uses it any more."""
        self._borrowed[peer] -= 1
        if self._borrowed[peer] <= 0:
            del self._borrowed[peer]
            if not self._linked(peer):
                await contained(self._counters, "guard_close", self._host.swarm.close_peer, ID(PEER_ID_PREFIX + peer))
