"""The order of free texts by the judgements of members: a weighted Copeland score of integers (specs/08-execution.md).

Of each pair of texts the one wins whose supporters weigh more; a win is two points, a tie one. Independent of any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from protocol.constants import JUDGES_MIN
from protocol.vote import Vote, tie_break, voices


@dataclass(frozen=True, slots=True)
class Text:
    """A member's text, with the weight of its author in units of 2^-16."""

    author: bytes
    text: str
    weight: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What `judge` said of the texts of two authors: the one that it prefers, None for neither. `cluster` as in a vote."""

    judge: bytes
    first: bytes
    second: bytes
    preferred: bytes | None
    weight: int
    cluster: int | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """An author and its text's points."""

    author: bytes
    points: int


def rank(task: bytes, texts: Sequence[Text], judged: Sequence[Judged]) -> tuple[Ranked, ...] | None:
    """Authors from the best text on; None if fewer than JUDGES_MIN members with a weight preferred any.

    Ties go to the author with more weight, then by the hash of task and text, then by the author's key.
    """
    said = [item for item in judged if item.preferred is not None and item.weight > 0]
    if len({item.judge for item in said}) < JUDGES_MIN:
        return None
    points = {text.author: 0 for text in texts}
    for one, other in combinations(sorted(points), 2):
        lead = _support(said, one, other) - _support(said, other, one)
        points[one] += 1 + (lead > 0) - (lead < 0)
        points[other] += 1 + (lead < 0) - (lead > 0)
    order = sorted(texts, key=lambda text: (-points[text.author], *_trust(task, text)))
    return tuple(Ranked(text.author, points[text.author]) for text in order)


def most_trusted(task: bytes, texts: Sequence[Text]) -> Text | None:
    """Whose text is given where none was voted, None if there is no text."""
    return min(texts, key=lambda text: _trust(task, text), default=None)


def _support(said: Sequence[Judged], one: bytes, other: bytes) -> int:
    """What those weigh together who prefer one author's text to the other's."""
    about = (item for item in said if {item.first, item.second} == {one, other} and item.preferred == one)
    return voices(Vote(item.judge, None, item.weight, item.cluster) for item in about)


def _trust(task: bytes, text: Text) -> tuple[int, bytes, bytes]:
    return -text.weight, tie_break(task, text.text), text.author
