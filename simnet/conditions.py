"""The conditions under which policies are compared: scenarios that differ in one thing."""

from __future__ import annotations

from typing import Any, Final

from simnet.calibration import gsm8k
from simnet.scenario import Scenario

ASKERS: Final = 4
QUESTIONS_PER_MINUTE: Final = 120
FROM_S: Final = 20
DEADLINE_MS: Final = 20_000
MINUTES_MIN: Final = 3
NODES_MIN: Final = 12
# The condition whose adversaries cost nothing, and so say of themselves whatever helps.
SYBIL: Final = "Sybil"


def _conditions(nodes: int, ends_s: int) -> dict[str, dict[str, Any]]:
    """What each condition adds to a quiet network; all of it lasts as long as there are questions."""
    lasts_s = ends_s - FROM_S
    colluder = {"policy": "colluder", "share_permille": 500}
    return {
        "healthy": {"about": "Nothing fails, and everybody is honest."},
        "hard questions": {
            "about": "The same with models that are right on .22 to .56 of the questions and think longer, on fast machines; "
            "half as many questions.",
            "population": [{"model": name, "hardware": "server"} for name in gsm8k().models],
            "workload": {"skills": ["arith", "lists"], "questions_per_minute": QUESTIONS_PER_MINUTE // 2},
        },
        "gray": {
            "about": "A fifth of the models takes a hundred times as long, and nobody is told.",
            "faults": [{"kind": "gray", "at_s": FROM_S, "lasts_s": lasts_s, "share_permille": 200, "factor": 100}],
        },
        "over-claiming": {
            "about": "A third of the nodes says that it is perfect at everything, and knows one thing.",
            "adversaries": [{"policy": "over-claimer", "share_permille": 330}],
        },
        SYBIL: {
            "about": "Twice the nodes, of which three in four are names of one attacker: they claim to be perfect at everything"
            " and all give the same wrong answers.",
            "nodes": 2 * nodes,
            "adversaries": [{"policy": "colluder", "share_permille": 750}],
        },
        "collusion": {
            "about": "Half of the nodes give the same wrong answer to every question.",
            "adversaries": [colluder],
        },
        "partial collusion": {
            "about": "Half of the nodes give the same wrong answer to half of the questions, and answer well else.",
            "adversaries": [{**colluder, "lie_permille": 500}],
        },
        "churn": {
            "about": "Nodes stay for two minutes in the median and are away for one, but for the askers.",
            "churn": {"median_session_s": 120, "median_absence_s": 60, "from_s": FROM_S},
        },
    }


CONDITIONS: Final = tuple(_conditions(NODES_MIN, FROM_S + 60 * MINUTES_MIN))


def scenario(condition: str, nodes: int, minutes: int) -> Scenario:
    """The scenario of a condition; raises `ScenarioError` for numbers that no scenario takes."""
    ends_s = FROM_S + 60 * minutes
    own = _conditions(nodes, ends_s)[condition]
    workload = {
        "askers": ASKERS, "questions_per_minute": QUESTIONS_PER_MINUTE, "deadline_ms": DEADLINE_MS, "from_s": FROM_S,
    }  # fmt: skip
    fields = {
        "nodes": nodes,
        "duration_s": ends_s,
        # Until the last question has ended.
        "settle_s": DEADLINE_MS // 1_000 + 1,
        "bootstraps": ASKERS,
        **own,
        "workload": workload | own.get("workload", {}),
    }
    return Scenario.read(fields, condition.lower().replace(" ", "-"))
