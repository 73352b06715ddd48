"""The manifest beside the model files: what each is, what it cost and what it was measured to be worth."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrib.tinylm.evaluate import COMPLETION_TOKENS_MAX, Score
from contrib.tinylm.export import QUANTISATION
from contrib.tinylm.recipes import RECIPES, Recipe
from contrib.tinylm.shape import Shape
from contrib.tinylm.train import Trained
from contrib.tinylm.vocabulary import END, TEMPLATE
from protocol.exercises import SKILLS

FILE_NAME = "manifest.json"


def entry(
    recipe: Recipe, model_file: Path, shape: Shape, trained: Trained, threads: int, scores: Mapping[str, Score]
) -> dict[str, Any]:
    """The manifest entry of one model. Rates and priors are integers per thousand, as the protocol has no floats."""
    data = model_file.read_bytes()
    return {
        "name": recipe.name,
        "title": recipe.title,
        "description": recipe.description,
        "file": model_file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "architecture": "llama",
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "quantisation": QUANTISATION,
        "context": shape.context,
        "skills": list(recipe.skills),
        "families": [family for _, family in recipe.families],
        **measured(recipe, scores),
        "training": {
            "seed": recipe.seed,
            "steps": recipe.steps,
            "tokens": trained.tokens,
            "seconds": trained.seconds,
            "device": f"{platform.machine()} CPU, {threads} threads, bfloat16",
        },
    }


def measured(recipe: Recipe, scores: Mapping[str, Score]) -> dict[str, Any]:
    """The part of an entry that the evaluation gives."""
    return {
        "declared_prior_permille": {skill: _mean_permille(skill, scores) for skill in recipe.skills},
        "accuracy": {family: _measured(score) for family, score in scores.items()},
    }


def load(directory: Path) -> dict[str, dict[str, Any]]:
    """The entries by their names; none where there is no manifest yet."""
    path = directory / FILE_NAME
    return {entry["name"]: entry for entry in json.loads(path.read_text())["models"]} if path.exists() else {}


def save(directory: Path, new: Mapping[str, Any]) -> None:
    """Add or replace one entry; the others stay. Entries stand in the order of the recipes."""
    entries = {**load(directory), new["name"]: new}
    document = {
        "format": 1,
        "prompt": {
            "template": TEMPLATE,
            "end": END,
            "decoding": "greedy",
            "completion_tokens_max": COMPLETION_TOKENS_MAX,
            "answer": "the last line of the completion, after `answer: `",
        },
        "evaluation": "greedy, through llama.cpp, on questions that no training batch contains; all difficulties alike; "
        "a family outside a model's `families` was never taught to it",
        "models": [entries[recipe.name] for recipe in RECIPES if recipe.name in entries],
    }
    # Replaced in one step: a broken write would lose every model's entry.
    part = directory / f"{FILE_NAME}.part"
    part.write_text(json.dumps(document, indent=2) + "\n")
    part.replace(directory / FILE_NAME)


def _mean_permille(skill: str, scores: Mapping[str, Score]) -> int:
    families = SKILLS[skill]
    return sum(_permille(scores[family]) for family in families) // len(families)


def _permille(score: Score) -> int:
    return score.right * 1000 // score.questions


def _measured(score: Score) -> dict[str, int]:
    return {
        "questions": score.questions,
        "right": score.right,
        "permille": _permille(score),
        "completion_tokens_mean": round(score.completion_tokens / score.questions),
    }
