"""Which skill a question needs: integer similarity of hashed character n-grams (specs/07-beacon.md).

Digits are folded into one, because a question's kind is in its words. An example with numbers is no match for a question
without any: "the largest of 3 5 9" says nothing about the largest country. In an example, `_` stands for any word: what a word
is asked for is in the words around it. A question like none of the examples is `general`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol import exercises, exercises_logic, exercises_text
from protocol.capability import GENERAL
from protocol.parameters import Parameters, Skill

_GRAM: Final = 3
_DIGITS: Final = re.compile(r"[0-9]+")
# A sum is often typed without blanks, and written with them in every example.
_OPERATORS: Final = re.compile(r"(?<=0) ?([-+*]) ?(?=0)")
_BUCKETS: Final = 1 << 16
# A question is compared by its start; a long preamble would only cost time.
_LENGTH_MAX: Final = 512
# With all words folded that differ, what is left must agree more: "who is the tallest man" and "who is the tallest" are at .54,
# "please reverse the word banana" without its full stop at .69.
_PATTERN_SIMILARITY_MIN: Final = 550
_ANY_WORD: Final = "_"
_WORD: Final = re.compile("[a-z\u0080-\U0010ffff]+")


# Examples of each exercise family: enough that every phrasing of a generator is near one of them. Stories differ in names and
# things, and one unlike all examples would be taken for free text.
_EXAMPLES_PER_FAMILY: Final = 72
# The phrasings of composite questions are long and unlike each other, so fewer tell them apart.
_EXAMPLES_OF: Final[Mapping[str, int]] = MappingProxyType(
    {"word": 400, "min": 144} | dict.fromkeys(exercises.SKILLS["composite"], 48)
)
# Exercises about any word resemble no stored example of themselves.
_PATTERNS: Final = MappingProxyType({"text": exercises_text.EXAMPLES, "logic": exercises_logic.EXAMPLES})


@dataclass(frozen=True, slots=True)
class Requirement:
    """The skill a question was mapped to and how near the nearest example was: squared cosine in thousandths."""

    skill: str
    similarity: int


def _folded(text: str) -> str:
    digits = _DIGITS.sub("0", " ".join(text[:_LENGTH_MAX].lower().split()))
    return " " + _OPERATORS.sub(r" \1 ", digits) + " "


def _grams(folded: str) -> dict[int, int]:
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
    """The skill's example texts: those that its network gives, and those of the exercises that audit it.

    Exercises for planners ask what other skills answer: no question needs a plan for its answer.
    """
    yield from skill.examples
    if skill.answer == "plan":
        return
    for name in dict.fromkeys(exercise for exercise, _ in skill.audited_by):
        yield from _PATTERNS.get(name, ())
    for exercise, family in skill.audited_by:
        if exercise not in _PATTERNS:
            for seed in range(_EXAMPLES_OF.get(family, _EXAMPLES_PER_FAMILY)):
                yield exercises.generate(exercise, 1 + seed % 3, seed, family).text


@dataclass(frozen=True, slots=True)
class _Example:
    skill: str
    pattern: bool
    needs_numbers: bool
    grams: Mapping[int, int]
    square: int

    def similarity(self, grams: Mapping[int, int], square: int) -> int:
        """The squared cosine in thousandths; 0 if a pattern fits too badly."""
        dot = sum(count * self.grams.get(bucket, 0) for bucket, count in grams.items())
        similarity = 1_000 * dot * dot // (square * self.square)
        return 0 if self.pattern and similarity < _PATTERN_SIMILARITY_MIN else similarity


class RequirementMap:
    """Maps texts to skills by a network's examples."""

    def __init__(self, parameters: Parameters) -> None:
        self._similarity_min = parameters.similarity_min
        self._examples: list[_Example] = []
        self._pattern_words: set[str] = set()
        for skill in sorted(parameters.skills):
            # Examples that differ only in their digits are one after folding.
            for folded in dict.fromkeys(map(_folded, examples_of(parameters.skills[skill]))):
                pattern = _ANY_WORD in folded
                grams = _grams(folded)
                self._examples.append(_Example(skill, pattern, _has_digits(folded), grams, _square(grams)))
                if pattern:
                    self._pattern_words.update(_WORD.findall(folded))

    def __call__(self, text: str, without: str | None = None) -> Requirement:
        """The skill of the nearest example, or `general`; ties go to the first skill by name. `without` names one left out."""
        folded = _folded(text)
        plain, words_folded = _grams(folded), _grams(self._unknown_words_folded(folded))
        compared = {False: (plain, _square(plain)), True: (words_folded, _square(words_folded))}
        best = Requirement(GENERAL, 0)
        numbers = _has_digits(folded)
        for example in self._examples:
            if example.skill == without or (example.needs_numbers and not numbers):
                continue
            similarity = example.similarity(*compared[example.pattern])
            if similarity > best.similarity:
                best = Requirement(example.skill, similarity)
        return best if best.similarity >= self._similarity_min else Requirement(GENERAL, best.similarity)

    def _unknown_words_folded(self, folded: str) -> str:
        return _WORD.sub(lambda found: found[0] if found[0] in self._pattern_words else _ANY_WORD, folded)
