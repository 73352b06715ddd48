"""Simulated models: what each kind of node knows, how often it is right, how long it takes, and what it writes when it is not.

Nothing here is a language model. A solver reads the right answer from the text and then errs as often as its kind does. The
kinds are the tiny models of node/models, by their measured accuracy: the means over the families of a skill
in node/models/manifest.json, 300 questions each. Their speed is an assumption.
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
    """A kind of model: the skills it offers with how often it is right, in thousandths, and its speed."""

    skills: Mapping[str, int]
    tokens_per_s: int
    lies: bool = False


_GENERALIST: Final = {"arith": 773, "lists": 845, "text": 962, "logic": 916}
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "arith": Kind({"arith": 999}, 400),
        "lists": Kind({"lists": 987}, 400),
        "text": Kind({"text": 994}, 400),
        "logic": Kind({"logic": 984}, 400),
        "generalist": Kind(_GENERALIST, 400),
        "liar": Kind(_GENERALIST, 400, lies=True),
    }
)
# How long each class of machine takes for what a laptop does in a hundred.
HARDWARE: Final[Mapping[str, int]] = MappingProxyType({"phone": 400, "laptop": 100, "desktop": 60, "server": 25})
_OPPOSITES: Final = {"yes": "no", "no": "yes", "even": "odd", "odd": "even"}
_ALPHABETS: Final = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
# An answer with its reasoning; what a solver takes for it follows from its speed, give or take a quarter.
_TOKENS: Final = 40


def solver(kind: Kind, hardware: str = "laptop") -> Solver:
    """A solver of this kind on such a machine; of a skill that it does not offer it knows nothing."""

    def solve(prompt: str, draws: Stream) -> Solution:
        elapsed_ms = _elapsed(kind, hardware, draws)
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


def _elapsed(kind: Kind, hardware: str, draws: Stream) -> int:
    base_ms = 10 * HARDWARE[hardware] * _TOKENS // kind.tokens_per_s
    return base_ms * 3 // 4 + draws.below(base_ms // 2 + 1)


def _changed(answer: str, step: int) -> str:
    """Another answer of the same type for every step from 1 to 9: the opposite, or the last digit or letter moved on."""
    if answer in _OPPOSITES:
        return _OPPOSITES[answer]
    last = answer[-1]
    alphabet = next(letters for letters in _ALPHABETS if last in letters or letters == _ALPHABETS[-1])
    return answer[:-1] + alphabet[(alphabet.find(last) + step) % len(alphabet)]
