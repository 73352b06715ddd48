"""The page of `simnet report`: one HTML file about one run or several, which loads nothing and runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from simnet import plots_course, plots_load, plots_network, plots_questions, toml
from simnet.drawing import Maker, Plot, drawing
from simnet.finished import Run

RUNS_MAX: Final = 50
_VIOLATIONS_SHOWN: Final = 10
_BELIEFS_SHOWN: Final = 24
_QUESTIONS: Final[tuple[Maker, ...]] = (
    plots_questions.outcomes,
    plots_questions.latency_shares,
    plots_questions.latency_times,
    plots_questions.margins,
)
_NETWORK: Final[tuple[Maker, ...]] = (
    plots_course.presence,
    plots_course.traffic,
    plots_network.delivery_shares,
    plots_network.delivery_times,
)
_LOAD: Final[tuple[Maker, ...]] = (plots_load.load, plots_load.uplink, plots_load.load_by_kind)


@dataclass(frozen=True, slots=True)
class _Section:
    """Some plots under one title; `kind` is the class that decides how wide they stand."""

    id: str
    title: str
    about: str
    plots: tuple[Plot, ...]
    kind: str = "plots"


@dataclass(frozen=True, slots=True)
class _Part:
    """What the page shows of one run."""

    id: str
    run: Run
    title: str
    facts: tuple[tuple[str, str], ...]
    timeline: Plot
    topology: Plot
    regions: tuple[tuple[str, int, int, int, str], ...]
    sections: tuple[_Section, ...]
    outcomes: tuple[tuple[str, int, str], ...]
    broken: tuple[tuple[str, str, int], ...]
    scenario: str


def page(runs: Sequence[Run]) -> str:
    """The page, the same whenever and wherever it is made of the same runs; no value of a run becomes markup."""
    environment = Environment(
        loader=PackageLoader("simnet", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with drawing():
        parts = [_part(run, f"run-{number}") for number, run in enumerate(runs, 1)]
    return environment.get_template("report.html").render(
        parts=parts, compared=_compared(parts) if len(parts) > 1 else (), violations_shown=_VIOLATIONS_SHOWN
    )


def _part(run: Run, name: str) -> _Part:
    numbers = count(1)

    def drawn(makers: Sequence[Maker]) -> tuple[Plot, ...]:
        return tuple(make(run, f"{name}-{next(numbers)}") for make in makers)

    beliefs = run.record.beliefs[:_BELIEFS_SHOWN]
    broken = Counter((each.checker, each.kind) for each in run.violations)
    left_out = len(run.record.beliefs) - len(beliefs)
    sections = (
        _Section("questions", "Questions", "How they ended, how long that took, and how clear it was.", drawn(_QUESTIONS)),
        _Section("network", "Network", "Who was there, and how messages and gossip went.", drawn(_NETWORK)),
        _Section("load", "Load", "How evenly the work is shared.", drawn(_LOAD)),
        _Section(
            "beliefs",
            "Belief and truth",
            "Askers learn by audits how often a node is right in a skill, and weigh its vote by that. For each kind of node "
            "and skill that it offers: the solid line is the mean of what askers believe, the band holds eight in ten of their "
            "beliefs, and the dashed line is how often these nodes are right in truth. Belief starts low on purpose and should "
            "rise towards the truth, or stay low where the truth is low."
            + (f" {left_out} more pairs of kind and skill are left out." if left_out else ""),
            tuple(plots_load.belief(run, each, f"{name}-{next(numbers)}") for each in beliefs),
            "plots small",
        ),
    )
    return _Part(
        id=name,
        run=run,
        title=f"{run.scenario}, seed {run.seed}",
        facts=tuple(_facts(run)),
        timeline=plots_course.timeline(run, f"{name}-{next(numbers)}"),
        topology=plots_network.topology(run, f"{name}-{next(numbers)}"),
        regions=_regions(run),
        sections=sections,
        outcomes=tuple((kind, number, _share(number, run.questions)) for kind, number in run.outcomes.items()),
        broken=tuple((rule, kind, number) for (rule, kind), number in sorted(broken.items())),
        scenario=toml.document(run.record.scenario.model_dump(mode="json", exclude={"name"})),
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    """The figures of a run, by what they are."""
    fairness = run.record.fairness
    return [
        ("nodes", f"{run.nodes:,}"),
        ("simulated time", f"{run.simulated_ms / 1_000:,.0f} s"),
        ("questions", f"{run.questions:,}"),
        ("right answers (95 % interval)", _accuracy(run)),
        ("median time to outcome", _seconds(run.latency_ms.p50)),
        ("time within which 99 % end", _seconds(run.latency_ms.p99)),
        ("messages a question", _number(run.messages_per_task)),
        ("kB a question", _number(None if run.bytes_per_task is None else run.bytes_per_task / 1_000)),
        ("tokens a question", _number(run.tokens_per_task)),
        ("fairness of load (1: even)", "-" if fairness is None else f"{fairness / 1_000:.2f}"),
        ("violations", f"{len(run.violations)}"),
    ]


def _accuracy(run: Run) -> str:
    if run.accuracy is None:
        return "-"
    if run.accuracy_interval is None:
        return f"{100 * run.accuracy:.1f} %"
    low, high = run.accuracy_interval
    return f"{100 * run.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _seconds(time_ms: int | None) -> str:
    return "-" if time_ms is None else f"{time_ms / 1_000:.2f} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _share(number: int, total: int) -> str:
    return f"{100 * number / total:.1f} %" if total else "-"


def _compared(parts: Sequence[_Part]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A row for each figure, a column for each run."""
    columns = [dict(part.facts) for part in parts]
    rows = tuple((name, tuple(column[name] for column in columns)) for name in columns[0])
    return (*rows, ("digest", tuple(f"{part.run.digest[:12]}..." for part in parts)))


def _regions(run: Run) -> tuple[tuple[str, int, int, int, str], ...]:
    """Of each region: nodes, adversaries, those that are down, and the median of channels of those that are up."""
    record = run.record
    rows = []
    for number, name in enumerate(record.regions):
        members = [node for node, region in enumerate(record.nodes.region) if region == number]
        channels = [record.nodes.channels[node] for node in members if record.nodes.up[node]]
        if members:
            bad = sum(record.kinds[record.nodes.kind[node]].adversary for node in members)
            down = sum(not record.nodes.up[node] for node in members)
            rows.append((name, len(members), bad, down, f"{median(channels):g}" if channels else "-"))
    return tuple(rows)
