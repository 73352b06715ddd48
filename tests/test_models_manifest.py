"""The manifest tells the truth about the packaged model files, and keeps what it promises of them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import node
from node.cli.models import show
from node.gguf import read_header
from node.models import packaged
from protocol.exercises import ONE_STEP, SKILLS

DIRECTORY = Path(node.__file__).parent / "models"
MANIFEST: dict[str, Any] = json.loads((DIRECTORY / "manifest.json").read_text())
ENTRIES: list[dict[str, Any]] = MANIFEST["models"]
BY_NAME = {entry["name"]: entry for entry in ENTRIES}
FILE_BYTES_MAX = 1_500_000
QUESTIONS_MIN = 300

every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])


def test_manifest__lists_the_models_and_no_file_is_left_over() -> None:
    assert list(BY_NAME) == ["arith", "lists", "text", "logic", "generalist", "plan", "composite"]
    assert {entry["file"] for entry in ENTRIES} == {path.name for path in DIRECTORY.glob("*.gguf")}


@every_entry
def test_file__has_the_hash_and_size_of_its_entry(entry: dict[str, Any]) -> None:
    data = (DIRECTORY / entry["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert len(data) == entry["size_bytes"] <= FILE_BYTES_MAX


@every_entry
def test_entry__says_what_the_header_of_the_file_says(entry: dict[str, Any]) -> None:
    header = read_header(DIRECTORY / entry["file"])
    assert (header.architecture, header.quantisation, header.context, header.parameters, header.name) == (
        entry["architecture"],
        entry["quantisation"],
        entry["context"],
        entry["parameters"],
        entry["title"],
    )


@every_entry
def test_entry__measures_every_family_on_enough_questions(entry: dict[str, Any]) -> None:
    assert entry["families"] == [family for skill in entry["skills"] for family in SKILLS[skill]]
    # Questions of several steps are measured of those who learnt them, and of all models side by side in contrib/evaluation.
    measured = dict.fromkeys((*ONE_STEP, *entry["skills"]))
    assert list(entry["accuracy"]) == [family for skill in measured for family in SKILLS[skill]]
    for score in entry["accuracy"].values():
        assert score["questions"] >= QUESTIONS_MIN
        assert score["permille"] == score["right"] * 1000 // score["questions"]


@every_entry
def test_declared_prior__is_the_measured_mean_of_each_skill(entry: dict[str, Any]) -> None:
    assert set(entry["declared_prior_permille"]) == set(entry["skills"])
    for skill, prior in entry["declared_prior_permille"].items():
        permille = [entry["accuracy"][family]["permille"] for family in SKILLS[skill]]
        assert prior == sum(permille) // len(permille)


@every_entry
def test_training__states_its_cost(entry: dict[str, Any]) -> None:
    training = entry["training"]
    assert all(training[figure] > 0 for figure in ("steps", "tokens", "seconds"))
    assert "CPU" in training["device"]


@pytest.mark.parametrize(("name", "permille_min"), [("arith", 950), ("lists", 900), ("text", 900), ("logic", 900)])
def test_specialist__is_measured_good_in_each_of_its_families(name: str, permille_min: int) -> None:
    entry = BY_NAME[name]
    assert min(entry["accuracy"][family]["permille"] for family in entry["families"]) >= permille_min


def test_generalist__learns_every_skill_and_is_not_starved() -> None:
    generalist = BY_NAME["generalist"]
    assert generalist["skills"] == list(ONE_STEP)
    specialists = [BY_NAME[name] for name in ONE_STEP]
    assert generalist["training"]["tokens"] > 1.5 * max(entry["training"]["tokens"] for entry in specialists)
    assert min(generalist["declared_prior_permille"].values()) >= 750


def test_list__shows_the_families_of_a_specialist_and_the_skills_of_the_generalist() -> None:
    lines = {line.split()[0]: line for line in show(packaged())}
    for name, entry in BY_NAME.items():
        shown = re.findall(r"(\w+) ([0-9]+\.[0-9])(?:,|$)", lines[name])
        assert [word for word, _ in shown] == (entry["skills"] if len(entry["skills"]) > 1 else entry["families"])


def test_prompt__is_the_documented_format() -> None:
    assert MANIFEST["format"] == 1
    assert MANIFEST["prompt"]["template"] == "<|user|>{question}<|assistant|>"
    assert MANIFEST["prompt"]["end"] == "<|end|>"
