"""The requester's side: beacon, bids, award, leases, vote, outcome (specs/07-beacon.md, specs/08-execution.md).

Questions and audits take the same path with the same sizes and timing, so an executor cannot tell one from the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from protocol.allocation import Assignment, ReceivedBid, View, allocate
from protocol.answers import answer_of
from protocol.constants import (
    ACCEPT_MS_MAX,
    AWARDS_MAX,
    BIDS_MAX,
    LEASE_MS,
    PROGRESS_MAX,
    REST_MS,
    SEAT_SHARE,
    SEATS_DEFAULT,
    WINDOW_MS_MAX,
    WINDOW_MS_MIN,
)
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.evidence import Counts
from protocol.messages import (
    Accept,
    Award,
    Beacon,
    Bid,
    BidAck,
    Cancel,
    Decline,
    Progress,
    Result,
    StepId,
    input_hash,
)
from protocol.outbox import Outbox
from protocol.outcome import SeatReport
from protocol.own_ledger import OwnLedger
from protocol.parameters import Parameters
from protocol.task import SEAT, Phase, Seat, SeatState, Task


class Candidates(Protocol):
    """Who could answer a question of a skill: connected peers that offer it, and this node itself."""

    def __call__(self, skill: str) -> list[bytes]:
        """Public keys, sorted."""
        ...


class Requester:
    """Tasks of this node as requester. `finish` is called once with each task that ended and why."""

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        counts: Callable[[bytes, str, int], Counts],
        clusters: Callable[[], Mapping[bytes, int]],
        candidates: Candidates,
        entropy: Callable[[int], bytes],
        finish: Callable[[Task, str], None],
        ledger: OwnLedger,
    ) -> None:
        self._outbox = outbox
        self._parameters = parameters
        self._counts = counts
        self._clusters = clusters
        self._candidates = candidates
        self._entropy = entropy
        self._finish = finish
        self._ledger = ledger
        self._tasks: dict[StepId, Task] = {}
        self._resting_until_ms: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks(self) -> list[Task]:
        """Tasks that have not ended, oldest first."""
        return list(self._tasks.values())

    def counts(self, peer: bytes, skill: str) -> Counts:
        """What is known now of `peer` in `skill`; for a general question, of all skills together."""
        return self._counts(peer, skill, self._outbox.now.wall_ms)

    # --- Beacon

    def add(self, task: Task) -> None:
        """Take in a task; it goes out with `open`."""
        self._tasks[task.step_id] = task

    def open(self, task: Task) -> None:
        """Publish the beacon, which binds the question without showing it."""
        now_ms = self._outbox.now.mono_ms
        task.phase, task.opened_mono_ms, task.nonce = Phase.BIDDING, now_ms, self._entropy(32)
        step = task.step_id
        beacon = Beacon(
            step.task,
            step.plan,
            step.step,
            task.requirement.skill,
            task.answer_kind,
            input_hash(task.nonce, task.question, task.answer_kind, task.tokens_max),
            SEATS_DEFAULT,
            task.tokens_max,
            WINDOW_MS_MAX,
            # What was asked for, not what is left: a question that waited would be told from an audit by the difference.
            # Who is still at it when the requester's own time is up gets a cancel.
            task.ends_mono_ms - task.begun_mono_ms,
            self._parameters.revision,
        )
        sent = self._outbox.seal_beacon(beacon)
        self._ledger.append("beacon", {"beacon": sent.id})
        self._outbox.publish_beacon(sent)
        task.beacon_id = sent.id
        task.count(len(sent.data))
        self._log("beacon", task, {"skill": beacon.skill})

    def on_bid(self, envelope: Envelope, bid: Bid) -> None:
        """Take a bid, one a bidder, and acknowledge it by signature; after the window it waits for a seat that fails.

        The signature promises that the bid stands in every view of this beacon, so one that came too late for that gets none.
        """
        task = self._tasks.get(bid.step_id)
        if task is None or task.phase is Phase.CALIBRATING or bid.beacon != task.beacon_id:
            raise RemoteProtocolError("late", "a bid for no open beacon of ours")
        if envelope.sender in task.bids:
            raise RemoteProtocolError("repeated", "a second bid of one bidder")
        if task.audit is None and self._rests(envelope.sender) and self._has_other(envelope.sender, task):
            raise RemoteProtocolError("resting", "let a lease run out a moment ago, and another is there who did not")
        # The second half is kept for who earned a weight, or a swarm of new names could bid first and shut them out.
        earned = self.counts(envelope.sender, task.requirement.skill).weight(task.options) > 0
        if len(task.bids) >= (BIDS_MAX if earned else BIDS_MAX // 2):
            raise RemoteProtocolError("limit", "too many bids")
        task.bids[envelope.sender] = ReceivedBid(envelope.sender, envelope.id, bid)
        task.count(envelope.size)
        if task.phase is Phase.BIDDING:
            sent = self._outbox.send(envelope.sender, BidAck(bid.task, bid.plan, bid.step, envelope.id))
            task.count(len(sent.data))
        self._log("bid", task, {"queued": bid.queued}, envelope.sender)

    def _rests(self, peer: bytes) -> bool:
        return self._resting_until_ms.get(peer, 0) > self._outbox.now.mono_ms

    def _rest(self, peer: bytes) -> None:
        """Leave alone for a while who let a lease run out: the next question would wait for it as long."""
        now_ms = self._outbox.now.mono_ms
        self._resting_until_ms = {other: until for other, until in self._resting_until_ms.items() if until > now_ms}
        self._resting_until_ms[peer] = now_ms + REST_MS

    def _has_other(self, peer: bytes, task: Task) -> bool:
        """Whether somebody else who earned a weight could answer."""
        skill = task.requirement.skill
        others = (other for other in self._candidates(skill) if other != peer and not self._rests(other))
        return any(self.counts(other, skill).weight(task.options) > 0 for other in others)

    # --- Award

    def _window_closes(self, task: Task) -> bool:
        """Whether waiting for more bids cannot help, or has lasted long enough."""
        elapsed_ms = self._outbox.now.mono_ms - task.opened_mono_ms
        if elapsed_ms >= WINDOW_MS_MAX:
            return True
        skill = task.requirement.skill
        expected = list(task.examinees) or [peer for peer in self._candidates(skill) if not self._rests(peer)]
        if expected and all(peer in task.bids for peer in expected):
            return True
        if task.examinees:
            return sum(peer in task.bids for peer in expected) >= SEATS_DEFAULT
        earned = [peer for peer in expected if self.counts(peer, skill).weight(task.options) > 0]
        earned.sort(key=lambda peer: (-self.counts(peer, skill).mean(task.options), peer))
        # Who earned a weight alone can decide: strangers who offer everything and never bid hold up nobody.
        if earned and all(peer in task.bids for peer in earned[:SEATS_DEFAULT]):
            return True
        return elapsed_ms >= WINDOW_MS_MIN and sum(peer in task.bids for peer in earned) >= SEATS_DEFAULT

    def _rank(self, task: Task) -> Assignment:
        """Allocate among the bids that are there now; the awards that follow carry the hash of this view."""
        bids = [bid for _, bid in sorted(task.bids.items())]
        # Who was ranked before keeps that evidence, so the last view opens every award and every weight of the task.
        known = task.view.counts if task.view is not None else {}
        counts = {
            bid.bidder: known[bid.bidder] if bid.bidder in known else self.counts(bid.bidder, task.requirement.skill)
            for bid in bids
        }
        newcomers = SEATS_DEFAULT if task.audit is not None else 0
        # The partition of the first view stays as well: another one might number the same peers anew.
        clusters = task.view.clusters if task.view is not None else self._clusters()
        task.view = View(task.options, newcomers, counts, clusters)
        task.view_hash = task.view.hash(bids)
        # The view holds whatever was acknowledged, also of who is not examined or not there any more.
        free = [bid for bid in bids if bid.bidder not in task.gone and (not task.examinees or bid.bidder in task.examinees)]
        return allocate(task.beacon_id, SEATS_DEFAULT, free, task.view)

    def _award(self, task: Task) -> None:
        assignment = self._rank(task)
        if not assignment.seats:
            self._end(task, "no_bids")
            return
        task.phase, task.reserves = Phase.RUNNING, deque(assignment.reserves)
        # Free text is not voted: one seat, the most trusted bidder, and the next one only if it fails.
        count = 1 if task.answer_kind == "text" else len(assignment.seats)
        task.reserves.extendleft(reversed(assignment.seats[count:]))
        for number, bid in enumerate(assignment.seats[:count]):
            self._offer(task, number, bid)

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
        )
        sent = self._outbox.send(bid.bidder, award)
        task.count(len(sent.data))
        now_ms = self._outbox.now.mono_ms
        # One hung model leaves the next a fair part of the time; a question near its end goes round by the lease alone.
        yields_ms = now_ms + max(LEASE_MS, (task.ends_mono_ms - now_ms) // SEAT_SHARE)
        task.seats.append(Seat(number, bid, sent.id, now_ms + ACCEPT_MS_MAX, yields_ms))
        self._log("award", task, {"seat": number}, bid.bidder)

    # --- Leases

    def on_lease_message(self, envelope: Envelope, message: Accept | Progress | Decline | Result) -> None:
        """Move the seat whose award the message names, if its sender holds it."""
        task, seat = self._seat(envelope, message.step_id, message.award)
        task.count(envelope.size)
        if isinstance(message, Result):
            self._result(task, seat, message)
        elif isinstance(message, Decline):
            self._fail(task, seat, "decline", f"declined: {message.reason}")
        else:
            self._move(seat, message.TYPE)
            seat.signs += 1
            if seat.signs > PROGRESS_MAX:
                raise RemoteProtocolError("limit", "more signs of life than a lease can need")
            seat.expires_mono_ms = self._outbox.now.mono_ms + LEASE_MS

    def on_unreachable(self, peer: bytes) -> None:
        """A channel ended: its leases go to the next bids now rather than when they expire."""
        for task in self.tasks():
            if peer in task.bids:
                # An award to who is gone would only wait for an accept that cannot come.
                task.gone.add(peer)
            for seat in list(task.seats):
                if seat.holder.bidder == peer and (seat.state, "lost") in SEAT:
                    self._fail(task, seat, "lost", "connection lost")
            task.reserves = deque(bid for bid in task.reserves if bid.bidder != peer)
            self._settle(task)

    def _seat(self, envelope: Envelope, step: StepId, award: bytes) -> tuple[Task, Seat]:
        task = self._tasks.get(step)
        seat = next((seat for seat in task.seats if seat.award_id == award), None) if task else None
        if task is None or seat is None:
            raise RemoteProtocolError("late", "names no lease of a task at work")
        if seat.holder.bidder != envelope.sender:
            raise RemoteProtocolError("impostor", "speaks for another executor's lease")
        return task, seat

    def _move(self, seat: Seat, event: str) -> None:
        state = SEAT.get((seat.state, event))
        if state is None:
            raise RemoteProtocolError("state", f"{event} of a seat that is {seat.state.value}")
        seat.state = state

    def _result(self, task: Task, seat: Seat, result: Result) -> None:
        self._move(seat, "result")
        answer = answer_of(task.answer_kind, result.text)
        peer = seat.holder.bidder
        # The evidence of the award's view, not today's: whoever re-derives the award re-derives the tally from the same.
        weight = task.view.of(seat.holder).weight(task.options) if task.view is not None else 0
        task.texts[peer] = result.text
        task.reports.append(
            SeatReport(
                seat.number,
                peer,
                "abstained" if answer is None else "answered",
                answer,
                weight,
                result.inference_ms,
                result.prompt_tokens,
                result.completion_tokens,
            )
        )
        self._log("vote", task, {"weight": weight, "elapsed_ms": result.inference_ms}, peer)
        if answer is None and task.audit is None and not self._has_vote(task):
            self._redispatch(task, seat)
        self._settle(task)

    def _fail(self, task: Task, seat: Seat, event: str, reason: str) -> None:
        self._move(seat, event)
        task.reports.append(SeatReport(seat.number, seat.holder.bidder, reason))
        self._log("lease_missed", task, {"seat": seat.number, "reason": event}, seat.holder.bidder)
        self._redispatch(task, seat)
        self._settle(task)

    def _redispatch(self, task: Task, seat: Seat) -> None:
        if len(task.seats) >= AWARDS_MAX:
            return
        if not task.reserves:
            # The window may have closed on the first few bids; those that came since are next.
            assignment = self._rank(task)
            held = {seat.holder.bidder for seat in task.seats}
            free = [peer for peer in self._candidates(task.requirement.skill) if peer not in held]
            task.reserves.extend(bid for bid in (*assignment.seats, *assignment.reserves) if bid.bidder in free)
        if not task.reserves:
            return
        # A vote without a weight changes nothing where one with a weight is there or may come: whoever earned nothing is
        # asked only then, or a crowd of new names could make a question wait for each of them in turn.
        weighs = task.view is not None and task.view.of(task.reserves[0]).weight(task.options) > 0
        if weighs or task.audit is not None or not self._has_vote(task):
            self._offer(task, seat.number, task.reserves.popleft())

    def _has_vote(self, task: Task) -> bool:
        """Whether an answer with a weight is there, or a holder with one is at work."""
        if any(report.answer is not None and report.weight > 0 for report in task.reports):
            return True
        return task.view is not None and any(
            (seat.state, "result") in SEAT and task.view.of(seat.holder).weight(task.options) > 0 for seat in task.seats
        )

    def _settle(self, task: Task) -> None:
        """End the task when no seat is open any more."""
        waiting = any((seat.state, "result") in SEAT for seat in task.seats)
        if task.phase is Phase.RUNNING and task.step_id in self._tasks and not waiting:
            self._end(task, "settled")

    # --- Time

    def deadline_ms(self) -> int | None:
        """The earliest instant at which some task has something to do."""
        return min((self._next_ms(task) for task in self._tasks.values()), default=None)

    def _next_ms(self, task: Task) -> int:
        if task.phase is Phase.BIDDING:
            elapsed_ms = self._outbox.now.mono_ms - task.opened_mono_ms
            window_ms = WINDOW_MS_MIN if elapsed_ms < WINDOW_MS_MIN else WINDOW_MS_MAX
            return min(task.ends_mono_ms, task.opened_mono_ms + window_ms)
        seats = [seat for seat in task.seats if (seat.state, "expired") in SEAT]
        yields = [seat.yields_mono_ms for seat in seats if self._may_yield(task, seat)]
        return min([task.ends_mono_ms, *yields, *(seat.expires_mono_ms for seat in seats)])

    def _may_yield(self, task: Task, seat: Seat) -> bool:
        """Whether a reserve is there for a seat that was held for too long: one that is worth no less than its holder."""
        if not task.reserves or len(task.seats) >= AWARDS_MAX or task.view is None:
            return False
        weights = [task.view.of(bid).weight(task.options) for bid in (task.reserves[0], seat.holder)]
        return weights[0] > 0 or weights[1] == 0

    def advance(self) -> None:
        """Close windows, expire leases, end tasks at their deadline."""
        now_ms = self._outbox.now.mono_ms
        for task in self.tasks():
            if task.ends_mono_ms <= now_ms:
                # A time that was too short for all says nothing about those who were at it.
                enough = any(seat.state is SeatState.DONE for seat in task.seats)
                for seat in task.seats:
                    if (seat.state, "expired") in SEAT:
                        seat.state = SeatState.FAILED
                        task.reports.append(SeatReport(seat.number, seat.holder.bidder, "deadline"))
                        if enough or seat.yields_mono_ms <= now_ms:
                            self._rest(seat.holder.bidder)
                        self._cancel(task, seat)
                self._end(task, "deadline")
            elif task.phase is Phase.BIDDING and self._window_closes(task):
                self._award(task)
            elif task.phase is Phase.RUNNING:
                for seat in list(task.seats):
                    if (seat.state, "expired") in SEAT and self._over(task, seat):
                        self._cancel(task, seat)
                        self._rest(seat.holder.bidder)
                        self._fail(task, seat, "expired", "lease expired")

    def _over(self, task: Task, seat: Seat) -> bool:
        now_ms = self._outbox.now.mono_ms
        return seat.expires_mono_ms <= now_ms or (seat.yields_mono_ms <= now_ms and self._may_yield(task, seat))

    def _cancel(self, task: Task, seat: Seat) -> None:
        step = task.step_id
        sent = self._outbox.send(seat.holder.bidder, Cancel(step.task, step.plan, step.step, seat.award_id))
        task.count(len(sent.data))

    def _end(self, task: Task, reason: str) -> None:
        del self._tasks[task.step_id]
        self._finish(task, reason)

    def _log(self, event: str, task: Task, fields: dict[str, str | int], peer: bytes | None = None) -> None:
        named: dict[str, str | int] = {"task": task.id.hex(), "audit": int(task.audit is not None)}
        if peer is not None:
            named["peer"] = peer.hex()
        self._outbox.log("debug", event, named | fields)
