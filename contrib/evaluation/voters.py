"""Voters whose answers are recorded, audited and weighed by the code that nodes run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocol.allocation import View
from protocol.audit_records import AuditRecords
from protocol.evidence import EvidenceBook
from protocol.vote import Vote, tally

_WALL_MS = 0


def key(number: int) -> bytes:
    """The name under which the voter of this number is known."""
    return number.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its right answer and what each voter answered; None is an abstention."""

    id: str
    gold: str
    answers: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Voters:
    """What audits said of each voter in a skill: its weight, and its cluster if it has one."""

    weights: tuple[int, ...]
    clusters: tuple[int | None, ...]

    def vote(self, task: str, answers: Sequence[str | None]) -> str | None:
        """The answer of the weighted vote, given each voter's own."""
        cast = enumerate(zip(answers, self.weights, self.clusters, strict=True))
        return tally(task.encode(), [Vote(key(number), *rest) for number, rest in cast]).answer

    def answers(self, asked: Sequence[Question]) -> list[str | None]:
        """The vote on each question."""
        return [self.vote(question.id, question.answers) for question in asked]

    def apart(self) -> Voters:
        """The same with a voice for everyone."""
        return Voters(self.weights, (None,) * len(self.clusters))


class Auditor:
    """One requester's evidence about `voters` of them in skills with the given K."""

    def __init__(self, voters: int, options: Mapping[str, int]) -> None:
        self._voters = range(voters)
        self._options = options
        self._book = EvidenceBook()
        self._records = AuditRecords({skill: count - 1 for skill, count in options.items()})

    def grade(self, skill: str, audit: str, gold: str, answers: Mapping[int, str | None]) -> None:
        """Count one audit of the voters that took it, by their numbers."""
        for number, said in answers.items():
            right = said == gold
            self._book.add(key(number), skill, "abstained" if said is None else "hit" if right else "miss", _WALL_MS)
            if said is not None:
                self._records.add(key(number), skill, audit.encode(), None if right else said)

    def view(self, skill: str) -> View:
        """What is known of all of them now, as an award takes it."""
        counts = {key(number): self._book.counts(key(number), skill, _WALL_MS) for number in self._voters}
        return View(self._options[skill], 0, counts, self._records.clusters())

    def voters(self, skill: str) -> Voters:
        """The same as weights and clusters of everyone."""
        view, names = self.view(skill), [key(number) for number in self._voters]
        weights = tuple(view.counts[name].weight(view.options) for name in names)
        return Voters(weights, tuple(view.clusters.get(name) for name in names))
