"""Checks that need no node: versions and machine, identity, disk, database, clock."""

from __future__ import annotations

import os
import platform
import resource
import secrets
import shutil
import stat
import time
from collections.abc import Iterator

from node.cli.terminal import number, size
from node.cli.version import DISTRIBUTION, LIBRARIES, version_of
from node.doctor.finding import Finding, fail, failure, ok, warn
from node.errors import UserError
from node.executor import now
from node.home import SEED_SIZE, NetworkHome, load_or_create_seed
from node.store import damaged, inspect
from protocol.capability import Record
from protocol.constants import CLOCK_SKEW_MS_MAX
from protocol.core import Core
from protocol.errors import LocalProtocolError
from protocol.events import TimerFired
from protocol.identity import KeySigner, peer_id
from protocol.parameters import Parameters

# A write-ahead log and a record a minute need little; a disk that is as full as this stops more than this node.
_FREE_BYTES_MIN = 100_000_000
_FREE_BYTES_ENOUGH = 1_000_000_000
# A connection takes a descriptor, and a flood of them must not take the last.
_FILES_ENOUGH = 1_024
_NOTHING = Record(
    sequence=0,
    skills={},
    model="",
    parameters=0,
    quantisation="",
    weights_hash="",
    context=0,
    tokens_per_s=0,
    slots=1,
    available=False,
    addresses=(),
)


def machine() -> Iterator[Finding]:
    """What the node stands on."""
    found = {"tutti": version_of(DISTRIBUTION), "python": platform.python_version()}
    found |= {name: version_of(name) for name in LIBRARIES}
    missing = [name for name, version in found.items() if version is None]
    yield ok("versions", ", ".join(f"{name} {version or 'not installed'}" for name, version in found.items()))
    if missing:
        yield fail(
            "versions", f"{', '.join(missing)} not installed", "install tutti-network again, in an environment of its own"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    line = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores, {size(memory)} of memory"
    yield ok("machine", f"{line}, {files} open files at most")
    if 0 <= files < _FILES_ENOUGH:
        yield warn("machine", f"only {files} files may be open at once", f"raise it: ulimit -n {4 * _FILES_ENOUGH}")


def identity(place: NetworkHome) -> Iterator[Finding]:
    """The key: there, sound, and its owner's alone."""
    if not place.identity_file.exists():
        yield ok("identity", "none yet: the first `tutti run` or `tutti init` makes one")
        return
    try:
        seed, _ = load_or_create_seed(place.identity_file)
    except UserError as error:
        yield failure("identity", error)
        return
    yield ok("identity", f"{peer_id(KeySigner(seed).public_key)}, for its owner's eyes alone")
    for directory in sorted({place.data, place.state}):
        mode = stat.S_IMODE(directory.stat().st_mode)
        if mode & 0o022:
            yield fail("identity", f"others may write into {directory} (mode {mode:04o})", f"run chmod 700 {directory}")


def disk(place: NetworkHome) -> Iterator[Finding]:
    """Whether the node can write."""
    directory = next(path for path in (place.data, *place.data.parents) if path.exists())
    free = shutil.disk_usage(directory).free
    told = f"{size(free)} free at {place.data}"
    if not os.access(directory, os.W_OK):
        yield fail("disk", f"{directory} cannot be written", "choose another home with --home, or mend its permissions")
    if free < _FREE_BYTES_MIN:
        yield fail("disk", told, "make room: the node ends when it can write no more")
    elif free < _FREE_BYTES_ENOUGH:
        yield warn("disk", told, "make room soon: the node ends when it can write no more")
    else:
        yield ok("disk", told)


def database(place: NetworkHome, parameters: Parameters) -> Iterator[Finding]:
    """Whether what the node kept can be read and taken back, and whether the clock went back behind it."""
    file = place.database_file
    # A file without a byte is what a start leaves that was killed, or whose disk was full; the next one fills it.
    if not file.exists() or (file.is_file() and file.stat().st_size == 0):
        yield ok("database", "none yet: the first run makes it")
        yield ok("clock", _time_told())
        return
    try:
        rows = inspect(file)
        core = Core(KeySigner(bytes(SEED_SIZE)), parameters, _NOTHING, secrets.token_bytes, rows)
        core.step(TimerFired(), now())
    except UserError as error:
        yield failure("database", error)
        return
    except LocalProtocolError:
        yield failure("database", damaged(file))
        return
    kept = sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))
    yield ok("database", f"{size(kept)}, {number(len(rows), 'row')}, sound")
    # The number of its last record is the time at which a node signed it; its peers take none with a lower one.
    behind_ms = core.own_record.sequence - now().wall_ms
    if behind_ms > CLOCK_SKEW_MS_MAX:
        text = f"{_time_told()}, which is {behind_ms // 1_000} s before the last record that this node signed"
        yield fail("clock", text, "set the clock: timedatectl set-ntp true")
    else:
        yield ok("clock", _time_told())


def _time_told() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
