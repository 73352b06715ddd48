"""Where a node keeps its things: directories, the identity key, and the lock that keeps two daemons apart.

By the XDG rules the configuration, the data and the state of a user live in three places; `--home` (or TUTTI_HOME)
puts all of them below one directory. Inside, each network has a sub-directory with an identity of its own, so that
one person's nodes on two networks cannot be linked by their keys.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from node.errors import UserError

APPLICATION = "tutti"
HOME_VARIABLE = "TUTTI_HOME"
SEED_SIZE = 32

# The prefix says what the digits are, so that another key file put here by mistake is refused and not misread.
IDENTITY_WORD = "ed25519-seed"
RECOVERY_WORD = "ed25519-recovery"
_SEED_LINE = re.compile(rb"([a-z0-9-]+):([0-9a-f]{64})\n")
_SEED_FILE_SIZE_MAX = 1024
# A name of 32 characters, and what tells networks of one name apart.
_NETWORK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class Home:
    """The three roots of a user's files, before a network is known (the configuration names it)."""

    config: Path
    data: Path
    state: Path

    @property
    def config_file(self) -> Path:
        """The TOML file; one for all networks, since it says which network to join."""
        return self.config / "config.toml"

    def network(self, name: str) -> "NetworkHome":
        """The directories for the network `name`; raises `UserError` when that cannot name a directory."""
        if not _NETWORK_NAME.fullmatch(name):
            raise UserError(f"{name!r} cannot be a network's name: use lower-case letters, digits and hyphens, at most 41")
        return NetworkHome(self.data / name, self.state / name)


@dataclass(frozen=True, slots=True)
class NetworkHome:
    """One node's own directories on one network."""

    data: Path
    state: Path

    @property
    def identity_file(self) -> Path:
        """The private key; losing it loses the trust the node earned."""
        return self.data / "identity.key"

    @property
    def next_identity_file(self) -> Path:
        """The private key that is about to take the identity's place."""
        return self.data / "identity.next"

    @property
    def recovery_file(self) -> Path:
        """The private key that may name another identity as this one's successor; its owner should move it away."""
        return self.data / "recovery.key"

    @property
    def recovery_public_file(self) -> Path:
        """The public half of the recovery key, which the first entry of the ledger names by its hash."""
        return self.data / "recovery.pub"

    @property
    def succession_file(self) -> Path:
        """The statement by which this identity follows another one."""
        return self.data / "succession"

    @property
    def network_file(self) -> Path:
        """The latest revision seen of a founded network's file."""
        return self.data / "network.json"

    @property
    def database_file(self) -> Path:
        """SQLite: ledger, tasks, peers."""
        return self.data / "node.sqlite"

    @property
    def lock_file(self) -> Path:
        """Held by the daemon that uses this identity."""
        return self.data / "daemon.lock"

    @property
    def api_file(self) -> Path:
        """JSON: where the daemon's API listens and the token that opens it; mode 0600."""
        return self.state / "api.json"

    def create(self) -> None:
        """Make the directories, readable by their owner alone; raises `UserError`."""
        for directory in (self.data, self.state):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"cannot make the directory {directory}: {error.strerror}; choose another with --home"
                ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this home for one daemon; raises `UserError` with the holder's process id when it is taken.

        The kernel drops the lock when the process ends, however it ends, so there is never a stale one to remove.
        """
        try:
            handle = self.lock_file.open("a+")
        except OSError as error:
            raise UserError(f"cannot open {self.lock_file}: {error.strerror}; choose another home with --home") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                who = _holder(handle.read(32))
                raise UserError(
                    f"the home {self.data} is in use by {who}: stop that daemon, or choose another home with --home"
                ) from error
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")
            handle.flush()
            yield

    def holder(self) -> str | None:
        """Which process holds this home, in words; None if no daemon does. Raises `UserError`."""
        try:
            handle = self.lock_file.open()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot open {self.lock_file}: {error.strerror}; run this as the one who runs the node") from error
        with handle:
            try:
                # Held for this instant only; a daemon that starts within it would have to be started again.
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(handle.read(32))
        return None


def _holder(content: str) -> str:
    return f"process {content.strip()}" if content.strip().isdecimal() else "another process"


def locate(home: str | None, environment: Mapping[str, str]) -> Home:
    """The home that the flag `--home`, else TUTTI_HOME, else the XDG rules name; raises `UserError`. Nothing is created."""
    chosen = home or environment.get(HOME_VARIABLE)
    if chosen:
        try:
            root = Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            raise UserError(f"the home {chosen} names a user whom this machine does not know: write the whole path") from error
        return Home(config=root, data=root, state=root)
    return Home(
        config=platformdirs.user_config_path(APPLICATION),
        data=platformdirs.user_data_path(APPLICATION),
        state=platformdirs.user_state_path(APPLICATION),
    )


def read_plain(path: Path, size_max: int) -> bytes:
    """The first `size_max` bytes of a plain file; raises OSError, also for what is none: a pipe would never end."""
    # Non-blocking, for to open a pipe waits for whoever writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a plain file, so move it away")
    with os.fdopen(descriptor, "rb") as handle:
        return handle.read(size_max)


def write_private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, at once: a reader sees the old content or the new one; raises `UserError`."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_new(scratch, content)
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)


def load_or_create_seed(path: Path, word: str = IDENTITY_WORD) -> tuple[bytes, bool]:
    """The 32-byte Ed25519 seed in `path`, and whether it was made just now; raises `UserError`. `word` says what it is for.

    A file that exists is never replaced, not even a malformed one: it may be all that is left of an identity.
    """
    with contextlib.suppress(FileNotFoundError):
        return read_seed(path, word), False
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    seed = secrets.token_bytes(SEED_SIZE)
    try:
        write_new(scratch, f"{word}:{seed.hex()}\n".encode())
        # A link, unlike a rename, fails where the name exists: of two first starts at once one wins and both agree.
        os.link(scratch, path)
        _sync_directory(path.parent)
    except FileExistsError:
        return read_seed(path, word), False
    except OSError as error:
        raise UserError(f"cannot write the identity {path}: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return seed, True


def read_seed(path: Path, word: str = IDENTITY_WORD) -> bytes:
    """The seed in a file that exists; raises `UserError`, or FileNotFoundError if there is none."""
    what = "identity" if word == IDENTITY_WORD else "recovery key"
    try:
        # Non-blocking, for a pipe in the file's place would otherwise hold the daemon for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"the {what} {path} is not a plain file: move it away, or restore the key there")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise UserError(
                    f"the {what} {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}):"
                    f" run chmod 600 {path}, and make a new identity if anyone else may have read it"
                )
            content = handle.read(_SEED_FILE_SIZE_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from error
    match = _SEED_LINE.fullmatch(content)
    if match is None or match[1] != word.encode():
        raise UserError(f"the {what} {path} is damaged: restore it from a backup, or move it away to start a new one")
    return bytes.fromhex(match[2].decode())


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet, for its owner alone; raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_directory(path: Path) -> None:
    """A new name survives a power cut only when its directory has reached the disk as well."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
