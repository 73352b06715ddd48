"""The executor's side of a task: bid on a beacon, take a lease, run the model, send the result (specs/08-execution.md)."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.capability import Record
from protocol.constants import BIDS_OPEN_MAX, LEASES_MAX, PROGRESS_SHARE, RESULT_TEXT_SIZE_MAX
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import CancelInference, EffectDone, Infer
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, Progress, Result, StepId, input_hash
from protocol.outbox import Outbox


@dataclass(frozen=True, slots=True)
class OpenBid:
    """A bid that may still be awarded."""

    beacon_id: bytes
    bid_id: bytes
    beacon: Beacon
    ends_mono_ms: int


@dataclass(slots=True)
class Lease:
    """An award at work: for whom, under which award, when the next sign of life is due."""

    requester: bytes
    award: Award
    award_id: bytes
    effect: int
    progress_at_ms: int


class Execution:
    """Open bids and leases of this node as executor."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._bids: dict[tuple[bytes, StepId], OpenBid] = {}
        self._leases: dict[bytes, Lease] = {}
        self._by_effect: dict[int, Lease] = {}

    @property
    def queued(self) -> int:
        """Leases at work."""
        return len(self._leases)

    def on_beacon(self, envelope: Envelope, beacon: Beacon, own: Record) -> None:
        """Bid if this node offers the skill; a busy node bids as well and says how busy it is."""
        key = (envelope.sender, beacon.step_id)
        if not own.offers(beacon.skill) or key in self._bids:
            return
        bid = Bid(beacon.task, beacon.plan, beacon.step, envelope.id, self.queued, own.slots, own.tokens_per_s)
        bid_id, _ = self._outbox.send(envelope.sender, bid)
        if len(self._bids) >= BIDS_OPEN_MAX:
            del self._bids[next(iter(self._bids))]
        self._bids[key] = OpenBid(envelope.id, bid_id, beacon, self._outbox.now.mono_ms + beacon.deadline_ms)

    def on_bid_ack(self, envelope: Envelope, ack: BidAck) -> None:
        """The requester has our bid. Kept by nobody yet: the receipt's proofs will need it."""
        bid = self._bids.get((envelope.sender, ack.step_id))
        if bid is None or bid.bid_id != ack.bid:
            raise RemoteProtocolError("unknown", "acknowledges a bid that we did not make")

    def on_award(self, envelope: Envelope, award: Award) -> None:
        """Take the lease and start the model, or say why not; the question must be the one the beacon bound."""
        bid = self._bids.pop((envelope.sender, award.step_id), None)
        if bid is None or bid.beacon_id != award.beacon or bid.bid_id != award.bid:
            # No answer: a decline for each made-up award would let one peer fill our queue.
            raise RemoteProtocolError("unknown", "awards a bid that we did not make")
        beacon = bid.beacon
        if input_hash(award.nonce, award.question, beacon.answer, beacon.tokens_max) != beacon.input_hash:
            self._decline(envelope.sender, award, envelope.id, "input")
            return
        if len(self._leases) >= LEASES_MAX:
            self._decline(envelope.sender, award, envelope.id, "busy")
            return
        now_ms = self._outbox.now.mono_ms
        self._outbox.send(envelope.sender, Accept(award.task, award.plan, award.step, envelope.id))
        effect = self._outbox.number()
        lease = Lease(envelope.sender, award, envelope.id, effect, now_ms + award.lease_ms // PROGRESS_SHARE)
        self._leases[envelope.id] = lease
        self._by_effect[effect] = lease
        self._outbox.emit(Infer(effect, award.question, beacon.answer, beacon.tokens_max, max(1, bid.ends_mono_ms - now_ms)))

    def on_cancel(self, envelope: Envelope, cancel: Cancel) -> None:
        """The requester needs the result no more."""
        lease = self._leases.get(cancel.award)
        if lease is None or lease.requester != envelope.sender:
            raise RemoteProtocolError("unknown", "cancels a lease that it does not hold")
        self._drop(lease)
        self._outbox.emit(CancelInference(lease.effect))

    def on_peer_lost(self, peer: bytes) -> None:
        """Nobody waits for the leases of a requester that went away."""
        for lease in [lease for lease in self._leases.values() if lease.requester == peer]:
            self._drop(lease)
            self._outbox.emit(CancelInference(lease.effect))

    def on_effect_done(self, done: EffectDone) -> bool:
        """The model answered or failed; whether the effect was one of ours."""
        lease = self._by_effect.get(done.effect)
        if lease is None:
            return False
        self._drop(lease)
        if done.result is None:
            # A model that is whole and too small is no fault of its node: the requester must not take it for a miss.
            reason = "length" if done.too_long else "model"
            self._decline(lease.requester, lease.award, lease.award_id, reason)
            self._outbox.log("warning", "inference_failed", {"reason": done.error or "unknown"})
            return True
        award, result = lease.award, done.result
        text = _bounded(result.text)
        self._outbox.send(
            lease.requester,
            Result(
                award.task,
                award.plan,
                award.step,
                lease.award_id,
                text,
                result.prompt_tokens,
                result.completion_tokens,
                result.elapsed_ms,
            ),
        )
        return True

    def deadline_ms(self) -> int | None:
        """When the next sign of life is due."""
        return min((lease.progress_at_ms for lease in self._leases.values()), default=None)

    def advance(self) -> None:
        """Send due signs of life and forget bids whose task is over."""
        now_ms = self._outbox.now.mono_ms
        for lease in self._leases.values():
            if lease.progress_at_ms <= now_ms:
                award = lease.award
                lease.progress_at_ms = now_ms + max(1, award.lease_ms // PROGRESS_SHARE)
                self._outbox.send(lease.requester, Progress(award.task, award.plan, award.step, lease.award_id))
        # Bids are kept in the order they were made, so the first one that is still open ends the search.
        while self._bids and (key := next(iter(self._bids))) and self._bids[key].ends_mono_ms <= now_ms:
            del self._bids[key]

    def _decline(self, requester: bytes, award: Award, award_id: bytes, reason: str) -> None:
        self._outbox.send(requester, Decline(award.task, award.plan, award.step, award_id, reason))

    def _drop(self, lease: Lease) -> None:
        del self._leases[lease.award_id]
        del self._by_effect[lease.effect]


def _bounded(text: str) -> str:
    """The end of a model's output, where the answer stands, within what a result may carry."""
    data = text.encode("utf-8", "replace")
    return data[-RESULT_TEXT_SIZE_MAX:].decode("utf-8", "ignore")
