"""What three simulated nodes sent each other and wrote to disk: the seeds from which the fuzzer goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from protocol.envelope import open_envelope
from protocol.events import Deliver, Effect, Input
from protocol.identity import KeySigner
from simnet.host import Host
from tests.support import EXPERT, exercise, solver
from tests.wild import Packet, Wild

SOLVERS: Final = (None, solver(EXPERT), solver({"arith": 600}))


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
        super().__init__(SOLVERS, evidenced=evidenced)

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
    """Three questions among nodes that must audit each other first."""
    world = _Listening(evidenced=False)
    for seed in (1, 2, 3):
        world.ask(world.hosts[0], exercise("arith", seed).text)
        world.ask(world.hosts[1], exercise("arith", seed).text, 1 + 400 * seed)
        world.settle(20_000)
    envelopes: dict[str, list[bytes]] = {}
    ids: dict[bytes, None] = dict.fromkeys(host.key for host in world.hosts)
    for data in world.heard:
        envelope = open_envelope(data)
        envelopes.setdefault(envelope.type, []).append(data)
        ids |= dict.fromkeys([envelope.id, *(item for item in envelope.body.values() if isinstance(item, bytes))])
    disk: dict[str, list[tuple[bytes, bytes]]] = {}
    for host in world.hosts:
        for (table, key), value in sorted(host.disk.items()):
            disk.setdefault(table, []).append((key, value))
    # A few of each are enough to go on from.
    few = {kind: found[:: max(1, len(found) // 8)] for kind, found in sorted(envelopes.items())}
    return Recorded(few, world.receipts, list(ids)[:256], disk, {host.key: host.signer for host in world.hosts})
