"""Accuracies with intervals, and the baselines that a network of nodes has to beat.

Every baseline is computed from what each node's own model answered to the same questions, asked directly and outside the
protocol, so that nothing of the network can help or harm it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.vote import Vote, tally

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Sheet:
    """One question with every node's own answer, in the order of the nodes; None is an abstention."""

    id: str
    skill: str
    family: str
    gold: str
    network: str | None
    own: tuple[str | None, ...]

    def right(self, node: int) -> float:
        """1 if the node's own answer is right, else 0."""
        return float(self.own[node] == self.gold)


def wilson(mean: float, count: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    centre = (mean + _Z * _Z / (2 * count)) / (1 + _Z * _Z / count)
    half = _Z * math.sqrt(mean * (1 - mean) / count + _Z * _Z / (4 * count * count)) / (1 + _Z * _Z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def estimate(scores: Sequence[float]) -> dict[str, float]:
    """Mean of scores in [0, 1] with its 95 % interval, rounded to four places."""
    mean = _mean(scores)
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


def ratio(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The first total as a share of the second, rounded to four places; None where the second is nothing."""
    return round(sum(first) / sum(second), 4) if sum(second) else None


def plurality(question: str, answers: Sequence[str | None]) -> str | None:
    """The answer most often given, by the protocol's own rule of equal votes; ties go by hash."""
    return tally(question.encode(), [Vote(bytes([index]), answer, 0) for index, answer in enumerate(answers)]).answer


def best_single(sheets: Sequence[Sheet], nodes: int) -> int:
    """The node that did best on these very questions, the first of equals."""
    return max(range(nodes), key=lambda node: sum(sheet.right(node) for sheet in sheets))


def scores(sheets: Sequence[Sheet], honest: Sequence[bool]) -> dict[str, list[float]]:
    """Each policy's score on each question.

    `best_single` is the node that did best on these very questions, `oracle_route` the best node of each skill on them:
    both know the result beforehand. `random` is the expected score of a node drawn at random.
    """
    nodes = range(len(honest))
    best = best_single(sheets, len(honest))
    skills = sorted({sheet.skill for sheet in sheets})
    route = {skill: best_single([sheet for sheet in sheets if sheet.skill == skill], len(honest)) for skill in skills}
    trusted = [node for node in nodes if honest[node]]
    return {
        "network": [float(sheet.network == sheet.gold) for sheet in sheets],
        "best_single": [sheet.right(best) for sheet in sheets],
        "majority": [float(plurality(sheet.id, sheet.own) == sheet.gold) for sheet in sheets],
        "majority_honest": [
            float(plurality(sheet.id, [sheet.own[node] for node in trusted]) == sheet.gold) for sheet in sheets
        ],
        "random": [_mean([sheet.right(node) for node in nodes]) for sheet in sheets],
        "oracle_route": [sheet.right(route[sheet.skill]) for sheet in sheets],
    }


def breakdown(sheets: Sequence[Sheet], policies: Mapping[str, Sequence[float]], models: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each skill (family None) followed by one for each of its families.

    `models` names the model of each node; nodes of one model are one column, their mean.
    """
    rows = []
    for skill in sorted({sheet.skill for sheet in sheets}):
        of_skill = [index for index, sheet in enumerate(sheets) if sheet.skill == skill]
        rows.append(_row(skill, None, of_skill, sheets, policies, models))
        for family in sorted({sheets[index].family for index in of_skill}):
            chosen = [index for index in of_skill if sheets[index].family == family]
            rows.append(_row(skill, family, chosen, sheets, policies, models))
    return rows


def _row(
    skill: str,
    family: str | None,
    chosen: Sequence[int],
    sheets: Sequence[Sheet],
    policies: Mapping[str, Sequence[float]],
    models: Sequence[str],
) -> dict[str, Any]:
    return {
        "skill": skill,
        "family": family,
        "questions": len(chosen),
        "accuracy": {name: round(_mean([values[index] for index in chosen]), 4) for name, values in policies.items()},
        "models": {
            model: round(
                _mean([sheets[index].right(node) for index in chosen for node, its in enumerate(models) if its == model]), 4
            )
            for model in dict.fromkeys(models)
        },
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, by the nearest rank; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)] if ordered else 0.0
