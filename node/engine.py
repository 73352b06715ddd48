"""What the daemon asks of a language model, whatever runs it: start, infer, cancel, close."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class EngineError(Exception):
    """The model cannot answer. The message is one line that names the thing and the remedy.

    `retryable` says whether the same call may succeed a moment later, here or on another node; `too_long`, that the
    prompt does not fit this model and never will.
    """

    def __init__(self, message: str, *, retryable: bool = False, too_long: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.too_long = too_long


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a node says about its model in its capability record. Everything but the speed is read from the file.

    `context` is in tokens: the trained length in an inspected file, the length that one sequence gets in a started
    engine. `tokens_per_s` is measured at one sequence when the engine starts, and 0 before. `instruct` models are told
    what to do with a question; the others, our own tiny ones, were trained on bare questions.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    parameters: int
    quantisation: str
    context: int
    tokens_per_s: int = 0
    instruct: bool = False
    chat_template: bool = True


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given, in parts that its chat template puts together.

    `message` is the user's. Its odd parts (the second, the fourth) are data: a peer's question, a model's own words; in
    them control tokens are plain letters. All else is ours. `opening` begins the answer, and is no part of the completion.
    """

    message: tuple[str, ...]
    system: str = ""
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn by a generator of this inference alone.

    `temperature_milli` is in thousandths. The same prompt, temperature and seed give the same text when nothing else
    runs; beside others the last bits of the logits may differ, as for any batched arithmetic. `grammar` names the one of
    `node.llama_grammar` that bounds the text, if there is one.
    """

    temperature_milli: int = 0
    seed: int = 0
    grammar: str = ""


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished inference. `elapsed_ms` runs in the worker from the arrival of the request to its last token."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    elapsed_ms: int


class Engine(Protocol):
    """A model that answers. Every method raises nothing but EngineError (and CancelledError, as any coroutine)."""

    @property
    def model(self) -> ModelInfo:
        """The model that runs; EngineError before `start` has returned."""
        ...

    @property
    def pid(self) -> int | None:
        """The process that holds the model, None while there is none."""
        ...

    @property
    def restarts(self) -> int:
        """How often that process was lost and started again."""
        ...

    async def start(self) -> None:
        """Check and load the model; returns when it can answer."""
        ...

    async def infer(self, prompt: Prompt | str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        """Answer `prompt`, a bare question if it is a text, within `deadline_ms` from now. Concurrent calls share the model.

        Ends at the model's end-of-generation token, after `max_tokens`, or when the context is full.
        Cancelling the task frees the model's slot.
        """
        ...

    async def close(self) -> None:
        """End the process; calls in flight fail. Closing twice is harmless."""
        ...
