"""The weighted vote (specs/08-execution.md; weights after Nitzan and Paroush 1982)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vote:
    """One executor's canonical answer, None when it gave none, with its weight in units of 2^-16.

    Voters of one `cluster` (protocol/clusters.py) share one voice for each answer; None stands alone.
    """

    peer: bytes
    answer: str | None
    weight: int
    cluster: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """The result: `support` holds each answer's total, strongest first; `margin` is the lead in thousandths of all support.

    `earned` is False when every weight was zero and plurality decided. `dissent` counts the votes for other answers,
    `abstained` those for none; `coverage` is the share of the weight that was asked which answered, in thousandths.
    """

    answer: str | None
    earned: bool
    margin: int
    support: tuple[tuple[str, int], ...]
    dissent: int
    abstained: int
    coverage: int


def tie_break(task: bytes, answer: str) -> bytes:
    """What orders answers with equal support, the smallest first."""
    # The task's id is random, so no answer wins ties in every task; and answers are sealed, so nobody chooses by it.
    return hashlib.sha256(b"tutti/tie/1\x00" + task + answer.encode()).digest()


def voices(votes: Iterable[Vote]) -> int:
    """What these votes weigh together: of each cluster the heaviest alone."""
    alone, heaviest = 0, dict[int, int]()
    for vote in votes:
        if vote.cluster is None:
            alone += vote.weight
        else:
            heaviest[vote.cluster] = max(vote.weight, heaviest.get(vote.cluster, 0))
    return alone + sum(heaviest.values())


def tally(task: bytes, votes: Sequence[Vote], silent: Sequence[Vote] = ()) -> Tally:
    """Weigh the votes of one task; independent of their order.

    An answer gets of each cluster the maximum, not the sum, of its members' weights. Abstentions support nothing; `silent`
    are those who were asked and never answered, who lower the coverage alone. If all weights are zero, each voice counts
    one and the tally is marked as not earned.
    """
    asked = [*votes, *silent]
    # specs/08-execution.md: "If some vote has a weight above 0 the tally is *earned* and each vote counts its weight; else each
    # counts 1."
    earned = any(vote.weight > 0 for vote in votes if vote.answer is not None)
    if not earned:
        votes = [Vote(vote.peer, vote.answer, 1, vote.cluster) for vote in votes]
        if not any(vote.weight > 0 for vote in asked):
            asked = [Vote(vote.peer, vote.answer, 1, vote.cluster) for vote in asked]
    by_answer: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.answer is not None:
            by_answer.setdefault(vote.answer, []).append(vote)
    support = {answer: voices(group) for answer, group in by_answer.items()}
    # specs/08-execution.md: "Order by descending support, equals by ascending SHA-256"
    ranked = sorted(support.items(), key=lambda item: (-item[1], tie_break(task, item[0])))
    cast = sum(map(len, by_answer.values()))
    coverage = 1_000 * voices(vote for vote in asked if vote.answer is not None) // max(1, voices(asked))
    if not ranked:
        return Tally(None, earned, 0, (), 0, len(votes), coverage)
    second = ranked[1][1] if len(ranked) > 1 else 0
    margin = 1_000 * (ranked[0][1] - second) // sum(support.values())
    dissent = cast - len(by_answer[ranked[0][0]])
    return Tally(ranked[0][0], earned, margin, tuple(ranked), dissent, len(votes) - cast, coverage)
