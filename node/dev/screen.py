"""How a developer network shows itself: a live table on a terminal, plain lines elsewhere, nothing for JSON."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.dev.network import DevNode
from node.dev.questions import Question

_LINES_PROGRESS_S = 20.0
_TABLE_PROGRESS_S = 1.0
_EVENTS_SHOWN = 8
_TEXT_SHOWN = 30
_ANSWER_SHOWN = 14
_SHORT = 8
_SHOWN = frozenset(
    {
        "beacon",
        "bid",
        "award",
        "commit",
        "vote",
        "judgement",
        "refine",
        "lease_missed",
        "outcome",
        "peer_lost",
        "peer_connected",
    }
)


HEADING = f"{'':>9} {'skill':<6} {'question':<{_TEXT_SHOWN}} {'answer':<{_ANSWER_SHOWN}} gold  margin"


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _line(question: Question, row: dict[str, Any], done: int, total: int) -> str:
    mark = "right" if row["correct"] else "WRONG"
    text = _cut(question.text, _TEXT_SHOWN)
    margin = "-" if row["margin"] is None else f"{row['margin']:.2f}"
    answer = "-" if row["answer"] is None else _cut(str(row["answer"]), _ANSWER_SHOWN)
    return (
        f"{done:>4}/{total:<4} {question.skill:<6} {text:<{_TEXT_SHOWN}} {answer:<{_ANSWER_SHOWN}} {mark}"
        f" {margin:>4} {row['latency_ms']:>4.0f} ms{_course(row)}"
    )


def _course(row: dict[str, Any]) -> str:
    """What was not the usual course of a question, in a few words."""
    parts = {
        f"{row['dissent']} against": row["dissent"],
        f"{row['abstained']} abstained": row["abstained"],
        "one alone": row["gate"] == "alone",
        "checked": row["gate"] == "checked",
        "stopped early": row["stopped"],
        f"{row['further']} more asked": row["further"],
    }
    said = [part for part, holds in parts.items() if holds]
    return f"  {', '.join(said)}" if said else ""


class Progress:
    """Counts what is done of `total` and tells a screen now and then, with the time that is left at this pace."""

    def __init__(self, what: str, total: int, tell: Callable[[str], None], every_s: float) -> None:
        self._what = what
        self._total = total
        self._tell = tell
        self._every_s = every_s
        self._done = 0
        self._begun = self._told = time.monotonic()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._told = now
            left_s = round((now - self._begun) * (self._total - self._done) / self._done)
            self._tell(f"{self._what}: {self._done} of {self._total}, about {left_s // 60}:{left_s % 60:02d} left")


class Quiet:
    """For `--json`: progress is for people, and stdout is for the object."""

    progress_s = _LINES_PROGRESS_S

    def phase(self, text: str) -> None:
        """Phases go to stderr."""
        print(text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """And so does progress."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def asked(self, question: Question, row: dict[str, Any], done: int, total: int) -> None:
        """Nothing."""

    def event(self, event: dict[str, Any]) -> None:
        """Nothing."""


class Lines:
    """One line a question."""

    progress_s = _LINES_PROGRESS_S

    def phase(self, text: str) -> None:
        """A heading."""
        print(f"\n{text}", flush=True)

    def progress(self, text: str) -> None:
        """A line among the others."""
        print(f"  {text}", flush=True)

    def asked(self, question: Question, row: dict[str, Any], done: int, total: int) -> None:
        """The question with its answer."""
        print(_line(question, row, done, total), flush=True)

    def event(self, event: dict[str, Any]) -> None:
        """Nothing: lines tell outcomes only."""


class LiveTable:
    """A table of peers above the latest beacons, bids and votes, redrawn in place."""

    progress_s = _TABLE_PROGRESS_S

    def __init__(self, console: Console, nodes: Sequence[DevNode], weights: Mapping[str, str]) -> None:
        self._nodes = {node.peer_id: node for node in nodes}
        self._bids: Counter[str] = Counter()
        self._seats: Counter[str] = Counter()
        self._votes: Counter[str] = Counter()
        self._weights = weights
        self._gone: set[str] = set()
        self._events: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._status = ""
        self._live = Live(self._render(), console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.update(self._render())
        self._live.__exit__(None, None, None)

    def phase(self, text: str) -> None:
        """Shown above the table."""
        self._status = text
        self._live.update(self._render())

    def progress(self, text: str) -> None:
        """Shown in the place of the phase."""
        self.phase(text)

    def asked(self, question: Question, row: dict[str, Any], done: int, total: int) -> None:
        """The question with its answer."""
        self._live.console.print(_line(question, row, done, total), markup=False, soft_wrap=True)

    def event(self, event: dict[str, Any]) -> None:
        """Count it and show it."""
        name, peer = event["event"], event.get("peer", "")
        if name == "bid":
            self._bids[peer] += 1
        elif name == "award":
            self._seats[peer] += 1
        elif name == "vote":
            self._votes[peer] += 1
        elif name == "peer_lost":
            self._gone.add(peer)
        elif name == "peer_connected":
            self._gone.discard(peer)
        if name in _SHOWN and not event.get("audit"):
            who = f"{self._nodes[peer].role} {peer[-_SHORT:]}" if peer in self._nodes else peer[-_SHORT:]
            detail = " ".join(str(event[key]) for key in ("skill", "seat", "outcome", "reason") if key in event)
            self._events.append(f"{event.get('task', '')[:6]:<6} {name:<14} {who:<20} {detail}")
        self._live.update(self._render())

    def _render(self) -> Group:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in ("peer", "node", "weight", "bids", "seats", "votes"):
            table.add_column(heading, justify="right" if heading in ("bids", "seats", "votes") else "left")
        for peer_id, node in self._nodes.items():
            style = "red" if node.lies else ("dim" if peer_id in self._gone else "")
            table.add_row(
                f"…{peer_id[-_SHORT:]}",
                node.role + (" (gone)" if peer_id in self._gone else ""),
                self._weights.get(peer_id, ""),
                str(self._bids[peer_id]),
                str(self._seats[peer_id]),
                str(self._votes[peer_id]),
                style=style,
            )
        return Group(
            Text(self._status, style="bold"),
            table,
            Text("\n".join(self._events), style="dim"),
        )
