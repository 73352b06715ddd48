"""The header of a GGUF file, read without llama.cpp: what the model is, and whether the file is whole.

Source of the layout: the GGUF specification of ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.engine import EngineError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ENTRIES_MAX = 65_536
"""Metadata keys, and tensors. Real files have under 2,000 of each; a damaged count must not keep us looping."""
STRING_BYTES_MAX = 1 << 24
"""Of one metadata string that is kept; the largest in real files is a chat template, under 100 kB."""
NAME_CHARS_MAX = 64
DIMENSIONS_MAX = 4
ALIGNMENT_MAX = 1 << 16

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
# ggml type -> (values in a block, bytes of a block); a type that is not here is not measured, llama.cpp judges it.
_TENSOR_TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66), 17: (256, 74), 18: (256, 98),
    19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 29: (256, 56), 30: (1, 2),
    39: (32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """`context` is the trained length in tokens, 0 where the file does not say; `bytes_needed` the least whole size.

    `purpose` is "model" for a model that writes text, else what the file says that it is; `prompt` is our trainer's word
    on how the model is asked, empty in all other files.
    """

    name: str
    architecture: str
    quantisation: str
    context: int
    parameters: int
    parts: int
    bytes_needed: int
    purpose: str
    prompt: str
    chat_template: bool


class _Cursor:
    """Reads forward in untrusted bytes; struct.error at the end of them, like every read beyond the end here."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def number(self, layout: str) -> int | float:
        (value,) = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return value if isinstance(value, float) else int(value)

    def integer(self, layout: str) -> int:
        return int(self.number(layout))

    def skip(self, count: int) -> None:
        if count > len(self._data) - self.at:
            raise struct.error("beyond the end")
        self.at += count

    def string(self) -> str:
        length = self.integer("<Q")
        start = self.at
        self.skip(length)
        if length > STRING_BYTES_MAX:
            raise KeyError("string")
        return self._data[start : self.at].decode("utf-8", errors="replace")

    def value(self, kind: int) -> int | float | str | None:
        """One metadata value; arrays (the vocabulary) are walked over, not kept."""
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        item, count = self.integer("<I"), self.integer("<Q")
        if item == _STRING:
            for _ in range(count):
                self.skip(self.integer("<Q"))
        else:
            self.skip(count * struct.calcsize(_SCALARS[item]))
        return None


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    try:
        # Looked at before it is opened: to open a pipe waits for who writes into it, and nothing could end that wait.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise EngineError(f"model file {path} is not a plain file: name a .gguf file")
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise EngineError(f"model file {path} is empty: fetch it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except FileNotFoundError:
        raise EngineError(
            f"model file {path} does not exist: check the path, or see `tutti models list` for the packaged ones"
        ) from None
    except IsADirectoryError:
        raise EngineError(f"model file {path} is a directory: name the .gguf file in it") from None
    except OSError as error:
        raise EngineError(f"model file {path} cannot be read ({error.strerror}): check its permissions") from None


def read_header(path: Path) -> Header:
    """The header of `path`.

    EngineError if the file is missing, empty, not GGUF, damaged, truncated or one part of a split model.
    """
    with _opened(path) as data:
        if data[:4] != MAGIC:
            raise EngineError(f"model file {path} is not GGUF: give a .gguf file, or convert the model with llama.cpp")
        try:
            header = _parse(_Cursor(data), path)
        except struct.error:
            raise EngineError(f"model file {path} is truncated within its header: fetch it again") from None
        except KeyError:
            raise EngineError(f"model file {path} has a damaged header: fetch it again") from None
        if header.bytes_needed > len(data):
            raise EngineError(
                f"model file {path} is truncated: it has {len(data)} of {header.bytes_needed} bytes, fetch it again"
            )
    if header.purpose != "model":
        raise EngineError(f"model file {path} holds a model of the kind {header.purpose}: give one that writes text")
    if header.parts > 1:
        raise EngineError(f"model file {path} is split in {header.parts}: join it with llama-gguf-split --merge")
    return header


def _parse(cursor: _Cursor, path: Path) -> Header:
    cursor.skip(len(MAGIC))
    version = cursor.integer("<I")
    if version not in VERSIONS:
        raise EngineError(f"model file {path} is GGUF version {version}, which is not read here: convert it to version 3")
    tensors, keys = cursor.integer("<Q"), cursor.integer("<Q")
    if max(tensors, keys) > ENTRIES_MAX:
        raise KeyError("counts")
    metadata: dict[str, int | float | str | None] = {}
    for _ in range(keys):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.integer("<I"))
    parameters, data_bytes = _tensors(cursor, tensors)
    alignment = min(max(1, _integer(metadata, "general.alignment", 32)), ALIGNMENT_MAX)
    architecture = str(metadata.get("general.architecture", ""))
    return Header(
        name=_clean(str(metadata.get("general.name") or path.stem)) or "unnamed",
        architecture=architecture,
        quantisation=_FILE_TYPES.get(_integer(metadata, "general.file_type", -1), "unknown"),
        context=_integer(metadata, f"{architecture}.context_length", 0),
        parameters=parameters,
        parts=_integer(metadata, "split.count", 1),
        purpose=_purpose(metadata, architecture),
        prompt=str(metadata.get("tutti.prompt") or ""),
        chat_template=bool(metadata.get("tokenizer.chat_template")),
        # The padding before the tensors is there for them: a vocabulary alone has none.
        bytes_needed=-(-cursor.at // alignment) * alignment + data_bytes if data_bytes else cursor.at,
    )


def _purpose(metadata: dict[str, int | float | str | None], architecture: str) -> str:
    """What the file is good for. llama.cpp loads an embedding model, and what it then writes is noise."""
    # The specification's types of file are model, adapter, vocab, imatrix and mmproj; most files do not say.
    kind = _clean(str(metadata.get("general.type") or "model"))
    return "embedding" if kind == "model" and _integer(metadata, f"{architecture}.pooling_type", 0) > 0 else kind


def _tensors(cursor: _Cursor, count: int) -> tuple[int, int]:
    """(number of parameters, bytes of the data section that the tensors reach)."""
    parameters = reach = 0
    for _ in range(count):
        cursor.string()
        dimensions = cursor.integer("<I")
        if dimensions > DIMENSIONS_MAX:
            raise KeyError("dimensions")
        values = 1
        for _ in range(dimensions):
            values *= cursor.integer("<Q")
        block, block_bytes = _TENSOR_TYPES.get(cursor.integer("<I"), (1, 0))
        reach = max(reach, cursor.integer("<Q") + values // block * block_bytes)
        parameters += values
    return parameters, reach


def _integer(metadata: dict[str, int | float | str | None], key: str, default: int) -> int:
    value = metadata.get(key)
    return value if isinstance(value, int) else default


def _clean(name: str) -> str:
    """A name that is safe to print: a file's author must not steer the user's terminal."""
    return "".join(c for c in name if c.isprintable()).strip()[:NAME_CHARS_MAX]
