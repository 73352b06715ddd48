"""The packages of the node in JavaScript that the interoperability test talks to: tests/js, installed by npm."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from contrib.setup import system, wheels
from contrib.setup.console import Console, SetupError

DIRECTORY = wheels.REPOSITORY / "tests" / "js"
PACKAGES = DIRECTORY / "node_modules"
STAMP = PACKAGES / ".tutti-setup"
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


def _wanted() -> str:
    sources = (DIRECTORY / name for name in ("package.json", "package-lock.json"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def is_ready() -> bool:
    """Whether the packages are those of the lock file."""
    return STAMP.is_file() and STAMP.read_text() == _wanted()


def _environment() -> dict[str, str]:
    """Node.js trusts a list of its own; whoever added an authority to this machine means it for Node.js as well."""
    if AUTHORITIES.is_file() and "NODE_EXTRA_CA_CERTS" not in os.environ:
        return {"NODE_EXTRA_CA_CERTS": str(AUTHORITIES)}
    return {}


def make(console: Console) -> None:
    """Install them. Without Node.js or the registry one line says so and no more: one test is skipped then."""
    try:
        system.provide(NEEDS, console)
        # No package of the lock file has an install script; if one ever gets one, it does not run here.
        command = ["npm", "ci", "--prefix", DIRECTORY, "--ignore-scripts", "--no-audit", "--no-fund"]
        console.run("installing js-libp2p", command, remedy="npm's message is in the log", environment=_environment())
        STAMP.write_text(_wanted())
    except SetupError as error:
        console.note(f"setup: the test with js-libp2p cannot run: {error}")
