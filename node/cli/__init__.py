"""The command line `tutti`. A command's module is imported only when it is asked for, so that help comes at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from node.cli.guard import guarded, hide_tracebacks
from node.cli.parser import MODULES, parse
from node.errors import ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code (node/errors.py) and never raises what a person could have caused."""
    if argv is None:
        hide_tracebacks()
    return guarded(lambda: _dispatch(sys.argv[1:] if argv is None else argv))


def _dispatch(argv: Sequence[str]) -> int:
    args = parse(argv)
    if args is None:
        return ExitCode.OK
    code: int = importlib.import_module(MODULES[args.command]).run(args)
    return code
