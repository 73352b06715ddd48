"""What the packaged models answer, asked directly and greedily, recorded once and kept under build/evaluation.

A record is named by the digest of the models and of the questions, so a model that is trained anew is asked anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from node.answering import answer
from node.dev.liar import lie
from node.dev.questions import questions
from node.llama_engine import LlamaEngine
from node.models import PackagedModel, packaged
from protocol import exercises
from protocol.answers import MARK, answer_of
from protocol.parameters import preset

DIRECTORY = Path(__file__).parents[2] / "build/evaluation"
SPECIALISTS = ("arith", "lists", "logic", "text")
GENERALIST = "generalist"
LIAR = "liar"
VOTERS = (*SPECIALISTS, GENERALIST, LIAR)
_AT_ONCE = 8
# For one answer, on a machine with other work.
_DEADLINE_MS = 600_000
_PARAMETERS = preset("dev")


# An answer, None for an abstention, with its tokens.
Cell: TypeAlias = tuple[str | None, int]


class Row(NamedTuple):
    """A question to record."""

    id: str
    skill: str
    text: str
    gold: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with its gold answer and what each of VOTERS answered, in their order; None is an abstention.

    `tokens` are those of each answer, its prompt included.
    """

    id: str
    skill: str
    gold: str
    answers: tuple[str | None, ...]
    tokens: tuple[int, ...]


def options(skill: str) -> int:
    """K of a skill in the network `dev`."""
    return _PARAMETERS.skills[skill].options


def of_questions(seed: int, count: int) -> list[Asked]:
    """The questions that `tutti dev --seed SEED --questions COUNT` asks."""
    return _asked([Row(each.id, each.skill, each.text, each.gold) for each in questions(seed, count, SPECIALISTS)])


def of_audits(seed: int, count: int) -> list[Asked]:
    """`count` audits of each skill, drawn as a requester draws them: all grades, all families that audit the skill."""
    rows = []
    for skill in SPECIALISTS:
        pairs = _PARAMETERS.skills[skill].audited_by
        for number in range(count):
            draw = int.from_bytes(hashlib.sha256(f"audit {seed} {skill} {number}".encode()).digest()[:8], "big")
            name, family = pairs[draw // 3 % len(pairs)]
            exercise = exercises.generate(name, 1 + draw % 3, draw, family)
            rows.append(Row(f"{skill} {number}", skill, exercise.text, exercise.gold))
    return _asked(rows)


def _asked(rows: Sequence[Row]) -> list[Asked]:
    models = {model.name: model for model in packaged()}
    columns = [_column(models[name], rows) for name in (*SPECIALISTS, GENERALIST)]
    columns.append([(_lie(row.skill, said), tokens) for row, (said, tokens) in zip(rows, columns[-1], strict=True)])
    return [
        Asked(row.id, row.skill, row.gold, tuple(cell[0] for cell in cells), tuple(cell[1] for cell in cells))
        for row, *cells in zip(rows, *columns, strict=True)
    ]


def _lie(skill: str, said: str | None) -> str | None:
    """What the liar of `tutti dev` makes of the generalist's answer."""
    return answer_of(_PARAMETERS.skills[skill].answer, lie("" if said is None else f"{MARK} {said}"))


def _column(model: PackagedModel, rows: Sequence[Row]) -> list[Cell]:
    """One model's answers with their tokens, read if they are there and else recorded."""
    text = json.dumps([model.sha256, [(row.skill, row.text) for row in rows]])
    path = DIRECTORY / f"{model.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        print(f"asking {model.name} {len(rows)} questions ...", file=sys.stderr)
        cells = asyncio.run(_record(model.path, rows))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(cells), encoding="utf-8")
        partial.replace(path)
    return [(said, tokens) for said, tokens in json.loads(path.read_text(encoding="utf-8"))]


async def _record(path: Path, rows: Sequence[Row]) -> list[Cell]:
    engine = LlamaEngine(path, threads=1, slots=_AT_ONCE)
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(row: Row) -> Cell:
        rule = _PARAMETERS.skills[row.skill]
        async with places:
            said = await answer(engine, row.text, rule.answer, rule.tokens_max, _DEADLINE_MS)
        return answer_of(rule.answer, said.text), said.prompt_tokens + said.completion_tokens

    await engine.start()
    try:
        return list(await asyncio.gather(*map(ask, rows)))
    finally:
        await engine.close()
