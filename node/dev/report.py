"""The JSON object of `tutti dev --json`, from which the tables of `tutti dev` are made too."""

from __future__ import annotations

from typing import Any

from node.dev.baselines import TEMPERATURE_MILLI
from node.dev.run import Course
from node.dev.statistics import breakdown, estimate, paired, percentile, ratio, scores


async def report(course: Course, audits: dict[str, Any]) -> dict[str, Any]:
    """Everything that a run found out; `audits` is what `Course.audit` gave."""
    policies = scores(course.sheets, [not node.lies for node in course.nodes])
    network = policies["network"]
    policies["self_consistency"] = [
        float(said.answer == sheet.gold) for said, sheet in zip(course.consistent, course.sheets, strict=True)
    ]
    roles = [node.role for node in course.nodes]
    shown = {name: policies[name] for name in ("network", "best_single", "oracle_route")}
    return {
        "seed": course.seed,
        "nodes": [await _node(course, index) for index in range(len(course.nodes))],
        "questions": course.rows,
        "accuracy": {name: estimate(values) for name, values in policies.items()},
        "paired": {name: paired(network, values) for name, values in policies.items() if name != "network"},
        "ratio_to_oracle_route": ratio(network, policies["oracle_route"]),
        "best_single": course.best_nodes()[0].role,
        "breakdown": breakdown(course.sheets, shown, roles),
        "latency": _latency(course.rows),
        "endurance": course.endurance,
        "cost": {
            "messages": sum(row["messages"] for row in course.rows),
            "bytes": sum(row["bytes"] for row in course.rows),
            "tokens": sum(row["tokens"] for row in course.rows),
            "audits": {key: audits[key] for key in ("tasks", "messages", "bytes", "tokens")},
            "baselines": {"tokens": course.baseline_tokens},
            "self_consistency": {
                "model": course.best_nodes()[0].model,
                "temperature_milli": TEMPERATURE_MILLI,
                "samples": sum(said.samples for said in course.consistent),
                "tokens": sum(said.tokens for said in course.consistent),
            },
        },
    }


async def _node(course: Course, index: int) -> dict[str, Any]:
    node = course.nodes[index]
    status = await node.client.get("/v1/status")
    return {
        "peer_id": node.peer_id,
        "model": node.model,
        "role": node.role,
        "pid": node.process.pid,
        "worker_pid": status["model"]["pid"],
        "accuracy": estimate([sheet.right(index) for sheet in course.sheets]),
    }


def _latency(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {
        f"{name}_p{share:.0f}": percentile([row[name] for row in rows], share / 100)
        for name in ("overhead_ms", "latency_ms")
        for share in (50.0, 99.0)
    }
