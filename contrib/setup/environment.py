"""The virtual environments of the repository: `.venv`, `.venv-train` for the trainer of the tiny models, `.venv-quality`."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from contrib.setup import system, wheels
from contrib.setup.console import Console

REPOSITORY = wheels.REPOSITORY
STAMP = "tutti-setup.json"
PIP_REMEDY = "pip's message is in the log"


@dataclass(frozen=True)
class Environment:
    """One virtual environment: where it is, the lock file it holds, and which extra of pyproject.toml beyond that."""

    directory: Path
    extra: str | None = None
    lock: Path = wheels.MAIN_LOCK

    @property
    def python(self) -> Path:
        """The interpreter inside."""
        return self.directory / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """The file that says what the environment was made from."""
        return self.directory / STAMP


DEVELOPMENT = Environment(REPOSITORY / ".venv")
TRAINING = Environment(REPOSITORY / ".venv-train", extra="train")
QUALITY = Environment(REPOSITORY / ".venv-quality", lock=wheels.QUALITY_LOCK)


def fingerprint(environment: Environment, cmake_args: str) -> str:
    """Digest of all that decides what the environment holds: lock files, project file, these scripts, Python, flags."""
    digest = hashlib.sha256()
    sources = [environment.lock, REPOSITORY / "pyproject.toml", *sorted(wheels.HERE.glob("*.*"))]
    for source in sources:
        if source.is_file():
            digest.update(hashlib.sha256(source.read_bytes()).digest())
    for text in (sys.version, sys.prefix, str(environment.directory), cmake_args):
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def _recorded(environment: Environment) -> dict[str, str]:
    try:
        recorded = json.loads(environment.stamp.read_text())
    except (OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def chosen_cmake_args(environment: Environment) -> str:
    """The user's CMAKE_ARGS; when the variable is absent, those of the last set-up, so that a CUDA build stays one."""
    return os.environ.get("CMAKE_ARGS", _recorded(environment).get("cmake_args", ""))


def is_ready(environment: Environment) -> bool:
    """Whether the environment stands as the files of this checkout describe it."""
    wanted = fingerprint(environment, chosen_cmake_args(environment))
    return environment.python.exists() and _recorded(environment).get("fingerprint") == wanted


def _same_python(environment: Environment) -> bool:
    if not environment.python.exists():
        return False
    command = [str(environment.python), "-c", "import pip, sys; print(sys.version)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == sys.version.strip()


def make(environment: Environment, console: Console) -> None:
    """Bring the environment to what the lock file says; raises `SetupError`."""
    cmake_args = chosen_cmake_args(environment)
    wanted = fingerprint(environment, cmake_args)
    console.note(f"setting up {environment.directory.name} (log: {console.log})")
    system.provide(system.ENVIRONMENT_NEEDS, console)
    recipes = wheels.recipes(cmake_args)
    if any(wheels.cached(recipe) is None for recipe in recipes):
        system.provide(system.COMPILE_NEEDS, console)
    built = " ".join(recipe.key for recipe in recipes)
    kept = _recorded(environment).get("built") == built
    environment.stamp.unlink(missing_ok=True)
    if not _same_python(environment):
        kept = False
        shutil.rmtree(environment.directory, ignore_errors=True)
        console.run(
            f"creating {environment.directory.name}",
            [sys.executable, "-m", "venv", environment.directory],
            remedy="Python's message is in the log",
        )
    pip: list[object] = [environment.python, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    install: list[object] = [*pip, "install", "--progress-bar", "off"]
    compiled = [wheels.cached(recipe) or wheels.build(recipe, environment.python, console) for recipe in recipes]
    if not kept:
        # Forced, because a wheel of other flags has the same version. Its dependencies come from the lock file.
        console.run(
            "installing the compiled packages",
            [*install, "--no-index", "--no-deps", "--force-reinstall", *compiled],
            remedy=PIP_REMEDY,
        )
    console.run(
        "installing the locked packages",
        [*install, "--no-deps", "--require-hashes", "-r", environment.lock],
        remedy=PIP_REMEDY,
    )
    if environment.extra is not None:
        _install_extra(environment.extra, install, console)
    console.run(
        "installing tutti itself",
        [*install, "--no-deps", "--no-build-isolation", "--editable", REPOSITORY],
        remedy=PIP_REMEDY,
    )
    console.run("checking the environment", [*pip, "check"], remedy=PIP_REMEDY)
    environment.stamp.write_text(json.dumps({"fingerprint": wanted, "cmake_args": cmake_args, "built": built}) + "\n")


def _install_extra(extra: str, install: list[object], console: Console) -> None:
    # Without hashes: torch has a different file for each kind of processor and accelerator under one version, and
    # which of them a machine should take is for the owner's pip settings to say.
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = project["project"]["optional-dependencies"][extra]
    console.run(f"installing {' '.join(wanted)} (may be large)", [*install, *wanted], remedy=PIP_REMEDY)
