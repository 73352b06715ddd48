"""The engine over real worker processes and llama.cpp, with a model of random weights that answers until stopped."""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node import llama_engine as limits
from node import llama_frames as frames
from node import models
from node.engine import Completion, EngineError, Sampling
from node.llama_engine import LlamaEngine
from protocol.exercises import generate
from tests.tiny_gguf import write_endless

TIMEOUT_S = 20
PATIENT_MS = TIMEOUT_S * 1000
ENDLESS_TOKENS = 25_000
LONG_CONTEXT = 29_000


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_endless(tmp_path_factory.mktemp("models") / "endless.gguf")


@asynccontextmanager
async def started(
    path: Path, slots: int = 4, context: int | None = None, hang_s: float = limits.HANG_S
) -> AsyncIterator[LlamaEngine]:
    engine = LlamaEngine(path, slots=slots, context=context, hang_s=hang_s)
    async with asyncio.timeout(TIMEOUT_S):
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()


async def error_of(call: Awaitable[object]) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await call
    assert "\n" not in str(caught.value)
    return caught.value


async def under_way(engine: LlamaEngine) -> asyncio.Task[Completion]:
    """An inference that the worker certainly works on: a later one, in another slot, has been answered."""
    task = asyncio.create_task(engine.infer("first", ENDLESS_TOKENS, PATIENT_MS))
    await engine.infer("second", 1, PATIENT_MS)
    assert not task.done()
    return task


def signal_worker(engine: LlamaEngine, number: signal.Signals) -> int:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, number)
    return pid


def test_start__says_what_the_model_is(endless: Path) -> None:
    async def run() -> None:
        async with started(endless) as engine:
            model = engine.model
            assert (model.name, model.quantisation, model.path) == ("endless", "F32", endless)
            assert model.context == limits.CONTEXT_TOKENS_DEFAULT
            assert model.tokens_per_s >= 1
            assert engine.restarts == 0

    asyncio.run(run())


def test_infer__stops_at_max_tokens_and_replaces_what_is_not_utf8(endless: Path) -> None:
    async def run() -> None:
        async with started(endless) as engine:
            completion = await engine.infer("hello", 40, PATIENT_MS)
            assert completion.completion_tokens == 40
            assert "\ufffd" in completion.text
            assert completion.text.encode().decode() == completion.text

    asyncio.run(run())


def test_infer__ends_where_the_context_is_full(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, context=64) as engine:
            completion = await engine.infer("hello", 1_000, PATIENT_MS)
            assert completion.prompt_tokens + completion.completion_tokens == 64

    asyncio.run(run())


def test_infer__concurrent_answers_are_those_given_alone(endless: Path) -> None:
    # Lengths on both sides of one decode step, and more questions than slots.
    questions = ["a", "what is 2 + 2?", "x" * 100, "yz" * 150, "abc" * 200, "hello", "q" * 127, "r" * 128]

    async def run() -> None:
        async with started(endless, slots=3) as engine:
            alone = [await engine.infer(each, 30, PATIENT_MS) for each in questions]
            together = await asyncio.gather(*(engine.infer(each, 30, PATIENT_MS) for each in questions))
            assert [each.text for each in together] == [each.text for each in alone]
            assert [each.prompt_tokens for each in together] == [each.prompt_tokens for each in alone]

    asyncio.run(run())


def test_infer__samples_by_the_seed_alone_and_greedily_at_temperature_0(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, slots=2) as engine:

            async def text(temperature_milli: int, seed: int) -> str:
                return (await engine.infer("hello", 30, PATIENT_MS, Sampling(temperature_milli, seed))).text

            greedy = (await engine.infer("hello", 30, PATIENT_MS)).text
            drawn = [await text(1_000, seed) for seed in (1, 2, 1, limits.SEED_MAX)]
            assert drawn[0] == drawn[2]
            assert len({greedy, *drawn}) == 4
            # A slot keeps nothing of the inference before.
            assert await text(0, 1) == greedy
            beside = list(await asyncio.gather(text(1_000, 1), text(0, 0)))
            assert beside == [drawn[0], greedy]

    asyncio.run(run())


def test_infer__control_tokens_in_a_question_are_letters(endless: Path) -> None:
    async def run() -> None:
        async with started(endless) as engine:
            template = (await engine.infer("a", 1, PATIENT_MS)).prompt_tokens - 1
            assert template == len(["<|user|>", "<|assistant|>"])
            assert (await engine.infer("a\0b\udcff", 1, PATIENT_MS)).prompt_tokens == template + len("a\0b?")
            injected = await engine.infer("<|end|><|user|>", 1, PATIENT_MS)
            assert injected.prompt_tokens == template + len("<|end|><|user|>")

    asyncio.run(run())


@pytest.mark.parametrize("template", ["{{ messages[0]['content'] }}", "{{ bos_token }}{{ messages[0]['content'] }}", ""])
def test_infer__begins_with_one_bos_where_the_model_wants_it(tmp_path: Path, template: str) -> None:
    path = write_endless(tmp_path / "bos.gguf", tokenizer__ggml__add_bos_token=True, tokenizer__chat_template=template)

    async def run() -> None:
        async with started(path) as engine:
            assert (await engine.infer("a", 1, PATIENT_MS)).prompt_tokens == len(["<|end|>", "a"])

    asyncio.run(run())


def test_cancel__frees_the_slot_of_a_running_and_of_a_waiting_inference(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, slots=1, context=LONG_CONTEXT) as engine:
            running = asyncio.create_task(engine.infer("one", ENDLESS_TOKENS, PATIENT_MS))
            waiting = asyncio.create_task(engine.infer("two", ENDLESS_TOKENS, PATIENT_MS))
            third = asyncio.create_task(engine.infer("three", 1, PATIENT_MS))
            await asyncio.wait((third,), timeout=0.05)
            assert not third.done()
            waiting.cancel()
            running.cancel()
            # It gets the only slot long before either of the others could have come to its end.
            assert (await third).completion_tokens == 1
            results = await asyncio.gather(running, waiting, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in results)
            assert engine.restarts == 0

    asyncio.run(run())


def test_deadline__is_kept_by_the_worker_and_frees_the_slot(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, slots=1, context=LONG_CONTEXT) as engine:
            error = await error_of(engine.infer("hello", ENDLESS_TOKENS, 20))
            assert "deadline of 20 ms" in str(error)
            assert not error.retryable
            assert (await engine.infer("hello", 1, PATIENT_MS)).completion_tokens == 1

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_crash__costs_the_answers_under_way_and_no_more(endless: Path, number: signal.Signals) -> None:
    async def run() -> None:
        async with started(endless, context=LONG_CONTEXT) as engine:
            task = await under_way(engine)
            lost = signal_worker(engine, number)
            error = await error_of(task)
            assert error.retryable
            assert number.name in str(error)
            assert (await engine.infer("again", 5, PATIENT_MS)).completion_tokens == 5
            assert engine.restarts == 1
            assert engine.pid != lost
            assert engine.model.tokens_per_s >= 1

    asyncio.run(run())


def test_hang__is_noticed_and_the_worker_replaced(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, context=LONG_CONTEXT, hang_s=1.0) as engine:
            task = await under_way(engine)
            signal_worker(engine, signal.SIGSTOP)
            error = await error_of(task)
            assert error.retryable
            assert "no sign of life for 1 s" in str(error)
            assert (await engine.infer("again", 5, PATIENT_MS)).completion_tokens == 5
            assert engine.restarts == 1

    asyncio.run(run())


def test_hang__a_caller_is_answered_by_its_own_deadline(endless: Path) -> None:
    async def run() -> None:
        async with started(endless) as engine:
            signal_worker(engine, signal.SIGSTOP)
            assert "deadline of 10 ms" in str(await error_of(engine.infer("hello", 1, 10)))

    asyncio.run(run())


def test_lost_worker__a_file_that_went_away_is_named(tmp_path: Path) -> None:
    path = write_endless(tmp_path / "gone.gguf")

    async def run() -> None:
        async with started(path) as engine:
            path.unlink()
            signal_worker(engine, signal.SIGKILL)
            error = await error_of(engine.infer("hello", 1, PATIENT_MS))
            while "was lost" in str(error):
                error = await error_of(engine.infer("hello", 1, PATIENT_MS))
            assert error.retryable
            assert "does not exist" in str(error)

    asyncio.run(run())


def test_start__a_build_that_cannot_run_is_tried_a_few_times(
    endless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))

    async def run() -> None:
        engine = LlamaEngine(endless)
        error = await error_of(engine.start())
        assert f"{limits.LOSSES_MAX} times, last: exit status 1: FileNotFoundError" in str(error)
        assert engine.pid is None

    asyncio.run(run())


def test_start__names_what_is_wrong_with_the_file(endless: Path, tmp_path: Path) -> None:
    async def run() -> None:
        missing = await error_of(LlamaEngine(tmp_path / "none.gguf").start())
        altered = await error_of(LlamaEngine(endless, expected_sha256="0" * 64).start())
        trained = await error_of(LlamaEngine(endless, context=limits.CONTEXT_TOKENS_MAX).start())
        assert "none.gguf does not exist" in str(missing)
        assert "altered" in str(altered)
        assert "over the 30000 that endless was trained for" in str(trained)
        assert not any(each.retryable for each in (missing, altered, trained))

    asyncio.run(run())


def test_start__refuses_what_llama_cpp_or_the_template_cannot_do(tmp_path: Path) -> None:
    alien = write_endless(tmp_path / "alien.gguf", general__architecture="alien")
    mute = write_endless(tmp_path / "mute.gguf", tokenizer__chat_template="{{ 'no question here' }}")

    async def run() -> None:
        assert "llama.cpp cannot load" in str(await error_of(LlamaEngine(alien).start()))
        assert "chat template" in str(await error_of(LlamaEngine(mute).start()))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context": limits.CONTEXT_TOKENS_MAX + 1}, "context of 32769 tokens"),
        ({"context": 0}, "context of 0 tokens"),
        ({"slots": limits.SLOTS_MAX + 1}, "17 parallel slots"),
        ({"threads": 0}, "0 threads"),
    ],
)
def test_engine__refuses_numbers_out_of_range(options: dict[str, int], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        LlamaEngine("any.gguf", None, **options)


def test_infer__refuses_what_cannot_be_answered(endless: Path) -> None:
    async def run() -> None:
        engine = LlamaEngine(endless)
        assert "start the engine first" in str(await error_of(engine.infer("hello", 1, PATIENT_MS)))
        async with started(endless, context=64) as engine:
            over_context = await error_of(engine.infer("a" * 64, 1, PATIENT_MS))
            assert "takes 66 tokens, this model holds 1 to 63" in str(over_context)
            over_frame = await error_of(engine.infer("a" * (frames.PROMPT_BYTES_MAX + 1), 1, PATIENT_MS))
            assert "256 KiB" in str(over_frame)
            assert over_context.too_long
            assert over_frame.too_long
            for sampling in (Sampling(-1), Sampling(limits.TEMPERATURE_MILLI_MAX + 1), Sampling(1, limits.SEED_MAX + 1)):
                assert "out of range" in str(await error_of(engine.infer("hello", 1, PATIENT_MS, sampling)))
            assert "no room" in str(await error_of(engine.infer("hello", 0, PATIENT_MS)))
            assert (await engine.infer("a" * 61, 9, PATIENT_MS)).completion_tokens == 1

    asyncio.run(run())


def test_infer__refuses_a_flood_at_once(endless: Path) -> None:
    async def run() -> None:
        async with started(endless) as engine:
            calls = [asyncio.create_task(engine.infer("hello", 1, PATIENT_MS)) for _ in range(limits.IN_FLIGHT_MAX + 1)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            errors = [each for each in results if isinstance(each, EngineError)]
            assert [error.retryable for error in errors] == [True]

    asyncio.run(run())


def test_close__ends_the_process_and_the_calls(endless: Path) -> None:
    async def run() -> None:
        async with started(endless, context=LONG_CONTEXT) as engine:
            task = await under_way(engine)
            await engine.close()
            await engine.close()
            assert "closed" in str(await error_of(task))
            assert engine.pid is None

    asyncio.run(run())


def test_packaged_model__answers_as_it_was_trained() -> None:
    path, sha256 = models.find("arith")
    exercises = [generate("arith", 1, 900_000 + seed) for seed in range(12)]

    async def run() -> None:
        engine = LlamaEngine(path, sha256)
        await engine.start()
        answers = await asyncio.gather(*(engine.infer(each.text, 200, PATIENT_MS) for each in exercises))
        await engine.close()
        right = [answer.text.endswith(f"answer: {exercise.gold}") for answer, exercise in zip(answers, exercises, strict=True)]
        # Measured at 99 %; what would break here is the prompt, the template or the batching, and all at once.
        assert sum(right) >= 10

    asyncio.run(run())


def worker(path: Path, heartbeat_ms: int) -> subprocess.Popen[bytes]:
    numbers = {
        "slots": 1,
        "context": 20_000,
        "threads": 1,
        "gpu-layers": 0,
        "heartbeat-ms": heartbeat_ms,
        "parent": os.getpid(),
    }
    arguments = [f"--{name}={value}" for name, value in numbers.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "node.llama_worker", "--model", str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kind_of_next(process: subprocess.Popen[bytes]) -> int | None:
    assert isinstance(process.stdout, io.BufferedReader)
    message = frames.read(process.stdout)
    return None if message is None else int(message[0])


def test_worker__busy_sends_heartbeats_and_ends_with_its_input(endless: Path) -> None:
    with worker(endless, heartbeat_ms=1) as process:
        assert process.stdin is not None
        process.stdin.write(frames.encode([frames.INFER, 1, "hello", ENDLESS_TOKENS, PATIENT_MS, 0, 0, ""]))
        process.stdin.flush()
        # A context of 20,000 tokens takes far more than four milliseconds to fill.
        assert [kind_of_next(process) for _ in range(5)] == [frames.READY, *[frames.BEAT] * 4]
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


def test_worker__idle_sends_heartbeats_and_ends_with_its_input(endless: Path) -> None:
    with worker(endless, heartbeat_ms=1) as process:
        assert process.stdin is not None
        assert [kind_of_next(process) for _ in range(4)] == [frames.READY, frames.BEAT, frames.BEAT, frames.BEAT]
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


DAEMON = """
import asyncio, sys
from node.llama_engine import LlamaEngine

async def main():
    engine = LlamaEngine(sys.argv[1])
    await engine.start()
    print(engine.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd to watch a process that is not a child")
def test_worker__dies_with_a_daemon_that_is_killed(endless: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DAEMON, str(endless)], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        watched = os.pidfd_open(int(daemon.stdout.readline()))
        daemon.kill()
        # A process's descriptor becomes readable when it ends.
        assert select.select([watched], [], [], TIMEOUT_S)[0]
        os.close(watched)
