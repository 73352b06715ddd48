"""Checks of the model: its file, whether it loads, how fast it is and what memory it takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from node.cli.guard import say
from node.cli.terminal import clean, number, size
from node.config import Config
from node.doctor.finding import Finding, fail, ok, warn
from node.engine import EngineError, ModelInfo
from node.llama_engine import LlamaEngine
from node.models import find, inspect, sha256_of

# A large model on a slow disk takes a minute; what takes longer would not start in a person's patience either.
_LOAD_S: Final = 180.0
# Above this a person waits for longer than without a word.
_LARGE_BYTES: Final = 500_000_000
_KIB: Final = 1_024


def file(config: Config) -> Iterator[Finding]:
    """The model of a node that does not run: sound, and it loads."""
    if config.model == "none":
        yield ok("model", "none: this node asks and does not answer")
        return
    try:
        path, digest = find(config.model)
        info = inspect(path, digest)
    except EngineError as error:
        yield fail("model", str(error), "")
        return
    yield ok("model", f"{info.name}, {info.quantisation}, {size(info.size_bytes)}, context {info.context}: {path}")
    room = _memory_free()
    if room is not None and info.size_bytes > room:
        text = f"its file takes {size(info.size_bytes)}, and {size(room)} of memory are free"
        yield warn("model", text, "close something, or take a smaller quantisation")
    if info.size_bytes > _LARGE_BYTES:
        say("loading the model to see whether it does; that takes as long as a start")
    try:
        loaded, memory = asyncio.run(_load(path, digest, config))
    except EngineError as error:
        yield fail("model", f"does not load: {error}", "")
    except TimeoutError:
        yield fail("model", f"did not load within {_LOAD_S:.0f} s", "take a smaller one")
    else:
        yield ok("model", f"loads, {loaded.tokens_per_s} tokens/s{_taken(memory)}")


def running(status: Mapping[str, Any]) -> Iterator[Finding]:
    """The model of a running node: its process, and whether its file is still the one that was loaded."""
    model = status["model"]
    if model is None:
        yield ok("model", "none: this node asks and does not answer")
        return
    name = f"{clean(model['name'])}, {clean(model['quantisation'])}"
    if model["pid"] is None:
        text = f"{name}: its process is down, lost {number(model['restarts'], 'time')}"
        yield fail("model", text, "the node starts it again by itself; its log says why it ended")
    else:
        again = f", started again {number(model['restarts'], 'time')}" if model["restarts"] else ""
        memory = _taken(_resident(model["pid"]))
        yield ok("model", f"{name}, context {model['context']}, {model['tokens_per_s']} tokens/s{memory}{again}")
    try:
        if sha256_of(Path(model["file"])) != model["sha256"]:
            text = f"the file {model['file']} is not the one that the node loaded"
            yield fail("model", text, "start the node again to offer the new one")
    except EngineError as error:
        yield fail("model", str(error), "put the file back, or start the node with another")


async def _load(path: Path, digest: str | None, config: Config) -> tuple[ModelInfo, int | None]:
    engine = LlamaEngine(
        path,
        expected_sha256=digest,
        threads=config.threads or 1,
        slots=config.slots,
        context=config.context or None,
        gpu_layers=config.gpu_layers,
    )
    try:
        async with asyncio.timeout(_LOAD_S):
            await engine.start()
            return engine.model, _resident(engine.pid) if engine.pid is not None else None
    finally:
        await engine.close()


def _taken(memory: int | None) -> str:
    return f", {size(memory)} of memory" if memory is not None else ""


def _resident(pid: int) -> int | None:
    """Bytes of memory that a process holds, where the system tells."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _memory_free() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith("MemAvailable:")), None)
