"""What is signed, changed and signed again by the same key, so that made-up content gets past the signature check.

The keys are those of the nodes of the recorded run. Signed things hold others as bytes (an opening holds envelopes, a receipt
all of a task), so what is inside is changed and signed again as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from contrib.fuzz.draw import Draw
from protocol import canonical, envelope, ledger, receipt
from protocol.canonical import Value
from protocol.constants import RECEIPT_SIZE_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import SIGNATURE_SIZE, KeySigner

# The field that names the signer tells what kind of thing is signed.
_DOMAINS: Final[dict[str, bytes]] = {"sender": envelope.DOMAIN, "author": ledger.DOMAIN, "requester": receipt.DOMAIN}
_INSIDE_SIZE_MIN: Final = SIGNATURE_SIZE + 40


def changed(draw: Draw, data: bytes, keys: Mapping[bytes, KeySigner], known: Sequence[bytes] = ()) -> bytes:
    """`data` with one to three changes of its content, and a signature that holds if the signer is one of `keys`."""
    fields = _fields(data)
    if fields is None:
        return draw.flipped(data)
    value: Value = fields
    for _ in range(1 + draw.below(3)):
        inner = [name for name in sorted(fields) if holds_signed(fields[name])]
        if inner and draw.below(2):
            name = draw.choice(inner)
            value = fields | {name: changed_inside(draw, fields[name], keys, known)}
        else:
            value = draw.changed(value, known)
        if not isinstance(value, dict):
            break
        fields = value
    return sealed(value, data[:SIGNATURE_SIZE], keys)


def sealed(value: Value, signature: bytes, keys: Mapping[bytes, KeySigner]) -> bytes:
    """The signed bytes around `value`; `signature` stands where nobody can sign."""
    try:
        payload = canonical.encode(value, RECEIPT_SIZE_MAX)
    except LocalProtocolError:
        return signature
    for field, domain in _DOMAINS.items():
        signer = value.get(field) if isinstance(value, dict) else None
        if isinstance(signer, bytes) and signer in keys:
            return keys[signer].sign(domain + payload) + payload
    return signature + payload


def _fields(data: bytes) -> dict[str, Value] | None:
    try:
        value = canonical.decode(data[SIGNATURE_SIZE:], RECEIPT_SIZE_MAX)
    except RemoteProtocolError:
        return None
    return value if isinstance(value, dict) and any(field in value for field in _DOMAINS) else None


def holds_signed(value: Value) -> bool:
    """Whether something signed stands in `value`."""
    if isinstance(value, bytes):
        return len(value) >= _INSIDE_SIZE_MIN and _fields(value) is not None
    if isinstance(value, list):
        return any(map(holds_signed, value))
    return isinstance(value, dict) and any(map(holds_signed, value.values()))


def changed_inside(draw: Draw, value: Value, keys: Mapping[bytes, KeySigner], known: Sequence[bytes]) -> Value:
    """One of the signed things in `value` changed; `value` itself if it holds none."""
    if not holds_signed(value):
        return value
    if isinstance(value, bytes):
        return changed(draw, value, keys, known)
    if isinstance(value, list):
        place = draw.choice([number for number, item in enumerate(value) if holds_signed(item)])
        return [*value[:place], changed_inside(draw, value[place], keys, known), *value[place + 1 :]]
    assert isinstance(value, dict)
    name = draw.choice([name for name in sorted(value) if holds_signed(value[name])])
    return value | {name: changed_inside(draw, value[name], keys, known)}
