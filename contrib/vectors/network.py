"""Genesis and signed parameters of a network: specs/10-network.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, SIGNERS
from protocol import canonical
from protocol.constants import AUDITORS_MAX, OPTIONS_MAX, TOKENS_MAX
from protocol.genesis import Genesis
from protocol.identity import KeySigner, peer_id
from protocol.parameters import DOMAIN, Parameters

DOCUMENT: Final = "10-network.md"


def _genesis(name: str, founder: bytes, nonce: bytes) -> bytes:
    return Genesis.parse({"name": name, "founder": founder, "nonce": nonce}).network


def _parameters(genesis: dict[str, canonical.Value], body: dict[str, canonical.Value], signature: bytes) -> int:
    parameters = Parameters.parse(Genesis.parse(genesis), body)
    parameters.check(signature)
    return parameters.revision


OPERATIONS: Final[dict[str, Operation]] = {"network": _genesis, "parameters": _parameters}

_FOUNDER: Final = SIGNERS[0]
_GENESIS: Final[dict[str, canonical.Value]] = {"name": "quartet", "founder": KEYS[0], "nonce": bytes(range(16))}
_SKILL: Final[dict[str, object]] = {
    "answer": "number",
    "options": 10,
    "tokens_max": 256,
    "examples": ["What is 2 + 2?"],
    "exercises": ["arith/add", "lists/max", "riddles/hard"],
}


def _body(revision: object = 1, similarity_min: object = 400, name: str = "sums", **changes: object) -> dict[str, object]:
    return {"revision": revision, "similarity_min": similarity_min, "skills": {name: _SKILL | changes}}


def _signature(body: dict[str, object], network: bytes | None = None, domain: bytes = DOMAIN) -> bytes:
    of = Genesis.parse(_GENESIS).network if network is None else network
    return _FOUNDER.sign(domain + canonical.encode({"network": of} | body))


def _signed(name: str, body: dict[str, object], code: str | None = None, signature: bytes | None = None) -> Case:
    given = {"genesis": _GENESIS, "body": body, "signature": _signature(body) if signature is None else signature}
    return Case("parameters", name, given, code)


def _networks() -> list[Case]:
    rows: list[tuple[str, str, bytes, bytes, str | None]] = [
        ("the preset dev", "dev", bytes(32), bytes(16), None),
        ("a founded one", "quartet", KEYS[0], bytes(range(16)), None),
        ("another nonce", "quartet", KEYS[0], bytes(16), None),
        ("the longest name", "0" * 32, KEYS[0], bytes(16), None),
        ("a name of 33 letters", "0" * 33, KEYS[0], bytes(16), "field"),
        ("an empty name", "", KEYS[0], bytes(16), "field"),
        ("a hyphen first", "-quartet", KEYS[0], bytes(16), "field"),
        ("upper case", "Quartet", KEYS[0], bytes(16), "field"),
        ("a line end after the name", "quartet\n", KEYS[0], bytes(16), "field"),
        ("a founder of 31 bytes", "quartet", KEYS[0][:31], bytes(16), "field"),
        ("a nonce of 17 bytes", "quartet", KEYS[0], bytes(17), "field"),
    ]
    return [
        Case("network", name, {"name": given, "founder": founder, "nonce": nonce}, code)
        for name, given, founder, nonce, code in rows
    ]


def _auditors() -> list[Case]:
    first, second = (peer_id(key) for key in sorted(KEYS[:2]))
    many = [peer_id(key) for key in sorted(KeySigner(bytes([number]) * 32).public_key for number in range(AUDITORS_MAX + 1))]
    rows: dict[str, tuple[object, str | None]] = {
        "two auditors": ([first, second], None),
        "as many auditors as there may be": (many[:-1], None),
        "an auditor too many": (many, "field"),
        "an empty list of auditors": ([], "field"),
        "auditors out of order": ([second, first], "field"),
        "an auditor twice": ([first, first], "field"),
        "an auditor that is no peer id": (["quartet"], "peer_id"),
        "an auditor of small order": ([peer_id((1).to_bytes(32, "little"))], "key"),
        "an auditor as a key": ([KEYS[0]], "field"),
    }
    return [_signed(name, _body() | {"auditors": auditors}, code) for name, (auditors, code) in rows.items()]


def _refused() -> list[Case]:
    plain = _body()
    other = Genesis("quartet", KEYS[0], bytes(16)).network
    fields = {
        "revision 0": _body(revision=0),
        "a similarity above a thousand": _body(similarity_min=1_001),
        "a similarity that is a boolean": _body(similarity_min=True),
        "a skill that is called general": _body(name="general"),
        "a skill's name in upper case": _body(name="Sums"),
        "one option": _body(options=1),
        "too many options": _body(options=OPTIONS_MAX + 1),
        "too many tokens": _body(tokens_max=TOKENS_MAX + 1),
        "an unknown type of answer": _body(answer="poem"),
        "an exercise without a family": _body(exercises=["arith"]),
        "an exercise of another type of answer": _body(exercises=["logic/parity"]),
        "a list among exercises of numbers": _body(exercises=["lists/max", "lists/sort"]),
        "a composite exercise of another type": _body(exercises=["composite/top_two"]),
        "numbers for a list": _body(answer="list", exercises=["arith/add"]),
        "plans for a choice": _body(answer="choice", exercises=["plan/plan_scaled"]),
        "a skill with a field too many": _body(power=1),
    }
    return [
        *(_signed(name, body, "field") for name, body in fields.items()),
        _signed("a field too many", plain | {"judges": []}, "fields"),
        _signed("signed for another network", plain, "signature", _signature(plain, network=other)),
        _signed("signed without the domain", plain, "signature", _signature(plain, domain=b"")),
        _signed("another revision than was signed", _body(revision=2), "signature", _signature(plain)),
        _signed("signed by another", plain, "signature", SIGNERS[1].sign(b"")),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *_networks(),
        _signed("a skill", _body()),
        _signed("composite exercises of numbers", _body(exercises=["composite/scaled", "composite/two_lists"])),
        _signed("an exercise of plans", _body(answer="plan", exercises=["plan/plan_scaled"])),
        _signed("no skill", {"revision": 7, "similarity_min": 0, "skills": {}}),
        *_auditors(),
        *_refused(),
    ]
