"""`python -m contrib.tinylm`: train, export, quantise, measure and list the tiny models, from the repository's root."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from contrib.tinylm import export, manifest
from contrib.tinylm.evaluate import Score, evaluate
from contrib.tinylm.recipes import RECIPES, Recipe
from contrib.tinylm.samples import batches, held_out
from contrib.tinylm.shape import Shape
from contrib.tinylm.train import BATCH_TOKENS, train
from contrib.tinylm.vocabulary import Vocabulary, learn
from contrib.tinylm.worked import worked
from protocol.exercises import ONE_STEP, SKILLS, Exercise

_HELD_OUT_PER_FAMILY = 300


def main() -> None:
    """Make the named models, or all of them, one after the other."""
    names = [recipe.name for recipe in RECIPES]
    parser = argparse.ArgumentParser(prog="python -m contrib.tinylm", description=__doc__)
    parser.add_argument("model", nargs="*", metavar="MODEL", help=f"any of {', '.join(names)}; all if none is named")
    parser.add_argument("--out", type=Path, default=Path("node/models"), help="where the files and the manifest go")
    parser.add_argument("--work", type=Path, default=Path("build/tinylm"), help="checkpoints; delete it to start anew")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the files that are there again")
    parser.add_argument("--threads", type=int, default=2, help="the shipped files were made with 2")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.model if name not in names]
    if unknown:
        parser.error(f"no model is called {unknown[0]!r}: use any of {', '.join(names)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    with _alone(arguments.work / "lock"):
        for recipe in RECIPES:
            if arguments.model and recipe.name not in arguments.model:
                continue
            if arguments.measure:
                _measure(recipe, arguments.out)
            else:
                _make(recipe, arguments.work, arguments.out, arguments.threads)


def _make(recipe: Recipe, work: Path, out: Path, threads: int) -> None:
    """One model from nothing, or from its checkpoint, to its entry in the manifest."""
    vocabulary = learn(recipe.vocabulary, letters=not recipe.letters_apart)
    shape = Shape(vocabulary=len(vocabulary.tokens))
    questions = held_out(_HELD_OUT_PER_FAMILY)
    vocabulary_file = work / f"{recipe.name}-vocabulary.gguf"
    export.write(vocabulary_file, "vocabulary", vocabulary, shape, {})
    forbidden = frozenset(exercise.text for exercises in questions.values() for exercise in exercises)
    stream = batches(export.Tokeniser(vocabulary_file), recipe.practice, recipe.seed, BATCH_TOKENS, forbidden)
    checkpoint = work / f"{recipe.name}-{_digest(recipe, shape, vocabulary)}.pt"
    trained = train(shape, recipe.seed, recipe.steps, stream, checkpoint, lambda line: _log(recipe, line))
    tensors = {name: parameter.detach().float().numpy() for name, parameter in trained.model.named_parameters()}
    whole = work / f"{recipe.name}-F32.gguf"
    quantised = work / f"{recipe.name}-{export.QUANTISATION}.gguf"
    export.write(whole, recipe.title, vocabulary, shape, tensors)
    export.quantise(whole, quantised)
    scores = evaluate(quantised, _measured(recipe, questions))
    # Both change at the end and one right after the other: until then the old file stands beside the old manifest.
    entry = manifest.entry(recipe, quantised, shape, trained, threads, scores)
    shutil.move(quantised, out / quantised.name)
    manifest.save(out, entry)
    _log_scores(recipe, scores)


def _measure(recipe: Recipe, out: Path) -> None:
    """Only the measured part of a manifest's entry, for when there are new families."""
    entry = manifest.load(out)[recipe.name]
    scores = evaluate(out / entry["file"], _measured(recipe, held_out(_HELD_OUT_PER_FAMILY)))
    manifest.save(out, {**entry, **manifest.measured(recipe, scores)})
    _log_scores(recipe, scores)


def _measured(recipe: Recipe, questions: Mapping[str, list[Exercise]]) -> dict[str, list[Exercise]]:
    """Every question of one step, and those of several steps for who learnt them: the others are at nought there."""
    skills = dict.fromkeys((*ONE_STEP, *recipe.skills))
    return {family: questions[family] for skill in skills for family in SKILLS[skill]}


def _log_scores(recipe: Recipe, scores: Mapping[str, Score]) -> None:
    for family, score in scores.items():
        _log(recipe, f"{family}: {score.right} of {score.questions} right")


def _digest(recipe: Recipe, shape: Shape, vocabulary: Vocabulary) -> str:
    """Names a checkpoint by all that training sees, so that a changed recipe does not resume from an old one."""
    state = hashlib.sha256(repr((recipe.practice, recipe.seed, recipe.steps, shape, vocabulary)).encode())
    for exercises in held_out(3).values():
        for exercise in exercises:
            if exercise.skill in recipe.skills:
                state.update(worked(exercise).encode())
    return state.hexdigest()[:12]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One training at a time: two would halve each other's speed and write one manifest."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another training holds {lock}: wait for it, or name another --work directory")
        yield


def _log(recipe: Recipe, line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {recipe.name}: {line}", flush=True)


if __name__ == "__main__":
    main()
