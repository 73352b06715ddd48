"""The engine with a model of a real one's size: 124 million random weights in 70 MB, written on the spot."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contrib.bench.large_model import PROMPT, resident_mb, write
from node import models
from node.engine import EngineError, Sampling
from node.llama_engine import LlamaEngine

# Generous: other work may hold every core of this machine, and then one step of this model takes a second.
PATIENCE_S = 120
PATIENT_MS = PATIENCE_S * 1_000
ENDLESS_TOKENS = 3_000
CONTEXT = 512
SLOTS = 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write(tmp_path_factory.mktemp("large") / "large.gguf")
    yield path
    path.unlink()


@asynccontextmanager
async def started(path: Path, hang_s: float = PATIENCE_S) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(path, slots=SLOTS, context=CONTEXT, hang_s=hang_s)
    async with asyncio.timeout(PATIENCE_S):
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()


def test_file__is_described_and_a_truncated_copy_refused(large: Path, tmp_path: Path) -> None:
    info = models.inspect(large)
    assert (info.name, info.quantisation, info.instruct, info.chat_template) == ("Random 124M", "Q4_0", True, True)
    assert 100_000_000 < info.parameters < 130_000_000
    assert info.size_bytes < 80_000_000
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(large.read_bytes()[: info.size_bytes // 2])
    with pytest.raises(EngineError, match=f"truncated: it has {info.size_bytes // 2} of"):
        models.inspect(cut)
    cut.unlink()


def test_answers__come_together_and_alone_and_end_where_they_must(large: Path) -> None:
    async def run() -> None:
        async with started(large) as engine:
            alone = await engine.infer(PROMPT, 3, PATIENT_MS)
            assert (alone.completion_tokens, engine.model.tokens_per_s > 0) == (3, True)
            together = await asyncio.gather(*(engine.infer(PROMPT, 3, PATIENT_MS) for _ in range(SLOTS + 1)))
            assert {each.prompt_tokens for each in together} == {alone.prompt_tokens}
            assert [each.completion_tokens for each in together] == [3] * (SLOTS + 1)
            drawn = [(await engine.infer(PROMPT, 3, PATIENT_MS, Sampling(1_000, seed))).text for seed in (1, 1, 2)]
            assert drawn[0] == drawn[1] != drawn[2]
            # One token from the end of the context, and one beyond it.
            template = (await engine.infer("", 1, PATIENT_MS)).prompt_tokens
            full = await engine.infer("a" * (CONTEXT - 1 - template), 9, PATIENT_MS)
            assert (full.prompt_tokens, full.completion_tokens) == (CONTEXT - 1, 1)
            with pytest.raises(EngineError, match=f"this model holds 1 to {CONTEXT - 1}") as caught:
                await engine.infer("a" * (CONTEXT - template), 9, PATIENT_MS)
            assert caught.value.too_long
            assert engine.pid is not None
            # The weights, the cache of the context (25 MB), a row of logits a slot, and Python.
            assert 70 < resident_mb(engine.pid) < 300

    asyncio.run(run())


def test_cancel_and_deadline__free_the_slots(large: Path) -> None:
    async def run() -> None:
        async with started(large) as engine:
            running = [asyncio.create_task(engine.infer(PROMPT, ENDLESS_TOKENS, PATIENT_MS)) for _ in range(SLOTS)]
            await asyncio.wait(running, timeout=0.05)
            for each in running:
                each.cancel()
            assert (await engine.infer(PROMPT, 1, PATIENT_MS)).completion_tokens == 1
            with pytest.raises(EngineError, match="deadline of 50 ms"):
                await engine.infer(PROMPT, ENDLESS_TOKENS, 50)
            assert (await engine.infer(PROMPT, 1, PATIENT_MS)).completion_tokens == 1
            assert engine.restarts == 0

    asyncio.run(run())


def test_hang__costs_the_answer_under_way_and_no_more(large: Path) -> None:
    async def run() -> None:
        async with started(large, hang_s=2.0) as engine:
            task = asyncio.create_task(engine.infer(PROMPT, ENDLESS_TOKENS, PATIENT_MS))
            await asyncio.wait((task,), timeout=0.05)
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)
            with pytest.raises(EngineError, match="no sign of life for 2 s") as caught:
                await task
            assert caught.value.retryable

    asyncio.run(run())
