"""A question finds its skill by its words alone, by integers alone."""

from __future__ import annotations

import os
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.capability import GENERAL
from protocol.exercises import ONE_STEP, SEED_MAX, SKILLS, generate
from protocol.parameters import Parameters, Skill, preset
from protocol.requirement import Requirement, RequirementMap

PARAMETERS = preset("dev")
GENESIS = PARAMETERS.genesis
requirement_of = RequirementMap(PARAMETERS)
FAMILIES = [(skill, family) for skill in (*ONE_STEP, "composite") for family in SKILLS[skill]]


@settings(max_examples=150)
@given(st.sampled_from(FAMILIES), st.integers(1, 3), st.integers(0, SEED_MAX))
@hypothesis.example(("lists", "min"), 3, 2_500_283_493_932_824)
def test_exercise__finds_its_own_skill(which: tuple[str, str], difficulty: int, seed: int) -> None:
    skill, family = which
    assert requirement_of(generate(skill, difficulty, seed, family).text).skill == skill


@pytest.mark.parametrize(
    "text",
    [
        "write a haiku",
        "Who wrote the Odyssey?",
        "Explain how a bicycle stays upright.",
        "Translate 'good morning' into French",
        "",
        " ",
        "\x00",
        "<|user|>",
        "<|im_start|>system",
        "??????",
        "俳句を書いて",
        "\U0001f600" * 600,
    ],
    ids=ascii,
)
def test_question__outside_all_skills_is_general(text: str) -> None:
    assert requirement_of(text).skill == GENERAL


@pytest.mark.parametrize("text", ["What is 12 + 30?", "WHAT IS 7 + 9?", "  What  is\n12345 + 1 ?", "12+30", "7*8", "9 -5"])
def test_question__keeps_its_skill_in_another_dress(text: str) -> None:
    assert requirement_of(text).skill == "arith"


@pytest.mark.parametrize(
    ("text", "skill"),
    [
        ("Reverse the word banana.", "text"),
        ("reverse hello", "text"),
        ("Please reverse the word banana", "text"),
        ("Reverse the word letter.", "text"),
        ("Reverse the word caf\u00e9.", "text"),
        ("how many r's are in strawberry", "text"),
        ("BANANA backwards", "text"),
        ("What are the first and last letters of banana?", "text"),
        ("Is 45 greater than 54?", "logic"),
        ("Ana is taller than Ben. Ben is taller than Iris. Is Iris taller than Ana?", "logic"),
        ("Which word does not belong: apple, pear, hammer, plum?", "logic"),
        ("What is the largest of 45, 54?", "lists"),
    ],
)
def test_pattern__fits_words_and_numbers_that_no_example_has(text: str, skill: str) -> None:
    assert requirement_of(text).skill == skill


@pytest.mark.parametrize(
    "text",
    [
        "Which is better, tea or coffee?",
        "Who is the president?",
        "Who is the tallest man?",
        "Which comes first, the chicken or the egg?",
        "Write a poem about spring in capitals",
        "Reverse engineer this",
        "Spell check this essay",
        "What is the longest river in the world?",
        "Is it even possible?",
    ],
)
def test_pattern__does_not_swallow_other_questions_of_its_words(text: str) -> None:
    assert requirement_of(text).skill == GENERAL


@settings(max_examples=80)
@given(st.text(max_size=80))
def test_similarity__is_an_integer_in_thousandths(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    requirement = requirement_of(text)
    assert type(requirement.similarity) is int
    assert 0 <= requirement.similarity <= 1_000
    assert requirement_of(text) == requirement


def test_own_example__is_as_near_as_can_be() -> None:
    for name, skill in PARAMETERS.skills.items():
        for example in skill.examples[::37]:
            assert requirement_of(example) == Requirement(name, 1_000)


def test_long_question__is_compared_by_its_start() -> None:
    start = "What is 12 + 30? " * 40
    assert requirement_of(start + "x" * 16_000) == requirement_of(start)


def test_tie__goes_to_the_first_skill_by_name_whatever_the_order_of_the_table() -> None:
    same = Skill("text", 10, 10, ("what is this thing",))
    for names in (("b", "a"), ("a", "b")):
        mapped = RequirementMap(Parameters(GENESIS, 1, dict.fromkeys(names, same)))
        assert mapped("what is this thing") == Requirement("a", 1_000)


def test_no_examples__leave_everything_general() -> None:
    assert RequirementMap(Parameters(GENESIS, 1, {}))("What is 1 + 1?") == Requirement(GENERAL, 0)


def test_mapping__is_the_same_under_any_hash_seed() -> None:
    program = (
        "from protocol.parameters import preset; from protocol.requirement import RequirementMap; "
        "m = RequirementMap(preset('dev')); "
        "print([m(t) for t in ('What is 1 + 2?', 'Sort these: 3 1 2', 'largest of 3 and 4', 'write a haiku')])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("text", ["What is the largest country?", "What is the smallest planet?", "Sort this out"])
def test_requirement__a_question_without_numbers_matches_no_example_with_numbers(text: str) -> None:
    assert RequirementMap(preset("dev"))(text).skill == "general"
