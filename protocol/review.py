"""The bodies of the messages about what others answered: judge, judgement, refine (specs/08-execution.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from protocol.constants import JUDGEMENTS_MAX, REFINE_ANSWERS_MAX, REFINE_TEXT_SIZE_MAX, ROUNDS_MAX, TEXT_SIZE_MAX
from protocol.schema import Rule, integer, items, one_of, raw, string
from protocol.step import ID_SIZE, STEP_RULES, StepMessage

FIRST: Final = "first"
SECOND: Final = "second"
NEITHER: Final = "none"

_COUNT: Final = integer(0, 2**32)
_NUMBER: Final = integer(0, JUDGEMENTS_MAX - 1)
_TEXT: Final = string(TEXT_SIZE_MAX, 1)


@dataclass(frozen=True, slots=True)
class Judge(StepMessage):
    """The requester asks a member which of two texts answers the question better, neither of them its own."""

    award: bytes
    number: int
    first: str
    second: str
    TYPE: ClassVar[str] = "judge"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "number": _NUMBER,
        "first": _TEXT,
        "second": _TEXT,
    }


@dataclass(frozen=True, slots=True)
class Judgement(StepMessage):
    """The member's preference, with what its model cost; none if it has none or cannot judge."""

    award: bytes
    number: int
    preference: str
    prompt_tokens: int
    completion_tokens: int
    inference_ms: int
    TYPE: ClassVar[str] = "judgement"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "number": _NUMBER,
        "preference": one_of(FIRST, SECOND, NEITHER),
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "inference_ms": _COUNT,
    }


@dataclass(frozen=True, slots=True)
class Refine(StepMessage):
    """The requester shows a member what the others answered and asks it to answer again, in a further sealed round."""

    award: bytes
    round: int
    answers: tuple[str, ...]
    TYPE: ClassVar[str] = "refine"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "round": integer(1, ROUNDS_MAX - 1),
        "answers": items(string(REFINE_TEXT_SIZE_MAX, 1), REFINE_ANSWERS_MAX),
    }
