"""The requester's side: its tasks, their beacons and bids (specs/07-beacon.md); the rest stands in protocol/committee.py.

Questions and audits take the same path with the same sizes and timing, so an executor cannot tell one from the other.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.allocation import ReceivedBid
from protocol.committee import Committee, LeaseMessage
from protocol.constants import BIDS_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.messages import Beacon, Bid, BidAck, input_hash
from protocol.outbox import Outbox
from protocol.own_ledger import OwnLedger
from protocol.parameters import Parameters
from protocol.post import Post
from protocol.standing import Standing
from protocol.step import StepId
from protocol.task import Phase, Task


class Requester:
    """Tasks of this node as requester. `finish` is called once with each task that ended and why.

    `suspect` is given the bytes of a commitment and of an opening that does not match it.
    """

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        standing: Standing,
        entropy: Callable[[int], bytes],
        finish: Callable[[Task, str], None],
        ledger: OwnLedger,
        suspect: Callable[[bytes, bytes], None],
    ) -> None:
        self._post = Post(outbox, ledger)
        self._revision = parameters.revision
        self._standing = standing
        self._committee = Committee(self._post, standing, self._end, suspect)
        self._entropy = entropy
        self._finish = finish
        self._tasks: dict[StepId, Task] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks(self) -> list[Task]:
        """Tasks that have not ended, oldest first."""
        return list(self._tasks.values())

    # --- Beacon

    def add(self, task: Task) -> None:
        """Take in a task; it goes out with `open`."""
        self._tasks[task.step_id] = task

    def open(self, task: Task) -> None:
        """Publish the beacon, which binds the question without showing it."""
        task.phase, task.opened_mono_ms = Phase.BIDDING, self._post.mono_ms
        # That of an audit stands in its batch, which is committed by now.
        task.nonce = task.nonce or self._entropy(32)
        step = task.step_id
        beacon = Beacon(
            step.task,
            step.plan,
            step.step,
            task.requirement.skill,
            task.answer_kind,
            input_hash(task.nonce, task.question, task.answer_kind, task.tokens_max),
            task.committee,
            task.tokens_max,
            WINDOW_MS_MAX,
            # What was asked for, not what is left: a question that waited would be told from an audit by the difference.
            # Who is still at it when the requester's own time is up gets a cancel.
            task.ends_mono_ms - task.begun_mono_ms,
            self._revision,
            *self._post.head(),
        )
        task.beacon_id = self._post.publish(task, beacon).id
        self._post.log("beacon", task, {"skill": beacon.skill})

    def on_bid(self, envelope: Envelope, bid: Bid) -> None:
        """Take a bid, one a bidder, and acknowledge it by signature; after the window it waits for a seat that fails.

        The signature promises that the bid stands in every view of this beacon, so one that came too late for that gets none.
        """
        task = self._tasks.get(bid.step_id)
        if task is None or task.phase is Phase.CALIBRATING or bid.beacon != task.beacon_id:
            raise RemoteProtocolError("late", "a bid for no open beacon of ours")
        bidder = envelope.sender
        if bidder in task.bids:
            raise RemoteProtocolError("repeated", "a second bid of one bidder")
        if task.audit is None and self._standing.rests(bidder) and self._standing.has_other(bidder, task):
            raise RemoteProtocolError("resting", "let a lease run out a moment ago, and another is there who did not")
        # The second half is kept for who earned a weight, or a swarm of new names could bid first and shut them out.
        if len(task.bids) >= (BIDS_MAX if self._standing.weighs(bidder, task) else BIDS_MAX // 2):
            raise RemoteProtocolError("limit", "too many bids")
        task.bids[bidder] = ReceivedBid(bidder, envelope.id, bid)
        task.count(envelope.size)
        task.transcript.append(envelope.data)
        if task.phase is Phase.BIDDING:
            task.acks[bidder] = self._post.send(task, bidder, BidAck(bid.task, bid.plan, bid.step, envelope.id)).data
        self._post.log("bid", task, {"queued": bid.queued}, bidder)

    def _window_closes(self, task: Task) -> bool:
        """Whether waiting for more bids cannot help, or has lasted long enough."""
        elapsed_ms = self._post.mono_ms - task.opened_mono_ms
        if elapsed_ms >= WINDOW_MS_MAX:
            return True
        skill, standing = task.requirement.skill, self._standing
        expected = list(task.examinees) or [peer for peer in standing.candidates(skill) if not standing.rests(peer)]
        if expected and all(peer in task.bids for peer in expected):
            return True
        if task.examinees:
            return sum(peer in task.bids for peer in expected) >= task.committee
        earned = [peer for peer in expected if standing.weighs(peer, task)]
        earned.sort(key=lambda peer: (-standing.counts(peer, skill).mean(task.options), peer))
        # Who earned a weight alone can decide: strangers who offer everything and never bid hold up nobody.
        if earned and all(peer in task.bids for peer in earned[: task.committee]):
            return True
        return elapsed_ms >= WINDOW_MS_MIN and sum(peer in task.bids for peer in earned) >= task.committee

    # --- Leases

    def on_lease_message(self, envelope: Envelope, message: LeaseMessage) -> None:
        """Hand on what an executor says to the task that it is about; raises `RemoteProtocolError` if there is none."""
        task = self._tasks.get(message.step_id)
        if task is None:
            raise RemoteProtocolError("late", "names no task at work")
        self._committee.take(task, envelope, message)

    def on_unreachable(self, peer: bytes) -> None:
        """A channel ended."""
        for task in self.tasks():
            if task.step_id in self._tasks:
                self._committee.lose(task, peer)

    # --- Time

    def deadline_ms(self) -> int | None:
        """The earliest instant at which some task has something to do."""
        return min(map(self._next_ms, self._tasks.values())) if self._tasks else None

    def _next_ms(self, task: Task) -> int:
        if task.phase is Phase.CALIBRATING:
            return task.ends_mono_ms
        if task.phase is not Phase.BIDDING:
            return self._committee.deadline_ms(task)
        elapsed_ms = self._post.mono_ms - task.opened_mono_ms
        window_ms = WINDOW_MS_MIN if elapsed_ms < WINDOW_MS_MIN else WINDOW_MS_MAX
        return min(task.ends_mono_ms, task.opened_mono_ms + window_ms)

    def advance(self) -> None:
        """Close windows and rounds, expire leases, end tasks at their deadline."""
        for task in self.tasks():
            if task.step_id not in self._tasks:
                continue  # abandoned when another step of its plan failed just now
            if task.ends_mono_ms <= self._post.mono_ms:
                self._committee.break_off(task)
            elif task.phase is Phase.BIDDING and self._window_closes(task):
                self._committee.award(task)
            elif task.phase in (Phase.RUNNING, Phase.JUDGING):
                self._committee.advance(task)

    def abandon(self, task: Task) -> None:
        """Break off a task whose answer nobody needs any more; `finish` is not called."""
        if self._tasks.pop(task.step_id, None) is not None:
            self._committee.abandon(task)

    def _end(self, task: Task, reason: str) -> None:
        del self._tasks[task.step_id]
        self._finish(task, reason)
