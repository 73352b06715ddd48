"""Attackers of the directory: garbage, floods, silence, and entries that are forged, in others' names or made up in masses.

Each comes as a libp2p peer without a channel, as any stranger can, and under a new key whenever the victim has hung up.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from multiaddr import Multiaddr

from node.kademlia import PEER_ID_PREFIX
from node.libp2p_channel import ChunkReader
from node.libp2p_kad import KAD_MESSAGE_SIZE_MAX, framed, kad_protocol, read_message
from protocol.constants import RECORD_LIFETIME_MS_MAX
from protocol.directory import record_key, skill_key
from protocol.envelope import seal
from protocol.identity import KeySigner
from tests.attack import Attack, Target
from tests.attack_wire import HUNG_UP, Pace, peer_attack
from tests.hostile import Attacker
from tests.support import record

SKILL = "arith"
_NOWHERE = Multiaddr("/ip4/127.0.0.1/tcp/9").to_bytes()


def put(key: bytes, value: bytes) -> Message:
    message = Message(type=Message.PUT_VALUE, key=key)
    message.record.key, message.record.value = key, value
    return message


def provide(key: bytes, peer: bytes) -> Message:
    named = Message.Peer(id=PEER_ID_PREFIX + peer, addrs=[_NOWHERE])
    return Message(type=Message.ADD_PROVIDER, key=key, providerPeers=[named])


async def _say(attacker: Attacker, target: Target, *requests: Message, raw: bytes = b"") -> None:
    """Say it on a new stream and hear the victim out, for a moment."""
    stream = await attacker.stream(kad_protocol(target.network))
    with trio.move_on_after(1):
        await stream.write(b"".join(map(framed, requests)) + raw)
        reader = ChunkReader(stream)
        for _ in requests:
            await read_message(reader)
    await stream.reset()


async def dht_garbage(attacker: Attacker, target: Target) -> None:
    """What is no message, too large a one, and messages that mean nothing."""
    pace = Pace()
    while True:
        huge = Message(type=Message.PUT_VALUE, key=b"k", senderRecord=bytes(KAD_MESSAGE_SIZE_MAX + 1))
        for raw in (os.urandom(300), b"\xff" * 9, framed(huge), framed(Message(type=Message.FIND_NODE))):
            try:
                await _say(attacker, target, raw=raw + b"\xff" * 8)
            except HUNG_UP:
                if attacker.connection.is_closed:
                    raise
            await pace.rest()


async def dht_flood(attacker: Attacker, target: Target) -> None:
    """Requests with the largest answers, without end."""
    pace, request = Pace(), framed(Message(type=Message.GET_PROVIDERS, key=skill_key(target.network, SKILL)))
    while True:
        stream = await attacker.stream(kad_protocol(target.network))
        try:
            for _ in range(40):
                await stream.write(request * 20)
                await pace.rest()
        except HUNG_UP:
            if attacker.connection.is_closed:
                raise
        await stream.reset()


async def dht_silence(attacker: Attacker, target: Target) -> None:
    """Streams that were negotiated and on which nothing is said."""
    pace = Pace()
    while True:
        await attacker.stream(kad_protocol(target.network))
        await pace.rest()


async def dht_poison(attacker: Attacker, target: Target) -> None:
    """A provider that is not there, its record that names a third party, what it forges of others; then under a new key."""
    signer = KeySigner(attacker.host.get_private_key().to_bytes()[:32])
    own = replace(record(SKILL), sequence=1, addresses=(f"/ip4/127.0.0.1/tcp/9/p2p/{attacker.host.get_id()}",))
    now_ms = time.time_ns() // 1_000_000
    data = seal(signer, target.network, own.TYPE, "records", own.body(), now_ms, RECORD_LIFETIME_MS_MAX)
    key = skill_key(target.network, SKILL)
    await _say(attacker, target, provide(key, signer.public_key), put(record_key(signer.public_key), data))
    for forged in (
        provide(key, target.peer),
        provide(os.urandom(34), signer.public_key),
        put(record_key(target.peer), data),
        put(record_key(signer.public_key), data[:-1] + bytes([data[-1] ^ 1])),
        put(os.urandom(34), os.urandom(20_000)),
    ):
        try:
            await _say(attacker, target, forged)
        except HUNG_UP:
            if attacker.connection.is_closed:
                return
    await Pace().rest()


ATTACKS: tuple[Attack, ...] = (
    peer_attack("dht_garbage", dht_garbage),
    peer_attack("dht_flood", dht_flood),
    peer_attack("dht_silence", dht_silence),
    peer_attack("dht_poison", dht_poison, 4),
)
