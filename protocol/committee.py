"""The seats of tasks at work, from their awards to the end (specs/08-execution.md).

What executors say moves one seat; `settle` then looks whether a round closes, more is asked for, or the task is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from protocol.ballot import Commit, Reveal
from protocol.constants import LEASE_MS, PROGRESS_MAX
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.judging import Judging
from protocol.messages import Accept, Decline, Progress
from protocol.outcome import SeatReport
from protocol.post import Post
from protocol.refining import Refining
from protocol.review import Judgement
from protocol.rounds import Rounds
from protocol.seating import Seating, has_vote
from protocol.seats import Seat, SeatState
from protocol.standing import Standing
from protocol.task import Phase, Task

# What an executor says about its lease.
LeaseMessage = Accept | Progress | Decline | Commit | Reveal | Judgement


class Committee:
    """Drives tasks that are running or judged. `end` is called with a task that is over, and why.

    `suspect` is given the bytes of a commitment and of an opening that does not match it.
    """

    def __init__(
        self,
        post: Post,
        standing: Standing,
        end: Callable[[Task, str], None],
        suspect: Callable[[bytes, bytes], None],
    ) -> None:
        self._post = post
        self._standing = standing
        self._end = end
        self._suspect = suspect
        self._seating = Seating(post, standing)
        self._rounds = Rounds(post)
        self._refining = Refining(post)
        self._judging = Judging(post)

    def award(self, task: Task) -> None:
        """Offer the seats of a task whose window closed."""
        if not self._seating.award(task):
            self._end(task, "no_bids")

    # --- What executors say

    def take(self, task: Task, envelope: Envelope, message: LeaseMessage) -> None:
        """Move the seat whose award the message names, if its sender holds it; raises `RemoteProtocolError` if not."""
        # A revision is the later one of two under one award.
        seat = next((seat for seat in reversed(task.seats) if seat.award_id == message.award), None)
        if seat is None:
            raise RemoteProtocolError("late", "names no lease of a task at work")
        if seat.peer != envelope.sender:
            raise RemoteProtocolError("impostor", "speaks for another executor's lease")
        task.count(envelope.size)
        if not isinstance(message, Progress):
            task.transcript.append(envelope.data)
        try:
            self._move(task, seat, message)
        except RemoteProtocolError:
            if not isinstance(message, Progress):
                # Nothing came of it, and a holder that repeats itself must not fill the transcript.
                task.transcript.pop()
            raise
        self.settle(task)

    def _move(self, task: Task, seat: Seat, message: LeaseMessage) -> None:
        match message:
            case Commit():
                self._rounds.commit(task, seat, message)
            case Reveal():
                self._reveal(task, seat, message)
            case Decline():
                self._fail(task, seat, "decline", f"declined: {message.reason}")
            case Judgement():
                self._judging.take(task, seat.peer, message)
            case Accept() | Progress():
                self._sign_of_life(seat, message.TYPE)

    def _sign_of_life(self, seat: Seat, event: str) -> None:
        seat.move(event)
        seat.signs += 1
        if seat.signs > PROGRESS_MAX:
            raise RemoteProtocolError("limit", "more signs of life than a lease can need")
        seat.expires_mono_ms = self._post.mono_ms + LEASE_MS

    def _reveal(self, task: Task, seat: Seat, reveal: Reveal) -> None:
        report = self._rounds.reveal(task, seat, reveal)
        if report is None:
            self._suspect(seat.commit_data, task.transcript[-1])
            self._fail(task, seat, "mismatch", "opened another answer")
        elif report.answer is None and task.audit is None and not has_vote(task):
            self._seating.award_again(task, seat)

    def lose(self, task: Task, peer: bytes) -> None:
        """A channel ended: its leases go to the next bids now rather than when they expire."""
        # An award to who is gone would only wait for an accept that cannot come.
        task.leave(peer)
        for seat in list(task.seats):
            if seat.peer == peer and seat.open:
                self._fail(task, seat, "lost", "connection lost")
        task.reserves = deque(bid for bid in task.reserves if bid.bidder != peer)
        self._judging.lose(task, peer)
        self.settle(task)

    def _fail(self, task: Task, seat: Seat, event: str, reason: str) -> None:
        seat.move(event)
        if event in ("expired", "lost"):
            task.note(event, seat.award_id)
        self._report(task, seat, reason)
        self._post.log("lease_missed", task, {"seat": seat.number, "reason": event}, seat.peer)
        if not seat.revision:
            self._seating.award_again(task, seat)

    def _report(self, task: Task, seat: Seat, reason: str) -> None:
        """Say why a seat brought nothing; of a revision, what its holder answered before stands."""
        if not seat.revision:
            task.reports.append(SeatReport(seat.number, seat.peer, reason))

    # --- What follows

    def settle(self, task: Task) -> None:
        """Close the round if nobody else is waited for, and end the task when nothing can change its answer any more."""
        if task.phase is Phase.JUDGING:
            if self._judging.over(task):
                self._judging.end(task)
                self._end(task, "settled")
            return
        if task.phase is not Phase.RUNNING:
            return
        self._rounds.close_if_due(task)
        if not self._rounds.stops(task) or self._seating.ask_more(task):
            return
        for seat in task.seats:
            if seat.open:
                # No fault of its holder's: nothing that it says could change anything.
                task.stopped = True
                self._take_back(task, seat, "unneeded", "not needed")
        if not self._refining.begin(task) and not self._judging.begin(task):
            self._end(task, "settled")

    def _take_back(self, task: Task, seat: Seat, event: str, reason: str) -> None:
        seat.move(event)
        task.note(event, seat.award_id)
        self._report(task, seat, reason)
        self._post.cancel(task, seat.peer, seat.award_id)

    # --- Time

    def deadline_ms(self, task: Task) -> int:
        """When `advance` has something to do."""
        if task.phase is Phase.JUDGING:
            return min(task.ends_mono_ms, task.judging_until_ms)
        due = [seat.expires_mono_ms for seat in task.seats if seat.open and seat.state is not SeatState.COMMITTED]
        due += [seat.yields_mono_ms for seat in task.seats if self._seating.may_yield(task, seat)]
        return min([self._rounds.deadline_ms(task), *due])

    def advance(self, task: Task) -> None:
        """Expire leases and close rounds that are due."""
        if self.deadline_ms(task) > self._post.mono_ms:
            return
        for seat in list(task.seats):
            if self._over(task, seat):
                self._expire(task, seat)
        self.settle(task)

    def break_off(self, task: Task) -> None:
        """The deadline came."""
        # A time that was too short for all says nothing about those who were at it.
        enough = any(seat.state is SeatState.DONE for seat in task.seats)
        for seat in task.seats:
            if not seat.open:
                continue
            if seat.at_work and (enough or seat.yields_mono_ms <= self._post.mono_ms):
                self._standing.rest(seat.peer)
            self._take_back(task, seat, "expired", "deadline")
        self._judging.end(task)
        self._end(task, "deadline")

    def abandon(self, task: Task) -> None:
        """Nobody needs the answer any more."""
        for seat in task.seats:
            if seat.open:
                self._take_back(task, seat, "unneeded", "not needed")

    def _over(self, task: Task, seat: Seat) -> bool:
        """Whether a seat's holder let its time run out; who has committed waits for the others."""
        now_ms = self._post.mono_ms
        if not seat.open or seat.state is SeatState.COMMITTED:
            return False
        return seat.expires_mono_ms <= now_ms or (seat.yields_mono_ms <= now_ms and self._seating.may_yield(task, seat))

    def _expire(self, task: Task, seat: Seat) -> None:
        self._post.cancel(task, seat.peer, seat.award_id)
        self._standing.rest(seat.peer)
        self._fail(task, seat, "expired", "lease expired" if seat.at_work else "withheld")
