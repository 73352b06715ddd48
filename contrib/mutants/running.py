"""Runs the tests against one mutant after the other, each in a copy of the checkout.

First the near tests, then all the others. A test that fails kills the mutant, if it holds
without it; so does a run that takes more of a processor's time than it ever should.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from contrib.mutants.sampling import Mutant
from contrib.pure_tests import pure_tests

_PYTEST: Final = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=mutants")
_FAILED: Final = re.compile(r"^FAILED (tests/\S+?)(?: - .*)?$", re.MULTILINE)
# Seconds of a processor: all the tests take three minutes. A mutant that loops ends here.
CPU_S_MAX: Final = 600
# A mutant that waits for something that never comes uses no processor.
WALL_S_MAX: Final = 3_600


class BrokenTreeError(Exception):
    """A test fails without any mutant."""


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


@cache
def near(tree: Path, path: str) -> tuple[str, ...]:
    """The tests that name the module at `path`, those that import least first; then the specs' and those of the core.

    Nearly every module works in the core, and constants stand in the specs.
    """
    module = Path(path).stem
    named = re.compile(rf"protocol\.{module}\b|protocol import .*\b{module}\b")
    texts = {name: (tree / name).read_text() for name in pure_tests(tree)}
    found = [name for name, text in texts.items() if named.search(text)]
    found.sort(key=lambda name: (texts[name].count("from protocol"), name))
    core = sorted((name for name in texts if "/test_core_" in name), key=lambda name: (module not in name, name))
    return tuple(dict.fromkeys((*found, "tests/test_values.py", "tests/test_specs.py", *core)))


def far(tree: Path, path: str) -> tuple[str, ...]:
    """All other tests."""
    return tuple(name for name in pure_tests(tree) if name not in near(tree, path))


def verdict(tree: Path, mutant: Mutant, tests: tuple[str, ...]) -> str:
    """One of "killed", "timeout" and "survived"; `tree` is as before afterwards. Raises `BrokenTreeError`."""
    file = tree / mutant.path
    source = file.read_text()
    try:
        file.write_text(mutant.code)
        code, failed = _pytest(tree, tests)
    finally:
        file.write_text(source)
    if code is None:
        return "timeout"
    if code == 0:
        return "survived"
    # Without a failed test the mutant broke an import or a table at the start, and no test can run at all.
    if failed is not None and not _holds(tree, failed):
        raise BrokenTreeError(f"{failed} fails without a mutant, see {tree}/mutants.log")
    return "killed"


@cache
def _holds(tree: Path, test: str) -> bool:
    return _pytest(tree, (test,))[0] == 0


def _pytest(tree: Path, words: tuple[str, ...]) -> tuple[int | None, str | None]:
    """The exit code, None if it took too long, and the first test that failed."""
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
        if sys.platform == "linux":
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
        try:
            code = process.wait(WALL_S_MAX)
        except BaseException as error:
            # Its children as well, whatever ended the wait: the tests start some.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return None, None
            raise
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return None, None
    failed = _FAILED.search((tree / "mutants.log").read_text(errors="replace"))
    return code, failed[1] if failed else None
