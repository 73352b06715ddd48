"""The command line `simnet`: runs of whole networks under virtual time, each repeatable from what it prints."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from simnet.world import World

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
SAFETY: Final = 4
LIVENESS: Final = 5
CRASHED: Final = 6

_DESCRIPTION: Final = """\
The simulator of Tutti: whole networks in one process, under virtual time, running the protocol code of the daemon with
simulated links, faults, adversaries and models. A run is decided by the source, the scenario and the seed alone, and
ends in one digest that is the same on every machine."""
_EXIT_CODES: Final = """\
exit codes:
  0  the run ended and everything that must hold did
  1  it failed
  2  wrong usage, or a scenario with errors
  4  safety was violated: something happened that never may
  5  liveness was violated: something did not happen that must
  6  a node's core raised an error: a bug"""
_FLAG: Final = re.compile(r"--[a-z][a-z-]*")
_FLAGS: Final = (
    "--seed",
    "--seeds",
    "--grid",
    "--jobs",
    "--engine",
    "--minutes",
    "--planted",
    "--only",
    "--seconds",
    "--crowd",
    "--partition",
    "--nodes",
    "--set",
    "--pin",
    "--answers",
    "--until",
    "--node",
    "--out",
    "--json",
)
_RANGE: Final = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_PROGRESS_S: Final = 1.0


class _UsageError(Exception):
    """Wrong arguments, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    from simnet.scenario import ScenarioError  # noqa: PLC0415  pydantic need not be imported for help

    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except (_UsageError, ScenarioError) as error:
        _say(str(error))
        return USAGE
    except RuntimeError as error:
        from simnet.world import CoreError  # noqa: PLC0415  what raised it has imported it

        _say(str(error))
        return CRASHED if isinstance(error, CoreError) else FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return FAILED
    except BrokenPipeError:
        # Nobody reads any more; without this the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _say(message: str) -> None:
    for line in message.splitlines():
        print(f"simnet: {line}", file=sys.stderr)


def _dispatch(argv: Sequence[str]) -> int:
    root = _parser()
    try:
        args, unknown = root.parse_known_args(argv)
    except SystemExit:
        # Only --help ends this way, once it has printed.
        return OK
    if unknown:
        _refuse(unknown, root)
    if args.command is None:
        root.print_help()
        return OK
    return {
        "run": _run,
        "replay": _replay,
        "sweep": _sweep,
        "hunt": _hunt,
        "bench": _bench,
        "compare": _compare,
        "report": _report,
        "list": _list,
        "version": _version,
    }[args.command](args)


def _parser() -> _Parser:
    shape = {"epilog": _EXIT_CODES, "formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    root = _Parser(prog="simnet", description=_DESCRIPTION, **shape)  # type: ignore[arg-type]
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    run = commands.add_parser("run", help="one run of a scenario", description=_DESCRIPTION, **shape)  # type: ignore[arg-type]
    run.add_argument(
        "scenario", nargs="?", default="baseline", metavar="SCENARIO", help="a name that `simnet list` shows, or a file"
    )
    run.add_argument("--seed", type=_integer, default=1, metavar="N", help="decides every draw (1)")
    run.add_argument("--nodes", type=_integer, metavar="N", help="how many nodes (else what the scenario says)")
    run.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE",
        help="another value for a key of the scenario, such as links.loss_permille=50; repeatable",
    )  # fmt: skip
    run.add_argument("--answers", metavar="FILE", help="write what the models answered, for solvers=recorded:FILE")
    run.add_argument("--pin", metavar="HEX", help="refuse if the scenario has another digest than this one")
    replay = commands.add_parser("replay", help="go through a run or a daemon's tape again", allow_abbrev=False)
    replay.add_argument("file", metavar="RUN|TAPE", help="what `simnet run --json` printed, or a tape of `tutti run --tape`")
    replay.add_argument("--until", type=_seconds, metavar="T", help="stop after so many seconds of its time")
    replay.add_argument("--node", metavar="ID", help="show what this node does: its name, or the end of its peer id")
    sweep = commands.add_parser("sweep", help="many runs: over seeds and settings, on all cores", allow_abbrev=False)
    sweep.add_argument("scenario", metavar="SCENARIO", help="a name from `simnet list`, or a file")
    sweep.add_argument("--seeds", default="1..5", metavar="A..B", help="the seeds from A to B (1..5)")
    sweep.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V1,V2", help="values of a key, each with all of another; repeatable"
    )
    sweep.add_argument("--jobs", type=_integer, metavar="N", help="processes at once (else one a core)")
    sweep.add_argument("--engine", metavar="dask://HOST:PORT", help="run on a Dask cluster that has this package installed")
    hunt = commands.add_parser(
        "hunt", help="random scenarios until something breaks, then the smallest that shows it", allow_abbrev=False
    )
    hunt.add_argument("--minutes", type=_integer, default=5, metavar="M", help="how long to look (5)")
    hunt.add_argument("--seed", type=_integer, default=1, metavar="N", help="the seed to begin with (1)")
    hunt.add_argument("--planted", action="store_true", help="the exam of the checkers: find what is planted into the protocol")
    hunt.add_argument("--only", metavar="NAME", help="of the exam: this bug alone")
    hunt.add_argument("--jobs", type=_integer, metavar="N", help="of the exam: processes at once (else one a core)")
    bench = commands.add_parser("bench", help="what the simulator can do on this machine", allow_abbrev=False)
    bench.add_argument("--nodes", type=_integer, default=50, metavar="N", help="of the network that is run (50)")
    bench.add_argument("--seconds", type=_integer, default=60, metavar="S", help="of its simulated time (60)")
    instead = bench.add_mutually_exclusive_group()
    instead.add_argument("--partition", action="store_true", help="half an hour of partition instead, and what comes after")
    instead.add_argument("--crowd", action="store_true", help="all nodes join at once instead: time and memory")
    told = commands.add_parser("report", help="a page of HTML about one run or several", allow_abbrev=False)
    told.add_argument("files", nargs="+", metavar="RUN", help="what `simnet run --json` printed")
    told.add_argument("--out", default="report.html", metavar="FILE", help="where to write the page (report.html)")
    compared = commands.add_parser("compare", help="this protocol beside other policies", allow_abbrev=False)
    compared.add_argument("--seeds", default="1..2", metavar="A..B", help="the seeds from A to B (1..2)")
    compared.add_argument("--nodes", type=_integer, default=20, metavar="N", help="of each network (20)")
    compared.add_argument("--minutes", type=_integer, default=4, metavar="M", help="how long there are questions (4)")
    compared.add_argument("--jobs", type=_integer, metavar="N", help="processes at once (else one a core)")
    compared.add_argument("--out", default="compare.html", metavar="FILE", help="where to write the page (compare.html)")
    listed = commands.add_parser("list", help="the scenarios that there are", allow_abbrev=False)
    version = commands.add_parser("version", help="the version", allow_abbrev=False)
    for command in (run, replay, sweep, hunt, bench, told, compared, listed, version):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return root


def _integer(text: str) -> int:
    return int(text, 10)


_integer.__name__ = "number"  # argparse names it so in its error


def _seconds(text: str) -> int:
    """Seconds, with a fraction if need be, in milliseconds."""
    whole, _, part = text.partition(".")
    return 1_000 * int(whole, 10) + int((part + "000")[:3], 10)


_seconds.__name__ = "number of seconds"


def _refuse(unknown: Sequence[str], root: argparse.ArgumentParser) -> NoReturn:
    name = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
    known = [*_FLAG.findall(root.format_help()), *_FLAGS]
    if name in known:
        raise _UsageError(f"this command takes no {name}, another one does; see simnet --help")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    raise _UsageError(f"unknown argument {name[:60]!r}{hint}; see simnet --help")


def _version(args: argparse.Namespace) -> int:
    try:
        version = metadata.version("tutti-network")
    except metadata.PackageNotFoundError:
        version = "(not installed as a package)"
    print(json.dumps({"version": version}) if args.json else f"simnet of tutti {version}")
    return OK


def _list(args: argparse.Namespace) -> int:
    from simnet.scenario import Scenario, names  # noqa: PLC0415

    found = [Scenario.load(name) for name in names()]
    if args.json:
        rows = [{"name": each.name, "about": each.about, "nodes": each.nodes, "duration_s": each.duration_s} for each in found]
        print(json.dumps({"scenarios": rows}))
        return OK
    width = max(len(each.name) for each in found)
    for each in found:
        print(f"{each.name:{width}}  {each.nodes:5} nodes {each.duration_s:6} s  {each.about}")
    return OK


def _run(args: argparse.Namespace) -> int:
    from simnet import report, running  # noqa: PLC0415
    from simnet.scenario import SEED_MAX, Scenario  # noqa: PLC0415

    if not 0 <= args.seed <= SEED_MAX:
        raise _UsageError(f"--seed must be from 0 to {SEED_MAX}, not {args.seed}")
    settings = [*args.settings, *([f"nodes={args.nodes}"] if args.nodes is not None else [])]
    scenario = Scenario.load(args.scenario).changed(settings)
    if args.pin is not None and args.pin != scenario.digest:
        raise _UsageError(f"{args.scenario} is not the scenario any more that has the digest {args.pin}: it was changed since")
    if args.answers is not None and scenario.solvers == "statistical":
        raise _UsageError("--answers needs models whose answers are worth it: --set solvers=models")
    result = running.run(
        scenario,
        args.seed,
        _progress() if sys.stderr.isatty() else None,
        recorded=args.json,
        answers=None if args.answers is None else Path(args.answers),
    )
    repeat = report.command(args.scenario, args.seed, settings, scenario)
    print(json.dumps(report.as_json(result, repeat)) if args.json else "\n".join(report.lines(result, repeat)))
    return _code({violation.kind for violation in result.violations})


def _replay(args: argparse.Namespace) -> int:
    from simnet import replay  # noqa: PLC0415

    path = Path(args.file)
    shown: Callable[[str], None] | None = None if args.json else print
    found = _report_in(path)
    if found is None:
        played = replay.tape(path, args.until, shown if args.node is not None else None)
        same = played.first is None
        if args.json:
            found = {"peer": played.peer, "steps": played.steps, "effects": played.effects, "differs_at": played.first}
            print(json.dumps({**found, "torn": played.torn}))
        else:
            how = "to the byte as it was taped" if same else f"otherwise from step {played.first} on"
            print(f"{played.peer}: {played.steps} steps, {played.effects} effects, {how}")
            if played.torn:
                print(f"its last {played.torn} bytes are a step that was being written when the node was killed")
        return OK if same else FAILED
    digest = replay.run(found, args.until, args.node, shown or (lambda _: None))
    same = digest in (None, found.get("digest"))
    if args.json:
        print(json.dumps({"digest": digest, "same": None if digest is None else same}))
    else:
        print("stopped there" if digest is None else f"digest {digest}, {'the same' if same else 'another one'}")
    return OK if same else FAILED


def _report_in(path: Path) -> dict[str, Any] | None:
    """The report in a file; None for anything else, which must then be a tape."""
    try:
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise _UsageError(f"{path} is neither a report of `simnet run --json` nor a tape") from error
    return found if isinstance(found, dict) else None


def _seeds(text: str, most: int) -> range:
    named = _RANGE.fullmatch(text)
    if named is None or not int(named[1]) <= int(named[2]) <= most:
        raise _UsageError(f"--seeds is A..B, such as 1..20, not {text!r}")
    return range(int(named[1]), int(named[2]) + 1)


def _sweep(args: argparse.Namespace) -> int:
    from simnet import sweep  # noqa: PLC0415
    from simnet.scenario import SEED_MAX  # noqa: PLC0415

    seeds = _seeds(args.seeds, SEED_MAX)
    grid = {}
    for each in args.grid:
        key, sign, values = each.partition("=")
        if not sign or not values:
            raise _UsageError(f"--grid is KEY=V1,V2, such as links.loss_permille=0,50, not {each!r}")
        grid[key] = values.split(",")
    if args.jobs is not None and args.jobs < 1:
        raise _UsageError(f"--jobs must be 1 or more, not {args.jobs}")
    work = sweep.jobs(args.scenario, seeds, grid)
    found = []
    for number, each in enumerate(sweep.swept(work, args.engine, args.jobs), 1):
        found.append(each)
        if sys.stderr.isatty():
            print(f"\r{number} of {len(work)} runs ", end="", file=sys.stderr, flush=True)
    digest = sweep.digest(found)
    if args.json:
        print(json.dumps({"runs": found, "digest": digest}))
    else:
        print("\n".join([*sweep.table(found), f"digest of all: {digest}"]))
    return _code({violation["kind"] for each in found for violation in each["violations"]})


def _hunt(args: argparse.Namespace) -> int:
    from simnet import hunt  # noqa: PLC0415
    from simnet.scenario import SEED_MAX  # noqa: PLC0415

    if not 0 <= args.seed <= SEED_MAX:
        raise _UsageError(f"--seed must be from 0 to {SEED_MAX}, not {args.seed}")
    if args.planted:
        return _exam(args)
    if args.only is not None or args.jobs is not None:
        raise _UsageError("--only and --jobs mean nothing without --planted")
    if args.minutes < 1:
        raise _UsageError(f"--minutes must be 1 or more, not {args.minutes}")
    ends_s: float = time.monotonic() + 60 * args.minutes
    runs = [0]

    def go_on(seed: int) -> bool:
        runs[0] = seed - args.seed
        if sys.stderr.isatty():
            print(f"\r{runs[0]} scenarios, nothing found ", end="", file=sys.stderr, flush=True)
        return time.monotonic() < ends_s

    found = hunt.hunted(args.seed, go_on)
    if found is None:
        print(json.dumps({"scenarios": runs[0], "found": None}) if args.json else f"{runs[0]} scenarios, everything held")
        return OK
    each = found.violation
    if args.json:
        shown = {"kind": each.kind, "checker": each.checker, "at_ms": each.at_ms, "node": each.node, "text": each.text}
        print(json.dumps({"scenarios": runs[0] + 1, "found": shown, "repeat": found.command}))
    else:
        print(
            f"{each.checker} ({each.kind}) at {each.at_ms / 1_000:.1f} s, {each.node}: {each.text}\nrepeat it: {found.command}"
        )
    return CRASHED if each.checker == "no-error" else _code({each.kind})


def _exam(args: argparse.Namespace) -> int:
    from simnet import planted  # noqa: PLC0415
    from simnet.planting import PlantingError  # noqa: PLC0415

    if args.jobs is not None and args.jobs < 1:
        raise _UsageError(f"--jobs must be 1 or more, not {args.jobs}")
    bugs = [bug for bug in planted.BUGS if args.only in (None, bug.name)]
    if not bugs:
        raise _UsageError(f"no planted bug {args.only!r}; there are {', '.join(bug.name for bug in planted.BUGS)}")
    found = []
    try:
        for each in planted.examined(bugs, args.seed, args.jobs or os.cpu_count() or 1):
            found.append(each)
            if not args.json:
                print(planted.line(*each), flush=True)
    except PlantingError as error:
        _say(str(error))
        return FAILED
    control = next(hunted for bug, hunted in found if bug is None)
    exam = planted.Exam(control, tuple((bug, hunted) for bug, hunted in found if bug is not None))
    if args.json:
        print(json.dumps(planted.as_json(exam)))
    else:
        seen = len(bugs) - len(exam.missed)
        print(f"{seen} of {len(bugs)} found, in {exam.cpu_s:.0f} s of a processor with the control")
    return OK if exam.passed else FAILED


def _bench(args: argparse.Namespace) -> int:
    from simnet import bench  # noqa: PLC0415

    if args.nodes < 2 or args.seconds < 1:  # noqa: PLR2004  fewer are no network
        raise _UsageError("--nodes must be 2 or more, --seconds 1 or more")
    found = []
    if args.partition or args.crowd:
        figures = bench.partition(args.nodes) if args.partition else bench.crowd(args.nodes)
    else:
        figures = bench.figures(args.nodes, args.seconds)
    for each in figures:
        found.append(each)
        if not args.json:
            print("\n".join(bench.lines([each])), flush=True)
    if args.json:
        rows = [{"name": each.name, "value": each.value, "unit": each.unit, "beside": each.beside} for each in found]
        print(json.dumps({"figures": rows}))
    return OK


def _report(args: argparse.Namespace) -> int:
    from simnet.finished import Run  # noqa: PLC0415

    try:
        from simnet import page  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise _UsageError("matplotlib, which draws the plots, is not installed: pip install 'tutti-network[report]'") from error
    if len(args.files) > page.RUNS_MAX:
        raise _UsageError(f"{len(args.files)} runs are more than a page takes, which is {page.RUNS_MAX}")
    data = page.page([Run.read(Path(file)) for file in args.files]).encode()
    try:
        Path(args.out).write_bytes(data)
    except OSError as error:
        raise _UsageError(f"cannot write {args.out}: {error.strerror}") from error
    if args.json:
        print(json.dumps({"file": args.out, "runs": len(args.files), "bytes": len(data)}))
    else:
        runs = f"{len(args.files)} runs" if len(args.files) > 1 else "1 run"
        print(f"{args.out}: {runs}, {len(data) // 1_000} kB")
    return OK


def _compare(args: argparse.Namespace) -> int:
    from simnet import compare, standings  # noqa: PLC0415
    from simnet.conditions import MINUTES_MIN, NODES_MIN  # noqa: PLC0415
    from simnet.scenario import SEED_MAX  # noqa: PLC0415

    try:
        from simnet import compare_page  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise _UsageError("matplotlib, which draws the plots, is not installed: pip install 'tutti-network[report]'") from error
    if args.nodes < NODES_MIN or args.minutes < MINUTES_MIN:
        raise _UsageError(f"--nodes must be {NODES_MIN} or more, --minutes {MINUTES_MIN} or more")
    if args.jobs is not None and args.jobs < 1:
        raise _UsageError(f"--jobs must be 1 or more, not {args.jobs}")
    work = compare.jobs(_seeds(args.seeds, SEED_MAX), args.nodes, args.minutes)
    try:
        # Known before the work, which takes minutes.
        Path(args.out).touch()
    except OSError as error:
        raise _UsageError(f"cannot write {args.out}: {error.strerror}") from error
    found = []
    for each in compare.compared(work, args.jobs):
        found.append(each)
        if sys.stderr.isatty():
            print(f"\r{len(found)} of {len(work)} conditions and seeds ", end="", file=sys.stderr, flush=True)
    repeat = standings.command(args.seeds, args.nodes, args.minutes)
    shown = standings.standings(found)
    lost = standings.losses(shown)
    Path(args.out).write_text(compare_page.page(found, repeat), encoding="utf-8")
    if args.json:
        print(json.dumps({**standings.as_json(found, repeat), "file": args.out}))
        return OK
    print("\n".join(standings.lines(shown)))
    print("\n".join(["", "where ours loses:", *(f"  {standings.told(each)}" for each in lost)]))
    print(f"\ndigest of all: {compare.digest(found)}\nrepeat it: {repeat}\npage: {args.out}")
    return OK


def _code(kinds: set[str]) -> int:
    return SAFETY if "safety" in kinds else LIVENESS if "liveness" in kinds else OK


def _progress() -> Callable[[World], None]:
    """A line on a terminal: simulated time, events a second, memory."""
    last = [time.monotonic(), 0.0]

    def show(world: World) -> None:
        now_s = time.monotonic()
        if now_s - last[0] < _PROGRESS_S:
            return
        rate = (world.events - last[1]) / (now_s - last[0])
        last[:] = [now_s, float(world.events)]
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"\r{world.now_us / 1e6:9.1f} s simulated, {rate:8.0f} events/s, {memory_mb} MB ",
            end="",
            file=sys.stderr,
            flush=True,
        )

    return show
