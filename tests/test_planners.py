"""Planners at the node: what bounds their text, what an instruct model is asked, and how a planned answer reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import node
from node.answering import answer
from node.cli.plans import plan_lines, why_plans
from node.engine import Sampling
from node.llama_engine import LlamaEngine
from node.llama_grammar import GRAMMARS
from node.prompts import plannable, planning
from protocol.answers import answer_of
from protocol.constants import ANSWER_SIZE_MAX
from protocol.parameters import preset
from protocol.plan import Plan

MODELS = Path(node.__file__).parent / "models"
QUESTION = "What is 3 times the largest of 5, 41, 7?"


def written(model: str, *samplings: Sampling) -> list[str]:
    async def run() -> list[str]:
        engine = LlamaEngine(MODELS / f"{model}-Q8_0.gguf")
        await engine.start()
        try:
            return [(await engine.infer(QUESTION, 120, 60_000, sampling)).text for sampling in samplings]
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", sorted(GRAMMARS))
def test_grammar__is_loaded_by_llama_cpp_and_bounds_a_model_that_never_planned(kind: str) -> None:
    hot = [Sampling(2_000, seed, kind) for seed in range(6)]
    free, *bounded = written("logic", Sampling(), Sampling(0, 0, kind), *hot)
    assert answer_of("plan", free) is None
    for text in bounded:
        assert text.startswith("answer:")
        for line in text.removeprefix("answer:").lstrip().split("\n"):
            # Cut off by its tokens, the last line may be the beginning of one.
            assert line == "" or ": " in line or line == text.split("\n")[-1].removeprefix("answer: ")


def test_planner__writes_a_plan_that_is_one() -> None:
    async def run() -> str:
        engine = LlamaEngine(MODELS / "plan-Q8_0.gguf")
        await engine.start()
        try:
            return (await answer(engine, QUESTION, "plan", 256, 60_000)).text
        finally:
            await engine.close()

    plan = Plan.parse(answer_of("plan", asyncio.run(run())) or "")
    assert [step.skill for step in plan.steps] == ["lists", "arith"]
    assert plan.text == "lists: What is the largest of 5, 41, 7?\narith: Multiply #1 by 3."


def test_prompt__names_what_steps_may_ask_for_and_keeps_the_question_apart() -> None:
    skills = plannable(preset("dev"))
    assert list(skills) == ["arith", "lists", "logic", "text"]
    prompt = planning(QUESTION, skills)
    assert prompt.message[1] == QUESTION
    assert all(f"{name}: {example}" in prompt.message[2] for name, example in skills.items())
    assert len(prompt.message[2]) < 2 * ANSWER_SIZE_MAX


PLANNED = {
    "plans": [
        {
            "plan": 1,
            "planners": ["ada", "bob"],
            "weight": 12.5,
            "text": "",
            "state": "answered",
            "answer": "123",
            "steps": [
                {
                    "step": 1,
                    "skill": "lists",
                    "question": "What is the largest of 5, 41, 7?",
                    "answer": "41",
                    "outcome": "answered",
                    "votes": [{"peer_id": "eve", "agrees": True}, {"peer_id": "liz", "agrees": False}],
                }
            ],
        },
        {
            "plan": 2,
            "planners": ["cid"],
            "weight": 0.0,
            "text": "",
            "state": "step 1: no bids",
            "answer": None,
            "steps": [
                {"step": 1, "skill": "text", "question": "?", "answer": None, "outcome": "no bids", "votes": []},
            ],
        },
    ]
}


def test_plans__read_like_this() -> None:
    assert plan_lines(PLANNED, str.upper) == [
        "plan 1 by ADA, BOB, weight 12.50: 123",
        "  1  lists  What is the largest of 5, 41, 7?  41  EVE",
        "plan 2 by CID, weight 0.00: failed, step 1: no bids",
        "  1  text  ?  no bids",
    ]
    assert why_plans(PLANNED, str.upper) == [
        "Plans: 3 planners wrote 2 different plans; what two wrote alike is carried out once.",
        "  Plan 1: step 1 (lists) gave 41 by EVE; so its planners' weight, 12.50, is for 123.",
        "  Plan 2: step 1 (text) had no answer (no bids); it failed: step 1: no bids.",
    ]
    assert why_plans({"plans": []}, str.upper) == []
