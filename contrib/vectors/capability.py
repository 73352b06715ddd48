"""Capability records and their place in the directory: specs/05-capability.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, NETWORK, SIGNERS, WALL_MS
from protocol.capability import Record
from protocol.chain import vector_hash
from protocol.constants import CLOCK_SKEW_MS_MAX, LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX, RECORD_SKILLS_MAX
from protocol.directory import check_value, record_key, skill_key
from protocol.envelope import seal
from protocol.identity import peer_id
from protocol.outbox import BEACONS, RECORDS

DOCUMENT: Final = "05-capability.md"


def _record(body: dict[str, object]) -> dict[str, object]:
    record = Record.parse(body)  # type: ignore[arg-type]
    skills = sorted({*record.skills, "general", "arith"})
    return {"offers": [skill for skill in skills if record.offers(skill)], "vector": vector_hash(record)}


def _directory_value(key: bytes, data: bytes, network: bytes, wall_ms: int) -> dict[str, object]:
    envelope, record = check_value(key, data, network, wall_ms)
    return {"sender": envelope.sender, "sequence": record.sequence}


OPERATIONS: Final[dict[str, Operation]] = {
    "record": _record,
    "skill_key": skill_key,
    "record_key": record_key,
    "directory_value": _directory_value,
}


def _body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "sequence": 1,
        "skills": {"arith": 900, "lists": 0},
        "model": "tutti-arith",
        "parameters": 3_000_000,
        "quantisation": "Q8_0",
        "weights_hash": "ab" * 32,
        "context": 256,
        "tokens_per_s": 400,
        "slots": 4,
        "available": True,
        "addresses": [f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_id(KEYS[0])}"],
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def _records() -> list[Case]:
    many = {f"skill{number}": 1 for number in range(RECORD_SKILLS_MAX)}
    good: dict[str, dict[str, object]] = {
        "a node with a model": {},
        "a paused node offers nothing": {"available": False},
        "a node without a model": {"skills": {}, "model": "", "parameters": 0, "quantisation": "", "weights_hash": ""},
        "as many skills as there may be": {"skills": many},
        "a skill with another meaning elsewhere": {"skills": {"__proto__": 1}},
        "the longest model name, in bytes": {"model": "é" * 64},
        "no addresses": {"addresses": []},
        "the highest sequence": {"sequence": 2**53},
    }
    fields: dict[str, dict[str, object]] = {
        "a field is missing": {"slots": None},
        "a field too many": {"power": 9_000},
        "another name": {"slots": None, "slot": 1},
    }
    wrong: dict[str, dict[str, object]] = {
        "a negative sequence": {"sequence": -1},
        "a sequence above 2^53": {"sequence": 2**53 + 1},
        "a sequence that is a boolean": {"sequence": True},
        "a skill too many": {"skills": many | {"more": 1}},
        "a prior above a thousand": {"skills": {"arith": 1_001}},
        "a skill without a name": {"skills": {"": 1}},
        "a skill's name of 33 bytes": {"skills": {"x" * 33: 1}},
        "skills that are a list": {"skills": ["arith"]},
        "a model name of 129 bytes": {"model": "é" * 64 + "x"},
        "a model name that is bytes": {"model": b"tutti-arith"},
        "no slots": {"slots": 0},
        "availability as a number": {"available": 1},
        "an empty address": {"addresses": [""]},
        "nine addresses": {"addresses": ["/ip4/192.0.2.1/tcp/1"] * 9},
        "addresses that are a string": {"addresses": "/ip4/192.0.2.1/tcp/1"},
    }
    rows = [(good, None), (fields, "fields"), (wrong, "field")]
    return [Case("record", name, {"body": _body(**changes)}, code) for group, code in rows for name, changes in group.items()]


def _sealed(kind: str = Record.TYPE, to: str = RECORDS, lifetime_ms: int = RECORD_LIFETIME_MS_MAX, **changes: object) -> bytes:
    return seal(SIGNERS[0], NETWORK, kind, to, _body(**changes), WALL_MS, lifetime_ms)  # type: ignore[arg-type]


def _values() -> list[Case]:
    own = record_key(KEYS[0])
    over = WALL_MS + RECORD_LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX
    rows: list[tuple[str, bytes, bytes, int, str | None]] = [
        ("under its author's key", own, _sealed(), WALL_MS, None),
        ("under another's key", record_key(KEYS[1]), _sealed(), WALL_MS, "recipient"),
        ("under the bare public key", KEYS[0], _sealed(), WALL_MS, "recipient"),
        ("not to the topic of records", own, _sealed(to=BEACONS), WALL_MS, "recipient"),
        ("of another type", own, _sealed(kind="beacon", lifetime_ms=LIFETIME_MS_MAX), WALL_MS, "type"),
        ("a record that is over", own, _sealed(), over, "expired"),
        ("a body that breaks a rule", own, _sealed(slots=0), WALL_MS, "field"),
        ("a body with a field too many", own, _sealed(power=1), WALL_MS, "fields"),
        ("too long for the directory", own, _sealed(model="x" * 9_000), WALL_MS, "size"),
    ]
    return [
        Case("directory_value", name, {"key": key, "data": data, "network": NETWORK, "wall_ms": wall_ms}, code)
        for name, key, data, wall_ms, code in rows
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *_records(),
        *(Case("skill_key", skill, {"network": NETWORK, "skill": skill}) for skill in ("arith", "general", "été")),
        Case("record_key", "of a node", {"peer": KEYS[0]}),
        *_values(),
    ]
