"""What a run found, as JSON values with stable names and as lines for a person."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any, Final

from simnet.running import Result, outcomes, source_digest
from simnet.scenario import Scenario, is_file

# Two-sided 95 % of the normal distribution.
_Z: Final = 1.959964
_SHOWN: Final = 5


def command(what: str, seed: int, settings: Sequence[str], scenario: Scenario | None = None) -> str:
    """What repeats a run of this source; of a file, which can change, it names the digest of the `scenario` that it was."""
    pin = [] if scenario is None or not is_file(what) else ["--pin", scenario.digest]
    sets = [word for each in settings for word in ("--set", each)]
    return shlex.join(["simnet", "run", what, "--seed", str(seed), *sets, *pin])


def as_json(result: Result, repeat: str) -> dict[str, Any]:
    """The result; durations in milliseconds of simulated time, the accuracy with its 95 % interval."""
    ended = [(asked, asked.outcome) for asked in result.asked if asked.outcome is not None]
    right = sum(outcome.answer == asked.exercise.gold for asked, outcome in ended)
    latencies = sorted(outcome.latency_ms for _, outcome in ended)
    count = len(ended)
    return {
        "scenario": result.scenario.name,
        "content": result.scenario.content,
        "content_digest": result.scenario.digest,
        "seed": result.seed,
        "nodes": result.scenario.nodes,
        "source": source_digest(),
        "digest": result.digest,
        "questions": len(result.asked),
        "outcomes": outcomes(result),
        "ended": count,
        "right": right,
        "accuracy": round(right / count, 4) if count else None,
        "accuracy_interval": [round(end, 4) for end in interval(right, count)] if count else None,
        "latency_ms": {"p50": _quantile(latencies, 500), "p99": _quantile(latencies, 990)},
        "messages_per_task": _mean([outcome.messages for _, outcome in ended]),
        "bytes_per_task": _mean([outcome.bytes_total for _, outcome in ended]),
        "tokens_per_task": _mean([outcome.tokens for _, outcome in ended]),
        "directory_messages": 0 if result.world.directory is None else result.world.directory.messages,
        "probes": len(result.world.probes),
        "violations": [
            {"kind": each.kind, "checker": each.checker, "at_ms": each.at_ms, "node": each.node, "text": each.text}
            for each in result.violations
        ],
        "happened": [{"at_ms": at_ms, "text": text} for at_ms, text in result.happened],
        "simulated_ms": result.simulated_ms,
        "events": result.events,
        "cpu_s": round(result.cpu_s, 2),
        "events_per_cpu_s": round(result.events / max(result.cpu_s, 0.001)),
        "repeat": repeat,
        **({} if result.record is None else {"record": result.record.model_dump(mode="json")}),
    }


def lines(result: Result, repeat: str) -> list[str]:
    """The same for a person."""
    found = as_json(result, repeat)
    kinds = ", ".join(f"{name} {count}" for name, count in found["outcomes"].items()) or "no questions"
    shown = [
        f"{result.scenario.name}: {result.scenario.about}",
        "",
        f"nodes        {found['nodes']}, seed {found['seed']}, {result.simulated_ms / 1_000:.0f} s simulated",
        f"outcomes     {kinds}",
    ]
    if found["accuracy"] is not None:
        low, high = found["accuracy_interval"]
        share = f"{found['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f})"
        costs = f"{found['messages_per_task']} messages, {found['bytes_per_task']} bytes, {found['tokens_per_task']} tokens"
        shown += [
            f"right        {found['right']} of {found['ended']}, {share}",
            f"latency      p50 {found['latency_ms']['p50']} ms, p99 {found['latency_ms']['p99']} ms",
            f"a question   {costs}",
        ]
    shown += [f"{each['at_ms'] / 1_000:10.1f} s {each['text']}" for each in found["happened"]]
    if result.violations:
        shown.append(f"VIOLATED     {len(result.violations)} times:")
        shown += [
            f"  {each.at_ms / 1_000:.1f} s {each.checker} ({each.kind}) at {each.node}: {each.text}"
            for each in result.violations[:_SHOWN]
        ]
    else:
        shown.append("checks       all hold")
    return [
        *shown,
        f"events       {found['events']} in {found['cpu_s']} s of CPU, {found['events_per_cpu_s']} a second",
        f"digest       {found['digest']}",
        f"repeat it    {repeat}",
    ]


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share = right / count
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _quantile(ordered: Sequence[int], permille: int) -> int | None:
    return ordered[min(len(ordered) - 1, len(ordered) * permille // 1_000)] if ordered else None


def _mean(values: Sequence[int]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None
