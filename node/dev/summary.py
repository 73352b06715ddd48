"""The tables that end `tutti dev`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
}


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
    """Print accuracy with intervals, paired differences, latency and cost."""
    count = len(report["questions"])
    table = Table(title=f"{count} questions, seed {report['seed']}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
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
    console.print()
    console.print(table)
    console.print("* chosen in hindsight, when the right answers were known; all intervals are 95 %")
    console.print()
    cost, audits, latency = report["cost"], report["cost"]["audits"], report["latency"]
    console.print(
        f"latency   p50 {latency['latency_ms_p50']:.0f} ms, p99 {latency['latency_ms_p99']:.0f} ms;"
        f" of it orchestration p50 {latency['overhead_ms_p50']:.0f} ms, p99 {latency['overhead_ms_p99']:.0f} ms"
    )
    console.print(
        f"cost      {cost['tokens'] / max(1, count):.0f} tokens, {cost['messages'] / max(1, count):.0f} messages,"
        f" {cost['bytes'] / max(1, count) / 1000:.1f} kB a question"
    )
    console.print(
        f"audits    {audits['tasks']} known-answer tasks before the questions:"
        f" {audits['tokens']} tokens, {audits['messages']} messages"
    )
    console.print(f"baselines {cost['baselines']['tokens']} tokens, only to fill this table")
    outcomes: dict[str, int] = {}
    for row in report["questions"]:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
    console.print("outcomes  " + ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items())))
