"""Starts and stops the processes of a developer network."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from node.dev.client import NodeClient
from node.dev.homes import temporary_home
from node.errors import UserError
from node.models import packaged
from protocol import exercises

# Each specialist twice, the generalist and a liar; a smaller network takes the first ones. A model that is not packaged
# is left out: while one is trained anew, the others still make a network.
_WANTED = ("arith", "lists", "text", "logic", "generalist", "arith", "lists", "text", "logic", "liar")
# The liar runs the best model there is: its lies are then as plausible as lies can be.
_LIAR_MODEL = "generalist"
_PLANNER_MODEL = "plan"
NODES_MAX = 32

_STARTING_PER_CORE = 3
_READY_S = 60.0
_MEETING_S = 60.0
_STOP_S = 5.0
_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1


@dataclass
class DevNode:
    """One node process of the network."""

    role: str
    model: str
    home: Path
    process: asyncio.subprocess.Process
    peer_id: str = ""
    addresses: tuple[str, ...] = ()
    client: NodeClient = field(default_factory=NodeClient)

    @property
    def lies(self) -> bool:
        """Whether this is the liar."""
        return self.role == "liar"


def population() -> tuple[str, ...]:
    """The roles of the standard network."""
    known = {model.name for model in packaged()}
    return tuple(role for role in _WANTED if role in known or role == "liar")


def roles(count: int) -> list[str]:
    """The roles of a network of `count` nodes: of more than the standard ones, its honest roles over again."""
    standard = population()
    honest = [role for role in standard if role != "liar"]
    return [*standard[:count], *(honest[index % len(honest)] for index in range(count - len(standard)))]


def planners(count: int) -> list[str]:
    """The roles of as many planners."""
    return [_PLANNER_MODEL] * count


def skills(models: Iterable[str]) -> list[str]:
    """The skills that these packaged models were made for and that take one step, in order."""
    names = set(models)
    offered = {skill for model in packaged() if model.name in names for skill in model.entry["skills"]}
    return sorted(offered & set(exercises.ONE_STEP))


@contextlib.asynccontextmanager
async def network(of_roles: Sequence[str]) -> AsyncIterator[list[DevNode]]:
    """Run connected nodes of these roles in a temporary home; on leaving, whatever the reason, they end and the home goes."""
    nodes: list[DevNode] = []
    with temporary_home() as home:
        try:
            await _start_all(home, of_roles, nodes)
            nodes.sort(key=lambda node: int(node.home.name.partition("-")[0]))
            await met(nodes)
            yield nodes
        finally:
            await asyncio.shield(stop(nodes))


async def _start_all(home: Path, of_roles: Sequence[str], nodes: list[DevNode]) -> None:
    """The first node alone, then a few at a time: all at once, each would take so long that it misses its own limits."""
    await _start(home / f"0-{of_roles[0]}", of_roles[0], None, nodes)
    places = asyncio.Semaphore(_STARTING_PER_CORE * (os.cpu_count() or 1))

    async def start(index: int, role: str) -> None:
        async with places:
            await _start(home / f"{index}-{role}", role, nodes[0].addresses[0], nodes)

    try:
        async with asyncio.TaskGroup() as group:
            for index, role in enumerate(of_roles[1:], 1):
                group.create_task(start(index, role))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _start(home: Path, role: str, bootstrap: str | None, nodes: list[DevNode]) -> None:
    """Add a ready node to `nodes`; one that was spawned is added at once, so that it is stopped whatever follows."""
    node = await spawn(home, role, bootstrap)
    nodes.append(node)
    await ready(node)


async def spawn(home: Path, role: str, bootstrap: str | None = None, flags: Sequence[str] = ()) -> DevNode:
    """Start the process of one node; `role` is "liar", a packaged model's name or "none". `flags` override those of `dev`."""
    model = _LIAR_MODEL if role == "liar" else role
    command = ["-m", "node.dev.liar"] if role == "liar" else ["-m", "node", "run"]
    # All nodes share this machine's cores, so each computes with one thread.
    command += ["--home", str(home), "--network", "dev", "--model", model, "--threads", "1", "--slots", "4", "--json"]
    if bootstrap is not None:
        command += ["--bootstrap", bootstrap]
    command += flags
    with _log_in(home) as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # A session of its own keeps Ctrl-C from the nodes; they are stopped in order by us.
            start_new_session=True,
            preexec_fn=_die_with_parent,
            env={**os.environ, "PYTHONPATH": _python_path(), "OMP_WAIT_POLICY": "passive"},
        )
    return DevNode(role, model, home, process)


def _log_in(home: Path) -> BinaryIO:
    home.mkdir(parents=True, exist_ok=True)  # a node that ran before starts again in its own
    return (home / "log").open("ab")


def _python_path() -> str:
    """The folder that holds this package first, so the nodes run the code that started them."""
    here = str(Path(__file__).resolve().parents[2])
    given = os.environ.get("PYTHONPATH")
    return f"{here}{os.pathsep}{given}" if given else here


def _die_with_parent() -> None:
    """End the node when `tutti dev` is killed without a chance to clean up; Linux only, elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def ready(node: DevNode) -> None:
    """Wait until the node says that it is ready; raises `UserError` with the last line of its log."""
    assert node.process.stdout is not None
    try:
        async with asyncio.timeout(_READY_S):
            line = await node.process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        raise UserError(f"the {node.role} node did not start: {_last_line(node)}")
    said: dict[str, Any] = json.loads(line)
    node.peer_id = said["peer_id"]
    node.addresses = tuple(said["addresses"])
    node.client.open(Path(said["api"]))


def _last_line(node: DevNode) -> str:
    with contextlib.suppress(OSError):
        lines = (node.home / "log").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][:300]
    return "it wrote nothing"


async def met(nodes: Sequence[DevNode]) -> None:
    """Wait until every node is connected to every other."""
    try:
        async with asyncio.timeout(_MEETING_S):
            for node in nodes:
                # Polled, because only the nodes know and an event that came before we listened would be missed.
                while (await node.client.get("/v1/status"))["peers_connected"] < len(nodes) - 1:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise UserError("the nodes did not find each other within a minute; is this machine very busy?") from None


async def stop(nodes: Sequence[DevNode]) -> None:
    """End the processes: asked first, killed if they do not."""
    for node in nodes:
        await node.client.close()
        with contextlib.suppress(ProcessLookupError):
            node.process.terminate()
    for node in nodes:
        try:
            async with asyncio.timeout(_STOP_S):
                await node.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                node.process.kill()
            await node.process.wait()
