"""Exercises of the skill `text`: the letters of a word, backwards, counted, in capitals, at its ends, or against another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from protocol.exercises_stream import Stream
from protocol.exercises_words import LENGTHS, word, word_of

_REVERSE: Final = (
    "Reverse the word {word}.",
    "Reverse {word}.",
    'Reverse the word "{word}".',
    "Write the word {word} backwards.",
    "Spell {word} backwards.",
    "What is {word} spelled backwards?",
    "{word} backwards",
)
_COUNT: Final = (
    "How many times does the letter {letter} occur in the word {word}?",
    "How many times does {letter} appear in {word}?",
    "Count the letter {letter} in {word}.",
    "How many {letter}'s are in {word}?",
    'How many letters "{letter}" are in "{word}"?',
    "How often is there the letter {letter} in {word}?",
    "How many {letter} in {word}?",
)
_CAPITALS: Final = (
    "Write the word {word} in capital letters.",
    "Write {word} in capitals.",
    "Put {word} in upper case.",
    "Change the word {word} to uppercase.",
    'Write "{word}" in capital letters.',
    "Capitalize every letter of {word}.",
    "{word} in capital letters",
)
# Both letters as one word: a blank between them would be two words, and "b and e" a sentence.
_FIRST_LAST: Final = (
    "Join the first and the last letter of the word {word}.",
    "Write the first and the last letter of {word} together.",
    "What are the first and last letters of {word}, as one word?",
    "First and last letter of {word}, joined?",
    "Take the first letter and the last letter of {word} and join them.",
    "Put together the first and last letters of {word}.",
)
_LONGER: Final = (
    "Which word is longer: {a} or {b}?",
    "Which is the longer word, {a} or {b}?",
    "Which of the words {a} and {b} has more letters?",
    "What is longer, {a} or {b}?",
)
_SHORTER: Final = (
    "Which word is shorter: {a} or {b}?",
    "Which is the shorter word, {a} or {b}?",
    "Which of the words {a} and {b} has fewer letters?",
)
_EARLIER: Final = (
    "Which word comes first in the alphabet: {a} or {b}?",
    "Which comes first alphabetically, {a} or {b}?",
    "Which of the words {a} and {b} comes first in a dictionary?",
    "In alphabetical order, which is first: {a} or {b}?",
)
_LATER: Final = (
    "Which word comes last in the alphabet: {a} or {b}?",
    "Which comes last alphabetically, {a} or {b}?",
)
# One word in this many begins with a capital letter, as names and sentences do.
_CAPITALISED: Final = 8
# One letter in this many is drawn from the alphabet and seldom occurs; the others are of the word itself.
_FOREIGN_LETTERS: Final = 4
# One pair in this many begins alike, so that the first letters do not decide.
_SAME_BEGINNINGS: Final = 4


def _one_word(templates: tuple[str, ...], answer: Callable[[str], str]) -> Callable[[Stream, int], tuple[str, str]]:
    def make(stream: Stream, difficulty: int) -> tuple[str, str]:
        chosen = word(stream, difficulty)
        if stream.one_in(_CAPITALISED):
            chosen = chosen.capitalize()
        return stream.choice(templates).format(word=chosen), answer(chosen)

    return make


def _count(stream: Stream, difficulty: int) -> tuple[str, str]:
    chosen = word(stream, difficulty)
    letter = stream.choice("abcdefghijklmnopqrstuvwxyz" if stream.one_in(_FOREIGN_LETTERS) else chosen)
    return stream.choice(_COUNT).format(word=chosen, letter=letter), str(chosen.count(letter))


def _compare(stream: Stream, difficulty: int) -> tuple[str, str]:
    low, high = LENGTHS[difficulty]
    lengths = stream.sample(range(low, high + 1), 2)
    a, b = (word_of(stream, length) for length in lengths)
    if stream.one_in(_SAME_BEGINNINGS):
        shared = stream.between(1, 2)
        b = a[:shared] + b[shared:]
    kind = stream.choice(("longer", "shorter", "earlier", "later"))
    # Lengths differ by the draw, and two words of different lengths differ in the alphabet as well.
    answers = {
        "longer": (_LONGER, max(a, b, key=len)),
        "shorter": (_SHORTER, min(a, b, key=len)),
        "earlier": (_EARLIER, min(a, b)),
        "later": (_LATER, max(a, b)),
    }
    templates, gold = answers[kind]
    return stream.choice(templates).format(a=a, b=b), gold


MAKERS: Final[Mapping[str, Callable[[Stream, int], tuple[str, str]]]] = MappingProxyType(
    {
        "reverse_word": _one_word(_REVERSE, lambda chosen: chosen[::-1]),
        "count_letter": _count,
        "capitals": _one_word(_CAPITALS, str.upper),
        "first_last": _one_word(_FIRST_LAST, lambda chosen: chosen[0] + chosen[-1]),
        "compare_words": _compare,
    }
)
# Every phrasing, with `_` for any word.
EXAMPLES: Final = tuple(
    template.format(word="_", letter="_", a="_", b="_")
    for templates in (_REVERSE, _COUNT, _CAPITALS, _FIRST_LAST, _LONGER, _SHORTER, _EARLIER, _LATER)
    for template in templates
)
