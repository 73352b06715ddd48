"""The receipt of a task: what was said, in whose name, and what its requester made of it (specs/11-receipt.md).

In a file: the requester's signature (64 bytes), then the payload, the canonical encoding of a map. It holds the question and
every answer, so it is its owner's to show or not; the ledger gets a salted hash of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from protocol import canonical
from protocol.constants import (
    AWARDS_MAX,
    ENVELOPE_SIZE_MAX,
    NOTES_MAX,
    QUESTION_SIZE_MAX,
    RECEIPT_SIZE_MAX,
    RECEIPT_STEPS_MAX,
    REFINE_MAX,
    TEXT_SIZE_MAX,
    TRANSCRIPT_MAX,
)
from protocol.errors import RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signer, verify
from protocol.outcome import Outcome, OutcomeKind
from protocol.schema import Message, Rule, blob, boolean, integer, items, one_of, optional, raw, row, string
from protocol.step import ID_SIZE, NONCE_SIZE, STEP_RULES, TASK_SIZE
from protocol.task import Task

DOMAIN: Final = b"tutti/receipt/1\x00"
SALT_SIZE: Final = 32
# What no envelope shows: a bidder's channel ended, or it was no candidate any more when its turn came; a lease ran out, or was
# lost with its holder's channel; no answer was needed any more. The first names the bidder, the others the award.
NOTES: Final = ("gone", "expired", "lost", "unneeded")
# Why a step ended: no seat was open any more, nobody was there to take one, time was up.
REASONS: Final = ("settled", "no_bids", "deadline")

_SCORE: Final = integer(0, 2**53)


def is_map(value: object) -> str | None:
    """A map, whose fields are checked when it is parsed."""
    return None if type(value) is dict else "is not a map"


@dataclass(frozen=True, slots=True)
class Result(Message):
    """How a step, or the whole task, ended: what the owner was told.

    `support` has a row (answer, sum) for each answer, strongest first; it and the counts are empty where nothing was voted on.
    """

    outcome: str
    voted: bool
    answer: str | None
    earned: bool
    margin: int
    support: tuple[tuple[str, int], ...]
    dissent: int
    abstained: int
    coverage: int
    TYPE: ClassVar[str] = "result"
    RULES: ClassVar[dict[str, Rule]] = {
        "outcome": one_of(*(kind.value for kind in OutcomeKind)),
        "voted": boolean,
        "answer": optional(string(TEXT_SIZE_MAX)),
        "earned": boolean,
        "margin": integer(0, 1_000),
        "support": items(row(string(TEXT_SIZE_MAX), _SCORE), AWARDS_MAX),
        "dissent": integer(0, AWARDS_MAX),
        "abstained": integer(0, AWARDS_MAX),
        "coverage": integer(0, 1_000),
    }

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """What an outcome says."""
        tally = outcome.tally
        told = (outcome.kind.value, outcome.voted, outcome.answer)
        if tally is None:
            return cls(*told, earned=False, margin=0, support=(), dissent=0, abstained=0, coverage=0)
        return cls(*told, tally.earned, tally.margin, tally.support, tally.dissent, tally.abstained, tally.coverage)


@dataclass(frozen=True, slots=True)
class StepReceipt(Message):
    """One step: the envelopes sent and received for it, in the order in which the requester handled them.

    `refine` is how often members might have revised, `views` are the encoded views that awards name; a note says how many
    envelopes stood before it, what happened, and to whom.
    """

    plan: int
    step: int
    question: str
    nonce: bytes
    refine: int
    transcript: tuple[bytes, ...]
    views: tuple[bytes, ...]
    notes: tuple[tuple[int, str, bytes], ...]
    reason: str
    result: dict[str, canonical.Value]
    TYPE: ClassVar[str] = "step"
    RULES: ClassVar[dict[str, Rule]] = {
        "plan": STEP_RULES["plan"],
        "step": STEP_RULES["step"],
        "question": string(QUESTION_SIZE_MAX, 1),
        "nonce": raw(NONCE_SIZE),
        "refine": integer(0, REFINE_MAX),
        "transcript": items(blob(ENVELOPE_SIZE_MAX + SIGNATURE_SIZE, 1), TRANSCRIPT_MAX),
        "views": items(blob(ENVELOPE_SIZE_MAX, 1), AWARDS_MAX),
        "notes": items(row(integer(0, TRANSCRIPT_MAX), one_of(*NOTES), raw(ID_SIZE)), NOTES_MAX),
        "reason": one_of(*REASONS),
        "result": is_map,
    }

    @classmethod
    def of(cls, task: Task, reason: str, outcome: Outcome) -> Self:
        """What a requester kept of a step that ended because of `reason`; raises `LocalProtocolError` if it is too much."""
        step = task.step_id
        return cls(
            step.plan,
            step.step,
            task.question,
            task.nonce,
            task.refine,
            tuple(task.transcript),
            tuple(task.views.values()),
            tuple(task.notes),
            reason,
            Result.of(outcome).body(),
        )


@dataclass(frozen=True, slots=True)
class Receipt(Message):
    """A whole task. `salt` keeps anyone who knows the task from finding its receipt's hash in a ledger."""

    network: bytes
    requester: bytes
    task: bytes
    salt: bytes
    made_ms: int
    steps: tuple[dict[str, canonical.Value], ...]
    result: dict[str, canonical.Value]
    TYPE: ClassVar[str] = "receipt"
    RULES: ClassVar[dict[str, Rule]] = {
        "network": raw(ID_SIZE),
        "requester": raw(PUBLIC_KEY_SIZE),
        "task": raw(TASK_SIZE),
        "salt": raw(SALT_SIZE),
        "made_ms": integer(0, 2**53),
        "steps": items(is_map, RECEIPT_STEPS_MAX),
        "result": is_map,
    }

    def sign(self, signer: Signer) -> bytes:
        """The bytes of a file; raises `LocalProtocolError` if they are more than RECEIPT_SIZE_MAX."""
        payload = canonical.encode(self.body(), RECEIPT_SIZE_MAX - SIGNATURE_SIZE)
        return signer.sign(DOMAIN + payload) + payload

    @classmethod
    def open(cls, data: bytes) -> Self:
        """The receipt in a file, its signature verified and nothing else; raises `RemoteProtocolError`."""
        # specs/11-receipt.md: "The file has at most RECEIPT_SIZE_MAX bytes"
        if not SIGNATURE_SIZE < len(data) <= RECEIPT_SIZE_MAX:
            raise RemoteProtocolError("size", f"a receipt has {SIGNATURE_SIZE} to {RECEIPT_SIZE_MAX} bytes, not {len(data)}")
        payload = data[SIGNATURE_SIZE:]
        fields = canonical.decode(payload, RECEIPT_SIZE_MAX)
        if not isinstance(fields, dict):
            raise RemoteProtocolError("fields", "receipt: not its fields")
        receipt = cls.parse(fields)
        verify(receipt.requester, DOMAIN + payload, data[:SIGNATURE_SIZE])
        return receipt


def receipt_hash(data: bytes) -> bytes:
    """What a ledger holds of a receipt: SHA-256 of what is signed, the salt in it; 32 bytes."""
    return hashlib.sha256(DOMAIN + data[SIGNATURE_SIZE:]).digest()


for _kind in (Result, StepReceipt, Receipt):
    _kind.check_table()
