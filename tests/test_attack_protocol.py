"""The attackers of tests/attack_protocol.py: each against the core with driven time, some over the real wire."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import pytest

from node.config import Config
from node.daemon import running
from node.home import locate
from node.libp2p_address import parse_address
from node.libp2p_transport import Libp2pTransport
from protocol.capability import Record
from protocol.constants import (
    AUDITS_AT_ONCE_MAX,
    BEACONS_BURST,
    DIALS_AT_ONCE_MAX,
    HEADS_BURST,
    PULLS_BURST,
    RECORDS_BURST,
    SEATS_DEFAULT,
    SEEKS_BURST,
)
from protocol.envelope import Envelope, open_envelope
from protocol.events import Deliver, Dial, Effect, Infer, Log, MessageReceived, Persist, Publish, Send
from protocol.identity import KeySigner, peer_id
from protocol.ledger_messages import Entries, Pull
from protocol.messages import Award, Beacon
from protocol.parameters import preset
from tests import attack_protocol, stranger
from tests.attack import Attack, Target
from tests.attack_protocol import ATTACKS, Maker, spoiled_first
from tests.core_bench import STRANGER
from tests.stranger import Sealer, Stranger, spoiled
from tests.support import PARAMETERS, Bench, bid_on, evidence, peers, sent
from tests.test_core_garbage import finish, live

ROUNDS = 48
PATIENCE_S = 30
ATTACKER = peers(1, "attacker")[0]


class Scripted(Stranger):
    """An attacker without a transport: what it would send is taken from it."""

    def __init__(self, bench: Bench, heard: list[Effect]) -> None:
        self.sealer = Sealer(ATTACKER, PARAMETERS.network, bench.core.me)
        self.beacons = deque((item for item in sent(heard, Beacon)), maxlen=8)
        self.gossip = deque([(item.topic, item.data) for item in heard if isinstance(item, Publish)], maxlen=64)


World = tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]], list[Effect]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A core with leases given and a lease of its own, whose clock the attackers share."""
    found = live()
    for module in (attack_protocol, stranger):
        monkeypatch.setattr(module, "wall_ms", lambda: found[0].wall_ms)
    return found


def attacked(world: World, make: Maker, rounds: int = ROUNDS) -> list[Effect]:
    """Send what an attacker sends, from the attacker's channel or by gossip, in one instant; gives what the core did."""
    bench = world[0]
    bench.meet(ATTACKER)
    attacker, mark = Scripted(bench, bench.effects), len(bench.effects)
    for number in range(rounds):
        for topic, data in make(attacker, number):
            bench.step(MessageReceived(ATTACKER.public_key if topic is None else None, data))
    return bench.effects[mark:]


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (attack_protocol.forged, {"signature": ROUNDS}),
        (attack_protocol.long_lived, {"lifetime": ROUNDS}),
        (attack_protocol.expired, {"expired": ROUNDS}),
        (attack_protocol.other_network, {"network": ROUNDS}),
        (attack_protocol.in_others_names, {"signature": ROUNDS // 2, "relayed": ROUNDS // 2}),
        (attack_protocol.oversized, {"size": ROUNDS}),
        (attack_protocol.deep, {"encoding": ROUNDS}),
        (attack_protocol.beacons_of_many, {"unconnected": ROUNDS}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_envelope__that_breaks_a_rule_is_refused_by_its_code_and_nothing_follows(
    world: World, make: Maker, codes: dict[str, int]
) -> None:
    effects = attacked(world, make)
    assert world[0].core.rejected == codes
    # A clock that is far off is told to the owner, once.
    assert len(effects) <= 1
    assert all(isinstance(effect, Log) for effect in effects)
    finish(*world)


@pytest.mark.parametrize(
    "make",
    [
        attack_protocol.replayed,
        attack_protocol.future_dated,
        attack_protocol.junk,
        attack_protocol.lease_talk,
        attack_protocol.spoiled_first,
        attack_protocol.beacons_of_one,
        attack_protocol.records_of_one,
        attack_protocol.records_of_many,
        attack_protocol.ledger_talk,
        attack_protocol.seeks,
    ],
    ids=lambda make: make.__name__,
)
def test_flood__makes_no_work_for_the_model_no_outcome_and_no_message_to_a_third_party(world: World, make: Maker) -> None:
    effects = attacked(world, make, 4 * BEACONS_BURST)
    assert not [item for item in effects if isinstance(item, Infer | Deliver)]
    # Whoever says that it offers a skill is audited: that is not its work but ours, and bounded.
    assert len([item for item in effects if isinstance(item, Publish)]) <= AUDITS_AT_ONCE_MAX
    assert {item.peer for item in effects if isinstance(item, Send)} <= {ATTACKER.public_key}
    assert len([item for item in effects if isinstance(item, Send)]) <= BEACONS_BURST
    assert len([item for item in effects if isinstance(item, Dial)]) <= DIALS_AT_ONCE_MAX
    # The watermark once a second of the victim's own clock, its ledger's entries of what it did itself, and nothing for what
    # strangers say.
    persisted = [item for item in effects if isinstance(item, Persist)]
    assert len([item for item in persisted if item.table != "ledger"]) <= 1
    assert len(persisted) <= 1 + 2 * AUDITS_AT_ONCE_MAX
    finish(*world)


def test_records_of_one_author__are_taken_up_to_their_ration(world: World) -> None:
    attacked(world, attack_protocol.records_of_one, 100)
    assert world[0].core.rejected["rate"] == 100 - RECORDS_BURST


def test_talk_of_ledgers__is_answered_up_to_its_ration_and_believed_in_nothing(world: World) -> None:
    bench = world[0]
    rounds = 4 * PULLS_BURST
    effects = attacked(world, attack_protocol.ledger_talk, rounds)
    answered = sent(effects, Entries)
    pulls = sent(effects, Pull)
    assert len(answered) == PULLS_BURST
    assert bench.core.rejected["rate"] >= rounds // 3 - PULLS_BURST + rounds // 3 - HEADS_BURST
    assert len(pulls) <= HEADS_BURST, "one at a time, and none for entries that nobody asked for"
    assert bench.core.followed.authors() == []
    assert bench.core.ledger.ready


def test_seeks__are_answered_up_to_their_ration(world: World) -> None:
    effects = attacked(world, attack_protocol.seeks, 100)
    others = {peer.public_key for peer in world[1]}
    handed = [envelope.sender for envelope, _ in sent(effects, Record) if envelope.sender in others]
    assert len(handed) == SEEKS_BURST * len(others)
    assert world[0].core.rejected == {"rate": 100 - SEEKS_BURST}


def test_bad_signature__before_the_good_original_keeps_nobody_out(world: World) -> None:
    bench, others, *_ = world
    bench.meet(STRANGER)
    honest = [bench.sealed(STRANGER, stranger.beacon(question="x")), bench.sealed(others[0], stranger.beacon(question="y"))]
    attacker = Scripted(bench, [Publish("beacons", data) for data in honest])
    assert [data for number in range(2) for _, data in spoiled_first(attacker, number)] == [
        spoiled(honest[0]),
        honest[0],
        spoiled(honest[1]),
        honest[1],
    ]
    for data in honest:
        assert open_envelope(data).type == Beacon.TYPE
        bench.step(MessageReceived(None, spoiled(data)))
    assert bench.core.rejected == {"signature": 2}
    mark = len(bench.effects)
    for data in honest:
        bench.step(MessageReceived(None, data))
    # Neither is of a skill that this node offers; what counts is that neither was taken for a replay.
    assert (bench.core.rejected, bench.effects[mark:]) == ({"signature": 2}, [])
    for data in honest:
        bench.step(MessageReceived(None, data))
    assert bench.core.rejected == {"signature": 2, "replay": 2}


def test_bids_of_a_crowd__leave_the_second_half_of_the_places_to_who_earned_a_weight() -> None:
    crowd, known = peers(300, "crowd"), peers(SEATS_DEFAULT)
    bench = Bench(restored=evidence({peer.public_key: 9 for peer in known}))
    for peer in known:
        bench.join(peer)
    mark = len(bench.effects)
    bench.ask("What is 2 + 2?", "arith")
    (out,) = sent(bench.effects[mark:], Beacon)
    for peer in crowd:
        bench.hear(peer, bid_on(out))
        bench.hear(peer, bid_on(out, queued=1))
    assert bench.core.rejected == {"repeated": 128, "limit": 2 * (300 - 128)}
    mark = len(bench.effects)
    bench.bids(out, known)
    assert {award[0].to for award in sent(bench.effects[mark:], Award)} == {peer.public_key for peer in known}


# --- Over the real wire


async def until(told: asyncio.Future[None], condition: Callable[[], bool]) -> None:
    """Wait for what the network brings about, unless the attack ends by itself."""
    while not condition():
        if told.done():
            told.result()
            raise AssertionError("the attack ended by itself")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("forged signatures", "signature"),
        ("beacon flood of fresh keys", "unconnected"),
        ("talk of leases never had", "late"),
        ("record flood of one key", "rate"),
    ],
)
def test_attack__over_the_wire_is_refused_and_leaves_nothing_behind(tmp_path: Path, name: str, code: str) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == name)

    async def main() -> None:
        config = Config(network="local", model="none", listen=("/ip4/127.0.0.1/tcp/0",))
        async with asyncio.timeout(PATIENCE_S), running(locate(str(tmp_path), {}).network("local"), config) as node:
            address = node.transport.addresses()[0]
            where, key = parse_address(address)
            port = where.value_for_protocol("tcp")
            assert port is not None
            network = preset("local").network
            attacking: asyncio.Future[None] = asyncio.ensure_future(
                attack.run(Target("127.0.0.1", int(port), peer_id(key), key, network))
            )
            core = node.executor.core
            await until(attacking, lambda: core.rejected[code] >= 50)
            # Meanwhile somebody else is served.
            honest = Libp2pTransport(b"h" * 32, [], network=network)
            await honest.start()
            assert await honest.dial(address) == key
            attacking.cancel()
            await asyncio.gather(attacking, return_exceptions=True)
            attacking = asyncio.ensure_future(asyncio.sleep(PATIENCE_S))
            await until(attacking, lambda: node.transport.peers() == [honest.peer])
            attacking.cancel()
            await honest.close()
            assert not node.failed.done()

    asyncio.run(main())


def test_table__names_each_attack_once() -> None:
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1
    assert all(isinstance(attack, Attack) for attack in ATTACKS)
