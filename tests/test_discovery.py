"""The daemon's own part: what it puts into the directory, how often it asks, and that what it finds goes to the core."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import discovery
from node.daemon import Running
from node.discovery import ANNOUNCE_S, JITTER_SHARE, LOOK_UP_S, Agenda, _visit
from node.transport import TransportError
from protocol.events import MessageReceived
from tests.core_bench import STRANGER, newer
from tests.support import PARAMETERS, Bench, record


@dataclass
class FakeDirectory:
    """Remembers what it was asked; `found` is what each look-up gives."""

    found: list[bytes] = field(default_factory=list)
    down: bool = False
    announced: list[tuple[Sequence[str], bytes]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    contacts: dict[bytes, Sequence[str]] = field(default_factory=dict)

    async def announce(self, skills: Sequence[str], record: bytes) -> int:
        if self.down:
            raise TransportError("down")
        self.announced.append((skills, record))
        return 1

    async def look_up(self, skill: str) -> list[bytes]:
        self.looked_up.append(skill)
        return self.found

    def introduce(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        self.contacts.update(peers)


def node_of(bench: Bench) -> Running:
    executor = SimpleNamespace(core=bench.core, feed=bench.step)
    return cast(
        "Running", SimpleNamespace(executor=executor, parameters=PARAMETERS, events=SimpleNamespace(emit=lambda _: None))
    )


def visit(bench: Bench, directory: FakeDirectory, agenda: Agenda, monkeypatch: pytest.MonkeyPatch, at_s: float) -> None:
    monkeypatch.setattr(discovery, "time", SimpleNamespace(monotonic=lambda: at_s))
    asyncio.run(_visit(node_of(bench), directory, agenda))


def test_node__announces_its_skills_and_feeds_what_it_finds_to_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(("arith", "not a skill of this network"))
    bench.join(STRANGER, newer(record("lists"), 1, "/sim/stranger"))
    other = Bench(name="other").signer
    directory = FakeDirectory([bench.sealed(other, newer(record("lists"), 3, "/sim/other"))])
    agenda = Agenda()
    visit(bench, directory, agenda, monkeypatch, 0)
    assert directory.announced == [(["arith"], bench.core.record_data)]
    assert directory.looked_up == sorted(PARAMETERS.skills)
    assert directory.contacts == {STRANGER.public_key: ("/sim/stranger",)}
    assert bench.core.peers.get(other.public_key) is not None
    assert not any(isinstance(effect, MessageReceived) for effect in bench.effects)
    # Nothing is due again for a while, then everything is.
    visit(bench, directory, agenda, monkeypatch, 1)
    assert len(directory.announced) == 1
    visit(bench, directory, agenda, monkeypatch, LOOK_UP_S)
    assert len(directory.announced) == 2
    assert len(directory.looked_up) == 2 * len(PARAMETERS.skills)


def test_node_without_its_model__is_announced_under_no_skill(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, directory = Bench(), FakeDirectory()
    bench.step(MessageReceived(None, b""))
    bench.join(STRANGER)
    visit(bench, directory, Agenda(), monkeypatch, 0)
    assert directory.announced == [([], bench.core.record_data)]


def test_network_that_restarts__is_told_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, directory, agenda = Bench(("arith",)), FakeDirectory(down=True), Agenda()
    visit(bench, directory, agenda, monkeypatch, 0)
    directory.down = False
    visit(bench, directory, agenda, monkeypatch, 1)
    assert len(directory.announced) == 1


@given(st.lists(st.floats(0, 400), max_size=60))
def test_agenda__lets_a_thing_come_as_often_as_its_period_and_a_lot_allow(gaps_s: list[float]) -> None:
    agenda, now_s, taken = Agenda(), 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if agenda.take("announce", ANNOUNCE_S, now_s):
            taken.append(now_s)
    shortest_s = ANNOUNCE_S - ANNOUNCE_S / JITTER_SHARE
    assert all(later - earlier >= shortest_s for earlier, later in itertools.pairwise(taken))
    assert not gaps_s or taken
