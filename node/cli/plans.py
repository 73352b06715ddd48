"""A question that went by plans, for people: who planned what, what each step gave, and why a plan failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.cli.terminal import brief, clean, number, table

Json = Mapping[str, Any]
Who = Callable[[str], str]

_QUESTION_SHOWN = 60
_ANSWER_SHOWN = 30


def plan_lines(outcome: Json, who: Who) -> list[str]:
    """Each plan with its steps, their answers and who gave them."""
    lines = []
    for plan in outcome["plans"]:
        planners = ", ".join(who(peer) for peer in plan["planners"])
        lines.append(f"plan {plan['plan']} by {planners}, weight {plan['weight']:.2f}: {_came_of(plan)}")
        lines += table([_step_row(step, who) for step in plan["steps"]])
    return lines


def _came_of(plan: Json) -> str:
    return brief(plan["answer"], _ANSWER_SHOWN) if plan["answer"] is not None else f"failed, {clean(plan['state'])}"


def _step_row(step: Json, who: Who) -> tuple[str, ...]:
    answer = brief(step["answer"], _ANSWER_SHOWN) if step["answer"] is not None else clean(step["outcome"])
    by = ", ".join(who(vote["peer_id"]) for vote in step["votes"] if vote["agrees"])
    return str(step["step"]), step["skill"], brief(step["question"], _QUESTION_SHOWN), answer, by


def why_plans(outcome: Json, who: Who) -> list[str]:
    """What the plans were and what came of each, in sentences."""
    plans = outcome["plans"]
    if not plans:
        return []
    wrote = sum(len(plan["planners"]) for plan in plans)
    alike = "" if wrote == len(plans) else "; what two wrote alike is carried out once"
    lines = [f"Plans: {number(wrote, 'planner')} wrote {number(len(plans), 'different plan')}{alike}."]
    for plan in plans:
        done = ", ".join(f"step {step['step']} ({step['skill']}) {_gave(step, who)}" for step in plan["steps"])
        lines.append(f"  Plan {plan['plan']}: {done or 'nothing was asked'}; {_end(plan)}.")
    return lines


def _gave(step: Json, who: Who) -> str:
    if step["answer"] is None:
        return f"had no answer ({clean(step['outcome'])})"
    voters = [who(vote["peer_id"]) for vote in step["votes"] if vote["agrees"]]
    return f"gave {brief(step['answer'], _ANSWER_SHOWN)} by {' and '.join(voters)}"


def _end(plan: Json) -> str:
    if plan["answer"] is None:
        return f"it failed: {clean(plan['state'])}"
    return f"so its planners' weight, {plan['weight']:.2f}, is for {brief(plan['answer'], _ANSWER_SHOWN)}"
