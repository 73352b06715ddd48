"""What a check found."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from node.errors import UserError


class Level(enum.Enum):
    """How bad it is: nothing to do, worth a look, or the node cannot work like this."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; the remedy is empty where there is nothing to do or the text holds it."""

    area: str
    level: Level
    text: str
    remedy: str = ""


def ok(area: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(area, Level.OK, text)


def warn(area: str, text: str, remedy: str) -> Finding:
    """The node works, but perhaps not as its owner wants."""
    return Finding(area, Level.WARN, text, remedy)


def fail(area: str, text: str, remedy: str) -> Finding:
    """The node cannot work like this."""
    return Finding(area, Level.FAIL, text, remedy)


def failure(area: str, error: UserError) -> Finding:
    """An error for people names its remedy itself."""
    return Finding(area, Level.FAIL, str(error))
