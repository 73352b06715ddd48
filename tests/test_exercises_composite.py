"""Composite questions: gold answers and gold plans are what somebody finds who only reads the question."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import PLAN_STEPS_MAX
from protocol.exercises import ANSWERS, DIFFICULTIES, ONE_STEP, SEED_MAX, SKILLS, generate
from protocol.exercises_composite import FAMILIES, OPERATIONS
from protocol.plan import Plan
from simnet.reading import read

LIST = re.compile(r"[0-9]+(?:,? [0-9]+)+")
LETTER = re.compile(r"letter (\w) in (\w+)|often (\w) occurs in (\w+)|many times (\w) in (\w+)")
seeds = st.integers(0, SEED_MAX)
difficulties = st.sampled_from(DIFFICULTIES)


def lists_of(words: str) -> list[list[int]]:
    return [[int(number) for number in re.findall("[0-9]+", found)] for found in LIST.findall(words)]


def parity(number: int, words: str) -> str:
    if "even or odd" in words or "even or an odd" in words:
        return "odd" if number % 2 else "even"
    return "no" if number % 2 else "yes"


def top_two(words: str) -> str:
    (numbers,) = lists_of(words)
    two = sorted(numbers, reverse="largest" in words)[:2]
    return parity(sum(two), words)


def scaled(words: str) -> str:
    (numbers,), (factor,) = lists_of(words), re.findall(r"(?:by|is) ([0-9]+)(?:\.$| times)", words)
    return str(int(factor) * (min(numbers) if re.search("smallest|minimum", words) else max(numbers)))


def extremes(words: str) -> str:
    (numbers,) = lists_of(words)
    return str(max(numbers) + min(numbers) if re.search("sum|add|plus", words) else max(numbers) - min(numbers))


def limit_and_list(words: str) -> tuple[int, list[int]]:
    limit = re.search(r"(?:greater than|above) ([0-9]+)", words)
    assert limit is not None
    (numbers,) = lists_of(words.replace(limit[0], ""))
    return int(limit[1]), numbers


def counted_parity(words: str) -> str:
    limit, numbers = limit_and_list(words)
    return parity(sum(number > limit for number in numbers), words)


def counts(words: str) -> str:
    limit, numbers = limit_and_list(words)
    found = LETTER.search(words)
    assert found is not None
    letter, word = (part for part in found.groups() if part)
    return str(word.count(letter) + sum(number > limit for number in numbers))


def sum_or_extreme(words: str) -> str:
    (numbers,), terms = lists_of(words), re.search(r"([0-9]+) (?:and|plus) ([0-9]+)", words)
    assert terms is not None
    total, largest = int(terms[1]) + int(terms[2]), max(numbers)
    if "greater" in words:
        return "yes" if total > largest else "no"
    return str(min(total, largest) if "smaller" in words else max(total, largest))


def two_lists(words: str) -> str:
    (first, second), (factor,) = lists_of(words), re.findall(r"(?:by|is) ([0-9]+)(?:\.$| times)", words)
    return str(int(factor) * (min if "smaller" in words else max)(max(first), max(second)))


READERS = {
    "top_two": top_two,
    "scaled": scaled,
    "extremes": extremes,
    "counted_parity": counted_parity,
    "counts": counts,
    "sum_or_extreme": sum_or_extreme,
    "two_lists": two_lists,
}


@pytest.mark.parametrize("family", FAMILIES)
@given(difficulty=difficulties, seed=seeds)
def test_composite__gold_is_what_a_reader_of_the_question_finds(family: str, difficulty: int, seed: int) -> None:
    exercise = generate("composite", difficulty, seed, family)
    assert exercise.gold == READERS[family](exercise.text.lower())


@pytest.mark.parametrize("family", FAMILIES)
@given(difficulty=difficulties, seed=seeds)
def test_plan__carried_out_by_readers_of_single_steps_answers_the_question(family: str, difficulty: int, seed: int) -> None:
    exercise = generate("plan", difficulty, seed, f"plan_{family}")
    plan = Plan.parse(exercise.gold)
    answers: dict[int, str] = {}
    while ready := plan.ready(answers):
        for number in ready:
            step = plan.steps[number - 1]
            found = read(step.filled(answers))
            assert found is not None
            assert found.skill == step.skill
            answers[number] = found.gold
    assert answers[len(plan.steps)] == READERS[family](exercise.text.lower())
    assert plan.text == exercise.gold
    assert 1 < len(plan.steps) <= PLAN_STEPS_MAX
    assert len({step.skill for step in plan.steps}) > 1


def test_composite__and_plan_ask_the_same() -> None:
    assert SKILLS["plan"] == tuple(f"plan_{family}" for family in SKILLS["composite"])
    assert (ANSWERS["composite"], ANSWERS["plan"]) == ("choice", "plan")
    assert {operation.skill for operation in OPERATIONS.values()} == set(ONE_STEP)
