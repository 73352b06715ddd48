"""Tapes: what a core did once it does again, to the byte, and what is no tape says so."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Instant, RequestMade
from protocol.own_ledger import Origin
from protocol.tape import Tape, TapedCore, effects_digest, replayed
from simnet.draws import Stream
from simnet.host import Host
from tests.support import EXPERT, PARAMETERS, exercise, host_of, liar, solver, world_of


class Taped(Host):
    """A host whose cores write tapes: one for each life."""

    def _new_core(self, origin: Origin) -> TapedCore:
        rows = [(table, key, value) for (table, key), value in sorted(self.disk.items())]
        self.tapes = [*getattr(self, "tapes", []), list[bytes]()]
        entropy = Stream(len(self.tapes), f"entropy {self.name}").bytes
        write = self.tapes[-1].append
        return TapedCore(write, self.signer, self.parameters, self.record, entropy, rows, self.caps, origin)


def tapes() -> list[list[bytes]]:
    """Those of a node that asks, is asked, and is restarted."""
    world = world_of({"a": solver(EXPERT), "b": solver(EXPERT), "liar": liar()})
    taped = world.add("taped", host_of(world, "a").record, solver(EXPERT), kind=Taped)
    assert isinstance(taped, Taped)
    world.join(taped, host_of(world, "a"))
    world.run(for_ms=3_000)
    for number in range(4):
        assert world.answer(taped, exercise("arith", number).text).answer
        world.answer(host_of(world, "b"), exercise("arith", 10 + number).text)
    with pytest.raises(LocalProtocolError):
        taped.core.step(RequestMade(b"r", ""), Instant(world.now_us // 1_000, 1_700_000_000_000 + world.now_us // 1_000))
    world.crash(taped)
    world.restart(taped)
    world.run(for_ms=10_000)
    world.answer(taped, exercise("arith", 20).text)
    return taped.tapes


def test_tape__gives_every_effect_again_to_the_byte() -> None:
    lives = tapes()
    assert len(lives) == 2
    for frames in lives:
        played = list(replayed(Tape.read(frames)))
        assert len(played) > 20
        assert all(same for _, _, same in played)
        assert any(effects for _, effects, _ in played)
    assert sum(bool(step.error) for step, _, _ in replayed(Tape.read(lives[0]))) == 1
    assert Tape.read(lives[1]).rows
    assert Tape.read(lives[0]).parameters == PARAMETERS


def test_tape__of_a_core_that_does_otherwise_is_told_at_the_step() -> None:
    frames = tapes()[0]
    tape = Tape.read(frames)
    steps = list(tape.steps)
    asked = next(number for number, step in enumerate(steps) if isinstance(step.event, RequestMade))
    event = steps[asked].event
    assert isinstance(event, RequestMade)
    steps[asked] = replace(steps[asked], event=replace(event, text="What is 1 + 1?"))
    found = [same for _, _, same in replayed(replace(tape, steps=iter(steps)))]
    assert all(found[:asked])
    assert not all(found[asked:])


@given(st.data())
def test_tape__cut_off_anywhere_is_read_up_to_there(data: st.DataObject) -> None:
    whole = b"".join(_frames())
    cut = data.draw(st.integers(0, len(whole)))
    try:
        tape = Tape.read([whole[:cut]])
        count = len(list(tape.steps))
    except RemoteProtocolError:
        return
    assert count <= len(list(Tape.read([whole]).steps))
    # A kill leaves at most one frame that is not whole, and it is told how much of it is there.
    ends = list(accumulate(map(len, _frames())))
    assert tape.torn == cut - max(end for end in ends if end <= cut)


@given(st.binary(max_size=200))
def test_tape__that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(Tape.read([data]).steps)


def _frames(known: list[list[bytes]] = []) -> list[bytes]:  # noqa: B006  made once
    if not known:
        known.extend(tapes()[:1])
    return known[0]


def test_digest__tells_effects_apart() -> None:
    some = next(effects for _, effects, _ in replayed(Tape.read(_frames())) if effects)
    assert len({effects_digest([]), effects_digest(some), effects_digest([*some, some[0]])}) == 3
