"""Generators of questions whose right answer is known: pure functions of (skill, difficulty, seed), specs/12-generators.md.

Audits, the developer network, the simulator and the trainer of the tiny models share them. Any node that knows the three
arguments rebuilds the same text and the same gold answer, so an audit can be regraded by whoever opens it. Every draw
comes from a SHA-256 counter stream: no platform, hash seed or library version changes a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol import exercises_arith, exercises_composite, exercises_lists, exercises_logic, exercises_text
from protocol.errors import LocalProtocolError
from protocol.exercises_stream import Stream

_MAKERS: Final[Mapping[str, Mapping[str, Callable[[Stream, int], tuple[str, str]]]]] = MappingProxyType(
    {
        "arith": exercises_arith.MAKERS,
        "lists": exercises_lists.MAKERS,
        "text": exercises_text.MAKERS,
        "logic": exercises_logic.MAKERS,
        "composite": exercises_composite.COMPOSITE_MAKERS,
        "plan": exercises_composite.PLAN_MAKERS,
    }
)
# The families of each skill. No two skills have a family of one name, so that a measurement can be named by its family.
SKILLS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({skill: tuple(makers) for skill, makers in _MAKERS.items()})
# The type of each skill's answers (specs/08-execution.md).
ANSWERS: Final[Mapping[str, str]] = MappingProxyType(
    {"arith": "number", "lists": "list", "text": "word", "logic": "choice", "composite": "choice", "plan": "plan"}
)
# Skills whose questions take one step: the others ask for several of these at once.
ONE_STEP: Final = tuple(skill for skill in SKILLS if skill not in ("composite", "plan"))
DIFFICULTIES: Final = (1, 2, 3)
# Those whose every answer is a number, although their skill's type is another one.
_NUMBERS: Final = frozenset(
    {("lists", "max"), ("lists", "min"), ("lists", "count"), ("text", "count_letter")}
    | {("composite", family) for family in exercises_composite.NUMBERS}
)
# Seeds fit an unsigned 64-bit integer of the wire format, so each exercise can be named in a message.
SEED_MAX: Final = 2**64 - 1

_DOMAIN: Final = b"tutti exercise v1"


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with its gold answer.

    `gold` is in canonical form: a decimal number for `arith`, space-separated decimal numbers for `lists` (one number
    is a list of one), a word for `text`, a word in small letters or a number for `logic` and `composite`, a plan for `plan`.
    """

    skill: str
    family: str
    text: str
    gold: str


def fits(skill: str, family: str, answer: str) -> bool:
    """Whether each gold answer of an exercise that this version knows is one of the type `answer`."""
    return answer == ANSWERS[skill] or (answer == "number" and (skill, family) in _NUMBERS)


def generate(skill: str, difficulty: int, seed: int, family: str | None = None) -> Exercise:
    """The exercise number `seed` of a skill at a difficulty from 1 to 3.

    Without `family` the stream chooses one, and naming the family it chose gives the same exercise. Raises
    LocalProtocolError for an unknown skill or family, or a difficulty or seed out of range.
    """
    if skill not in SKILLS:
        raise LocalProtocolError(f"no exercises for skill {skill!r}")
    if difficulty not in DIFFICULTIES:
        raise LocalProtocolError(f"difficulty {difficulty} is outside 1..3")
    if not 0 <= seed <= SEED_MAX:
        raise LocalProtocolError("an exercise seed must fit an unsigned 64-bit integer")
    families = SKILLS[skill]
    if family is not None and family not in families:
        raise LocalProtocolError(f"skill {skill} has no family {family!r}")
    stream = Stream(b"|".join((_DOMAIN, skill.encode(), b"%d" % difficulty, b"%d" % seed, b"")))
    drawn = stream.choice(families)
    chosen = drawn if family is None else family
    text, gold = _MAKERS[skill][chosen](stream, difficulty)
    return Exercise(skill=skill, family=chosen, text=text, gold=gold)
