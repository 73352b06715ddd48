"""Attackers above the transport: peers which speak the wire well and the protocol ill.

Each takes part in the network as far as its attack needs it: it has a channel, hears gossip, and seals envelopes by the same
code as any node. When the victim hangs up, it comes again under a fresh key, for keys cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from node.transport import TransportError
from protocol import canonical
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.canonical import Value
from protocol.constants import (
    CLOCK_SKEW_MS_MAX,
    HEADS_MAX,
    LEASE_MS,
    PULL_COUNT_MAX,
    QUESTION_SIZE_MAX,
    RECORD_LIFETIME_MS_MAX,
    RECORDS_SHARED_MAX,
)
from protocol.envelope import DOMAIN, Envelope, open_envelope
from protocol.identity import SIGNATURE_SIZE, KeySigner
from protocol.ledger_messages import Entries, Heads, Pull
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, Progress
from protocol.outbox import BEACONS, RECORDS, TOPICS
from protocol.schema import Message
from protocol.seek import Seek
from tests.attack import Attack, Target
from tests.stranger import NONCE, QUESTION, Stranger, beacon, bid, dead_address, pace, record, spoiled, wall_ms

# Sealing and sending takes half a millisecond here, so this many a second stay below a third of a core.
PER_S: Final = 300
MANY: Final = 12
_AGAIN_S: Final = 0.5
_JUNK: Final = os.urandom(32)


Act = Callable[[Stranger], Awaitable[None]]


async def _again_and_again(act: Act, target: Target) -> None:
    while True:
        with contextlib.suppress(TransportError):
            await Stranger(target).run(act)
        await asyncio.sleep(_AGAIN_S)


def _attack(name: str, act: Act, keys: int = 1) -> Attack:
    async def run(target: Target) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(keys):
                group.create_task(_again_and_again(act, target))

    return Attack(name, run)


# --- Envelopes that break a rule

Maker = Callable[[Stranger, int], Iterable[tuple[str | None, bytes]]]


def _spraying(make: Maker, per_s: int = PER_S) -> Act:
    """Send what `make` gives, on the channel (None) or to a topic."""

    async def act(stranger: Stranger) -> None:
        async for number in pace(per_s):
            for topic, data in make(stranger, number):
                await (stranger.send(data) if topic is None else stranger.publish(topic, data))

    return act


def everywhere(stranger: Stranger, number: int, **change: Value) -> list[tuple[str | None, bytes]]:
    """A record, a beacon or a bid, each with a change, by the way that it would go."""

    def seal(message: Message) -> bytes:
        return stranger.sealer.message(message, **change)

    match number % 4:
        case 0:
            return [(RECORDS, seal(record(wall_ms() + number)))]
        case 1:
            return [(BEACONS, seal(beacon()))]
        case 2:
            return [(None, seal(record(wall_ms() + number)))]
        case _:
            return [(None, seal(bid(*latest(stranger))))]


def latest(stranger: Stranger) -> tuple[Envelope, Beacon]:
    """The latest beacon of the target, else one that never was."""
    if stranger.beacons:
        return stranger.beacons[-1]
    body = beacon()
    return open_envelope(stranger.sealer.message(body)), body


def forged(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Signatures that do not hold, by a bit or altogether."""
    sound = everywhere(stranger, number)
    return [
        (topic, spoiled(data) if number % 8 < 4 else bytes(SIGNATURE_SIZE) + data[SIGNATURE_SIZE:]) for topic, data in sound
    ]


def spoiled_first(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """A bad signature under what others gossip and under what it sends itself, each before the good one."""
    if stranger.gossip:
        topic, data = stranger.gossip[number % len(stranger.gossip)]
        return [(topic, spoiled(data)), (topic, data)]
    data = stranger.sealer.message(beacon())
    return [(BEACONS, spoiled(data)), (BEACONS, data)]


def replayed(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """What others gossiped, again and on its own channel; and its own bids over and over."""
    own = stranger.sealer.message(bid(*latest(stranger)), issued_ms=wall_ms() // 1_000 * 1_000)
    found: list[tuple[str | None, bytes]] = [(None, own)]
    if stranger.gossip:
        topic, data = stranger.gossip[number % len(stranger.gossip)]
        found += [(topic, data), (None, data)]
    return found


def long_lived(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Envelopes that live for an hour, or for ever."""
    return everywhere(stranger, number, expires_ms=2**53 if number % 8 < 4 else wall_ms() + 3_600_000)


def expired(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Envelopes whose time is over."""
    ago_ms = RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX + 1_000
    return everywhere(stranger, number, issued_ms=wall_ms() - ago_ms)


def future_dated(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Envelopes ahead of every clock, and some just inside the skew that is tolerated."""
    return everywhere(stranger, number, issued_ms=wall_ms() + (9_000 if number % 8 < 4 else 60_000))


def other_network(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Envelopes of another network on the wire of this one."""
    return everywhere(stranger, number, network=bytes(32))


def in_others_names(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Bids that name another sender, or that another key signed truly, on a channel that is neither's."""
    other = KeySigner(os.urandom(32))
    body = bid(*latest(stranger))
    if number % 2:
        return [(None, stranger.sealer.message(body, sender=other.public_key))]
    return [(None, replace(stranger.sealer, signer=other).message(body))]


def _by_hand(stranger: Stranger, value: bytes) -> bytes:
    """An opening with `value`, bytes of an encoding that no encoder of ours would write, signed all the same."""
    plain = stranger.sealer.seal(Reveal.TYPE, stranger.sealer.to, {"a": _JUNK})[SIGNATURE_SIZE:]
    payload = plain.replace(canonical.encode(_JUNK), value)
    return stranger.sealer.signer.sign(DOMAIN + payload) + payload


def oversized(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Bodies far over the limit of an envelope, within that of a frame."""
    size = 900_000 if number % 2 else 70_000
    return [(None, _by_hand(stranger, b"\xdb" + size.to_bytes(4, "big") + b"x" * size))]


def deep(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Bodies nested thousands of times."""
    return [(None, _by_hand(stranger, (b"\x91" * 30_000 if number % 2 else b"\x81\xa1a" * 15_000) + b"\xc0"))]


def junk(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Sound envelopes around bodies that no message has, on topics where they have no place."""
    bodies: list[dict[str, Value]] = [{}, {"a": 1}, beacon().body() | {"more": 1}, dict.fromkeys(Beacon.RULES, _JUNK)]
    kind = ("beacon", "record", "commit", "nonsense", "")[number % 5]
    topic = TOPICS[number % 2]
    data = stranger.sealer.seal(kind, topic, bodies[number % 4])
    return [(topic, data), (None, stranger.sealer.seal(kind, stranger.sealer.to, bodies[number % 4]))]


def lease_talk(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Whatever is said about leases and bids, about those that it never had."""
    _, body = latest(stranger)
    step, award = (body.task, body.plan, body.step), os.urandom(32)
    messages: list[Message] = [
        Accept(*step, award),
        Progress(*step, award),
        Decline(*step, award, "model"),
        Commit(*step, award, 0, _JUNK, 1, 1, 1),
        Reveal(*step, award, 0, _JUNK, f"{number}"),
        Reveal(*step, award, 0, _JUNK, f"{number}" * 1_000),
        CommitSet(*step, 0, ((stranger.sealer.signer.public_key, _JUNK),)),
        Cancel(*step, award),
        BidAck(*step, award),
        Award(*step, _JUNK, award, _JUNK, 0, NONCE, QUESTION, LEASE_MS, 0),
    ]
    return [(None, stranger.sealer.message(messages[number % len(messages)]))]


def records_of_one(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Ever newer records of one author, now here and now there."""
    me = stranger.sealer.signer.public_key
    data = stranger.sealer.message(record(wall_ms() + number, dead_address(me[number % 30 :])))
    return [(RECORDS, data)] if number % 2 else [(None, data)]


def records_of_many(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """A record a key, thousands of keys, each at an address where nobody is."""
    fresh = KeySigner(os.urandom(32))
    data = replace(stranger.sealer, signer=fresh).message(record(1, dead_address(fresh.public_key)))
    return [(RECORDS, data)] if number % 2 else [(None, data)]


def beacons_of_one(stranger: Stranger, _: int) -> list[tuple[str | None, bytes]]:
    """A beacon after the other, none of which is awarded."""
    return [(BEACONS, stranger.sealer.message(beacon()))]


def beacons_of_many(stranger: Stranger, _: int) -> list[tuple[str | None, bytes]]:
    """A beacon a key, of keys that nobody is connected to."""
    return [(BEACONS, replace(stranger.sealer, signer=KeySigner(os.urandom(32))).message(beacon()))]


def ledger_talk(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Heads that are not true, of the target's own ledger as well; pulls without end; entries that nobody asked for."""
    me, target = stranger.sealer.signer.public_key, stranger.sealer.to
    authors = (me, target, *(os.urandom(32) for _ in range(HEADS_MAX - 2)))
    told = tuple(author + (number % 3).to_bytes(8, "big") + os.urandom(32) for author in authors)
    noise = (os.urandom(200),) * PULL_COUNT_MAX
    messages: list[Message] = [Heads(told), Pull(target, 0, PULL_COUNT_MAX), Entries(me, 0, noise)]
    return [(None, stranger.sealer.message(messages[number % len(messages)]))]


def seeks(stranger: Stranger, number: int) -> list[tuple[str | None, bytes]]:
    """Seeks without end, each of which may bring many records; some by gossip."""
    data = stranger.sealer.message(Seek(RECORDS_SHARED_MAX))
    return [(RECORDS, data)] if number % 8 == 0 else [(None, data)]


# --- Bidders and executors


async def bid_flood(stranger: Stranger) -> None:
    """Bid on each beacon hundreds of times."""
    await stranger.offer()
    async for _ in pace(PER_S):
        await stranger.say(bid(*latest(stranger)))


async def bid_once(stranger: Stranger) -> None:
    """Bid on every beacon as an idle expert would; with many keys that is a crowd."""
    await stranger.offer()
    while True:
        envelope, body = await stranger.next(Beacon)
        assert isinstance(body, Beacon)
        await stranger.say(bid(envelope, body))


async def never_bid(stranger: Stranger) -> None:
    """Be a candidate for whom everybody waits."""
    await stranger.offer()
    async for _ in pace(1):
        if stranger.mail.full():
            stranger.mail.get_nowait()


def _holding(act: Callable[[Stranger, Envelope, Award], Awaitable[None]]) -> Act:
    """Bid on everything and do `act` with each award."""

    async def run(stranger: Stranger) -> None:
        await stranger.offer()
        async with asyncio.TaskGroup() as group:
            while True:
                envelope, message = await stranger.mail.get()
                if isinstance(message, Beacon):
                    await stranger.say(bid(envelope, message))
                elif isinstance(message, Award):
                    group.create_task(_ignoring_ends(act(stranger, envelope, message)))

    async def _ignoring_ends(work: Awaitable[None]) -> None:
        with contextlib.suppress(TransportError):
            await work

    return run


async def accept_and_sleep(stranger: Stranger, award: Envelope, body: Award) -> None:
    """Accept, and never be heard of again."""
    await stranger.say(Accept(body.task, body.plan, body.step, award.id))


async def accept_and_pretend(stranger: Stranger, award: Envelope, body: Award) -> None:
    """Accept, and be at work for ever."""
    await stranger.say(Accept(body.task, body.plan, body.step, award.id))
    async for _ in pace(20):
        await stranger.say(Progress(body.task, body.plan, body.step, award.id))


async def answer_late(stranger: Stranger, award: Envelope, body: Award) -> None:
    """Commit when the lease is over, again and again."""
    await asyncio.sleep(LEASE_MS / 1_000 + 1)
    async for number in pace(20):
        await stranger.say(Commit(body.task, body.plan, body.step, award.id, 0, os.urandom(32), 1, 1, 1))
        if number > 100:
            return


async def answer_another(stranger: Stranger, award: Envelope, body: Award) -> None:
    """Answer under its own award for the tasks of others."""
    async for number in pace(20):
        _, other = latest(stranger)
        await stranger.say(Commit(other.task, other.plan, other.step, award.id, 0, os.urandom(32), 1, 1, 1))
        await stranger.say(Commit(body.task, body.plan, 1, award.id, 0, os.urandom(32), 1, 1, 1))
        if number > 100:
            return


async def decline_all(stranger: Stranger, award: Envelope, body: Award) -> None:
    """Give every lease back."""
    await stranger.say(Decline(body.task, body.plan, body.step, award.id, "busy"))


# --- Requesters


def _asking(question: str, per_s: int, *, cancel: bool, forge: bool) -> Act:
    """Award every bid that the target makes: the longest questions, leases that are taken back, awards that were never due."""

    async def run(stranger: Stranger) -> None:
        awarding = asyncio.ensure_future(award(stranger))
        try:
            async for _ in pace(per_s):
                await stranger.say(beacon(question=question))
                if awarding.done():
                    awarding.result()
        finally:
            awarding.cancel()
            await asyncio.gather(awarding, return_exceptions=True)

    async def award(stranger: Stranger) -> None:
        while True:
            envelope, body = await stranger.next(Bid)
            assert isinstance(body, Bid)
            step = (body.task, body.plan, body.step)
            offer = Award(*step, body.beacon, envelope.id, bytes(32), 0, NONCE, question, LEASE_MS, 0)
            await stranger.say(offer)
            if forge:
                for seat in range(1, 8):
                    await stranger.say(replace(offer, seat=seat))
            if cancel:
                accepted, _ = await stranger.next(Accept)
                taken = Accept.parse(accepted.body)
                await stranger.say(Cancel(taken.task, taken.plan, taken.step, taken.award))

    return run


_LONG: Final = ("What is 2 + 2? " * QUESTION_SIZE_MAX)[:QUESTION_SIZE_MAX]

ATTACKS: Final[tuple[Attack, ...]] = (
    _attack("forged signatures", _spraying(forged)),
    _attack("bad signature before the good one", _spraying(spoiled_first, PER_S // 2)),
    _attack("replays", _spraying(replayed, PER_S // 2)),
    _attack("expired envelopes", _spraying(expired)),
    _attack("long-lived envelopes", _spraying(long_lived)),
    _attack("future-dated envelopes", _spraying(future_dated)),
    _attack("envelopes of another network", _spraying(other_network)),
    _attack("bids in others' names", _spraying(in_others_names)),
    _attack("oversized bodies", _spraying(oversized, 10)),
    _attack("deep bodies", _spraying(deep, 100)),
    _attack("junk in valid envelopes", _spraying(junk, PER_S // 2)),
    _attack("talk of leases never had", _spraying(lease_talk)),
    _attack("bid flood of one key", bid_flood),
    _attack("bid flood of many keys", bid_once, MANY),
    _attack("candidates that never bid", never_bid, MANY),
    _attack("accepted and silent", _holding(accept_and_sleep), MANY // 2),
    _attack("accepted and at work for ever", _holding(accept_and_pretend), MANY // 2),
    _attack("late commitments", _holding(answer_late), MANY // 2),
    _attack("commitments for another task", _holding(answer_another), MANY // 2),
    _attack("leases given back", _holding(decline_all), MANY // 2),
    _attack("award flood", _asking(QUESTION, 100, cancel=False, forge=True)),
    _attack("longest questions", _asking(_LONG, 30, cancel=False, forge=False)),
    _attack("questions of many keys", _asking(QUESTION, 10, cancel=False, forge=False), MANY),
    _attack("leases taken back", _asking(QUESTION, 50, cancel=True, forge=False)),
    _attack("beacon flood of one key", _spraying(beacons_of_one)),
    _attack("beacon flood of fresh keys", _spraying(beacons_of_many)),
    _attack("record flood of one key", _spraying(records_of_one)),
    _attack("record flood of fresh keys", _spraying(records_of_many)),
    _attack("talk of ledgers", _spraying(ledger_talk)),
    _attack("seeks without end", _spraying(seeks)),
)
