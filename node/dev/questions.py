"""Fresh questions with known answers for a developer network, repeatable from one printed seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from protocol import exercises

# The hardest grade of every skill: on the others all models are right nearly always, and nothing could be compared.
_DIFFICULTY = exercises.DIFFICULTIES[-1]


@dataclass(frozen=True, slots=True)
class Question:
    """One generated question; `id` names it within a run."""

    id: str
    skill: str
    family: str
    text: str
    gold: str


def questions(seed: int, count: int, skills: Sequence[str]) -> list[Question]:
    """`count` different questions, `skills` in turn; each family of a skill is as likely as its others."""
    found: list[Question] = []
    texts: set[str] = set()
    draw = 0
    while len(found) < count:
        # Far from the seeds of training sets and audits by construction: 63 bits of a hash.
        digest = hashlib.sha256(f"tutti dev {seed} {draw}".encode()).digest()
        draw += 1
        skill = skills[len(found) % len(skills)]
        exercise = exercises.generate(skill, _DIFFICULTY, int.from_bytes(digest[1:9], "big") >> 1)
        if exercise.text not in texts:
            texts.add(exercise.text)
            found.append(Question(f"q{len(found) + 1}", skill, exercise.family, exercise.text, exercise.gold))
    return found
