"""The bodies of the messages that bring a question to its executors (specs/07-beacon.md, specs/08-execution.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final

from protocol import canonical
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import (
    DEADLINE_MS_MAX,
    LEASE_MS,
    LEASE_MS_MIN,
    QUESTION_SIZE_MAX,
    REVISION_MAX,
    ROUNDS_MAX,
    SEATS_MAX,
    TOKENS_MAX,
    WINDOW_MS_MAX,
)
from protocol.ledger import NUMBER_MAX
from protocol.review import Judge, Judgement, Refine
from protocol.schema import Message, Rule, integer, one_of, raw, string
from protocol.step import ID_SIZE, NONCE_SIZE, STEP_RULES, StepMessage

_SKILL: Final = string(32, 1)


@dataclass(frozen=True, slots=True)
class Beacon(StepMessage):
    """A requester looks for executors of one question, which is bound by hash and not shown.

    `head` and `head_number` are the last entry of its ledger, zeros before the first: what it had committed to by then.
    """

    skill: str
    answer: str
    input_hash: bytes
    seats: int
    tokens_max: int
    window_ms: int
    deadline_ms: int
    revision: int
    head: bytes = bytes(ID_SIZE)
    head_number: int = 0
    TYPE: ClassVar[str] = "beacon"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "skill": _SKILL,
        "answer": one_of("number", "list", "word", "choice", "plan", "text"),
        "input_hash": raw(ID_SIZE),
        "seats": integer(1, SEATS_MAX),
        "tokens_max": integer(1, TOKENS_MAX),
        "window_ms": integer(1, WINDOW_MS_MAX),
        "deadline_ms": integer(1, DEADLINE_MS_MAX),
        "revision": integer(0, REVISION_MAX),
        "head": raw(ID_SIZE),
        "head_number": integer(0, NUMBER_MAX),
    }


@dataclass(frozen=True, slots=True)
class Bid(StepMessage):
    """An executor offers itself. A busy one bids too, with its load, so busy never looks like dead."""

    beacon: bytes
    queued: int
    slots: int
    tokens_per_s: int
    TYPE: ClassVar[str] = "bid"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "beacon": raw(ID_SIZE),
        "queued": integer(0, 1_000_000),
        "slots": integer(1, 1_024),
        "tokens_per_s": integer(0, 10_000_000),
    }


@dataclass(frozen=True, slots=True)
class BidAck(StepMessage):
    """The requester's signature that it has this bid: leaving it out of the award can then be proven."""

    bid: bytes
    TYPE: ClassVar[str] = "bid_ack"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {"bid": raw(ID_SIZE)}


@dataclass(frozen=True, slots=True)
class Award(StepMessage):
    """A lease on one seat, with the question, for a sealed round. `view` hashes the bids and integers that allocation used."""

    beacon: bytes
    bid: bytes
    view: bytes
    seat: int
    nonce: bytes
    question: str
    lease_ms: int
    round: int
    TYPE: ClassVar[str] = "award"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "beacon": raw(ID_SIZE),
        "bid": raw(ID_SIZE),
        "view": raw(ID_SIZE),
        "seat": integer(0, SEATS_MAX - 1),
        "nonce": raw(NONCE_SIZE),
        "question": string(QUESTION_SIZE_MAX, 1),
        "lease_ms": integer(LEASE_MS_MIN, LEASE_MS),
        "round": integer(0, ROUNDS_MAX - 1),
    }


@dataclass(frozen=True, slots=True)
class Accept(StepMessage):
    """The executor took the lease."""

    award: bytes
    TYPE: ClassVar[str] = "accept"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {"award": raw(ID_SIZE)}


@dataclass(frozen=True, slots=True)
class Decline(StepMessage):
    """The executor gives the lease back, before or after it accepted; the next bid gets the seat."""

    award: bytes
    reason: str
    TYPE: ClassVar[str] = "decline"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {
        "award": raw(ID_SIZE),
        "reason": one_of("busy", "cap", "input", "length", "model", "paused"),
    }


@dataclass(frozen=True, slots=True)
class Progress(StepMessage):
    """The executor is alive and still at it: the lease is renewed."""

    award: bytes
    TYPE: ClassVar[str] = "progress"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {"award": raw(ID_SIZE)}


@dataclass(frozen=True, slots=True)
class Cancel(StepMessage):
    """The requester needs this lease no more."""

    award: bytes
    TYPE: ClassVar[str] = "cancel"
    RULES: ClassVar[dict[str, Rule]] = STEP_RULES | {"award": raw(ID_SIZE)}


DIRECT: Final[dict[str, type[Message]]] = {
    kind.TYPE: kind
    for kind in (
        *(Bid, BidAck, Award, Accept, Decline, Progress, Cancel),
        *(Commit, CommitSet, Reveal, Judge, Judgement, Refine),
    )
}
_ALL: Final[tuple[type[Message], ...]] = (Beacon, *DIRECT.values())
for _kind in _ALL:
    _kind.check_table()


def input_hash(nonce: bytes, question: str, answer: str, tokens_max: int) -> bytes:
    """What a beacon binds: every executor gets this question with these limits, or can show that it did not."""
    fields: dict[str, canonical.Value] = {
        "nonce": nonce,
        "question": question,
        "answer": answer,
        "tokens_max": tokens_max,
    }
    return hashlib.sha256(b"tutti/input/1\x00" + canonical.encode(fields)).digest()
