"""The models: what each learns, for how long, and what the manifest says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.exercises import SKILLS
from protocol.exercises_composite import OPERATIONS

_FULL_STEPS = 1500
# Spelling and copying names are learnt late: each letter has to be found by its place.
_LETTER_STEPS = 1600
# Twice a specialist's for four times its skills: what the time allowed, and not enough to equal them.
_GENERALIST_STEPS = 3000
# As many as the four specialists together that answer the steps of composite questions: what one model could do instead.
_COMPOSITE_STEPS = 2 * _FULL_STEPS + 2 * _LETTER_STEPS
# The longest procedures, and the last that a model masters, are practised more often than the rest: so many times as often.
_PRACTISED: Mapping[tuple[str, str], int] = {
    ("lists", "sort"): 2,
    ("text", "count_letter"): 2,
    ("text", "compare_words"): 2,
    ("logic", "chain"): 3,
    ("logic", "odd_one_out"): 2,
}
# The vocabulary of the two models that were there first: what is measured of them is true only as long as it stays.
_FIRST_SKILLS = ("arith", "lists")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model. `seed` starts the weights and selects the training questions; `steps` counts batches."""

    name: str
    title: str
    skills: tuple[str, ...]
    seed: int
    steps: int
    description: str
    # What the vocabulary is learnt from; with letters apart, no two letters make a token, so that any word can be spelt.
    vocabulary: tuple[str, ...]
    letters_apart: bool = False
    # (skill, family) pairs of other skills that it practises as well, because its own are made of them.
    helping: tuple[tuple[str, str], ...] = ()

    @property
    def families(self) -> tuple[tuple[str, str], ...]:
        """(skill, family) pairs that it learns."""
        return tuple((skill, family) for skill in self.skills for family in SKILLS[skill])

    @property
    def practice(self) -> tuple[tuple[str, str], ...]:
        """The families in the proportion in which training draws them."""
        more = (pair for pair in self.families for _ in range(_PRACTISED.get(pair, 1) - 1))
        # Its own twice as often as each part of them.
        return (*self.families, *more) if not self.helping else (*self.families * 2, *self.helping)


RECIPES = (
    Recipe(
        name="arith",
        title="Tutti arithmetic",
        skills=("arith",),
        seed=1,
        steps=_FULL_STEPS,
        vocabulary=_FIRST_SKILLS,
        description="Specialist: adds, subtracts, multiplies by one digit and reads word problems, digit by digit.",
    ),
    Recipe(
        name="lists",
        title="Tutti lists",
        skills=("lists",),
        seed=2,
        steps=_FULL_STEPS,
        vocabulary=_FIRST_SKILLS,
        description="Specialist: sorts, reverses, counts and finds the largest or smallest number, item by item.",
    ),
    Recipe(
        name="text",
        title="Tutti text",
        skills=("text",),
        seed=5,
        steps=_LETTER_STEPS,
        description="Specialist: reverses a word, counts a letter, writes capitals, compares two words, letter by letter.",
        vocabulary=("text",),
        letters_apart=True,
    ),
    Recipe(
        name="logic",
        title="Tutti logic",
        skills=("logic",),
        seed=6,
        steps=_LETTER_STEPS,
        description="Specialist: compares, follows chains of comparisons, tells even from odd and what does not belong.",
        vocabulary=("logic",),
    ),
    Recipe(
        name="generalist",
        title="Tutti generalist",
        skills=("arith", "lists", "text", "logic"),
        seed=3,
        steps=_GENERALIST_STEPS,
        description="All four skills in one model of a specialist's size, with twice a specialist's training.",
        vocabulary=("arith", "lists", "text", "logic"),
        letters_apart=True,
    ),
    Recipe(
        name="plan",
        title="Tutti plan",
        skills=("plan",),
        seed=7,
        steps=_FULL_STEPS,
        description="Planner: splits a question into steps for the specialists, and answers none of them.",
        vocabulary=("plan",),
    ),
    Recipe(
        name="composite",
        title="Tutti composite",
        skills=("composite",),
        seed=8,
        steps=_COMPOSITE_STEPS,
        description="For comparison: composite questions in one model, with the training of four specialists together.",
        vocabulary=("composite",),
        letters_apart=True,
        helping=tuple(dict.fromkeys((operation.skill, operation.family) for operation in OPERATIONS.values())),
    ),
)
