"""What the evaluations share: means with what they spread over, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_TAIL = 40
"""One part in so many is left out at either end of a spread: 95 % lie inside."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over splits or draws, and between which values 95 % of them lie. They overlap, so this is no confidence."""

    mean: float
    low: float
    high: float

    def json(self) -> dict[str, Any]:
        """Rounded to four places."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.mean:.4f}  {self.low:.4f}..{self.high:.4f}"


def figure(values: Sequence[float]) -> Figure:
    """Mean and spread of values that are there."""
    ordered, cut = sorted(values), len(values) // _TAIL
    return Figure(sum(values) / len(values), ordered[cut], ordered[-1 - cut])


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells, the first one the header: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = []
    for row in cells:
        first, *rest = (
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join(lines)
