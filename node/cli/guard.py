"""What stands between a command and the person: every failure becomes one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from node.engine import EngineError
from node.errors import ExitCode, UserError
from node.transport import TransportError

_log = logging.getLogger(__name__)


def say(message: str) -> None:
    """One line for the person, on stderr; `UserError` has made sure elsewhere that it is one line."""
    with contextlib.suppress(OSError):
        print(f"tutti: {message}", file=sys.stderr, flush=True)


def guarded(work: Callable[[], int]) -> int:
    """The exit code of `work`, or that of the error it raised, told in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a letter of an answer gets its number instead of a failed command.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except UserError as error:
        say(str(error))
        return error.code
    except (EngineError, TransportError) as error:
        say(str(UserError(str(error))))
        return ExitCode.FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.FAILED
    except BrokenPipeError:
        _abandon_output()
        return ExitCode.FAILED
    except OSError as error:
        say(str(UserError(f"the system refused: {error}")))
        _abandon_output()
        return ExitCode.FAILED
    return code


def _abandon_output() -> None:
    """Nobody reads any more: without this the interpreter would complain when it flushes at its end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def hide_tracebacks() -> None:
    """From now on an unexpected exception ends the process with one line instead of a traceback, which may quote data."""
    sys.excepthook = _tell_bug


def _tell_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    frames = traceback.extract_tb(trace)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    if os.environ.get("TUTTI_LOG_LEVEL") == "debug" and not logging.getLogger().handlers:
        from node.logs import configure  # noqa: PLC0415  the log is set up here only when a bug is being looked for

        configure("debug")
    _log.debug("unexpected error", exc_info=(kind, error, trace))
    say(f"internal error: {kind.__name__}{where}: this is a bug in tutti; TUTTI_LOG_LEVEL=debug logs the way to it")
