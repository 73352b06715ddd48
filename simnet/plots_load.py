"""The plots of who does how much, and of what askers believe of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simnet.drawing import Plot, TimeAxis, blank, label_of, legend, nothing
from simnet.svg import colour, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simnet.finished import Run
    from simnet.record import Belief


def load(run: Run, key: str) -> Plot:
    """Who works how much."""
    record = run.record
    bad = [record.kinds[kind].adversary for kind in record.nodes.kind]
    figure = blank()
    axes = figure.subplots()
    _steps(axes, record.nodes.inferences, bad)
    axes.set(xlabel="nodes, the busiest first", ylabel="inferences")
    if any(bad):
        legend(figure, axes)
    fair = "" if record.fairness is None else f" Jain's fairness index of the honest nodes is {record.fairness / 1_000:.2f}."
    caption = (
        "Each step is a node, as high as the number of times that its model ran, for questions and audits. A flat top is a "
        f"load evenly shared.{fair} It is 1 where all do the same, and near 0 where one does everything."
    )
    return Plot("Who does the work", inline(figure, "Inferences by node", key), caption)


def uplink(run: Run, key: str) -> Plot:
    """Who sends how much."""
    record = run.record
    bad = [record.kinds[kind].adversary for kind in record.nodes.kind]
    figure = blank()
    axes = figure.subplots()
    _steps(axes, [size / 1e6 for size in record.nodes.sent_bytes], bad)
    axes.set(xlabel="nodes, those that send most first", ylabel="sent over channels (MB)")
    if any(bad):
        legend(figure, axes)
    caption = "Each step is a node, as high as what it sent over its channels in the whole run; gossip comes on top of that."
    return Plot("Who sends how much", inline(figure, "Bytes sent by node", key), caption)


def _steps(axes: Axes, values: Sequence[float], bad: Sequence[bool]) -> None:
    """A step for each node, by size: first honest ones, then adversaries."""
    begin = 0
    for wanted, tint, name in ((False, "blue", "honest nodes"), (True, "bad", "adversaries")):
        group = sorted((value for value, is_bad in zip(values, bad, strict=True) if is_bad is wanted), reverse=True)
        if group:
            axes.stairs(group, range(begin, begin + len(group) + 1), fill=True, color=colour(tint), label=name, linewidth=0)
            begin += len(group)
    axes.set_xlim(0, max(1, begin))
    axes.set_ylim(0, max([1e-3, *values]) * 1.06)


def load_by_kind(run: Run, key: str) -> Plot:
    """Votes in questions by kind of node."""
    record = run.record
    figure = blank(max(1.4, 0.7 + 0.24 * len(record.kinds)))
    axes = figure.subplots()
    for row, kind in enumerate(record.kinds):
        members = [count for count, of in zip(record.nodes.answers, record.nodes.kind, strict=True) if of == row]
        tint = colour("bad" if kind.adversary else "blue")
        if members:
            mean = sum(members) / len(members)
            axes.barh(row, mean, height=0.6, color=tint, linewidth=0)
            axes.plot([min(members), max(members)], [row, row], color=colour("ink"), linewidth=1)
    axes.set_yticks(range(len(record.kinds)), [label_of(kind.name) for kind in record.kinds])
    axes.set_ylim(len(record.kinds) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("answers to questions, a node")
    caption = (
        "The bar is the mean of the nodes of a kind, the line goes from the least to the most of one node; adversaries are "
        "red. Audits do not count here."
    )
    return Plot("Whose answers are asked for", inline(figure, "Answers by kind of node", key), caption)


def belief(run: Run, found: Belief, key: str) -> Plot:
    """What askers think of a kind of node in a skill, beside what is true."""
    time, kind = TimeAxis(run), run.record.kinds[found.kind]
    figure = blank(1.95, 3.2)
    axes = figure.subplots()
    time.mark(axes)
    rows = [row for row in zip(found.at_ms, found.mean, found.low, found.high, found.truth, strict=True) if None not in row]
    if rows:
        at = time.of([row[0] for row in rows])
        mean, low, high, truth = ([(row[place] or 0) / 10 for row in rows] for place in (1, 2, 3, 4))
        axes.fill_between(at, low, high, color=colour("blue"), alpha=0.22, linewidth=0)
        axes.plot(at, mean, color=colour("blue"), linewidth=1.6)
        axes.plot(at, truth, color=colour("ink"), linewidth=1.2, linestyle=(0, (4, 2)))
    else:
        nothing(axes, "nobody was audited")
    axes.set_ylim(0, 103)
    axes.set_ylabel("accuracy (%)")
    measured = f"{100 * found.right / found.answered:.0f} % of {found.answered:,}" if found.answered else "none"
    pairs = f"{max([0, *found.pairs])} of {found.pairs_all} pairs of asker and node"
    caption = f"Evidence of {pairs}; right answers in questions: {measured}."
    title = f"{kind.name} nodes{' (adversaries)' if kind.adversary else ''}, skill {found.skill}"
    return Plot(title, inline(figure, f"Belief and truth: {title}", key), caption)
