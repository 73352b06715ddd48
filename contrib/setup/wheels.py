"""Wheels that this machine must compile, built once and kept in the user's cache.

Two packages have no ready wheel: llama-cpp-python (two minutes on two cores, trimmed) and fastecdsa (seconds, but needs
a compiler). Kept apart from pip's own cache because that one knows nothing of the flags a wheel was built with.
"""

import hashlib
import os
import shlex
import shutil
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contrib.setup.console import Console, SetupError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
MAIN_LOCK = REPOSITORY / "requirements.lock"
LLAMA_LOCK = HERE / "llama.lock"
QUALITY_LOCK = HERE / "quality.lock"
TRIM_FILE = HERE / "nocommon.cmake"

# No image library (the models read text only), and instructions that every x86-64 processor since 2013 has, not this
# machine's own: the wheel may be kept in a home directory that several machines share.
LLAMA_FLAGS = ("-DLLAVA_BUILD=OFF", "-DGGML_NATIVE=OFF")


@dataclass(frozen=True)
class Recipe:
    """How one wheel is made: its locked requirement, the flags that shape it, and the environment to build in."""

    title: str
    requirement: str
    flags: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Names everything that the finished wheel depends on; not the path of this checkout."""
        parts = (
            self.requirement,
            *self.flags,
            TRIM_FILE.read_text(),
            str(sysconfig.get_config_var("SOABI")),
            sysconfig.get_platform(),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def locked(lock_text: str, name: str) -> str:
    """The requirement of `name` in a lock file, its hashes included; raises `SetupError` when there is none."""
    lines = lock_text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith(f"{name}=="):
            end = index
            while lines[end].endswith("\\"):
                end += 1
            return "\n".join(lines[index : end + 1]) + "\n"
    raise SetupError(f"{name} is not in the lock file: run `make lock`")


def recipes(cmake_args: str) -> tuple[Recipe, ...]:
    """What must be compiled; `cmake_args` are the user's own flags (CUDA, Metal), which come last and therefore win."""
    flags = (*LLAMA_FLAGS, *shlex.split(cmake_args))
    cmake = shlex.join([*flags, f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={TRIM_FILE}"])
    # make, unlike ninja, compiles one file at a time unless told otherwise.
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
    llama = locked(LLAMA_LOCK.read_text(), "llama-cpp-python")
    return (
        Recipe("building fastecdsa (seconds)", locked(MAIN_LOCK.read_text(), "fastecdsa"), (), ()),
        Recipe(
            "building llama-cpp-python (about 2 minutes on 2 cores, once)",
            llama,
            flags,
            (("CMAKE_ARGS", cmake), ("CMAKE_BUILD_PARALLEL_LEVEL", jobs)),
        ),
    )


def cache() -> Path:
    """The directory of compiled wheels, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path there is to be ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "tutti" / "wheels"


def cached(recipe: Recipe) -> Path | None:
    """The finished wheel of `recipe`, or None."""
    return next(iter(sorted((cache() / recipe.key).glob("*.whl"))), None)


def build(recipe: Recipe, python: Path, console: Console) -> Path:
    """Compile `recipe` with the pip of `python` and keep the wheel; raises `SetupError`."""
    home = cache()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".building-") as name:
        scratch = Path(name)
        requirements = scratch / "requirements.txt"
        requirements.write_text(recipe.requirement)
        wheels = scratch / "wheel"
        package = recipe.requirement.split("==", maxsplit=1)[0]
        console.run(
            recipe.title,
            [
                *(python, "-m", "pip", "wheel", "--no-input", "--progress-bar", "off", "--no-cache-dir"),
                *("--no-deps", "--require-hashes", "--no-binary", package, "-w", wheels, "-r", requirements),
            ],
            remedy="the compiler's message is in the log",
            environment=dict(recipe.environment),
        )
        # One rename, so that a second set-up at the same time sees a whole wheel or none.
        finished = home / recipe.key
        shutil.rmtree(finished, ignore_errors=True)
        wheels.rename(finished)
    wheel = cached(recipe)
    if wheel is None:
        raise SetupError(f"{recipe.title} made no wheel (whole log: {console.log})")
    return wheel
