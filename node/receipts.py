"""Files with a receipt or a proof: written for their owner alone, read whatever they are."""

from __future__ import annotations

import base64
from pathlib import Path

from node.errors import ExitCode, UserError
from node.home import read_plain, write_private


def new_file(name: str) -> Path:
    """Where a file may be written that is not there yet; raises `UserError` before anything is asked or made for it."""
    try:
        path = Path(name).expanduser()
        if path.exists() or path.is_symlink():
            raise UserError(f"{name} exists and is left as it is: choose another file", ExitCode.USAGE)
        if not path.parent.is_dir():
            raise UserError(f"there is no directory {path.parent}: make it, or choose another file", ExitCode.USAGE)
    except RuntimeError as error:
        raise UserError(f"{name} names a user whom this machine does not know: write the whole path", ExitCode.USAGE) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no path"
        raise UserError(f"cannot write {name}: {reason}", ExitCode.USAGE) from error
    return path


def keep(path: Path, content: str | None) -> None:
    """Write what the API gave in base64, for the owner alone: it holds questions and answers. Raises `UserError`."""
    if content is None:
        raise UserError(f"there is no receipt to write into {path}: the question did not go out, or it left too much")
    write_private(path, base64.b64decode(content))


def read_file(name: str, size_max: int) -> bytes:
    """The bytes of a file that may be anything, one more than `size_max` at most; raises `UserError`."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            raise UserError(f"{name} is a directory: name the file in it", ExitCode.USAGE)
        return read_plain(path, size_max + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {name}", ExitCode.USAGE) from error
    except RuntimeError as error:
        raise UserError(f"{name} names a user whom this machine does not know: write the whole path", ExitCode.USAGE) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no path"
        raise UserError(f"cannot read {name}: {reason}", ExitCode.USAGE) from error
