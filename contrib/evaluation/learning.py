"""How many audits the vote needs: the questions of `tutti dev`, weighed by n audits a node and skill, for n from 0 to 50.

    python -m contrib.evaluation.learning [--questions 2000] [--seed 1] [--json]

Every packaged specialist, the generalist and the liar answer every question; nothing but the audits says who is good at what,
and none of them declares a skill. Weights, probation, clusters and tally are those that nodes use. Answers are recorded once
under build/evaluation (the models take a few minutes). With the extra `report` installed the curve is plotted beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrib.evaluation import recorded
from contrib.evaluation.figures import figure, table
from contrib.evaluation.recorded import SPECIALISTS, VOTERS, Asked
from contrib.evaluation.voters import Auditor
from node.dev.statistics import plurality

AUDITS_MAX = 50
DRAWS = 10
_POOL = 100
"""Audits of each skill that a draw takes its own from."""
_SHOWN = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50)


def curve(questions: Sequence[Asked], pool: Sequence[Asked]) -> list[list[float]]:
    """For each n the accuracy of each draw of n audits a voter and skill."""
    options = {skill: recorded.options(skill) for skill in SPECIALISTS}
    scores: list[list[float]] = [[] for _ in range(AUDITS_MAX + 1)]
    for draw in range(DRAWS):
        order = _drawn(pool, draw)
        auditor = Auditor(len(VOTERS), options)
        for count in range(AUDITS_MAX + 1):
            if count:
                for skill in SPECIALISTS:
                    audit = order[skill][count - 1]
                    auditor.grade(skill, audit.id, audit.gold, dict(enumerate(audit.answers)))
            voters = {skill: auditor.voters(skill) for skill in SPECIALISTS}
            right = sum(voters[each.skill].vote(each.id, each.answers) == each.gold for each in questions)
            scores[count].append(right / len(questions))
    return scores


def _drawn(pool: Sequence[Asked], draw: int) -> dict[str, list[Asked]]:
    stream = random.Random(draw)  # noqa: S311 - a draw to repeat, no secret
    return {skill: stream.sample([each for each in pool if each.skill == skill], AUDITS_MAX) for skill in SPECIALISTS}


def baselines(questions: Sequence[Asked]) -> dict[str, float]:
    """What needs no audits: plurality, and, in hindsight, the best voter and the best voter of each skill."""
    everyone = range(len(VOTERS))
    skills = {each.skill for each in questions}
    route = {
        skill: max(_right([each for each in questions if each.skill == skill], voter) for voter in everyone) for skill in skills
    }
    return {
        "plurality": sum(plurality(each.id, each.answers) == each.gold for each in questions) / len(questions),
        "best single, in hindsight": max(_right(questions, voter) for voter in everyone) / len(questions),
        "best of each skill, in hindsight": sum(route.values()) / len(questions),
    }


def _right(questions: Sequence[Asked], voter: int) -> int:
    return sum(each.answers[voter] == each.gold for each in questions)


def report(questions: Sequence[Asked], pool: Sequence[Asked]) -> dict[str, Any]:
    """Everything that is printed."""
    return {
        "questions": len(questions),
        "draws": DRAWS,
        "voters": {voter: round(_right(questions, number) / len(questions), 4) for number, voter in enumerate(VOTERS)},
        "baselines": {name: round(value, 4) for name, value in baselines(questions).items()},
        "curve": [{"audits": count, **figure(values).json()} for count, values in enumerate(curve(questions, pool))],
    }


def show(found: dict[str, Any]) -> str:
    """The report as tables."""
    alone = [("voter alone", "accuracy"), *((name, f"{value:.4f}") for name, value in found["voters"].items())]
    known = [("without audits", "accuracy"), *((name, f"{value:.4f}") for name, value in found["baselines"].items())]
    rows: list[tuple[object, ...]] = [("audits a node and skill", "accuracy", "95 % of draws")]
    rows += [
        (row["audits"], f"{row['mean']:.4f}", f"{row['low']:.4f}..{row['high']:.4f}")
        for row in found["curve"]
        if row["audits"] in _SHOWN
    ]
    head = f"{found['questions']} questions, mean of {found['draws']} draws of audits"
    return "\n\n".join((head, table(alone), table(known), table(rows)))


def plot(found: dict[str, Any], path: Path) -> None:
    """Write the curve with its spread and the baselines; raises `ImportError` without matplotlib."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that only the plot needs

    counts = [row["audits"] for row in found["curve"]]
    drawing = Figure(figsize=(7, 4), layout="constrained")
    axes = drawing.subplots()
    axes.fill_between(counts, [row["low"] for row in found["curve"]], [row["high"] for row in found["curve"]], alpha=0.25)
    axes.plot(counts, [row["mean"] for row in found["curve"]], label="tutti")
    for style, (name, value) in zip(("--", "-.", ":"), found["baselines"].items(), strict=True):
        axes.axhline(value, linestyle=style, color="grey", linewidth=1, label=name)
    axes.set(xlabel="audits a node and skill", ylabel="accuracy", xlim=(0, AUDITS_MAX))
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)


def main() -> int:
    """Print the tables and plot the curve."""
    parser = argparse.ArgumentParser(prog="python -m contrib.evaluation.learning", description="Accuracy by number of audits.")
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1, help="that of tutti dev")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    found = report(recorded.of_questions(chosen.seed, chosen.questions), recorded.of_audits(chosen.seed, _POOL))
    print(json.dumps(found) if chosen.json else show(found))
    target = recorded.DIRECTORY / "learning.svg"
    try:
        plot(found, target)
    except ImportError:
        print("no plot: it needs the extra report, `pip install 'tutti-network[report]'`", file=sys.stderr)
    else:
        print(f"plotted: {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
