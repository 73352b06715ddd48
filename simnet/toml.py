"""Writing TOML, which the standard library only reads: of what JSON has, without null."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def value(found: Any) -> str:  # noqa: ANN401  JSON
    """A value in one line; what is None in a table is left out of it."""
    if isinstance(found, dict):
        inside = ", ".join(f"{_key(name)} = {value(item)}" for name, item in found.items() if item is not None)
        return f"{{{inside}}}"
    if isinstance(found, list):
        return "[" + ", ".join(map(value, found)) + "]"
    # A string of JSON is one of TOML, but for the one control character that JSON lets stand.
    return json.dumps(found, ensure_ascii=False).replace("\x7f", "\\u007f")


def document(found: Mapping[str, Any]) -> str:
    """A file: values first, then tables and lists of tables."""
    return "\n".join(_lines(found, "")) + "\n"


def _lines(found: Mapping[str, Any], path: str) -> Iterator[str]:
    tables = {name: item for name, item in found.items() if isinstance(item, dict)}
    lists = {name: item for name, item in found.items() if _are_tables(item)}
    for name, item in found.items():
        if item is not None and name not in tables and name not in lists:
            yield f"{_key(name)} = {value(item)}"
    for name, item in tables.items():
        yield from ("", f"[{path}{_key(name)}]")
        yield from _lines(item, f"{path}{_key(name)}.")
    for name, items in lists.items():
        for item in items:
            yield from ("", f"[[{path}{_key(name)}]]")
            yield from _lines(item, f"{path}{_key(name)}.")


def _are_tables(item: Any) -> bool:  # noqa: ANN401  JSON
    return isinstance(item, list) and bool(item) and all(isinstance(each, dict) for each in item)


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else value(name)
