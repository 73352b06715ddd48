"""One training run: Muon on the matrices, AdamW on the rest, checkpoints from which it resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional

from contrib.tinylm.model import TinyLlama
from contrib.tinylm.samples import Batch
from contrib.tinylm.shape import Shape

BATCH_TOKENS = 3072
_RATE = 4e-3
_WARMUP_STEPS = 50
_CHECKPOINT_EVERY_STEPS = 200
_GRADIENT_NORM_MAX = 1.0


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the weights and what they cost."""

    model: TinyLlama
    seconds: int
    tokens: int


def train(
    shape: Shape,
    seed: int,
    steps: int,
    stream: Iterator[Batch],
    checkpoint: Path,
    log: Callable[[str], None],
) -> Trained:
    """Train for `steps` batches of `stream`, or what of it the checkpoint has not seen.

    The same seed, steps and stream give the same weights on one machine and thread count; a resumed run equals an
    unbroken one.
    """
    torch.manual_seed(seed)
    model = TinyLlama(shape)
    matrices = [p for name, p in model.named_parameters() if p.ndim > 1 and not name.startswith("token_embd")]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    done, tokens, seconds = 0, 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        done, tokens, seconds = state["done"], state["tokens"], state["seconds"]
    started = time.monotonic() - seconds
    for batch in islice(stream, done, steps) if done < steps else ():
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = _rate(done, steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = model(batch.tokens)
            learnt = batch.targets >= 0
            logits = model.logits(states[learnt])
        loss = functional.cross_entropy(logits.float(), batch.targets[learnt])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM_MAX)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        done += 1
        tokens += batch.real_tokens
        if done % _CHECKPOINT_EVERY_STEPS == 0 or done == steps:
            seconds = time.monotonic() - started
            log(f"step {done}/{steps} loss {loss.item():.4f} {seconds:.0f} s {tokens / seconds:.0f} tokens/s")
            _save(checkpoint, model, optimisers, done, tokens, seconds)
    return Trained(model=model, seconds=round(seconds), tokens=tokens)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero at the last step."""
    return _RATE * min(1.0, (step + 1) / _WARMUP_STEPS, (steps - step) / steps * 1.25)


def _save(
    checkpoint: Path,
    model: TinyLlama,
    optimisers: list[torch.optim.Optimizer],
    done: int,
    tokens: int,
    seconds: float,
) -> None:
    """Replace the checkpoint in one step, so that a kill leaves the old one or the new one."""
    part = checkpoint.with_suffix(".part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
            "done": done,
            "tokens": tokens,
            "seconds": seconds,
        },
        part,
    )
    part.replace(checkpoint)
