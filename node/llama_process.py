"""One worker process seen from the daemon: spawn, frames both ways, watchdog, last words. It is never reused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from node import llama_frames as frames

LAST_WORDS_BYTES_MAX = 2_000
"""Of standard error, kept to say why a worker ended."""
SILENT_CHECKS = 2
"""The worker is hung after this many silent checks in a row, not after one: when the daemon itself was suspended, the
first check runs before what the worker wrote meanwhile is read."""
LOAD_SILENCE_S = 300.0
"""A worker that loads says nothing; a large model on a slow disk takes minutes."""
EXIT_S = 1.0
"""How long a worker that closed its output may take to end by itself."""

_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent)


class WorkerProcess:
    """Runs `python -m node.llama_worker`, and hands its messages to `receive` in the order in which it wrote them."""

    def __init__(self, receive: Callable[[frames.Message], None], hang_s: float) -> None:
        self._receive = receive
        self._hang_s = hang_s
        self._process: asyncio.subprocess.Process | None = None
        self._frames = 0
        self._ready = False
        self._hung = False
        self._last_words = b""

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def ready(self) -> None:
        """The model is loaded: from now on `hang_s` of silence is a hang."""
        self._ready = True

    def send(self, message: frames.Message) -> None:
        """Queue one message; the engine bounds how many are under way. A dying process loses it, and `run` returns."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(frames.encode(message))

    async def run(self, arguments: list[str]) -> str:
        """Spawn, and serve until the process is gone; returns why, in a few words. Cancelling kills it."""
        paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        # ggml would start a debugger to print where it failed, which outlives our patience.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "GGML_NO_BACKTRACE": "1"}
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "node.llama_worker", *arguments, "--parent", str(os.getpid())),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        helpers = [asyncio.create_task(self._watch(process)), asyncio.create_task(self._listen(process.stderr))]
        try:
            await self._read(process.stdout)
            # Python closes its output some time before it ends, and how it ends is what we shall report.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), EXIT_S)
        finally:
            helpers[0].cancel()
            # It has nothing to save, so it is never asked to end. One that has ended keeps its own exit status.
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.wait(helpers)
        return self._reason(process.returncode)

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        while True:
            try:
                (length,) = frames.HEADER.unpack(await stdout.readexactly(frames.HEADER.size))
                if length > frames.FRAME_BYTES_MAX:
                    return
                message = frames.decode(await stdout.readexactly(length))
            except (asyncio.IncompleteReadError, ValueError):
                return
            self._frames += 1
            self._receive(message)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        silent = 0
        while True:
            seen = self._frames
            await asyncio.sleep(self._hang_s / SILENT_CHECKS)
            silent = silent + 1 if self._frames == seen else 0
            limit_s = self._hang_s if self._ready else max(self._hang_s, LOAD_SILENCE_S)
            if silent * self._hang_s >= limit_s * SILENT_CHECKS:
                self._hung = True
                process.kill()
                return

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while chunk := await stderr.read(LAST_WORDS_BYTES_MAX):
            self._last_words = (self._last_words + chunk)[-LAST_WORDS_BYTES_MAX:]

    def _reason(self, status: int | None) -> str:
        if self._hung:
            return f"no sign of life for {self._hang_s:g} s"
        how = f"exit status {status}"
        if status is not None and status < 0:
            how = f"killed by {signal.Signals(-status).name}"
        lines = self._last_words.decode("utf-8", errors="replace").strip().splitlines()
        words = "".join(c for c in lines[-1] if c.isprintable())[:200] if lines else ""
        return f"{how}: {words}" if words else how
