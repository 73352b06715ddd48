"""A node that lies: its engine turns every right answer into a wrong one. Only `tutti dev` can start it.

Run as `python -m node.dev.liar` with the arguments of `tutti run`.
"""

from __future__ import annotations

import sys

from node.engine import GREEDY, Completion, Engine, ModelInfo, Sampling
from protocol.answers import MARK


class LyingEngine:
    """Wraps an engine and changes the last digit of every answer, the same way each time, so that liars would agree."""

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

    async def infer(self, prompt: str, max_tokens: int, deadline_ms: int, sampling: Sampling = GREEDY) -> Completion:
        """See Engine; what comes back looks like an honest answer and is not."""
        true = await self._engine.infer(prompt, max_tokens, deadline_ms, sampling)
        return Completion(lie(true.text), true.prompt_tokens, true.completion_tokens, true.elapsed_ms)


def lie(text: str) -> str:
    """The text with the last digit behind its answer mark raised by one (nine becomes zero)."""
    head, mark, answer = text.rpartition(MARK)
    place = max((index for index, letter in enumerate(answer) if letter in "0123456789"), default=None)
    if not mark or place is None:
        return f"{text}\n{MARK} 0"
    return f"{head}{mark}{answer[:place]}{(int(answer[place]) + 1) % 10}{answer[place + 1 :]}"


if __name__ == "__main__":
    from node.cli.run import main

    sys.exit(main(sys.argv[1:], wrap=LyingEngine))
