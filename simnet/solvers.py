"""Simulated models: what each kind of node knows, how often it is right, and what it writes when it is not.

Nothing here is a language model. A solver reads the right answer from the text and then errs as often as its kind does.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.answers import MARK
from simnet.draws import Stream
from simnet.host import Solution, Solver
from simnet.reading import read


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node: the skills it offers with how often it is right, in thousandths, and its speed.

    The figures are assumptions of the simulator, near what tiny models reach; they are not measured here.
    """

    skills: Mapping[str, int]
    tokens_per_s: int
    lies: bool = False


_GENERALIST: Final = {"arith": 780, "lists": 850, "text": 960, "logic": 920}
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "arith": Kind({"arith": 980}, 400),
        "lists": Kind({"lists": 960}, 400),
        "text": Kind({"text": 990}, 400),
        "logic": Kind({"logic": 980}, 400),
        "generalist": Kind(_GENERALIST, 400),
        "liar": Kind(_GENERALIST, 400, lies=True),
    }
)
_OPPOSITES: Final = {"yes": "no", "no": "yes", "even": "odd", "odd": "even"}
_ALPHABETS: Final = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
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
    """Another answer of the same type for every step from 1 to 9: the opposite, or the last digit or letter moved on."""
    if answer in _OPPOSITES:
        return _OPPOSITES[answer]
    last = answer[-1]
    alphabet = next(letters for letters in _ALPHABETS if last in letters or letters == _ALPHABETS[-1])
    return answer[:-1] + alphabet[(alphabet.find(last) + step) % len(alphabet)]
