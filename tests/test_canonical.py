"""One value has one encoding: everything else is refused, and with the peer's error only."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.canonical import Value, decode, encode
from protocol.constants import DEPTH_MAX, ENVELOPE_SIZE_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError

# Surrogates are no Unicode text; the encoder refuses them, which has its own test.
texts = st.text(st.characters(codec="utf-8"), max_size=40)
leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(max_size=40)
values: st.SearchStrategy[Value] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
).filter(lambda value: depth(value) <= DEPTH_MAX)


def depth(value: Value) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=150)
@given(values)
def test_decode__gives_back_what_was_encoded(value: Value) -> None:
    data = encode(value)
    again = decode(data)
    assert again == value
    assert encode(again) == data


@settings(max_examples=60)
@given(st.dictionaries(texts, leaves, min_size=2, max_size=6))
def test_encode__does_not_depend_on_the_order_of_keys(value: dict[str, Value]) -> None:
    assert encode(dict(reversed(value.items()))) == encode(value)


def test_encode__sorts_keys_by_their_bytes() -> None:
    # U+FF5E stands before U+1F600 in UTF-8 and by code point, but after it in UTF-16, the order of other languages.
    assert list(decode(encode({"\U0001f600": 1, "\uff5e": 2, "a": 3}))) == ["a", "\uff5e", "\U0001f600"]  # type: ignore[arg-type]


NOT_CANONICAL = {
    "uint8 for a fixint": "cc05",
    "uint16 for a uint8": "cd00ff",
    "uint32 for a uint16": "ce0000ffff",
    "uint64 for a uint32": "cf00000000ffffffff",
    "int8 for a negative fixint": "d0ff",
    "int8 for a positive": "d005",
    "int16 for an int8": "d1ff80",
    "int64 for a positive": "d30000000000000001",
    "float32": "ca3f800000",
    "float64": "cb3ff0000000000000",
    "str8 for a fixstr": "d90161",
    "str16 for a fixstr": "da000161",
    "str32 for a fixstr": "db0000000161",
    "bin16 for a bin8": "c5000161",
    "bin32 for a bin8": "c60000000161",
    "array16 for a fixarray": "dc000101",
    "array32 for a fixarray": "dd0000000101",
    "map16 for a fixmap": "de0001a16101",
    "map32 for a fixmap": "df00000001a16101",
    "keys out of order": "82a16201a16101",
    "a key twice": "82a16101a16101",
    "a key twice with two values": "82a16101a16102",
    "an integer key": "810101",
    "a bytes key": "81c4016101",
    "a nil key": "81c001",
    "a list key": "819001",
    "a float key": "81cb3ff000000000000001",
    "fixext": "d40500",
    "ext8": "c7010500",
    "timestamp": "d6ff00000000",
    "timestamp of the wrong size": "c703ff000000",
    "timestamp with too many nanoseconds": "d7ffffffffff00000000",
    "the reserved byte": "c1",
    "trailing byte": "0500",
    "two values": "0505",
    "nothing": "",
    "half a string": "a561",
    "half a map": "82a16101",
    "an array that promises more than there is": "ddffffffff",
    "a map that promises more than there is": "dfffffffff",
    "bytes that promise more than there are": "c6ffffffff",
    "a surrogate in UTF-8": "a3eda080",
    "an overlong UTF-8 form": "a2c080",
    "not UTF-8": "a1ff",
}


@pytest.mark.parametrize("spelling", NOT_CANONICAL)
def test_decode__refuses_another_spelling(spelling: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(bytes.fromhex(NOT_CANONICAL[spelling]))
    assert caught.value.code == "encoding"


def nested(levels: int) -> Value:
    value: Value = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_depth__is_bounded_on_both_sides() -> None:
    assert decode(encode(nested(DEPTH_MAX))) == nested(DEPTH_MAX)
    with pytest.raises(LocalProtocolError):
        encode(nested(DEPTH_MAX + 1))
    with pytest.raises(RemoteProtocolError):
        decode(msgpack.packb(nested(DEPTH_MAX + 1)))


@pytest.mark.parametrize("levels", [500, 5_000, ENVELOPE_SIZE_MAX - 1])
def test_decode__refuses_a_tower_without_recursing_into_it(levels: int) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(b"\x91" * levels + b"\xc0")


def test_size__is_bounded_on_both_sides() -> None:
    fits = b"\x00" * (ENVELOPE_SIZE_MAX - 3)
    assert decode(encode(fits)) == fits
    with pytest.raises(LocalProtocolError):
        encode(fits + b"\x00")
    with pytest.raises(RemoteProtocolError) as caught:
        decode(msgpack.packb(fits + b"\x00"))
    assert caught.value.code == "size"


@pytest.mark.parametrize(
    "value",
    [1.0, {1: 2}, {b"a": 1}, {None: 1}, {"a": {1}}, object(), 2**64, -(2**63) - 1, "\ud800", {"\ud800": 1}, bytearray(b"a")],
    ids=repr,
)
def test_encode__refuses_what_has_no_encoding(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        encode(value)


def test_encode__refuses_a_value_that_holds_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LocalProtocolError):
        encode(loop)


@settings(max_examples=400)
@given(st.binary(max_size=80))
def test_decode__raises_nothing_but_the_peers_error(data: bytes) -> None:
    try:
        value = decode(data)
    except RemoteProtocolError:
        return
    assert encode(value) == data


@settings(max_examples=150)
@given(values, st.data())
def test_decode__of_a_damaged_encoding_is_refused_or_canonical(value: Value, draw: st.DataObject) -> None:
    data = bytearray(encode(value))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        other = decode(bytes(data))
    except RemoteProtocolError:
        return
    assert encode(other) == bytes(data)
    assert other != value or type(other) is not type(value)
