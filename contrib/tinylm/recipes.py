"""The four models: what each learns, for how long, and what the manifest says about it."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.exercises import SKILLS

# What the larger specialist needs. Each specialist and the generalist get the same: nobody is favoured or made to look weak.
_FULL_STEPS = 1500
# The longest procedure, and the last that a model masters: it is practised twice as often.
_PRACTISED_TWICE = ("lists", "sort")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model. `seed` starts the weights and selects the training questions; `steps` counts batches."""

    name: str
    title: str
    skills: tuple[str, ...]
    seed: int
    steps: int
    quantisation: str
    description: str

    @property
    def families(self) -> tuple[tuple[str, str], ...]:
        """(skill, family) pairs that it learns."""
        return tuple((skill, family) for skill in self.skills for family in SKILLS[skill])

    @property
    def practice(self) -> tuple[tuple[str, str], ...]:
        """The families in the proportion in which training draws them."""
        return (*self.families, *(pair for pair in self.families if pair == _PRACTISED_TWICE))


RECIPES = (
    Recipe(
        name="arith",
        title="Tutti arithmetic",
        skills=("arith",),
        seed=1,
        steps=_FULL_STEPS,
        quantisation="Q8_0",
        description="Specialist: adds, subtracts, multiplies by one digit and reads word problems, digit by digit.",
    ),
    Recipe(
        name="lists",
        title="Tutti lists",
        skills=("lists",),
        seed=2,
        steps=_FULL_STEPS,
        quantisation="Q8_0",
        description="Specialist: sorts, reverses, counts and finds the largest or smallest number, item by item.",
    ),
    Recipe(
        name="generalist",
        title="Tutti generalist",
        skills=("arith", "lists"),
        seed=3,
        steps=_FULL_STEPS,
        quantisation="Q8_0",
        description="Both skills in one model, with the training budget and the size of one specialist.",
    ),
    Recipe(
        name="weak",
        title="Tutti weak",
        skills=("arith", "lists"),
        seed=4,
        steps=400,
        quantisation="Q4_0",
        description="Starved on purpose: a fraction of the training of the others and the coarsest quantisation. "
        "It is here to be outvoted.",
    ),
)
