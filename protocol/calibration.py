"""When a question may go out: after a while in which those who could answer it are audited (specs/06-ledger.md).

And within the ration that others have for this node's beacons (specs/07-beacon.md): nobody would hear what goes beyond it.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.audits import Audits
from protocol.capability import GENERAL
from protocol.constants import (
    AUDITS_AT_ONCE_MAX,
    BEACON_MS,
    BEACONS_BURST,
    BEACONS_SPARE,
    CALIBRATION_MS_MAX,
    DEADLINE_MS_DEFAULT,
    SEATS_DEFAULT,
)
from protocol.outbox import Outbox
from protocol.peers import PeerTable
from protocol.rates import Bucket
from protocol.requester import Requester
from protocol.requirement import Requirement
from protocol.standing import Standing
from protocol.task import Phase, Task

# Makes a task of a text, its requirement, the request that it is for, and its deadline in ms.
TaskMaker = Callable[[str, Requirement, bytes | None, int], Task]


class Calibration:
    """Runs audits and opens the questions that wait for them.

    `deaf_ms`: how long bids would still pass for replays. `version` changes with whatever is known of those who could answer.
    """

    def __init__(
        self,
        outbox: Outbox,
        peers: PeerTable,
        requester: Requester,
        standing: Standing,
        audits: Audits,
        deaf_ms: Callable[[], int],
        make: TaskMaker,
        version: Callable[[], tuple[int, ...]],
    ) -> None:
        self.wanted = False
        self._outbox = outbox
        self._peers = peers
        self._requester = requester
        self._audits = audits
        self._standing = standing
        self._deaf_ms = deaf_ms
        self._make = make
        self._version = version
        # What was known, and which questions waited, when it was found that none may go out.
        self._looked_at: tuple[object, ...] = ()
        self._beacons = Bucket(BEACON_MS, BEACONS_BURST - BEACONS_SPARE)

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        if not self.wanted and not len(self._requester):
            return None
        waiting = [task.begun_mono_ms for task in self._requester.tasks() if task.phase is Phase.CALIBRATING]
        if self._is_held_back() and (waiting or self.wanted):
            return self._beacons.due_ms
        due = [min(waiting) + CALIBRATION_MS_MAX] if waiting else []
        if waiting and self._peers.joined_at_ms > self._outbox.now.mono_ms:
            due.append(self._peers.joined_at_ms)
        if self.wanted and (check_ms := self._audits.deadline_ms()) is not None:
            due.append(check_ms)
        if self.wanted and (deaf_ms := self._deaf_ms()):
            due.append(self._outbox.now.mono_ms + deaf_ms)
        return min(due, default=None)

    def advance(self) -> None:
        """Begin audits that are due, and open the questions that have waited for enough."""
        if not self.wanted and not len(self._requester):
            return
        self._begin_audits()
        waiting = [task for task in self._requester.tasks() if task.phase is Phase.CALIBRATING]
        if not waiting or self._is_held_back():
            return
        # Every bid comes by here, and most change nothing of this.
        now_ms = self._outbox.now.mono_ms
        joined, deaf = now_ms >= self._peers.joined_at_ms, self._deaf_ms() > 0
        state = (*self._version(), joined, deaf, tuple(task.id for task in waiting))
        if state == self._looked_at and now_ms < min(task.begun_mono_ms for task in waiting) + CALIBRATION_MS_MAX:
            return
        for task in waiting:
            if self._is_held_back():
                return
            if self._is_done(task):
                self._open(task)
        self._looked_at = state

    def _is_held_back(self) -> bool:
        """Whether another beacon now would be more than others take."""
        return self._outbox.now.mono_ms < self._beacons.due_ms

    def _open(self, task: Task) -> None:
        spent = self._beacons.spend(self._outbox.now.mono_ms)
        assert spent
        self._requester.open(task)

    def _is_done(self, task: Task) -> bool:
        """Whether the task may go out: a committee has settled evidence, nobody needs audits, or it has waited enough."""
        waited_ms = self._outbox.now.mono_ms - task.begun_mono_ms
        if waited_ms >= CALIBRATION_MS_MAX:
            return True
        if self._deaf_ms():
            return False
        if self._has_committee(task):
            return True
        # A node that has just joined knows of peers before it is connected to them; a beacon now would miss their bids.
        return not self._peers.joining(task.requirement.skill) and self._audits.settled(self._audited_for(task))

    def _has_committee(self, task: Task) -> bool:
        """Whether those who earned a weight, up to a committee, have no audit due: a newcomer's audits hold up nobody then."""
        skill = task.requirement.skill
        needy = set(self._audits.needy(skill))
        earned = [peer for peer in self._standing.candidates(skill) if self._standing.weighs(peer, task)]
        return bool(earned) and sum(peer not in needy for peer in earned) >= min(SEATS_DEFAULT, len(earned))

    def _audited_for(self, task: Task) -> tuple[str, ...]:
        skill = task.requirement.skill
        if skill != GENERAL:
            return (skill,)
        # A general question needs to know whom to trust at all; any evidence about each candidate will do.
        blank = any(not self._standing.counts(peer, GENERAL).any for peer in self._standing.candidates(GENERAL))
        return self._audits.skills if blank else ()

    def _begin_audits(self) -> None:
        if not self.wanted or self._deaf_ms():
            return
        tasks = self._requester.tasks()
        preferred = tuple(task.requirement.skill for task in tasks if task.phase is Phase.CALIBRATING)
        running = sum(task.audit is not None for task in tasks)
        while running < AUDITS_AT_ONCE_MAX and not self._is_held_back() and (due := self._audits.next(preferred)) is not None:
            leaf, exercise = due.planned.leaf, due.planned.exercise
            task = self._make(exercise.text, Requirement(leaf.skill, 1_000), None, DEADLINE_MS_DEFAULT)
            task.id, task.nonce = leaf.task, leaf.nonce
            task.audit, task.examinees = exercise, due.examinees
            self._audits.begin(task)
            self._requester.add(task)
            self._open(task)
            running += 1
