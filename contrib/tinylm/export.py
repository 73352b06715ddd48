"""From weights to a quantised GGUF that llama.cpp runs, and from a vocabulary to a tokeniser."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt

from contrib.tinylm import gguf_file
from contrib.tinylm.shape import Shape
from contrib.tinylm.vocabulary import ASSISTANT, CONTROLS, END, USER, Vocabulary

QUANTISATION = "Q8_0"
_NORMAL, _CONTROL = 1, 3  # token types of llama.cpp
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] }}" + END + "{% else %}"
    "" + USER + "{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def write(path: Path, name: str, vocabulary: Vocabulary, shape: Shape, tensors: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write an F32 GGUF; with no tensors it holds the vocabulary alone, which is enough to tokenise."""
    end = vocabulary.tokens.index(END)
    metadata: dict[str, gguf_file.Value] = {
        "general.architecture": "llama",
        "general.name": name,
        "general.license": "apache-2.0",
        "general.file_type": 0,
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.feed_forward,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": shape.norm_epsilon,
        "llama.rope.dimension_count": shape.head_width,
        "llama.rope.freq_base": shape.rope_base,
        "llama.vocab_size": shape.vocabulary,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": vocabulary.tokens,
        "tokenizer.ggml.token_type": [_CONTROL if token in CONTROLS else _NORMAL for token in vocabulary.tokens],
        "tokenizer.ggml.merges": vocabulary.merges,
        # Nothing is put before a prompt, so the beginning is never used; llama.cpp would guess an id if none were given.
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.padding_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
        # Tells the node to ask with the bare question, for these models know no instructions.
        "tutti.prompt": "question",
    }
    gguf_file.write(path, metadata, tensors)


def quantise(source: Path, target: Path) -> None:
    """Quantise to Q8_0 with llama.cpp's own code; RuntimeError when it refuses."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
    parameters.nthread = 1
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    if code != 0:
        raise RuntimeError(f"llama.cpp could not quantise {source} (code {code})")


class Tokeniser:
    """llama.cpp's tokeniser over a vocabulary-only file."""

    def __init__(self, vocabulary_file: Path) -> None:
        self._llama = llama_cpp.Llama(str(vocabulary_file), vocab_only=True, verbose=False)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text in which control tokens are spelt out."""
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))
