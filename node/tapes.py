"""The tape of a running node: a file for its owner alone, which `simnet replay` goes through again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from node.errors import UserError

_log = logging.getLogger(__name__)


class TapeFile:
    """A new file that is written frame by frame; raises `UserError` if it cannot be made."""

    def __init__(self, path: Path) -> None:
        try:
            # It holds questions and answers.
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error

    def write(self, frame: bytes) -> None:
        """Add a frame. A full disk ends the tape and not the node."""
        if self._file is None:
            return
        try:
            while frame:
                frame = frame[os.write(self._file, frame) :]
        except OSError as error:
            _log.error("the tape ends here", extra={"fields": {"reason": error.strerror}})
            self.close()

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
