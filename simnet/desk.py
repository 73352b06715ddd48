"""Where a rival's questions are shared out: whom to ask, what comes back, and for a hub the exercises it learns from."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from protocol import canonical, exercises
from protocol.allocation import ReceivedBid, View
from protocol.constants import EVIDENCE_ONE, LEASE_MS, REST_MS, WINDOW_MS_MAX
from protocol.evidence import Counts
from protocol.exercises import Exercise
from protocol.messages import Bid
from protocol.requests import tokens_max
from protocol.vote import Vote
from simnet.draws import Draws
from simnet.policies import Finished, Vector

if TYPE_CHECKING:
    from simnet.rivals import Rival

Told: TypeAlias = Mapping[str, canonical.Value]

# Whom it has no channel to a desk dials this often.
_REDIAL_MS: Final = 5_000
# A hub gives every node an exercise this often, until what it may spend is spent.
_AUDIT_MS: Final = 250
# So many at once, which leaves a node slots for questions.
_AUDITS_EACH: Final = 2
# So long before an asker's deadline a hub answers with what it has.
_WAY_MS: Final = 1_000
_SAMPLE: Final = 1_000
# What nobody has said: stands for any other answer.
_OTHER: Final = ""


@dataclass(slots=True)
class _Task:
    """A question at its desk; `asked` has each executor that owes an answer, with when it was asked."""

    id: bytes
    beacon: bytes
    asker: bytes
    question: str
    skill: str
    begun_ms: int
    ends_ms: int
    seats: int
    window_ms: int | None = None
    offers: dict[bytes, ReceivedBid] = field(default_factory=dict)
    reserves: deque[bytes] = field(default_factory=deque)
    asked: dict[bytes, int] = field(default_factory=dict)
    votes: list[Vote] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Audit:
    """An exercise that one node was given."""

    peer: bytes
    exercise: Exercise
    expires_ms: int


class Desk:
    """Shares questions out by the setting's policy."""

    def __init__(self, node: Rival) -> None:
        self._node = node
        self._setting = node.setting
        self._tasks: dict[bytes, _Task] = {}
        # Answers that were given, for who asks again.
        self._given: dict[bytes, str | None] = {}
        self._resting: dict[bytes, int] = {}
        self._load: Counter[bytes] = Counter()
        self._credit = 0
        self._redial_ms = 0
        self._says: dict[bytes, Vector] = {}
        self._audits: dict[bytes, _Audit] = {}
        self._audits_left = self._setting.audits
        self._audit_ms = self._setting.audits_from_ms
        self._audited: Counter[tuple[bytes, str]] = Counter()
        self._draws = Draws(self._setting.seed, "exercises of the hub")
        self._counts: dict[str, dict[bytes, Counts]] = {}
        self.audit_messages = self.audit_bytes = 0
        self._policy = self._setting.policy(self)

    def deadline_ms(self) -> int:
        """When `advance` has something to do."""
        due = [self._redial_ms, *(audit.expires_ms for audit in self._audits.values())]
        for task in self._tasks.values():
            due += [task.ends_ms, *(at_ms + LEASE_MS for at_ms in task.asked.values())]
            due += [] if task.window_ms is None else [task.window_ms]
        return min([*due, self._audit_ms] if self._audits_left else due)

    def advance(self) -> None:
        """Do what is due."""
        if self._redial_ms <= self._node.now_ms:
            self._redial_ms = self._node.now_ms + _REDIAL_MS
            for peer in sorted(self._setting.hosts.keys() - self._node.connected.keys() - {self._node.me}):
                self._node.dial(peer)
        self._audit()
        for task in list(self._tasks.values()):
            self._look(task)

    def take(self, source: bytes, name: bytes, kind: str, body: Told, size: int) -> None:
        """What an asker or an executor says."""
        task = self._tasks.get(name)
        match kind, body:
            case "question", {"question": str(question), "left_ms": int(left_ms)}:
                if name in self._given:
                    self._reply(source, name)
                elif task is None:
                    self.begin(source, name, question, max(0, left_ms - _WAY_MS))
            case "offer", {"says": dict(says), "queued": int(queued)} if task is not None and task.window_ms is not None:
                self._says[source] = {skill: level / 1_000 for skill, level in says.items() if isinstance(level, int)}
                task.offers[source] = self._bid(task, source, queued)
                self._look(task)
            case "say", {"answers": list(answers)}:
                said = [answer if isinstance(answer, str) else None for answer in answers]
                if name in self._audits:
                    self._grade(name, source, said, size)
                elif task is not None and source in task.asked:
                    self._said(task, source, said)

    # --- What a policy may ask

    def declared(self, bidder: bytes, beacon: bytes) -> Vector:  # noqa: ARG002  the signature of a policy
        """What a bidder said of itself when it last made an offer."""
        return self._says[bidder]

    def required(self, beacon: bytes) -> Vector:
        """What a question asks for."""
        return {self.skill_of(beacon): 1.0}

    def skill_of(self, beacon: bytes) -> str:
        """The skill of a question."""
        return self._tasks[beacon[: len(beacon) // 2]].skill

    # --- Whom to ask

    def begin(self, asker: bytes, name: bytes, question: str, left_ms: int) -> None:
        """Take a question on."""
        now_ms, skill = self._node.now_ms, self._setting.requirement(question).skill
        beacon = name + hashlib.sha256(name).digest()[:16]
        task = _Task(name, beacon, asker, question, skill, now_ms, now_ms + left_ms, self._seats())
        self._tasks[name] = task
        if self._setting.bids:
            task.window_ms = now_ms + WINDOW_MS_MAX
            # Those who do not offer the skill hear it as well: nobody but they themselves is asked what they are.
            for peer in sorted({self._node.me, *self._node.connected} & self._setting.hosts.keys()):
                self._node.send(peer, "call", {"task": name, "skill": skill, "seats": task.seats})
            return
        for peer in self._candidates(skill):
            task.offers[peer] = self._bid(task, peer, self._load[peer])
        self._award(task)

    def _seats(self) -> int:
        """How many answers the next question gets: an odd number, so that the sum of all keeps to what they are worth."""
        self._credit += self._setting.samples
        seats = max(1, self._credit // _SAMPLE - 1 | 1)
        self._credit -= seats * _SAMPLE
        return seats

    def _candidates(self, skill: str) -> list[bytes]:
        """Who is there and says that it can, without those who rest unless there is nobody else."""
        connected, me, now_ms = self._node.connected, self._node.me, self._node.now_ms
        there = [
            peer
            for peer, host in sorted(self._setting.hosts.items())
            if peer != self._setting.hub and (peer in connected or peer == me) and host.record.covers(skill)
        ]
        return [peer for peer in there if self._resting.get(peer, 0) <= now_ms] or there

    def _bid(self, task: _Task, peer: bytes, queued: int) -> ReceivedBid:
        record = self._setting.hosts[peer].record
        bid = Bid(task.id, 0, 0, task.beacon, queued, record.slots, record.tokens_per_s)
        return ReceivedBid(peer, hashlib.sha256(task.beacon + peer).digest(), bid)

    def _view(self, skill: str) -> View:
        rule = self._setting.parameters.skills.get(skill)
        return View(rule.options if rule is not None else 2, 0, self._counts.get(skill, {}))

    def _award(self, task: _Task) -> None:
        task.window_ms = None
        there = set(self._candidates(task.skill))
        bids = [bid for peer, bid in sorted(task.offers.items()) if peer in there]
        seats = 1 if self._setting.repeats else task.seats
        chosen = self._policy.allocate(task.beacon, seats, bids, self._view(task.skill))
        task.reserves = deque(bid.bidder for bid in chosen.reserves)
        for bid in chosen.seats:
            self._ask(task, bid.bidder)

    def _ask(self, task: _Task, peer: bytes) -> None:
        task.asked[peer] = self._node.now_ms
        self._load[peer] += 1
        self._node.send(peer, "ask", self._asked(task.id, task.question, task.skill, self._each(task)))

    def _asked(self, name: bytes, question: str, skill: str, samples: int) -> Told:
        parameters = self._setting.parameters
        kind = parameters.skills[skill].answer if skill in parameters.skills else "text"
        most = tokens_max(parameters, skill)
        return {"task": name, "question": question, "kind": kind, "tokens_max": most, "samples": samples}

    def _each(self, task: _Task) -> int:
        return task.seats if self._setting.repeats else 1

    # --- What comes back

    def _said(self, task: _Task, peer: bytes, said: list[str | None]) -> None:
        took_ms = self._node.now_ms - task.asked.pop(peer)
        self._load[peer] -= 1
        task.votes += [self._vote(task, peer, answer) for answer in said]
        task.finished.append(Finished(peer, said[0] is not None, agrees=False, latency_ms=took_ms))
        self._look(task)

    def _vote(self, task: _Task, peer: bytes, answer: str | None) -> Vote:
        view = self._view(task.skill)
        return Vote(peer, answer, view.of(task.offers[peer]).weight(view.options))

    def _look(self, task: _Task) -> None:
        """What is due of a task."""
        now_ms, connected = self._node.now_ms, self._node.connected
        if task.window_ms is not None:
            waits = any(peer not in task.offers for peer in self._candidates(task.skill))
            if waits and now_ms < min(task.window_ms, task.ends_ms):
                return
            self._award(task)
        for peer, at_ms in list(task.asked.items()):
            if at_ms + LEASE_MS <= now_ms:
                self._resting[peer] = now_ms + REST_MS
                self._gave_nothing(task, peer)
            elif peer not in connected and peer != self._node.me:
                self._gave_nothing(task, peer)
        if not task.asked or now_ms >= task.ends_ms or self._is_decided(task):
            self._end(task)

    def _gave_nothing(self, task: _Task, peer: bytes) -> None:
        """An executor is gone or too slow: the next one is asked."""
        took_ms = self._node.now_ms - task.asked.pop(peer)
        self._load[peer] -= 1
        task.finished.append(Finished(peer, answered=False, agrees=False, latency_ms=took_ms))
        while task.reserves:
            other = task.reserves.popleft()
            if other == self._node.me or other in self._node.connected:
                self._ask(task, other)
                return

    def _is_decided(self, task: _Task) -> bool:
        """Whether those who still owe an answer can change nothing, even if all of them give the same one."""
        now = self._answer(task, task.votes)
        if now is None:
            return False
        said = {vote.answer for vote in task.votes if vote.answer is not None}
        owed = [self._vote(task, peer, None) for peer in task.asked for _ in range(self._each(task))]
        return all(
            self._answer(task, [*task.votes, *(replace(vote, answer=other) for vote in owed)]) == now
            for other in sorted(said - {now} | {_OTHER})
        )

    def _answer(self, task: _Task, votes: list[Vote]) -> str | None:
        return self._policy.vote(task.id, votes).answer if votes else None

    def _end(self, task: _Task) -> None:
        answer = self._answer(task, task.votes)
        said = {vote.peer: vote.answer for vote in task.votes}
        self._policy.learn(
            task.beacon,
            [replace(each, agrees=answer is not None and said.get(each.peer) == answer) for each in task.finished],
        )
        self._load.subtract(task.asked.keys())
        del self._tasks[task.id]
        self._given[task.id] = answer
        self._reply(task.asker, task.id)

    def _reply(self, asker: bytes, name: bytes) -> None:
        self._node.send(asker, "answer", {"task": name, "answer": self._given[name]})

    # --- Exercises

    def _audit(self) -> None:
        """Give every node that is there and has room an exercise, in the skill in which it had fewest, as often as may be."""
        now_ms = self._node.now_ms
        for name, audit in list(self._audits.items()):
            if audit.peer not in self._node.connected:
                del self._audits[name]
            elif audit.expires_ms <= now_ms:
                del self._audits[name]
                self._count(audit, right=False)
        if not self._audits_left or self._audit_ms > now_ms:
            return
        self._audit_ms = now_ms + _AUDIT_MS
        made: dict[str, Exercise] = {}
        held = Counter(audit.peer for audit in self._audits.values())
        busy = {peer for peer, count in held.items() if count >= _AUDITS_EACH}
        for peer in sorted(self._setting.hosts.keys() & self._node.connected.keys() - busy):
            offered = [skill for skill in sorted(exercises.ONE_STEP) if skill in self._setting.hosts[peer].record.skills]
            if offered and self._audits_left:
                skill = min(offered, key=lambda each: self._audited[peer, each])
                if skill not in made:
                    made[skill] = exercises.generate(skill, 1 + self._draws.below(3), self._draws.below(1 << 62))
                self._examine(peer, made[skill])

    def _examine(self, peer: bytes, exercise: Exercise) -> None:
        self._audits_left -= 1
        self._audited[peer, exercise.skill] += 1
        name = hashlib.sha256(peer + exercise.text.encode()).digest()[:16]
        self._audits[name] = _Audit(peer, exercise, self._node.now_ms + LEASE_MS)
        self.audit_messages += 1
        self.audit_bytes += self._node.send(peer, "ask", self._asked(name, exercise.text, exercise.skill, 1))

    def _grade(self, name: bytes, peer: bytes, said: list[str | None], size: int) -> None:
        audit = self._audits[name]
        if audit.peer == peer:
            del self._audits[name]
            self.audit_messages += 1
            self.audit_bytes += size
            self._count(audit, right=said == [audit.exercise.gold])

    def _count(self, audit: _Audit, *, right: bool) -> None:
        counts = self._counts.setdefault(audit.exercise.skill, {})
        verdict = Counts(EVIDENCE_ONE, 0) if right else Counts(0, EVIDENCE_ONE)
        counts[audit.peer] = counts.get(audit.peer, Counts()) + verdict
