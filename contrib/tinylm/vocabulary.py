"""The vocabulary: control tokens, all bytes, and merges inside words, learnt from the exercises themselves.

Tokenising is left to llama.cpp, which reads this vocabulary from the same file as the weights: training sees exactly
the tokens that inference will see, and there is no second tokeniser that could differ.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from contrib.tinylm.worked import worked
from protocol.exercises import DIFFICULTIES, SKILLS, generate

END = "<|end|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
CONTROLS = (END, USER, ASSISTANT)
TEMPLATE = f"{USER}{{question}}{ASSISTANT}"
VOCABULARY_SIZE = 448

# The pieces that the `gpt-2` pre-tokeniser of llama.cpp makes of English text without apostrophes.
_PIECE = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
_SAMPLES_PER_FAMILY = 200
_DIGITS = tuple("0123456789")
_LETTERS = frozenset(string.ascii_letters)
_SPACE = "\u0120"  # how GPT-2 spells a space


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens in order of their id, and merges in order of their rank, in GPT-2's printable spelling of bytes."""

    tokens: tuple[str, ...]
    merges: tuple[str, ...]


def _printable_bytes() -> list[str]:
    """GPT-2's spelling: a byte that prints stands for itself, the others for code points from 256 on."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(spare)) for byte in range(256)]


def _mergeable(merged: str, *, letters: bool) -> bool:
    """Each digit stays a token of its own; only the space before a number may join its first digit."""
    if not letters and any(letter in _LETTERS for letter in merged):
        return False
    return not any(letter.isdigit() for letter in merged) or (merged[0] == _SPACE and merged[1:] in _DIGITS)


def learn(skills: Sequence[str], *, letters: bool) -> Vocabulary:
    """Byte-pair merges by frequency over a fixed sample of the skills; ties go to the alphabetically first pair.

    Without `letters` each letter stays a token of its own, as spelling needs.
    """
    spelling = _printable_bytes()
    pieces: Counter[str] = Counter()
    for skill in skills:
        for family in SKILLS[skill]:
            for seed in range(_SAMPLES_PER_FAMILY):
                exercise = generate(skill, DIFFICULTIES[seed % len(DIFFICULTIES)], seed, family)
                pieces.update(_PIECE.findall(exercise.text) + _PIECE.findall(worked(exercise)))
    words = {tuple(spelling[byte] for byte in piece.encode()): count for piece, count in pieces.items()}
    merges: list[str] = []
    tokens = [*CONTROLS, *spelling]
    while len(tokens) < VOCABULARY_SIZE:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        candidates = [(-count, pair) for pair, count in pairs.items() if _mergeable("".join(pair), letters=letters)]
        if not candidates:
            break
        best = min(candidates)[1]
        merges.append(" ".join(best))
        tokens.append("".join(best))
        words = {_merged(word, best): count for word, count in words.items()}
    return Vocabulary(tokens=tuple(tokens), merges=tuple(merges))


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)
