"""Accuracies with intervals, and the baselines that a network of nodes has to beat.

Every baseline is computed from what each node's own model answered to the same questions, asked directly and outside the
protocol, so that nothing of the network can help or harm it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.vote import Vote, tally

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Sheet:
    """One question with every node's own answer, in the order of the nodes; None is an abstention."""

    id: str
    skill: str
    gold: str
    network: str | None
    own: tuple[str | None, ...]


def wilson(mean: float, count: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    centre = (mean + _Z * _Z / (2 * count)) / (1 + _Z * _Z / count)
    half = _Z * math.sqrt(mean * (1 - mean) / count + _Z * _Z / (4 * count * count)) / (1 + _Z * _Z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def estimate(scores: Sequence[float]) -> dict[str, float]:
    """Mean of scores in [0, 1] with its 95 % interval, rounded to four places."""
    mean = sum(scores) / len(scores) if scores else 0.0
    low, high = wilson(mean, len(scores))
    return {"accuracy": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Mean difference on the same questions with its 95 % interval (normal, from the paired differences)."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    count = len(differences)
    if count == 0:
        return {"difference": 0.0, "low": 0.0, "high": 0.0}
    mean = sum(differences) / count
    variance = sum((item - mean) ** 2 for item in differences) / max(1, count - 1)
    half = _Z * math.sqrt(variance / count)
    return {"difference": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def _plurality(sheet: Sheet, voters: Sequence[int]) -> float:
    votes = [Vote(bytes([index]), sheet.own[index], 0) for index in voters]
    return float(tally(sheet.id.encode(), votes).answer == sheet.gold)


def scores(sheets: Sequence[Sheet], honest: Sequence[bool]) -> dict[str, list[float]]:
    """Each policy's score on each question.

    `best_single` is the node that did best on these very questions, `oracle_route` the best node of each skill on them:
    both know the result beforehand. `random` is the expected score of a node drawn at random.
    """
    nodes = range(len(honest))
    right = [[float(sheet.own[node] == sheet.gold) for sheet in sheets] for node in nodes]
    best = max(nodes, key=lambda node: sum(right[node]))
    skills = sorted({sheet.skill for sheet in sheets})
    route = {
        skill: max(nodes, key=lambda node: sum(right[node][i] for i, s in enumerate(sheets) if s.skill == skill))
        for skill in skills
    }
    return {
        "network": [float(sheet.network == sheet.gold) for sheet in sheets],
        "best_single": right[best],
        "majority": [_plurality(sheet, list(nodes)) for sheet in sheets],
        "majority_honest": [_plurality(sheet, [node for node in nodes if honest[node]]) for sheet in sheets],
        "random": [sum(right[node][i] for node in nodes) / len(honest) for i in range(len(sheets))],
        "oracle_route": [right[route[sheet.skill]][i] for i, sheet in enumerate(sheets)],
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, by the nearest rank; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)] if ordered else 0.0
