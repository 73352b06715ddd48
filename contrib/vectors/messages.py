"""The bodies of messages, by the field tables of the documents that specs/03-envelope.md names."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation, Repeated
from contrib.vectors.keys import BEACON_ID, KEYS, TASK
from protocol.capability import Record
from protocol.constants import (
    AWARDS_MAX,
    FAULT_SIZE_MAX,
    JUDGEMENTS_MAX,
    PULL_COUNT_MAX,
    RECORDS_SHARED_MAX,
    REFINE_ANSWERS_MAX,
    ROUNDS_MAX,
    SEATS_MAX,
)
from protocol.errors import RemoteProtocolError
from protocol.faults import Fault
from protocol.ledger_messages import Entries, Heads, Pull
from protocol.messages import DIRECT, Beacon
from protocol.schema import Message
from protocol.seek import Seek
from protocol.step import StepMessage

DOCUMENT: Final = "03-envelope.md"
_ID: Final = BEACON_ID
_ALL: Final[tuple[type[Message], ...]] = (Record, Seek, Beacon, *DIRECT.values(), Heads, Pull, Entries, Fault)
_KINDS: Final = {kind.TYPE: kind for kind in _ALL}
_STEP: Final[dict[str, object]] = {"task": TASK, "plan": 0, "step": 0}


def _message(kind: str, body: dict[str, object]) -> None:
    if kind not in _KINDS:
        raise RemoteProtocolError("type", "unknown")
    _KINDS[kind].parse(body)  # type: ignore[arg-type]


OPERATIONS: Final[dict[str, Operation]] = {"message": _message}

# A body of each type; the others follow from them by one change each.
_BODIES: Final[dict[str, dict[str, object]]] = {
    "beacon": {
        "skill": "arith",
        "answer": "number",
        "input_hash": _ID,
        "seats": 3,
        "tokens_max": 256,
        "window_ms": 1_500,
        "deadline_ms": 60_000,
        "revision": 1,
        "head": _ID,
        "head_number": 7,
    },
    "bid": {"beacon": _ID, "queued": 0, "slots": 1, "tokens_per_s": 400},
    "bid_ack": {"bid": _ID},
    "award": {
        "beacon": _ID,
        "bid": _ID,
        "view": _ID,
        "seat": 0,
        "nonce": bytes(32),
        "question": "What is 2 + 2?",
        "lease_ms": 6_000,
        "round": 0,
    },
    "accept": {"award": _ID},
    "progress": {"award": _ID},
    "cancel": {"award": _ID},
    "decline": {"award": _ID, "reason": "busy"},
    "commit": {
        "award": _ID,
        "round": 0,
        "commitment": _ID,
        "prompt_tokens": 12,
        "completion_tokens": 34,
        "inference_ms": 56,
    },
    "commit_set": {"round": 0, "members": [[key, bytes(32)] for key in sorted(KEYS[:3])]},
    "reveal": {"award": _ID, "round": 0, "nonce": bytes(32), "answer": "4"},
    "judge": {"award": _ID, "number": 0, "first": "Seven.", "second": "It is 7."},
    "judgement": {
        "award": _ID,
        "number": 0,
        "preference": "first",
        "prompt_tokens": 12,
        "completion_tokens": 1,
        "inference_ms": 20,
    },
    "refine": {"award": _ID, "round": 1, "answers": ["7", "8"]},
    "record": {
        "sequence": 1,
        "skills": {"arith": 900},
        "model": "tutti-arith",
        "parameters": 3_000_000,
        "quantisation": "Q8_0",
        "weights_hash": "",
        "context": 256,
        "tokens_per_s": 400,
        "slots": 4,
        "available": True,
        "addresses": [],
    },
    "seek": {"count": 1},
    "heads": {"heads": [KEYS[0] + (7).to_bytes(8, "big") + _ID]},
    "pull": {"author": KEYS[0], "first": 0, "count": 1},
    "entries": {"author": KEYS[0], "first": 0, "entries": [b"entry"]},
    "fault": {"kind": "records", "parts": [b"one", b"two"]},
}
# By type, what one field may be as well, and what it may not.
_GOOD: Final[dict[str, list[dict[str, object]]]] = {
    "beacon": [{"seats": SEATS_MAX}, {"answer": "choice"}, {"revision": 0}, {"plan": 15, "step": 63}],
    "award": [{"question": "é" * 100}, {"round": ROUNDS_MAX - 1}],
    "reveal": [{"answer": None}, {"answer": ""}],
    "commit_set": [{"members": []}],
    "seek": [{"count": RECORDS_SHARED_MAX}],
    "heads": [{"heads": []}],
    "pull": [{"count": PULL_COUNT_MAX}],
    "entries": [{"entries": []}],
    "fault": [{"parts": []}, {"kind": "opening"}],
}
_BAD: Final[dict[str, list[dict[str, object]]]] = {
    "beacon": [
        {"task": TASK[:15]},
        {"task": TASK.hex()},
        {"plan": 16},
        {"step": -1},
        {"step": True},
        {"answer": "poem"},
        {"skill": ""},
        {"skill": "x" * 33},
        {"seats": 0},
        {"seats": SEATS_MAX + 1},
        {"input_hash": None},
        {"deadline_ms": 0},
    ],
    "bid": [{"slots": 0}, {"queued": -1}, {"queued": 1_000_001}, {"beacon": _ID + b"\x00"}],
    "award": [{"question": ""}, {"question": b"2 + 2"}, {"lease_ms": 999}, {"seat": SEATS_MAX}, {"nonce": bytes(31)}],
    "decline": [{"reason": "tired"}, {"reason": ""}, {"reason": None}],
    "commit": [{"round": ROUNDS_MAX}, {"commitment": b""}, {"inference_ms": 2**32 + 1}],
    "commit_set": [
        {"members": [[KEYS[0]]]},
        {"members": [[KEYS[0], bytes(32), bytes(32)]]},
        {"members": [[KEYS[0], bytes(31)]]},
        {"members": [[key, bytes(32)] for key in sorted(KEYS[:3], reverse=True)]},
        {"members": [[KEYS[0], bytes(32)]] * 2},
        {"members": {}},
        {"members": [[bytes([number]) * 32, bytes(32)] for number in range(AWARDS_MAX + 1)]},
    ],
    "reveal": [{"answer": 4}, {"answer": b"4"}, {"nonce": None}],
    "judge": [{"first": ""}, {"number": JUDGEMENTS_MAX}],
    "judgement": [{"preference": "both"}, {"preference": None}],
    "refine": [{"round": 0}, {"round": ROUNDS_MAX}, {"answers": [""]}, {"answers": ["7"] * (REFINE_ANSWERS_MAX + 1)}],
    "record": [{"slots": 0}, {"available": 1}],
    "seek": [{"count": 0}, {"count": RECORDS_SHARED_MAX + 1}, {"count": None}],
    "heads": [{"heads": [KEYS[0]]}, {"heads": _ID}],
    "pull": [{"count": 0}, {"count": PULL_COUNT_MAX + 1}, {"first": -1}],
    "entries": [{"entries": [b""]}, {"entries": ["entry"]}, {"entries": [b"x"] * (PULL_COUNT_MAX + 1)}],
    "fault": [
        {"kind": "poems"},
        {"parts": [b""]},
        {"parts": [b"x"] * 5},
        {"parts": [b"x", Repeated(((b"x", FAULT_SIZE_MAX),))]},
    ],
}


def _of(kind: str) -> list[Case]:
    body = (_STEP if issubclass(_KINDS[kind], StepMessage) else {}) | _BODIES[kind]
    last = next(reversed(body))
    missing = {name: value for name, value in body.items() if name != last}
    rows: list[tuple[str, dict[str, object], str | None]] = [
        ("as it is", body, None),
        (f"without {last}", missing, "fields"),
        ("with a field too many", body | {"hops": 1}, "fields"),
        ("with another field instead", missing | {"hops": 1}, "fields"),
        *((f"may be {number}", body | change, None) for number, change in enumerate(_GOOD.get(kind, []))),
        *((f"may not be {number}", body | change, "field") for number, change in enumerate(_BAD.get(kind, []))),
    ]
    return [Case("message", f"{kind}: {name}", {"kind": kind, "body": given}, code) for name, given, code in rows]


def cases() -> list[Case]:
    """All of this subject."""
    assert _BODIES.keys() == _KINDS.keys(), "a type of message without a vector"
    unknown = Case("message", "of an unknown type", {"kind": "riddle", "body": _STEP}, "type")
    return [unknown, *(case for kind in _BODIES for case in _of(kind))]
