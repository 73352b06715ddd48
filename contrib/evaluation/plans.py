"""Composite questions with and without plans, side by side, with the packaged models themselves.

    python -m contrib.evaluation.plans [--questions N] [--models DIR] [--json]

Every row answers the same questions, which no model saw in training:

    network with plans      ten nodes as of `tutti dev` and three planners: plans, a committee a step, a vote of plans
    ... one planner broken  the same, with one of the three planners degraded
    network without plans   the ten nodes, all of which offer to answer such questions; whoever earned a weight is asked
    best single             the best of the packaged models but `composite`, asked directly
    trained on composites   the model `composite`: as many batches as the four specialists together
    central                 one orchestrator with the same planner, which gives each step to the best model of its skill
    ... planner broken      the same, with that planner degraded

The nodes run the protocol in a simulated world, on one virtual clock; their models are real and greedy. A degraded planner
writes, for the half of all questions that a hash names, a plan of good form that asks for something else: the smallest for the
largest, the first for the last, the odd for the even. Questions are the first of those that training leaves out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrib.evaluation.completions import Completions
from contrib.evaluation.figures import table
from protocol.answers import MARK, answer_of
from protocol.capability import Record
from protocol.errors import RemoteProtocolError
from protocol.events import AuditsWanted
from protocol.exercises import ANSWERS, DIFFICULTIES, SKILLS, Exercise, generate
from protocol.parameters import preset
from protocol.plan import Plan
from protocol.planning import COMPOSITE, PLANNER
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from simnet.report import interval
from simnet.world import World

SPECIALISTS = ("arith", "lists", "text", "logic")
NODES = (*SPECIALISTS, "generalist", *SPECIALISTS, "liar")
"""As in `tutti dev`. The liar runs the generalist and never says what it found."""
PLANNERS = 3
SINGLES = (*SPECIALISTS, "generalist", "plan")
SEED = 1
MS_PER_TOKEN = 1
_SWAPS = (("largest", "smallest"), ("smallest", "largest"), ("#1[-1]", "#1[1]"), ("#1[1]", "#1[-1]"), ("even", "odd"))
_OPPOSITES = {"yes": "no", "no": "yes", "even": "odd", "odd": "even"}
_MEETING_MS = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """One way to answer: right answers, and tokens of prompts and texts, over all questions."""

    name: str
    right: int
    tokens: int

    def json(self, count: int) -> dict[str, Any]:
        """Accuracy with its 95 % interval (Wilson), and tokens a question."""
        low, high = interval(self.right, count)
        return {
            "name": self.name,
            "right": self.right,
            "accuracy": round(self.right / count, 4),
            "interval": [round(low, 4), round(high, 4)],
            "tokens_per_question": round(self.tokens / count, 1),
        }


def questions(count: int) -> list[Exercise]:
    """Composite questions, families and difficulties in turn: seeds from 0 are those that training leaves out."""
    families = SKILLS[COMPOSITE]
    found: dict[str, Exercise] = {}
    number = 0
    while len(found) < count:
        family, turn = families[number % len(families)], number // len(families)
        exercise = generate(COMPOSITE, DIFFICULTIES[turn % len(DIFFICULTIES)], turn, family)
        found.setdefault(exercise.text, exercise)
        number += 1
    return list(found.values())


def degraded(question: str, plan: str) -> str:
    """A degraded planner's text: of every second question the plan of another one."""
    if hashlib.sha256(question.encode()).digest()[0] % 2:
        return plan
    for found, instead in _SWAPS:
        if re.search(rf"{re.escape(found)}", plan):
            return plan.replace(found, instead)
    return plan.replace("greater than", "greater than 1")


# --- Solvers


def real(completions: Completions, model: str, change: Callable[[str, str], str] = lambda _, text: text) -> Solver:
    """A node whose model is a packaged one."""

    def solve(question: str, _: Stream) -> Solution:
        found = completions(model, question)
        elapsed_ms = 5 + MS_PER_TOKEN * found.completion_tokens
        return Solution(change(question, found.text), elapsed_ms, found.completion_tokens, prompt_tokens=found.prompt_tokens)

    return solve


def _lie(_: str, text: str) -> str:
    answer = text.rpartition(MARK)[2].strip()
    if answer in _OPPOSITES:
        return f"{MARK} {_OPPOSITES[answer]}"
    first, *rest = answer.split() or ["0"]
    return f"{MARK} {' '.join([str(int(first) + 1) if first.isdecimal() else first[::-1], *rest])}"


# --- Ways to answer


def network(completions: Completions, asked: Sequence[Exercise], broken: int, *, plans: bool) -> tuple[int, int]:
    """Right answers and tokens of a network; `broken` of its planners are degraded."""
    world = World(preset("dev"), SEED)
    hosts = [_add(world, completions, index, name, plans=plans) for index, name in enumerate(NODES)]
    for index in range(PLANNERS if plans else 0):
        solver = real(completions, PLANNER, degraded) if index < broken else real(completions, PLANNER)
        hosts.append(world.add(f"{PLANNER}-{index}", _record(PLANNER), solver))
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=_MEETING_MS)
    audits = hosts[0].core.audits
    world.after(0, hosts[0], AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: audits.settled(audits.skills))
    right = tokens = 0
    for exercise in asked:
        outcome = world.answer(hosts[0], exercise.text, COMPOSITE, planners=PLANNERS if plans else 0)
        right += outcome.answer == exercise.gold
        tokens += outcome.tokens
    return right, tokens


def _add(world: World, completions: Completions, index: int, name: str, *, plans: bool) -> Host:
    model = "generalist" if name == "liar" else name
    skills = SPECIALISTS if model == "generalist" else (model,)
    solver = real(completions, model, _lie) if name == "liar" else real(completions, model)
    return world.add(f"{name}-{index}", _record(*skills, *(() if plans else (COMPOSITE,))), solver)


def _record(*skills: str) -> Record:
    priors = dict.fromkeys(skills, 500)
    return Record(0, priors, "tiny", 1, "Q8_0", "", 512, 1_000, 4, available=True, addresses=())


def single(completions: Completions, asked: Sequence[Exercise], model: str) -> tuple[int, int]:
    """One model, asked directly."""
    found = [(exercise, completions(model, exercise.text)) for exercise in asked]
    right = sum(answer_of(ANSWERS[COMPOSITE], completion.text) == exercise.gold for exercise, completion in found)
    return right, sum(completion.tokens for _, completion in found)


def central(completions: Completions, asked: Sequence[Exercise], change: Callable[[str, str], str]) -> tuple[int, int]:
    """An orchestrator with one planner and the best model of each skill."""
    right = tokens = 0
    for exercise in asked:
        planned = completions(PLANNER, exercise.text)
        answer, spent = _carried_out(completions, change(exercise.text, planned.text))
        right += answer == exercise.gold
        tokens += planned.tokens + spent
    return right, tokens


def _carried_out(completions: Completions, text: str) -> tuple[str | None, int]:
    answers: dict[int, str] = {}
    spent = 0
    try:
        plan = Plan.parse(answer_of("plan", text) or "")
        while ready := plan.ready(answers):
            for number in ready:
                step = plan.steps[number - 1]
                if step.skill not in SPECIALISTS:
                    return None, spent
                completion = completions(step.skill, step.filled(answers))
                spent += completion.tokens
                answer = answer_of(ANSWERS[step.skill], completion.text)
                if answer is None:
                    return None, spent
                answers[number] = answer
    except RemoteProtocolError:
        return None, spent
    return answers.get(len(plan.steps)), spent


def rows(completions: Completions, asked: Sequence[Exercise]) -> list[Row]:
    """All ways side by side."""
    singles = {model: single(completions, asked, model) for model in SINGLES}
    best = max(singles, key=lambda model: singles[model])
    ways: tuple[tuple[str, Callable[[], tuple[int, int]]], ...] = (
        ("network with plans", lambda: network(completions, asked, 0, plans=True)),
        ("... one planner of three broken", lambda: network(completions, asked, 1, plans=True)),
        ("network without plans", lambda: network(completions, asked, 0, plans=False)),
        (f"best single: {best}", lambda: singles[best]),
        ("trained on composites", lambda: single(completions, asked, "composite")),
        ("central", lambda: central(completions, asked, lambda _, text: text)),
        ("... its planner broken", lambda: central(completions, asked, degraded)),
    )
    found = []
    for name, way in ways:
        began = time.monotonic()
        found.append(Row(name, *way()))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Answer, and print a row for each way."""
    parser = argparse.ArgumentParser(prog="python -m contrib.evaluation.plans", description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=315, metavar="N", help="how many (315: 45 of each family)")
    parser.add_argument("--models", type=Path, default=Path("node/models"), metavar="DIR", help="where the model files are")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    asked = questions(arguments.questions)
    found = [row.json(len(asked)) for row in rows(Completions(arguments.models), asked)]
    if arguments.json:
        print(json.dumps({"questions": len(asked), "seed": SEED, "ways": found}, indent=2))
        return
    print(f"{len(asked)} composite questions, 95 % intervals")
    shown = [
        (row["name"], f"{row['accuracy']:.3f}", "{:.3f}..{:.3f}".format(*row["interval"]), row["tokens_per_question"])
        for row in found
    ]
    print(table([("", "right", "interval", "tokens a question"), *shown]))


if __name__ == "__main__":
    main()
