"""The exercises of specs/12-generators.md are those of the code: its words, phrasings, ranges, steps and example."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from protocol import (
    exercises,
    exercises_arith,
    exercises_composite,
    exercises_lists,
    exercises_logic,
    exercises_text,
    exercises_words,
)
from tests.test_specs import blocks, example, table

DOCUMENT: Final = "12-generators.md"
PHRASINGS: Final = {
    "add": exercises_arith._ADD,
    "subtract": exercises_arith._SUBTRACT,
    "times": exercises_arith._TIMES,
    "word add": exercises_arith._WORD_ADD,
    "word subtract": exercises_arith._WORD_SUBTRACT,
    "word times": exercises_arith._WORD_TIMES,
    "sort": exercises_lists._SORT,
    "max": exercises_lists._MAX,
    "min": exercises_lists._MIN,
    "reverse": exercises_lists._REVERSE,
    "count": exercises_lists._COUNT,
    "reverse_word": exercises_text._REVERSE,
    "count_letter": exercises_text._COUNT,
    "capitals": exercises_text._CAPITALS,
    "first_last": exercises_text._FIRST_LAST,
    "longer": exercises_text._LONGER,
    "shorter": exercises_text._SHORTER,
    "earlier": exercises_text._EARLIER,
    "later": exercises_text._LATER,
    "greater": exercises_logic._GREATER,
    "less": exercises_logic._LESS,
    "larger": exercises_logic._LARGER,
    "smaller": exercises_logic._SMALLER,
    "who": tuple(text.replace("{most}", "{word}") for text in exercises_logic._MOST_QUESTION),
    "even or odd": exercises_logic._EVEN_OR_ODD,
    "even": exercises_logic._EVEN,
    "odd": exercises_logic._ODD,
    "odd numbers": exercises_logic._ODD_NUMBERS,
    "odd words": exercises_logic._ODD_WORDS,
}


def named(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each line of a block that is not indented, with the lines below it, less one indentation."""
    for found in re.finditer(r"^(\S.*)\n((?:  .*\n)*)", text, re.MULTILINE):
        yield found[1], [line.removeprefix("  ") for line in found[2].splitlines()]


def words_of(kind: str) -> dict[str, tuple[str, ...]]:
    """The words under each name of the one block of a kind."""
    (block,) = blocks(DOCUMENT, kind)
    return {name: tuple(" ".join(lines).split()) for name, lines in named(block)}


def ranges(cell: str) -> tuple[tuple[int, int], ...]:
    found = ((int(low), int(high or low)) for low, high in re.findall(r"(\d+)(?:\.\.(\d+))?", cell))
    return tuple(found)


def by_difficulty(*columns: str) -> dict[str, dict[int, tuple[tuple[int, int], ...]]]:
    """The ranges in each column of a table, by difficulty."""
    rows = table(DOCUMENT, "difficulty", *columns)
    return {name: {int(row[0]): ranges(row[place]) for row in rows} for place, name in enumerate(columns, 1)}


def test_families__are_those_of_the_code() -> None:
    rows = table(DOCUMENT, "skill", "answer", "families")
    found = {skill: re.findall(r"`?(\w+)`?(\\\*)?", families) for skill, _, families in rows}
    assert {skill: tuple(name for name, _ in families) for skill, families in found.items()} == exercises.SKILLS
    assert {skill: answer for skill, answer, _ in rows} == exercises.ANSWERS
    for skill, families in found.items():
        for name, star in families:
            assert exercises.fits(skill, name, "number") == (bool(star) or exercises.ANSWERS[skill] == "number"), name


def test_words__are_those_of_the_code() -> None:
    words = words_of("words")
    assert words.pop("people") == exercises_words.NAMES == exercises_arith._NAMES
    assert words.pop("more people") == exercises_words._MORE_NAMES
    assert words.pop("things") == exercises_arith._THINGS
    assert words.pop("common") == exercises_words._COMMON
    assert not words
    assert list(words_of("kinds").items()) == list(exercises_logic.CATEGORIES.items())
    (relations,) = blocks(DOCUMENT, "relations")
    assert tuple(tuple(line.split()) for line in relations.splitlines()) == exercises_logic.RELATIONS


def test_phrasings__are_those_of_the_code() -> None:
    found = [(name, tuple(lines)) for block in blocks(DOCUMENT, "phrasings") for name, lines in named(block)]
    assert found == list(PHRASINGS.items())


def test_ranges__are_those_of_the_code() -> None:
    (operands,) = by_difficulty("ranges of operands").values()
    assert operands == exercises_arith._OPERANDS
    logic = by_difficulty("numbers to compare", "even and odd numbers", "people", "items", "halves")
    assert logic["numbers to compare"] == exercises_logic._COMPARED
    assert logic["even and odd numbers"] == exercises_logic._PARITY
    assert logic["people"] == {difficulty: (people,) for difficulty, people in exercises_logic._PEOPLE.items()}
    assert logic["items"] == {difficulty: ((items, items),) for difficulty, items in exercises_logic._ITEMS.items()}
    composite = by_difficulty("lengths", "short lengths", "terms")
    for name, held in (
        ("lengths", exercises_composite._LENGTHS),
        ("short lengths", exercises_composite._SHORT_LENGTHS),
        ("terms", exercises_composite._TERMS),
    ):
        assert composite[name] == {difficulty: (found,) for difficulty, found in held.items()}


def test_operations__are_those_of_the_code() -> None:
    rows = table(DOCUMENT, "operation", "skill", "question", "value")
    held = [(name, operation.skill, operation.text) for name, operation in exercises_composite.OPERATIONS.items()]
    assert [tuple(row[:3]) for row in rows] == held


def test_ways__are_those_of_the_code() -> None:
    (block,) = blocks(DOCUMENT, "ways")
    found = {
        family: tuple(
            (tuple(phrasings), tuple(tuple(step.split()) for step in steps.split("; ")))
            for steps, phrasings in named("\n".join([*lines, ""]))
        )
        for family, lines in named(block)
    }
    assert found == {name: family.ways for name, family in exercises_composite.FAMILIES.items()}


def test_example__holds() -> None:
    values = example(DOCUMENT)
    numbers = [
        int.from_bytes(hashlib.sha256(values["key"].encode() + number.to_bytes(4, "big")).digest()[:8], "big")
        for number, _ in enumerate(values["moduli"].split())
    ]
    assert f"{numbers[0]:016x}" == values["draw_0"]
    left = [number % int(modulus) for number, modulus in zip(numbers, values["moduli"].split(), strict=True)]
    assert " ".join(map(str, left)) == values["draws"]
    _, skill, difficulty, seed, _ = values["key"].split("|")
    made = exercises.generate(skill, int(difficulty), int(seed), "count")
    assert (made.text, made.gold) == (values["question"], values["gold"])
