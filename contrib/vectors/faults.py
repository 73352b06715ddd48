"""Proofs of faults: specs/11-receipt.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import BEACON_ID, KEYS, NETWORK, SIGNERS, TASK, WALL_MS
from protocol import canonical, merkle
from protocol.allocation import view_hash
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import Record
from protocol.envelope import envelope_id, seal
from protocol.faults import Fault
from protocol.ledger import START, make_entry
from protocol.messages import Accept, Award, Bid, BidAck
from protocol.outbox import RECORDS
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.step import StepId

DOCUMENT: Final = "11-receipt.md"
_STEP: Final = StepId(TASK)
_NONCE: Final = b"\x07" * 32
_AWARD_ID: Final = b"\x08" * 32


def _fault(network: bytes, kind: str, parts: list[bytes]) -> bytes:
    return Fault.parse({"kind": kind, "parts": list(parts)}).check(network)


OPERATIONS: Final[dict[str, Operation]] = {"fault": _fault}


def _sealed(by: int, message: Message, issued_ms: int = WALL_MS, network: bytes = NETWORK, to: bytes | str = KEYS[7]) -> bytes:
    return seal(SIGNERS[by], network, message.TYPE, to, message.body(), issued_ms, 60_000)


def _case(kind: str, name: str, parts: list[bytes], code: str | None = "fault") -> Case:
    return Case("fault", f"{kind}: {name}", {"network": NETWORK, "kind": kind, "parts": parts}, code)


def _pair(kind: str, name: str, first: bytes, second: bytes, code: str | None = "fault") -> Case:
    return _case(kind, name, sorted((first, second)), code)


def _award(**changes: object) -> Award:
    fields: dict[str, object] = {
        "task": TASK,
        "plan": 0,
        "step": 0,
        "beacon": BEACON_ID,
        "bid": b"\x01" * 32,
        "view": b"\x02" * 32,
        "seat": 0,
        "nonce": bytes(32),
        "question": "What is 2 + 2?",
        "lease_ms": 6_000,
        "round": 0,
    }
    return Award(**(fields | changes))  # type: ignore[arg-type]


def _awards() -> list[Case]:
    one = _sealed(0, _award())
    other_question = _sealed(0, _award(bid=b"\x03" * 32, question="What is 2 + 3?"))
    again = _sealed(0, _award(), WALL_MS + 1)
    return [
        _pair("awards", "two questions for one beacon", one, other_question, None),
        _pair("awards", "two nonces", one, _sealed(0, _award(bid=b"\x03" * 32, nonce=_NONCE)), None),
        _pair("awards", "one bid, two seats", one, _sealed(0, _award(seat=1)), None),
        _pair("awards", "one bid, two views", one, _sealed(0, _award(view=b"\x09" * 32)), None),
        _pair("awards", "a seat awarded to another bid", one, _sealed(0, _award(bid=b"\x03" * 32))),
        _pair("awards", "one award twice", one, again),
        _pair("awards", "of two beacons", one, _sealed(0, _award(beacon=bytes(32), question="?"))),
        _pair("awards", "of two steps", one, _sealed(0, _award(step=1, question="?"))),
        _pair("awards", "by two signers", one, _sealed(1, _award(question="?"))),
        _case("awards", "not in order", sorted((one, other_question), reverse=True)),
        _case("awards", "one part alone", [one]),
        _case("awards", "one part twice", [one, one]),
        _case("awards", "three parts", sorted((one, other_question, again))),
        _pair("awards", "a part cut short", one, other_question[:-1], "encoding"),
        _pair("awards", "a part of another network", one, _sealed(0, _award(question="?"), network=bytes(32)), "network"),
        _pair("awards", "a part of another type", one, _sealed(0, Accept(TASK, 0, 0, BEACON_ID))),
    ]


def _audits() -> list[Case]:
    def leaf(number: int) -> bytes:
        return canonical.encode([{"task": bytes([number]) * 16}, []])

    def made(by: int, opens: list[bytes], opened_root: bytes | None = None) -> tuple[bytes, bytes]:
        start = make_entry(SIGNERS[by], NETWORK, None, START, {"recovery": bytes(32), "succession": b""}, WALL_MS)
        committed = merkle.root([canonical.encode({"task": bytes([number]) * 16}) for number in (1, 2)])
        audits = make_entry(SIGNERS[by], NETWORK, start, "audits", {"count": 2, "root": committed}, WALL_MS)
        body: dict[str, canonical.Value] = {"leaves": list(opens), "root": committed if opened_root is None else opened_root}
        return audits.data, make_entry(SIGNERS[by], NETWORK, audits, "opening", body, WALL_MS).data

    false = made(0, [leaf(1), leaf(3)])
    return [
        _pair("audits", "another audit than was committed", *false, None),
        _pair("audits", "an audit less", *made(0, [leaf(1)]), None),
        _pair("audits", "in another order", *made(0, [leaf(2), leaf(1)]), None),
        _pair("audits", "those that were committed", *made(0, [leaf(1), leaf(2)])),
        _pair("audits", "of another root", *made(0, [leaf(1), leaf(3)], bytes(32))),
        _pair("audits", "by two signers", false[0], made(1, [leaf(1), leaf(3)])[1]),
        _pair("audits", "an opening alone, twice", false[1], made(0, [leaf(1), leaf(4)])[1]),
        _pair("audits", "an opening of no known form", *made(0, [canonical.encode({})]), "opening"),
    ]


def _commit_sets() -> list[Case]:
    def made(by: int, *members: int, number: int = 0, issued_ms: int = WALL_MS) -> bytes:
        rows = tuple(sorted((KEYS[member], bytes([member]) * 32) for member in members))
        return _sealed(by, CommitSet(TASK, 0, 0, number, rows), issued_ms)

    one = made(0, 1, 2)
    return [
        _pair("commit_sets", "another member", one, made(0, 1, 3), None),
        _pair("commit_sets", "a member less", one, made(0, 1), None),
        _pair("commit_sets", "the same members", one, made(0, 1, 2, issued_ms=WALL_MS + 1)),
        _pair("commit_sets", "of two rounds", one, made(0, 1, number=1)),
        _pair("commit_sets", "by two signers", one, made(1, 1)),
    ]


def _openings() -> list[Case]:
    bound = commitment(NETWORK, _STEP, 0, KEYS[0], _NONCE, "4")

    def commit(by: int = 0, value: bytes = bound, number: int = 0) -> bytes:
        return _sealed(by, Commit(TASK, 0, 0, _AWARD_ID, number, value, 1, 2, 3))

    def reveal(answer: str | None, by: int = 0, nonce: bytes = _NONCE, award: bytes = _AWARD_ID, number: int = 0) -> bytes:
        return _sealed(by, Reveal(TASK, 0, 0, award, number, nonce, answer))

    return [
        _case("opening", "another answer", [commit(), reveal("5")], None),
        _case("opening", "an abstention", [commit(), reveal(None)], None),
        _case("opening", "another nonce", [commit(), reveal("4", nonce=bytes(32))], None),
        _case("opening", "the answer that was sealed", [commit(), reveal("4")]),
        _case("opening", "of two rounds", [commit(), reveal("5", number=1)]),
        _case("opening", "of two awards", [commit(), reveal("5", award=bytes(32))]),
        _case("opening", "by two signers", [commit(), reveal("5", by=1)]),
        _case("opening", "in the wrong order", [reveal("5"), commit()]),
    ]


def _dropped() -> list[Case]:
    def view(*bids: bytes) -> bytes:
        rows: list[canonical.Value] = [[bid, KEYS[1], 0, 0, -1] for bid in bids]
        return canonical.encode({"bids": rows, "newcomer_seats": 0, "options": 10})

    bid = _sealed(1, Bid(TASK, 0, 0, BEACON_ID, 0, 1, 0))
    ack = _sealed(0, BidAck(TASK, 0, 0, envelope_id(bid)), to=KEYS[1])
    without, with_it = view(b"\x01" * 32), view(envelope_id(bid))

    def award(shown: bytes = without, by: int = 0, **changes: object) -> bytes:
        return _sealed(by, _award(view=view_hash(shown), **changes))

    other_ack = _sealed(0, BidAck(TASK, 0, 0, bytes(32)), to=KEYS[1])
    return [
        _case("dropped_bid", "the view lacks it", [bid, ack, award(), without], None),
        _case("dropped_bid", "the view is empty", [bid, ack, award(view()), view()], None),
        _case("dropped_bid", "the view holds it", [bid, ack, award(with_it), with_it]),
        _case("dropped_bid", "another view than the award's", [bid, ack, award(with_it), without]),
        _case("dropped_bid", "another bid was acknowledged", [bid, other_ack, award(), without]),
        _case(
            "dropped_bid", "acknowledged by another", [bid, _sealed(2, BidAck(TASK, 0, 0, envelope_id(bid))), award(), without]
        ),
        _case("dropped_bid", "awarded by another", [bid, ack, award(by=2), without]),
        _case("dropped_bid", "of two beacons", [bid, ack, award(beacon=bytes(32)), without]),
        _case("dropped_bid", "of two steps", [bid, ack, award(step=1), without]),
        _case("dropped_bid", "a view that is none", [bid, ack, award(b"\xc0"), b"\xc0"]),
    ]


def _equivocations() -> list[Case]:
    start = make_entry(SIGNERS[0], NETWORK, None, START, {"recovery": bytes(32), "succession": b""}, WALL_MS)

    def entry(number: int) -> bytes:
        return make_entry(SIGNERS[0], NETWORK, start, "beacon", {"beacon": bytes([number]) * 32}, WALL_MS).data

    foreign = make_entry(SIGNERS[0], bytes(32), None, START, {"recovery": bytes(32), "succession": b""}, WALL_MS)
    other = make_entry(SIGNERS[1], NETWORK, None, START, {"recovery": bytes(32), "succession": b""}, WALL_MS)
    return [
        _pair("equivocation", "two entries with one number", entry(1), entry(2), None),
        _pair("equivocation", "two numbers", start.data, entry(1)),
        _pair("equivocation", "by two authors", start.data, other.data),
        _pair("equivocation", "in two networks", start.data, foreign.data, "network"),
        _pair("equivocation", "an entry cut short", start.data, entry(1)[:-1], "encoding"),
    ]


def _records() -> list[Case]:
    def record(sequence: int = 5, by: int = 0, slots: int = 1, issued_ms: int = WALL_MS) -> bytes:
        made = Record(sequence, {"arith": 500}, "m", 1, "Q8_0", "", 256, 1, slots, available=True, addresses=())
        return _sealed(by, made, issued_ms, to=RECORDS)

    one = record()
    return [
        _pair("records", "two bodies with one number", one, record(slots=2), None),
        _pair("records", "one body, signed again", one, record(issued_ms=WALL_MS + 1)),
        _pair("records", "two numbers", one, record(6, slots=2)),
        _pair("records", "by two signers", one, record(by=1, slots=2)),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *_audits(),
        *_awards(),
        *_commit_sets(),
        *_openings(),
        *_dropped(),
        *_equivocations(),
        *_records(),
        _case("poems", "an unknown kind", [b"x"], "field"),
        _case("records", "an empty part", [b"", b"x"], "field"),
        _case("records", "five parts", [b"x"] * 5, "field"),
    ]
