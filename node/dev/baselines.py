"""What the models of a developer network say without the network: each alone, and the best one asked again and again.

Both go to the nodes' own models over their API and send nothing to any peer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.dev.network import DevNode
from node.dev.questions import Question
from node.dev.statistics import plurality

# Questions under way at one node: its model computes four at once, as many wait, so that it never idles.
_AT_ONCE = 8

# Self-consistency (Wang et al. 2022, arXiv:2203.11171) samples at 0.5 to 0.7 and takes the plurality.
TEMPERATURE_MILLI = 700
# More samples than any budget of ours asks for; a model that answers with nothing would otherwise be sampled for ever.
SAMPLES_MAX = 64


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What one model said; None is an abstention. `samples` is how often it was asked."""

    answer: str | None
    tokens: int
    samples: int = 1


async def own_answers(nodes: Sequence[DevNode], asked: Sequence[Question], each: Callable[[], None]) -> list[list[OwnAnswer]]:
    """Every node's own answer to every question, greedily decoded; `each` is called after every answer."""

    async def answers(node: DevNode) -> list[OwnAnswer]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def answer(question: Question) -> OwnAnswer:
            async with limit:
                said = await _infer(node, question)
            each()
            return said

        return await asyncio.gather(*(answer(question) for question in asked))

    return await asyncio.gather(*(answers(node) for node in nodes))


async def self_consistency(
    nodes: Sequence[DevNode], asked: Sequence[Question], budgets: Sequence[int], each: Callable[[], None]
) -> list[OwnAnswer]:
    """Sample the model that all of `nodes` run until it has spent each question's budget of tokens; plurality answers.

    The sample that reaches the budget counts too, so no question is answered with fewer tokens than its budget.
    """
    limits = [asyncio.Semaphore(_AT_ONCE) for _ in nodes]

    async def answer(index: int, question: Question, budget: int) -> OwnAnswer:
        node, limit = nodes[index % len(nodes)], limits[index % len(nodes)]
        said: list[OwnAnswer] = []
        async with limit:
            while not said or (sum(sample.tokens for sample in said) < budget and len(said) < SAMPLES_MAX):
                said.append(await _infer(node, question, temperature_milli=TEMPERATURE_MILLI, seed=len(said) + 1))
        each()
        chosen = plurality(question.id, [sample.answer for sample in said])
        return OwnAnswer(chosen, sum(sample.tokens for sample in said), len(said))

    work = (answer(index, question, budget) for index, (question, budget) in enumerate(zip(asked, budgets, strict=True)))
    return await asyncio.gather(*work)


async def _infer(node: DevNode, question: Question, **sampling: int) -> OwnAnswer:
    said = await node.client.post("/v1/infer", {"question": question.text, "skill": question.skill, **sampling})
    return OwnAnswer(said["answer"], said["tokens"])
