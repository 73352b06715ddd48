"""Plans, their canonical form and their questions: specs/09-plans.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from protocol.constants import PLAN_DEPTH_MAX, PLAN_ITEM_MAX, PLAN_STEP_SIZE_MAX, PLAN_STEPS_MAX
from protocol.plan import Plan

DOCUMENT: Final = "09-plans.md"


def _plan(text: str) -> dict[str, object]:
    plan = Plan.parse(text)
    return {"text": plan.text, "needs": [step.needs for step in plan.steps], "depths": [step.depth for step in plan.steps]}


def _fill(text: str, step: int, answers: list[str]) -> str:
    """The question of a step, with the answers of the steps from 1 on."""
    return Plan.parse(text).steps[step - 1].filled(dict(enumerate(answers, 1)))


OPERATIONS: Final[dict[str, Operation]] = {"plan": _plan, "fill": _fill}

_SORT: Final = "lists: Sort the list 3 1 2.\narith: Add #1[-1] and #1[-2].\nlogic: Is #2 even or odd?"


def _chain(count: int) -> str:
    return "\n".join(["arith: What is 1 + 1?", *(f"arith: What is #{number} + 1?" for number in range(1, count))])


def _wide(count: int) -> str:
    """So many steps, of which the last needs all others."""
    return "\n".join(["arith: What is 1 + 1?"] * (count - 1) + ["arith: " + " + ".join(f"#{n}" for n in range(1, count))])


def _plans() -> list[Case]:
    good = {
        "three steps": _SORT,
        "one step": "arith: What is 1 + 2?",
        "blanks, tabs and empty lines": "\n\t lists :  Sort \u00a0 2 1. \r\n\n arith:Add #1[1] and 1.\n",
        "no blank behind the colon": "arith:What is 1 + 2?",
        "brought into NFC": "text: Reverse e\u0301te\u0301.",
        "two colons": "logic: Is it so: 1 < 2?",
        "a number sign without a digit": "text: What is # ?",
        "as deep as may be": _chain(PLAN_DEPTH_MAX),
        "as many steps as may be": _wide(PLAN_STEPS_MAX),
        "the longest step": "text: " + "é" * (PLAN_STEP_SIZE_MAX // 2),
        "the last item": f"lists: Sort 2 1.\narith: Add #1[{PLAN_ITEM_MAX}] and #1[-{PLAN_ITEM_MAX}].",
        "a skill that nobody knows": "poetry_2: Write.",
    }
    bad = {
        "nothing": "",
        "blanks alone": " \n\t\n",
        "a line without a skill": "What is 1 + 2?",
        "upper case": "Arith: What is 1 + 2?",
        "a skill of 33 letters": "a" * 33 + ": 1 + 2",
        "two blanks before the colon, one word": "arith 2: 1 + 2",
        "no question": "arith:",
        "a question of blanks": "arith:   ",
        "itself": "arith: What is #1 + 2?",
        "a later step": "arith: What is #2 + 2?\narith: What is 1 + 1?",
        "step 0": "arith: What is #0 + 2?",
        "a leading zero": "arith: 1 + 1\narith: What is #01 + 2?",
        "a huge number": "arith: 1 + 1\narith: What is #18446744073709551617 + 2?",
        "a step that nobody needs": "arith: 1 + 1\narith: 2 + 2",
        "item 0": "lists: Sort 2 1.\narith: Add #1[0] and 1.",
        "an item that is no number": "lists: Sort 2 1.\narith: Add #1[x] and 1.",
        "an item that is not closed": "lists: Sort 2 1.\narith: Add #1[1 and 1.",
        "an empty item": "lists: Sort 2 1.\narith: Add #1[] and 1.",
        "an item too far": f"lists: Sort 2 1.\narith: Add #1[{PLAN_ITEM_MAX + 1}] and 1.",
        "an item with a plus": "lists: Sort 2 1.\narith: Add #1[+1] and 1.",
        "too deep": _chain(PLAN_DEPTH_MAX + 1),
        "too many steps": _wide(PLAN_STEPS_MAX + 1),
        "too long a step": "text: " + "é" * (PLAN_STEP_SIZE_MAX // 2) + "e",
        "too long a plan": "\n".join(["text: " + "é" * (PLAN_STEP_SIZE_MAX // 2)] * 7 + ["text: #1 #2 #3 #4 #5 #6 #7"]),
    }
    return [
        *(Case("plan", name, {"text": text}) for name, text in good.items()),
        *(Case("plan", name, {"text": text}, "plan") for name, text in bad.items()),
    ]


def _filled() -> list[Case]:
    rows: list[tuple[str, str, int, list[str], str | None]] = [
        ("without a reference", _SORT, 1, [], None),
        ("items", _SORT, 2, ["1 2 3"], None),
        ("an answer", _SORT, 3, ["1 2 3", "5"], None),
        ("an item that is not there", _SORT, 2, ["7"], "plan"),
        ("an item of nothing", _SORT, 2, [""], "plan"),
        ("an answer that looks like a reference", _SORT, 3, ["1 2 3", "#1[1]"], None),
        ("an answer that looks like a step", _SORT, 3, ["1 2 3", "5\narith: 1 + 1"], None),
        ("too long", _wide(PLAN_STEPS_MAX), PLAN_STEPS_MAX, ["x" * 4_096] * (PLAN_STEPS_MAX - 1), "plan"),
    ]
    return [Case("fill", name, {"text": text, "step": step, "answers": found}, code) for name, text, step, found, code in rows]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_plans(), *_filled()]
