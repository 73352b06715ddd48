"""A node that lies: its engine turns every right answer into a wrong one of the same form. Only `tutti dev` can start it.

Run as `python -m node.dev.liar` with the arguments of `tutti run`.
"""

from __future__ import annotations

import string
import sys

from node.engine import GREEDY, Completion, Engine, ModelInfo, Prompt, Sampling
from protocol.answers import MARK

_PAIRS = (("yes", "no"), ("true", "false"), ("odd", "even"))
_OPPOSITES = {word: other for pair in _PAIRS for word, other in (pair, pair[::-1])}
# Digits first: a list or a number stays one.
_WHEELS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


class LyingEngine:
    """Wraps an engine and changes every answer, the same way each time, so that liars would agree."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def model(self) -> ModelInfo:
        """See Engine."""
        return self._engine.model

    @property
    def pid(self) -> int | None:
        """See Engine."""
        return self._engine.pid

    @property
    def restarts(self) -> int:
        """See Engine."""
        return self._engine.restarts

    async def start(self) -> None:
        """See Engine."""
        await self._engine.start()

    async def close(self) -> None:
        """See Engine."""
        await self._engine.close()

    async def infer(self, prompt: Prompt | str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        """See Engine; what comes back looks like an honest answer and is not."""
        true = await self._engine.infer(prompt, max_tokens, deadline_ms, sampling)
        return Completion(lie(true.text), true.prompt_tokens, true.completion_tokens, true.elapsed_ms)


def lie(text: str) -> str:
    """The text with another answer behind its mark, as plausible as the true one.

    A choice becomes its opposite; else the last digit is raised by one (nine becomes zero), or where there is none the last
    letter becomes the next of the alphabet.
    """
    head, mark, answer = text.rpartition(MARK)
    word = answer.strip().rstrip(".").lower()
    if mark and word in _OPPOSITES:
        return f"{head}{mark} {_OPPOSITES[word]}"
    for wheel in _WHEELS:
        place = max((index for index, letter in enumerate(answer) if letter in wheel), default=None)
        if mark and place is not None:
            turned = wheel[(wheel.index(answer[place]) + 1) % len(wheel)]
            return f"{head}{mark}{answer[:place]}{turned}{answer[place + 1 :]}"
    return f"{text}\n{MARK} 0"


if __name__ == "__main__":
    from node.cli.run import main

    sys.exit(main(sys.argv[1:], wrap=LyingEngine))
