"""The llama architecture at its smallest, with the parameter names of a GGUF file."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from contrib.tinylm.shape import Shape


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_width
        self.attn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        shape = self.shape
        normed = self.attn_norm(x)
        query = self.attn_q(normed).view(rows, length, shape.heads, shape.head_width).transpose(1, 2)
        key = self.attn_k(normed).view(rows, length, shape.kv_heads, shape.head_width).transpose(1, 2)
        value = self.attn_v(normed).view(rows, length, shape.kv_heads, shape.head_width).transpose(1, 2)
        query, key = _rotated(query, rotation), _rotated(key, rotation)
        group = shape.heads // shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            query, key.repeat_interleave(group, 1), value.repeat_interleave(group, 1), is_causal=True
        )
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(rows, length, shape.width))
        normed = self.ffn_norm(x)
        hidden = functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed)
        return x + self.ffn_down(hidden)


class TinyLlama(nn.Module):
    """Decoder with tied embeddings; `forward` gives the normed states and `logits` reads them out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                # Residual branches start small so that depth does not inflate the sum (as in GPT-2).
                branch = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * shape.layers) ** 0.5 if branch else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Final states, shape (rows, length, width), of int64 tokens, shape (rows, length)."""
        rotation = _rotation(self.shape, tokens.shape[1])
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, rotation)
        return self.output_norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token, shape (n, vocabulary), of n final states."""
        return functional.linear(states, self.token_embd.weight)


def _rotation(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    frequencies = shape.rope_base ** (-torch.arange(0, shape.head_width, 2) / shape.head_width)
    angles = torch.outer(torch.arange(length), frequencies)
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate neighbouring pairs, as llama.cpp does for this architecture: the export then needs no permutation."""
    cosine, sine = rotation
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), -1).flatten(-2).to(x.dtype)
