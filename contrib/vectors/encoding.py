"""Canonical MessagePack: specs/02-encoding.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation, Repeated
from protocol import canonical
from protocol.constants import DEPTH_MAX, ENVELOPE_SIZE_MAX

DOCUMENT: Final = "02-encoding.md"
OPERATIONS: Final[dict[str, Operation]] = {"encode": canonical.encode, "decode": canonical.decode}

_INTEGERS: Final = (
    *(0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1),
    *(-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**53) - 1, -(2**63)),
)
_BOM: Final = "\ufeff"


def _nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def _encodings() -> list[Case]:
    values: dict[str, object] = {
        "nil": None,
        "true": True,
        "false": False,
        "empty string": "",
        "string of 31 bytes": "x" * 31,
        "string of 32 bytes": "x" * 32,
        "string of 255 bytes": "x" * 255,
        "string of 256 bytes": "x" * 256,
        "bytes, not characters": "é" * 16,
        "a character beyond 16 bits": "\U0001d11e",
        "a NUL in a string": "a\x00b",
        "a long string after a byte order mark": _BOM + "x" * 300,
        "no bytes": b"",
        "255 bytes": b"x" * 255,
        "256 bytes": b"x" * 256,
        "empty list": [],
        "list of 15": list(range(15)),
        "list of 16": list(range(16)),
        "empty map": {},
        "map of 15": {f"{number:02}": number for number in range(15)},
        "map of 16": {f"{number:02}": number for number in range(16)},
        "keys by bytes": {"b": 1, "a": [True, b"\x01", "é"], "": 0, "aa": 2, "B": 3},
        "keys that look like numbers": {"10": 1, "9": 2, "!": 3},
        "keys by UTF-8, not by UTF-16": {"\uffee": 1, "\U0001d11e": 2},
        "a key with another meaning elsewhere": {"__proto__": 1},
        f"{DEPTH_MAX} levels": _nested(DEPTH_MAX),
    }
    values |= {f"integer {number}": number for number in _INTEGERS}
    encodings = [Case("encode", name, {"value": value}) for name, value in values.items()]
    return encodings + [Case("decode", name, {"data": canonical.encode(value)}) for name, value in values.items()]


def _refusals() -> list[Case]:
    hexes = {
        "nothing": "",
        "127 as uint 8": "cc7f",
        "127 as int 8": "d07f",
        "128 as int 16": "d10080",
        "255 as uint 16": "cd00ff",
        "65535 as uint 32": "ce0000ffff",
        "2^32 - 1 as uint 64": "cf00000000ffffffff",
        "2^32 as int 64": "d30000000100000000",
        "-1 as int 8": "d0ff",
        "-32 as int 8": "d0e0",
        "-33 as int 16": "d1ffdf",
        "-129 as int 32": "d2ffffff7f",
        "-2^31 as int 64": "d3ffffffff80000000",
        "a as str 8": "d90161",
        "a as str 16": "da000161",
        "a as str 32": "db0000000161",
        "one byte as bin 16": "c5000101",
        "one byte as bin 32": "c60000000101",
        "a list as array 16": "dc000101",
        "a list as array 32": "dd0000000101",
        "a map as map 16": "de0001a16101",
        "a map as map 32": "df00000001a16101",
        "keys out of order": "82a16201a16101",
        "the longer key first": "82a2616101a16102",
        "a key twice": "82a16101a16102",
        "an inner map out of order": "91" + "82a16201a16101",
        "a key that is an integer": "810101",
        "a key that is bytes": "81c4016101",
        "a key that is nil": "81c001",
        "float 32": "ca3f800000",
        "float 64": "cb3ff0000000000000",
        "a float in a list": "91cb3ff0000000000000",
        "NaN": "cb7ff8000000000000",
        "the unused byte": "c1",
        "fixext 1": "d40100",
        "ext 8": "c7010100",
        "a timestamp": "d6ff00000000",
        "a byte left over": "8000",
        "two values": "c0c0",
        "a string cut short": "a361",
        "bytes cut short": "c40201",
        "a list cut short": "92c0",
        "a map without its value": "81a161",
        "a head cut short": "cd00",
        "a list of 2^32 - 1": "ddffffffff",
        "UTF-8: a lone continuation": "a180",
        "UTF-8: an overlong NUL": "a2c080",
        "UTF-8: a surrogate": "a3eda080",
        "UTF-8: beyond U+10FFFF": "a4f4908080",
        "UTF-8: cut short": "a2e282",
        "UTF-8: in a key": "81a1ff01",
        f"{DEPTH_MAX + 1} levels": "91" * DEPTH_MAX + "90",
    }
    too_long = Repeated(((b"\xdb\x00\x01\x00\x00", 1), (b"a", ENVELOPE_SIZE_MAX)))
    deep = Repeated(((b"\x91", 4_096), (b"\xc0", 1)))
    return [
        *(Case("decode", name, {"data": bytes.fromhex(text)}, "encoding") for name, text in hexes.items()),
        Case("decode", "4096 levels", {"data": deep}, "encoding"),
        Case("decode", "longer than an envelope", {"data": too_long}, "size"),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_encodings(), *_refusals()]
