"""The vote over recorded answers to GSM8K: a sanity check, and what colluders can do.

    python -m contrib.evaluation.gsm8k PATH [--json]

PATH holds lines `{id, gold, votes: {model: text}}`: the final answers of the four models whose solutions were published with
GSM8K (openai/grade-school-math, MIT licence). They are no part of this repository. Of each of SPLITS splits KNOWN questions
serve as audits, graded into the evidence book and the audit records that a node keeps; the vote answers the others.

Four unequal voters of one family leave nothing to gain over the best of them: what is checked is that nothing is lost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrib.evaluation.figures import figure, table
from contrib.evaluation.voters import Auditor, Question, Voters
from node.prompts import readable
from protocol.answers import MARK, answer_of
from protocol.constants import EVIDENCE_ONE
from protocol.evidence import Counts

SPLITS, KNOWN = 40, 100
OPTIONS = 11
"""K: wrong answers of these models scatter over about ten."""
COLLUDERS = 16
SHARES = (100, 75, 50, 25, 10)
THINKING = 25
"""The share on which colluders lie who are else good voters by themselves: there one voice for all has its price."""
_SKILL = "math"


def read(path: Path) -> list[Question]:
    """The questions with answers in canonical form; what has none is an abstention."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    models = sorted(rows[0]["votes"])
    return [
        Question(str(row["id"]), _canonical(row["gold"]) or "", tuple(_canonical(row["votes"][model]) for model in models))
        for row in rows
    ]


def _canonical(text: str) -> str | None:
    return answer_of("number", readable("number", f"{MARK} {text}") or "")


# --- Audits


def audited(known: Sequence[Question], voters: int) -> Voters:
    """Grade the answers of the first `voters` to the known questions; the others stay newcomers."""
    auditor = Auditor(len(known[0].answers), {_SKILL: OPTIONS})
    for question in known:
        auditor.grade(_SKILL, question.id, question.gold, dict(enumerate(question.answers[:voters])))
    return auditor.voters(_SKILL)


def splits(questions: Sequence[Question]) -> list[tuple[list[Question], list[Question]]]:
    """For each split the known questions and the others."""
    found = []
    for split in range(SPLITS):
        order = list(range(len(questions)))
        random.Random(split).shuffle(order)  # noqa: S311 - a split to repeat, no secret
        found.append(([questions[place] for place in order[:KNOWN]], [questions[place] for place in order[KNOWN:]]))
    return found


# --- Policies


def policies(questions: Sequence[Question]) -> dict[str, list[float]]:
    """The accuracy of each policy on each split."""
    voters = range(len(questions[0].answers))
    best = best_single(questions)
    truth = Voters(tuple(_true_counts(questions, voter).weight(OPTIONS) for voter in voters), (None,) * len(voters))
    found: dict[str, list[float]] = {}
    for known, asked in splits(questions):
        picked = best_single(known)
        chosen = {
            "best single, in hindsight": [question.answers[best] for question in asked],
            "best single, by the audits": [question.answers[picked] for question in asked],
            "tutti": audited(known, len(voters)).answers(asked),
            "weights of true accuracies": truth.answers(asked),
        }
        scores = {name: _right(said, asked) for name, said in chosen.items()}
        scores["plurality, ties split"] = _mean([plurality(question) for question in asked])
        scores["some voter is right"] = _mean([float(question.gold in question.answers) for question in asked])
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
    return found


def plurality(question: Question) -> float:
    """The share of the right answer among those most often given."""
    said = [answer for answer in question.answers if answer is not None]
    most = max(map(said.count, said), default=0)
    first = {answer for answer in said if said.count(answer) == most}
    return float(question.gold in first) / max(1, len(first))


def best_single(questions: Sequence[Question]) -> int:
    """The voter that was right most often, the first of equals."""
    return max(range(len(questions[0].answers)), key=lambda voter: _true_counts(questions, voter).hits)


def _true_counts(questions: Sequence[Question], voter: int) -> Counts:
    said = [(question.answers[voter], question.gold) for question in questions if question.answers[voter] is not None]
    hits = sum(answer == gold for answer, gold in said)
    return Counts(hits * EVIDENCE_ONE, (len(said) - hits) * EVIDENCE_ONE)


def _right(said: Sequence[str | None], asked: Sequence[Question]) -> float:
    return _mean([float(answer == question.gold) for answer, question in zip(said, asked, strict=True)])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# --- Attacks


def with_colluders(questions: Sequence[Question], share: int) -> list[Question]:
    """COLLUDERS more voters, who lie together on `share` per cent of the questions and else answer like the best voter."""
    best = best_single(questions)
    return [_joined(each, COLLUDERS * (each.answers[best],), share) for each in questions]


def with_thinkers(questions: Sequence[Question], share: int) -> list[Question]:
    """The same, but else each answers by itself, as often right as the best voter; wrong answers scatter over ten."""
    right = sum(question.answers[best_single(questions)] == question.gold for question in questions)
    found = []
    for each in questions:
        draws = [_draw(f"think {number} {each.id}") for number in range(COLLUDERS)]
        said = [each.gold if draw % len(questions) < right else f"{(draw >> 32) % 10}.25" for draw in draws]
        found.append(_joined(each, said, share))
    return found


def _joined(question: Question, otherwise: Sequence[str | None], share: int) -> Question:
    draw = _draw(f"collude {question.id}")
    lie = f"{(draw >> 32) % 1_000 + 1}.5"
    said = [lie if draw % 100 < share else own for own in otherwise]
    return Question(question.id, question.gold, (*question.answers, *said))


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def attack(crowd: Sequence[Question], audits_of: int | None = None) -> dict[str, list[float]]:
    """Accuracy on each split with the votes of `crowd` counted by cluster and one by one; audits know the first voters."""
    found: dict[str, list[float]] = {"clusters": [], "alone": []}
    for known, asked in splits(crowd):
        ours = audited(known, audits_of or len(crowd[0].answers))
        for name, way in (("clusters", ours), ("alone", ours.apart())):
            found[name].append(_right(way.answers(asked), asked))
    return found


def report(questions: Sequence[Question]) -> dict[str, Any]:
    """Everything that is printed."""
    scores = policies(questions)
    honest = scores["tutti"]
    attacks: dict[str, dict[str, list[float]]] = {
        f"lie on {share} %": attack(with_colluders(questions, share)) for share in SHARES
    }
    attacks["newcomers, lie on 100 %"] = attack(with_colluders(questions, 100), len(questions[0].answers))
    attacks[f"lie on {THINKING} %, else by themselves"] = attack(with_thinkers(questions, THINKING))
    return {
        "questions": len(questions),
        "splits": SPLITS,
        "known": KNOWN,
        "policies": {name: figure(values).json() for name, values in scores.items()},
        "colluders": {
            name: {
                "clusters": figure(both["clusters"]).json(),
                "alone": figure(both["alone"]).json(),
                "loss_points": _points(honest, both["clusters"]),
                "loss_points_alone": _points(honest, both["alone"]),
            }
            for name, both in attacks.items()
        },
    }


def _points(honest: Sequence[float], attacked: Sequence[float]) -> float:
    return round(100 * (_mean(honest) - _mean(attacked)), 2)


def show(found: Mapping[str, Any]) -> str:
    """The report as tables."""
    first = [("policy", "accuracy", "95 % of splits")]
    first += [(name, f"{row['mean']:.4f}", _spread(row)) for name, row in found["policies"].items()]
    second = [(f"{COLLUDERS} colluders beside", "clusters", "95 % of splits", "loss", "one by one", "loss")]
    second += [
        (
            name,
            f"{row['clusters']['mean']:.4f}",
            _spread(row["clusters"]),
            f"{row['loss_points']:.2f}",
            f"{row['alone']['mean']:.4f}",
            f"{row['loss_points_alone']:.2f}",
        )
        for name, row in found["colluders"].items()
    ]
    head = f"{found['questions']} questions, {found['splits']} splits with {found['known']} known answers each"
    return "\n".join((head, "", table(first), "", "losses in points against tutti without them", table(second)))


def _spread(row: Mapping[str, float]) -> str:
    return f"{row['low']:.4f}..{row['high']:.4f}"


def main() -> int:
    """Print the tables, or say that they were skipped."""
    parser = argparse.ArgumentParser(prog="python -m contrib.evaluation.gsm8k", description="The vote over GSM8K's answers.")
    parser.add_argument("path", type=Path, help="the recorded votes, a JSON object a line")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    if not chosen.path.is_file():
        print(
            f"skipped: there is no {chosen.path}. It holds the final answers of the four models whose solutions were published "
            "with GSM8K (openai/grade-school-math, MIT licence), as lines {id, gold, votes: {model: text}}",
            file=sys.stderr,
        )
        return 0
    found = report(read(chosen.path))
    print(json.dumps(found) if chosen.json else show(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
