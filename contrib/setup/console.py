"""What a person sees of the set-up: a line a step with its time, and on failure the end of the log with a remedy."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LOG_LINES_SHOWN = 15
REDRAW_S = 0.5

# What pip, apt and npm print when a download cannot be reached, as opposed to a package that does not build.
_NETWORK_SIGNS = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "NameResolutionError",
    "Temporary failure",
    "Network is unreachable",
    "ProxyError",
    "Could not find a version that satisfies the requirement",
    "Failed to fetch",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "ECONNREFUSED",
)


class SetupError(Exception):
    """The set-up cannot go on; the message is one line that names the thing and the remedy."""

    def __init__(self, message: str, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log_tail = tuple(log_tail)


def is_network_failure(output: str) -> bool:
    """Whether pip, apt or npm gave up because something could not be downloaded."""
    return any(sign in output for sign in _NETWORK_SIGNS)


def elapsed(seconds: float) -> str:
    """Minutes and seconds, `m:ss`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Console:
    """Runs commands with their output in the log file, and shows one line for each step on stderr.

    stdout stays free for the command that the set-up precedes (`tutti dev --json`).
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        self.log = log
        self._live = sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Show one line."""
        print(text, file=sys.stderr, flush=True)

    def run(
        self,
        title: str,
        command: Sequence[object],
        *,
        remedy: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run `command` as one step; raises `SetupError` with the end of its output when it fails."""
        words = [str(word) for word in command]
        start = time.monotonic()
        with self.log.open("a") as log:
            log.write(f"== {title}\n$ {' '.join(words)}\n")
            log.flush()
            output_begins = log.tell()
            # A session of its own: on Ctrl-C we end a whole tree of compilers, and nothing is left behind.
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        try:
            self._show(f"  {title} ...", end="")
            while True:
                try:
                    status = process.wait(REDRAW_S)
                    break
                except subprocess.TimeoutExpired:
                    if self._live:
                        self._show(f"\r  {title} ... {elapsed(time.monotonic() - start)}", end="")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            self._show(" stopped")
            raise
        took = elapsed(time.monotonic() - start)
        self._show(f"\r  {title} ... {took}" if self._live else f" {took}")
        if status != 0:
            output = self.log.read_bytes()[output_begins:].decode(errors="replace")
            tail = output.splitlines()[-LOG_LINES_SHOWN:]
            if is_network_failure(output):
                remedy = "a download did not arrive; check the network, the proxy and the settings of pip or npm, and try again"
                tail = tail[-1:]  # the rest is retries
            raise SetupError(f"{title} failed: {remedy} (whole log: {self.log})", tail)

    def _show(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)
