"""Going through something again: the tape of a daemon, step by step, or a run of the simulator, up to a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from protocol.errors import RemoteProtocolError
from protocol.events import Deliver, Dial, Effect, Infer, Log, Persist, Publish, Send
from protocol.identity import peer_id
from protocol.tape import Tape, replayed
from simnet.host import Host
from simnet.running import run as run_scenario
from simnet.running import source_digest
from simnet.scenario import SEED_MAX, Scenario, ScenarioError
from simnet.world import World

_PIECE: Final = 1 << 20
_SHOWN: Final = 16


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a tape: how many steps, and the first that this source does otherwise, None if there is none.

    `torn` bytes behind the last step are one that was being written when the node was killed.
    """

    peer: str
    steps: int
    effects: int
    first: int | None
    torn: int


def tape(path: Path, until_ms: int | None = None, show: Callable[[str], None] | None = None) -> Played:
    """Go through a tape, up to so many milliseconds after its first step; raises `ScenarioError` if it is none."""
    steps = effects = 0
    first: int | None = None
    begun_ms: int | None = None
    try:
        found = Tape.read(_pieces(path))
        for step, made, same in replayed(found):
            begun_ms = step.now.mono_ms if begun_ms is None else begun_ms
            if until_ms is not None and step.now.mono_ms - begun_ms > until_ms:
                break
            if not same and first is None:
                first = steps
            if show is not None:
                for effect in made:
                    show(f"{(step.now.mono_ms - begun_ms) / 1_000:10.3f} s  {told(effect)}")
            steps, effects = steps + 1, effects + len(made)
    except RemoteProtocolError as error:
        raise ScenarioError(f"{path}: {error}") from error
    return Played(peer_id(found.public_key), steps, effects, first, found.torn)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from error


def run(found: Mapping[str, Any], until_ms: int | None, node: str | None, show: Callable[[str], None]) -> str | None:
    """Repeat a run that `simnet run --json` printed; gives its digest, None if it was not gone through to its end.

    What `node` does is shown; raises `ScenarioError` if the report is none, or of another source.
    """
    try:
        seed, source, digest = int(found["seed"]), found["source"], found["content_digest"]
        fields = dict(found["content"])
        name = str(fields.pop("name"))
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError("not a report of `simnet run --json`") from error
    if not 0 <= seed <= SEED_MAX:
        raise ScenarioError("not a report of `simnet run --json`")
    if source != source_digest():
        raise ScenarioError("the run was made by another source than this one, so it cannot be repeated here")
    scenario = Scenario.read(fields, name)
    if scenario.digest != digest:
        raise ScenarioError("the scenario in the report was changed since the run: its digest is another one")

    def watch(world: World, host: Host, effect: Effect) -> None:
        if node is not None and (host.name == node or peer_id(host.key).endswith(node)):
            show(f"{world.now_us / 1e6:12.6f} s  {told(effect)}")

    result = run_scenario(scenario, seed, watch=watch, until_ms=until_ms)
    return result.digest if until_ms is None else None


def told(effect: Effect) -> str:  # noqa: PLR0911  a line for each kind
    """An effect in a line, without what anybody asked or answered."""
    match effect:
        case Send():
            return f"send      {len(effect.data):6} bytes to {peer_id(effect.peer)[-_SHOWN:]}"
        case Publish():
            return f"publish   {len(effect.data):6} bytes on {effect.topic}"
        case Persist():
            return f"persist   {effect.table} {effect.key.hex()[:_SHOWN]}" + ("" if effect.value is not None else ", deleted")
        case Dial():
            return f"dial      {peer_id(effect.peer)[-_SHOWN:]}"
        case Infer():
            return f"infer     effect {effect.effect}, {effect.kind}"
        case Deliver():
            return f"deliver   {effect.outcome.kind.value}, {effect.outcome.latency_ms} ms"
        case Log():
            return f"log       {effect.level} {effect.event} " + " ".join(
                f"{key}={value}" for key, value in effect.fields.items()
            )
        case _:
            return f"cancel    effect {effect.effect}"
