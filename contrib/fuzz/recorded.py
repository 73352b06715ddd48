"""What three simulated nodes sent each other and wrote to disk: the seeds from which the fuzzer goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from protocol.capability import GENERAL
from protocol.envelope import open_envelope
from protocol.events import Deliver, Effect, Input
from protocol.identity import KeySigner
from protocol.planning import COMPOSITE, PLANNER
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from tests.support import REQUIREMENT_MAP, exercise, solver
from tests.wild import Packet, Wild

PLANNED: Final = "Sort it out in steps."
_PLAN: Final = "arith: What is 2 + 3?\narith: Multiply #1 by 3."


def _talkative(accuracy: int) -> Solver:
    """Right in so many thousandths of questions, and of free text something else each time; plans PLANNED and composites."""

    def solve(prompt: str, draws: Stream) -> Solution:
        if prompt == PLANNED or REQUIREMENT_MAP(prompt).skill == COMPOSITE:
            return Solution(f"answer: {_PLAN}", 50)
        found = solver({"arith": accuracy})(prompt, draws)
        return found if found.text.startswith("some steps") else replace(found, text=f"{found.text}, {draws.below(1_000)}")

    return solve


SOLVERS: Final = (None, _talkative(1_000), _talkative(600))


@dataclass(frozen=True, slots=True)
class Recorded:
    """`envelopes` by type, `receipts`, `ids` that stand in them, `disk` by table, and the keys of all nodes."""

    envelopes: Mapping[str, list[bytes]]
    receipts: list[bytes]
    ids: list[bytes]
    disk: Mapping[str, list[tuple[bytes, bytes]]]
    keys: Mapping[bytes, KeySigner]


class _Listening(Wild):
    """Keeps every envelope that arrives."""

    def __init__(self, *, evidenced: bool) -> None:
        self.heard: list[bytes] = []
        self.receipts: list[bytes] = []
        # One more than judge: nobody judges its own answer.
        super().__init__((*SOLVERS, _talkative(900)), also=(PLANNER,), evidenced=evidenced)

    def arrive(self, packet: Packet, data: bytes | None = None) -> None:
        """Note it, then let it arrive."""
        self.heard.append(packet.data)
        super().arrive(packet, data)

    def take(self, host: Host, event: Input) -> list[Effect]:
        """Note the receipts that are delivered."""
        effects = super().take(host, event)
        self.receipts += [effect.receipt for effect in effects if isinstance(effect, Deliver) and effect.receipt]
        return effects


@cache
def recorded() -> Recorded:
    """Questions among nodes that must audit each other first; then one revised, one of free text, one planned."""
    world = _Listening(evidenced=False)
    for seed in (1, 2, 3):
        world.ask(world.hosts[0], exercise("arith", seed).text)
        world.ask(world.hosts[1], exercise("arith", seed).text, 1 + 400 * seed)
        world.settle(20_000)
    known = _Listening(evidenced=True)
    known.ask(known.hosts[0], exercise("arith", 4).text, refine=1)
    known.settle(20_000)
    known.ask(known.hosts[0], "Write me a line.", skill=GENERAL)
    known.settle(20_000)
    known.ask(known.hosts[0], PLANNED, planners=2)
    known.settle(20_000)
    envelopes: dict[str, list[bytes]] = {}
    ids: dict[bytes, None] = dict.fromkeys(host.key for host in world.hosts)
    for data in (*world.heard, *known.heard):
        envelope = open_envelope(data)
        envelopes.setdefault(envelope.type, []).append(data)
        ids |= dict.fromkeys([envelope.id, *(item for item in envelope.body.values() if isinstance(item, bytes))])
    disk: dict[str, list[tuple[bytes, bytes]]] = {}
    for host in world.hosts:
        for (table, key), value in sorted(host.disk.items()):
            disk.setdefault(table, []).append((key, value))
    # A few of each are enough to go on from.
    few = {kind: found[:: max(1, len(found) // 8)] for kind, found in sorted(envelopes.items())}
    return Recorded(
        few, [*world.receipts, *known.receipts], list(ids)[:256], disk, {host.key: host.signer for host in world.hosts}
    )
