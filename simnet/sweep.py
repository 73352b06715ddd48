"""Many runs of a scenario: over seeds and over a grid of settings, on all cores or on a Dask cluster.

Each run is alone in its process's thread and depends on nothing but its own words, so where it ran changes no digest.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final

from simnet import report, running
from simnet.scenario import Scenario, ScenarioError

DASK: Final = "dask://"
RUNS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the whole scenario, so that no file is read where it runs, and the words that it came from.

    `source` is that of whoever wants it; a machine with another one would give another run.
    """

    what: str
    scenario: Scenario
    seed: int
    settings: tuple[str, ...]
    source: str


def jobs(what: str, seeds: Sequence[int], grid: Mapping[str, Sequence[str]]) -> list[Job]:
    """Every seed at every point of the grid, points first; raises `ScenarioError` if one of them is no scenario."""
    points = [
        tuple(f"{key}={value}" for key, value in zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    if len(points) * len(seeds) > RUNS_MAX:
        raise ScenarioError(f"{len(points)} points and {len(seeds)} seeds are more than {RUNS_MAX} runs")
    known, source = Scenario.load(what), running.source_digest()
    scenarios = {point: known.changed(point) for point in points}
    return [Job(what, scenarios[point], seed, point, source) for point in points for seed in seeds]


def run(job: Job) -> dict[str, Any]:
    """What one run found, as `simnet run --json` prints it, with the settings of its point; raises `ScenarioError`."""
    if job.source != running.source_digest():
        raise ScenarioError(f"{platform.node()} has another source of tutti than the one that sweeps: install the same there")
    result = running.run(job.scenario, job.seed)
    repeat = report.command(job.what, job.seed, job.settings, job.scenario)
    return {**report.as_json(result, repeat), "settings": list(job.settings)}


def swept(work: Sequence[Job], engine: str | None = None, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """What the runs found, in the order of `work`; raises `ScenarioError` if the engine cannot be had."""
    if engine is None:
        # Spawned, so that a run sees a fresh interpreter wherever it runs.
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
            yield from pool.map(run, work)
        return
    if not engine.startswith(DASK):
        raise ScenarioError(f"no engine {engine!r}: leave it out for this machine's cores, or {DASK}HOST:PORT")
    try:
        from dask.distributed import Client  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ScenarioError("Dask is not installed: pip install 'tutti-network[dask]'") from error
    try:
        with Client(f"tcp://{engine.removeprefix(DASK)}") as client:
            yield from client.gather(client.map(run, work, pure=False))
    except OSError as error:
        raise ScenarioError(f"no Dask scheduler answers at {engine}: {error}") from error


def digest(found: Sequence[Mapping[str, Any]]) -> str:
    """One digest of all runs, in their order: 64 hex digits."""
    return hashlib.sha256("".join(each["digest"] for each in found).encode()).hexdigest()


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each point of the grid: runs, violated runs, outcomes, accuracy and latency."""
    shown = []
    for settings, group in itertools.groupby(found, key=lambda each: each["settings"]):
        runs = list(group)
        ended, right = sum(each["ended"] for each in runs), sum(each["right"] for each in runs)
        violated = sum(bool(each["violations"]) for each in runs)
        latencies = sorted(each["latency_ms"]["p50"] for each in runs if each["latency_ms"]["p50"] is not None)
        share = "-" if not ended else "{:.3f} ({:.3f} to {:.3f})".format(right / ended, *report.interval(right, ended))
        middle = latencies[len(latencies) // 2] if latencies else "-"
        point = " ".join(settings) or "as it is"
        shown.append(f"{point:40} {len(runs):4} runs, {violated} violated, {ended} questions, right {share}, p50 {middle} ms")
    return shown
