"""`tutti ask`: a question to the network, through the running node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from node.cli.answer import details, explain, no_answer, show_answer
from node.cli.flags import add_json, add_network, add_plan
from node.cli.place import client_of
from node.cli.terminal import clean, print_json, print_lines
from node.client import TIMEOUT_S, Client
from node.errors import ExitCode, UserError
from node.receipts import keep, new_file
from protocol.constants import DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX, QUESTION_SIZE_MAX, REFINE_MAX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The question and how to answer it."""
    parser.add_argument("question", nargs="?", metavar="QUESTION", help="the question, or - to read it from stdin")
    parser.add_argument("--skill", metavar="NAME", help="the skill it needs, rather than the one its words suggest")
    parser.add_argument(
        "--deadline",
        type=float,
        default=DEADLINE_MS_DEFAULT / 1_000,
        metavar="SECONDS",
        help=f"give up after this long (default {DEADLINE_MS_DEFAULT // 1_000}, at most {DEADLINE_MS_MAX // 1_000})",
    )
    parser.add_argument(
        "--receipt", metavar="FILE", help="write a signed receipt for `tutti verify`; it holds the question and every answer"
    )
    parser.add_argument(
        "--refine",
        type=int,
        default=0,
        choices=range(REFINE_MAX + 1),
        metavar="K",
        help=f"let those who answer see the others' answers and answer again, K times (0 to {REFINE_MAX}, default 0)",
    )
    add_plan(parser)
    parser.add_argument("--explain", action="store_true", help="say in sentences why these nodes, weights and answer")
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and print; raises `UserError` (exit code 1) if the outcome is no answer."""
    question = _question(args.question)
    deadline_ms = _deadline_ms(args.deadline)
    file = new_file(args.receipt) if args.receipt is not None else None
    client = client_of(args)
    wanted = {"skill": args.skill, "refine": args.refine or None, "planners": args.plan}
    given = {key: value for key, value in wanted.items() if value is not None}
    body = {"question": question, "deadline_ms": deadline_ms, "receipt": file is not None} | given
    # The node ends every task at its deadline; the rest is for it to say so.
    outcome = client.post("/v1/ask", body, deadline_ms / 1_000 + TIMEOUT_S)
    receipt = outcome.pop("receipt", None)
    if args.json:
        print_json(outcome)
    else:
        names = _names(client)
        lines = show_answer(outcome, names) if outcome["answer"] is not None else details(outcome, names)
        reasons = ["", *explain(outcome, names)] if args.explain else []
        # What stands on stdout is an answer, so a script that reads its first line is never given something else.
        print_lines([*lines, *reasons], sys.stdout if outcome["answer"] is not None else sys.stderr)
    if file is not None:
        keep(file, receipt)
    if outcome["answer"] is None:
        raise UserError(no_answer(outcome))
    return ExitCode.OK


def _question(given: str | None) -> str:
    """The question, checked before the node is asked for anything."""
    if given is None:
        raise UserError('no question: write tutti ask "What is 12 + 30?", or tutti ask - to read it from stdin', ExitCode.USAGE)
    # One byte more than allowed shows that it is too long, however long it is.
    data = _stdin(QUESTION_SIZE_MAX + 1) if given == "-" else given.encode("utf-8", "surrogateescape")
    if len(data) > QUESTION_SIZE_MAX:
        raise UserError(f"the question is longer than {QUESTION_SIZE_MAX} bytes: ask a shorter one", ExitCode.USAGE)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UserError("the question is not UTF-8 text", ExitCode.USAGE) from error
    if not text.strip():
        raise UserError("the question is empty: give it a text", ExitCode.USAGE)
    return text.strip()


def _stdin(size_max: int) -> bytes:
    """Up to `size_max` bytes; a process that was started with its stdin closed has none."""
    return sys.stdin.buffer.read(size_max) if sys.stdin is not None else b""


def _deadline_ms(seconds: float) -> int:
    if not 0 < seconds * 1_000 <= DEADLINE_MS_MAX:
        raise UserError(
            f"--deadline must be more than 0 and at most {DEADLINE_MS_MAX // 1_000} seconds, not {seconds:g}", ExitCode.USAGE
        )
    return max(1, round(seconds * 1_000))


def _names(client: Client) -> Mapping[str, str]:
    """What to call each peer besides its id: its model. An answer is not lost because this cannot be had."""
    try:
        peers = client.get("/v1/peers")["peers"]
        own = client.get("/v1/status")
    except UserError:
        return {}
    names = {str(peer["peer_id"]): clean(peer["model"]) for peer in peers if peer["model"]}
    names[str(own["peer_id"])] = _own_name(own["model"])
    return names


def _own_name(model: Mapping[str, Any] | None) -> str:
    return f"{clean(model['name'])}, this node" if model is not None else "this node"
