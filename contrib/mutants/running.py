"""Runs the tests against one mutant after the other, each in a copy of the checkout.

Which tests run a line is measured once. A mutant meets those, the most special ones first, for no other can tell it from the
original; what runs at an import is seen by all. A test that fails, or a run that takes several times as long as it should,
kills the mutant.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coverage import CoverageData

from contrib.mutants.sampling import Mutant
from contrib.pure_tests import pure_tests

_PYTEST: Final = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants")
_FAILED: Final = 1
# A changed import, decorator or constant ends pytest before the first test: the tests cannot run at all.
_BROKEN: Final = (2, 3, 4)
# Constants and tables stand in the specs.
_OF_TABLES: Final = ("tests/test_specs.py",)
_PATIENCE: Final = 4
_PATIENCE_S_MIN: Final = 60


class BrokenTreeError(Exception):
    """The tests fail without any mutant."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Tests by the line that they run, how many lines each runs, and how long all of them take, in seconds."""

    by_line: dict[tuple[str, int], set[str]]
    weight: Counter[str]
    whole_s: float


def copied(repository: Path, target: Path) -> Path:
    """A copy of what git tracks, as it is now."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  the user's git
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shutil.rmtree(target, ignore_errors=True)
    for name in filter(None, names.split("\0")):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target / name)
    return target


def learn(tree: Path) -> Knowledge:
    """Run the tests once without a mutant and see which lines each of them runs."""
    began = os.times().elapsed
    words = ("--cov=protocol", "--cov-branch", "--cov-context=test", "--cov-report=", *pure_tests(tree))
    code = _pytest(tree, words, None)
    if code != 0:
        raise BrokenTreeError(f"the tests fail without a mutant: pytest's exit code is {code}, see {tree}/mutants.log")
    data = CoverageData(str(tree / ".coverage"))
    data.read()
    by_line: dict[tuple[str, int], set[str]] = {}
    weight: Counter[str] = Counter()
    for file in data.measured_files():
        path = str(Path(file).relative_to(tree))
        for line, contexts in data.contexts_by_lineno(file).items():
            # "tests/test_x.py::test_y|run", with setup and teardown beside run; empty while a module is imported.
            tests = {context.partition("|")[0] for context in contexts if context}
            by_line[path, line] = tests
            weight.update(tests)
    return Knowledge(by_line, weight, os.times().elapsed - began)


def verdict(tree: Path, mutant: Mutant, known: Knowledge) -> tuple[str, str]:
    """One of "killed", "timeout" and "survived", and how many tests were asked first; `tree` is as before afterwards."""
    file = tree / mutant.path
    source = file.read_text()
    seeing = known.by_line.get((mutant.path, mutant.line), set())
    # Parameters of a test may hold any character, so whole functions are named.
    functions = {test.partition("[")[0]: known.weight[test] for test in sorted(seeing)}
    nearest = sorted(functions, key=lambda name: (functions[name], name)) or [*_OF_TABLES, *pure_tests(tree)]
    try:
        file.write_text(mutant.code)
        code = _pytest(tree, ("-x", *nearest), max(_PATIENCE_S_MIN, _PATIENCE * known.whole_s))
    except subprocess.TimeoutExpired:
        return "timeout", f"{len(functions)}"
    finally:
        file.write_text(source)
    return ("killed" if code == _FAILED or code in _BROKEN else "survived"), f"{len(functions) or 'all'}"


def _pytest(tree: Path, words: tuple[str, ...], patience_s: float | None) -> int:
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with (tree / "mutants.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *_PYTEST, *words],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            return process.wait(patience_s)
        except BaseException:
            # Its children as well, whatever ended the wait: the tests start some.
            os.killpg(process.pid, 9)
            process.wait()
            raise
