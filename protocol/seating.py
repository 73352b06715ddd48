"""Who is asked: the award of a task's seats, and who gets one that failed (specs/07-beacon.md, specs/08-execution.md)."""

from __future__ import annotations

from collections import deque

from protocol.allocation import Assignment, ReceivedBid, View, allocate, view_hash
from protocol.constants import ACCEPT_MS_MAX, AWARDS_MAX, EXTRA_SEATS_MAX, LEASE_MS, ROUNDS_MAX, SEAT_SHARE, SEATS_DEFAULT
from protocol.messages import Award
from protocol.outcome import Gate
from protocol.post import Post
from protocol.rounds import seals_mono_ms
from protocol.seats import Seat
from protocol.standing import Standing
from protocol.stopping import alone, is_checked, is_thin
from protocol.task import Phase, Task
from protocol.vote import Vote, tally


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
        asked = asked_of(task, assignment.seats)
        task.reserves.extendleft(bid for bid in reversed(assignment.seats) if bid not in asked)
        for number, bid in enumerate(asked):
            self._offer(task, number, bid)
        return True

    def award_again(self, task: Task, seat: Seat) -> None:
        """Offer a seat that brought no answer to the next bidder who may change something."""
        numbers = [seat.number]
        if task.gate is Gate.ALONE:
            # The one that was to do alone did not: its committee has lost time already.
            task.gate = Gate.WIDENED
            numbers = list(range(SEATS_DEFAULT))
        for number in numbers:
            bid = self._next(task)
            # A vote without a weight changes nothing where one with a weight is there or may come: whoever earned nothing
            # is asked only then, or a crowd of new names could make a question wait for each of them in turn.
            if bid is None or not (task.weight(bid) > 0 or task.audit is not None or not has_vote(task)):
                return
            task.reserves.popleft()
            self._offer(task, number, bid)

    def ask_more(self, task: Task) -> bool:
        """Offer further seats, once, to bidders with a weight if the margin is thin; whether there were any."""
        if task.further or not may_ask_more(task):
            return False
        if self._post.mono_ms >= seals_mono_ms(task) or not is_thin(tally(task.id, task.cast())):
            return False
        number = 1 + max(seat.number for seat in task.seats)
        while task.further < EXTRA_SEATS_MAX and (bid := self._next(task)) is not None and task.weight(bid) > 0:
            task.reserves.popleft()
            self._offer(task, number + task.further, bid)
            task.further += 1
        return task.further > 0

    def _next(self, task: Task) -> ReceivedBid | None:
        """The first reserve, if there is one and the task may make another award."""
        if task.awards >= AWARDS_MAX or task.round >= ROUNDS_MAX:
            return None
        if not task.reserves:
            # The window may have closed on the first few bids; those that came since are next.
            assignment = self._rank(task)
            held = {seat.peer for seat in task.seats}
            ranked = [bid for bid in (*assignment.seats, *assignment.reserves) if bid.bidder not in held]
            candidates = self._standing.candidates(task.requirement.skill)
            for bid in ranked:
                if bid.bidder not in candidates:
                    task.leave(bid.bidder)
            task.reserves.extend(bid for bid in ranked if bid.bidder in candidates)
        return task.reserves[0] if task.reserves else None

    def may_yield(self, task: Task, seat: Seat) -> bool:
        """Whether a reserve is there for a seat that was held for too long: one that is worth no less than its holder."""
        if not seat.at_work or seat.revision or not task.reserves or task.awards >= AWARDS_MAX:
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
        for peer in counts.keys() - known.keys():
            task.imported[peer] = self._standing.imported(peer, task.requirement.skill)
        newcomers = SEATS_DEFAULT if task.audit is not None else 0
        # The partition of the first view stays as well: another one might number the same peers anew.
        clusters = task.view.clusters if task.view is not None else self._standing.clusters()
        task.view = View(task.options, newcomers, counts, clusters)
        task.view_data = task.view.encode(bids)
        task.view_hash = view_hash(task.view_data)
        # The view holds whatever was acknowledged, also of who is not examined or not there any more.
        free = [bid for bid in bids if bid.bidder not in task.gone and (not task.examinees or bid.bidder in task.examinees)]
        return allocate(task.beacon_id, task.committee, free, task.view)

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
        task.views[task.view_hash] = task.view_data
        sent = self._post.send(task, bid.bidder, award)
        now_ms = self._post.mono_ms
        # One hung model leaves the next a fair part of the time; a question near its end goes round by the lease alone.
        yields_ms = now_ms + max(LEASE_MS, (task.ends_mono_ms - now_ms) // SEAT_SHARE)
        task.seats.append(Seat(number, bid, sent.id, now_ms + ACCEPT_MS_MAX, yields_ms, task.round))
        self._post.log("award", task, {"seat": number}, bid.bidder)


def asked_of(task: Task, committee: tuple[ReceivedBid, ...]) -> tuple[ReceivedBid, ...]:
    """Who of a committee is asked at once; the others follow if nothing comes of it."""
    if task.answer_kind == "text":
        # Without enough who earned a weight nobody could judge: the most trusted bidder, and the next one if it fails.
        judged = len(committee) >= SEATS_DEFAULT and all(task.weight(bid) > 0 for bid in committee)
        return committee if judged else committee[:1]
    place = None
    # As many plans as were asked for: what decides is not who writes the same plan, but what comes of each.
    votes_for_answers = task.answer_kind != "plan" and not task.refine
    if task.audit is None and task.view is not None and votes_for_answers:
        clusters = task.view.clusters
        votes = [Vote(bid.bidder, None, task.weight(bid), clusters.get(bid.bidder)) for bid in committee]
        place = alone(votes, [task.view.of(bid).mean(task.options) for bid in committee])
    if place is None:
        return committee
    task.gate = Gate.CHECKED if is_checked([ack for _, ack in sorted(task.acks.items())]) else Gate.ALONE
    return committee if task.gate is Gate.CHECKED else (committee[place],)


def may_ask_more(task: Task) -> bool:
    """Whether a thin margin may ask for further seats: not of texts and plans, which no vote for one of them decides.

    Nor after a revision, which showed the members what all of them had answered.
    """
    return task.audit is None and task.answer_kind not in ("text", "plan") and not task.refined


def has_vote(task: Task) -> bool:
    """Whether an answer with a weight is there, or a holder with one owes its answer."""
    if any(report.answer is not None and report.weight > 0 for report in task.reports):
        return True
    return any(seat.open and task.weight(seat.holder) > 0 for seat in task.seats)
