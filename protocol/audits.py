"""Whom to audit next: known-answer questions that a requester asks of the peers it meets (specs/06-ledger.md)."""

from __future__ import annotations

from collections.abc import Callable

from protocol import exercises
from protocol.capability import GENERAL
from protocol.constants import AUDIT_PAUSE_MS, AUDITS_TARGET, SEATS_DEFAULT
from protocol.evidence import EvidenceBook
from protocol.exercises import Exercise
from protocol.outbox import Outbox
from protocol.outcome import SeatReport
from protocol.parameters import Parameters
from protocol.peers import PeerTable
from protocol.task import Task

# Ends of a lease that count against the executor.
_SILENT = ("lease expired", "deadline")
_MISSES = (*_SILENT, "declined: model", "withheld", "opened another answer")


class Audits:
    """Plans audits until each candidate has enough in each skill that it offers and that has a generator."""

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        evidence: EvidenceBook,
        peers: PeerTable,
        candidates: Callable[[str], list[bytes]],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._outbox = outbox
        audited = {skill: rule.audited_by for skill, rule in sorted(parameters.skills.items())}
        self._exercises = {skill: pairs for skill, pairs in audited.items() if pairs}
        self._evidence = evidence
        self._peers = peers
        self._candidates = candidates
        self._entropy = entropy
        self._in_flight: dict[tuple[bytes, str], int] = {}
        self._paused_until_ms: dict[tuple[bytes, str], int] = {}
        self.done = self.tokens = self.messages = self.bytes_total = 0

    def needy(self, skill: str) -> list[bytes]:
        """Candidates in `skill` that have too few audits, counting those on their way; by declared prior, highest first.

        This is the only place where a declared prior is read.
        """
        if skill != GENERAL and skill not in self._exercises:
            return []  # nothing can audit it, so nobody is waited for
        wall_ms, mono_ms = self._outbox.now.wall_ms, self._outbox.now.mono_ms
        return sorted(
            (
                peer
                for peer in self._candidates(skill)
                if self._evidence.audits(peer, skill, wall_ms) + self._in_flight.get((peer, skill), 0) < AUDITS_TARGET
                and self._paused_until_ms.get((peer, skill), 0) <= mono_ms
            ),
            key=lambda peer: (-self._prior(peer, skill), peer),
        )

    def settled(self, skills: tuple[str, ...]) -> bool:
        """Whether no candidate in `skills` needs or is under audit."""
        return not any(self.needy(skill) for skill in skills) and not any(
            count and skill in skills for (_, skill), count in self._in_flight.items()
        )

    @property
    def skills(self) -> tuple[str, ...]:
        """Skills that can be audited."""
        return tuple(self._exercises)

    def next(self, preferred: tuple[str, ...]) -> tuple[str, Exercise, tuple[bytes, ...]] | None:
        """A skill, an exercise in it and up to a committee of examinees; preferred skills first, None if nobody needs one."""
        ranked = sorted(self._exercises, key=lambda skill: (skill not in preferred, -len(self.needy(skill)), skill))
        for skill in ranked:
            needy = self.needy(skill)
            if needy:
                seed = int.from_bytes(self._entropy(8), "big")
                pairs = self._exercises[skill]
                name, family = pairs[seed // 3 % len(pairs)]
                exercise = exercises.generate(name, 1 + seed % 3, seed, family)
                return skill, exercise, tuple(self._fewest(needy, skill))
        return None

    def begin(self, task: Task) -> None:
        """Count the examinees of an audit that goes out."""
        for peer in task.examinees:
            key = (peer, task.requirement.skill)
            self._in_flight[key] = self._in_flight.get(key, 0) + 1

    def grade(self, task: Task) -> list[tuple[bytes, str]]:
        """Verdicts ("hit", "miss", "abstained") on the executors of an audit that ended.

        A lease that expired, or whose model failed, is a miss for this node alone. Who did not bid, was busy or went away is
        left alone a while instead: that says nothing about its skill.
        """
        assert task.audit is not None
        skill = task.requirement.skill
        for peer in task.examinees:
            key = (peer, skill)
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]
            if peer not in task.bids or peer in task.gone:
                self._pause(key)
        self.done += 1
        self.messages += task.messages
        self.bytes_total += task.bytes_total
        self.tokens += sum(report.prompt_tokens + report.completion_tokens for report in task.reports)
        verdicts = []
        for report in task.reports:
            verdict = _verdict(report, task.audit.gold)
            if verdict is None or report.state in _SILENT:
                # A lease that runs out takes long, and one more would say the same.
                self._pause((report.peer, skill))
            if verdict is not None:
                verdicts.append((report.peer, verdict))
        return verdicts

    def _pause(self, key: tuple[bytes, str]) -> None:
        """Leave a peer alone for a while; pauses that are over go, so strangers who come and go leave nothing behind."""
        now_ms = self._outbox.now.mono_ms
        self._paused_until_ms = {other: until for other, until in self._paused_until_ms.items() if until > now_ms}
        self._paused_until_ms[key] = now_ms + AUDIT_PAUSE_MS

    def _fewest(self, needy: list[bytes], skill: str) -> list[bytes]:
        wall_ms = self._outbox.now.wall_ms
        count = {peer: self._evidence.audits(peer, skill, wall_ms) + self._in_flight.get((peer, skill), 0) for peer in needy}
        return sorted(needy, key=lambda peer: count[peer])[:SEATS_DEFAULT]

    def _prior(self, peer: bytes, skill: str) -> int:
        known = self._peers.get(peer)
        return known.record.skills.get(skill, 0) if known is not None and known.record is not None else 0


def _verdict(report: SeatReport, gold: str) -> str | None:
    if report.state == "answered":
        return "hit" if report.answer == gold else "miss"
    if report.state == "abstained":
        return "abstained"
    return "miss" if report.state in _MISSES else None
