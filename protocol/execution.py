"""The executor's side of a task: bid on a beacon, take a lease, run the model, commit, open (specs/08-execution.md)."""

from __future__ import annotations

from collections.abc import Callable

from protocol.acknowledged import Acknowledged
from protocol.answers import answer_of
from protocol.availability import Availability
from protocol.ballot import CommitSet
from protocol.bidding import Bidding
from protocol.capability import Record
from protocol.commitments import Bound, Commitments, OnConflict
from protocol.constants import PROGRESS_SHARE
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import JUDGE_KIND, CancelInference, EffectDone, Infer, InferenceResult
from protocol.leases import Lease, Leases
from protocol.messages import Accept, Award, Beacon, BidAck, Cancel, Decline, Progress, input_hash
from protocol.outbox import Outbox
from protocol.review import FIRST, NEITHER, SECOND, Judge, Judgement, Refine


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
        self.acknowledged = Acknowledged()
        self._bidding = Bidding(outbox, availability, self.acknowledged)
        self._leases = Leases(slots)
        self._commitments = Commitments(outbox, entropy, on_conflict)

    @property
    def queued(self) -> int:
        """Leases at work; who has committed only waits."""
        return len(self._leases)

    def on_beacon(self, envelope: Envelope, beacon: Beacon, own: Record) -> None:
        """Bid if this node offers the skill."""
        self._bidding.bid(envelope, beacon, own, self.queued)

    def on_bid_ack(self, envelope: Envelope, ack: BidAck) -> None:
        """The requester has our bid."""
        self._bidding.acknowledged(envelope, ack)

    def on_award(self, envelope: Envelope, award: Award) -> None:
        """Take the lease and start the model, or say why not; the question must be the one the beacon bound."""
        bid = self._bidding.awarded(envelope, award)
        beacon = bid.beacon
        if input_hash(award.nonce, award.question, beacon.answer, beacon.tokens_max) != beacon.input_hash:
            self._decline(envelope.sender, award, envelope.id, "input")
            return
        lease = self._lease(Bound(award, envelope.id, beacon, award.round, bid.ends_mono_ms), envelope.sender)
        refusal = self._refusal(lease)
        if refusal is not None:
            self._decline(envelope.sender, award, envelope.id, refusal)
            return
        # Written down before the accept leaves, so that a restart cannot be used to have more than the owner allows.
        lease.reservation = self._availability.reserve(envelope.sender, beacon.tokens_max)
        self._outbox.send(envelope.sender, Accept(award.task, award.plan, award.step, envelope.id))
        self._leases.add(lease)
        self._commitments.begin(lease)
        self._start()

    def on_judge(self, envelope: Envelope, judge: Judge) -> None:
        """Say which of two texts is better, under an award whose own text is opened; each number once."""
        bound = self._commitments.opened(envelope.sender, judge)
        if bound.beacon.answer != "text":
            raise RemoteProtocolError("state", "asks for a judgement of what is voted")
        if judge.number in bound.judged:
            raise RemoteProtocolError("repeated", "a judgement was asked for already")
        bound.judged.add(judge.number)
        lease = self._lease(bound, envelope.sender)
        lease.judge = judge
        if self._refusal(lease) is not None:
            self._judged(lease, None)
            return
        lease.reservation = self._availability.reserve(envelope.sender, lease.tokens_max)
        self._leases.add(lease)
        self._start()

    def on_refine(self, envelope: Envelope, refine: Refine) -> None:
        """Answer again in view of what others answered, under an award whose answer is opened."""
        bound = self._commitments.opened(envelope.sender, refine)
        if refine.round <= bound.round:
            raise RemoteProtocolError("state", "asks for a revision in a round that is over")
        lease = self._lease(bound, envelope.sender)
        lease.others = refine.answers
        refusal = self._refusal(lease)
        if refusal is not None:
            self._decline(envelope.sender, bound.award, bound.award_id, refusal)
            return
        self._commitments.revise(bound, refine.round)
        lease.reservation = self._availability.reserve(envelope.sender, lease.tokens_max)
        self._leases.add(lease)
        self._start()

    def _lease(self, bound: Bound, requester: bytes) -> Lease:
        progress_at_ms = self._outbox.now.mono_ms + bound.award.lease_ms // PROGRESS_SHARE
        known = self._known(requester)
        return Lease(
            requester, known, bound.award, bound.award_id, bound.beacon, bound.ends_mono_ms, progress_at_ms, reservation=None
        )

    def _refusal(self, lease: Lease) -> str | None:
        """Why a lease cannot be taken; makes room for it if that is fair."""
        refusal = self._availability.refusal(lease.requester, lease.tokens_max)
        if refusal is None and self._leases.full and not self._make_room(lease.requester, known=lease.known):
            return "busy"
        return refusal

    def _make_room(self, requester: bytes, *, known: bool) -> bool:
        """Give back a waiting lease of who holds more than its share."""
        gone = self._leases.giving_way(requester, known=known)
        if gone is None:
            return False
        self._remove(gone)
        self._give_back(gone, "busy")
        return True

    def _give_back(self, lease: Lease, reason: str) -> None:
        """Tell the requester that nothing comes of a lease."""
        if lease.judge is not None:
            self._judged(lease, None)
        else:
            self._decline(lease.requester, lease.award, lease.award_id, reason)

    def _judged(self, lease: Lease, spent: InferenceResult | None) -> None:
        """Send a judgement: none where there was no inference, or an output that is neither."""
        award, judge = lease.award, lease.judge
        assert judge is not None
        preference, cost = NEITHER, (0, 0, 0)
        if spent is not None:
            said = answer_of("choice", spent.text)
            preference = said if said in (FIRST, SECOND) else NEITHER
            cost = spent.prompt_tokens, spent.completion_tokens, spent.elapsed_ms
        step = award.task, award.plan, award.step
        self._outbox.send(lease.requester, Judgement(*step, lease.award_id, judge.number, preference, *cost))

    def _start(self) -> None:
        """Give the model what it has room for."""
        while (lease := self._leases.next()) is not None:
            lease.effect = self._outbox.number()
            left_ms = max(1, lease.ends_mono_ms - self._outbox.now.mono_ms)
            kind, texts = lease.beacon.answer, lease.others or ()
            if lease.judge is not None:
                kind, texts = JUDGE_KIND, (lease.judge.first, lease.judge.second)
            self._outbox.emit(Infer(lease.effect, lease.award.question, kind, lease.tokens_max, left_ms, texts))

    def on_cancel(self, envelope: Envelope, cancel: Cancel) -> None:
        """The requester needs the answer no more."""
        leases = self._leases.under(envelope.sender, cancel.award)
        for lease in leases:
            self._stop(lease)
        if not self._commitments.cancel(envelope.sender, cancel.award) and not leases:
            raise RemoteProtocolError("unknown", "cancels a lease that it does not hold")
        self._start()

    def on_commit_set(self, envelope: Envelope, sealed: CommitSet) -> None:
        """A round is closed: open the answer that it binds."""
        self._commitments.on_set(envelope, sealed)

    def on_peer_lost(self, peer: bytes) -> None:
        """Nobody waits for the leases of a requester that went away, and none of its bids can be awarded."""
        self._bidding.lose(peer)
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
            self._give_back(lease, reason)
            self._outbox.log("warning", "inference_failed", {"reason": done.error or "unknown"})
            return True
        self._availability.settle(lease.reservation, done.result.completion_tokens)
        if lease.judge is not None:
            self._judged(lease, done.result)
        else:
            self._commitments.commit(lease, answer_of(lease.beacon.answer, done.result.text), done.result)
        return True

    def deadline_ms(self) -> int | None:
        """When the next sign of life is due, or a lease that waits is over."""
        if not self._leases:
            return None
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
                self._give_back(lease, "busy")
            elif lease.progress_at_ms <= now_ms:
                lease.progress_at_ms = now_ms + max(1, award.lease_ms // PROGRESS_SHARE)
                if lease.judge is None:
                    self._outbox.send(lease.requester, Progress(award.task, award.plan, award.step, lease.award_id))
        self._commitments.expire()
        self._bidding.expire()

    def _decline(self, requester: bytes, award: Award, award_id: bytes, reason: str) -> None:
        self._outbox.send(requester, Decline(award.task, award.plan, award.step, award_id, reason))
