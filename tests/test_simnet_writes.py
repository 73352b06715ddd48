"""Crashes within a step that writes: what the daemon cannot lose is not lost, what it can lose is."""

from __future__ import annotations

import pytest

from protocol.events import Deliver, Effect, Log, Persist, Publish, Send
from simnet.host import Host, Torn
from simnet.running import run
from simnet.scenario import Scenario
from simnet.world import World
from tests.support import EXPERT, exercise, host_of, solver, world_of

LOTS_MAX = 1 << 32
EFFECTS: list[Effect] = [
    Log("info", "one", {}),
    Persist("a", b"1", b"x"),
    Send(1, b"peer", b"data"),
    Persist("a", b"2", None),
    Publish("topic", b"data"),
]


def test_torn_step__is_lost_whole_or_written_whole_and_then_done_up_to_a_point() -> None:
    rows, others = [EFFECTS[1], EFFECTS[3]], [EFFECTS[0], EFFECTS[2], EFFECTS[4]]
    seen = {
        tuple(map(id, Torn(lot * LOTS_MAX // 64 | lost, silent=False).done(EFFECTS))) for lot in range(64) for lost in (0, 1)
    }
    assert seen == {(), *(tuple(map(id, rows + others[:count])) for count in range(4))}
    assert Torn(LOTS_MAX - 2, silent=False).done(EFFECTS) == rows + others
    assert Torn(0, silent=False).done(EFFECTS) == rows


def struck(lot: int) -> tuple[World, Host, dict[tuple[str, bytes], bytes], list[Effect]]:
    """A world in which a node that asks is struck while it writes: its disk before, and what it did from then on."""
    world = world_of({name: solver(EXPERT) for name in "abc"})
    asker, seen = host_of(world, "a"), list[Effect]()
    world.answer(asker, exercise("arith", 3).text)
    world.run(for_ms=10_000)
    before = dict(asker.disk)
    world.observer = lambda host, effect: seen.append(effect) if host is asker else None
    world.ask(asker, exercise("arith", 4).text)
    world.crash_writing(asker, lot)
    world.run(for_ms=2_000)
    assert not asker.up
    return world, asker, before, seen


@pytest.mark.parametrize("lot", [LOTS_MAX // 8 * part | lost for part in (0, 3, 7) for lost in (0, 1)])
def test_disk__holds_all_that_was_done_and_nothing_else(lot: int) -> None:
    world, asker, before, seen = struck(lot)
    rows = [effect for effect in seen if isinstance(effect, Persist)]
    for row in rows:
        if row.value is None:
            before.pop((row.table, row.key), None)
        else:
            before[row.table, row.key] = row.value
    assert asker.disk == before
    # Lost with all that follows, or written.
    assert bool(rows) == (not lot & 1)
    world.restart(asker)
    world.run(for_ms=30_000)
    assert world.answer(asker, exercise("arith", 5).text).answer == exercise("arith", 5).gold


def test_crash_that_finds_nothing_to_write__strikes_all_the_same() -> None:
    world = world_of({"a": solver(EXPERT)})
    alone = host_of(world, "a")
    world.run(for_ms=5_000)
    world.crash_writing(alone, 0, silent=True)
    up = []
    for _ in range(2):
        world.run(for_ms=890)
        up.append(alone.up)
    assert up == [True, False]
    assert alone.silent


@pytest.mark.parametrize("seed", [1, 2])
def test_crashes_within_writes__break_nothing(seed: int) -> None:
    crashes = [
        {"kind": "crash", "at_s": at_s, "lasts_s": 3, "share_permille": 700, "loses_writes": True, "silent": at_s % 2 == 0}
        for at_s in range(8, 40, 5)
    ]
    fields = {
        "about": "a test",
        "nodes": 7,
        "duration_s": 45,
        "settle_s": 65,
        "join_s": 2,
        "links": {"regions": {"europe": 1}},
        "workload": {"questions_per_minute": 90, "askers": 7, "from_s": 5},
        "faults": crashes,
    }
    torn: list[Effect] = []

    def watch(_: World, host: Host, effect: Effect) -> None:
        if host.broken and isinstance(effect, Persist | Deliver):
            torn.append(effect)

    result = run(Scenario.read(fields, "test"), seed, watch=watch)
    assert torn
    assert result.violations == ()
