"""The plots of what was asked: how questions ended, how long they took, and how clear the votes were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simnet.drawing import Plot, TimeAxis, blank, legend, nothing, plain_log
from simnet.svg import colour, inline

if TYPE_CHECKING:
    from simnet.finished import Run

_DOTS_MAX: Final = 1_500
_BINS: Final = 24
_TENTHS: Final = 10
_GIVEN: Final = ("answered", "unearned")
_OUTCOMES: Final = (
    ("answered right", "good"),
    ("answered wrong", "bad"),
    ("no bids", "orange"),
    ("all failed", "violet"),
    ("deadline", "blue"),
    ("lost", "muted"),
    ("another", "other"),
)


def outcomes(run: Run, key: str) -> Plot:
    """How the questions of each time ended."""
    time, asked = TimeAxis(run), run.record.questions
    width_ms = -(-time.end_ms // _BINS)
    bins: dict[str, list[int]] = {name: [0] * _BINS for name, _ in _OUTCOMES}
    for at_ms, kind, right in zip(asked.at_ms, asked.outcome, asked.right, strict=True):
        name = kind if kind in bins else "another"
        if kind in _GIVEN:
            name = "answered right" if right else "answered wrong"
        bins[name][min(_BINS - 1, at_ms // width_ms)] += asked.step
    figure = blank()
    axes = figure.subplots()
    time.mark(axes)
    begins = time.of([width_ms * number for number in range(_BINS)])
    below = [0] * _BINS
    for name, tint in _OUTCOMES:
        if any(bins[name]):
            axes.bar(
                begins, bins[name], begins[1] * 0.92, below, align="edge", color=colour(tint), label=name, linewidth=0
            )  # fmt: skip
            below = [one + other for one, other in zip(below, bins[name], strict=True)]
    axes.set_ylabel("questions asked")
    axes.set_ylim(0, max(1, *below) * 1.05)
    legend(figure, axes)
    caption = "Each bar is the questions asked in one slice of time, by how they ended: the more green, the better."
    if "lost" in run.outcomes:
        caption += " Lost are those whose asker went down before the answer."
    return Plot("How questions ended, by when they were asked", inline(figure, "Outcomes over time", key), caption)


def latency_shares(run: Run, key: str) -> Plot:
    """The distribution of what a question took."""
    asked = run.record.questions
    figure = blank()
    axes = figure.subplots()
    waits = sorted(wait for wait in asked.latency_ms if wait is not None)
    if waits:
        shares = [100 * (number + 1) / len(waits) for number in range(len(waits))]
        axes.step([max(1, wait) / 1_000 for wait in waits], shares, where="post", color=colour("blue"), linewidth=1.6)
        axes.set_xscale("log")
        plain_log(axes)
        for wait_ms, height, name in ((run.latency_ms.p50, 50, "half"), (run.latency_ms.p99, 99, "99 %")):
            if wait_ms is not None:
                # To the left of the curve, where nothing can be.
                at_s = max(1, wait_ms) / 1_000
                axes.plot([at_s], [height], "o", color=colour("ink"), markersize=4, zorder=5)
                axes.annotate(
                    f"{name} within {at_s:.2f} s", (at_s, height), (-4, 2), textcoords="offset points", ha="right", va="bottom",
                    fontsize=8.5,
                )  # fmt: skip
    else:
        nothing(axes, "no question ended")
    axes.set_ylim(0, 112)
    axes.set(xlabel="time from question to outcome (s)", ylabel="share of questions (%)")
    caption = (
        "The height of the curve is the share of questions that ended within the time below it: the further left, the faster."
    )
    return Plot("How long a question takes", inline(figure, "Distribution of latency", key), caption)


def latency_times(run: Run, key: str) -> Plot:
    """What each question took, by when it was asked."""
    time, asked = TimeAxis(run), run.record.questions
    figure = blank()
    axes = figure.subplots()
    time.mark(axes)
    rows = [
        (at_ms, wait_ms / 1_000, kind, right)
        for at_ms, wait_ms, kind, right in zip(asked.at_ms, asked.latency_ms, asked.outcome, asked.right, strict=True)
        if wait_ms is not None
    ]
    rows = rows[:: max(1, -(-len(rows) // _DOTS_MAX))]
    highest_s = max([1.0, *(wait_s for _, wait_s, _, _ in rows)])
    for chosen, marker, tint, name in (
        (lambda kind, right: kind in _GIVEN and right, ".", "good", "right"),
        (lambda kind, right: kind in _GIVEN and not right, "x", "bad", "wrong"),
        (lambda kind, _: kind not in _GIVEN, "^", "orange", "no answer"),
    ):
        group = [(at_ms, wait_s) for at_ms, wait_s, kind, right in rows if chosen(kind, right)]
        if group:
            at = time.of([at_ms for at_ms, _ in group])
            axes.plot(at, [wait_s for _, wait_s in group], marker, color=colour(tint), markersize=4.5, label=name)
    if not rows:
        nothing(axes, "no question ended")
    axes.set_ylim(0, highest_s * 1.08)
    axes.set_ylabel("time to outcome (s)")
    legend(figure, axes)
    caption = "Each mark is a question, at the time at which it was asked; the higher, the longer its asker waited."
    return Plot("What each question took, over time", inline(figure, "Latency over time", key), caption)


def margins(run: Run, key: str) -> Plot:
    """How clear the votes were."""
    asked = run.record.questions
    counts = {right: [0] * _TENTHS for right in (True, False)}
    for margin, right in zip(asked.margin, asked.right, strict=True):
        if margin is not None:
            counts[right][min(_TENTHS - 1, margin // 100)] += asked.step
    figure = blank()
    axes = figure.subplots()
    places = [10 * number + 0.4 for number in range(_TENTHS)]
    axes.bar(places, counts[True], 9.2, align="edge", color=colour("good"), label="right answer", linewidth=0)
    axes.bar(places, counts[False], 9.2, counts[True], align="edge", color=colour("bad"), label="wrong answer", linewidth=0)
    if not any(map(sum, counts.values())):
        nothing(axes, "nothing was voted on")
    else:
        legend(figure, axes)
    axes.set_xlim(0, 100)
    axes.set(xlabel="lead of the answer over the next one (% of all support)", ylabel="questions")
    caption = (
        "At the right all weight stood behind one answer, at the left it was split. Wrong answers at the right are those of "
        "which the asker could be sure and was mistaken."
    )
    return Plot("How clear the votes were", inline(figure, "Margins of votes", key), caption)
