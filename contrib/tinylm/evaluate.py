"""Accuracy of an exported file, measured through llama.cpp as a node would run it: greedy, from text to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import llama_cpp

from contrib.tinylm.vocabulary import TEMPLATE
from protocol.answers import answer_of
from protocol.exercises import ANSWERS, Exercise

# Nearly every worked solution takes less than 150 tokens, in letters; what runs on is wrong already.
COMPLETION_TOKENS_MAX = 200
_PROMPT_TOKENS_MAX = 256


@dataclass(frozen=True, slots=True)
class Score:
    """Right answers among questions of one family, and the completion tokens of all of them."""

    questions: int
    right: int
    completion_tokens: int


def evaluate(model_file: Path, questions: Mapping[str, Sequence[Exercise]]) -> dict[str, Score]:
    """Score the model on the questions of each family. An answer counts only if its canonical form is the gold answer."""
    llama = llama_cpp.Llama(str(model_file), n_ctx=_PROMPT_TOKENS_MAX + COMPLETION_TOKENS_MAX, n_threads=1, verbose=False)
    scores = {}
    for family, exercises in questions.items():
        right, spent = 0, 0
        for exercise in exercises:
            completion, tokens = _complete(llama, exercise.text)
            right += answer_of(ANSWERS[exercise.skill], completion) == exercise.gold
            spent += tokens
        scores[family] = Score(questions=len(exercises), right=right, completion_tokens=spent)
    llama.close()
    return scores


def _complete(llama: llama_cpp.Llama, question: str) -> tuple[str, int]:
    """The model's text up to its end-of-text token, and its length in tokens."""
    prompt = llama.tokenize(TEMPLATE.format(question=question).encode(), add_bos=False, special=True)
    completion: list[int] = []
    for token in llama.generate(prompt, temp=0.0):
        if token == llama.token_eos() or len(completion) == COMPLETION_TOKENS_MAX:
            break
        completion.append(token)
    return llama.detokenize(completion).decode(errors="replace"), len(completion)
