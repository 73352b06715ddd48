"""The bids of an executor that may still be awarded (specs/07-beacon.md)."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.acknowledged import Acknowledged, oldest_of_most
from protocol.availability import Availability
from protocol.capability import Record
from protocol.constants import BIDS_OPEN_MAX
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.messages import Award, Beacon, Bid, BidAck
from protocol.outbox import Outbox
from protocol.step import StepId


@dataclass(frozen=True, slots=True)
class OpenBid:
    """A bid that may still be awarded."""

    beacon_id: bytes
    bid_id: bytes
    data: bytes
    beacon: Beacon
    ends_mono_ms: int


class Bidding:
    """Bids of this node by requester and step, in the order in which they were made."""

    def __init__(self, outbox: Outbox, availability: Availability, acknowledged: Acknowledged) -> None:
        self._outbox = outbox
        self._availability = availability
        self._acknowledged = acknowledged
        self._bids: dict[tuple[bytes, StepId], OpenBid] = {}

    def bid(self, envelope: Envelope, beacon: Beacon, own: Record, queued: int) -> None:
        """Bid if this node offers the skill; a busy node bids as well and says how busy it is."""
        key = (envelope.sender, beacon.step_id)
        if not own.covers(beacon.skill) or key in self._bids:
            return
        if not self._availability.takes(envelope.sender, beacon.tokens_max):
            return
        bid = Bid(beacon.task, beacon.plan, beacon.step, envelope.id, queued, own.slots, own.tokens_per_s)
        sent = self._outbox.send(envelope.sender, bid)
        if len(self._bids) >= BIDS_OPEN_MAX:
            # The oldest bid to who has most open, so that one who floods loses its own alone.
            del self._bids[oldest_of_most(self._bids)]
        self._bids[key] = OpenBid(envelope.id, sent.id, sent.data, beacon, self._outbox.now.mono_ms + beacon.deadline_ms)

    def acknowledged(self, envelope: Envelope, ack: BidAck) -> None:
        """The requester has our bid, and its signature is kept; raises `RemoteProtocolError` if we made none."""
        bid = self._bids.get((envelope.sender, ack.step_id))
        if bid is None or bid.bid_id != ack.bid:
            raise RemoteProtocolError("unknown", "acknowledges a bid that we did not make")
        if envelope.sender != self._outbox.me:
            self._acknowledged.keep(envelope.sender, ack.step_id, (bid.data, envelope.data))

    def awarded(self, envelope: Envelope, award: Award) -> OpenBid:
        """The bid that an award is for, which is none any more; raises `RemoteProtocolError` if we made none."""
        bid = self._bids.pop((envelope.sender, award.step_id), None)
        if bid is None or bid.beacon_id != award.beacon or bid.bid_id != award.bid:
            # No answer: a decline for each made-up award would let one peer fill our queue.
            raise RemoteProtocolError("unknown", "awards a bid that we did not make")
        return bid

    def lose(self, requester: bytes) -> None:
        """No bid to a requester that went away can be awarded."""
        self._bids = {key: bid for key, bid in self._bids.items() if key[0] != requester}

    def expire(self) -> None:
        """Forget bids whose task is over."""
        now_ms = self._outbox.now.mono_ms
        # They stand in the order in which they were made, so the first one that is still open ends the search.
        while self._bids and (key := next(iter(self._bids))) and self._bids[key].ends_mono_ms <= now_ms:
            del self._bids[key]
