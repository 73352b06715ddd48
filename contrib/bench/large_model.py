"""What the engine does with a model a hundred times the size of the packaged ones: random weights, made on the spot.

    python -m contrib.bench.large_model [SECONDS]

It says nothing about answers, which are noise, and all about mechanics: load, memory, speed alone and in a batch, cancel,
deadline, a worker that hangs. The file lies in a temporary folder and goes with it. Linux only: it reads /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contrib.tinylm import gguf_file
from node.engine import EngineError, Prompt
from node.llama_engine import LlamaEngine

WIDTH, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, CONTEXT = 768, 2_048, 12, 12, 4, 4_096
VOCABULARY = 32_000
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT = Prompt(("Question:\n", "What is 12 + 30?", "\n\nAnswer with a number."), "You answer in one word.")
_Q4_0, _BLOCK_WEIGHTS, _BLOCK_BYTES, _Q4_0_FILE = 2, 32, 16, 2
_SCALE = 0.004
"""Of a block, so that weights spread by about 0.02, as an untrained model's do."""
_SECONDS = 10
_HANG_S = 5.0
_PATIENT_MS = 100_000
_MORE = 4


def _weights(stream: np.random.Generator, rows: int, columns: int, empty_rows: int = 0) -> gguf_file.Blocks:
    """A matrix in Q4_0: blocks of a half-precision scale and 32 weights of four bits, of which 8 stands for zero."""
    blocks = np.empty((rows, columns // _BLOCK_WEIGHTS, 2 + _BLOCK_BYTES), dtype=np.uint8)
    blocks[:, :, :2] = np.frombuffer(np.float16(_SCALE).tobytes(), dtype=np.uint8)
    blocks[:, :, 2:] = stream.integers(0, 256, size=(*blocks.shape[:2], _BLOCK_BYTES), dtype=np.uint8)
    blocks[:empty_rows, :, 2:] = 0x88
    return gguf_file.Blocks(_Q4_0, (rows, columns), blocks.tobytes())


def _spelling() -> list[str]:
    """The printable spelling of bytes that the vocabulary of the type `gpt2` uses."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(spare)) for byte in range(256)]


def write(path: Path) -> Path:
    """A llama of 124 million random weights, 70 MB in Q4_0, whose end token never wins: it writes until it is stopped."""
    words = [f"word{number}" for number in range(VOCABULARY - len(CONTROLS) - 256)]
    metadata: dict[str, gguf_file.Value] = {
        "general.architecture": "llama",
        "general.name": "Random 124M",
        "general.file_type": _Q4_0_FILE,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*CONTROLS, *_spelling(), *words],
        "tokenizer.ggml.token_type": [3] * len(CONTROLS) + [1] * (VOCABULARY - len(CONTROLS)),
        "tokenizer.ggml.merges": ["w o"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    stream = np.random.default_rng(1)
    ones = np.ones(WIDTH, dtype=np.float32)
    tensors: dict[str, npt.NDArray[np.float32] | gguf_file.Blocks] = {
        "token_embd.weight": _weights(stream, VOCABULARY, WIDTH),
        "output_norm.weight": ones,
        "output.weight": _weights(stream, VOCABULARY, WIDTH, empty_rows=len(CONTROLS)),
    }
    kv_width = WIDTH // HEADS * KV_HEADS
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (kv_width, WIDTH), "attn_v": (kv_width, WIDTH), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD),
    }  # fmt: skip
    for layer in range(LAYERS):
        tensors |= {f"blk.{layer}.{name}.weight": _weights(stream, *shape) for name, shape in shapes.items()}
        tensors |= {f"blk.{layer}.{name}.weight": ones for name in ("attn_norm", "ffn_norm")}
    gguf_file.write(path, metadata, tensors)
    return path


def resident_mb(pid: int) -> float:
    """What a process holds in memory, of the model's file what it has touched."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1_000


async def _timed(work: Awaitable[object]) -> float:
    """Seconds until it ended, with an error of the model's or without one."""
    started = time.monotonic()
    with contextlib.suppress(EngineError):
        await work
    return time.monotonic() - started


async def _speed(engine: LlamaEngine, sequences: int, seconds: float) -> float:
    """Tokens a second of so many answers at once, their prompts included."""
    tokens = max(8, round(engine.model.tokens_per_s * seconds / sequences))
    started = time.monotonic()
    answers = await asyncio.gather(*(engine.infer(PROMPT, tokens, _PATIENT_MS) for _ in range(sequences)))
    return sum(each.completion_tokens for each in answers) / (time.monotonic() - started)


async def _cancelled(engine: LlamaEngine) -> float:
    """Seconds until another question is answered after those that filled every slot were cancelled."""
    running = [asyncio.create_task(engine.infer(PROMPT, 4_000, _PATIENT_MS)) for _ in range(_MORE)]
    await asyncio.sleep(0.2)
    for each in running:
        each.cancel()
    return await _timed(engine.infer(PROMPT, 1, _PATIENT_MS))


async def _hung(engine: LlamaEngine) -> float:
    """Seconds from a stopped worker to the first answer of the next one."""
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    started = time.monotonic()
    while True:
        with contextlib.suppress(EngineError):
            await engine.infer(PROMPT, 1, _PATIENT_MS)
            return time.monotonic() - started


async def main(seconds: float) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="tutti-bench-") as folder:
        started = time.monotonic()
        path = write(Path(folder) / "random.gguf")
        print(f"{'file written':<44}{time.monotonic() - started:>10.1f} s")
        engine = LlamaEngine(path, threads=os.cpu_count() or 1, slots=_MORE, hang_s=_HANG_S)
        print(f"{'loaded and measured':<44}{await _timed(engine.start()):>10.1f} s")
        try:
            model, pid = engine.model, engine.pid
            assert pid is not None
            weights = f"{model.parameters / 1e6:.1f} M weights, {model.quantisation}"
            print(f"{'file':<44}{model.size_bytes / 1e6:>10.1f} MB  {weights}")
            for sequences in (1, 2, _MORE):
                speed = await _speed(engine, sequences, seconds / 3)
                print(f"{f'answers at once: {sequences}':<44}{speed:>10.1f} tokens/s")
            print(f"{'memory of its process':<44}{resident_mb(pid):>10.1f} MB  {_MORE} x {model.context} tokens of context")
            print(f"{'another answer after cancelling four':<44}{1_000 * await _cancelled(engine):>10.1f} ms")
            over = await _timed(engine.infer(PROMPT, 4_000, 500))
            print(f"{'a deadline of 500 ms is told after':<44}{1_000 * over:>10.1f} ms")
            print(f"{f'hung worker (limit {_HANG_S:g} s) replaced':<44}{await _hung(engine):>10.1f} s")
        finally:
            await engine.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS))
