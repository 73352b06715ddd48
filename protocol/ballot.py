"""The bodies of the messages of a sealed vote: commit, commit set, reveal (specs/08-execution.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from protocol.constants import AWARDS_MAX, ROUNDS_MAX, TEXT_SIZE_MAX
from protocol.errors import LocalProtocolError
from protocol.identity import PUBLIC_KEY_SIZE
from protocol.schema import Rule, integer, items, optional, raw, row, string
from protocol.step import ID_SIZE, NONCE_SIZE, STEP_RULES, StepMessage

_COUNT: Final = integer(0, 2**32)
_ROUND: Final = integer(0, ROUNDS_MAX - 1)


@dataclass(frozen=True, slots=True)
class Commit(StepMessage):
    """An executor has its answer and binds itself to it without showing it; with what the model cost."""

    award: bytes
    round: int
    commitment: bytes
    prompt_tokens: int
    completion_tokens: int
    inference_ms: int
    TYPE: ClassVar[str] = "commit"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "round": _ROUND,
        "commitment": raw(ID_SIZE),
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "inference_ms": _COUNT,
    }


@dataclass(frozen=True, slots=True)
class CommitSet(StepMessage):
    """The requester closes a round: these executors, by ascending key, are bound to these answers, and open them now."""

    round: int
    members: tuple[tuple[bytes, bytes], ...]
    TYPE: ClassVar[str] = "commit_set"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "round": _ROUND,
        "members": items(row(raw(PUBLIC_KEY_SIZE), raw(ID_SIZE)), AWARDS_MAX),
    }

    def __post_init__(self) -> None:
        StepMessage.__post_init__(self)
        peers = [peer for peer, _ in self.members]
        if peers != sorted(set(peers)):
            raise LocalProtocolError("commit_set: members are not in ascending order, each once")


@dataclass(frozen=True, slots=True)
class Reveal(StepMessage):
    """An executor opens its commitment. The answer is canonical, None if it abstains."""

    award: bytes
    round: int
    nonce: bytes
    answer: str | None
    TYPE: ClassVar[str] = "reveal"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "round": _ROUND,
        "nonce": raw(NONCE_SIZE),
        "answer": optional(string(TEXT_SIZE_MAX)),
    }
