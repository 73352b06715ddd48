"""What `tutti dev --minutes` counts: every message that had to arrive did, and what it says when one did not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import node
from node.dev.endurance import DROPS, Snapshot, expected, missing, settled, verdict
from node.dev.network import network
from node.dev.questions import Question, questions
from node.dev.run import Course
from node.dev.screen import Progress, Quiet, _line
from tests.support import EXPERT, exercise, host_of, liar, solver, world_of

QUESTION = Question("1", "arith", "add", "1 + 2", "3")
ANSWERED = [{"outcome": "answered"}]
ASKER = Snapshot(alive=True, sent={"beacon": 2, "award": 3}, received={"bid": 4}, memory_kb=100_000)
ANSWERER = Snapshot(alive=True, sent={"bid": 4}, received={"beacon": 2, "award": 3}, memory_kb=200_000)


def test_expected__a_beacon_at_every_other_node_and_the_rest_at_one() -> None:
    assert expected([ASKER, ANSWERER, ANSWERER]) == {"beacon": 4, "award": 3, "bid": 8}


def test_missing__is_what_was_sent_and_not_received_by_type() -> None:
    assert missing([ASKER, ANSWERER]) == {}
    deaf = replace(ANSWERER, received={"beacon": 1, "award": 3})
    assert missing([ASKER, deaf]) == {"beacon": 1}


def test_verdict__a_quiet_time_is_whole_and_tells_the_growth_of_memory() -> None:
    found = verdict([ASKER, ANSWERER], [replace(ASKER, memory_kb=101_000), ANSWERER], ANSWERED)
    assert found["whole"] is True
    assert (found["memory_growth_kb"], found["memory_growth_kb_max"], found["messages"]) == (1_000, 1_000, 9)


def test_verdict__whatever_went_wrong_breaks_it() -> None:
    before = [ASKER, ANSWERER]
    for broken in (
        Snapshot(alive=False),
        replace(ANSWERER, restarts=1),
        replace(ANSWERER, peers_lost=1),
        replace(ANSWERER, dropped=1),
        replace(ANSWERER, received={"beacon": 2, "award": 2}),
    ):
        assert verdict(before, [ASKER, broken], ANSWERED)["whole"] is False
    assert verdict(before, before, [{"outcome": "deadline"}])["whole"] is False


def test_drops__are_counters_that_the_transport_has() -> None:
    sources = "".join(file.read_text() for file in Path(node.__file__).parent.glob("libp2p_*.py"))
    assert all(f'counters["{name}"]' in sources for name in DROPS)


def test_verdict__a_connection_lost_before_does_not_count() -> None:
    early = replace(ANSWERER, peers_lost=1)
    assert verdict([ASKER, early], [ASKER, early], ANSWERED)["whole"] is True


def test_cores__count_what_they_send_and_what_arrives_alike() -> None:
    world = world_of({"a": solver(EXPERT), "b": solver(EXPERT), "c": solver(EXPERT), "liar": liar()})
    for seed in range(5):
        world.answer(host_of(world, "a"), exercise("arith", seed).text)
    world.run(for_ms=60_000)
    counts = [Snapshot(alive=True, sent=host.core.sent, received=host.core.received) for host in world.hosts.values()]
    assert {"beacon", "bid", "bid_ack", "award", "accept", "commit", "commit_set", "reveal"} <= set(expected(counts))
    assert missing(counts) == {}


def test_line__says_what_was_not_the_usual_course_of_a_question() -> None:
    row: dict[str, Any] = {"correct": True, "margin": 0.2, "answer": "3", "latency_ms": 81.0}
    usual = {"dissent": 0, "abstained": 0, "gate": "committee", "stopped": False, "further": 0}
    assert _line(QUESTION, row | usual, 1, 40).endswith("right 0.20   81 ms")
    other = {"dissent": 1, "abstained": 2, "gate": "checked", "stopped": True, "further": 2}
    said = "1 against, 2 abstained, checked, stopped early, 2 more asked"
    assert _line(QUESTION, row | other, 1, 40).endswith(f"right 0.20   81 ms  {said}")
    assert _line(QUESTION, row | usual | {"gate": "alone"}, 1, 40).endswith("ms  one alone")


def test_progress__tells_now_and_then_and_how_long_it_will_take() -> None:
    told: list[str] = []
    progress = Progress("asked", 2, told.append, every_s=0.0)
    progress.step()
    assert told == ["asked: 1 of 2, about 0:00 left"]
    silent = Progress("asked", 2, told.append, every_s=3_600.0)
    silent.step()
    assert len(told) == 1


def test_network__of_processes_loses_nothing() -> None:
    async def run() -> Course:
        async with asyncio.timeout(120), network(("arith", "arith", "generalist")) as nodes:
            course = Course(nodes, nodes[0], 3, Quiet())
            await course.audit()
            await course.endure(questions(course.seed, 4, ("arith",)), over_s=0.5)
            assert missing(await settled(nodes)) == {}
            return course

    found = asyncio.run(run()).endurance
    assert found is not None
    assert found["whole"] is True, found
    assert found["messages"] > 0
