"""Exercises and their right answers, a few of each family and many of each skill: specs/12-generators.md."""

from __future__ import annotations

import hashlib
from typing import Final

from contrib.vectors.form import Case, Operation
from protocol import exercises

DOCUMENT: Final = "12-generators.md"
# So many reach every phrasing.
_COUNT: Final = 400


def _exercise(skill: str, family: str, difficulty: int, seed: int) -> dict[str, str]:
    found = exercises.generate(skill, difficulty, seed, family)
    return {"text": found.text, "gold": found.gold}


def _exercises(skill: str, difficulty: int, count: int) -> bytes:
    """One hash over the exercises of the seeds from 0 on, each of the family that it draws."""
    state = hashlib.sha256()
    for seed in range(count):
        found = exercises.generate(skill, difficulty, seed)
        state.update(f"{found.family}|{found.text}|{found.gold}\n".encode())
    return state.digest()


OPERATIONS: Final[dict[str, Operation]] = {"exercise": _exercise, "exercises": _exercises}


def cases() -> list[Case]:
    """All of this subject."""
    single = [
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
    many = [
        Case("exercises", f"{skill}, difficulty {difficulty}", {"skill": skill, "difficulty": difficulty, "count": _COUNT})
        for skill in exercises.SKILLS
        for difficulty in exercises.DIFFICULTIES
    ]
    return [*single, *many]
