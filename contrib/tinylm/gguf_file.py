"""Writing a GGUF file, version 3: metadata, the table of tensors, aligned data.

Source of the layout: the GGUF specification of ggml. The few value types below are all that a llama model needs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Value = bool | int | float | str | Sequence[str] | Sequence[int]

_MAGIC = b"GGUF"
_VERSION = 3
_ALIGNMENT = 32
_F32 = 0
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Blocks:
    """A tensor that is quantised already: `kind` is ggml's number of its type, `shape` as numpy says it."""

    kind: int
    shape: tuple[int, ...]
    data: bytes


def write(path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, npt.NDArray[np.float32] | Blocks]) -> None:
    """Write `path`. Integers become uint32, floats float32, lists arrays of strings or of int32, arrays F32."""
    table, data = bytearray(), bytearray()
    for name, tensor in tensors.items():
        # GGUF lists dimensions from the innermost outwards.
        dimensions = tensor.shape[::-1]
        kind = tensor.kind if isinstance(tensor, Blocks) else _F32
        table += _string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, len(data))
        data += tensor.data if isinstance(tensor, Blocks) else np.ascontiguousarray(tensor, dtype="<f4").tobytes()
        data += bytes(-len(data) % _ALIGNMENT)
    header = bytearray(_MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        header += _string(key) + _value(value)
    header += table
    header += bytes(-len(header) % _ALIGNMENT)
    path.write_bytes(header + data)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Value) -> bytes:
    # bool before int: in Python a bool is an int.
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    kind = _STRING if isinstance(value[0], str) else _INT32
    items = b"".join(_string(item) if isinstance(item, str) else struct.pack("<i", item) for item in value)
    return struct.pack("<IIQ", _ARRAY, kind, len(value)) + items
