"""Text for a terminal. What peers and models wrote is data: no byte of it may steer the terminal or fake a line of ours."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TextIO

# Control sequences, with a parameter part (CSI) or a string up to its end (OSC, DCS, PM, APC, SOS), in 7 and 8 bits.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
_SHORT = 8


def clean(text: object) -> str:
    """`text` as one printable line: control sequences go, line breaks and other invisible characters become spaces."""
    visible = _SEQUENCE.sub("", str(text))
    return "".join(letter if letter.isprintable() else " " for letter in visible).strip()


def clean_lines(text: str) -> list[str]:
    """The lines of a longer text, each clean. All but the first are indented, so none passes for a line of ours."""
    lines = [clean(line) for line in _SEQUENCE.sub("", text).splitlines()] or [""]
    return [lines[0], *(f"  {line}".rstrip() for line in lines[1:])]


def brief(text: object, size: int) -> str:
    """`text` clean and cut to `size` characters."""
    line = clean(text)
    return line if len(line) <= size else f"{line[: size - 3]}..."


def short(peer_id: object) -> str:
    """The end of a peer id: the beginnings of all are alike."""
    return clean(peer_id)[-_SHORT:]


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows]


def print_lines(lines: Sequence[str], stream: TextIO | None = None) -> None:
    """Lines for the person, on stdout unless told otherwise."""
    for line in lines:
        print(line, file=stream)


def print_json(value: object) -> None:
    """One JSON value on stdout; ASCII only, so nothing in it can steer a terminal either."""
    indent = 2 if sys.stdout is not None and sys.stdout.isatty() else None
    print(json.dumps(value, indent=indent), flush=True)


def number(count: int, noun: str) -> str:
    """`1 peer`, `3 peers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Bytes for people, in powers of ten."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1_000:  # noqa: PLR2004  the base of the units
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} GB"
