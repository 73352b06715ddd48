"""The weighted vote (specs/08-execution.md; weights after Nitzan and Paroush 1982)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vote:
    """One executor's canonical answer, None when it abstained, with its weight in units of 2^-16."""

    peer: bytes
    answer: str | None
    weight: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The result: `support` holds each answer's total, strongest first; `margin` is the lead in thousandths of all support.

    `earned` is False when every weight was zero and plurality decided.
    """

    answer: str | None
    earned: bool
    margin: int
    support: tuple[tuple[str, int], ...]
    abstained: int


def _tie_break(task: bytes, answer: str) -> bytes:
    # The task's id is random, so no answer wins ties in every task; sealed answers will keep executors from choosing by it.
    return hashlib.sha256(b"tutti/tie/1\x00" + task + answer.encode()).digest()


def tally(task: bytes, votes: Sequence[Vote]) -> Tally:
    """Weigh the votes of one task; independent of their order.

    Abstentions support nothing. If all weights are zero, each vote counts one and the tally is marked as not earned.
    """
    cast = [vote for vote in votes if vote.answer is not None]
    earned = any(vote.weight > 0 for vote in cast)
    support: dict[str, int] = {}
    for vote in cast:
        if vote.answer is not None:
            support[vote.answer] = support.get(vote.answer, 0) + (vote.weight if earned else 1)
    ranked = sorted(support.items(), key=lambda item: (-item[1], _tie_break(task, item[0])))
    if not ranked:
        return Tally(None, earned=False, margin=0, support=(), abstained=len(votes))
    second = ranked[1][1] if len(ranked) > 1 else 0
    margin = 1_000 * (ranked[0][1] - second) // sum(support.values())
    return Tally(ranked[0][0], earned, margin, tuple(ranked), len(votes) - len(cast))
