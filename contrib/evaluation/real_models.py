"""The packaged models as solvers of the simulator: `simnet run --set solvers=models`.

They are asked greedily, by the node's own code and its own engine; each model is loaded once, when it is first asked, and asked
a question once: a greedy model has one answer. Another build of llama.cpp may have another, so the digest of such a run holds
for one machine; with `--answers FILE` and then `solvers=recorded:FILE` it holds for all.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading

from node.answering import answer
from node.llama_engine import LlamaEngine
from node.models import packaged
from simnet.answerbook import Said

_TOKENS_MAX = 200
# For one answer, on a machine with other work.
_DEADLINE_MS = 600_000


class _Loop:
    """An event loop in a thread of its own, for callers that have none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._engines: dict[str, LlamaEngine] = {}
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        atexit.register(self._close)

    def ask(self, model: str, question: str) -> Said:
        """What the model writes; raises `EngineError` if it cannot be had."""
        return asyncio.run_coroutine_threadsafe(self._ask(model, question), self._loop).result()

    async def _ask(self, model: str, question: str) -> Said:
        engine = self._engines.get(model)
        if engine is None:
            (path,) = (each.path for each in packaged() if each.name == model)
            engine = LlamaEngine(path, threads=1, slots=1)
            await engine.start()
            self._engines[model] = engine
        # The type of the answer matters to a planner alone, whose words a grammar bounds.
        said = await answer(engine, question, "plan" if model == "plan" else "choice", _TOKENS_MAX, _DEADLINE_MS)
        return Said(said.text, said.completion_tokens, said.prompt_tokens)

    def _close(self) -> None:
        async def close() -> None:
            for engine in self._engines.values():
                await engine.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()


@functools.cache
def _loop() -> _Loop:
    return _Loop()


@functools.cache
def said(model: str, question: str) -> Said:
    """What a packaged model writes on a question."""
    return _loop().ask(model, question)
