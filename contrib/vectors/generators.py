"""Exercises and their right answers, one of each family and difficulty: specs/10-network.md, exercises."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from protocol import exercises

DOCUMENT: Final = "10-network.md"


def _exercise(skill: str, family: str, difficulty: int, seed: int) -> dict[str, str]:
    found = exercises.generate(skill, difficulty, seed, family)
    return {"text": found.text, "gold": found.gold}


OPERATIONS: Final[dict[str, Operation]] = {"exercise": _exercise}


def cases() -> list[Case]:
    """All of this subject."""
    return [
        Case(
            "exercise",
            f"{skill}/{family}, difficulty {difficulty}, seed {seed}",
            {"skill": skill, "family": family, "difficulty": difficulty, "seed": seed},
        )
        for skill, families in exercises.SKILLS.items()
        for family in families
        for difficulty in exercises.DIFFICULTIES
        for seed in (difficulty, exercises.SEED_MAX - difficulty)
    ]
