"""How far a network of daemons on this machine and its simulation agree, once the simulator's models are calibrated.

    python -m contrib.bench.calibration [--questions N] [--json]

Three networks of daemons answer questions, one after the other, each with other questions and another number of nodes. On the
first one the models are calibrated: what a message costs, by the CPU time of the processes; what a write to the disk takes; and
what channels and gossip take beyond that, by the mean time from the step that sends a message to the one that takes it. Neither
the latency of an answer nor any number of messages is fitted. With these values all three are simulated: by the twins of the
daemons (contrib/bench/twins.py), with the time that each model took in that run.

A machine with other work is not the same from one minute to the next. So each network is simulated once more with the values
measured in its own run, and how long a message took in it is printed. Exit code 1 if the first simulation of any network is off
by more than 10 % in messages a question, or 20 % in the median latency. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from contrib.bench import twins
from contrib.bench.load import Clock, cores, cpu_us
from contrib.bench.observed import GROUPS, LEDGERS, QUESTIONS, Observed
from contrib.bench.processes import run
from contrib.bench.taped import begin_all
from contrib.bench.twins import Model, Original
from contrib.evaluation.figures import table
from node.dev.homes import temporary_home
from node.dev.network import DevNode, roles, skills, stop
from node.dev.questions import questions
from node.dev.run import Course
from node.dev.screen import Quiet
from node.store import Store
from protocol.events import Persist

# Nodes and seed of each network, the first to calibrate with. All are honest: what a liar says the simulator does not know.
NETWORKS: Final = ((6, 1), (8, 2), (5, 3))
MESSAGES_OFF_MAX, LATENCY_OFF_MAX = 0.10, 0.20
# Two questions a second: an answer takes less, so none waits for another.
_PACE_S = 0.5
_SETTLE_S = 2.0
_OFF: Final = (QUESTIONS, LEDGERS, "all", "p50_ms", "p90_ms")
_ROUNDS = 4
_WRITES = 60
_WRITE_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of daemons: `message_us` is CPU time a message, `audits` are how many and of how many messages.

    `each_us` is that CPU time by daemon: the model has one for all.
    """

    seed: int
    nodes: Sequence[Original]
    observed: Observed
    message_us: int
    each_us: Sequence[int]
    write_us: int
    audits: tuple[int, int]
    load: dict[str, float]


async def measured(place: Path, count: int, seed: int, asks: int) -> Measured:
    """Run a network of daemons, ask it, and read its tapes."""
    nodes: list[DevNode] = []
    try:
        await begin_all(place, roles(count), nodes)
        course = Course(nodes, nodes[0], seed, Quiet())
        audits = await course.audit()
        # Until what the audits have left to do is done.
        await asyncio.sleep(_SETTLE_S)
        own_us, clock, begin_ms = [cpu_us(node.process.pid) for node in nodes], Clock.read(), _now_ms()
        await course.ask_all(questions(seed, asks, skills(node.model for node in nodes)), _PACE_S * asks)
        spent_us = [cpu_us(node.process.pid) - before for node, before in zip(nodes, own_us, strict=True)]
        end_ms, busy = _now_ms(), Clock.read().busy_since(clock)
        load = {"load": round(os.getloadavg()[0], 1), "busy": round(busy, 2), "cores": cores()}
        load["daemons"] = round(sum(spent_us) / 1_000 / (end_ms - begin_ms) / cores(), 2)
        write_us = await _write_us(place)
    finally:
        await asyncio.shield(stop(nodes))
    read = [
        Original.read(number, node.role, node.home, node.home.with_suffix(".tape"), begin_ms)
        for number, node in enumerate(nodes)
    ]
    observed = Observed([step for node in read for step in node.steps], count, begin_ms, end_ms)
    handled = [observed.handled(node.number) for node in read]
    each_us = [own_us // max(1, count) for own_us, count in zip(spent_us, handled, strict=True)]
    return Measured(
        seed,
        read,
        observed,
        sum(spent_us) // max(1, sum(handled)),
        each_us,
        write_us,
        (audits["tasks"], audits["messages"]),
        load,
    )


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def _write_us(place: Path) -> int:
    """What a daemon takes to write a row, synced: the median, while the others are idle."""
    store, took_us = Store(place / "writes.sqlite"), []
    for number in range(_WRITES):
        begun_ns = time.perf_counter_ns()
        store.write([Persist("evidence", number.to_bytes(4, "big"), bytes(200))])
        took_us.append((time.perf_counter_ns() - begun_ns) // 1_000)
        await asyncio.sleep(_WRITE_EVERY_S)
    store.close()
    return int(statistics.median(took_us))


def calibrated(run: Measured) -> Model:
    """The model of this machine: what channels and gossip take is set until simulated hops take as long as measured ones."""
    model = Model(int(run.load["cores"]), run.message_us, run.write_us)
    wanted = run.observed.hops_ms()
    for _ in range(_ROUNDS):
        found = twins.asked(run.nodes, run.observed, model, run.seed).hops_ms()
        off_us = {way: round(1_000 * (wanted[way] - found[way])) for way in wanted}
        latency_us = max(0, model.latency_us + off_us["channel"])
        # A hop of gossip goes over a link as well.
        hop_us = max(0, model.hop_us + off_us["gossip"] - (latency_us - model.latency_us))
        model = replace(model, latency_us=latency_us, hop_us=hop_us)
    return model


def _figures(observed: Observed) -> dict[str, Any]:
    asked, messages = len(observed.outcomes), observed.messages()
    return {
        "answered": sum(outcome.answer is not None for outcome in observed.outcomes),
        "p50_ms": observed.latency_ms(),
        "p90_ms": observed.latency_ms(0.9),
        **{group: round(counts.total() / asked, 2) for group, counts in messages.items()},
        "all": round(sum(counts.total() for counts in messages.values()) / asked, 2),
        "by_type": {
            group: {kind: round(count / asked, 2) for kind, count in sorted(counts.items())}
            for group, counts in messages.items()
        },
        "hops_ms": observed.hops_ms(),
    }


def compared(run: Measured, model: Model, own: Model) -> dict[str, Any]:
    """The figures of daemons beside those of simulations: with the `model` calibrated before, and with the run's `own` one."""
    daemons = _figures(run.observed)
    simulated = {"calibrated": _simulated(run, model, daemons), "own": _simulated(run, own, daemons)}
    off = simulated["calibrated"]["off"]
    return {
        "nodes": len(run.nodes),
        "seed": run.seed,
        "asked": len(run.observed.outcomes),
        "load": run.load,
        "own_model": asdict(own),
        "message_us_each": list(run.each_us),
        "daemons": {**daemons, "audits_before": run.audits},
        **simulated,
        "agrees": abs(off[QUESTIONS]) <= MESSAGES_OFF_MAX and abs(off["p50_ms"]) <= LATENCY_OFF_MAX,
    }


def _simulated(run: Measured, model: Model, daemons: dict[str, Any]) -> dict[str, Any]:
    """The figures of a simulation, and by which part of theirs it is off the daemons."""
    found = _figures(twins.asked(run.nodes, run.observed, model, run.seed))
    off = {name: round(found[name] / daemons[name] - 1, 4) for name in _OFF}
    return {**found, "audits_before": twins.audited(run.nodes, run.observed, model, run.seed), "off": off}


def _told(model: Model) -> str:
    return (
        f"a message costs {model.message_us} us of one of {model.cores} cores, a write takes {model.write_us} us; "
        f"beyond that a channel takes {model.latency_us} us, and a hop of gossip {model.hop_us} us more"
    )


def _show(found: dict[str, Any], what: str) -> None:
    load, ways = found["load"], [found["daemons"], found["calibrated"], found["own"]]
    print(f"\n{what}: {found['nodes']} nodes, {found['asked']} questions, seed {found['seed']}")
    print(f"load {load['load']}, {load['cores']} cores {load['busy']:.0%} busy, {load['daemons']:.0%} by the daemons")
    each_us = found["message_us_each"]
    print(f"in this run {_told(Model(**found['own_model']))}; by daemon a message cost {min(each_us)} to {max(each_us)} us")
    rows: list[tuple[object, ...]] = [("", "daemons", "simulated", "off", "with its own values", "off")]

    def row(told: str, *values: object, name: str = "") -> None:
        offs = [f"{way['off'][name]:+.1%}" if name else "" for way in ways[1:]]
        rows.append((told, values[0], values[1], offs[0], values[2], offs[1]))

    row("latency p50, ms", *(way["p50_ms"] for way in ways), name="p50_ms")
    row("latency p90, ms", *(way["p90_ms"] for way in ways), name="p90_ms")
    for group in GROUPS:
        row(f"messages a question: {group}", *(way[group] for way in ways), name=group if group in _OFF else "")
        # Audits are as many as the lot has it, of the same types; there is no more to see.
        for kind in sorted({kind for way in ways for kind in way["by_type"][group]} if group in _OFF else ()):
            row(f"  {kind}", *(way["by_type"][group].get(kind, 0) for way in ways))
    row("messages a question: all", *(way["all"] for way in ways), name="all")
    for way in ("channel", "gossip"):
        row(f"step to step by {way}, ms", *(each["hops_ms"][way] for each in ways))
    for place, name in enumerate(("audits before the questions", "  their messages")):
        row(name, *(way["audits_before"][place] for way in ways))
    print(table(rows))
    print("agrees" if found["agrees"] else "DISAGREES", flush=True)


async def main(chosen: argparse.Namespace) -> int:
    """Calibrate on one network, compare all, print; gives the exit code."""
    model: Model | None = None
    found = []
    for count, seed in NETWORKS:
        with temporary_home() as place:
            ran = await measured(place, count, seed, chosen.questions)
        own = await asyncio.to_thread(calibrated, ran)
        if model is None:
            model = own
            if not chosen.json:
                print(f"calibrated: {_told(model)}")
        found.append(await asyncio.to_thread(compared, ran, model, own))
        if not chosen.json:
            _show(found[-1], "the network that it was calibrated on" if len(found) == 1 else "another network")
    if chosen.json:
        print(json.dumps({"networks": found}))
    return 0 if all(one["agrees"] for one in found) else 1


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m contrib.bench.calibration", description="Daemons and their simulation.")
    parser.add_argument("--questions", type=int, default=40, metavar="N", help="of each network, 5 or more (40)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    if chosen.questions < 5:  # noqa: PLR2004  of fewer a median says nothing
        parser.error("--questions must be 5 or more")
    return chosen


if __name__ == "__main__":
    run(main(_parsed()))
