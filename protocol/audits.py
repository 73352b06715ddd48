"""Whom to audit next: known-answer questions that a requester asks of the peers it meets (specs/06-ledger.md).

A panel of each skill is calibrated to AUDITS_TARGET audits, mixed with the first questions. Once it is, one question in
AUDIT_EVERY is followed by an audit of some of the panel and of somebody else, so that who turned bad is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from protocol.audit_records import TABLE as AUDIT_RECORDS
from protocol.audit_records import AuditRecords
from protocol.batches import Batches, Planned
from protocol.capability import GENERAL
from protocol.constants import (
    AUDIT_BATCH_MAX,
    AUDIT_EVERY,
    AUDIT_PAUSE_MS,
    AUDITS_TARGET,
    CROSS_CHECK_MS_MAX,
    CROSS_CHECKS_AHEAD,
    EVIDENCE_ONE,
    SEATS_DEFAULT,
    TASKS_MAX,
)
from protocol.events import Persist
from protocol.evidence import EvidenceBook
from protocol.imports import Imports
from protocol.outbox import Outbox
from protocol.outcome import SeatReport
from protocol.panel import Panel
from protocol.parameters import Parameters
from protocol.task import Task

# Ends of a lease that count against the executor.
_SILENT = ("lease expired", "deadline")
_MISSES = (*_SILENT, "declined: model", "withheld", "opened another answer")


@dataclass(frozen=True, slots=True)
class Examination:
    """An audit that is due: what is asked, and of whom."""

    planned: Planned
    examinees: tuple[bytes, ...]


class Audits:
    """Plans audits until each of a panel has enough in each skill that it offers and that has a generator."""

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        evidence: EvidenceBook,
        imports: Imports,
        records: AuditRecords,
        panel: Panel,
        batches: Batches,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._outbox = outbox
        self._audited = tuple(skill for skill, rule in sorted(parameters.skills.items()) if rule.audited_by)
        self._evidence = evidence
        self._imports = imports
        self._records = records
        self._panel = panel
        self._batches = batches
        self._entropy = entropy
        self._in_flight: dict[tuple[bytes, str], int] = {}
        self._paused_until_ms: dict[tuple[bytes, str], int] = {}
        self._checks_due: list[tuple[int, str]] = []
        # Changes with every change of what is under audit.
        self.version = 0
        self.done = self.tokens = self.messages = self.bytes_total = 0

    def needy(self, skill: str) -> list[bytes]:
        """Of the panel of `skill`, those that have too few audits, counting those on their way; in the panel's order."""
        if skill != GENERAL and skill not in self._audited:
            return []  # nothing can audit it, so nobody is waited for
        mono_ms = self._outbox.now.mono_ms
        return [
            peer
            for peer in self._panel.members(skill)
            if self._known(peer, skill) < AUDITS_TARGET and self._paused_until_ms.get((peer, skill), 0) <= mono_ms
        ]

    def settled(self, skills: tuple[str, ...]) -> bool:
        """Whether nobody of the panels of `skills` needs or is under audit."""
        return not any(self.needy(skill) for skill in skills) and not any(
            count and skill in skills for (_, skill), count in self._in_flight.items()
        )

    @property
    def skills(self) -> tuple[str, ...]:
        """Skills that can be audited."""
        return self._audited

    def deadline_ms(self) -> int | None:
        """When the next audit among questions is due; one that is overdue waits for another to end."""
        now_ms = self._outbox.now.mono_ms
        return min((due_ms for due_ms, _ in self._checks_due if due_ms > now_ms), default=None)

    def on_question(self, skill: str) -> None:
        """The owner asked: by lot, an audit follows some time later."""
        draw = int.from_bytes(self._entropy(8), "big")
        if skill in self._audited and draw % AUDIT_EVERY == 0 and len(self._checks_due) < TASKS_MAX:
            self._checks_due.append((self._outbox.now.mono_ms + draw // AUDIT_EVERY % CROSS_CHECK_MS_MAX, skill))

    def next(self, preferred: tuple[str, ...]) -> Examination | None:
        """The audit to begin now: of whom calibration needs, preferred skills first, then among questions; None if none is."""
        needy = {skill: self.needy(skill) for skill in self._audited}
        ranked = sorted(
            (skill for skill in self._audited if needy[skill]),
            key=lambda skill: (skill not in preferred, -len(needy[skill]), skill),
        )
        if ranked:
            planned = self._planned(ranked, needy)
            if planned is not None:
                return Examination(planned, self._fewest(needy[planned.leaf.skill], planned.leaf.skill))
        return self._left_over() or self._cross_check()

    def _planned(self, ranked: list[str], needy: dict[str, list[bytes]]) -> Planned | None:
        """An audit of the first of `ranked` from a batch, a new one unless there is one; None if the ledger has to wait."""
        planned = self._batches.begin(ranked[0])
        if planned is None:
            wanted = [skill for skill in ranked for _ in range(self._missing(skill, needy[skill]))]
            if self._batches.commit(wanted[:AUDIT_BATCH_MAX]):
                planned = self._batches.begin(ranked[0])
        return planned

    def _missing(self, skill: str, needy: list[bytes]) -> int:
        """How many audits of up to a committee each give all of `needy` enough."""
        each = [AUDITS_TARGET - self._known(peer, skill) for peer in needy]
        return max(*each, -(-sum(each) // SEATS_DEFAULT), 1)

    def _left_over(self) -> Examination | None:
        """An audit that was committed for somebody who is gone since: others answer it, or the batch could not be opened."""
        for skill in self._audited:
            members = self._panel.members(skill)
            if members and all(self._known(peer, skill) >= AUDITS_TARGET for peer in members):
                planned = self._batches.begin(skill)
                if planned is not None:
                    return Examination(planned, self._fewest(members, skill))
        return None

    def _cross_check(self) -> Examination | None:
        now_ms = self._outbox.now.mono_ms
        due = next((check for check in self._checks_due if check[0] <= now_ms), None)
        if due is None:
            return None
        self._checks_due.remove(due)
        skill = due[1]
        examinees = self._panel.drawn(skill, self._entropy(8))
        if not examinees:
            return None
        planned = self._batches.begin(skill, in_reserve=True)
        if planned is None and self._batches.commit([skill] * CROSS_CHECKS_AHEAD, in_reserve=True):
            planned = self._batches.begin(skill, in_reserve=True)
        return None if planned is None else Examination(planned, examinees)

    def begin(self, task: Task) -> None:
        """Count the examinees of an audit that goes out."""
        self.version += 1
        for peer in task.examinees:
            key = (peer, task.requirement.skill)
            self._in_flight[key] = self._in_flight.get(key, 0) + 1

    def conclude(self, task: Task) -> None:
        """An audit is over: what each executor said is written down, and opened to others after the last of its batch."""
        assert task.audit is not None
        skill, wall_ms = task.requirement.skill, self._outbox.now.wall_ms
        # Before the evidence: a pair that it forgets at once must be forgotten here as well.
        for report in task.reports:
            if report.answer is not None:
                wrong = report.answer if report.answer != task.audit.gold else None
                self._outbox.emit(Persist(AUDIT_RECORDS, *self._records.add(report.peer, skill, task.id, wrong)))
        entry = self._end(task)
        for peer, verdict in self._grade(task, task.audit.gold):
            for key, value in self._evidence.add(peer, skill, verdict, wall_ms, entry):
                self._outbox.emit(Persist("evidence", key, value))
                if value is None and self._records.forget(key):
                    self._outbox.emit(Persist(AUDIT_RECORDS, key, None))
            self._outbox.log("debug", "audit", {"peer": peer.hex(), "skill": skill, "verdict": verdict})

    def _end(self, task: Task) -> int | None:
        """An audit is over: the number of the ledger entry that committed its batch, which is opened after its last audit."""
        skill = task.requirement.skill
        self.version += 1
        for peer in task.examinees:
            key = (peer, skill)
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]
            if peer not in task.bids:
                self._pause(key)
        self.done += 1
        self.messages += task.messages
        self.bytes_total += task.bytes_total
        self.tokens += sum(report.prompt_tokens + report.completion_tokens for report in task.reports)
        return self._batches.end(task.id, task.transcript)

    def _grade(self, task: Task, gold: str) -> list[tuple[bytes, str]]:
        """Verdicts ("hit", "miss", "abstained") on the executors of an audit that ended.

        A lease that expired, or whose model failed, is a miss for this node alone. Who did not bid, was busy or went away is
        left alone a while instead: that says nothing about its skill.
        """
        verdicts = []
        for report in task.reports:
            verdict = _verdict(report, gold)
            if verdict is None or report.state in _SILENT:
                # A lease that runs out takes long, and one more would say the same.
                self._pause((report.peer, task.requirement.skill))
            if verdict is not None:
                verdicts.append((report.peer, verdict))
        return verdicts

    def _pause(self, key: tuple[bytes, str]) -> None:
        """Leave a peer alone for a while; pauses that are over go, so strangers who come and go leave nothing behind."""
        now_ms = self._outbox.now.mono_ms
        self._paused_until_ms = {other: until for other, until in self._paused_until_ms.items() if until > now_ms}
        self._paused_until_ms[key] = now_ms + AUDIT_PAUSE_MS

    def _known(self, peer: bytes, skill: str) -> int:
        """Audits that a peer had or has on its way, with what others' add to them."""
        wall_ms = self._outbox.now.wall_ms
        imported = self._imports.counts(peer, skill, wall_ms).total // EVIDENCE_ONE
        return self._evidence.audits(peer, skill, wall_ms) + imported + self._in_flight.get((peer, skill), 0)

    def _fewest(self, peers: list[bytes], skill: str) -> tuple[bytes, ...]:
        """Up to a committee of those with fewest audits; equals as they stand for their first one, and by lot from then on."""
        # In one order for ever, neighbours would share every audit and those far apart none, so that nobody could notice that
        # they make the same mistakes. Nobody is told the lot: an executor would know by it what is no audit.
        lot = self._entropy(8)

        def order(peer: bytes) -> tuple[int, bytes]:
            known = self._known(peer, skill)
            return known, hashlib.sha256(lot + peer).digest() if known else b""

        return tuple(sorted(peers, key=order)[:SEATS_DEFAULT])


def _verdict(report: SeatReport, gold: str) -> str | None:
    if report.state == "answered":
        return "hit" if report.answer == gold else "miss"
    if report.state == "abstained":
        return "abstained"
    return "miss" if report.state in _MISSES else None
