"""The course of a developer network: audits, one example, the questions, the baselines, the summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from node.dev.baselines import OwnAnswer, own_answers, self_consistency
from node.dev.endurance import settled, snapshots, verdict
from node.dev.network import DevNode
from node.dev.questions import Question
from node.dev.screen import Progress
from node.dev.statistics import Sheet, best_single

_POLL_S = 0.1
# Calibration of ten nodes takes seconds; a machine that needs this long is told so by the outcome "unearned".
_AUDITS_S = 180.0


class Screen(Protocol):
    """Where progress goes: a live table, plain lines, or nowhere. It is told every `progress_s` seconds at most."""

    progress_s: float

    def phase(self, text: str) -> None:
        """A new part begins."""
        ...

    def progress(self, text: str) -> None:
        """How far the present part is."""
        ...

    def asked(self, question: Question, row: dict[str, Any], done: int, total: int) -> None:
        """A question has its outcome."""
        ...

    def event(self, event: dict[str, Any]) -> None:
        """Something happened in the asked node."""
        ...


@dataclass
class Course:
    """What a run gathers. `asked` is the node that is asked: any would do, each keeps its own evidence."""

    nodes: Sequence[DevNode]
    asked: DevNode
    seed: int
    screen: Screen
    rows: list[dict[str, Any]] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    consistent: list[OwnAnswer] = field(default_factory=list)
    baseline_tokens: int = 0
    endurance: dict[str, Any] | None = None

    async def audit(self) -> dict[str, Any]:
        """Let the asked node examine its peers, and itself, before the first question; gives the cost."""
        state = await self.asked.client.post("/v1/audits")
        end = time.monotonic() + _AUDITS_S
        while not state["settled"] and time.monotonic() < end:
            await asyncio.sleep(_POLL_S)
            state = await self.asked.client.get("/v1/audits")
        return state

    async def evidence(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What the asked node knows of each node, itself included: peer id -> skill -> claim, hits, misses, weight."""
        peers = (await self.asked.client.get("/v1/peers"))["peers"]
        own = await self.asked.client.get("/v1/status")
        return {own["peer_id"]: own["skills"], **{peer["peer_id"]: peer["skills"] for peer in peers}}

    async def ask(self, question: Question) -> dict[str, Any]:
        """Ask the network; the latency is the client's, from the request to the answer."""
        begun = time.monotonic()
        outcome = await self.asked.client.post("/v1/ask", {"question": question.text})
        latency_ms = round((time.monotonic() - begun) * 1_000, 1)
        return {
            **outcome,
            "id": question.id,
            "asked_skill": outcome["skill"],
            "skill": question.skill,
            "family": question.family,
            "text": question.text,
            "gold": question.gold,
            "correct": outcome["answer"] == question.gold,
            "latency_ms": latency_ms,
            "overhead_ms": round(latency_ms - outcome["inference_ms"] - outcome["calibration_ms"], 1),
        }

    async def ask_all(self, asked: Sequence[Question], over_s: float = 0.0) -> None:
        """Ask one question after the other, spread evenly over at least `over_s` seconds."""
        progress = Progress("asked", len(asked), self.screen.progress, self.screen.progress_s)
        begun = time.monotonic()
        for index, question in enumerate(asked):
            await _sleep_until(begun + over_s * index / len(asked))
            row = await self.ask(question)
            self.rows.append(row)
            self.screen.asked(question, row, index + 1, len(asked))
            progress.step()
        await _sleep_until(begun + over_s)

    async def endure(self, asked: Sequence[Question], over_s: float) -> None:
        """Ask over a longer time and find out whether the network stayed whole."""
        before = await snapshots(self.nodes)
        await self.ask_all(asked, over_s)
        self.endurance = verdict(before, await settled(self.nodes), self.rows)

    async def baselines(self, asked: Sequence[Question]) -> None:
        """Ask every node's own model the same questions, outside the protocol; then the best one, over and over."""
        self.screen.phase("Asking every node's own model the same questions, for comparison ...")
        progress = Progress("own answers", len(asked) * len(self.nodes), self.screen.progress, self.screen.progress_s)
        answers = await own_answers(self.nodes, asked, progress.step)
        self.baseline_tokens = sum(answer.tokens for of_node in answers for answer in of_node)
        for index, question in enumerate(asked):
            own = tuple(of_node[index].answer for of_node in answers)
            outcome = self.rows[index]["answer"]
            self.sheets.append(Sheet(question.id, question.skill, question.family, question.gold, outcome, own))
        twins = self.best_nodes()
        self.screen.phase(f"Asking the best of them, {twins[0].model}, until it has used as many tokens as the network ...")
        budgets = [row["tokens"] for row in self.rows]
        progress = Progress("self-consistency", len(asked), self.screen.progress, self.screen.progress_s)
        self.consistent = await self_consistency(twins, asked, budgets, progress.step)

    def best_nodes(self) -> list[DevNode]:
        """The honest nodes that run the model of the best single node."""
        best = self.nodes[best_single(self.sheets, len(self.nodes))]
        return [node for node in self.nodes if node.role == best.role]


async def _sleep_until(end: float) -> None:
    await asyncio.sleep(max(0.0, end - time.monotonic()))
