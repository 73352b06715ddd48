"""How much better the texts of a ranking are, for people to look at: the model of Bradley and Terry. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.ranking import Judged

_ROUNDS = 50
# Half a judgement for either side of each pair: a text that lost all has some strength left, and the sum converges.
_PRIOR = 0.5


def strengths(authors: Sequence[bytes], judged: Sequence[Judged]) -> Mapping[bytes, float]:
    """The strength of each author's text; they sum to 1. Of two, p / (p + q) is the chance that one is preferred.

    By minorisation and maximisation (Hunter 2004), over judgements that prefer a text, each counted once.
    """
    wins = {(one, other): _PRIOR for one in authors for other in authors if one != other}
    for item in judged:
        if item.preferred is not None:
            loser = item.second if item.preferred == item.first else item.first
            wins[item.preferred, loser] += 1
    strength = dict.fromkeys(authors, 1 / max(1, len(authors)))
    for _ in range(_ROUNDS if len(authors) > 1 else 0):
        raw = {one: _maximised(one, authors, wins, strength) for one in authors}
        total = sum(raw.values())
        strength = {one: value / total for one, value in raw.items()}
    return strength


def _maximised(
    one: bytes, authors: Sequence[bytes], wins: Mapping[tuple[bytes, bytes], float], strength: Mapping[bytes, float]
) -> float:
    others = [other for other in authors if other != one]
    won = sum(wins[one, other] for other in others)
    return won / sum((wins[one, other] + wins[other, one]) / (strength[one] + strength[other]) for other in others)
