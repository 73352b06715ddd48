"""Beacon, view and award: specs/07-beacon.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import BEACON_ID, KEYS, TASK
from protocol.allocation import ALONE, ReceivedBid, View, _draw, _score, allocate
from protocol.constants import EVIDENCE_ONE, QUESTION_SIZE_MAX, SEATS_DEFAULT
from protocol.evidence import Counts
from protocol.messages import Bid, input_hash

DOCUMENT: Final = "07-beacon.md"


@dataclass(frozen=True, slots=True)
class _Row:
    """One bid with what its requester knows of the bidder; hits and misses in observations."""

    bidder: int
    hits: int = 0
    misses: int = 0
    queued: int = 0
    slots: int = 1
    cluster: int = ALONE
    bid: int | None = None

    def given(self) -> dict[str, object]:
        number = self.bidder + 1 if self.bid is None else self.bid
        return {
            "id": bytes([number]) * 32,
            "bidder": KEYS[self.bidder],
            "queued": self.queued,
            "slots": self.slots,
            "hits": self.hits * EVIDENCE_ONE,
            "misses": self.misses * EVIDENCE_ONE,
            "cluster": self.cluster,
        }


def _view(options: int, newcomer_seats: int, bids: Sequence[dict[str, object]]) -> View:
    counts = {bid["bidder"]: Counts(bid["hits"], bid["misses"]) for bid in bids}  # type: ignore[arg-type]
    clusters = {bid["bidder"]: bid["cluster"] for bid in bids if bid["cluster"] != ALONE}
    return View(options, newcomer_seats, counts, clusters)  # type: ignore[arg-type]


def _bids(rows: Sequence[dict[str, object]]) -> list[ReceivedBid]:
    return [
        ReceivedBid(row["bidder"], row["id"], Bid(TASK, 0, 0, BEACON_ID, row["queued"], row["slots"], 0))  # type: ignore[arg-type]
        for row in rows
    ]


def _award(beacon: bytes, seats: int, options: int, newcomer_seats: int, bids: list[dict[str, object]]) -> dict[str, object]:
    view, received = _view(options, newcomer_seats, bids), _bids(bids)
    assignment = allocate(beacon, seats, received, view)
    return {
        "view": view.hash(received),
        "scores": [_score(bid, view) for bid in received],
        "draws": [_draw(beacon, bid.bidder) for bid in received],
        "seats": [bid.id for bid in assignment.seats],
        "reserves": [bid.id for bid in assignment.reserves],
    }


OPERATIONS: Final[dict[str, Operation]] = {"input_hash": input_hash, "award": _award}


def _case(name: str, rows: Iterable[_Row], seats: int = SEATS_DEFAULT, options: int = 10, newcomer_seats: int = 0) -> Case:
    given = {"beacon": BEACON_ID, "seats": seats, "options": options, "newcomer_seats": newcomer_seats}
    return Case("award", name, given | {"bids": [row.given() for row in rows]})


def _questions() -> list[Case]:
    rows = {
        "a sum": (bytes(32), "What is 2 + 2?", "number", 256),
        "another nonce": (b"\x01" * 32, "What is 2 + 2?", "number", 256),
        "another budget": (bytes(32), "What is 2 + 2?", "number", 257),
        "another type": (bytes(32), "What is 2 + 2?", "text", 256),
        "beyond ASCII": (bytes(32), "Drehe das Wort \u201eÜbermut\u201c um.", "word", 1),
        "the shortest": (bytes(32), "?", "choice", 4_096),
        "long enough for a head of three bytes": (bytes(32), "why? " * 60, "list", 64),
    }
    assert all(len(question.encode()) <= QUESTION_SIZE_MAX for _, question, _, _ in rows.values())
    names = ("nonce", "question", "answer", "tokens_max")
    return [Case("input_hash", name, dict(zip(names, values, strict=True))) for name, values in rows.items()]


def cases() -> list[Case]:
    """All of this subject."""
    earned = [_Row(0, 9, 1), _Row(1, 10, 0), _Row(2, 8, 2), _Row(3, 10, 2)]
    return [
        *_questions(),
        _case("no bid", []),
        _case("newcomers alone, by draw", [_Row(number) for number in range(5)]),
        _case("fewer bids than seats", [_Row(0), _Row(1)]),
        _case("the example of the document", [_Row(0, 9, 1, cluster=0), _Row(1, 10, 0, 2, cluster=0), _Row(2)], seats=2),
        _case("by score", earned),
        _case("the order of the bids does not matter", reversed(earned)),
        _case("equal scores, by draw", [_Row(number, 9, 1) for number in range(6)]),
        _case("earned weights alone get seats", [_Row(0, 9, 1), _Row(1), _Row(2), _Row(3, 0, 9)]),
        _case("without an earned weight newcomers first", [_Row(0, 0, 9), _Row(1), _Row(2, 1, 9), _Row(3), _Row(4)]),
        _case("a load lowers a score", [_Row(0, 10, 0, 8), _Row(1, 9, 1), _Row(2, 10, 0, 4, 2), _Row(3, 10, 0, 7, 3)]),
        _case("a load lowers it so far and no further", [_Row(0, 10, 0, 8), _Row(1, 10, 0, 1_000_000), _Row(2, 10, 0, 9)]),
        _case("an audit gives newcomers the first seats", [*earned, _Row(4), _Row(5), _Row(6), _Row(7)], newcomer_seats=3),
        _case("an audit with one newcomer", [*earned, _Row(4)], newcomer_seats=3),
        _case("of two bids of one bidder the smaller id", [_Row(0, 9, 1, bid=9), _Row(0, 9, 1, 4, bid=2), _Row(1, 9, 1)]),
        _case("a cluster moves no seat", [_Row(number, 9 + number % 2, 0, cluster=0) for number in range(4)]),
        _case("one seat", earned, seats=1),
        _case("two options", earned, options=2),
    ]
