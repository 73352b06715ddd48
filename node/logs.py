"""The daemon's log on stderr: readable on a terminal, one JSON object a line otherwise.

Prompts, answers and keys cannot get into it by construction, rather than by care at each call:

- The text of a line is the literal in our source. A record's arguments are never rendered, so data must travel in
  `extra={"fields": ...}`, and of that only the names in `FIELDS` are shown.
- A field's value is shown only if it has the form its name promises. A sentence is no peer id, whoever passes it.
- Another library's message is shown only as the template its author wrote. Without arguments it may be an f-string
  that holds anything, so then only its place in the source is told.
- Of an exception the type and the place are told, never its message: it may quote the data it failed on.

Use: `logging.getLogger(__name__).info("peer connected", extra={"fields": {"peer": peer_id}})`.
"""

import datetime as dt
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Literal, TextIO

from protocol.outcome import OutcomeKind

Level = Literal["debug", "info", "warning", "error"]

_TEXT_SIZE_MAX = 300
_FRAMES_SHOWN = 8

# An identifier: no space, so no sentence; no longer than a peer id inside a multiaddr.
_WORD = re.compile(r"[A-Za-z0-9_./:+@=-]{1,160}")
# Something of this machine's owner, such as a path; never filled from what a peer sent.
_OWN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,300}")
_NUMBER = re.compile(r"-?[0-9]{1,20}")

# Every field that a log line may carry. Units stand last in the name.
FIELDS: Mapping[str, re.Pattern[str]] = {
    "network": _WORD,
    "peer": _WORD,
    "address": _WORD,
    "topic": _WORD,
    "task": _WORD,
    "plan": _WORD,
    "step": _WORD,
    "beacon": _WORD,
    "type": _WORD,
    "kind": _WORD,
    "old": _WORD,
    "new": _WORD,
    "skill": _WORD,
    "outcome": re.compile("|".join(kind.value for kind in OutcomeKind)),
    "code": _WORD,
    "verdict": _WORD,
    "reason": _OWN,
    "seat": _NUMBER,
    "round": _NUMBER,
    "queued": _NUMBER,
    "weight": _NUMBER,
    "audit": _NUMBER,
    "path": _OWN,
    "model": _OWN,
    "pid": _NUMBER,
    "port": _NUMBER,
    "count": _NUMBER,
    "attempt": _NUMBER,
    "size_bytes": _NUMBER,
    "tokens": _NUMBER,
    "elapsed_ms": _NUMBER,
    "delay_ms": _NUMBER,
    "uptime_s": _NUMBER,
}
WITHHELD = "(withheld)"

_OURS = ("node", "protocol", "tutti")  # "tutti.protocol" is what the core asks its driver to log


def event_of(record: logging.LogRecord) -> str:
    """What happened, without any data: the literal of the logging call, or its place in another library's source."""
    ours = record.name.split(".", maxsplit=1)[0] in _OURS or record.name == "__main__"
    if isinstance(record.msg, str) and (ours or record.args):
        return "".join(letter if letter.isprintable() else " " for letter in record.msg)[:_TEXT_SIZE_MAX]
    return f"message of {record.module}:{record.lineno} {WITHHELD}"


def fields_of(record: logging.LogRecord) -> dict[str, str | int]:
    """The record's fields in the order of `FIELDS`; a value without its field's form is withheld."""
    fields: dict[str, str | int] = {}
    given = record.__dict__.get("fields", {})
    for name, form in FIELDS.items():
        value = given.get(name)
        if value is None:
            continue
        if not form.fullmatch(str(value)):
            fields[name] = WITHHELD
        else:
            fields[name] = int(value) if form is _NUMBER else str(value)
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = record.exc_info[0].__name__
        frames = traceback.extract_tb(record.exc_info[2])[-_FRAMES_SHOWN:]
        fields["at"] = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
    return fields


class TerminalFormatter(logging.Formatter):
    """`20:14:07 info    node.daemon: peer connected peer=12D3...`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a person, in local time."""
        when = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        return f"{when} {record.levelname.lower():7} {record.name}: {event_of(record)}{fields}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, RFC 3339), level, logger, event, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for a machine."""
        when = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event_of(record),
        }
        return json.dumps({**line, **fields_of(record)}, ensure_ascii=False)


def configure(level: Level, stream: TextIO | None = None) -> None:
    """Send the whole process's log to `stream` (stderr by default); replaces what was configured before."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter() if stream.isatty() else JsonFormatter())
    # A log that cannot be written must not stop the node, nor print a traceback that quotes the record.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in _OURS:
        logging.getLogger(package).setLevel(level.upper())
