"""The packages of what is written in JavaScript, installed by npm: a node to talk to, a reader of the specs."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from contrib.setup import system, wheels
from contrib.setup.console import Console, SetupError

INTEROP = wheels.REPOSITORY / "tests" / "js"
CONFORMANCE = wheels.REPOSITORY / "contrib" / "conformance"
DIRECTORIES = (INTEROP, CONFORMANCE)
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")  # Debian's, and its children's
# The oldest that js-libp2p 3 runs on, with what polyfill.js adds; Debian 12 has 18.
NODE_MAJOR_MIN = 18


def _has_node() -> bool:
    if shutil.which("node") is None:
        return False
    command = ["node", "-p", f"Number(process.versions.node.split('.')[0]) >= {NODE_MAJOR_MIN}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "true"


NEEDS = (
    system.Need(f"Node.js {NODE_MAJOR_MIN} or newer", "nodejs", _has_node),
    system.Need("npm", "npm", lambda: shutil.which("npm") is not None),
)


def _wanted(directory: Path) -> str:
    sources = (directory / name for name in ("package.json", "package-lock.json"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _stamp(directory: Path) -> Path:
    return directory / "node_modules" / ".tutti-setup"


def is_ready(directory: Path) -> bool:
    """Whether the packages there are those of the lock file."""
    return _stamp(directory).is_file() and _stamp(directory).read_text() == _wanted(directory)


def _environment() -> dict[str, str]:
    """Node.js trusts a list of its own; whoever added an authority to this machine means it for Node.js as well."""
    if AUTHORITIES.is_file() and "NODE_EXTRA_CA_CERTS" not in os.environ:
        return {"NODE_EXTRA_CA_CERTS": str(AUTHORITIES)}
    return {}


def make(console: Console) -> None:
    """Install them. Without Node.js or the registry one line says so and no more: their tests are skipped then."""
    try:
        system.provide(NEEDS, console)
        for directory in DIRECTORIES:
            if not is_ready(directory):
                _install(directory, console)
    except SetupError as error:
        console.note(f"setup: the tests with JavaScript cannot run: {error}")


def _install(directory: Path, console: Console) -> None:
    # No package of the lock files has an install script; if one ever gets one, it does not run here.
    command = ["npm", "ci", "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund"]
    place = directory.relative_to(wheels.REPOSITORY)
    console.run(f"installing packages in {place}", command, remedy="npm's message is in the log", environment=_environment())
    _stamp(directory).write_text(_wanted(directory))
