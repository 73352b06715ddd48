"""Ledgers in a simulated network: nodes that crash, lose what was not synced, and come back."""

from __future__ import annotations

import pytest

from protocol.constants import HEADS_EACH_MS, LEDGER_RESTORE_WAIT_MS
from protocol.ledger import entry_id
from simnet.host import Host
from simnet.world import World
from tests.support import EXPERT, exercise, host_of, solver, world_of


def entries(host: Host) -> list[bytes]:
    """The own entries on a node's disk, in order."""
    return [value for (table, _), value in sorted(host.disk.items()) if table == "ledger"]


def numbers(host: Host) -> list[int]:
    return [int.from_bytes(key, "big") for table, key in sorted(host.disk) if table == "ledger"]


def ask(world: World, host: Host, count: int) -> None:
    for number in range(count):
        world.answer(host, exercise(seed=number).text)


@pytest.mark.parametrize("lost", ["the last entries", "the whole disk"])
def test_node_that_lost_entries__gives_no_number_twice(lost: str) -> None:
    world = world_of({"a": solver(EXPERT), "b": solver(EXPERT), "c": solver(EXPERT)})
    a, b, c = (host_of(world, name) for name in "abc")
    ask(world, a, 3)
    world.run(for_ms=2 * HEADS_EACH_MS)
    copy = {} if lost == "the whole disk" else dict(a.disk)
    ask(world, a, 3)
    world.run(for_ms=2 * HEADS_EACH_MS)
    said = entries(a)
    world.crash(a)
    a.disk.clear()
    a.disk.update(copy)
    world.run(for_ms=1_000)
    world.restart(a)
    world.connect(a, b.key)
    world.connect(a, c.key)
    ask(world, a, 1)
    world.run(for_ms=LEDGER_RESTORE_WAIT_MS + 2 * HEADS_EACH_MS)
    assert entries(a)[: len(said)] == said
    assert len(entries(a)) > len(said)
    assert numbers(a) == list(range(len(entries(a))))
    for other in (b, c):
        assert a.key not in other.core.faults
        chain = other.core.followed.get(a.key)
        assert chain is not None
        assert chain.id_of(len(said) - 1) == entry_id(said[-1])
        assert chain.next == len(entries(a))


def test_all_nodes__come_to_hold_each_others_ledgers() -> None:
    world = world_of({name: solver(EXPERT) for name in "abcd"})
    hosts = [host_of(world, name) for name in "abcd"]
    for host in hosts:
        ask(world, host, 2)
    world.run(for_ms=3 * HEADS_EACH_MS)
    for host in hosts:
        for other in hosts:
            if other is not host:
                chain = host.core.followed.get(other.key)
                assert chain is not None
                assert chain.next == len(entries(other)) > 2
