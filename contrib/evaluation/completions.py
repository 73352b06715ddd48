"""The packaged models in this process, for evaluations: greedy, each prompt once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from node import prompts
from node.engine import GREEDY
from node.llama_batch import Batcher, Inference
from node.llama_worker import Model

CONTEXT = 512
TOKENS_MAX = 256
_NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote, and the tokens of prompt and text."""

    text: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        """Both."""
        return self.prompt_tokens + self.completion_tokens


class Completions:
    """The models of a directory by name. Greedy decoding repeats itself, so what was asked before is remembered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._models: dict[str, Model] = {}
        self._known: dict[tuple[str, str], Completion] = {}

    def __call__(self, model: str, question: str) -> Completion:
        """What `model` writes on `question`, as its node would ask it."""
        key = model, question
        if key not in self._known:
            self._known[key] = self._complete(model, question)
        return self._known[key]

    def _complete(self, name: str, question: str) -> Completion:
        if name not in self._models:
            self._models[name] = Model(str(self._directory / f"{name}-Q8_0.gguf"), 1, CONTEXT, 1, 0)
        model = self._models[name]
        tokens = model.prompt("", "", ["", prompts.bare(question), ""])
        room = min(len(tokens) + TOKENS_MAX, CONTEXT)
        batcher = Batcher(model, 1)
        batcher.add(Inference(1, tokens, room, time.monotonic_ns(), _NEVER_NS, GREEDY))
        finished: list[Inference] = []
        while not finished:
            finished = batcher.step()
        written = finished[0].tokens[finished[0].prompt_tokens :]
        return Completion(model.text(written), finished[0].prompt_tokens, len(written))
