"""The directory over real sockets: nodes that never met find each other in it, and junk in it costs them little."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from unittest import mock

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.io.exceptions import IOException
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_uvarint
from multiaddr import Multiaddr

from node.kademlia import PEER_ID_PREFIX, Contacts
from node.libp2p_channel import ChunkReader
from node.libp2p_kad import (
    KAD_MESSAGE_SIZE_MAX,
    KAD_REQUESTS_BURST,
    KAD_STREAMS_PER_PEER_MAX,
    KadServer,
    framed,
    kad_protocol,
    read_message,
)
from node.libp2p_transport import Libp2pTransport
from protocol.capability import Record
from protocol.constants import DIALS_PER_TARGET_MAX, DIRECTORY_VALUE_SIZE_MAX, RECORD_LIFETIME_MS_MAX
from protocol.core import Core
from protocol.directory import record_key, skill_key
from protocol.envelope import open_envelope, seal
from protocol.events import AddressesChanged, Dial, Instant, MessageReceived
from protocol.identity import KeySigner, peer_id
from protocol.messages import Beacon
from tests.attack import Attack, Target
from tests.attack_dht import ATTACKS, provide, put
from tests.hostile import Attacker, attack
from tests.support import PARAMETERS, REQUIREMENT_MAP, record

NETWORK = PARAMETERS.network
SKILLS = tuple(PARAMETERS.skills)
_TIMEOUT_S = 60


def signed(seed: bytes, own: Record, issued_ms: int | None = None, network: bytes = NETWORK) -> bytes:
    issued_ms = time.time_ns() // 1_000_000 if issued_ms is None else issued_ms
    return seal(KeySigner(seed), network, "record", "records", own.body(), issued_ms, RECORD_LIFETIME_MS_MAX)


def offering(transport: Libp2pTransport, *skills: str, sequence: int = 1) -> Record:
    return replace(record(*skills), sequence=sequence, addresses=tuple(transport.addresses()))


class Node:
    """A transport alone: no gossip is subscribed to and no record is handed over, so all it learns is the directory's."""

    def __init__(self, number: int, listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)) -> None:
        self.seed = bytes([number]) * 32
        self.transport = Libp2pTransport(self.seed, list(listen), network=NETWORK, skills=SKILLS)

    @property
    def key(self) -> bytes:
        return self.transport.peer

    async def announce(self, *skills: str, sequence: int = 1) -> int:
        own = offering(self.transport, *skills, sequence=sequence)
        return await self.transport.announce(skills, signed(self.seed, own))

    async def finds(self, skill: str = "arith") -> set[bytes]:
        return {open_envelope(data).sender for data in await self.transport.look_up(skill)}


@contextlib.asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Node]]:
    """`count` nodes that know nobody but the first, their bootstrap."""
    made = [Node(1 + number) for number in range(count)]
    try:
        await asyncio.gather(*(node.transport.start() for node in made))
        for node in made[1:]:
            await node.transport.dial(made[0].transport.addresses()[0])
        yield made
    finally:
        await asyncio.gather(*(node.transport.close() for node in made))


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            await work()

    asyncio.run(bounded())


# --- Found


def test_newcomer__finds_the_providers_of_a_skill_by_the_directory_alone_and_connects() -> None:
    async def work() -> None:
        async with nodes(5) as (first, *providers, newcomer):
            for node, skill in zip(providers, ("arith", "arith", "lists"), strict=True):
                assert await node.announce(skill) >= 1
            records = await newcomer.transport.look_up("arith")
            assert {open_envelope(data).sender for data in records} == {node.key for node in providers[:2]}
            # Fed to the core as gossip is, they are dialled: the core's own way of connecting.
            core = Core(KeySigner(newcomer.seed), PARAMETERS, record(), bytes, (), REQUIREMENT_MAP)
            now = Instant(1_000, time.time_ns() // 1_000_000)
            core.step(AddressesChanged(tuple(newcomer.transport.addresses())), now)
            effects = [effect for data in records for effect in core.step(MessageReceived(None, data), now)]
            later = Instant(now.mono_ms + 1_000, now.wall_ms + 1_000)
            effects += core.step(MessageReceived(None, records[0]), later)
            for dial in [effect for effect in effects if isinstance(effect, Dial)]:
                await newcomer.transport.dial(dial.addresses[0])
            assert {first.key, *(node.key for node in providers[:2])} <= set(newcomer.transport.peers())
            assert providers[2].key not in newcomer.transport.peers()
            # Whom it is connected to it need not look for.
            assert await newcomer.finds() == set()

    run(work)


def test_look_up__brings_the_latest_record_of_each() -> None:
    async def work() -> None:
        async with nodes(3) as (_, provider, seeker):
            await provider.announce("arith", sequence=1)
            await provider.announce("arith", sequence=7)
            (data,) = await seeker.transport.look_up("arith")
            assert Record.parse(open_envelope(data).body).sequence == 7
            # An older one does not come back.
            await provider.announce("arith", sequence=3)
            (data,) = await seeker.transport.look_up("arith")
            assert Record.parse(open_envelope(data).body).sequence == 7

    run(work)


def test_walk__leaves_no_connection_behind() -> None:
    async def work() -> None:
        async with nodes(4) as (first, one, other, seeker):
            await one.announce("arith")
            await other.announce("arith")
            assert await seeker.finds() == {one.key, other.key}
            stack = seeker.transport._stack
            assert stack is not None
            # The walk asked both, which it was not connected to.
            assert seeker.transport.counters()["dht_dials"] >= 2
            assert {ID(PEER_ID_PREFIX + first.key)} == set(stack.swarm.connections)

    run(work)


def test_node_that_cannot_be_dialled__is_not_announced_and_answers_nobody() -> None:
    async def work() -> None:
        async with nodes(2) as (first, seeker):
            silent = Node(9, ())
            await silent.transport.start()
            try:
                await silent.transport.dial(first.transport.addresses()[0])
                assert await silent.announce("arith") == 0
                assert await seeker.finds() == set()
                await first.announce("lists")
                # It may look up all the same.
                assert await silent.finds("lists") == set()
                assert first.transport._stack is not None
                assert first.transport._stack.dht.contacts.get(silent.key) is None
            finally:
                await silent.transport.close()

    run(work)


# --- Poisoned


async def asked(attacker: Attacker, *requests: Message, raw: bytes = b"") -> list[Message]:
    """The answers on one stream, up to the first refusal, which is the end of the stream."""
    stream = await attacker.stream(kad_protocol(NETWORK))
    answers: list[Message] = []
    try:
        reader = ChunkReader(stream)
        await stream.write(raw) if raw else None
        for request in requests:
            await stream.write(framed(request))
            answers.append(await read_message(reader))
        if raw:
            await read_message(reader)
    except IOException:
        pass
    with contextlib.suppress(IOException):
        await stream.reset()
    return answers


EVIL = b"\xaa" * 32
EVIL_KEY = KeySigner(EVIL).public_key


def claims(sequence: int = 5, *addresses: str) -> Record:
    return replace(record("arith"), sequence=sequence, addresses=addresses)


def test_forged_values__are_refused() -> None:
    async def work() -> None:
        async with nodes(3) as (first, provider, seeker):
            await provider.announce("arith")
            (honest,) = await seeker.transport.look_up("arith")
            now_ms = time.time_ns() // 1_000_000
            own, other = record_key(EVIL_KEY), record_key(provider.key)
            good = signed(EVIL, claims())
            beacon = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2)
            forged = [
                put(other, signed(EVIL, claims())),  # its own record under another's key
                put(
                    other, signed(provider.seed, offering(provider.transport, "arith", sequence=99))
                ),  # signed, not by who brings it
                put(own, good[:-1] + bytes([good[-1] ^ 1])),
                put(own, signed(EVIL, claims(), network=b"n" * 32)),
                put(own, signed(EVIL, claims(), now_ms - 2 * RECORD_LIFETIME_MS_MAX)),
                put(own, signed(EVIL, claims(), now_ms + 3_600_000)),
                put(own, seal(KeySigner(EVIL), NETWORK, "beacon", "beacons", beacon.body(), now_ms, 60_000)),
                put(own, b"x" * (DIRECTORY_VALUE_SIZE_MAX + 1)),
                put(b"/record/" + b"1" * 50, good),
                put(b"any key", b"any value"),
                put(b"", b""),
                Message(type=Message.PUT_VALUE, key=own),
                provide(skill_key(NETWORK, "arith"), provider.key),  # in another's name
                provide(b"a skill that this network has not", EVIL_KEY),
                Message(type=Message.ADD_PROVIDER, key=skill_key(NETWORK, "arith")),
                Message(type=Message.GET_PROVIDERS, key=b"anything"),
                Message(type=Message.FIND_NODE),
            ]

            async def act(attacker: Attacker) -> None:
                for request in forged:
                    assert await asked(attacker, request) == [], request
                assert len(await asked(attacker, put(own, good))) == 1
                assert await asked(attacker, put(own, signed(EVIL, claims(4)))) == []

            await attack(first.transport.addresses()[0], act, create_new_key_pair(EVIL))
            assert first.transport.counters()["dht_refused"] == len(forged) + 1
            assert await seeker.transport.look_up("arith") == [honest]

    run(work)


def test_hostile_bytes__cost_their_stream_and_nothing_else() -> None:
    async def work() -> None:
        async with nodes(3) as (first, provider, seeker):
            await provider.announce("arith")

            async def act(attacker: Attacker) -> None:
                huge = encode_uvarint(KAD_MESSAGE_SIZE_MAX + 1)
                for raw in (b"\xff" * 64, b"\x03\xff\xff\xff", huge, b"\x80" * 9, b"\x02\x08\x63", b"\x00"):
                    assert await asked(attacker, raw=raw) == []
                junk = Message(type=Message.ADD_PROVIDER, key=skill_key(NETWORK, "arith"))
                for raw_id in (b"", b"x", PEER_ID_PREFIX + bytes(32), b"\x12\x20" + b"q" * 32):
                    junk.providerPeers.append(Message.Peer(id=raw_id, addrs=[b"\xff" * 40, b""]))
                    assert await asked(attacker, junk) == []
                # Streams that say nothing: a few a peer, and the others are refused at once.
                silent = [await attacker.stream(kad_protocol(NETWORK)) for _ in range(KAD_STREAMS_PER_PEER_MAX)]
                for stream in silent:
                    await stream.write(framed(Message(type=Message.PING)))
                    await read_message(ChunkReader(stream))
                assert await asked(attacker, Message(type=Message.PING)) == []
                assert await seek() == {provider.key}

            loop = asyncio.get_running_loop()

            async def seek() -> set[bytes]:
                return await trio.to_thread.run_sync(
                    lambda: asyncio.run_coroutine_threadsafe(seeker.finds(), loop).result(_TIMEOUT_S)
                )

            await attack(first.transport.addresses()[0], act)
            counters = first.transport.counters()
            assert counters["guard_dht_garbage"] >= 3
            assert counters["dht_too_many_streams"] == 1
            assert not counters.get("restarts")
            assert await seeker.finds() == {provider.key}

    run(work)


def test_flood_of_requests__is_cut_off_and_others_are_served() -> None:
    async def work() -> None:
        async with nodes(3) as (first, provider, seeker):
            await provider.announce("arith")

            async def act(attacker: Attacker) -> None:
                ping = Message(type=Message.PING)
                answers = await asked(attacker, *[ping] * (2 * KAD_REQUESTS_BURST))
                assert KAD_REQUESTS_BURST <= len(answers) < 2 * KAD_REQUESTS_BURST

            await attack(first.transport.addresses()[0], act)
            assert first.transport.counters()["dht_over_rate"] == 1
            assert await seeker.finds() == {provider.key}

    run(work)


def test_requests__leave_nothing_behind_of_those_who_asked_and_went(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0]
    monkeypatch.setattr("node.libp2p_kad.time", mock.Mock(monotonic_ns=lambda: clock[0]))
    server = KadServer(NETWORK, SKILLS, Contacts(bytes(32)), Counter())

    async def visit(key: bytes) -> None:
        parts = [framed(Message(type=Message.PING))]

        async def read(_: int) -> bytes:
            if parts:
                return parts.pop()
            raise IOException("gone")

        stream = mock.AsyncMock(read=read, get_remote_address=mock.Mock(return_value=("192.0.2.1", 4101)))
        stream.muxed_conn.peer_id = peer_id(key)
        with contextlib.suppress(IOException):
            await server.handle(stream)
        stream.write.assert_awaited_once()

    for number in range(50):
        trio.run(visit, KeySigner(bytes([number]) * 32).public_key)
        clock[0] += 1_000_000_000
    assert len(server._limit._full_at_ns) <= 1


def lie(node: Node, answer: Callable[[Message], Message | None]) -> None:
    """Let a node answer others with what `answer` gives."""
    stack = node.transport._stack
    assert stack is not None
    honest = stack.dht.server.answer
    stack.dht.server.answer = (  # type: ignore[method-assign]
        lambda peer, host, request: honest(peer, host, request) if peer == node.key else answer(request)
    )


def test_liars__cannot_hide_the_honest_nor_send_a_walk_where_they_like() -> None:
    junk = [KeySigner(bytes([200 + number]) * 32).public_key for number in range(40)]
    victim = Multiaddr("/ip4/127.0.0.1/tcp/9").to_bytes()

    def answer(request: Message) -> Message:
        """Forty closer nodes at the victim's port, forty providers, and a record that is somebody else's."""
        found = Message(type=request.type, key=request.key)
        for key in junk:
            found.closerPeers.append(Message.Peer(id=PEER_ID_PREFIX + key, addrs=[victim] * 8))
            found.providerPeers.append(Message.Peer(id=PEER_ID_PREFIX + key, addrs=[victim] * 8))
        found.record.key, found.record.value = request.key, signed(EVIL, claims())
        return found

    async def work() -> None:
        async with nodes(6) as (_, provider, seeker, *liars):
            for liar in liars:
                await liar.announce("arith")
                lie(liar, answer)
            await provider.announce("arith")
            for _ in range(3):
                found = await seeker.finds()
                assert provider.key in found
                assert found <= {provider.key, *(liar.key for liar in liars)}
            counters = seeker.transport.counters()
            assert counters["dht_forged"] > 0
            # However many names stand at one target, it is knocked at as often as one unreachable peer would be.
            honest = 3 * len(liars) + 3
            assert counters["dht_dials"] <= honest + DIALS_PER_TARGET_MAX
            assert counters["dht_dials_withheld"] > 0

    run(work)


def test_other_implementation_of_the_messages__is_understood() -> None:
    """py-libp2p's own KadDHT, with our protocol id: it finds our contacts, and we answer its questions about providers."""

    async def work() -> None:
        async with nodes(3) as (first, provider, _):
            await provider.announce("arith")

            async def act(attacker: Attacker) -> None:
                target = ID(PEER_ID_PREFIX + first.key)
                with (
                    mock.patch("libp2p.kad_dht.peer_routing.PROTOCOL_ID", kad_protocol(NETWORK)),
                    mock.patch("libp2p.kad_dht.provider_store.PROTOCOL_ID", kad_protocol(NETWORK)),
                    mock.patch("libp2p.kad_dht.value_store.PROTOCOL_ID", kad_protocol(NETWORK)),
                ):
                    dht = KadDHT(attacker.host, DHTMode.CLIENT)
                    key = skill_key(NETWORK, "arith")
                    closer = await dht.peer_routing._query_peer_for_closest(target, key)
                    assert ID(PEER_ID_PREFIX + provider.key) in closer
                    providers, _ = await dht.provider_store._get_providers_from_peer_with_closers(target, key)
                    assert [info.peer_id for info in providers] == [ID(PEER_ID_PREFIX + provider.key)]
                    value = await dht.value_store._get_from_peer(target, record_key(provider.key))
                    assert isinstance(value, bytes)
                    assert open_envelope(value).sender == provider.key

            await attack(first.transport.addresses()[0], act)

    run(work)


# What the victim has counted when an attack is under way, and so many of it.
SEEN = {
    "dht_garbage": ("guard_dht_garbage", 4),
    "dht_flood": ("dht_over_rate", 1),
    "dht_silence": ("dht_too_many_streams", 10),
    "dht_poison": ("dht_refused", 20),
}


@pytest.mark.parametrize("hostile", ATTACKS, ids=lambda hostile: hostile.name)
def test_attack__leaves_the_directory_working(hostile: Attack) -> None:
    async def work() -> None:
        async with nodes(3) as (first, provider, seeker):
            await provider.announce("arith")
            host, port = first.transport.addresses()[0].split("/")[2:5:2]
            target = Target(host, int(port), peer_id(first.key), first.key, NETWORK)
            attacking = asyncio.ensure_future(hostile.run(target))
            counter, count = SEEN[hostile.name]
            while first.transport.counters().get(counter, 0) < count:
                assert not attacking.done()
                assert provider.key in await seeker.finds()
            late = Node(8)
            await late.transport.start()
            try:
                await late.transport.dial(first.transport.addresses()[0])
                assert await late.announce("arith") >= 1
                # Whoever comes during the attack is found as well, and the poison is nobody that can be reached.
                assert {provider.key, late.key} <= await seeker.finds()
            finally:
                await late.transport.close()
            attacking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await attacking
            assert "restarts" not in first.transport.counters()
            assert provider.key in await seeker.finds()

    run(work)
