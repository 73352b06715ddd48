"""`tutti models list`: the models that come with the package, as their manifest describes them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from node.cli.flags import add_json
from node.cli.terminal import clean, print_json, print_lines, size, table
from node.models import PackagedModel, packaged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The one verb, and how to print it."""
    parser.add_argument("verb", metavar="list", nargs="?", choices=("list",), help="the only verb so far")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the manifest; raises `EngineError` if it is damaged."""
    models = packaged()
    if args.json:
        print_json({"models": [{**model.entry, "path": str(model.path)} for model in models]})
    else:
        print_lines(show(models))
    return 0


def show(models: Sequence[PackagedModel]) -> list[str]:
    """The lines for a person. The manifest informs, so what is missing from an entry is only not shown."""
    if not models:
        return ["no packaged models; run a node with --model FILE.gguf of your own"]
    rows = [("NAME", "SKILLS", "SIZE", "QUANTISATION", "RIGHT, PER CENT OF UNSEEN QUESTIONS")]
    for model in models:
        entry = model.entry
        rows.append(
            (
                clean(model.name),
                clean(" ".join(entry.get("skills", ()))) or "-",
                size(int(entry.get("size_bytes", 0))),
                clean(entry.get("quantisation", "-")),
                _accuracy(entry),
            )
        )
    return [*table(rows, indent=""), "run one with `tutti run --model NAME`"]


def _accuracy(entry: Mapping[str, Any]) -> str:
    """Families that the model was taught, or only their mean a skill if there are several; the JSON holds all."""
    means = entry.get("declared_prior_permille", {})
    measured = {family: found["permille"] for family, found in entry.get("accuracy", {}).items()}
    taught = {family: permille for family, permille in measured.items() if family in entry.get("families", ())}
    shown = means if len(means) > 1 else taught
    return ", ".join(f"{clean(name)} {permille / 10:.1f}" for name, permille in shown.items()) or "not measured"
