"""What a network of daemons did, a kill among it, is done again from their tapes, to the byte.

    python -m contrib.bench.tapes [--nodes N] [--questions N] [--seed S] [--json]

Each daemon writes a tape. Questions are asked; half-way one node is killed while it holds an award, and starts again in its
home with a new tape. Then all are stopped, and a core of this source goes through every tape: it must make of the same inputs
the very effects that the daemon's core made. Exit code 1 if one differs, or a question ended without an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from contrib.bench.kills import when_awarded
from contrib.bench.processes import run
from contrib.bench.taped import begin, begin_all
from contrib.evaluation.figures import table
from node.dev.homes import temporary_home
from node.dev.network import NODES_MAX, DevNode, met, roles, skills, stop
from node.dev.questions import questions
from node.dev.run import Course
from node.dev.screen import Quiet
from simnet import replay

# An award to another node than the asked one comes within a few questions, or it is killed without one.
_AWARD_S = 30.0


async def _killed(course: Course, nodes: Sequence[DevNode]) -> DevNode:
    """Kill a node, other than the asked one, as soon as it is offered a seat."""
    try:
        async with asyncio.timeout(_AWARD_S):
            victim = await when_awarded(course)
    except TimeoutError:
        victim = nodes[-1].peer_id
    node = next(node for node in nodes if node.peer_id == victim)
    os.kill(node.process.pid, signal.SIGKILL)
    await node.process.wait()
    await node.client.close()
    return node


async def _asked(place: Path, chosen: argparse.Namespace, nodes: list[DevNode]) -> tuple[int, str]:
    """Ask all questions and kill a node on the way; gives how many were answered, and who was killed."""
    await begin_all(place, roles(chosen.nodes), nodes)
    course = Course(nodes, nodes[0], chosen.seed, Quiet())
    await course.audit()
    asked = questions(chosen.seed, chosen.questions, skills(node.model for node in nodes))
    half = len(asked) // 2
    await course.ask_all(asked[:half])
    strike = asyncio.create_task(_killed(course, nodes))
    # The listener has to be connected before the award that it waits for.
    await asyncio.sleep(0.2)
    for question in asked[half:]:
        course.rows.append(await course.ask(question))
        if strike.done() and strike.result() in nodes:
            await _restarted(place, strike.result(), nodes)
    victim = await strike
    if victim in nodes:
        await _restarted(place, victim, nodes)
    return sum(row["answer"] is not None for row in course.rows), victim.home.name


async def _restarted(place: Path, victim: DevNode, nodes: list[DevNode]) -> None:
    """Start the node that was killed again, from its disk, and wait until all are connected to it."""
    nodes.remove(victim)
    bootstrap = nodes[0].addresses[0]
    nodes.append(await begin(victim.home, victim.role, place / f"{victim.home.name}-again.tape", bootstrap))
    await met(nodes)


def _told(played: replay.Played) -> str:
    torn = f"; {played.torn} bytes of a step behind it were being written" if played.torn else ""
    return ("equal" if played.first is None else f"otherwise from step {played.first} on") + torn


async def main(chosen: argparse.Namespace) -> int:
    """Print a line a tape; gives the exit code."""
    nodes: list[DevNode] = []
    with temporary_home() as place:
        try:
            answered, victim = await _asked(place, chosen, nodes)
        finally:
            await asyncio.shield(stop(nodes))
        tapes = sorted(place.glob("*.tape"), key=lambda file: (int(file.name.partition("-")[0]), len(file.name)))
        found = {file.stem: replay.tape(file) for file in tapes}
    equal = sum(played.first is None for played in found.values())
    steps, effects = (sum(getattr(played, name) for played in found.values()) for name in ("steps", "effects"))
    if chosen.json:
        told = {"answered": answered, "questions": chosen.questions, "killed": victim, "equal": equal, "tapes": len(found)}
        print(json.dumps({**told, "each": {name: asdict(played) for name, played in found.items()}}))
    else:
        rows: list[tuple[object, ...]] = [("tape", "inputs", "effects", "")]
        rows += [(name, played.steps, played.effects, _told(played)) for name, played in found.items()]
        print(table(rows))
        print(f"{answered} of {chosen.questions} questions answered; {victim} was killed and started again")
        print(f"{equal} of {len(found)} tapes give the same effects to the byte: {steps} inputs, {effects} effects")
    return 0 if equal == len(found) and answered == chosen.questions else 1


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m contrib.bench.tapes", description="Tapes of daemons, done again.")
    parser.add_argument("--nodes", type=int, default=10, metavar="N", help=f"daemons, from 3 to {NODES_MAX} (10)")
    parser.add_argument("--questions", type=int, default=10, metavar="N", help="questions (10)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the questions (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    if not 3 <= chosen.nodes <= NODES_MAX or chosen.questions < 2:  # noqa: PLR2004  one is asked, one dies, one is left
        parser.error(f"there must be from 3 to {NODES_MAX} nodes, and 2 questions or more")
    return chosen


if __name__ == "__main__":
    run(main(_parsed()))
