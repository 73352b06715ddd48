"""The vectors of specs/vectors are what `make vectors` writes, and say of every refusal by which rule."""

from __future__ import annotations

import json
import re

import pytest

from contrib.vectors.__main__ import DIRECTORY, SUBJECTS, text_of
from tests.test_specs import NUMBERED, raised_codes, table

SIZE_MAX = 200_000


@pytest.mark.parametrize("subject", SUBJECTS)
def test_vectors__are_those_that_the_code_gives(subject: str) -> None:
    text = (DIRECTORY / f"{subject}.json").read_text(encoding="utf-8")
    assert text == text_of(subject), f"specs/vectors/{subject}.json: `make vectors` writes another one"
    assert len(text.encode()) < SIZE_MAX


@pytest.mark.parametrize("subject", SUBJECTS)
def test_vectors__have_an_output_or_a_code_of_the_specs(subject: str) -> None:
    found = json.loads((DIRECTORY / f"{subject}.json").read_text(encoding="utf-8"))
    assert found["document"] in {path.name for path in NUMBERED}
    codes = raised_codes() | {None}
    for case in found["cases"]:
        assert case.keys() in ({"operation", "name", "input", "output"}, {"operation", "name", "input", "code"})
        assert case.get("code") in codes


def test_vectors__are_listed_with_their_operations() -> None:
    listed = {file: set(re.findall(r"`(\w+)`", f"`{text}`")) for file, text in table("00-conventions.md", "file", "operations")}
    assert listed.keys() == {path.name for path in DIRECTORY.iterdir()} == {f"{subject}.json" for subject in SUBJECTS}
    for subject, module in SUBJECTS.items():
        assert module.OPERATIONS.keys() <= listed[f"{subject}.json"], subject
