"""Which step of which plan of which task a message belongs to (specs/07-beacon.md).

Every message of a task says so, and two tasks at once never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.schema import Message, Rule, integer, raw

ID_SIZE: Final = 32
TASK_SIZE: Final = 16
NONCE_SIZE: Final = 32

STEP_RULES: Final[dict[str, Rule]] = {"task": raw(TASK_SIZE), "plan": integer(0, 15), "step": integer(0, 63)}


@dataclass(frozen=True, slots=True, order=True)
class StepId:
    """A step of a plan of a task."""

    task: bytes
    plan: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class StepMessage(Message):
    """What the messages of a task have in common."""

    task: bytes
    plan: int
    step: int

    @property
    def step_id(self) -> StepId:
        """The step that this message belongs to."""
        return StepId(self.task, self.plan, self.step)
