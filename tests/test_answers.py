"""Answers that mean the same are the same bytes, and what has no form is an abstention."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.answers import MARK, answer_of, canonical_answer
from protocol.constants import ANSWER_SIZE_MAX, TEXT_SIZE_MAX
from protocol.exercises import ANSWERS, SEED_MAX, SKILLS, generate


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("12", "12"),
        (" 12 \n", "12"),
        ("+12", "12"),
        ("-12", "-12"),
        ("012", "12"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0", "0"),
        ("12.", "12"),
        ("12.0", "12"),
        ("12.50", "12.5"),
        ("-00.5", "-0.5"),
        ("", None),
        (".", None),
        ("-", None),
        ("--1", None),
        (".5", None),
        ("1e3", None),
        ("1,000", None),
        ("1 2", None),
        ("twelve", None),
        ("12 apples", None),
        ("12\x00", None),
        ("\u0663", None),
        ("1\uff12", None),
        ("1_000", None),
        ("nan", None),
        ("inf", None),
        ("9" * 64, "9" * 64),
        ("9" * 65, None),
    ],
)
def test_number__has_one_form(text: str, answer: str | None) -> None:
    assert canonical_answer("number", text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3 5 9", "3 5 9"),
        ("3, 5, 9", "3 5 9"),
        ("[3, 5, 9]", "3 5 9"),
        ("(3;5;9).", "3 5 9"),
        ("3,5,9.", "3 5 9"),
        ("7", "7"),
        ("07 -0 +3", "7 0 3"),
        ("3  5\t9", "3 5 9"),
        ("[3, 5", None),
        ("3 5 and 9", None),
        ("[]", None),
        ("[", None),
        ("", None),
        (",", None),
        ("[[3]]", None),
    ],
)
def test_list__has_one_form(text: str, answer: str | None) -> None:
    assert canonical_answer("list", text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("  a  b\n c ", "a  b\n c"), ("e\u0301", "e\u0301"), ("", None), (" \n", None), ("\ud800", "?")],
)
def test_text__is_as_it_was_written(text: str, answer: str | None) -> None:
    assert canonical_answer("text", text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("banana", "banana"),
        (" Banana.\n", "Banana"),
        ('"banana".', "banana"),
        ("'banana.'", "banana"),
        ("\u201cbanana\u201d", "banana"),
        ("well-known", "well-known"),
        ("cafe\u0301", "caf\u00e9"),
        ("b3", "b3"),
        ("3", "3"),
        ("two words", None),
        ("a\u00a0b", None),
        ("a\u2003b", None),
        ("b\u2019s", None),
        ("", None),
        ("-", None),
        ("a--b", None),
        ("-a", None),
        ("a_b", None),
        ("a\x00", None),
        ("a\ud800", None),
        ('"', None),
        ("...", None),
    ],
)
def test_word__has_one_form(text: str, answer: str | None) -> None:
    assert canonical_answer("word", text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("Yes.", "yes"), ("no", "no"), ("'Iris'", "iris"), ("54", "54"), ("caf\u00e9", None), ("\u0131", None), ("yes no", None)],
)
def test_choice__is_a_word_of_small_ascii_letters(text: str, answer: str | None) -> None:
    assert canonical_answer("choice", text) == answer


@pytest.mark.parametrize(
    ("kind", "output", "answer"),
    [
        ("number", "12 + 30 = 42\nanswer: 42", "42"),
        ("number", "answer: 1\nno, answer: 42\n", "42"),
        ("number", "answer:42", "42"),
        ("number", "42", None),
        ("number", "", None),
        ("number", "answer: ", None),
        ("number", "answer: 42 answer:", None),
        ("number", "answer: 42\nthank you", None),
        ("list", "sorted\nanswer: [1, 2]", "1 2"),
        ("word", "b a\nanswer: ab", "ab"),
        ("word", "ab", None),
        ("choice", "Answer: No", "no"),
        ("choice", "No", None),
        ("text", "An old silent pond", "An old silent pond"),
        ("text", " thinking\nanswer: a  pond ", "thinking\nanswer: a  pond"),
        ("text", "  ", None),
    ],
)
def test_answer_of__takes_what_stands_behind_the_last_mark(kind: str, output: str, answer: str | None) -> None:
    assert answer_of(kind, output) == answer


def test_free_text__may_be_as_long_as_an_opening() -> None:
    # A free answer is shown, not voted; its length says nothing about whether there is one.
    text = "word " * (TEXT_SIZE_MAX // 5)
    assert len(text) > ANSWER_SIZE_MAX
    assert answer_of("text", text) == text.strip()


def test_voted_answer__is_bounded() -> None:
    assert answer_of("list", f"{MARK} " + "1 " * (ANSWER_SIZE_MAX // 2 + 1)) is None
    assert answer_of("list", f"{MARK} " + "1 " * (ANSWER_SIZE_MAX // 2)) is not None
    assert answer_of("word", f"{MARK} " + "\u00e9" * (ANSWER_SIZE_MAX // 2 + 1)) is None
    assert answer_of("word", f"{MARK} " + "\u00e9" * (ANSWER_SIZE_MAX // 2)) is not None


@settings(max_examples=100)
@given(st.sampled_from(["number", "list", "word", "choice", "text"]), st.text(max_size=60))
def test_canonical_form__is_its_own_canonical_form(kind: str, text: str) -> None:
    answer = canonical_answer(kind, text)
    assert answer is None or canonical_answer(kind, answer) == answer


@settings(max_examples=100)
@given(st.sampled_from(["number", "list"]), st.text("0123456789+-., ;[]()\n\u0663", max_size=20))
def test_canonical_form__of_numberlike_text_is_its_own_canonical_form(kind: str, text: str) -> None:
    answer = canonical_answer(kind, text)
    assert answer is None or canonical_answer(kind, answer) == answer


@settings(max_examples=100)
@given(st.sampled_from(["word", "choice"]), st.text("aZ9\u00e9e\u0301-.'\"\u201c ", max_size=12))
def test_canonical_form__of_wordlike_text_is_its_own_canonical_form(kind: str, text: str) -> None:
    answer = canonical_answer(kind, text)
    assert answer is None or canonical_answer(kind, answer) == answer


@settings(max_examples=60)
@given(st.integers(-(10**30), 10**30), st.integers(0, 3), st.sampled_from(["", "."]))
def test_number__of_an_integer_is_its_decimal_form(value: int, zeros: int, end: str) -> None:
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    assert canonical_answer("number", sign + "0" * zeros + digits + end) == str(value)


@settings(max_examples=60)
@given(st.sampled_from(sorted(SKILLS)), st.integers(1, 3), st.integers(0, SEED_MAX))
def test_gold__is_in_canonical_form(skill: str, difficulty: int, seed: int) -> None:
    exercise = generate(skill, difficulty, seed)
    assert answer_of(ANSWERS[skill], f"some steps\n{MARK} {exercise.gold}") == exercise.gold


@pytest.mark.parametrize("output", ["Answer: 5", "ANSWER: 5", "answer: 4\nso the Answer: 5", "İ Answer: 5"])
def test_answer__stands_behind_the_last_mark_in_any_case(output: str) -> None:
    assert answer_of("number", output) == "5"
