"""The form of a vector: an operation, its named input, and the output or the code of the error.

Values are JSON, with marks for what JSON cannot say: `{"$hex": ".."}` is bytes, `{"$integer": ".."}` an integer beyond 2^53,
`{"$repeat": [[".." in hex, times], ..]}` long bytes and `{"$shared": n}` bytes that stand in the file's list `shared`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from protocol.errors import RemoteProtocolError

# Beyond, an integer is no longer exact where JSON's numbers are floating.
_EXACT_MAX: Final = 2**53
# Shorter bytes are easier to read where they stand.
_SHARED_SIZE_MIN: Final = 16

Operation: TypeAlias = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Bytes too long to be written out: each part so many times, one after the other."""

    parts: tuple[tuple[bytes, int], ...]

    @property
    def data(self) -> bytes:
        """The bytes themselves."""
        return b"".join(part * times for part, times in self.parts)


@dataclass(frozen=True, slots=True)
class Case:
    """One vector. `code` is that of the refusal which the specs ask for, None where there must be an output."""

    operation: str
    name: str
    input: Mapping[str, object]
    code: str | None = None


def _to_json(value: object, shared: Mapping[bytes, int]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Repeated):
        return {"$repeat": [[part.hex(), times] for part, times in value.parts]}
    if isinstance(value, bytes):
        return {"$shared": shared[value]} if value in shared else {"$hex": value.hex()}
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_MAX else {"$integer": str(value)}
    if isinstance(value, Mapping):
        return {key: _to_json(item, shared) for key, item in value.items()}
    assert isinstance(value, Sequence), value
    return [_to_json(item, shared) for item in value]


def _plain(value: object) -> object:
    """The input as an operation takes it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.data if isinstance(value, Repeated) else value


def answered(case: Case, operation: Operation) -> dict[str, object]:
    """What one line says: the case, and the output or the code that the operation gives."""
    given = {name: _plain(value) for name, value in case.input.items()}
    row: dict[str, object] = {"operation": case.operation, "name": case.name, "input": case.input}
    try:
        row["output"] = operation(**given)
    except RemoteProtocolError as error:
        row["code"] = error.code
    return row


def _checked(case: Case, row: dict[str, object]) -> dict[str, object]:
    # What a case is for is written down by hand; a change of the code cannot turn a refusal into an output unseen.
    assert row.get("code") == case.code, f"{case.operation}: {case.name}: {row.get('code')}, not {case.code}"
    return row


def _long_bytes(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes) and len(value) >= _SHARED_SIZE_MIN:
        yield value
    elif isinstance(value, Mapping):
        yield from (found for item in value.values() for found in _long_bytes(item))
    elif isinstance(value, list | tuple):
        yield from (found for item in value for found in _long_bytes(item))


def render(document: str, operations: Mapping[str, Operation], cases: Sequence[Case], *, share: bool = False) -> str:
    """The text of one file: one case a line, so that a change shows as the lines that it changed.

    If it may `share`, long bytes that stand there more than once are written once, in front.
    """
    names = [(case.operation, case.name) for case in cases]
    assert len(set(names)) == len(names), f"{document}: two cases of one name"
    assert {case.operation for case in cases} == operations.keys(), f"{document}: an operation without a case"
    rows = [_checked(case, answered(case, operations[case.operation])) for case in cases]
    return written(document, rows, share=share)


def written(document: str, rows: Sequence[Mapping[str, object]], *, share: bool = False) -> str:
    """The same of lines that are there already."""
    counted = Counter(_long_bytes([row["input"] for row in rows]) if share else ())
    shared = {data: place for place, data in enumerate(data for data, count in counted.items() if count > 1)}
    head: dict[str, object] = {"document": document} | ({"shared": [data.hex() for data in shared]} if share else {})
    lines = ",\n".join(json.dumps(_to_json(row, shared), ensure_ascii=False) for row in rows)
    return f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n'
