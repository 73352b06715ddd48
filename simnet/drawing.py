"""What all plots of a report have in common: their style, the axis of simulated time, and faults marked on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from simnet.scenario import Fault
from simnet.svg import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simnet.finished import Run
    from simnet.record import Record

WIDTH_IN, HEIGHT_IN = 3.8, 2.5
# Faults and violations that are marked.
MARKS_MAX: Final = 20
# What time is told in, how long that is, and for runs up to which length, in milliseconds.
_UNITS: Final = (("s", 1_000, 600_000), ("min", 60_000, 5 * 3_600_000), ("h", 3_600_000, math.inf))
_LABEL_MAX: Final = 24
# Small letters that fit side by side into the width of a plot, about.
_LETTERS: Final = 60
# What a fault does, where its word in a scenario does not say it.
_FAULT_NAMES: Final = {"gray": "slow nodes", "skew": "skewed clocks", "loss": "lost messages", "crash": "crashed nodes"}
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "simnet",
    # A name of a scenario is no formula.
    "text.parse_math": False,
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.borderaxespad": 0.2,
    "text.color": colour("ink"),
    "axes.edgecolor": colour("muted"),
    "axes.labelcolor": colour("ink"),
    "xtick.color": colour("muted"),
    "ytick.color": colour("muted"),
    "xtick.labelcolor": colour("ink"),
    "ytick.labelcolor": colour("ink"),
    "grid.color": colour("grid"),
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot for a page."""

    title: str
    svg: str
    caption: str


Maker: TypeAlias = "Callable[[Run, str], Plot]"


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which something disturbs the network, in milliseconds."""

    name: str
    begin_ms: int
    end_ms: int


def spans(record: Record) -> list[Span]:
    """What the scenario plans that disturbs, by its begin: faults, adversaries, churn, and a rush of questions."""
    scenario, work = record.scenario, record.scenario.workload
    end_s = scenario.duration_s
    found = [Span(_name(fault), 1_000 * fault.at_s, 1_000 * fault.ends_s) for fault in scenario.faults]
    found += [Span(f"{each.policy}s", 1_000 * each.from_s, 1_000 * end_s) for each in scenario.adversaries]
    if scenario.churn is not None:
        found.append(Span("churn", 1_000 * scenario.churn.from_s, 1_000 * min(scenario.churn.until_s or end_s, end_s)))
    if work.rush_at_s is not None:
        found.append(Span("rush of questions", 1_000 * work.rush_at_s, 1_000 * (work.rush_at_s + work.rush_s)))
    return sorted(found, key=lambda span: (span.begin_ms, span.name))


def _name(fault: Fault) -> str:
    return _FAULT_NAMES.get(fault.kind, fault.kind)


@contextmanager
def drawing() -> Iterator[None]:
    """The style of all figures: they must be made and written within."""
    with rc_context(_STYLE):
        yield


class TimeAxis:
    """The axis of simulated time of one run, with what disturbs marked on it."""

    def __init__(self, run: Run) -> None:
        self.end_ms = max(1, run.simulated_ms)
        # The unit of which there are most, but not too many.
        self._unit, self._ms = next((name, size_ms) for name, size_ms, most_ms in _UNITS if self.end_ms < most_ms)
        self._calm_ms = 1_000 * run.record.scenario.duration_s
        self._faults = [span for span in spans(run.record) if span.end_ms - span.begin_ms < self._calm_ms]
        self._violated_ms = sorted({each.at_ms for each in run.violations})[:MARKS_MAX]

    def of(self, times_ms: Sequence[int]) -> list[float]:
        """Moments in the unit of the axis."""
        return [time_ms / self._ms for time_ms in times_ms]

    def frame(self, axes: Axes, *, label: bool = True) -> None:
        """Set the axis up, with the line from which on all is calm."""
        axes.set_xlim(0, self.end_ms / self._ms)
        if self._calm_ms < self.end_ms:
            axes.axvline(self._calm_ms / self._ms, color=colour("muted"), linestyle=(0, (4, 3)), linewidth=0.9)
        if label:
            axes.set_xlabel(f"simulated time ({self._unit})")

    def mark(self, axes: Axes, *, label: bool = True, named: bool = True) -> None:
        """Set the axis up, and mark faults and violations on it."""
        self.frame(axes, label=label)
        reach_ms = 0
        for span in self._faults:
            axes.axvspan(span.begin_ms / self._ms, span.end_ms / self._ms, color=colour("fault"), alpha=0.16, linewidth=0)
            name = label_of(span.name)
            middle_ms, half_ms = (span.begin_ms + span.end_ms) // 2, len(name) * self.end_ms // _LETTERS // 2
            if named and reach_ms <= middle_ms - half_ms and middle_ms + half_ms <= self.end_ms:
                axes.text(
                    middle_ms / self.end_ms, 1, name, ha="center", va="bottom", fontsize=7.5, color=colour("muted"),
                    transform=axes.transAxes,
                )  # fmt: skip
                reach_ms = middle_ms + half_ms
        for time_ms in self._violated_ms:
            axes.axvline(time_ms / self._ms, color=colour("bad"), linestyle=(0, (1, 2)), linewidth=1.2)


def label_of(text: str) -> str:
    """A name from a file in a figure, whose font knows what is printable in ASCII."""
    shown = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return shown if len(shown) <= _LABEL_MAX else f"{shown[: _LABEL_MAX - 3]}..."


def blank(height: float = HEIGHT_IN, width: float = WIDTH_IN) -> Figure:
    """A figure of this size in inches."""
    return Figure(figsize=(width, height))


def legend(figure: Figure, axes: Axes) -> None:
    """Above the plot, where it covers nothing."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        figure.legend(loc="outside upper left", ncols=min(3, len(handles)), columnspacing=1)


def nothing(axes: Axes, text: str) -> None:
    """Say in the place of a curve why there is none."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def plain_log(axes: Axes) -> None:
    """Ticks on a logarithmic axis as plain numbers: few over many decades, some between within one."""
    low, high = axes.get_xlim()
    decades = math.log10(max(high, 1e-9) / max(low, 1e-9))
    between = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 3.0, 5.0, 7.0)  # noqa: PLR2004
    axes.xaxis.set_major_locator(LogLocator(subs=between))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
