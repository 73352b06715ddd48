"""Other ways to share out questions, as nodes of the same world: what drives a host in place of the protocol's core.

A rival keeps the contract of `protocol.core.Core`: an input and a time give effects. So links, regions, churn, faults, models
and liars are those of the run that it is compared with. Its messages are signed envelopes like the protocol's, and are counted
as such. Each node is an executor; questions are shared out at desks (simnet/desk.py): every asker's own, or the hub's for all.

What is given to rivals for nothing: everybody knows all nodes with what they say of themselves, a desk keeps a channel to each,
whoever let a question time out is left alone for a while, and no answer is waited for that could change nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol import canonical
from protocol.answers import answer_of
from protocol.constants import DEADLINE_MS_DEFAULT, LIFETIME_MS_MAX
from protocol.envelope import open_envelope, seal
from protocol.events import (
    Deliver,
    Dial,
    Effect,
    EffectDone,
    Infer,
    Input,
    Instant,
    MessageReceived,
    PeerConnected,
    PeerLost,
    RequestMade,
    Send,
)
from protocol.outcome import Gate, Outcome, OutcomeKind
from protocol.parameters import Parameters
from protocol.requirement import Requirement
from simnet.desk import Desk, Told
from simnet.host import Host
from simnet.policies import Policy

# An asker that hears nothing from the hub asks it again after this; the hub knows a question by its task.
_AGAIN_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Outage:
    """The hub's bad times: of every `every_ms` it hears nothing in the last `down_ms`, and else everything `late_ms` later."""

    from_ms: int
    every_ms: int
    down_ms: int
    late_ms: int

    def back_ms(self, now_ms: int) -> int | None:
        """When it hears again; None if it does now."""
        into_ms = (now_ms - self.from_ms) % self.every_ms
        is_down = now_ms >= self.from_ms and into_ms >= self.every_ms - self.down_ms
        return now_ms + self.every_ms - into_ms if is_down else None


@dataclass(frozen=True, slots=True)
class Setting:
    """How the rivals of a run work, and what all of them know.

    `requirement` finds a question's skill as the protocol does. `samples` is how many answers a question is worth in the mean,
    in thousandths. If `bids`, a desk asks who is there and waits for offers. `repeats` asks one node for all answers. The `hub`
    has the only desk if there is one, and spends `audits` answers on exercises. `braggarts` say of themselves what is asked.
    """

    seed: int
    parameters: Parameters
    requirement: Callable[[str], Requirement]
    hosts: Mapping[bytes, Host]
    desks: frozenset[bytes]
    policy: Callable[[Desk], Policy]
    samples: int
    bids: bool = False
    repeats: bool = False
    hub: bytes | None = None
    audits: int = 0
    audits_from_ms: int = 0
    outage: Outage | None = None
    braggarts: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class _Work:
    """A question that this node answers for a desk, so many times."""

    desk: bytes
    task: bytes
    question: str
    kind: str
    tokens_max: int
    samples: int
    answers: list[canonical.Value] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A question that waits for its answer at the asker."""

    event: RequestMade
    begun_ms: int
    ends_ms: int
    again_ms: int


class Rival:
    """One node: an executor, an asker, and a desk if the setting makes it one."""

    def __init__(self, host: Host, setting: Setting) -> None:
        self.me = host.key
        self.now_ms = 0
        self.setting = setting
        # In the order in which they came.
        self.connected: dict[bytes, None] = {}
        self._host = host
        self._wall_ms = 0
        self._effects: list[Effect] = []
        self._number = 0
        # What this node said to itself, and what a slow hub has yet to hear.
        self._local: deque[tuple[str, Told]] = deque()
        self._late: deque[tuple[int, bytes]] = deque()
        self._waiting: deque[_Work] = deque()
        self._running: dict[int, _Work] = {}
        self._open: dict[bytes, _Open] = {}
        self.desk = Desk(self) if self.me in setting.desks else None

    # --- The contract

    def step(self, event: Input, now: Instant) -> list[Effect]:
        """Take one input at `now`; gives the effects in order."""
        self.now_ms, self._wall_ms, self._effects = now.mono_ms, now.wall_ms, []
        match event:
            case PeerConnected():
                self.connected[event.peer] = None
            case PeerLost():
                self.connected.pop(event.peer, None)
            case EffectDone():
                self._inferred(event)
            case RequestMade():
                self._request(event)
            case MessageReceived() if self._back_ms() is None:
                self._late.append((self.now_ms + self._late_ms(), event.data))
            case _:
                pass
        if self._back_ms() is None:
            self._advance()
        return self._effects

    def deadline(self) -> int | None:
        """When `step` has something to do."""
        back_ms = self._back_ms()
        if back_ms is not None:
            return back_ms
        due = [due_ms for due_ms, _ in self._late]
        due += [min(waiting.ends_ms, waiting.again_ms) for waiting in self._open.values()]
        if self.desk is not None:
            due.append(self.desk.deadline_ms())
        return min(due, default=None)

    def _back_ms(self) -> int | None:
        outage = self.setting.outage
        return outage.back_ms(self.now_ms) if outage is not None and self.me == self.setting.hub else None

    def _late_ms(self) -> int:
        outage = self.setting.outage
        return outage.late_ms if outage is not None and self.me == self.setting.hub else 0

    def _advance(self) -> None:
        while self._late and self._late[0][0] <= self.now_ms:
            envelope = open_envelope(self._late.popleft()[1])
            self._take(envelope.sender, envelope.type, envelope.body, len(envelope.data))
        if self.desk is not None:
            self.desk.advance()
        while self._local:
            self._take(self.me, *self._local.popleft(), 0)
            if self.desk is not None and not self._local:
                self.desk.advance()
        # Last, so that what a desk of its own has by then is still an answer.
        for task, waiting in list(self._open.items()):
            if waiting.ends_ms <= self.now_ms:
                self._answered(task, None)
            elif waiting.again_ms <= self.now_ms:
                self._ask_hub(task, waiting)

    # --- Messages

    def send(self, to: bytes, kind: str, body: Told) -> int:
        """Send to a node, itself included; gives the size of what goes over the wire."""
        if to == self.me:
            self._local.append((kind, body))
            return 0
        network = self.setting.parameters.network
        data = seal(self._host.signer, network, kind, to, dict(body), self._wall_ms, LIFETIME_MS_MAX)
        self._effects.append(Send(self.number(), to, data))
        return len(data)

    def dial(self, peer: bytes) -> None:
        """Make a channel to a peer."""
        self._effects.append(Dial(self.number(), peer, ()))

    def number(self) -> int:
        """A new effect's number."""
        self._number += 1
        return self._number

    def _take(self, source: bytes, kind: str, body: Told, size: int) -> None:
        task = body["task"]
        assert isinstance(task, bytes)
        match kind, body:
            case "ask", {
                "question": str(question),
                "kind": str(answer),
                "tokens_max": int(tokens_max),
                "samples": int(samples),
            }:
                self._waiting.extend(samples * [_Work(source, task, question, answer, tokens_max, samples)])
                self._start()
            case "call", {"skill": str(skill)}:
                self._offer(source, task, skill)
            case "answer", {"answer": str(answer)}:
                self._answered(task, answer)
            case "answer", _:
                self._answered(task, None)
            case _ if self.desk is not None:
                self.desk.take(source, task, kind, body, size)

    # --- Executor

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._host.record.slots:
            work, number = self._waiting.popleft(), self.number()
            self._running[number] = work
            self._effects.append(Infer(number, work.question, work.kind, work.tokens_max, DEADLINE_MS_DEFAULT))

    def _inferred(self, event: EffectDone) -> None:
        """An inference ended. What was sent in vain needs no word: that its peer is gone is known by its channel."""
        work = self._running.pop(event.effect, None)
        if work is None:
            return
        work.answers.append(None if event.result is None else answer_of(work.kind, event.result.text))
        if len(work.answers) == work.samples:
            self.send(work.desk, "say", {"task": work.task, "answers": work.answers})
        self._start()

    def _offer(self, desk: bytes, task: bytes, skill: str) -> None:
        """Say what one is good at, if it is this: the honest by their record, a braggart whatever is asked for."""
        record = self._host.record
        if record.covers(skill) and self.me != self.setting.hub:
            says: dict[str, canonical.Value] = {skill: 1_000} if self.me in self.setting.braggarts else dict(record.skills)
            self.send(desk, "offer", {"task": task, "says": says, "queued": len(self._running) + len(self._waiting)})

    # --- Asker

    def _request(self, event: RequestMade) -> None:
        deadline_ms = DEADLINE_MS_DEFAULT if event.deadline_ms is None else event.deadline_ms
        task = hashlib.sha256(b"task" + event.request).digest()[:16]
        waiting = self._open[task] = _Open(event, self.now_ms, self.now_ms + deadline_ms, self.now_ms + deadline_ms)
        if self.setting.hub is None:
            assert self.desk is not None
            self.desk.begin(self.me, task, event.text, deadline_ms)
        else:
            self._ask_hub(task, waiting)

    def _ask_hub(self, task: bytes, waiting: _Open) -> None:
        assert self.setting.hub is not None
        waiting.again_ms = self.now_ms + _AGAIN_MS
        left_ms = waiting.ends_ms - self.now_ms
        self.send(self.setting.hub, "question", {"task": task, "question": waiting.event.text, "left_ms": left_ms})

    def _answered(self, task: bytes, answer: str | None) -> None:
        """Tell the owner, once."""
        waiting = self._open.pop(task, None)
        if waiting is None:
            return
        outcome = Outcome(
            task=task, kind=OutcomeKind.ALL_FAILED if answer is None else OutcomeKind.ANSWERED,
            requirement=self.setting.requirement(waiting.event.text), skill_given=False, voted=True, answer=answer, tally=None,
            author=None, ranking=(), judged=(), beacon=b"", view=b"", bids=(), seats=(), rounds=1, gate=Gate.COMMITTEE,
            further=0, stopped=False, refined=0, calibration_ms=0, latency_ms=self.now_ms - waiting.begun_ms, inference_ms=0,
            # What a run costs is counted by who watches it.
            messages=0, bytes_total=0, tokens=0,
        )  # fmt: skip
        self._effects.append(Deliver(waiting.event.request, outcome))
