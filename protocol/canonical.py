"""Canonical MessagePack: one value, one encoding (specs/02-encoding.md).

Values are None, bool, int of 64 bits, str, bytes, list and dict with str keys. There are no floats, because two
implementations need not round alike, and no extension types. Keys are sorted, every form is the shortest.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Final, TypeAlias, cast

import msgpack

from protocol.constants import DEPTH_MAX, ENVELOPE_SIZE_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError

Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value] | None"


class _NotCanonicalError(ValueError):
    pass


# One look-up for each value: most of what is encoded or decoded are these.
_SCALARS: Final = frozenset({int, str, bytes, bool, NoneType})
_KEYS: Final = frozenset({str})


def _ordered(value: object, depth: int) -> object:
    """`value` with its keys sorted; raises `_NotCanonicalError` for a type or depth that has no encoding."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    # specs/02-encoding.md: "MUST NOT nest lists and maps deeper than DEPTH_MAX levels"
    if depth >= DEPTH_MAX:
        raise _NotCanonicalError(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        if set(map(type, value)) - _KEYS:
            raise _NotCanonicalError("a key is not a string")
        # Code points and UTF-8 bytes sort alike, so this is the byte order that the spec asks for.
        items = ((key, value[key]) for key in sorted(value))
        return {key: item if type(item) in _SCALARS else _ordered(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [item if type(item) in _SCALARS else _ordered(item, depth + 1) for item in value]
    raise _NotCanonicalError(f"type {kind.__name__} has no encoding")


def _check(value: object, depth: int) -> None:
    """Raise `_NotCanonicalError` if a decoded list or map is too deep, has a type without an encoding or keys out of order.

    Its encoding is compared afterwards, which finds everything else.
    """
    if depth >= DEPTH_MAX:
        raise _NotCanonicalError(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        keys = list(value)
        if set(map(type, keys)) - _KEYS:
            raise _NotCanonicalError("a key is not a string")
        if keys != sorted(keys):
            raise _NotCanonicalError("keys are out of order")
        items: Iterable[object] = value.values()
    elif isinstance(value, list):
        items = value
    else:
        raise _NotCanonicalError(f"type {type(value).__name__} has no encoding")
    for item in items:
        if type(item) not in _SCALARS:
            _check(item, depth + 1)


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def encode(value: object, size_max: int = ENVELOPE_SIZE_MAX) -> bytes:
    """The one encoding of `value`; raises `LocalProtocolError` if it has none or is longer than `size_max` bytes."""
    return encoded(value, size_max)[0]


def encoded(value: object, size_max: int = ENVELOPE_SIZE_MAX) -> tuple[bytes, Value]:
    """The encoding, and the value that `decode` gives of it."""
    try:
        ordered = _ordered(value, 0)
        data = _pack(ordered)
    except (ValueError, OverflowError) as error:
        raise LocalProtocolError(f"cannot encode: {error}") from error
    if len(data) > size_max:
        raise LocalProtocolError(f"cannot encode: {len(data)} bytes are more than {size_max}")
    return data, cast("Value", ordered)


def decode(data: bytes, size_max: int = ENVELOPE_SIZE_MAX) -> Value:
    """The value that encodes to `data`; raises `RemoteProtocolError` for anything that `encode` would not have written.

    Comparing with a second encoding is the whole check: wrong order, long forms, duplicate keys, floats, extension
    types and trailing bytes all differ from what the encoder writes.
    """
    # specs/02-encoding.md: "MUST refuse more than ENVELOPE_SIZE_MAX bytes before it decodes them."
    if len(data) > size_max:
        raise RemoteProtocolError("size", f"{len(data)} bytes are more than {size_max}")
    try:
        value: Value = msgpack.unpackb(data, raw=False, strict_map_key=True)
        if type(value) not in _SCALARS:
            _check(value, 0)
        again = _pack(value)
    except (ValueError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise RemoteProtocolError("encoding", f"not canonical MessagePack: {error or type(error).__name__}") from error
    # specs/02-encoding.md: "MUST refuse whatever a sending node would not have written for the same value"
    if again != data:
        raise RemoteProtocolError("encoding", "not canonical MessagePack: another encoding of the same value")
    return value
