"""From a question to an answer that the vote can read: one inference, or a second one for the answer alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from node import prompts
from node.engine import GREEDY, Completion, Engine, EngineError, Sampling
from node.llama_grammar import GRAMMARS
from protocol.answers import MARK, answer_of

EXTRACTION_TOKENS_MAX: Final = 64
"""Of the second stage: a list of a dozen numbers. They are kept back from the first, at most this share of all."""
EXTRACTION_SHARE: Final = 4
PACE_SHARE: Final = 2
"""A model may write in this part of the deadline what it writes alone: others share it, and a prompt takes time too."""
TOKENS_MIN: Final = 16
"""Even the slowest model is let write this many."""


async def answer(
    engine: Engine,
    question: str,
    kind: str,
    tokens_max: int,
    deadline_ms: int,
    sampling: Sampling = GREEDY,
    others: Sequence[str] = (),
    skills: Mapping[str, str] = MappingProxyType({}),
) -> Completion:
    """What the model writes on `question`, with an answer of type `kind` at its end if it found one.

    `others` are what others answered, for a revision; a model that is no instruct model is asked the bare question again. Both
    stages together write at most `tokens_max` and take at most `deadline_ms`. EngineError as from the engine; a
    second stage that fails leaves the first as it is. `skills` are what a plan may ask for, each with an example.
    """
    sampling = replace(sampling, grammar=kind if kind in GRAMMARS else "")
    if not engine.model.instruct:
        return await engine.infer(prompts.bare(question), tokens_max, deadline_ms, sampling)
    started_ns = time.monotonic_ns()
    pace = max(TOKENS_MIN, engine.model.tokens_per_s * deadline_ms // (1_000 * PACE_SHARE))
    if kind == "plan":
        asked = prompts.planning(question, skills)
    else:
        asked = prompts.revised(kind, question, others) if others else prompts.direct(kind, question)
    if kind in ("text", "plan"):
        return await engine.infer(asked, min(tokens_max, pace), deadline_ms, sampling)
    kept = min(EXTRACTION_TOKENS_MAX, tokens_max // EXTRACTION_SHARE)
    first = await engine.infer(asked, min(tokens_max - kept, pace), deadline_ms, sampling)
    first = replace(first, text=prompts.own_words(first.text))
    if answer_of(kind, first.text) is not None:
        return first
    line = prompts.readable(kind, first.text)
    if line is not None:
        return _ending(first, line)
    left_ms = deadline_ms - (time.monotonic_ns() - started_ns) // 1_000_000
    return await _extracted(engine, question, kind, first, (tokens_max - first.completion_tokens, left_ms), sampling)


async def judge(engine: Engine, question: str, texts: tuple[str, str], tokens_max: int, deadline_ms: int) -> Completion:
    """Which of two texts answers the question better, as an answer line: `first`, `second` or `none`.

    The model is asked twice, with the texts in either order: a preference that goes with the place is none. One that is no
    instruct model is not asked at all. EngineError as from the engine.
    """
    if not engine.model.instruct:
        return Completion(f"{MARK} none", 0, 0, 0)
    first, second = texts
    started_ns = time.monotonic_ns()
    one = await engine.infer(prompts.judging(question, first, second), tokens_max // 2, deadline_ms)
    left_ms = deadline_ms - (time.monotonic_ns() - started_ns) // 1_000_000
    other = await engine.infer(prompts.judging(question, second, first), tokens_max // 2, max(1, left_ms))
    said = [answer_of("choice", prompts.readable("choice", f"{MARK}{each.text}") or "") for each in (one, other)]
    better = {("first", "second"): "first", ("second", "first"): "second"}.get((said[0] or "", said[1] or ""), "none")
    return Completion(
        f"{MARK} {better}",
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.elapsed_ms + other.elapsed_ms,
    )


async def _extracted(
    engine: Engine, question: str, kind: str, first: Completion, left: tuple[int, int], sampling: Sampling
) -> Completion:
    """The second stage, with the (tokens, milliseconds) that the first one left."""
    tokens, left_ms = min(EXTRACTION_TOKENS_MAX, left[0]), left[1]
    if tokens < 1 or left_ms < 1:
        return first
    try:
        second = await engine.infer(prompts.extraction(kind, question, first.text), tokens, left_ms, sampling)
    except EngineError:
        # What was written is still worth an abstention, which is told apart from a model that failed.
        return first
    line = prompts.readable(kind, f"{MARK}{second.text}")
    both = Completion(
        first.text,
        first.prompt_tokens + second.prompt_tokens,
        first.completion_tokens + second.completion_tokens,
        first.elapsed_ms + second.elapsed_ms,
    )
    return both if line is None else _ending(both, line)


def _ending(completion: Completion, line: str) -> Completion:
    return replace(completion, text=f"{completion.text.rstrip()}\n{line}")
