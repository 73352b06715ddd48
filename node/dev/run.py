"""The course of a developer network: audits, one example, the questions, the baselines, the summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from node.dev.network import DevNode
from node.dev.questions import Question
from node.dev.statistics import Sheet, estimate, paired, percentile, scores

_POLL_S = 0.1
# Calibration of seven nodes takes seconds; a machine that needs this long is told so by the outcome "unearned".
_AUDITS_S = 180.0


class Screen(Protocol):
    """Where progress goes: a live table, plain lines, or nowhere."""

    def phase(self, text: str) -> None:
        """A new part begins."""
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
    baseline_tokens: int = 0

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

    async def ask_all(self, asked: Sequence[Question], each: Callable[[int], None] | None = None) -> None:
        """Ask one question after the other. `each` is called before every question with its index."""
        for index, question in enumerate(asked):
            if each is not None:
                each(index)
            row = await self.ask(question)
            self.rows.append(row)
            self.screen.asked(question, row, index + 1, len(asked))

    async def baselines(self, asked: Sequence[Question]) -> None:
        """Ask every node's own model the same questions, outside the protocol."""
        answers = await asyncio.gather(*(self._own_answers(node, asked) for node in self.nodes))
        for index, question in enumerate(asked):
            own = tuple(node_answers[index] for node_answers in answers)
            self.sheets.append(Sheet(question.id, question.skill, question.gold, self.rows[index]["answer"], own))

    async def _own_answers(self, node: DevNode, asked: Sequence[Question]) -> list[str | None]:
        found = []
        for question in asked:
            answer = await node.client.post("/v1/infer", {"question": question.text, "skill": question.skill})
            self.baseline_tokens += answer["tokens"]
            found.append(answer["answer"])
        return found

    async def report(self, audits: dict[str, Any]) -> dict[str, Any]:
        """The JSON object of `tutti dev --json`."""
        nodes = []
        for node in self.nodes:
            status = await node.client.get("/v1/status")
            nodes.append(
                {
                    "peer_id": node.peer_id,
                    "model": node.model,
                    "role": node.role,
                    "pid": node.process.pid,
                    "worker_pid": status["model"]["pid"],
                }
            )
        policies = scores(self.sheets, [not node.lies for node in self.nodes])
        network = policies["network"]
        overheads = [row["overhead_ms"] for row in self.rows]
        return {
            "seed": self.seed,
            "nodes": nodes,
            "questions": self.rows,
            "accuracy": {name: estimate(values) for name, values in policies.items()},
            "paired": {name: paired(network, values) for name, values in policies.items() if name != "network"},
            "single": {
                node.peer_id: estimate([float(sheet.own[index] == sheet.gold) for sheet in self.sheets])["accuracy"]
                for index, node in enumerate(self.nodes)
            },
            "latency": {
                "overhead_ms_p50": percentile(overheads, 0.5),
                "overhead_ms_p99": percentile(overheads, 0.99),
                "latency_ms_p50": percentile([row["latency_ms"] for row in self.rows], 0.5),
                "latency_ms_p99": percentile([row["latency_ms"] for row in self.rows], 0.99),
            },
            "cost": {
                "messages": sum(row["messages"] for row in self.rows),
                "bytes": sum(row["bytes"] for row in self.rows),
                "tokens": sum(row["tokens"] for row in self.rows),
                "audits": {key: audits[key] for key in ("tasks", "messages", "bytes", "tokens")},
                "baselines": {"tokens": self.baseline_tokens},
            },
        }
