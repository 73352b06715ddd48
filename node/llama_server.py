"""The loop of a model worker: requests in, decode steps, answers and heartbeats out. Knows no llama.cpp."""

from __future__ import annotations

import os
import queue
import time
from typing import BinaryIO, NoReturn, Protocol

from node import llama_frames as frames
from node.engine import Sampling
from node.llama_batch import Batcher, Decoder, Inference

_MS = 1_000_000


class ServedModel(Decoder, Protocol):
    """What the loop needs of a model beside the decode step. `context` is in tokens, for one sequence."""

    context: int

    def prompt(self, system: str, opening: str, message: list[str]) -> list[int]:
        """The tokens to feed for a prompt; of `message` the odd parts are data."""
        ...

    def text(self, tokens: list[int]) -> str:
        """The text of an answer's tokens."""
        ...

    def interrupt(self) -> None:
        """End the running decode step, or the next one; the only call that any thread may make."""
        ...

    def resume(self) -> None:
        """Let decode steps run again."""
        ...


class Server:
    """Answers what comes through the inbox; the thread that runs it owns the model."""

    def __init__(self, model: ServedModel, slots: int, heartbeat_ms: int, output: BinaryIO) -> None:
        self._model = model
        self._batcher = Batcher(model, slots)
        self._inbox: queue.SimpleQueue[frames.Message] = queue.SimpleQueue()
        self._heartbeat_ns = heartbeat_ms * _MS
        self._output = output
        self._last_sent_ns = 0

    def read(self, source: BinaryIO) -> NoReturn:
        """The reading thread. The parent's end is this process's end, in the middle of whatever it does."""
        while (message := frames.read(source)) is not None:
            self._inbox.put(message)
            if message[0] == frames.CANCEL:
                self._model.interrupt()
        os._exit(0)

    def run(self) -> NoReturn:
        """Serve for ever."""
        while True:
            # Before the inbox is read: an interruption that comes later belongs to a message that waits there.
            self._model.resume()
            self._read_inbox()
            for expired in self._batcher.expire(time.monotonic_ns()):
                limit_ms = (expired.deadline_ns - expired.started_ns) // _MS
                self._fail(expired.number, f"the model missed the deadline of {limit_ms} ms: allow more time")
            for finished in self._batcher.step():
                self._done(finished)
            if time.monotonic_ns() - self._last_sent_ns >= self._heartbeat_ns:
                self.send([frames.BEAT])

    def send(self, message: frames.Message) -> None:
        """Write one frame; any frame is a sign of life."""
        self._last_sent_ns = time.monotonic_ns()
        self._output.write(frames.encode(message))
        self._output.flush()

    def _read_inbox(self) -> None:
        """Wait for a message only while there is nothing to do, and then no longer than until the next heartbeat."""
        try:
            message = self._inbox.get(not self._batcher, self._heartbeat_ns / 1e9)
            while True:
                self._accept(message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _accept(self, message: frames.Message) -> None:
        if message[0] == frames.CANCEL:
            self._batcher.cancel(message[1])
            return
        _, number, (system, opening, *parts), max_tokens, deadline_ms, temperature_milli, seed, grammar = message
        now_ns = time.monotonic_ns()
        tokens = self._model.prompt(system, opening, parts)
        if not 0 < len(tokens) < self._model.context:
            limit = self._model.context - 1
            error = f"the question takes {len(tokens)} tokens, this model holds 1 to {limit}: change its length"
            self._fail(number, error, too_long=len(tokens) > limit)
            return
        room = min(len(tokens) + max_tokens, self._model.context)
        sampling = Sampling(temperature_milli, seed, grammar)
        self._batcher.add(Inference(number, tokens, room, now_ns, now_ns + deadline_ms * _MS, sampling))

    def _done(self, inference: Inference) -> None:
        answer = inference.tokens[inference.prompt_tokens :]
        elapsed_ms = (time.monotonic_ns() - inference.started_ns) // _MS
        text = self._model.text(answer)
        self.send([frames.DONE, inference.number, text, inference.prompt_tokens, len(answer), elapsed_ms])

    def _fail(self, number: int, message: str, *, too_long: bool = False) -> None:
        self.send([frames.FAILED, number, message, too_long])
