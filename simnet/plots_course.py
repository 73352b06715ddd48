"""The plots of a run's course: what disturbed it, who was there, and what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simnet.drawing import MARKS_MAX, Plot, TimeAxis, blank, label_of, spans
from simnet.svg import colour, inline

if TYPE_CHECKING:
    from simnet.finished import Run


def timeline(run: Run, key: str) -> Plot:
    """Everything that disturbs, and violations, by time."""
    time, found = TimeAxis(run), spans(run.record)[:MARKS_MAX]
    rows = [*(label_of(span.name) for span in found), *(["violations"] if run.violations else [])]
    figure = blank(0.75 + 0.26 * max(1, len(rows)))
    axes = figure.subplots()
    time.frame(axes)
    for row, span in enumerate(found):
        begin, end = time.of([span.begin_ms, span.end_ms])
        axes.barh(row, end - begin, left=begin, height=0.55, color=colour("fault"), linewidth=0)
    if run.violations:
        at = time.of([each.at_ms for each in run.violations])
        axes.plot(at, [len(found)] * len(at), "x", color=colour("bad"), markersize=5, clip_on=False)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    if not rows:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing disturbs this run", ha="center", va="center", transform=axes.transAxes)
    caption = (
        "Each bar is a time in which something disturbs the network. The same times are shaded in the plots over time, "
        "unless they last for the whole run. From the dashed line on all is calm: links are whole and everybody is back."
    )
    if run.violations:
        caption += " A red cross, and a dotted red line in the plots over time, is a moment at which something did not hold."
    return Plot("What disturbs the network, and when", inline(figure, "Timeline of faults", key), caption)


def presence(run: Run, key: str) -> Plot:
    """Nodes that are up, and channels."""
    time, series = TimeAxis(run), run.record.moments
    figure = blank()
    upper, lower = figure.subplots(2, sharex=True)
    for axes, values, tint, name in ((upper, series.up, "blue", "nodes up"), (lower, series.channels, "violet", "channels")):
        time.mark(axes, label=axes is lower, named=axes is upper)
        axes.step(time.of(series.at_ms), values, where="post", color=colour(tint), linewidth=1.4)
        axes.set_ylim(0, max(1, *values) * 1.1)
        axes.set_ylabel(name)
    caption = (
        "Above the nodes that run, below the channels between two nodes. A dip above is nodes that went down; a dip below "
        "alone is channels that broke while their nodes ran."
    )
    return Plot("Nodes and channels over time", inline(figure, "Nodes up and channels over time", key), caption)


def traffic(run: Run, key: str) -> Plot:
    """What went over channels."""
    time, series = TimeAxis(run), run.record.moments
    figure = blank()
    upper, lower = figure.subplots(2, sharex=True)
    waits_s = [(b - a) / 1_000 for a, b in zip(series.at_ms, series.at_ms[1:], strict=False)]
    for axes, values, name in (
        (upper, series.messages, "messages / s"),
        (lower, [size / 1_000 for size in series.message_bytes], "kB / s"),
    ):
        rates = [value / wait_s for value, wait_s in zip(values[1:], waits_s, strict=True)]
        time.mark(axes, label=axes is lower, named=axes is upper)
        axes.step(time.of(series.at_ms[:-1]), rates, where="post", color=colour("blue"), linewidth=1.2)
        axes.set_ylim(0, max([1, *rates]) * 1.1)
        axes.set_ylabel(name)
    caption = (
        "What all nodes together send over their channels, gossip apart. Peaks without questions are nodes that meet, audit "
        "each other, or catch up after a fault."
    )
    return Plot("Messages over time", inline(figure, "Messages and bytes over time", key), caption)
