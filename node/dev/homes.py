"""The throw-away homes of developer networks: each goes with its run, and the next run removes those that outlived theirs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "tutti-dev-"
_NAME = re.compile(rf"{_PREFIX}(\d{{1,10}})-\w+")
_LOCK = "lock"


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A new directory that goes on leaving, after those of runs that were killed have gone."""
    remove_leftovers(Path(tempfile.gettempdir()))
    home = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        with (home / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def remove_leftovers(directory: Path) -> None:
    """Remove the homes in `directory` that are ours and whose run is dead."""
    for home in directory.iterdir():
        name = _NAME.fullmatch(home.name)
        if name is not None and _is_own(home) and not _runs(int(name[1])) and not _is_locked(home / _LOCK):
            shutil.rmtree(home, ignore_errors=True)


def _is_own(home: Path) -> bool:
    """A plain directory of this user: where everyone may write, a name proves nothing."""
    with contextlib.suppress(OSError):
        return not home.is_symlink() and home.is_dir() and home.stat().st_uid == os.geteuid()
    return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_locked(lock: Path) -> bool:
    """Whether a living process holds the lock: of a run in another container on one /tmp the number means nothing here."""
    try:
        with lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
