"""Who is asked: the award of a task's seats, and who gets one that failed (specs/07-beacon.md, specs/08-execution.md)."""

from __future__ import annotations

from collections import deque

from protocol.allocation import Assignment, ReceivedBid, View, allocate
from protocol.constants import ACCEPT_MS_MAX, AWARDS_MAX, LEASE_MS, ROUNDS_MAX, SEAT_SHARE, SEATS_DEFAULT
from protocol.messages import Award
from protocol.post import Post
from protocol.seats import Seat
from protocol.standing import Standing
from protocol.task import Phase, Task


class Seating:
    """Ranks bidders and offers them seats."""

    def __init__(self, post: Post, standing: Standing) -> None:
        self._post = post
        self._standing = standing

    def award(self, task: Task) -> bool:
        """Offer the seats of a task whose window closed; False if nobody is there to take one."""
        assignment = self._rank(task)
        if not assignment.seats:
            return False
        task.phase, task.reserves = Phase.RUNNING, deque(assignment.reserves)
        # Free text is not voted: one seat, the most trusted bidder, and the next one only if it fails.
        count = 1 if task.answer_kind == "text" else len(assignment.seats)
        task.reserves.extendleft(reversed(assignment.seats[count:]))
        for number, bid in enumerate(assignment.seats[:count]):
            self._offer(task, number, bid)
        return True

    def award_again(self, task: Task, seat: Seat) -> None:
        """Offer a seat that brought no answer to the next bidder who may change something."""
        if len(task.seats) >= AWARDS_MAX or task.round >= ROUNDS_MAX:
            return
        if not task.reserves:
            # The window may have closed on the first few bids; those that came since are next.
            assignment = self._rank(task)
            held = {seat.peer for seat in task.seats}
            free = [peer for peer in self._standing.candidates(task.requirement.skill) if peer not in held]
            task.reserves.extend(bid for bid in (*assignment.seats, *assignment.reserves) if bid.bidder in free)
        if not task.reserves:
            return
        # A vote without a weight changes nothing where one with a weight is there or may come: whoever earned nothing is
        # asked only then, or a crowd of new names could make a question wait for each of them in turn.
        if task.weight(task.reserves[0]) > 0 or task.audit is not None or not has_vote(task):
            self._offer(task, seat.number, task.reserves.popleft())

    def may_yield(self, task: Task, seat: Seat) -> bool:
        """Whether a reserve is there for a seat that was held for too long: one that is worth no less than its holder."""
        if not seat.at_work or not task.reserves or len(task.seats) >= AWARDS_MAX:
            return False
        return task.weight(task.reserves[0]) > 0 or task.weight(seat.holder) == 0

    def _rank(self, task: Task) -> Assignment:
        """Allocate among the bids that are there now; the awards that follow carry the hash of this view."""
        bids = [bid for _, bid in sorted(task.bids.items())]
        # Who was ranked before keeps that evidence, so the last view opens every award and every weight of the task.
        known = task.view.counts if task.view is not None else {}
        counts = {
            bid.bidder: known[bid.bidder] if bid.bidder in known else self._standing.counts(bid.bidder, task.requirement.skill)
            for bid in bids
        }
        newcomers = SEATS_DEFAULT if task.audit is not None else 0
        # The partition of the first view stays as well: another one might number the same peers anew.
        clusters = task.view.clusters if task.view is not None else self._standing.clusters()
        task.view = View(task.options, newcomers, counts, clusters)
        task.view_hash = task.view.hash(bids)
        # The view holds whatever was acknowledged, also of who is not examined or not there any more.
        free = [bid for bid in bids if bid.bidder not in task.gone and (not task.examinees or bid.bidder in task.examinees)]
        return allocate(task.beacon_id, SEATS_DEFAULT, free, task.view)

    def _offer(self, task: Task, number: int, bid: ReceivedBid) -> None:
        step = task.step_id
        award = Award(
            step.task,
            step.plan,
            step.step,
            task.beacon_id,
            bid.id,
            task.view_hash,
            number,
            task.nonce,
            task.question,
            LEASE_MS,
            task.round,
        )
        sent = self._post.send(task, bid.bidder, award)
        now_ms = self._post.mono_ms
        # One hung model leaves the next a fair part of the time; a question near its end goes round by the lease alone.
        yields_ms = now_ms + max(LEASE_MS, (task.ends_mono_ms - now_ms) // SEAT_SHARE)
        task.seats.append(Seat(number, bid, sent.id, now_ms + ACCEPT_MS_MAX, yields_ms, task.round))
        self._post.log("award", task, {"seat": number}, bid.bidder)


def has_vote(task: Task) -> bool:
    """Whether an answer with a weight is there, or a holder with one owes its answer."""
    if any(report.answer is not None and report.weight > 0 for report in task.reports):
        return True
    return any(seat.open and task.weight(seat.holder) > 0 for seat in task.seats)
