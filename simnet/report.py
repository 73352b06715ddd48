"""What a run found, as JSON values with stable names and as lines for a person."""

from __future__ import annotations

import math
from typing import Any

from simnet.scenario import Report

# Two-sided 95 % of the normal distribution.
_Z = 1.959964


def as_json(report: Report) -> dict[str, Any]:
    """The report; durations in milliseconds of simulated time, the accuracy with its 95 % interval."""
    count = report.settings.questions
    return {
        "seed": report.settings.seed,
        "nodes": report.settings.nodes,
        "questions": count,
        "loss_permille": report.settings.loss_permille,
        "outcomes": dict(report.outcomes),
        "right": report.right,
        "accuracy": round(report.right / count, 4),
        "accuracy_interval": [round(end, 4) for end in interval(report.right, count)],
        "messages_per_task": round(report.messages / count, 1),
        "bytes_per_task": round(report.bytes_total / count),
        "latency_ms_mean": round(report.latency_ms / count, 1),
        "audits": report.audits,
        "audit_messages": report.audit_messages,
        "simulated_ms": report.simulated_ms,
        "events": report.events,
        "digest": report.digest,
        "repeat": report.settings.command,
    }


def lines(report: Report) -> list[str]:
    """The same for a person."""
    found, settings = as_json(report), report.settings
    low, high = found["accuracy_interval"]
    outcomes = ", ".join(f"{name} {count}" for name, count in report.outcomes.items())
    return [
        f"{settings.questions} questions to a network of {settings.nodes} simulated nodes, seed {settings.seed}",
        f"outcomes       {outcomes}",
        f"right          {report.right} of {settings.questions}, {found['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f})",
        f"a question     {found['messages_per_task']} messages, {found['bytes_per_task']} bytes, {found['latency_ms_mean']} ms",
        f"audits before  {report.audits} with {report.audit_messages} messages",
        f"simulated      {report.simulated_ms / 1_000:.1f} s in {report.events} events",
        f"digest         {report.digest}",
        f"repeat it      {settings.command}",
    ]


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share = right / count
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
