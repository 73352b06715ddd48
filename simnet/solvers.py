"""Simulated models: what each kind of node knows, how often it is right, how long it takes, and what it writes when it is not.

Nothing here is a language model. A solver reads the right answer from the text and errs as its kind was seen to, alone and
together with others (simnet/calibration.py): the tiny models of node/models by family and difficulty, and models that are as
often right as those whose answers to GSM8K were published. How fast they are is an assumption.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.answers import MARK
from simnet import calibration
from simnet.draws import Draws, Stream
from simnet.host import Solution
from simnet.reading import Reading, read


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model: the skills it offers with how often it is right, in thousandths, its speed, and how much it writes."""

    model: str
    skills: Mapping[str, int]
    tokens_per_s: int = 400
    tokens: int = 40
    lies: bool = False


PACKAGED: Final = ("arith", "lists", "text", "logic", "generalist", "plan", "composite")
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {name: Kind(name, calibration.skills(name)) for name in PACKAGED}
    | {"liar": Kind("generalist", calibration.skills("generalist"), lies=True)}
    | {name: Kind(name, calibration.skills(name), 50, 150) for name in calibration.gsm8k().models}
)
# How long each class of machine takes for what a laptop does in a hundred; what a solver takes varies by a quarter.
HARDWARE: Final[Mapping[str, int]] = MappingProxyType({"phone": 400, "laptop": 100, "desktop": 60, "server": 25})
_OPPOSITES: Final = {"yes": "no", "no": "yes", "even": "odd", "odd": "even"}
_ALPHABETS: Final = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
_DIGIT: Final = re.compile("[0-9]")


@dataclass(frozen=True, slots=True)
class Model:
    """A solver of a kind on a class of machine; of a skill that it does not offer it knows nothing."""

    kind: Kind
    hardware: str = "laptop"

    def __call__(self, prompt: str, draws: Stream) -> Solution:
        """What it writes, decoded greedily."""
        return self.sample(prompt, "", draws)

    def sample(self, prompt: str, name: str, draws: Stream) -> Solution:
        """What it writes; samples of other names are as often right, each by a draw of its own."""
        took_ms = elapsed_ms(self.kind, self.hardware, self.kind.tokens, draws)
        found = read(prompt)
        said = None if found is None else _said(self.kind, f"{prompt}{name}", found, draws)
        return Solution("I do not know." if said is None else f"{MARK} {said}", took_ms, self.kind.tokens)


def solver(kind: Kind, hardware: str = "laptop") -> Model:
    """A solver of this kind on such a machine."""
    return Model(kind, hardware)


def _said(kind: Kind, prompt: str, found: Reading, draws: Stream) -> str | None:
    skill = "plan" if found.plan and "plan" in kind.skills else found.skill
    gold = found.plan if skill == "plan" else found.gold
    if kind.lies:
        # Always the same step away, as liars who agree with each other would do.
        return _changed(gold, 1)
    if skill not in kind.skills:
        return _changed(gold, 1 + draws.below(9))
    mark = calibration.measured(kind.model, skill, found).drawn(kind.model, prompt)
    if mark in (calibration.RIGHT, calibration.SILENT):
        return gold if mark == calibration.RIGHT else None
    # The same for all who err alike, another for each of the others.
    return _changed(gold, 1 + (Draws(0, f"wrong {prompt}").below(9) + int(mark)) % 9)


def elapsed_ms(kind: Kind, hardware: str, tokens: int, draws: Stream) -> int:
    """How long a kind takes for so many tokens on such a machine: a draw."""
    base_ms = 10 * HARDWARE[hardware] * tokens // kind.tokens_per_s
    return base_ms * 3 // 4 + draws.below(base_ms // 2 + 1)


def _changed(answer: str, step: int) -> str:
    """Another answer of the same type for every step from 1 to 9: the opposite, or the last digit or letter moved on.

    A plan has its first digit moved on: a number that was copied wrongly.
    """
    if "\n" in answer or ": " in answer:
        return _DIGIT.sub(lambda digit: str((int(digit[0]) + step) % 10), answer, count=1)
    if answer in _OPPOSITES:
        return _OPPOSITES[answer]
    last = answer[-1]
    alphabet = next(letters for letters in _ALPHABETS if last in letters or letters == _ALPHABETS[-1])
    return answer[:-1] + alphabet[(alphabet.find(last) + step) % len(alphabet)]
