"""The parameters that all nodes of one network share: its skills, their answers' type and example texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol import exercises, exercises_logic, exercises_text
from protocol.errors import LocalProtocolError
from protocol.genesis import NOBODY, NONCE_SIZE, Genesis


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill: `options` is K, the effective number of answers a wrong voter scatters over; it sets the prior mean 1/K."""

    answer: str
    options: int
    tokens_max: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Parameters:
    """A network's identity and rules. Nodes of different networks never read each other's messages."""

    genesis: Genesis
    revision: int
    skills: Mapping[str, Skill]

    @property
    def name(self) -> str:
        """The network's name; others may use the same."""
        return self.genesis.name

    @property
    def network(self) -> bytes:
        """The network id: 32 bytes that stand in every envelope."""
        return self.genesis.network


# Examples an exercise family: enough that every phrasing of a generator is near one of them.
_EXAMPLES_PER_FAMILY: Final = 72


# Stories differ in names and things, and one unlike all examples would be taken for free text.
_EXAMPLES_OF: Final[Mapping[str, int]] = MappingProxyType({"word": 400})


def _examples(skill: str) -> tuple[str, ...]:
    return tuple(
        exercises.generate(skill, 1 + seed % 3, seed, family).text
        for family in exercises.SKILLS[skill]
        for seed in range(_EXAMPLES_OF.get(family, _EXAMPLES_PER_FAMILY))
    )


def _exercise_skills() -> Mapping[str, Skill]:
    return MappingProxyType(
        {
            "arith": Skill("number", options=10, tokens_max=256, examples=_examples("arith")),
            "lists": Skill("list", options=10, tokens_max=256, examples=_examples("lists")),
            "text": Skill("word", options=10, tokens_max=256, examples=exercises_text.EXAMPLES),
            # Half of its answers are yes or no.
            "logic": Skill("choice", options=2, tokens_max=256, examples=exercises_logic.EXAMPLES),
        }
    )


_PRESETS: Final = ("dev", "local")


def preset(name: str) -> Parameters:
    """The parameters of the preset network `name`, "dev" or "local"."""
    if name not in _PRESETS:
        raise LocalProtocolError(f"no preset network {name!r}; there are {', '.join(_PRESETS)}")
    return Parameters(Genesis(name, NOBODY, bytes(NONCE_SIZE)), revision=1, skills=_exercise_skills())
