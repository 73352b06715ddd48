"""How often models are right, alone and together, by family and difficulty: what the simulator's solvers are made from.

    python -m contrib.evaluation.calibration tiny [--questions N] [--skills A,B]
    python -m contrib.evaluation.calibration gsm8k PATH

The first asks the packaged models as a node does, greedily, and takes some minutes; the second counts the recorded answers of
the four models published with GSM8K (see contrib.evaluation.gsm8k), which are no part of this repository: only the counts are.
Both write their part of simnet/calibration.json and leave the other as it is.

A pattern has a character for each model of its list: 0 for the right answer, - for none, else a digit for a wrong one, the same
for models that gave the same. Counts of patterns hold how often each model is right and how often any of them err together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrib.evaluation import gsm8k
from node.answering import answer
from node.llama_engine import LlamaEngine
from node.models import PackagedModel, packaged
from protocol import exercises
from protocol.answers import answer_of
from protocol.exercises import ANSWERS, DIFFICULTIES, SKILLS, Exercise
from simnet.reading import read

PATH = Path(__file__).parents[2] / "simnet/calibration.json"
QUESTIONS = 100
"""Of each family at each difficulty."""
_AT_ONCE = 8
_TOKENS_MAX = 200
# For one answer, on a machine with other work.
_DEADLINE_MS = 600_000


def pattern(answers: Sequence[str | None], gold: str) -> str:
    """Who is right, who says nothing, and who errs alike."""
    wrong: dict[str, str] = {}
    found = ""
    for said in answers:
        if said is None:
            found += "-"
        elif said == gold:
            found += "0"
        else:
            found += wrong.setdefault(said, str(len(wrong) + 1))
    return found


def counts(patterns: Sequence[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return dict(sorted(Counter(patterns).items(), key=lambda item: (-item[1], item[0])))


# --- The packaged models


def tiny(skills: Sequence[str], questions: int) -> dict[str, Any]:
    """Ask the models that offer each skill the same questions of each of its families."""
    models = packaged()
    found: dict[str, Any] = {}
    for skill in skills:
        offering = [model for model in models if skill in model.entry["skills"]]
        rows = [
            # Those that contrib.tinylm keeps out of training.
            exercises.generate(skill, DIFFICULTIES[number % len(DIFFICULTIES)], number, family)
            for family in SKILLS[skill]
            for number in range(questions * len(DIFFICULTIES))
        ]
        columns = [asyncio.run(_asked(model, rows)) for model in offering]
        for family in SKILLS[skill]:
            found[family] = {"skill": skill, "models": [model.name for model in offering], "difficulties": {}}
            for difficulty in DIFFICULTIES:
                # By what can be read from a question: where the ranges of two difficulties overlap, it is the lower one.
                places = [at for at, row in enumerate(rows) if row.family == family and _difficulty(row) == difficulty]
                patterns = [pattern([column[at] for column in columns], rows[at].gold) for at in places]
                found[family]["difficulties"][str(difficulty)] = {"questions": len(places), "patterns": counts(patterns)}
    return found


def _difficulty(row: Exercise) -> int:
    found = read(row.text)
    assert found is not None, row.text
    return found.difficulty


async def _asked(model: PackagedModel, rows: Sequence[Exercise]) -> list[str | None]:
    print(f"asking {model.name} {len(rows)} questions ...", file=sys.stderr)
    engine = LlamaEngine(model.path, threads=1, slots=_AT_ONCE)
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(row: Exercise) -> str | None:
        async with places:
            said = await answer(engine, row.text, ANSWERS[row.skill], _TOKENS_MAX, _DEADLINE_MS)
        return answer_of(ANSWERS[row.skill], said.text)

    await engine.start()
    try:
        return list(await asyncio.gather(*map(ask, rows)))
    finally:
        await engine.close()


# --- GSM8K


def recorded(path: Path) -> dict[str, Any]:
    """The patterns of the recorded answers."""
    models = sorted(json.loads(path.read_text(encoding="utf-8").splitlines()[0])["votes"])
    patterns = [pattern(question.answers, question.gold) for question in gsm8k.read(path)]
    return {"models": models, "questions": len(patterns), "patterns": counts(patterns)}


def merged(before: Mapping[str, Any], part: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The file with one part of it anew."""
    whole = {"tiny": {}, "gsm8k": {}} | dict(before)
    whole[part] = {**whole[part], **found} if part == "tiny" else dict(found)
    return whole


def main() -> int:
    """Measure one part, and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m contrib.evaluation.calibration", description="Accuracies for the simulator."
    )
    parts = parser.add_subparsers(dest="part", required=True)
    asked = parts.add_parser("tiny", help="ask the packaged models")
    asked.add_argument("--questions", type=int, default=QUESTIONS, help=f"of each family and difficulty ({QUESTIONS})")
    asked.add_argument("--skills", default=",".join(SKILLS), help="these alone; the others stay as they are")
    parts.add_parser("gsm8k", help="count recorded answers").add_argument("path", type=Path)
    chosen = parser.parse_args()
    if chosen.part == "gsm8k" and not chosen.path.is_file():
        print(f"skipped: there is no {chosen.path}; see contrib.evaluation.gsm8k", file=sys.stderr)
        return 0
    found = tiny(chosen.skills.split(","), chosen.questions) if chosen.part == "tiny" else recorded(chosen.path)
    before = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    PATH.write_text(json.dumps(merged(before, chosen.part, found), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
