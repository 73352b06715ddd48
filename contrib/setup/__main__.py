"""The set-up behind the Makefile: `contrib/setup/run dev|train|quality|js|lock|wheels|clean`. Standard library only."""

import contextlib
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator

from contrib.setup import environment, javascript, lock, wheels
from contrib.setup.console import Console, SetupError

USAGE = """\
usage: contrib/setup/run WORD
  dev     make .venv, in which everything but the trainer runs
  train   make .venv-train, which has torch as well
  quality make .venv-quality, which has the fuzzer and the mutation tool as well
  js      install the packages of tests/js and contrib/conformance; says so in one line where that is not possible
  lock    renew requirements.lock and the lock files of contrib/setup
  wheels  print the directories of the compiled wheels that .venv was made with
  clean   remove the environments and everything else that is not source (the cache of compiled wheels stays)
"""

CACHE = environment.REPOSITORY / ".cache"
LOG = CACHE / "setup.log"
LEFTOVERS = (
    ".venv",
    ".venv-train",
    ".venv-quality",
    "build",
    "dist",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".import_linter_cache",
    ".hypothesis",
    ".cache",
    "tests/js/node_modules",
    "contrib/conformance/node_modules",
)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two `make` at once take turns: the second finds the work done."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up is running in this checkout; waiting for it", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _provide(which: environment.Environment) -> None:
    if environment.is_ready(which):
        return
    with _alone():
        if not environment.is_ready(which):
            environment.make(which, Console(LOG))


def _provide_javascript() -> None:
    if all(map(javascript.is_ready, javascript.DIRECTORIES)):
        return
    with _alone():
        javascript.make(Console(LOG))


def _print_wheels() -> None:
    for recipe in wheels.recipes(environment.chosen_cmake_args(environment.DEVELOPMENT)):
        wheel = wheels.cached(recipe)
        if wheel is None:
            raise SetupError("the compiled wheels are not there: run `contrib/setup/run dev`")
        print(wheel.parent)


def _clean() -> None:
    for name in LEFTOVERS:
        shutil.rmtree(environment.REPOSITORY / name, ignore_errors=True)
    for package in ("protocol", "node", "simnet", "contrib", "tests"):
        for directory in (environment.REPOSITORY / package).rglob("__pycache__"):
            shutil.rmtree(directory, ignore_errors=True)
    if wheels.cache().is_dir():
        print(f"kept the compiled wheels in {wheels.cache()}", file=sys.stderr)


def main(words: list[str]) -> int:
    """Run one word of `USAGE`; returns the exit code (0 ok, 1 failed, 2 usage)."""
    actions = {
        "dev": lambda: _provide(environment.DEVELOPMENT),
        "train": lambda: _provide(environment.TRAINING),
        "quality": lambda: _provide(environment.QUALITY),
        "js": _provide_javascript,
        "lock": lambda: lock.refresh(Console(LOG)),
        "wheels": _print_wheels,
        "clean": _clean,
    }
    if len(words) != 1 or words[0] not in actions:
        print(USAGE, end="", file=sys.stderr)
        return 2
    # `kill` on us must end the compilers too; as an exception it takes the path that Ctrl-C takes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        actions[words[0]]()
    except SetupError as error:
        for line in error.log_tail:
            print(f"    {line}", file=sys.stderr)
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: stopped; what was compiled so far is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
