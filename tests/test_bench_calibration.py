"""The bench that compares daemons with their simulation, on tapes of simulated nodes: what it reads, counts and simulates."""

from __future__ import annotations

from pathlib import Path

import pytest

from contrib.bench import twins
from contrib.bench.observed import LEDGERS, QUESTIONS, Observed, Seen
from contrib.bench.twins import Model, Original
from node.errors import UserError
from node.home import IDENTITY_WORD, Home, write_new
from protocol.events import Effect, MessageReceived, Publish, Send
from protocol.identity import KeySigner
from simnet.answerbook import Said
from simnet.draws import Stream
from simnet.links import Link
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, record, solver
from tests.test_tape import Taped

_NAMES = ("a", "b", "c", "d")
_MODEL = Model(cores=2, message_us=0, write_us=0, latency_us=3_000, hop_us=2_000)
_ASKED = 12
_SETTLE_MS = 60_000


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Original], Observed]:
    """Nodes that wrote tapes while they audited each other and then answered questions, read as daemons' tapes are read."""
    place = tmp_path_factory.mktemp("network")
    world = _MODEL.world(PARAMETERS, 1)
    hosts = [world.add(name, record("arith"), solver(EXPERT), kind=Taped) for name in _NAMES]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.answer(hosts[0], exercise("arith", 1).text)
    world.run(for_ms=_SETTLE_MS)
    begin_ms = world.now_us // 1_000
    for number in range(_ASKED):
        world.answer(hosts[0], exercise("arith", 2 + number).text)
        world.run(for_ms=400)
    end_ms = world.now_us // 1_000
    read = []
    for number, host in enumerate(hosts):
        assert isinstance(host, Taped)
        home = place / host.name
        identity = Home(home, home, home).network(PARAMETERS.name).identity_file
        identity.parent.mkdir(parents=True)
        write_new(identity, f"{IDENTITY_WORD}:{Stream(1, f'key {host.name}').bytes(32).hex()}\n".encode())
        tape = place / f"{host.name}.tape"
        tape.write_bytes(b"".join(host.tapes[0]))
        read.append(Original.read(number, "arith", home, tape, begin_ms))
    return read, Observed([step for node in read for step in node.steps], len(read), begin_ms, end_ms)


def test_tapes__give_questions_outcomes_and_every_message_once(network: tuple[list[Original], Observed]) -> None:
    nodes, observed = network
    assert [asked.text for asked in observed.asked] == [exercise("arith", 2 + number).text for number in range(_ASKED)]
    assert len(observed.outcomes) == _ASKED
    messages = observed.messages()
    # What a node sends to itself goes nowhere.
    asked, own = messages[QUESTIONS], KeySigner(nodes[0].seed).public_key
    assert asked["beacon"] == _ASKED
    assert asked["bid"] == sum(bid.peer != own for outcome in observed.outcomes for bid in outcome.bids)
    assert asked["award"] == sum(seat.peer != own for outcome in observed.outcomes for seat in outcome.seats)
    assert asked.total() < sum(outcome.messages for outcome in observed.outcomes)
    assert messages[LEDGERS]["pull"] == messages[LEDGERS]["entries"] > 0
    steps = [step for node in nodes for step in node.steps if observed.begin_ms <= step.at_ms <= observed.end_ms]
    sent = sum(isinstance(effect, Send | Publish) for step in steps for effect in step.effects)
    assert sum(counts.total() for counts in messages.values()) == sent


def test_handled__counts_both_ends_of_channels_and_an_edge_of_the_mesh_a_copy() -> None:
    effects: list[Effect] = [Send(1, b"k", b"one"), Publish("beacons", b"two")]
    steps = [
        Seen(0, 5, MessageReceived(b"k", b"x"), effects),
        Seen(0, 6, MessageReceived(None, b"y"), []),
        Seen(1, 7, MessageReceived(b"k", b"one"), []),
        Seen(0, 99, MessageReceived(b"k", b"late"), []),
    ]
    assert [Observed(steps, nodes, 0, 10).handled(0) for nodes in (3, 9)] == [1 + 1 + 2 + 2, 1 + 1 + 8 + 6]


def test_hops__are_as_long_as_the_links(network: tuple[list[Original], Observed]) -> None:
    _, observed = network
    hops_ms = observed.hops_ms()
    assert hops_ms["channel"] == pytest.approx(3, abs=0.7)
    assert hops_ms["gossip"] == pytest.approx(5, abs=0.7)
    assert observed.inferences_ms(1)
    assert set(observed.inferences_ms(1)) <= {50, 51}


def test_twins__have_the_same_questions_messages_and_times(
    network: tuple[list[Original], Observed], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, observed = network
    expert = solver(EXPERT)
    monkeypatch.setattr(twins, "said", lambda _, question: Said(expert(question, Stream(1, "said")).text, 40, 20))
    found = twins.asked(nodes, observed, _MODEL, 7)
    assert [asked.text for asked in found.asked] == [asked.text for asked in observed.asked]
    assert [outcome.answer for outcome in found.outcomes] == [outcome.answer for outcome in observed.outcomes]
    one, other = observed.messages(), found.messages()
    # Who is asked alone goes by weights, which are the same, and a lot, which is not.
    assert one[QUESTIONS].total() == pytest.approx(other[QUESTIONS].total(), rel=0.1)
    assert one[LEDGERS]["pull"] == pytest.approx(other[LEDGERS]["pull"], rel=0.2)
    assert found.latency_ms() == pytest.approx(observed.latency_ms(), rel=0.1)
    # The same in a network that is slower differs, or the comparison could not fail.
    slow = Model(cores=1, message_us=3_000, write_us=5_000, latency_us=9_000, hop_us=9_000)
    assert twins.asked(nodes, observed, slow, 7).latency_ms() > 1.3 * observed.latency_ms()
    tasks, messages = twins.audited(nodes, observed, _MODEL, 7)
    assert tasks >= 10
    assert messages > tasks


def test_twin__of_a_tape_that_another_source_made_is_refused(network: tuple[list[Original], Observed], tmp_path: Path) -> None:
    nodes, _ = network
    home = Home(tmp_path, tmp_path, tmp_path).network(PARAMETERS.name).identity_file
    home.parent.mkdir(parents=True)
    write_new(home, f"{IDENTITY_WORD}:{nodes[0].seed.hex()}\n".encode())
    world = World(PARAMETERS, 3, Link())
    host = world.add("a", record("arith"), solver(EXPERT), kind=Taped)
    assert isinstance(host, Taped)
    world.run(for_ms=1_000)
    frames = [bytes(frame) for frame in host.tapes[0]]
    # The digest of its last step.
    last = bytearray(frames[-1])
    last[-2] ^= 1
    tape = tmp_path / "a.tape"
    tape.write_bytes(b"".join([*frames[:-1], bytes(last)]))
    with pytest.raises(UserError, match="another source"):
        Original.read(0, "arith", tmp_path, tape, 10**9)
