"""Simulated models: what each kind of node knows, how often it is right, and what it writes when it is not.

Nothing here is a language model. A solver reads the right answer from the text and then errs as often as its kind does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.answers import MARK
from simnet.draws import Stream
from simnet.host import Solution, Solver

_NUMBERS: Final = re.compile(r"[0-9]+")
_LIMIT: Final = re.compile(r"(?:greater than|above|exceed) ([0-9]+)")
# What a text must contain, in the order of the checks, and what then is right. Lists go first: "from smallest to largest"
# stands in a text that asks for sorting, and no text about two numbers has any of these words.
_LISTS: Final[tuple[tuple[str, Callable[[list[int]], list[int]]], ...]] = (
    (r"\bsort\b|ascending|increasing", sorted),
    (r"\breverse\b|backwards|from last to first", lambda numbers: numbers[::-1]),
    (r"largest|maximum|biggest|highest", lambda numbers: [max(numbers)]),
    (r"smallest|minimum|\bleast\b|lowest", lambda numbers: [min(numbers)]),
)
_TIMES: Final = re.compile(r"\*|multiply|\btimes\b|product|each box|bags of|every day")
_SUBTRACT: Final = re.compile(r" - |subtract|\btake\b|minus|what is left|gives away|\bsold\b|how many more|missing")


def read(text: str) -> tuple[str, str] | None:
    """The skill and the right answer of an exercise of `protocol.exercises`, from its words; None if it is none.

    An auditor draws its exercises where no solver can look, so even a simulated one has to read.
    """
    words = text.lower()
    limit = _LIMIT.search(words)
    if limit is not None:
        rest = words[: limit.start()] + words[limit.end() :]
        return "lists", str(sum(int(found) > int(limit[1]) for found in _NUMBERS.findall(rest)))
    numbers = [int(found) for found in _NUMBERS.findall(words)]
    if not numbers:
        return None
    for pattern, answer in _LISTS:
        if re.search(pattern, words):
            return "lists", " ".join(map(str, answer(numbers)))
    if len(numbers) != 2:  # noqa: PLR2004  every other exercise is about two numbers
        return None
    first, second = numbers
    if _TIMES.search(words):
        return "arith", str(first * second)
    return "arith", str(abs(first - second)) if _SUBTRACT.search(words) else str(first + second)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node: the skills it offers with how often it is right, in thousandths, and its speed.

    The figures are assumptions of the simulator, near what tiny models reach; they are not measured here.
    """

    skills: Mapping[str, int]
    tokens_per_s: int
    lies: bool = False


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "arith": Kind({"arith": 980}, 400),
        "lists": Kind({"lists": 960}, 400),
        "generalist": Kind({"arith": 900, "lists": 850}, 400),
        "weak": Kind({"arith": 300, "lists": 250}, 600),
        "liar": Kind({"arith": 900, "lists": 850}, 400, lies=True),
    }
)
# An answer with its reasoning; what a solver takes for it follows from its speed, give or take a quarter.
_TOKENS: Final = 40


def solver(kind: Kind) -> Solver:
    """A solver of this kind; of a skill that it does not offer it knows nothing."""

    def solve(prompt: str, draws: Stream) -> Solution:
        base_ms = 1_000 * _TOKENS // kind.tokens_per_s
        elapsed_ms = base_ms * 3 // 4 + draws.below(base_ms // 2 + 1)
        found = read(prompt)
        if found is None:
            return Solution(f"I do not know.\n{MARK} nothing", elapsed_ms, _TOKENS)
        skill, answer = found
        if kind.lies:
            # Always the same step away, as liars who agree with each other would do.
            answer = _changed(answer, 1)
        elif draws.below(1_000) >= kind.skills.get(skill, 0):
            answer = _changed(answer, 1 + draws.below(9))
        return Solution(f"{MARK} {answer}", elapsed_ms, _TOKENS)

    return solve


def _changed(answer: str, step: int) -> str:
    """The answer with its last digit `step` further on: wrong for every step from 1 to 9."""
    return answer[:-1] + str((int(answer[-1]) + step) % 10)
