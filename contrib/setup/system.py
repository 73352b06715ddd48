"""What the set-up needs from the operating system: installed from Debian's packages when we are root, else named."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contrib.setup.console import Console, SetupError


@dataclass(frozen=True)
class Need:
    """One thing that must be there: how to look for it, its name for people, and Debian's package."""

    name: str
    package: str
    present: Callable[[], bool]


def _compiler(variable: str, *names: str) -> list[str] | None:
    chosen = os.environ.get(variable)
    if chosen:
        return shlex.split(chosen)
    found = next((name for name in names if shutil.which(name)), None)
    return [found] if found else None


def _has_c_compiler() -> bool:
    return _compiler("CC", "cc", "gcc", "clang") is not None


def _has_cxx_compiler() -> bool:
    return _compiler("CXX", "c++", "g++", "clang++") is not None


def _has_gmp_headers() -> bool:
    compiler = _compiler("CC", "cc", "gcc", "clang")
    if compiler is None:
        return False
    # Asking the preprocessor finds the header wherever this compiler and CFLAGS look for it.
    flags = shlex.split(os.environ.get("CFLAGS", ""))
    command = [*compiler, *flags, "-E", "-x", "c", "-"]
    return subprocess.run(command, input=b"#include <gmp.h>\n", capture_output=True, check=False).returncode == 0


def _has_python_headers() -> bool:
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def _has_venv() -> bool:
    # Debian splits ensurepip off; `import venv` alone succeeds there and then fails half-way.
    command = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

ENVIRONMENT_NEEDS = (Need("Python's venv module", f"{_PYTHON}-venv", _has_venv),)

# Needed only when a wheel has to be compiled. cmake is not in the list: where it is missing or too old, the build
# backend takes it from the package index by itself.
COMPILE_NEEDS = (
    Need("a C compiler", "gcc", _has_c_compiler),
    Need("a C++ compiler", "g++", _has_cxx_compiler),
    Need("the GMP headers", "libgmp-dev", _has_gmp_headers),
    Need("the Python headers", f"{_PYTHON}-dev", _has_python_headers),
)


def missing(needs: tuple[Need, ...]) -> list[Need]:
    """The needs that this machine does not meet."""
    return [need for need in needs if not need.present()]


def advice(needs: list[Need], *, debian: bool) -> str:
    """One line that names what is missing and the exact command, or the things alone where apt is not the way."""
    names = ", ".join(need.name for need in needs)
    if debian:
        return f"missing: {names}; run: sudo apt-get install -y {' '.join(need.package for need in needs)}"
    return f"missing: {names}; install them with this system's package manager and run it again"


def provide(needs: tuple[Need, ...], console: Console) -> None:
    """Install what is missing as root on a Debian system; raises `SetupError` that names it otherwise."""
    lacking = missing(needs)
    if not lacking:
        return
    debian = shutil.which("apt-get") is not None
    if not debian or os.geteuid() != 0:
        raise SetupError(advice(lacking, debian=debian))
    packages = [need.package for need in lacking]
    remedy = advice(lacking, debian=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    console.run("reading Debian's package lists", [*apt, "update"], remedy=remedy, environment=quiet)
    console.run(
        f"installing {', '.join(packages)}",
        [*apt, "install", "-y", "--no-install-recommends", *packages],
        remedy=remedy,
        environment=quiet,
    )
    lacking = missing(needs)
    if lacking:
        raise SetupError(advice(lacking, debian=True))
