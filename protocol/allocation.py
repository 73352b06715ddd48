"""The award: a pure integer function that anyone with the same bids and view computes alike (specs/07-beacon.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol import canonical
from protocol.constants import LOAD_PENALTY_QUEUE_MAX, WEIGHT_ONE
from protocol.evidence import Counts
from protocol.messages import Bid

# In a view's rows, the cluster of who is in none.
ALONE: Final = -1
_NOTHING: Final = Counts()


@dataclass(frozen=True, slots=True)
class ReceivedBid:
    """A bid as the requester has it: who signed it and its envelope's id."""

    bidder: bytes
    id: bytes
    bid: Bid


def view_hash(encoded: bytes) -> bytes:
    """SHA-256 of an encoded view: an award names it, a receipt opens it."""
    return hashlib.sha256(b"tutti/view/1\x00" + encoded).digest()


@dataclass(frozen=True, slots=True)
class View:
    """The integers besides the bids that an award depends on.

    `options` is the skill's K, `counts` the requester's evidence for each bidder, `newcomer_seats` how many seats go first
    to bidders without evidence. An audit gives every seat to those it knows least. `clusters` are the numbers of those who
    share one voice in the vote (protocol/clusters.py); they move no seat, or a mimic could take its victim's.
    """

    options: int
    newcomer_seats: int
    counts: Mapping[bytes, Counts]
    clusters: Mapping[bytes, int] = field(default_factory=dict)

    def hash(self, bids: Sequence[ReceivedBid]) -> bytes:
        """What an award names this view of `bids` by: 32 bytes."""
        return view_hash(self.encode(bids))

    def encode(self, bids: Sequence[ReceivedBid]) -> bytes:
        """The bids' ids and the integers, as they are hashed: a receipt shows them."""
        rows: list[canonical.Value] = [
            [bid.id, bid.bidder, self.of(bid).hits, self.of(bid).misses, self.clusters.get(bid.bidder, ALONE)]
            for bid in sorted(bids, key=lambda item: item.bidder)
        ]
        fields: dict[str, canonical.Value] = {
            "options": self.options,
            "newcomer_seats": self.newcomer_seats,
            "bids": rows,
        }
        return canonical.encode(fields)

    def of(self, bid: ReceivedBid) -> Counts:
        """The evidence for a bidder."""
        return self.counts.get(bid.bidder, _NOTHING)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who gets a seat, in order, and who follows when a lease is missed."""

    seats: tuple[ReceivedBid, ...]
    reserves: tuple[ReceivedBid, ...]


def _draw(beacon: bytes, bidder: bytes) -> bytes:
    # A draw that only a key made after the beacon could aim at; such a key has no evidence and so no weight.
    return hashlib.sha256(b"tutti/draw/1\x00" + beacon + bidder).digest()


def _score(bid: ReceivedBid, view: View) -> int:
    """Expected accuracy less a penalty for queued work, in units of 2^-16: a full queue costs a quarter of certainty."""
    queue = min(bid.bid.queued * WEIGHT_ONE // bid.bid.slots, LOAD_PENALTY_QUEUE_MAX * WEIGHT_ONE)
    return view.of(bid).mean(view.options) - queue // (4 * LOAD_PENALTY_QUEUE_MAX)


def allocate(beacon: bytes, seats: int, bids: Sequence[ReceivedBid], view: View) -> Assignment:
    """Seats for `beacon` (its id) among `bids`, at most one a bidder; pure and independent of the bids' order.

    Order of claim: newcomers up to their seats (by hash of beacon and bidder), bidders whose weight is above zero (by score),
    further newcomers, and last those whom evidence gives no weight; ties by the same hash. Without newcomers' seats, where
    somebody earned a weight, no other vote can count: the others are reserves.
    """
    first: dict[bytes, ReceivedBid] = {}
    # specs/07-beacon.md: "Of several bids of one bidder keep the one with the smallest id."
    for bid in sorted(bids, key=lambda item: item.id):
        first.setdefault(bid.bidder, bid)
    drawn = sorted(first.values(), key=lambda bid: _draw(beacon, bid.bidder))
    newcomers: list[ReceivedBid] = []
    earned: list[ReceivedBid] = []
    unearned: list[ReceivedBid] = []
    for bid in drawn:
        counts = view.of(bid)
        group = newcomers if not counts.any else earned if counts.earns(view.options) else unearned
        group.append(bid)
    for known in (earned, unearned):
        known.sort(key=lambda bid: -_score(bid, view))
    # specs/07-beacon.md: "the first n newcomers by ascending draw; bidders of weight above 0 by descending score, equals by
    # ascending draw; the other newcomers by ascending draw; bidders with evidence and weight 0 by descending score, equals by
    # ascending draw."
    early = newcomers[: view.newcomer_seats]
    ranked = (*early, *earned, *newcomers[len(early) :], *unearned)
    # specs/07-beacon.md: "but if n = 0 and there are bidders of weight above 0, these alone"
    if earned and not view.newcomer_seats:
        seats = min(seats, len(earned))
    return Assignment(tuple(ranked[:seats]), tuple(ranked[seats:]))
