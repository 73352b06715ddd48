"""`tutti dev`: arguments, and the run from the first process to the last line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from node.cli.answer import explain, show_answer
from node.cli.flags import add_plan
from node.dev.network import NODES_MAX, DevNode, network, planners, population, roles, skills
from node.dev.questions import Question, questions
from node.dev.report import report
from node.dev.run import Course, Screen
from node.dev.screen import HEADING, Lines, LiveTable, Quiet
from node.dev.summary import show, show_evidence
from node.errors import ExitCode, UserError
from node.receipts import keep, new_file
from protocol.constants import QUESTION_SIZE_MAX

_QUESTIONS_MAX = 100_000
_MINUTES_MAX = 10_000
# Of the widest table: what goes to a file or a pipe has no edge to fold at.
_WIDTH_OF_FILES = 100
# Example question of the first part: of fixed seed, so that every first run shows the same one.
_EXAMPLE_SEED = 7


def _bounded(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not in {low}..{high}")
        return value

    parse.__name__ = f"number from {low} to {high}"
    return parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `tutti dev`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--questions", type=_bounded(0, _QUESTIONS_MAX), default=10, metavar="N", help="ask N fresh generated questions (10)"
    )
    what.add_argument("--ask", metavar="TEXT", help="ask this question instead and explain the answer")
    parser.add_argument("--receipt", metavar="FILE", help="with --ask: write a signed receipt for `tutti verify`")
    add_plan(parser)
    standard = len(population())
    parser.add_argument(
        "--nodes",
        type=_bounded(2, NODES_MAX),
        default=standard,
        metavar="N",
        help=f"nodes ({standard}); one of {standard} or more is a liar, fewer are all honest",
    )
    parser.add_argument(
        "--minutes",
        type=_bounded(1, _MINUTES_MAX),
        metavar="M",
        help="spread the questions over M minutes and check that nothing was lost meanwhile",
    )
    parser.add_argument("--seed", type=_bounded(0, 2**62), metavar="S", help="repeat the questions of an earlier run")
    parser.add_argument("--keep", action="store_true", help="leave the network running until Ctrl-C and say how to use it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    if args.ask is not None:
        try:
            length = len(args.ask.strip().encode())
        except UnicodeEncodeError as error:
            raise UserError("the question is not UTF-8 text", ExitCode.USAGE) from error
        if not 0 < length <= QUESTION_SIZE_MAX:
            raise UserError(f"a question has 1 to {QUESTION_SIZE_MAX} bytes: give --ask a text", ExitCode.USAGE)
    if args.plan is not None and args.ask is None:
        raise UserError("--plan needs --ask TEXT: it plans one question", ExitCode.USAGE)
    if args.receipt is not None:
        if args.ask is None:
            raise UserError("--receipt needs --ask TEXT: a receipt is of one question", ExitCode.USAGE)
        args.receipt = new_file(args.receipt)
    return asyncio.run(_until_stopped(args))


async def _until_stopped(args: argparse.Namespace) -> int:
    """Ctrl-C and SIGTERM cancel the run, so that every process ends and the home goes before we do."""
    work = asyncio.create_task(_run(args))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        Console(stderr=True).print("stopped; every node has ended and the temporary home is gone")
        return ExitCode.OK if args.keep else ExitCode.FAILED


async def _run(args: argparse.Namespace) -> int:
    console = Console(highlight=False, stderr=args.json)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    seed = args.seed if args.seed is not None else secrets.randbelow(1 << 31)
    plain: Screen = Quiet() if args.json else Lines()
    # The ten nodes of the demo stay what they are: planners come on top, where plans are wanted.
    of_roles = [*roles(args.nodes), *planners(args.plan or 0)]
    plain.phase(f"Starting {len(of_roles)} nodes, each a process with its own key and model ...")
    async with network(of_roles) as nodes:
        course = Course(nodes, nodes[0], seed, plain)
        if not args.json:
            _introduce(console, nodes)
        plain.phase("Audits: the asked node gives every node known questions; only what they get right earns weight ...")
        audits = await course.audit()
        plain.phase(
            f"{audits['tasks']} audits done: {audits['tokens']} tokens, {audits['messages']} messages."
            + ("" if audits["settled"] else " Not all could be finished.")
        )
        evidence = await course.evidence()
        weights = {
            peer: ", ".join(f"{skill} {row['weight']:.2f}" for skill, row in skills.items())
            for peer, skills in evidence.items()
        }
        if not args.json:
            show_evidence(console, nodes, evidence)
        code = await (
            _ask_one(args, console, course) if args.ask is not None else _ask_many(args, console, course, audits, weights)
        )
        if args.keep:
            _tell_how_to_use(console, nodes)
            await asyncio.get_running_loop().create_future()
        return code


async def _ask_one(args: argparse.Namespace, console: Console, course: Course) -> int:
    wanted = args.receipt is not None
    outcome = await course.asked.client.post("/v1/ask", {"question": args.ask, "receipt": wanted, "planners": args.plan})
    receipt = outcome.pop("receipt", None)
    if args.json:
        print(json.dumps({"question": args.ask, **outcome}), flush=True)
    else:
        await _show_with_reasons(console, course, args.ask, outcome)
    if wanted:
        keep(args.receipt, receipt)
        if not args.json:
            console.print(f"\nReceipt: tutti verify {args.receipt}", markup=False, soft_wrap=True)
    return ExitCode.OK if outcome["answer"] is not None else ExitCode.FAILED


async def _ask_many(
    args: argparse.Namespace, console: Console, course: Course, audits: dict[str, Any], weights: Mapping[str, str]
) -> int:
    if not args.json:
        course.screen.phase("One question in full:")
        example = questions(_EXAMPLE_SEED, 1, skills(node.model for node in course.nodes))[0]
        await _show_with_reasons(
            console, course, example.text, await course.asked.client.post("/v1/ask", {"question": example.text})
        )
    if args.questions == 0 and not args.json:
        return ExitCode.OK
    asked = questions(course.seed, args.questions, skills(node.model for node in course.nodes))
    heading = f"{args.questions} questions, seed {course.seed}"
    if console.is_terminal and not args.json:
        with LiveTable(console, course.nodes, weights) as table:
            table.phase(heading)
            course.screen = table
            async with _listening(course):
                console.print(HEADING, markup=False)
                await _answer_all(args, course, asked)
    else:
        course.screen.phase(f"{heading}\n{HEADING}" if not args.json else heading)
        await _answer_all(args, course, asked)
    found = await report(course, audits)
    if args.json:
        print(json.dumps(found), flush=True)
    else:
        show(console, found)
    return ExitCode.OK if course.endurance is None or course.endurance["whole"] else ExitCode.FAILED


async def _answer_all(args: argparse.Namespace, course: Course, asked: Sequence[Question]) -> None:
    if args.minutes is None:
        await course.ask_all(asked)
    else:
        await course.endure(asked, 60.0 * args.minutes)
    await course.baselines(asked)


@contextlib.asynccontextmanager
async def _listening(course: Course) -> AsyncIterator[None]:
    async def follow() -> None:
        async for event in course.asked.client.events():
            course.screen.event(event)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, UserError):
            await task


async def _show_with_reasons(console: Console, course: Course, text: str, outcome: dict[str, object]) -> None:
    names = {node.peer_id: node.role for node in course.nodes}
    console.print(f"  question: {text}", markup=False, soft_wrap=True)
    for line in [*show_answer(outcome, names), "", *explain(outcome, names)]:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _introduce(console: Console, nodes: Sequence[DevNode]) -> None:
    for node in nodes:
        console.print(f"  {node.role:<11} {node.peer_id}  pid {node.process.pid}", markup=False, soft_wrap=True)


def _tell_how_to_use(console: Console, nodes: Sequence[DevNode]) -> None:
    console.print("\nThe network runs until Ctrl-C. Ask any node:")
    for node in nodes:
        console.print(
            f'  tutti --home {node.home} ask --network dev "What is 12 + 30?"   # {node.role}', markup=False, soft_wrap=True
        )
    console.print("Join it from another home, with a model of yours or a packaged one:")
    console.print(
        f"  tutti --home /tmp/my-node run --network dev --model arith --bootstrap {nodes[0].addresses[0]}",
        markup=False,
        soft_wrap=True,
    )
