"""The signed envelope: specs/03-envelope.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation, Repeated
from contrib.vectors.keys import BEACON_ID, KEYS, NETWORK, SEEDS, SIGNERS, TASK, WALL_MS
from protocol import canonical
from protocol.constants import CLOCK_SKEW_MS_MAX, ENVELOPE_SIZE_MAX, LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.envelope import DOMAIN, check_for, check_fresh, envelope_id, open_envelope, seal
from protocol.identity import KeySigner
from protocol.messages import Accept
from protocol.outbox import BEACONS, FAULTS, HEADS, RECORDS

DOCUMENT: Final = "03-envelope.md"
_SIGNER, _ME = SIGNERS[0], KEYS[1]
_BODY: Final = Accept(TASK, 0, 0, BEACON_ID).body()


def _seal(
    seed: bytes, network: bytes, kind: str, to: bytes | str, body: dict[str, canonical.Value], issued_ms: int, expires_ms: int
) -> dict[str, object]:
    data = seal(KeySigner(seed), network, kind, to, body, issued_ms, expires_ms - issued_ms)
    return {"data": data, "id": envelope_id(data)}


def _open(data: bytes, network: bytes, key: bytes, wall_ms: int) -> dict[str, object]:
    """Checks 1 to 9 of the document, by a node whose key is `key`."""
    opened = open_envelope(data)
    check_for(opened, network, frozenset((key, BEACONS, FAULTS, HEADS, RECORDS)))
    check_fresh(opened, wall_ms)
    names = ("id", "network", "type", "sender", "to", "issued_ms", "expires_ms", "body")
    return {name: getattr(opened, name) for name in names}


OPERATIONS: Final[dict[str, Operation]] = {"seal": _seal, "open": _open}


def _fields(**changes: object) -> dict[str, object]:
    """The fields of an envelope that opens, but for `changes`; one that is None is left out."""
    fields: dict[str, object] = {
        "body": _BODY,
        "expires_ms": WALL_MS + LIFETIME_MS_MAX,
        "issued_ms": WALL_MS,
        "network": NETWORK,
        "sender": _SIGNER.public_key,
        "to": _ME,
        "type": Accept.TYPE,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def _signed(**changes: object) -> bytes:
    payload = canonical.encode(_fields(**changes))
    return _SIGNER.sign(DOMAIN + payload) + payload


def _opening(name: str, data: bytes | Repeated, code: str | None = None, wall_ms: int = WALL_MS) -> Case:
    return Case("open", name, {"data": data, "network": NETWORK, "key": _ME, "wall_ms": wall_ms}, code)


def _sealed() -> list[Case]:
    given = {"seed": SEEDS[0], "network": NETWORK, "to": _ME, "body": _BODY, "issued_ms": WALL_MS}
    times = {"issued_ms": WALL_MS, "expires_ms": WALL_MS + LIFETIME_MS_MAX}
    return [
        Case("seal", "to a node", given | times | {"kind": Accept.TYPE}),
        Case("seal", "to a topic", given | times | {"kind": "beacon", "to": BEACONS}),
        Case("seal", "one millisecond", given | {"expires_ms": WALL_MS + 1, "kind": "cancel", "body": {}}),
    ]


def _times() -> list[Case]:
    skew, end = CLOCK_SKEW_MS_MAX, WALL_MS + LIFETIME_MS_MAX
    record_end = WALL_MS + RECORD_LIFETIME_MS_MAX
    return [
        _opening("issued as far ahead as clocks may differ", _signed(), wall_ms=WALL_MS - skew),
        _opening("issued a millisecond further ahead", _signed(), "future", WALL_MS - skew - 1),
        _opening("over for as long as clocks may differ, less one", _signed(), wall_ms=end + skew - 1),
        _opening("over for as long as clocks may differ", _signed(), "expired", end + skew),
        _opening("lives a millisecond too long", _signed(expires_ms=end + 1), "lifetime"),
        _opening("a record lives longer", _signed(type="record", to=RECORDS, expires_ms=record_end)),
        _opening("a record that lives too long", _signed(type="record", to=RECORDS, expires_ms=record_end + 1), "lifetime"),
    ]


def _opened() -> list[Case]:
    return [
        _opening("to a node", _signed()),
        _opening("to the topic beacons", _signed(type="beacon", to=BEACONS)),
        _opening("to the topic faults", _signed(type="fault", to=FAULTS)),
        _opening("to all to whom there is a channel", _signed(type="heads", to=HEADS)),
        _opening("of an unknown type", _signed(type="riddle")),
        _opening("of an empty type", _signed(type="", body={})),
        *_times(),
    ]


def _bytes() -> list[Case]:
    good = _signed()
    changed = bytearray(good)
    changed[-1] ^= 1
    other = SIGNERS[2].sign(DOMAIN + good[64:])
    long_form = good[:64] + good[64:].replace(b"\xa4plan\x00", b"\xa4plan\xcc\x00")
    resigned = _SIGNER.sign(DOMAIN + long_form[64:]) + long_form[64:]
    too_long = Repeated(((bytes(64), 1), (b"\xdb\x00\x01\x00\x00", 1), (b"a", ENVELOPE_SIZE_MAX)))
    return [
        _opening("nothing", b"", "size"),
        _opening("a signature alone", good[:64], "size"),
        _opening("a payload that is too long", too_long, "size"),
        _opening("cut short", good[:-1], "encoding"),
        _opening("a byte left over", good + b"\x00", "encoding"),
        _opening("another encoding of the same values, signed", resigned, "encoding"),
        _opening("one bit of the payload", bytes(changed), "signature"),
        _opening("one bit of the signature", bytes([good[0] ^ 1]) + good[1:], "signature"),
        _opening("signed by another key", other + good[64:], "signature"),
        _opening("signed without the domain", _SIGNER.sign(good[64:]) + good[64:], "signature"),
    ]


def _wrong_fields() -> list[Case]:
    rows: dict[str, dict[str, object]] = {
        "a field is missing": {"type": None},
        "a field too many": {"hops": 1},
        "a body that is no map": {"body": []},
        "a network of 31 bytes": {"network": NETWORK[:31]},
        "a network that is a string": {"network": NETWORK.hex()},
        "a sender of 33 bytes": {"sender": _SIGNER.public_key + b"\x00"},
        "a recipient of 31 bytes": {"to": _ME[:31]},
        "a recipient that is an integer": {"to": 1},
        "a type that is bytes": {"type": b"accept"},
        "times that are equal": {"expires_ms": WALL_MS},
        "a negative time": {"issued_ms": -1},
        "a time above 2^53": {"expires_ms": 2**53 + 1},
        "a time that is a boolean": {"issued_ms": False},
        "a time that is a string": {"expires_ms": str(WALL_MS)},
    }
    return [_opening(name, _signed(**changes), "envelope") for name, changes in rows.items()]


def _refused() -> list[Case]:
    small = (1).to_bytes(32, "little")
    not_a_map = canonical.encode([_BODY])
    return [
        *_bytes(),
        _opening("a list of fields", _SIGNER.sign(DOMAIN + not_a_map) + not_a_map, "envelope"),
        *_wrong_fields(),
        _opening("a sender of small order", _signed(sender=small), "key"),
        _opening("of another network", _signed(network=bytes(32)), "network"),
        _opening("for another node", _signed(to=KEYS[2]), "recipient"),
        _opening("for its own sender", _signed(to=_SIGNER.public_key), "recipient"),
        _opening("for an unknown topic", _signed(to="riddles"), "recipient"),
        # The order of the checks decides which code is counted.
        _opening("of another network, for another node and over", _signed(network=bytes(32), to=KEYS[2]), "network", 2**52),
        _opening("lives too long and is over", _signed(expires_ms=WALL_MS + LIFETIME_MS_MAX + 1), "lifetime", 2**52),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_sealed(), *_opened(), *_refused()]
