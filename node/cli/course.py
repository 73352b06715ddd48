"""How the answer of a question came about, in sentences: who was asked alone, not waited for, asked more, or revised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.cli.terminal import brief, number
from protocol.constants import GATE_CHECK

Json = Mapping[str, Any]

NOT_NEEDED = "not needed"
_ANSWER_SHOWN = 40


def course(outcome: Json, who: Callable[[str], str]) -> list[str]:
    """One sentence for each thing that went other than everybody being asked once; `who` names a peer."""
    return [*_gate(outcome, who), *_stop(outcome, who), *_further(outcome), *_revisions(outcome, who), *_coverage(outcome)]


def _gate(outcome: Json, who: Callable[[str], str]) -> list[str]:
    if outcome["gate"] == "alone" and outcome["votes"]:
        one = who(outcome["votes"][0]["peer_id"])
        return [
            (
                f"One alone: {one}, which outweighs all the others together, or is nearly always right and has no equal. "
                f"One in {GATE_CHECK} such questions goes to the whole committee all the same."
            )
        ]
    if outcome["gate"] == "checked":
        return ["Cross-check: one node could have answered alone, but by lot the whole committee was asked."]
    if outcome["gate"] == "widened":
        return ["Committee: one node was asked alone and brought no answer, so the others were asked after it."]
    return []


def _stop(outcome: Json, who: Callable[[str], str]) -> list[str]:
    spared = [who(seat["peer_id"]) for seat in outcome["award"]["seats"] if seat["state"] == NOT_NEEDED]
    if not spared:
        return []
    return [f"Early stop: nothing that {' or '.join(spared)} could say would have changed the answer, so nobody waited for it."]


def _further(outcome: Json) -> list[str]:
    count = outcome["further"]
    return [f"Further seats: the margin was thin, so {number(count, 'more node')} got a seat."] if count else []


def _revisions(outcome: Json, who: Callable[[str], str]) -> list[str]:
    if not outcome["refined"]:
        return []
    changed = [
        f"{who(vote['peer_id'])} said {_said(vote['first_answer'])} first, then {_said(vote['answer'])}"
        for vote in outcome["votes"]
        if vote["revised"] and vote["answer"] != vote["first_answer"]
    ]
    told = "; ".join(changed) if changed else "nobody changed its answer"
    times = number(outcome["refined"], "time")
    return [f"Revisions: {times} those who answered saw the others' answers and answered again; {told}."]


def _coverage(outcome: Json) -> list[str]:
    covered = outcome["coverage"]
    if covered is None or covered >= 1:
        return []
    return [f"Coverage: {covered:.2f} of the weight that was asked gave an answer."]


def _said(answer: str | None) -> str:
    return "nothing" if answer is None else brief(answer, _ANSWER_SHOWN)
