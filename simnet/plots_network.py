"""The plots of who is connected to whom, and how gossip spreads over that."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from matplotlib.patches import PathPatch
from matplotlib.path import Path

from simnet.drawing import Plot, TimeAxis, blank, label_of, legend, nothing, plain_log
from simnet.svg import colour, inline

if TYPE_CHECKING:
    from simnet.finished import Run
    from simnet.record import Record

# About where a region is on a map of the world, and the angle between one node and the next that fills a disc evenly.
_PLACES: Final = {
    "north-america": (-4.2, 1.2),
    "europe": (0.2, 1.9),
    "south-america": (-2.6, -2.0),
    "asia-pacific": (3.7, -0.1),
    "japan": (5.2, 1.9),
    "australia": (5.0, -2.3),
}
_GOLDEN: Final = math.pi * (3 - math.sqrt(5))
_TINTS: Final = ("blue", "orange", "violet")


def topology(run: Run, key: str) -> Plot:
    """Nodes by region, and the mesh between them."""
    record = run.record
    nodes = record.nodes
    places = _placed(record)
    figure = blank(2.8, 4.2)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    path = [places[node] for pair in zip(record.topology.one, record.topology.other, strict=True) for node in pair]
    if path:
        # One path for all, which is smaller than a line each; the more there are, the fainter.
        lines = Path(path, [Path.MOVETO, Path.LINETO] * (len(path) // 2))
        alpha = min(0.8, 10 / math.sqrt(len(path)))
        axes.add_patch(PathPatch(lines, facecolor="none", edgecolor=colour("muted"), linewidth=0.5, alpha=alpha))
    size = max(2.2, min(7.0, 60 / math.sqrt(len(places) + 1)))
    states = [
        "down" if not is_up else "adversary" if record.kinds[kind].adversary else "up"
        for is_up, kind in zip(nodes.up, nodes.kind, strict=True)
    ]
    for state, marker, tint in (("up", "o", "blue"), ("adversary", "^", "bad"), ("down", "x", "orange")):
        group = [place for place, each in zip(places, states, strict=True) if each == state]
        if group:
            across, upwards = zip(*group, strict=True)
            axes.plot(across, upwards, marker, color=colour(tint), markersize=size, label=f"{state} ({len(group)})")
    for region, name in enumerate(record.regions):
        members = [place for place, of in zip(places, nodes.region, strict=True) if of == region]
        if members:
            top = max(place[1] for place in members)
            middle = sum(place[0] for place in members) / len(members)
            axes.text(middle, top + 0.22, f"{label_of(name)} ({len(members)})", ha="center", va="bottom", fontsize=8.5)
    axes.margins(0.08, 0.1)
    legend(figure, axes)
    more = "" if nodes.step == 1 else f" Of all {run.nodes} nodes one in {nodes.step} is drawn."
    at = f"{record.topology.at_ms / 1_000:,.0f} s"
    why = "in the middle of the first fault" if record.scenario.faults else "at the end of what the scenario plans"
    caption = (
        f"The network at {at}, {why}. Each mark is a node, drawn at its region; each line joins two nodes that pass gossip on "
        f"to each other. Regions without lines between them are cut off from each other.{more}"
    )
    return Plot("Who is connected to whom", inline(figure, "Topology by region", key), caption)


def _placed(record: Record) -> list[tuple[float, float]]:
    """A place for each node: around its region, evenly from the middle outwards."""
    sizes = Counter(record.nodes.region)
    scale = 1.75 / math.sqrt(max([1, *sizes.values()]))
    seen: Counter[int] = Counter()
    found = []
    for region in record.nodes.region:
        name = record.regions[region]
        middle = _PLACES.get(name, (5.0 * math.cos(region), -4.0 + math.sin(region)))
        radius, angle = scale * math.sqrt(seen[region] + (sizes[region] > 1) * 0.5), seen[region] * _GOLDEN
        seen[region] += 1
        found.append((middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)))
    return found


def delivery_shares(run: Run, key: str) -> Plot:
    """How fast gossip arrives."""
    record = run.record
    figure = blank()
    axes = figure.subplots()
    ends_s = [bound / 1e6 for bound in record.gossip_bounds_us]
    shown: list[float] = []
    for each, tint in zip(record.gossip, _TINTS * len(record.gossip), strict=False):
        total = each.reached + each.missed
        if total:
            sums, so_far = [], 0
            for count in each.counts[:-1]:
                so_far += count
                sums.append(100 * so_far / total)
            label = f"{label_of(each.topic)} ({each.published:,})"
            axes.plot(ends_s, sums, color=colour(tint), linewidth=1.6, label=label)
            shown += [end for end, count in zip(ends_s, each.counts, strict=False) if count]
    if shown:
        axes.set_xscale("log")
        axes.set_xlim(min(shown) / 1.5, max(shown) * 1.5)
        plain_log(axes)
        legend(figure, axes)
    else:
        nothing(axes, "nothing was published")
    axes.set_ylim(0, 102)
    axes.set(xlabel="time from publishing to a node (s)", ylabel="share of nodes (%)")
    caption = (
        "The height of a curve is the share of the other nodes that run which had a message within the time below it, over all "
        "messages of a topic; how many were published stands in brackets. A curve that ends below 100 % is nodes never "
        "reached: not joined yet, cut off, or behind nodes that pass on no more of authors whom they have no channel to."
    )
    return Plot("How fast gossip arrives", inline(figure, "Distribution of gossip delivery", key), caption)


def delivery_times(run: Run, key: str) -> Plot:
    """Which share of the nodes gossip reached, over time."""
    time, series = TimeAxis(run), run.record.moments
    figure = blank()
    axes = figure.subplots()
    time.mark(axes)
    # Where nothing was published there is a gap.
    shares = [
        100 * reached / (reached + missed) if reached + missed else math.nan
        for reached, missed in zip(series.gossip_reached, series.gossip_missed, strict=True)
    ]
    axes.plot(time.of(series.at_ms), shares, ".-", color=colour("blue"), linewidth=1, markersize=3.5)
    axes.set_ylim(0, 104)
    axes.set_ylabel("nodes reached (%)")
    caption = (
        "Of the other nodes that run, the share that gossip of that time reached in the end; those that have not joined yet "
        "count as not reached."
    )
    return Plot("How far gossip gets, over time", inline(figure, "Share of nodes reached by gossip over time", key), caption)
