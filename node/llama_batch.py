"""Continuous batching: which tokens of which sequences go into the next decode step. Knows no llama.cpp.

    waiting --a slot is free--> active --end token, max_tokens, full context--> finished
       '-------cancel, deadline----+------------------cancel, deadline--------> gone

A sequence's `tokens` are its prompt and what was sampled; `cached` of them are in the model's memory. So a step is the
same for all: feed what is not cached, and where that was everything, sample the next token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from typing import Protocol

from node.engine import GREEDY, Sampling

BATCH_TOKENS_MAX = 128
"""Tokens in one decode step. A longer prompt takes several, so that others move on meanwhile and a large model on a
slow machine still shows a sign of life between steps."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one sequence for one step, from `position` on; `sample` asks for the token that follows."""

    slot: int
    position: int
    tokens: Tokens[int]
    sample: bool


class Decoder(Protocol):
    """The model as the batcher sees it."""

    def begin(self, slot: int, sampling: Sampling) -> None:
        """A new sequence takes the slot: its tokens are sampled so, by a generator of its own."""
        ...

    def decode(self, pieces: list[Piece]) -> list[int | None] | None:
        """Feed the pieces; per piece the sampled token, or None if none was asked for. None if interrupted."""
        ...

    def truncate(self, slot: int, length: int) -> int:
        """Forget all but the first `length` tokens of the slot; returns how many it really keeps."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        ...


@dataclass(slots=True)
class Inference:
    """One request. `tokens` starts as its prompt; `room` is the most it may hold before it must stop."""

    number: int
    tokens: list[int]
    room: int
    started_ns: int
    deadline_ns: int
    sampling: Sampling = GREEDY
    prompt_tokens: int = field(init=False)
    cached: int = 0

    def __post_init__(self) -> None:
        self.prompt_tokens = len(self.tokens)


class Batcher:
    """Up to `slots` inferences at once, first come first served."""

    def __init__(self, decoder: Decoder, slots: int) -> None:
        self._decoder = decoder
        self._slots: list[Inference | None] = [None] * slots
        self._waiting: deque[Inference] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting) or any(self._slots)

    def add(self, inference: Inference) -> None:
        """Queue it; the parent bounds how many there are."""
        self._waiting.append(inference)

    def cancel(self, number: int) -> None:
        """Forget it, wherever it is; an unknown number has just finished."""
        self._waiting = deque(each for each in self._waiting if each.number != number)
        for slot, active in enumerate(self._slots):
            if active is not None and active.number == number:
                self._free(slot)

    def expire(self, now_ns: int) -> list[Inference]:
        """Remove and return those whose deadline has passed."""
        known = [*self._waiting, *(each for each in self._slots if each is not None)]
        expired = [each for each in known if each.deadline_ns <= now_ns]
        for each in expired:
            self.cancel(each.number)
        return expired

    def step(self) -> list[Inference]:
        """One decode step; returns those that it finished, with all their tokens."""
        for slot, active in enumerate(self._slots):
            if active is None and self._waiting:
                self._slots[slot] = waiting = self._waiting.popleft()
                self._decoder.begin(slot, waiting.sampling)
        pieces = self._pieces()
        if not pieces:
            return []
        sampled = self._decoder.decode(pieces)
        if sampled is None:
            for piece in pieces:
                inference = self._at(piece.slot)
                inference.cached = self._decoder.truncate(piece.slot, inference.cached)
            return []
        finished = []
        for piece, token in zip(pieces, sampled, strict=True):
            inference = self._at(piece.slot)
            inference.cached += len(piece.tokens)
            if token is None:
                continue
            ended = self._decoder.is_end(token)
            if not ended:
                inference.tokens.append(token)
            if ended or len(inference.tokens) >= inference.room:
                finished.append(inference)
                self._free(piece.slot)
        return finished

    def _pieces(self) -> list[Piece]:
        """Those with least to feed first: a running answer is one token, and must not wait for another's prompt."""
        active = [(slot, each) for slot, each in enumerate(self._slots) if each is not None]
        active.sort(key=lambda pair: len(pair[1].tokens) - pair[1].cached)
        budget = BATCH_TOKENS_MAX
        pieces = []
        for slot, each in active:
            end = min(len(each.tokens), each.cached + budget)
            if end > each.cached:
                tokens = each.tokens[each.cached : end]
                pieces.append(Piece(slot, each.cached, tokens, sample=end == len(each.tokens)))
                budget -= len(tokens)
        return pieces

    def _at(self, slot: int) -> Inference:
        inference = self._slots[slot]
        assert inference is not None
        return inference

    def _free(self, slot: int) -> None:
        self._decoder.truncate(slot, 0)
        self._slots[slot] = None
