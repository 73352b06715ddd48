"""llama.cpp behind `Engine`: a worker process that answers, and a supervisor that replaces it when it is lost.

    start -> loading --READY--> ready --crash, hang--> backing off --> loading
                '--file refused, or LOSSES_MAX losses in a row--> start raises

What llama.cpp does wrong costs the answers that were under way, as retryable errors, and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from pathlib import Path
from typing import NoReturn

from node import llama_frames as frames
from node import models
from node.engine import GREEDY, Completion, EngineError, ModelInfo, Prompt, Sampling
from node.llama_process import WorkerProcess

CONTEXT_TOKENS_DEFAULT = 2_048
"""Of one sequence, where neither the caller nor a shorter training says otherwise. Memory is paid for every slot."""
CONTEXT_TOKENS_MAX = 32_768
"""Of one sequence. llama.cpp allocates all of it at once, and hangs on absurd sizes."""
SLOTS_MAX = 16
IN_FLIGHT_MAX = 64
"""Calls at once, waiting ones included; more are refused, so that a flood costs no memory."""
HANG_S = 30.0
"""Silence after which a worker is killed. One decode step of a large model on one slow core may take ten seconds."""
HEARTBEATS_PER_HANG = 8
BACKOFF_FIRST_S = 0.1
BACKOFF_DOUBLINGS_MAX = 8
"""So the longest wait between two workers is 25.6 s; it is never given up, as the cause may pass."""
LOSSES_MAX = 3
"""Workers lost in a row, with no answer between, after which calls are refused at once instead of waiting."""
TEMPERATURE_MILLI_MAX = 5_000
"""Hotter than this every model writes noise."""
SEED_MAX = 0xFFFF_FFFE
"""llama.cpp takes 32 bits, and the largest of them for "draw one": that would be another answer each time."""
DEADLINE_GRACE_MS = 250
"""The worker reports a missed deadline itself; this much later the caller stops waiting for it."""


class LlamaEngine:
    """An Engine for one GGUF file.

    All calls belong to one event loop, whose thread must outlive it: the kernel ends a worker with the thread that
    started it.
    """

    def __init__(
        self,
        path: Path | str,
        expected_sha256: str | None = None,
        threads: int = 1,
        slots: int = 4,
        context: int | None = None,
        gpu_layers: int = 0,
        hang_s: float = HANG_S,
    ) -> None:
        """`context` is in tokens for each of `slots` sequences; `gpu_layers` layers go to a GPU (-1: all).

        EngineError if a number is out of its limits. The file is looked at by `start`.
        """
        if context is not None and not 1 <= context <= CONTEXT_TOKENS_MAX:
            raise EngineError(f"a context of {context} tokens is out of range: set 1 to {CONTEXT_TOKENS_MAX}")
        if not 1 <= slots <= SLOTS_MAX:
            raise EngineError(f"{slots} parallel slots are out of range: set 1 to {SLOTS_MAX}")
        if threads < 1:
            raise EngineError(f"{threads} threads cannot compute: set 1 or more")
        self._path = Path(path).expanduser().absolute()
        self._expected_sha256 = expected_sha256
        self._context = context
        self._sequence_tokens = 0
        self._options = {"slots": slots, "threads": threads, "gpu-layers": gpu_layers}
        self._hang_s = hang_s
        self._file: ModelInfo | None = None
        self._file_mark: tuple[int, int] | None = None
        self._model: ModelInfo | None = None
        self._process: WorkerProcess | None = None
        self._supervisor: asyncio.Task[NoReturn] | None = None
        self._ready = False
        # Set while a call knows its fate at once: a worker is ready, or too many were lost to wait for the next.
        self._settled = asyncio.Event()
        self._refusal: str | None = None
        self._pending: dict[int, asyncio.Future[Completion]] = {}
        self._in_flight = 0
        self._numbers = itertools.count(1)
        self._losses = 0
        self._reason = ""
        self._restarts = 0

    @property
    def model(self) -> ModelInfo:
        """See Engine."""
        if self._model is None:
            raise self._not_started()
        return self._model

    @property
    def pid(self) -> int | None:
        """See Engine."""
        return None if self._process is None else self._process.pid

    @property
    def restarts(self) -> int:
        """See Engine."""
        return self._restarts

    async def start(self) -> None:
        """See Engine. EngineError also if the file is not what `expected_sha256` names."""
        if self._supervisor is not None:
            raise EngineError(f"the model {self._path} is already loaded: close the engine before another start")
        self._model = None
        self._losses = 0
        self._settled.clear()
        self._supervisor = supervisor = asyncio.create_task(self._supervise())
        settled = asyncio.create_task(self._settled.wait())
        started = False
        try:
            await asyncio.wait((supervisor, settled), return_when=asyncio.FIRST_COMPLETED)
            if supervisor.done():
                supervisor.result()
            if not self._ready:
                raise self._crashing()
            started = True
        finally:
            settled.cancel()
            if not started:
                await self.close()

    async def infer(self, prompt: Prompt | str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        """See Engine."""
        if isinstance(prompt, str):
            prompt = Prompt(("", prompt, ""))
        # What a terminal let through may hold halves of characters, which are no text to send.
        texts = [each.encode("utf-8", errors="replace").decode() for each in (prompt.system, prompt.opening, *prompt.message)]
        if sum(len(each.encode()) for each in texts) > frames.PROMPT_BYTES_MAX:
            raise EngineError(f"the question is over {frames.PROMPT_BYTES_MAX >> 10} KiB long: shorten it", too_long=True)
        if max_tokens < 1 or deadline_ms < 1:
            raise EngineError(f"{max_tokens} tokens in {deadline_ms} ms is no room for an answer: allow more")
        if not (0 <= sampling.temperature_milli <= TEMPERATURE_MILLI_MAX and 0 <= sampling.seed <= SEED_MAX):
            raise EngineError(
                f"a temperature of {sampling.temperature_milli / 1_000:g} with seed {sampling.seed} is out of range: "
                f"set 0 to {TEMPERATURE_MILLI_MAX // 1_000} and 0 to {SEED_MAX}"
            )
        if self._supervisor is None:
            raise self._not_started()
        if self._in_flight >= IN_FLIGHT_MAX:
            raise EngineError(f"{IN_FLIGHT_MAX} questions already wait for the model: ask later", retryable=True)
        self._in_flight += 1
        try:
            async with asyncio.timeout((deadline_ms + DEADLINE_GRACE_MS) / 1000):
                return await self._ask(
                    [texts, max_tokens, deadline_ms, sampling.temperature_milli, sampling.seed, sampling.grammar]
                )
        except TimeoutError:
            raise EngineError(f"the model missed the deadline of {deadline_ms} ms: allow more time") from None
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        """See Engine."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait((supervisor,))
            self._lose("closed")

    async def _ask(self, request: frames.Message) -> Completion:
        await self._settled.wait()
        process = self._process
        if not self._ready or process is None:
            raise self._crashing()
        answer: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        self._pending[number] = answer
        process.send([frames.INFER, number, *request])
        try:
            return await answer
        finally:
            del self._pending[number]
            if answer.cancelled():
                process.send([frames.CANCEL, number])

    async def _supervise(self) -> NoReturn:
        """Keep one worker alive, for ever. EngineError if the first one never came up because of the file."""
        while True:
            try:
                arguments = await self._arguments()
                self._refusal = None
                self._process = WorkerProcess(self._receive, self._hang_s)
                reason = await self._process.run(arguments)
                if self._refusal is not None:
                    raise EngineError(self._refusal)
            except EngineError as error:
                if self._model is None:
                    raise
                reason = str(error)
            except OSError as error:
                reason = f"it cannot be started, {error.strerror}"
            self._lose(reason)
            await asyncio.sleep(BACKOFF_FIRST_S * 2 ** min(self._losses - 1, BACKOFF_DOUBLINGS_MAX))
            self._restarts += 1

    async def _arguments(self) -> list[str]:
        """Check the file, again if it changed since the last worker, and say how a worker shall load it."""
        mark = None
        if self._path.is_file():
            stat = self._path.stat()
            mark = stat.st_size, stat.st_mtime_ns
        if self._file is None or mark is None or mark != self._file_mark:
            self._file = await asyncio.to_thread(models.inspect, self._path, self._expected_sha256)
            self._file_mark = mark
        trained = self._file.context
        if self._context is not None and 0 < trained < self._context:
            raise EngineError(
                f"a context of {self._context} tokens is over the {trained} that {self._file.name} was trained for: "
                f"set {trained} or less"
            )
        self._sequence_tokens = self._context or min(trained or CONTEXT_TOKENS_DEFAULT, CONTEXT_TOKENS_DEFAULT)
        options = {
            **self._options,
            "context": self._sequence_tokens,
            "heartbeat-ms": int(self._hang_s * 1000 / HEARTBEATS_PER_HANG),
        }
        return ["--model", str(self._path), *(f"--{name}={value}" for name, value in options.items())]

    def _receive(self, message: frames.Message) -> None:
        """One message of the worker; those about calls that were given up find no call."""
        kind = message[0]
        if kind == frames.READY and self._file is not None and self._process is not None:
            self._model = dataclasses.replace(self._file, context=self._sequence_tokens, tokens_per_s=message[1])
            self._ready = True
            self._process.ready()
            self._settled.set()
        elif kind == frames.REFUSED:
            self._refusal = str(message[1])
        elif kind in (frames.DONE, frames.FAILED):
            answer = self._pending.get(message[1])
            self._losses = 0
            if answer is None or answer.done():
                return
            if kind == frames.DONE:
                answer.set_result(Completion(*message[2:]))
            else:
                answer.set_exception(EngineError(str(message[2]), too_long=bool(message[3])))

    def _lose(self, reason: str) -> None:
        self._ready = False
        self._settled.clear()
        self._losses += 1
        self._reason = reason
        if self._losses >= LOSSES_MAX:
            self._settled.set()
        for answer in self._pending.values():
            if not answer.done():
                error = f"the process of the model {self._path.name} was lost ({reason}): ask again"
                answer.set_exception(EngineError(error, retryable=True))

    def _crashing(self) -> EngineError:
        return EngineError(
            f"the process of the model {self._path.name} keeps ending ({self._losses} times, last: {self._reason}): "
            "ask another node, or start this one with another model",
            retryable=True,
        )

    def _not_started(self) -> EngineError:
        return EngineError(f"the model {self._path} is not loaded: start the engine first")
