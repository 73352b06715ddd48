"""The plan language: what is a plan has one form, and what is none does nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.answers import answer_of, canonical_answer
from protocol.constants import (
    ANSWER_SIZE_MAX,
    PLAN_DEPTH_MAX,
    PLAN_ITEM_MAX,
    PLAN_STEP_SIZE_MAX,
    PLAN_STEPS_MAX,
    QUESTION_SIZE_MAX,
)
from protocol.errors import RemoteProtocolError
from protocol.plan import Plan

WHOLE = "lists: Sort the list 3 1 2.\narith: Add #1[-1] and #1[-2].\nlogic: Is #2 even or odd?"

words = st.text(st.characters(codec="utf-8", exclude_characters="#\n"), max_size=20)
blanks = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def plans(draw: st.DrawFn) -> str:
    """Texts that are plans: each step needs the one before it and perhaps others, in any dress that the language allows."""
    lines = []
    for number in range(1, draw(st.integers(1, PLAN_DEPTH_MAX)) + 1):
        needs = [number - 1, *draw(st.lists(st.integers(1, number - 1), max_size=2))] if number > 1 else []
        items = st.sampled_from(["", f"[{PLAN_ITEM_MAX}]", "[-1]", "[2]"])
        references = " ".join(f"#{need}{draw(items)}" for need in needs)
        skill = draw(st.from_regex("[a-z][a-z0-9_-]{0,10}", fullmatch=True))
        lines.append(f"{draw(blanks)}{skill}{draw(blanks)}:{draw(blanks)}do {draw(words)} {references} {draw(words)}")
    return draw(st.sampled_from(["\n", "\n\n", " \n", "\r\n"])).join(lines)


@given(plans())
def test_parse__gives_a_form_that_is_its_own_form(text: str) -> None:
    plan = Plan.parse(text)
    assert Plan.parse(plan.text) == plan
    assert canonical_answer("plan", text) == plan.text
    if "answer:" not in plan.text.lower():
        # What follows the last of these words is the answer, also where a step of a plan holds one.
        assert answer_of("plan", f"steps\nanswer: {plan.text}") == plan.text


@given(st.text(max_size=300) | st.text("abc#[]-0123 :\n", max_size=80))
def test_parse__takes_any_text_and_refuses_with_one_error(text: str) -> None:
    try:
        plan = Plan.parse(text)
    except RemoteProtocolError as error:
        assert error.code == "plan"
        assert canonical_answer("plan", text) is None
        return
    for number, step in enumerate(plan.steps, 1):
        assert all(0 < need < number for need in step.needs)
    assert len(plan.steps) <= PLAN_STEPS_MAX
    assert max(step.depth for step in plan.steps) <= PLAN_DEPTH_MAX
    assert len(plan.text.encode()) <= ANSWER_SIZE_MAX


@given(plans())
def test_ready__reaches_every_step_once_and_none_before_what_it_needs(text: str) -> None:
    plan = Plan.parse(text)
    answers: dict[int, str] = {}
    rounds = 0
    while ready := plan.ready(answers):
        assert not set(ready) & answers.keys()
        assert all(set(plan.steps[number - 1].needs) <= answers.keys() for number in ready)
        answers |= dict.fromkeys(ready, "1 2")
        rounds += 1
    assert len(answers) == len(plan.steps)
    assert rounds == max(step.depth for step in plan.steps)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "Sort the list 3 1 2.",
        "Lists: Sort the list 3 1 2.",
        "lists:",
        "lists: \narith: Add 1 and 2.",
        "arith: Add #1 and 2.",
        "arith: Add #0 and 2.",
        "lists: Sort 2 1.\narith: Add #01[1] and 2.",
        "lists: Sort 2 1.\narith: Add #2 and 2.",
        "lists: Sort 2 1.\narith: Add #1[0] and 2.",
        "lists: Sort 2 1.\narith: Add #1[] and 2.",
        "lists: Sort 2 1.\narith: Add #1[+1] and 2.",
        "lists: Sort 2 1.\narith: Add #1[1 and 2.",
        f"lists: Sort 2 1.\narith: Add #1[{PLAN_ITEM_MAX + 1}] and 2.",
        "arith: Add 1 and 2.\narith: Add 3 and 4.",
        "arith: Add 1 and \ud800.",
        "\n".join(["arith: Add 1 and 1.", *(f"arith: Add #{number} and 1." for number in range(1, PLAN_DEPTH_MAX + 1))]),
        "\n".join([*["arith: Add 1 and 1."] * PLAN_STEPS_MAX, "arith: #1 #2 #3 #4 #5 #6 #7 #8"]),
        f"arith: {'1' * (PLAN_STEP_SIZE_MAX + 1)}",
        "\n".join([*[f"arith: {'1' * (PLAN_STEP_SIZE_MAX - 9)}"] * 2, "arith: Add #1 and #2."]),
    ],
    ids=lambda text: ascii(text)[:50],
)
def test_parse__refuses_what_is_no_plan(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Plan.parse(text)
    assert caught.value.code == "plan"


def test_parse__takes_a_plan_at_its_bounds() -> None:
    depth = ["arith: Add 1 and 1.", *(f"arith: Add #{number} and 1." for number in range(1, PLAN_DEPTH_MAX))]
    assert max(step.depth for step in Plan.parse("\n".join(depth)).steps) == PLAN_DEPTH_MAX
    wide = [*["arith: Add 1 and 1."] * (PLAN_STEPS_MAX - 1), "arith: #1 #2 #3 #4 #5 #6 #7"]
    assert len(Plan.parse("\n".join(wide)).steps) == PLAN_STEPS_MAX


def test_answer_of__reads_all_lines_behind_the_mark() -> None:
    assert answer_of("plan", f"think\nanswer: {WHOLE}") == WHOLE
    assert answer_of("plan", f"think\nanswer:\n{WHOLE}\n") == WHOLE
    assert answer_of("plan", WHOLE) is None


def test_filled__puts_answers_in_as_data() -> None:
    plan = Plan.parse(WHOLE)
    assert plan.steps[1].filled({1: "1 2 30"}) == "Add 30 and 2."
    assert plan.steps[2].filled({1: "1 2 30", 2: "32"}) == "Is 32 even or odd?"
    # What looks like a reference or a line in an answer stays what it is.
    assert plan.steps[2].filled({1: "#2", 2: "#1[1] #2"}) == "Is #1[1] #2 even or odd?"


@pytest.mark.parametrize("answer", ["", "7", f"1 {'1' * QUESTION_SIZE_MAX}"])
def test_filled__refuses_a_missing_item_and_a_flood(answer: str) -> None:
    step = Plan.parse(WHOLE).steps[1]
    with pytest.raises(RemoteProtocolError):
        step.filled({1: answer})
