"""Kill the bootstrap node, a node that holds an award, and a model's process, while 20 questions run.

    python -m contrib.bench.kills

Prints one line a question and, last, how many of 20 ended in an answer. Exit code 1 if any did not.
"""

from __future__ import annotations

import asyncio
import os
import signal

from contrib.bench.processes import run
from node.dev.network import DevNode, network, population, skills
from node.dev.questions import questions
from node.dev.run import Course
from node.dev.screen import Lines

_QUESTIONS = 20
# Ends of a seat that went to nobody else.
_UNMOVED = ("answered", "abstained", "not needed")
_KILL_BOOTSTRAP_AT = 5
_KILL_EXECUTOR_AT = 10
_KILL_WORKER_AT = 15


async def when_awarded(course: Course) -> str:
    """The peer id of the first node, other than the asked one, that is offered a seat from now on."""
    async for event in course.asked.client.events():
        if event["event"] == "award" and event["peer"] != course.asked.peer_id:
            return str(event["peer"])
    raise RuntimeError("the event stream ended")


async def _kill_executor(course: Course, nodes: list[DevNode]) -> None:
    victim = await when_awarded(course)
    node = next(node for node in nodes if node.peer_id == victim)
    os.kill(node.process.pid, signal.SIGKILL)
    print(f"       killed the node {node.role} {victim[-8:]}, which held an award")


async def _kill_worker(course: Course, nodes: list[DevNode], workers: dict[str, int]) -> None:
    victim = await when_awarded(course)
    os.kill(workers[victim], signal.SIGKILL)
    node = next(node for node in nodes if node.peer_id == victim)
    print(f"       killed the model's process of {node.role} {victim[-8:]}, which held an award")


async def main() -> int:
    """Run it; gives the exit code."""
    async with network(population()) as nodes:
        asked = nodes[1]
        course = Course(nodes, asked, seed=20, screen=Lines())
        await course.audit()
        asked_skills = skills(node.model for node in nodes)
        strikes: list[asyncio.Task[None]] = []
        for index, question in enumerate(questions(course.seed, _QUESTIONS, asked_skills)):
            if index == _KILL_BOOTSTRAP_AT:
                os.kill(nodes[0].process.pid, signal.SIGKILL)
                print("       killed the bootstrap node")
            elif index == _KILL_EXECUTOR_AT:
                strikes.append(asyncio.create_task(_kill_executor(course, nodes)))
            elif index == _KILL_WORKER_AT:
                alive = [node for node in nodes if node.process.returncode is None]
                workers = {node.peer_id: (await node.client.get("/v1/status"))["model"]["pid"] for node in alive}
                strikes.append(asyncio.create_task(_kill_worker(course, nodes, workers)))
            # The listener has to be connected before the award that it waits for.
            await asyncio.sleep(0.2)
            row = await course.ask(question)
            course.rows.append(row)
            course.screen.asked(question, row, index + 1, _QUESTIONS)
            for seat in row["award"]["seats"]:
                if seat["state"] not in _UNMOVED:
                    print(f"       seat {seat['seat']} of {seat['peer_id'][-8:]}: {seat['state']}; it went to the next bid")
        await asyncio.gather(*strikes)
        answered = sum(row["answer"] is not None for row in course.rows)
        moved = sum(seat["state"] not in _UNMOVED for row in course.rows for seat in row["award"]["seats"])
        left = [node.role for node in nodes if node.process.returncode is None]
        print(f"{answered} of {_QUESTIONS} questions ended in an answer; {moved} leases went to the next bid")
        print(f"alive at the end: {', '.join(left)}")
        return 0 if answered == _QUESTIONS else 1


if __name__ == "__main__":
    run(main())
