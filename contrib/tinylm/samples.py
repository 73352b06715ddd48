"""The endless, deterministic stream of training batches, without any question that the evaluation will ask."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contrib.tinylm.export import Tokeniser
from contrib.tinylm.vocabulary import ASSISTANT, END, TEMPLATE
from contrib.tinylm.worked import worked
from protocol.exercises import DIFFICULTIES, SKILLS, Exercise, generate

# Evaluation counts its seeds from 0, training from here; equal texts under different seeds are dropped from training.
_TRAINING_SEED_FIRST = 2**32
_EXERCISES_PER_CHUNK = 2048
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Tokens and their targets, both int64 of shape (rows, length); targets outside the answer are -100."""

    tokens: Tensor
    targets: Tensor
    real_tokens: int


def held_out(family_size: int) -> dict[str, list[Exercise]]:
    """Distinct questions of each family, all difficulties in equal parts, that no training batch contains."""
    chosen: dict[str, list[Exercise]] = {}
    for skill, families in SKILLS.items():
        for family in families:
            distinct: dict[str, Exercise] = {}
            seed = 0
            while len(distinct) < family_size:
                exercise = generate(skill, DIFFICULTIES[seed % len(DIFFICULTIES)], seed, family)
                distinct.setdefault(exercise.text, exercise)
                seed += 1
            chosen[family] = list(distinct.values())
    return chosen


def batches(
    tokeniser: Tokeniser, families: Sequence[tuple[str, str]], stream: int, batch_tokens: int, forbidden: frozenset[str]
) -> Iterator[Batch]:
    """Batches of at most `batch_tokens` tokens with padding, over (skill, family) pairs in turn.

    `stream` selects a range of seeds, so that two models do not see the same questions.
    """
    seed = _TRAINING_SEED_FIRST * (1 + stream)
    end, assistant = tokeniser.encode(END)[0], tokeniser.encode(ASSISTANT)[0]
    while True:
        rows: list[tuple[list[int], int]] = []
        for _ in range(_EXERCISES_PER_CHUNK):
            skill, family = families[seed % len(families)]
            exercise = generate(skill, DIFFICULTIES[seed // len(families) % len(DIFFICULTIES)], seed, family)
            seed += 1
            if exercise.text not in forbidden:
                prompt, completion = TEMPLATE.format(question=exercise.text), worked(exercise)
                tokens = tokeniser.encode(prompt + completion + END)
                rows.append((tokens, tokens.index(assistant) + 1))
        # Rows of similar length share a batch, which keeps padding below a few per cent.
        rows.sort(key=lambda row: len(row[0]))
        chunk = list(_packed(rows, batch_tokens, end))
        random.Random(seed).shuffle(chunk)  # noqa: S311 - an order that repeats is what training wants
        yield from chunk


def _packed(rows: Sequence[tuple[list[int], int]], batch_tokens: int, end: int) -> Iterator[Batch]:
    """Fill batches in order; `rows` are (tokens, length of the prompt) and come sorted by length."""
    waiting: list[tuple[list[int], int]] = []
    for row in rows:
        if waiting and (len(waiting) + 1) * len(row[0]) > batch_tokens:
            yield _padded(waiting, end)
            waiting = []
        waiting.append(row)
    yield _padded(waiting, end)


def _padded(rows: Sequence[tuple[list[int], int]], end: int) -> Batch:
    length = max(len(tokens) for tokens, _ in rows) - 1
    inputs = torch.full((len(rows), length), end)
    targets = torch.full((len(rows), length), _IGNORED)
    for row, (tokens, prompt) in enumerate(rows):
        inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        targets[row, prompt - 1 : len(tokens) - 1] = torch.tensor(tokens[prompt:])
    return Batch(tokens=inputs, targets=targets, real_tokens=sum(len(tokens) for tokens, _ in rows))
