"""The tables that end `tutti dev`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from node.dev.network import DevNode

_NAMES = {
    "network": "the network",
    "best_single": "best single node *",
    "majority": "majority, with liar",
    "majority_honest": "majority, no liar",
    "random": "a random node",
    "oracle_route": "best node a skill *",
    "self_consistency": "best single, sampled *",
}
_POLICIES = ("network", "best_single", "oracle_route")


def show_evidence(console: Console, nodes: Sequence[DevNode], evidence: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Print what each node claimed, what its audits showed and the weight that follows from the audits alone."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("node", "skill", "claims", "audits right", "weight"):
        table.add_column(heading, justify="left" if heading in ("node", "skill") else "right")
    for node in nodes:
        for skill, row in evidence.get(node.peer_id, {}).items():
            audits = f"{row['hits']:.0f} of {row['hits'] + row['misses']:.0f}"
            name = f"{node.role} …{node.peer_id[-8:]}"
            table.add_row(
                name, skill, f"{row['declared']:.0%}", audits, f"{row['weight']:.2f}", style="red" if node.lies else ""
            )
    console.print(table)


def show(console: Console, report: dict[str, Any]) -> None:
    """Print accuracy with intervals, paired differences, each skill and family, latency and cost."""
    console.print()
    console.print(_accuracies(report))
    console.print("* chosen in hindsight, when the right answers were known; all intervals are 95 %")
    if report["ratio_to_oracle_route"] is not None:
        console.print(f"the network reaches {report['ratio_to_oracle_route']:.1%} of what the best node a skill does")
    console.print()
    console.print(_breakdown(report))
    for line in _costs(report):
        console.print(line, markup=False, soft_wrap=True)


def _accuracies(report: dict[str, Any]) -> Table:
    title = f"{len(report['questions'])} questions, seed {report['seed']}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("who answers")
    table.add_column("right", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("network ahead by (paired)", justify="right")
    for key, name in _NAMES.items():
        row = report["accuracy"][key]
        lead = report["paired"].get(key)
        table.add_row(
            name,
            f"{row['accuracy']:.1%}",
            f"{row['low']:.1%} to {row['high']:.1%}",
            "" if lead is None else f"{lead['difference']:+.1%} ({lead['low']:+.1%} to {lead['high']:+.1%})",
            style="bold" if key == "network" else "",
        )
    return table


def _breakdown(report: dict[str, Any]) -> Table:
    """A row a skill and family: what the policies and each model got right, in per cent."""
    table = Table(title="right, in per cent", title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=0)
    models = list(report["breakdown"][0]["models"]) if report["breakdown"] else []
    table.add_column("skill, family", no_wrap=True)
    for heading in ("asked", "network", "best", "route", *models):
        table.add_column(heading, justify="right", overflow="fold")
    for row in report["breakdown"]:
        values = [*(row["accuracy"][name] for name in _POLICIES), *row["models"].values()]
        name = row["skill"] if row["family"] is None else f"  {row['family']}"
        style = "bold" if row["family"] is None else ""
        table.add_row(name, str(row["questions"]), *(f"{100 * value:.0f}" for value in values), style=style)
    return table


def _costs(report: dict[str, Any]) -> Iterator[str]:
    count = max(1, len(report["questions"]))
    cost, latency = report["cost"], report["latency"]
    audits, sampled = cost["audits"], cost["self_consistency"]
    yield (
        f"latency   p50 {latency['latency_ms_p50']:.0f} ms, p99 {latency['latency_ms_p99']:.0f} ms;"
        f" of it orchestration p50 {latency['overhead_ms_p50']:.0f} ms, p99 {latency['overhead_ms_p99']:.0f} ms"
    )
    yield (
        f"cost      {cost['tokens'] / count:.0f} tokens, {cost['messages'] / count:.0f} messages,"
        f" {cost['bytes'] / count / 1000:.1f} kB a question"
    )
    yield (
        f"sampled   {sampled['tokens'] / count:.0f} tokens a question: {sampled['model']} asked"
        f" {sampled['samples'] / count:.1f} times at temperature {sampled['temperature_milli'] / 1_000:g}, plurality"
    )
    yield (
        f"audits    {audits['tasks']} known-answer tasks before the questions:"
        f" {audits['tokens']} tokens, {audits['messages']} messages"
    )
    yield f"baselines {cost['baselines']['tokens']} tokens, only to fill these tables"
    outcomes = Counter(row["outcome"] for row in report["questions"])
    if report["endurance"] is not None:
        yield from _endurance(report["endurance"])
    yield "outcomes  " + ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items()))


def _endurance(found: dict[str, Any]) -> Iterator[str]:
    lost = ", ".join(f"{number} {kind}" for kind, number in found["missing"].items()) or "none"
    yield (
        f"endurance {found['answered']} of {found['questions']} questions answered; {found['alive']} of {found['nodes']} nodes"
        f" live, {found['restarts']} restarts, {found['connections_lost']} connections lost"
    )
    yield f"          {found['messages']} messages had to arrive; missing: {lost}; dropped by queues: {found['dropped']}"
    yield (
        f"          memory of all nodes {found['memory_kb'] / 1_000:.0f} MB,"
        f" grown by {found['memory_growth_kb'] / 1_000:.1f} MB, at most {found['memory_growth_kb_max'] / 1_000:.1f} MB in one"
    )
