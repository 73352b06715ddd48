"""The targets: each takes any bytes and raises only if the protocol's code broke its word.

A parser of peers' bytes raises `RemoteProtocolError` and nothing else; what it lets through keeps the rules of its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

from contrib.fuzz import cores
from contrib.fuzz.draw import Draw
from contrib.fuzz.recorded import recorded
from contrib.fuzz.signed import changed, changed_inside, sealed
from node.errors import UserError
from node.networks import Network, parse, render
from protocol import canonical, directory, merkle, verification
from protocol.addresses import host_of, target_of, worth_dialling
from protocol.answers import answer_of, canonical_answer, is_canonical
from protocol.audit_batch import AUDITS, OPENING, open_leaves, regrade
from protocol.canonical import Value
from protocol.envelope import DOMAIN, open_envelope
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.faults import KINDS as FAULTS
from protocol.faults import Fault
from protocol.genesis import NONCE_SIZE, Genesis
from protocol.gossip import Gate
from protocol.identity import SIGNATURE_SIZE
from protocol.ledger import Entry, check_follows, open_entry, parse_entry
from protocol.meeting import Meeting
from protocol.outbox import BEACONS, TOPICS
from protocol.parameters import Parameters, preset
from protocol.plan import Plan, canonical_plan
from protocol.requirement import RequirementMap
from protocol.schema import Message
from protocol.succession import Succession, old_key, succeed
from protocol.verdict import Verdict
from tests.support import PARAMETERS, REQUIREMENT_MAP, WALL_MS, Bench

Target = Callable[[bytes], None]

_KINDS: Final = ("number", "list", "word", "choice", "text")
CERTAIN: Final = 1_000  # thousandths
# When the recorded run took place.
_NOW_MS: Final = WALL_MS + 30_000


@cache
def _seeds(kind: str) -> list[bytes]:
    if kind == "envelope":
        return [data for found in recorded().envelopes.values() for data in found]
    return [value for _, value in recorded().disk.get(kind, [])]


def _signed(draw: Draw, kind: str) -> bytes:
    """Something that was signed in the recorded run, changed and signed again."""
    return changed(draw, draw.choice(_seeds(kind)), recorded().keys, recorded().ids)


def encoding(data: bytes) -> None:
    """A value that `decode` lets through encodes to the same bytes."""
    with suppress(RemoteProtocolError):
        assert canonical.encode(canonical.decode(data)) == data


def envelope(data: bytes) -> None:
    """Raw bytes, and the same as a payload under a signature that holds."""
    with suppress(RemoteProtocolError):
        open_envelope(data)
    signer = next(iter(recorded().keys.values()))
    with suppress(RemoteProtocolError):
        opened = open_envelope(signer.sign(DOMAIN + data) + data)
        assert opened.sender == signer.public_key


def signed_envelope(data: bytes) -> None:
    """Changed envelopes whose signature holds."""
    with suppress(RemoteProtocolError):
        opened = open_envelope(_signed(Draw(data), "envelope"))
        assert opened.expires_ms > opened.issued_ms


def _subclasses(kind: type[Message]) -> list[type[Message]]:
    return [found for child in kind.__subclasses__() for found in (child, *_subclasses(child))]


def message(data: bytes) -> None:
    """Every body of a message; one that is let through is written as it was read."""
    draw = Draw(data)
    kinds = sorted((kind for kind in _subclasses(Message) if hasattr(kind, "TYPE")), key=lambda kind: kind.__name__)
    kind = draw.choice(kinds)
    seeds = recorded().envelopes.get(kind.TYPE, [])
    body: Value = open_envelope(draw.choice(seeds)).body if seeds else {name: draw.value() for name in kind.RULES}
    for _ in range(draw.below(4)):
        body = draw.changed(body, recorded().ids)
    if isinstance(body, dict):
        with suppress(RemoteProtocolError):
            assert kind.parse(body).body() == body


def gossip(data: bytes) -> None:
    """The gate of each topic gives a verdict on anything."""
    draw = Draw(data)
    topic = draw.choice(TOPICS)
    gate = Gate(PARAMETERS.network, topic, lambda key: key in recorded().keys)
    for raw in (_signed(draw, "envelope"), data):
        verdict, reason = gate.validate(raw, _NOW_MS, 1_000)
        assert isinstance(verdict, Verdict)
        assert (verdict is Verdict.ACCEPT) == (not reason)


def record(data: bytes) -> None:
    """A value of the directory, under any key."""
    draw = Draw(data)
    raw = changed(draw, draw.choice(recorded().envelopes["record"]), recorded().keys, recorded().ids)
    with suppress(RemoteProtocolError):
        key = directory.record_key(raw[draw.below(64) :][:32] if draw.below(4) == 1 else next(iter(recorded().keys)))
        directory.check_value(key, raw, PARAMETERS.network, _NOW_MS)


def saved_peer(data: bytes) -> None:
    """What was kept on disk of a peer: the disk is not trusted more than the wire."""
    draw = Draw(data)
    key, value = draw.choice(recorded().disk["peers"])
    with suppress(RemoteProtocolError):
        Meeting.restored(draw.flipped(value), key, PARAMETERS.network)
    with suppress(RemoteProtocolError):
        Meeting.restored(canonical.encode(draw.changed(canonical.decode(value))), key, PARAMETERS.network)


def entry(data: bytes) -> None:
    """An entry of a ledger, and whether it follows another."""
    draw = Draw(data)
    before = draw.choice(_seeds("ledger"))
    with suppress(RemoteProtocolError):
        check_follows(open_entry(before), open_entry(_signed(draw, "ledger")))
    with suppress(RemoteProtocolError):
        open_entry(data)


def opening(data: bytes) -> None:
    """A batch of audits and its opening, whose leaves are changed before both are signed: any batch is graded or refused."""
    draw = Draw(data)
    entries = [parse_entry(value) for value in _seeds("ledger")]
    found = draw.choice([one for one in entries if one.kind == OPENING])
    # As it stands in the ledger, and with its Merkle root made to fit, so that what is inside is looked at.
    with suppress(RemoteProtocolError, LocalProtocolError):
        leaves = [_leaf(draw, leaf) for leaf in found.body["leaves"]]  # type: ignore[union-attr]
        parts: list[Value] = [canonical.decode(leaf) for leaf in leaves]
        root = merkle.root([canonical.encode(part[0]) for part in parts if isinstance(part, list) and part])
        body: dict[str, Value] = {"leaves": list(leaves), "root": root}
        committed = _entry(found, AUDITS, found.number - 1, {"count": len(leaves), "root": root})
        regrade(committed, _entry(found, OPENING, found.number, body), PARAMETERS)
    with suppress(RemoteProtocolError):
        open_leaves(draw.choice(entries), found)


def _leaf(draw: Draw, leaf: Value) -> bytes:
    assert isinstance(leaf, bytes)
    value = canonical.decode(leaf)
    for _ in range(draw.below(3)):
        if isinstance(value, list) and len(value) > 1 and draw.below(2):
            value = [value[0], changed_inside(draw, value[1], recorded().keys, recorded().ids)]
        else:
            value = draw.changed(value, recorded().ids)
    return canonical.encode(value)


def _entry(like: Entry, kind: str, number: int, body: dict[str, Value]) -> Entry:
    fields: Value = {
        "author": like.author,
        "body": body,
        "kind": kind,
        "network": like.network,
        "number": number,
        "previous": like.previous,
        "wall_ms": like.wall_ms,
    }
    return open_entry(sealed(fields, bytes(SIGNATURE_SIZE), recorded().keys))


def fault(data: bytes) -> None:
    """A proof made of things that nodes signed, changed and signed again: it names who signed them, or is refused."""
    draw = Draw(data)
    kind = draw.choice(sorted(FAULTS))
    parts = []
    for part in FAULTS[kind].parts:
        if part == "view":
            parts.append(canonical.encode({"bids": [[draw.choice(recorded().ids)] for _ in range(draw.below(3))]}))
        else:
            found = draw.choice(_seeds("ledger") if part == "entry" else recorded().envelopes[part])
            parts.append(changed(draw, found, recorded().keys, recorded().ids) if draw.below(3) else found)
    with suppress(RemoteProtocolError, LocalProtocolError):
        assert Fault.decode(Fault.of(kind, *parts).encode()).check(PARAMETERS.network) in recorded().keys
    with suppress(RemoteProtocolError):
        Fault.decode(data).check(PARAMETERS.network)


def receipt(data: bytes) -> None:
    """Receipts changed, inside too, and signed again: what they show is said, or what does not hold first."""
    draw = Draw(data)
    found = draw.choice(recorded().receipts)
    for raw in (changed(draw, found, recorded().keys, recorded().ids), draw.flipped(found), data):
        report = verification.verify(raw, (PARAMETERS,) if draw.below(2) else ())
        assert report.proven or report.failure


def succession(data: bytes) -> None:
    """A statement that a key follows another, changed and raw."""
    draw = Draw(data)
    new, old, recovery, *_ = recorded().keys.values()
    statement = succeed(PARAMETERS.network, old.public_key, new, recovery, draw.choice((None, old))).data()
    for raw in (statement, draw.flipped(statement), _redone(draw, statement), data):
        with suppress(RemoteProtocolError):
            Succession.open(raw)
        old_key(raw)


def _redone(draw: Draw, data: bytes) -> bytes:
    try:
        return canonical.encode(draw.changed(canonical.decode(data), recorded().ids))
    except LocalProtocolError:
        return draw.flipped(data)  # a value that has no encoding


def tree(data: bytes) -> None:
    """A Merkle path: it leads to the root or it is refused."""
    draw = Draw(data)
    leaves = [draw.take(2) for _ in range(1 + draw.below(9))]
    index = draw.below(len(leaves))
    path = merkle.proof(leaves, index)
    merkle.check_proof(merkle.root(leaves), leaves[index], index, len(leaves), path)
    made_up = [draw.choice((*path, draw.take(32))) for _ in range(draw.below(6))] if path else []
    at, count = draw.choice((-1, index, draw.below(300))), draw.choice((0, len(leaves), draw.below(300)))
    with suppress(RemoteProtocolError):
        merkle.check_proof(merkle.root(leaves), leaves[index], at, count, made_up)


def plan(data: bytes) -> None:
    """What a planner wrote: a plan in canonical form is its own canonical form, and its steps can be filled in."""
    text = data.decode("utf-8", "replace")
    found = canonical_plan(text)
    if found is None:
        return
    assert canonical_plan(found) == found
    answers: dict[int, str] = {}
    for number, step in enumerate(Plan.parse(found).steps, 1):
        with suppress(RemoteProtocolError):
            step.filled(answers)
        answers[number] = "4 7 1"


def disk(data: bytes) -> None:
    """A node that starts from a damaged disk says so or goes on; what it restored cannot make it fail later."""
    draw = Draw(data)
    rows = [(table, key, value) for table, found in recorded().disk.items() for key, value in found[:6]]
    for _ in range(1 + draw.below(3)):
        place = draw.below(len(rows))
        table, key, value = rows[place]
        rows[place] = (table, draw.flipped(key), value) if draw.below(4) == 1 else (table, key, _damaged(draw, value))
    with suppress(LocalProtocolError):
        Bench(("arith",), rows, _NOW_MS).wait(1_000)


def _damaged(draw: Draw, value: bytes) -> bytes:
    if draw.below(2):
        with suppress(RemoteProtocolError):
            return _redone(draw, value)
    return changed(draw, value, recorded().keys, recorded().ids)


def answer(data: bytes) -> None:
    """What a model or a peer wrote: an answer in its canonical form is its own canonical form."""
    draw = Draw(data)
    kind = draw.choice(_KINDS)
    text = data[1:].decode("utf-8", "replace")
    for found in (answer_of(kind, text), canonical_answer(kind, text)):
        if found is not None:
            assert canonical_answer(kind, found) == found
    is_canonical(kind, text)


def address(data: bytes) -> None:
    """Addresses that a peer names for itself."""
    found = data.decode("utf-8", "replace").split("\n")[:8]
    worth_dialling(found, ("/ip4/192.0.2.1/tcp/1",))
    for one in found:
        target_of(one)
        host_of(one)


def parameters(data: bytes) -> None:
    """Parameters of a network, whoever wrote them; those that hold can be mapped to."""
    draw = Draw(data)
    founder = next(iter(recorded().keys))
    body: Value = preset(draw.choice(("dev", "local"))).body()
    for _ in range(1 + draw.below(4)):
        body = draw.changed(body)
    if isinstance(body, dict):
        with suppress(RemoteProtocolError):
            found = Parameters.parse(Genesis("fuzz", founder, bytes(NONCE_SIZE)), body)
            RequirementMap(found)("What is 3 plus 4?")


def network_file(data: bytes) -> None:
    """A network file, raw and with a flipped byte: what is wrong with it is told in words."""
    draw = Draw(data)
    signer = next(iter(recorded().keys.values()))
    founded = Parameters(Genesis("fuzz", signer.public_key, bytes(NONCE_SIZE)), 1, PARAMETERS.skills)
    file = render(Network(founded, founded.signed_by(signer), ()))
    for raw in (data, draw.flipped(file)):
        with suppress(UserError):
            parse(raw, "network.json")


def question(data: bytes) -> None:
    """A question's text maps to a requirement, whatever it is."""
    assert 0 <= REQUIREMENT_MAP(data.decode("utf-8", "replace")).similarity <= CERTAIN


def signed_beacon(data: bytes) -> None:
    """Beacons that pass the gate, one after the other: the gate's memory stays what it was."""
    draw = Draw(data)
    gate = Gate(PARAMETERS.network, BEACONS, lambda _: True)
    while draw.more:
        raw = changed(draw, draw.choice(recorded().envelopes["beacon"]), recorded().keys, recorded().ids)
        gate.validate(raw, _NOW_MS, draw.below(10_000))


TARGETS: Final[dict[str, Target]] = {
    "encoding": encoding,
    "envelope": envelope,
    "signed_envelope": signed_envelope,
    "message": message,
    "gossip": gossip,
    "signed_beacon": signed_beacon,
    "record": record,
    "saved_peer": saved_peer,
    "entry": entry,
    "opening": opening,
    "fault": fault,
    "receipt": receipt,
    "succession": succession,
    "tree": tree,
    "plan": plan,
    "disk": disk,
    "answer": answer,
    "address": address,
    "parameters": parameters,
    "network_file": network_file,
    "question": question,
    "cores": cores.cores,
    "flood": cores.Flood(),
}


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with: bytes as they were sent, for the targets that take them so, and some decisions for the others."""
    raw = {
        "encoding": [data[SIGNATURE_SIZE:] for data in _seeds("envelope")],
        "envelope": _seeds("envelope") + [data[SIGNATURE_SIZE:] for data in _seeds("envelope")],
        "entry": _seeds("ledger"),
        "answer": [b"\x00answer: 7", b"\x01answer: [1, 2]", b"\x02answer: Word.", b"\x03answer: yes", b"\x04free text"],
        "address": [b"/ip4/127.0.0.1/tcp/1\n/ip6/::1/tcp/2\n/dns4/a.example/tcp/3"],
        "plan": [b"lists: sort 3 1 2\narith: add #1[1] and #1[2]", b"arith: What is 3 plus 4?\nlogic: Is #1 even?"],
        "question": [b"What is 3 plus 4?", b"Sort the list 3, 1, 2."],
    }
    return [*raw.get(name, []), *(bytes((step * number) % 256 for number in range(96)) for step in (1, 7, 31, 57))]
