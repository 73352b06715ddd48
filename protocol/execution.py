"""The executor's side of a task: bid on a beacon, take a lease, run the model, commit, open (specs/08-execution.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from protocol.answers import answer_of
from protocol.availability import Availability
from protocol.ballot import CommitSet
from protocol.capability import Record
from protocol.commitments import Commitments, OnConflict
from protocol.constants import BIDS_OPEN_MAX, PROGRESS_SHARE
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import CancelInference, EffectDone, Infer
from protocol.leases import Lease, Leases
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, Progress, input_hash
from protocol.outbox import Outbox
from protocol.step import StepId


@dataclass(frozen=True, slots=True)
class OpenBid:
    """A bid that may still be awarded."""

    beacon_id: bytes
    bid_id: bytes
    beacon: Beacon
    ends_mono_ms: int


class Execution:
    """Open bids and leases of this node as executor. `known` says whether a requester earned a weight here.

    `on_conflict` is given two sets that prove that a requester sealed one round twice.
    """

    def __init__(
        self,
        outbox: Outbox,
        slots: int,
        known: Callable[[bytes], bool],
        availability: Availability,
        entropy: Callable[[int], bytes],
        on_conflict: OnConflict,
    ) -> None:
        self._outbox = outbox
        self._availability = availability
        self._known = known
        self._bids: dict[tuple[bytes, StepId], OpenBid] = {}
        self._leases = Leases(slots)
        self._commitments = Commitments(outbox, entropy, on_conflict)

    @property
    def queued(self) -> int:
        """Leases at work; who has committed only waits."""
        return len(self._leases)

    def on_beacon(self, envelope: Envelope, beacon: Beacon, own: Record) -> None:
        """Bid if this node offers the skill; a busy node bids as well and says how busy it is."""
        key = (envelope.sender, beacon.step_id)
        if not own.covers(beacon.skill) or key in self._bids:
            return
        if not self._availability.takes(envelope.sender, beacon.tokens_max):
            return
        bid = Bid(beacon.task, beacon.plan, beacon.step, envelope.id, self.queued, own.slots, own.tokens_per_s)
        bid_id = self._outbox.send(envelope.sender, bid).id
        if len(self._bids) >= BIDS_OPEN_MAX:
            self._forget_bid()
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
        refusal = self._availability.refusal(envelope.sender, beacon.tokens_max)
        if refusal is not None:
            self._decline(envelope.sender, award, envelope.id, refusal)
            return
        known = self._known(envelope.sender)
        if self._leases.full and not self._make_room(envelope.sender, known=known):
            self._decline(envelope.sender, award, envelope.id, "busy")
            return
        # Written down before the accept leaves, so that a restart cannot be used to have more than the owner allows.
        reservation = self._availability.reserve(envelope.sender, beacon.tokens_max)
        self._outbox.send(envelope.sender, Accept(award.task, award.plan, award.step, envelope.id))
        progress_at_ms = self._outbox.now.mono_ms + award.lease_ms // PROGRESS_SHARE
        lease = Lease(envelope.sender, known, award, envelope.id, beacon, bid.ends_mono_ms, progress_at_ms, reservation)
        self._leases.add(lease)
        self._commitments.begin(lease)
        self._start()

    def _make_room(self, requester: bytes, *, known: bool) -> bool:
        """Give back a waiting lease of who holds more than its share."""
        gone = self._leases.giving_way(requester, known=known)
        if gone is None:
            return False
        self._remove(gone)
        self._decline(gone.requester, gone.award, gone.award_id, "busy")
        return True

    def _start(self) -> None:
        """Give the model what it has room for."""
        while (lease := self._leases.next()) is not None:
            lease.effect = self._outbox.number()
            left_ms = max(1, lease.ends_mono_ms - self._outbox.now.mono_ms)
            self._outbox.emit(Infer(lease.effect, lease.award.question, lease.beacon.answer, lease.beacon.tokens_max, left_ms))

    def on_cancel(self, envelope: Envelope, cancel: Cancel) -> None:
        """The requester needs the answer no more."""
        lease = self._leases.get(cancel.award)
        if lease is not None and lease.requester == envelope.sender:
            self._stop(lease)
            self._start()
        elif not self._commitments.cancel(envelope.sender, cancel.award):
            raise RemoteProtocolError("unknown", "cancels a lease that it does not hold")

    def on_commit_set(self, envelope: Envelope, sealed: CommitSet) -> None:
        """A round is closed: open the answer that it binds."""
        self._commitments.on_set(envelope, sealed)

    def on_peer_lost(self, peer: bytes) -> None:
        """Nobody waits for the leases of a requester that went away, and none of its bids can be awarded."""
        self._bids = {key: bid for key, bid in self._bids.items() if key[0] != peer}
        for lease in self._leases.all():
            if lease.requester == peer:
                self._stop(lease)
        self._commitments.forget(peer)
        self._start()

    def _remove(self, lease: Lease) -> None:
        self._leases.remove(lease)
        self._commitments.end(lease)
        if lease.effect is None:
            # The model had not begun; of one that had, nobody knows how much it wrote, so that counts in full.
            self._availability.settle(lease.reservation, 0)

    def _stop(self, lease: Lease) -> None:
        self._remove(lease)
        if lease.effect is not None:
            self._outbox.emit(CancelInference(lease.effect))

    def on_effect_done(self, done: EffectDone) -> bool:
        """The model answered or failed; whether the effect was one of ours."""
        lease = self._leases.inferring(done.effect)
        if lease is None:
            return False
        self._leases.remove(lease)
        self._start()
        if done.result is None:
            # A model that is whole and too small is no fault of its node: the requester must not take it for a miss.
            reason = "length" if done.too_long else "model"
            if done.too_long:
                self._availability.settle(lease.reservation, 0)
            self._commitments.end(lease)
            self._decline(lease.requester, lease.award, lease.award_id, reason)
            self._outbox.log("warning", "inference_failed", {"reason": done.error or "unknown"})
            return True
        self._availability.settle(lease.reservation, done.result.completion_tokens)
        self._commitments.commit(lease, answer_of(lease.beacon.answer, done.result.text), done.result)
        return True

    def deadline_ms(self) -> int | None:
        """When the next sign of life is due, or a lease that waits is over."""
        leases = self._leases.all()
        over = [lease.ends_mono_ms for lease in leases if lease.effect is None]
        return min([*over, *(lease.progress_at_ms for lease in leases)], default=None)

    def advance(self) -> None:
        """Send due signs of life, and forget bids and waiting leases whose task is over."""
        now_ms = self._outbox.now.mono_ms
        for lease in self._leases.all():
            award = lease.award
            if lease.effect is None and lease.ends_mono_ms <= now_ms:
                self._remove(lease)
                self._decline(lease.requester, award, lease.award_id, "busy")
            elif lease.progress_at_ms <= now_ms:
                lease.progress_at_ms = now_ms + max(1, award.lease_ms // PROGRESS_SHARE)
                self._outbox.send(lease.requester, Progress(award.task, award.plan, award.step, lease.award_id))
        self._commitments.expire()
        # Bids are kept in the order they were made, so the first one that is still open ends the search.
        while self._bids and (key := next(iter(self._bids))) and self._bids[key].ends_mono_ms <= now_ms:
            del self._bids[key]

    def _decline(self, requester: bytes, award: Award, award_id: bytes, reason: str) -> None:
        self._outbox.send(requester, Decline(award.task, award.plan, award.step, award_id, reason))

    def _forget_bid(self) -> None:
        """Forget the oldest bid to who has most open, so that one who floods loses its own alone."""
        held = Counter(requester for requester, _ in self._bids)
        most = max(held, key=lambda requester: (held[requester], requester))
        del self._bids[next(key for key in self._bids if key[0] == most)]
