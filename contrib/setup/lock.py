"""`make lock`: resolve the exact pins of pyproject.toml into lock files with hashes, for every platform at once."""

import re
import tomllib
import venv
from pathlib import Path

from contrib.setup import system, wheels
from contrib.setup.console import Console, SetupError

UV = "uv==0.13.8"
COMPILED_APART = "llama-cpp-python"

HEADER = """\
# Every package that Tutti and its checks run with, exact and with hashes. Made by `make lock`; do not edit.
# llama-cpp-python is locked in contrib/setup/llama.lock, because it is compiled with flags of our own, and torch is
# the trainer's alone.
"""
QUALITY_HEADER = "# The same, and what `make mutants` and `make fuzz` need as well. Made by `make lock`; do not edit.\n"
LLAMA_HEADER = "# The source of llama-cpp-python, which the set-up compiles. Made by `make lock`; do not edit.\n"

# A lock file that names a host would bypass the index the reader has chosen, and would tell about ours.
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://|--(?:extra-)?index-url|--find-links|@\s*file:", re.IGNORECASE)


def cleaned(text: str) -> str:
    """A resolver's output without comments; raises `SetupError` if a host or a path is named in what remains."""
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in kept:
        if _HOST.search(line):
            raise SetupError(f"the lock file would name a host: {line.strip()}")
    return "\n".join(kept) + "\n"


def refresh(console: Console) -> None:
    """Write requirements.lock and the lock files of contrib/setup anew; raises `SetupError`."""
    system.provide(system.ENVIRONMENT_NEEDS, console)
    scratch = wheels.REPOSITORY / ".cache" / "lock"
    python = scratch / "bin" / "python"
    if not python.exists():
        venv.create(scratch, with_pip=True)
    console.run("installing the resolver", [python, "-m", "pip", "install", UV], remedy="pip's message is in the log")
    project = wheels.REPOSITORY / "pyproject.toml"
    dependencies = tomllib.loads(project.read_text())["project"]["dependencies"]
    request = scratch / "llama.in"
    request.write_text(next(pin for pin in dependencies if pin.startswith(f"{COMPILED_APART}==")) + "\n")
    resolve: list[object] = [
        scratch / "bin" / "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
    ]
    form = ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
    rest: list[object] = ["--extra", "dev", "--no-emit-package", COMPILED_APART, project]
    jobs: tuple[tuple[Path, str, list[object]], ...] = (
        (wheels.MAIN_LOCK, HEADER, rest),
        # After the first and bound by it: the two environments differ by what one has more.
        (wheels.QUALITY_LOCK, QUALITY_HEADER, ["--extra", "quality", "--constraint", wheels.MAIN_LOCK, *rest]),
        (wheels.LLAMA_LOCK, LLAMA_HEADER, ["--no-deps", request]),
    )
    for lock, header, words in jobs:
        output = scratch / lock.name
        output.unlink(missing_ok=True)  # the resolver would keep its versions, and this command is there to renew them
        command = [*resolve, *form, "--output-file", output, *words]
        console.run(f"resolving {lock.name}", command, remedy="the resolver's message is in the log")
        lock.write_text(header + cleaned(output.read_text()))
