"""Answers that were recorded, to be given again: a line of JSON for each model and question.

    {"model": "arith", "question": "12 + 30", "text": "... answer: 42", "tokens": 31, "prompt_tokens": 12}

A greedy model gives one answer to a question, so each is there once. How long it took is not: a solver takes as long as its
kind and its machine take for so many tokens, and a run depends on no machine that it ran on.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from simnet.draws import Stream
from simnet.host import Solution, Solver
from simnet.solvers import Kind, elapsed_ms

FILE_SIZE_MAX: Final = 1 << 28
# Where real models come from. It asks the packaged ones by the node's code, which this package may not import, and is part of a
# checkout and not of the installed package.
REAL: Final = "contrib.evaluation.real_models"
MISSING: Final = "the recording has no answer of this model to this question"


class AnswerbookError(ValueError):
    """A file that is no recording, or not the one that was meant."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote, and in how many tokens."""

    text: str
    tokens: int
    prompt_tokens: int


# What the model of a name writes on a question, None if nobody knows.
Source = Callable[[str, str], Said | None]


def digest(path: Path) -> str:
    """SHA-256 of a file: 64 hex digits; raises `AnswerbookError`."""
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise AnswerbookError(f"{path} has more than {FILE_SIZE_MAX} bytes: that is no recording")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise AnswerbookError(f"cannot read {path}: {error.strerror}") from error


def opened(path: Path, pinned: str) -> Source:
    """What a recording of this digest holds; raises `AnswerbookError`."""
    if digest(path) != pinned:
        raise AnswerbookError(f"{path} is not the recording any more that has the digest {pinned}: it was changed since")
    known: dict[tuple[str, str], Said] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            said = Said(str(row["text"]), int(row["tokens"]), int(row["prompt_tokens"]))
            known[str(row["model"]), str(row["question"])] = said
        except (KeyError, TypeError, ValueError) as error:
            raise AnswerbookError(f"{path}, line {number}: not an answer with its model, question, text and tokens") from error
    return lambda model, question: known.get((model, question))


def real() -> Source:
    """The packaged models themselves; raises `AnswerbookError` where they cannot be had."""
    try:
        found: Source = importlib.import_module(REAL).said
    except ImportError as error:
        raise AnswerbookError(f'solvers = "models" needs a checkout of tutti with `make setup` done: {error}') from error
    return found


class Notes:
    """Notes what a source says, once for each model and question."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows: dict[tuple[str, str], Said] = {}

    def __call__(self, model: str, question: str) -> Said | None:
        """Ask the source, and note what it says."""
        said = self._source(model, question)
        if said is not None:
            self._rows[model, question] = said
        return said

    def write(self, path: Path) -> None:
        """Write what was noted, in the order in which it was first asked; raises `AnswerbookError`."""
        rows = ({"model": model, "question": question, **asdict(said)} for (model, question), said in self._rows.items())
        try:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        except OSError as error:
            raise AnswerbookError(f"cannot write {path}: {error.strerror}") from error


def solver(kind: Kind, hardware: str, source: Source) -> Solver:
    """A solver that writes what the source says."""

    def solve(prompt: str, draws: Stream) -> Solution:
        said = source(kind.model, prompt)
        if said is None:
            return Solution("", elapsed_ms(kind, hardware, kind.tokens, draws), error=MISSING)
        took_ms = elapsed_ms(kind, hardware, said.tokens, draws)
        return Solution(said.text, took_ms, said.tokens, prompt_tokens=said.prompt_tokens)

    return solve
