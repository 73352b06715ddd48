"""A minimal GGUF writer, and a model of random weights for tests that need a real file but no sense in answers."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = bool | int | float | str | Sequence[int] | Sequence[float] | Sequence[str]

WIDTH, FEED_FORWARD, LAYERS, CONTEXT = 32, 64, 2, 30_000
_CONTROL = 3
_STRONG = 1_000.0
CONTROLS = ("<|end|>", "<|user|>", "<|assistant|>")
TEMPLATE = "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}<|assistant|>"


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<I", 8) + _string(value) if isinstance(value, str) else _array(value)


def _array(value: Sequence[int] | Sequence[float] | Sequence[str]) -> bytes:
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(str(each)) for each in value)
    if value and isinstance(value[0], float):
        return struct.pack("<IIQ", 9, 6, len(value)) + struct.pack(f"<{len(value)}f", *map(float, value))
    return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *map(int, value))


def write(path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, tuple[tuple[int, ...], Sequence[float]]]) -> None:
    """Write F32 tensors, each ((fastest dimension first), values), with 32-byte alignment."""
    out = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    out += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    data = b""
    for name, (dimensions, values) in tensors.items():
        out += _string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, 0, len(data))
        data += struct.pack(f"<{len(values)}f", *values)
        data += bytes(-len(data) % 32)
    path.write_bytes(out + bytes(-len(out) % 32) + data)


def _spelling() -> list[str]:
    """The printable spelling of bytes that the vocabulary of the type `gpt2` uses."""
    prints = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(spare)) for byte in range(256)]


def byte_pairs(*controls: str) -> dict[str, Value]:
    """A vocabulary of the type `gpt2`: the controls, of which the first ends an answer, all bytes and one merge."""
    tokens = [*controls, *_spelling(), "in"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [_CONTROL] * len(controls) + [1] * (len(tokens) - len(controls)),
        "tokenizer.ggml.merges": ["i n"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
    }


def sentence_pieces(*controls: str) -> dict[str, Value]:
    """A vocabulary of SentencePiece, the type `llama`: it puts a blank before a text, and a BOS where it is not told not to."""
    controls = ("<s>", "</s>", *controls)
    pieces = ["\u2581", *string.ascii_letters, *string.punctuation, "\u2581W", "\u2581Q", "in", "\u2581in"]
    tokens = ["<unk>", *controls, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        # A longer piece is a better one.
        "tokenizer.ggml.scores": [float(len(token)) if token in pieces else 0.0 for token in tokens],
        "tokenizer.ggml.token_type": [2] + [_CONTROL] * len(controls) + [6] * 256 + [1] * len(pieces),
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def write_endless(
    path: Path, vocabulary: Mapping[str, Value] | None = None, always: str | None = None, **changed: Value
) -> Path:
    """A llama of random weights whose end token never wins, so it answers until it is stopped.

    `always` is the one token that it writes instead. `changed` replaces metadata, dots in the keys written as two
    underscores.
    """
    vocabulary = byte_pairs(*CONTROLS) if vocabulary is None else vocabulary
    tokens, kinds = vocabulary["tokenizer.ggml.tokens"], vocabulary["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "endless",
        "general.file_type": 0,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": len(tokens),
        **vocabulary,
        "tokenizer.chat_template": TEMPLATE,
    }
    metadata.update({key.replace("__", "."): value for key, value in changed.items()})
    stream = random.Random(1)  # noqa: S311 - weights, no secrets

    def tensor(*dimensions: int) -> tuple[tuple[int, ...], list[float]]:
        count = dimensions[0] * (dimensions[1] if len(dimensions) > 1 else 1)
        return dimensions, [stream.gauss(0.0, 0.2) for _ in range(count)]

    ones = (WIDTH,), [1.0] * WIDTH
    embedding, output = tensor(WIDTH, len(tokens)), tensor(WIDTH, len(tokens))
    for token, kind in enumerate(kinds):
        if kind == _CONTROL:
            # A zero row gives the control tokens the logit 0, and among 257 others one is always above it.
            output[1][WIDTH * token : WIDTH * (token + 1)] = [0.0] * WIDTH
    if always is not None:
        # One direction that every token has, far stronger than the layers' noise, and that only this token answers to.
        for token in range(len(tokens)):
            embedding[1][WIDTH * token] = _STRONG
        output[1][WIDTH * tokens.index(always)] = _STRONG
    tensors = {"token_embd.weight": embedding, "output_norm.weight": ones, "output.weight": output}
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH // 2), "attn_v": (WIDTH, WIDTH // 2),
            "attn_output": (WIDTH, WIDTH), "ffn_gate": (WIDTH, FEED_FORWARD), "ffn_up": (WIDTH, FEED_FORWARD),
            "ffn_down": (FEED_FORWARD, WIDTH),
        }  # fmt: skip
        tensors |= {f"blk.{layer}.{name}.weight": tensor(*shape) for name, shape in shapes.items()}
        tensors |= {f"blk.{layer}.{name}.weight": ones for name in ("attn_norm", "ffn_norm")}
    write(path, metadata, tensors)
    return path
