"""The page of `simnet compare`: one HTML file, which loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from simnet import compare, joint
from simnet.compare import OURS, Job, Row
from simnet.conditions import ASKERS, DEADLINE_MS, QUESTIONS_PER_MINUTE, scenario
from simnet.drawing import Plot, drawing
from simnet.standings import (
    ACCURACY,
    COSTS,
    WARM,
    WINDOWS,
    Loss,
    Standing,
    beaten,
    figure,
    losses,
    reasons,
    share,
    standings,
)
from simnet.svg import colour, inline
from simnet.ways import ALL, ANSWERS, ONE, WAYS

_WIDTH_IN, _HEIGHT_IN = 4.4, 4.2
# How each budget is drawn: colour, marker, and how far beside the policy's line.
_BUDGETS: Final = {ONE: ("other", "o", -0.22), ANSWERS: ("blue", "s", 0.0), ALL: ("orange", "^", 0.22)}


@dataclass(frozen=True, slots=True)
class _Part:
    """What the page shows of one condition."""

    id: str
    title: str
    about: str
    plots: tuple[Plot, ...]
    standings: tuple[Standing, ...]
    losses: tuple[Loss, ...]
    costs: dict[str, Loss]
    verdicts: dict[str, str]

    @property
    def ours(self) -> Standing:
        """How the protocol stands."""
        return self.standings[0]


def page(found: Sequence[tuple[Job, Sequence[Row]]], repeat: str) -> str:
    """The page, the same whenever and wherever it is made of the same runs."""
    environment = Environment(
        loader=PackageLoader("simnet", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = standings(found)
    lost = losses(shown)
    job = found[0][0]
    with drawing():
        parts = [_part(name, job, shown, lost) for name in dict.fromkeys(each.condition for each in shown)]
    seeds = sorted({each.seed for each, _ in found})
    return environment.get_template("compare.html").render(
        parts=parts,
        ways=WAYS,
        windows=tuple(WINDOWS),
        warm=WARM,
        share=share,
        beaten=beaten,
        figure_of=figure,
        costs=tuple(COSTS),
        reasons=reasons(lost),
        facts={
            "nodes": job.nodes,
            "seeds": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]),
            "minutes of questions": job.minutes,
            "questions a minute": QUESTIONS_PER_MINUTE,
            "askers": ASKERS,
            "deadline of a question": f"{DEADLINE_MS // 1_000} s",
        },
        again=joint.AGAIN_PERMILLE / 1_000,
        repeat=repeat,
        digest=compare.digest(found),
    )


def _part(condition: str, job: Job, shown: Sequence[Standing], lost: Sequence[Loss]) -> _Part:
    here = tuple(each for each in shown if each.condition == condition)
    name = scenario(condition, job.nodes, job.minutes).name
    mine = [loss for loss in lost if loss.condition == condition]
    return _Part(
        id=name,
        title=condition[0].upper() + condition[1:],
        about=scenario(condition, job.nodes, job.minutes).about,
        plots=tuple(_plot(here, window, f"{name}-{window}") for window in WINDOWS),
        standings=here,
        losses=tuple(loss for loss in mine if loss.measure == ACCURACY),
        costs={loss.measure: loss for loss in mine if loss.measure != ACCURACY},
        verdicts={window: _verdict(here, window) for window in WINDOWS},
    )


def _verdict(here: Sequence[Standing], window: str) -> str:
    """Against how many of those that know no more than a policy can ours is beyond doubt ahead, and behind."""
    others = [each.windows[window] for each in here[1:] if not each.hindsight]
    ahead = sum(each.lead_high < 0 for each in others)
    behind = sum(each.lead_low > 0 for each in others)
    return f"ahead of {ahead}, behind {behind}, of {len(others)}"


def _plot(here: Sequence[Standing], window: str, key: str) -> Plot:
    """Accuracies with their intervals: a line for each policy, a mark for each budget."""
    drawn = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN))
    axes = drawn.add_subplot()
    names = list(dict.fromkeys(each.policy for each in here))
    for each in here:
        at = each.windows[window]
        shade, marker, beside = ("good", "D", 0.0) if each.policy == OURS else _BUDGETS[each.budget]
        place = names.index(each.policy) + beside
        axes.plot([at.low, at.high], [place, place], color=colour(shade), linewidth=1.6, solid_capstyle="butt")
        axes.plot([at.accuracy], [place], marker=marker, markersize=5, color=colour(shade), linestyle="none")
    axes.axvline(here[0].windows[window].accuracy, color=colour("good"), linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_yticks(range(len(names)), [f"{name} †" if _knows(here, name) else name for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share of right answers")
    title = f"{window}: accuracy"
    return Plot(title, inline(drawn, f"{here[0].condition}, {title}", key), _CAPTIONS[window])


def _knows(here: Sequence[Standing], policy: str) -> bool:
    return any(each.hindsight for each in here if each.policy == policy)


_CAPTIONS: Final = {
    window: f"{when} Marks are shares, lines their 95 % intervals (Wilson); the dashed line is ours. Circle: one answer a "
    "question. Square: as many answers as ours. Triangle: as many as our answers and audits together. † knows in hindsight."
    for window, when in (
        ("cold", "The first third of the questions, while nodes are not known yet."),
        ("warm", "The last third, after audits had time."),
    )
}
