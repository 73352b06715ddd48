"""Which skill a question needs: integer similarity of hashed character n-grams (specs/07-beacon.md).

Digits are folded into one, because a question's kind is in its words. An example with numbers is no match for a question
without any: "the largest of 3 5 9" says nothing about the largest country. A question like none of the examples is `general`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol import exercises
from protocol.capability import GENERAL
from protocol.parameters import Parameters, Skill

_GRAM: Final = 3
_DIGITS: Final = re.compile(r"[0-9]+")
_BUCKETS: Final = 1 << 16
# A question is compared by its start; a long preamble would only cost time.
_LENGTH_MAX: Final = 512
# Least squared cosine, in thousandths, with the nearest example. Generated questions stay above .45; "the square root of 16"
# and "10 percent of 50" lie just below .4.
_SIMILARITY_MIN: Final = 400


# Examples of each exercise family: enough that every phrasing of a generator is near one of them. Stories differ in names and
# things, and one unlike all examples would be taken for free text.
_EXAMPLES_PER_FAMILY: Final = 72
_EXAMPLES_OF: Final[Mapping[str, int]] = MappingProxyType({"word": 400})


@dataclass(frozen=True, slots=True)
class Requirement:
    """The skill a question was mapped to and how near the nearest example was: squared cosine in thousandths."""

    skill: str
    similarity: int


def _grams(text: str) -> dict[int, int]:
    folded = f" {_DIGITS.sub('0', ' '.join(text[:_LENGTH_MAX].lower().split()))} "
    counts: dict[int, int] = {}
    for start in range(max(1, len(folded) - _GRAM + 1)):
        bucket = zlib.crc32(folded[start : start + _GRAM].encode()) % _BUCKETS
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def _has_digits(text: str) -> bool:
    return _DIGITS.search(text) is not None


def _square(grams: Mapping[int, int]) -> int:
    return sum(count * count for count in grams.values())


def examples_of(skill: Skill) -> Iterator[str]:
    """The skill's example texts: those that its network gives, and questions of the exercises that audit it."""
    yield from skill.examples
    for exercise, family in skill.audited_by:
        for seed in range(_EXAMPLES_OF.get(family, _EXAMPLES_PER_FAMILY)):
            yield exercises.generate(exercise, 1 + seed % 3, seed, family).text


class RequirementMap:
    """Maps texts to skills by a network's examples."""

    def __init__(self, parameters: Parameters) -> None:
        self._examples: list[tuple[str, bool, dict[int, int], int]] = []
        for skill in sorted(parameters.skills):
            # Examples that differ only in their digits are one after folding.
            seen: set[tuple[tuple[int, int], ...]] = set()
            for example in examples_of(parameters.skills[skill]):
                grams = _grams(example)
                key = tuple(sorted(grams.items()))
                if key not in seen:
                    seen.add(key)
                    self._examples.append((skill, _has_digits(example), grams, _square(grams)))

    def __call__(self, text: str) -> Requirement:
        """The skill of the nearest example, or `general`; ties go to the first skill by name."""
        grams = _grams(text)
        square = _square(grams)
        best = Requirement(GENERAL, 0)
        numbers = _has_digits(text[:_LENGTH_MAX])
        for skill, needs_numbers, example, example_square in self._examples:
            if needs_numbers and not numbers:
                continue
            dot = sum(count * example.get(bucket, 0) for bucket, count in grams.items())
            similarity = 1_000 * dot * dot // (square * example_square)
            if similarity > best.similarity:
                best = Requirement(skill, similarity)
        return best if best.similarity >= _SIMILARITY_MIN else Requirement(GENERAL, best.similarity)
