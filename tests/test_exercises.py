"""The generators give right gold answers, the same on every machine, and do not run out of texts."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.exercises import DIFFICULTIES, ONE_STEP, SEED_MAX, SKILLS, Exercise, generate
from protocol.exercises_logic import CATEGORIES
from simnet.reading import read

FAMILIES = [(skill, family) for skill, families in SKILLS.items() for family in families]
seeds = st.integers(min_value=0, max_value=SEED_MAX)
difficulties = st.sampled_from(DIFFICULTIES)

# How a reader who never saw the generator understands a question about numbers.
SUBTRACTING = re.compile(r" - |Subtract|away|minus|left|removing|remain|How many more|missing")
MULTIPLYING = re.compile(r"\*|times|Multiply|product|Each box|each\.|every day")
REVERSING = re.compile(r"[Rr]everse|backwards|from last to first")


def solve_arith(text: str) -> str:
    first, second = map(int, re.findall(r"\d+", text))
    if MULTIPLYING.search(text):
        return str(first * second)
    if SUBTRACTING.search(text):
        return str(abs(first - second))
    return str(first + second)


def solve_lists(text: str) -> str:
    limit = re.search(r"(?:greater than|above|exceed) (\d+)", text)
    if limit is not None:
        rest = text[: limit.start(1)] + text[limit.end(1) :]
        return str(len([n for n in re.findall(r"\d+", rest) if int(n) > int(limit.group(1))]))
    numbers = list(map(int, re.findall(r"\d+", text)))
    if re.search(r"largest number|largest of|maximum|biggest|highest", text):
        numbers = [max(numbers)]
    elif re.search(r"smallest number|smallest of|minimum|least|lowest", text):
        numbers = [min(numbers)]
    elif REVERSING.search(text):
        numbers.reverse()
    else:
        numbers.sort()
    return " ".join(map(str, numbers))


def solve_by_reading(text: str) -> str:
    """The simulator's reader knows the phrasings of all skills; only the categories of words are the generator's."""
    found = read(text)
    assert found is not None, text
    return found.gold


SOLVERS = {"arith": solve_arith, "lists": solve_lists, "text": solve_by_reading, "logic": solve_by_reading}


@pytest.mark.parametrize(("skill", "family"), [pair for pair in FAMILIES if pair[0] in ONE_STEP])
@given(difficulty=difficulties, seed=seeds)
def test_gold__is_what_an_independent_reader_computes_from_the_text(
    skill: str, family: str, difficulty: int, seed: int
) -> None:
    exercise = generate(skill, difficulty, seed, family)
    assert exercise.gold == SOLVERS[skill](exercise.text)
    assert (exercise.skill, exercise.family) == (skill, family)


@given(skill=st.sampled_from(sorted(SKILLS)), difficulty=difficulties, seed=seeds)
def test_generate__naming_the_drawn_family_gives_the_same_exercise(skill: str, difficulty: int, seed: int) -> None:
    drawn = generate(skill, difficulty, seed)
    assert drawn.family in SKILLS[skill]
    assert generate(skill, difficulty, seed, drawn.family) == drawn


@pytest.mark.parametrize("skill", sorted(SKILLS))
def test_generate__without_family_reaches_every_family(skill: str) -> None:
    assert {generate(skill, 1, seed).family for seed in range(200)} == set(SKILLS[skill])


@pytest.mark.parametrize(("skill", "family"), FAMILIES)
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_texts__hardly_repeat_within_a_thousand_seeds(skill: str, family: str, difficulty: int) -> None:
    texts = {generate(skill, difficulty, seed, family).text for seed in range(1000)}
    assert len(texts) >= 850


@pytest.mark.parametrize(("skill", "family"), FAMILIES)
def test_difficulty__makes_the_question_longer(skill: str, family: str) -> None:
    # Templates differ in length by more than a digit, so in a question of numbers only digits are counted.
    counted = r"\w" if skill == "text" or family in ("chain", "odd_one_out") else r"\d"

    def size(difficulty: int) -> int:
        return sum(len(re.findall(counted, generate(skill, difficulty, seed, family).text)) for seed in range(300))

    assert size(1) < size(2) < size(3)


def test_families__have_names_of_their_own() -> None:
    names = [family for families in SKILLS.values() for family in families]
    assert len(names) == len(set(names))


def test_categories__share_no_word() -> None:
    words = [word for category in CATEGORIES.values() for word in category]
    assert len(words) == len(set(words))


# These digests are what another implementation must reach: they pin every draw and every template.
VECTOR_DIGESTS = {
    "arith": "93ccd8464c8b604a5c95ebeaa49e01871b8dff406b75a09f4c18a8facfaa700c",
    "composite": "f5250e6ec30f6afc78501a146dce70c6280c06bc96d3d95b7168113f1b923df1",
    "lists": "8ba9fe92c2666c1be56097eb7071840f3cf0e6eccd66d073891ec995c4af2ad7",
    "logic": "cb525170a0991f3cc0503417902aa9053bdc08a143becd5ab99769cdc1535048",
    "plan": "b27db0201a1de5d9f2302ae2a28b820e9b34e73732db712d757d4af8992ffc14",
    "text": "b77bc92177cbd0d14622169575d163fb18fad6dd00eb4670d5b48a3a57e28681",
}


def digest_of_vectors(skill: str) -> str:
    state = hashlib.sha256()
    for difficulty in DIFFICULTIES:
        for seed in range(200):
            exercise: Exercise = generate(skill, difficulty, seed)
            state.update(f"{exercise.family}|{exercise.text}|{exercise.gold}\n".encode())
    return state.hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_generate__does_not_depend_on_the_hash_seed_of_the_process(hash_seed: str) -> None:
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.test_exercises import *; print([digest_of_vectors(skill) for skill in sorted(SKILLS)])",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert completed.stdout.strip() == str(list(VECTOR_DIGESTS.values()))


@pytest.mark.parametrize(
    ("skill", "difficulty", "seed", "family"),
    [
        ("poetry", 1, 0, None),
        ("arith", 0, 0, None),
        ("arith", 4, 0, None),
        ("arith", 1, -1, None),
        ("arith", 1, SEED_MAX + 1, None),
        ("arith", 1, 0, "sort"),
    ],
)
def test_generate__refuses_arguments_out_of_range(skill: str, difficulty: int, seed: int, family: str | None) -> None:
    with pytest.raises(LocalProtocolError):
        generate(skill, difficulty, seed, family)
