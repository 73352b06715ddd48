"""Which mutants are tried: a fixed draw over every place in `protocol` that an operator of Cosmic Ray can change.

Places are drawn and not mutants, for a comparison has ten and a number two: so each piece of code counts by its length. Left
out is what no run can tell from the original: annotations, which are text here, and changes that Python reads as the same.
"""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code

# Their sites are the others' sites once more, with names that the tool must be told.
_LEFT_OUT: Final = ("core/VariableReplacer", "core/VariableInserter", "core/NoOp")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: in `path`, operator `operator` at its occurrence number `occurrence`, which stands in `line` (from 1)."""

    path: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str
    code: str


Position = tuple[int, int]


def sample(repository: Path, count: int, seed: int) -> list[Mutant]:
    """`count` mutants by the draw of `seed`, ordered by place."""
    files = sorted(repository.glob("protocol/*.py"))
    places = [(path, place) for path in files for place in sorted(_places(path.read_text()).items())]
    draw = random.Random(seed)  # noqa: S311  a draw that others can repeat
    draw.shuffle(places)
    chosen: list[Mutant] = []
    for path, (position, choices) in places:
        if len(chosen) == count:
            break
        source = path.read_text()
        for operator, occurrence in draw.sample(choices, len(choices)):
            mutant = _mutant(str(path.relative_to(repository)), source, position, operator, occurrence)
            if mutant is not None:
                chosen.append(mutant)
                break
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.line, mutant.operator, mutant.occurrence))


def _places(source: str) -> dict[Position, list[tuple[str, int]]]:
    """What can be changed at each position: operators with the number of the occurrence."""
    tree = parso.parse(source)
    found: dict[Position, list[tuple[str, int]]] = {}
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if name in _LEFT_OUT:
            continue
        operator: Any = cosmic_ray.plugins.get_operator(name)()
        for number, (node, position) in enumerate(_occurrences(tree, operator)):
            if not _is_annotation(node):
                found.setdefault(position, []).append((name, number))
    return found


def _occurrences(tree: Any, operator: Any) -> Iterator[tuple[Any, Position]]:  # noqa: ANN401  parso's nodes have no type here
    for node in ast_nodes(tree):
        for start, _ in operator.mutation_positions(node):
            yield node, start


def _is_annotation(node: Any) -> bool:  # noqa: ANN401
    """Whether a node stands in the type of a parameter, a variable or a result."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type == "tfpdef" and child is not parent.children[0]:
            return True
        if parent.type == "annassign" and child is parent.children[1]:
            return True
        if parent.type == "funcdef" and child is parent.annotation:
            return True
        child, parent = parent, parent.parent
    return False


def _mutant(path: str, source: str, position: Position, operator: str, occurrence: int) -> Mutant | None:
    code = mutate_code(source, cosmic_ray.plugins.get_operator(operator)(), occurrence)
    if code is None:
        return None
    try:
        if ast.dump(ast.parse(code)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    old, new = source.splitlines(), code.splitlines()
    changes = [
        change for change in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if change[0] != "equal"
    ]
    first, last = changes[0][1], changes[-1][2]
    before = " ".join(" ".join(old[first:last]).split())
    after = " ".join(" ".join(new[changes[0][3] : changes[-1][4]]).split())
    return Mutant(path, operator.removeprefix("core/"), occurrence, position[0], before, after or "(nothing)", code)
