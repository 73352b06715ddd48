"""The channel's frames: however a stream is cut into pieces, byte by byte too, the same envelopes come out."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.exceptions import IOException

from node.libp2p_channel import LENGTH_SIZE, ChunkReader, Link
from node.transport import FRAME_SIZE_MAX
from protocol.envelope import open_envelope
from protocol.outcome import OutcomeKind
from simnet.host import Host
from tests.support import EXPERT, exercise, solver
from tests.wild import Packet, Wild

Result = TypeVar("Result")


class Pieces:
    """A stream that gives its bytes in pieces of the given sizes, the last of which repeats."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes, self._at, self._number = data, sizes, 0, 0

    async def read(self, n: int | None = None) -> bytes:
        """The next piece; empty at the end."""
        size = self._sizes[min(self._number, len(self._sizes) - 1)]
        piece = self._data[self._at : self._at + min(size, n or size)]
        self._at, self._number = self._at + len(piece), self._number + 1
        return piece


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what waits for nothing but `Pieces`."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("it waited for something")


def written(frames: list[bytes]) -> bytes:
    """What a channel writes for these frames."""
    link = Link(b"p" * 32)
    for frame in frames:
        link.queue(frame)
    parts = []
    while batch := link.next_batch():
        parts.append(batch)
    return b"".join(parts)


def read(data: bytes, sizes: list[int]) -> list[bytes]:
    """All frames of a stream."""
    reader, frames = ChunkReader(Pieces(data, sizes)), []
    try:
        while True:
            frames.append(at_once(reader.frame()))
    except IOException:
        return frames


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.lists(st.integers(1, 700), min_size=1, max_size=20))
def test_frames__are_the_same_however_the_stream_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    data = written(frames)
    assert read(data, sizes) == frames
    assert read(data, [1]) == frames


@given(st.binary(max_size=40), st.integers(0, 43))
def test_frame__that_is_cut_off_is_none(frame: bytes, kept: int) -> None:
    data = (written([frame]) if frame else b"")[:kept]
    assert read(data, [1]) == ([frame] if frame and kept >= len(frame) + LENGTH_SIZE else [])


@pytest.mark.parametrize("size", [0, FRAME_SIZE_MAX + 1, 2**32 - 1])
def test_frame__of_no_or_too_many_bytes_is_refused_before_it_is_read(size: int) -> None:
    with pytest.raises(DecodeError):
        at_once(ChunkReader(Pieces(size.to_bytes(LENGTH_SIZE, "big"), [1])).frame())


class ByteByByte(Wild):
    """A network in which every envelope on a channel takes the way of the wire, one byte at a time."""

    envelopes = 0

    def arrive(self, packet: Packet, data: bytes | None = None) -> None:
        """Through the writer and the reader of a channel."""
        assert data is None
        ((frame),) = read(written([packet.data]), [1])
        assert open_envelope(frame).data == packet.data
        self.envelopes += packet.source is not None
        super().arrive(packet, frame)


def test_two_cores__fed_byte_by_byte_reach_the_outcome_that_whole_messages_give() -> None:
    def outcome(world: Wild) -> tuple[Host, object]:
        question = exercise("arith", 5)
        request = world.ask(world.hosts[0], question.text)
        world.settle(60_000)
        assert world.hosts[0].outcomes[request].kind is OutcomeKind.ANSWERED
        assert world.hosts[0].outcomes[request].answer == question.gold
        return world.hosts[0], world.hosts[0].outcomes[request]

    bytewise = ByteByByte([None, solver(EXPERT)])
    assert outcome(bytewise)[1] == outcome(Wild([None, solver(EXPERT)]))[1]
    assert bytewise.envelopes > 0
