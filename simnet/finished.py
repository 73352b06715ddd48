"""A run that is over, as `simnet run --json` printed it: read back from its file for a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simnet.checking import Kind
from simnet.record import Count, Record
from simnet.scenario import ScenarioError

FILE_SIZE_MAX: Final = 64 << 20
_ERRORS_SHOWN: Final = 5

Number: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    # What another version adds is no fault.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Violation(_Part):
    """What did not hold."""

    kind: Kind
    checker: str
    at_ms: Count
    node: str
    text: str


class Happened(_Part):
    """Something that a reader wants to know of."""

    at_ms: Count
    text: str


class Latency(_Part):
    """Of the questions that ended, in milliseconds."""

    p50: Count | None
    p99: Count | None


class Run(_Part):
    """What a report tells of: the fields of `simnet run --json` (simnet/report.py)."""

    scenario: str
    seed: Count
    nodes: Count
    source: str
    digest: str
    questions: Count
    outcomes: dict[str, Count]
    ended: Count
    right: Count
    accuracy: Number | None
    accuracy_interval: tuple[Number, Number] | None
    latency_ms: Latency
    messages_per_task: Number | None
    bytes_per_task: Number | None
    tokens_per_task: Number | None
    violations: tuple[Violation, ...]
    happened: tuple[Happened, ...]
    simulated_ms: Count
    events: Count
    cpu_s: Number
    repeat: str
    record: Record

    @classmethod
    def read(cls, path: Path) -> Self:
        """The run in a file; raises `ScenarioError` if it holds none, or one without its course."""
        found = _json(path)
        if not isinstance(found, dict) or not isinstance(found.get("repeat"), str):
            raise ScenarioError(f"{path} is no run: it must hold what `simnet run --json` printed")
        if "record" not in found:
            raise ScenarioError(
                f"{path} was written by an older simnet, which did not record what a report shows; "
                f"repeat the run: {found['repeat']} --json > {path}"
            )
        try:
            return cls.model_validate_json(json.dumps(found))
        except ValidationError as error:
            lines = [
                f"{path}: {'.'.join(map(str, each['loc']))}: {str(each['msg']).removeprefix('Value error, ')}"
                for each in error.errors()[:_ERRORS_SHOWN]
            ]
            raise ScenarioError("\n".join(lines)) from error


def _json(path: Path) -> Any:  # noqa: ANN401  JSON
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise ScenarioError(f"{path} has more than {FILE_SIZE_MAX >> 20} MiB: that is no run")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{path} is no run: it must hold what `simnet run --json` printed") from error
