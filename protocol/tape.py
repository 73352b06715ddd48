"""A tape of one core: all that went into it, and a digest of what came out of each step, so that another run can be compared.

    header, rows of the disk, then for each step: the two clocks, the input, what was drawn, what was signed, and the digest

A private key is not on it: signatures are, in the order in which they were asked for. Questions and answers are, so a tape is
its owner's to show or not. Frames are canonical MessagePack behind four bytes of length, big-endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Self

import msgpack

from protocol import canonical, events
from protocol.allowance import Caps
from protocol.capability import Record
from protocol.core import Core
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Effect, InferenceResult, Input, Instant
from protocol.genesis import Genesis
from protocol.identity import Signer
from protocol.own_ledger import Origin
from protocol.parameters import Parameters

VERSION: Final = "tutti/tape/1"
# A row of the disk, or an input with the longest answer.
FRAME_SIZE_MAX: Final = 1 << 24
_LENGTH: Final = 4
_INPUTS: Final[Mapping[str, type]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            events.MessageReceived,
            events.PeerConnected,
            events.PeerLost,
            events.TimerFired,
            events.RequestMade,
            events.AuditsWanted,
            events.LedgersWanted,
            events.ProofShown,
            events.ModelChanged,
            events.Paused,
            events.AddressesChanged,
            events.EffectDone,
        )
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `error` is what the `LocalProtocolError` said that it raised, empty if it raised none."""

    now: Instant
    event: Input
    drawn: tuple[bytes, ...]
    signed: tuple[bytes, ...]
    digest: bytes
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tape:
    """What a core began with. `steps` can be gone through once; after them `torn` is what stood behind the last whole one."""

    public_key: bytes
    parameters: Parameters
    own: Record
    caps: Caps
    origin: Origin
    rows: tuple[tuple[str, bytes, bytes], ...]
    steps: Iterator[Step]
    _rest: list[int] = field(default_factory=list)

    @property
    def torn(self) -> int:
        """How many bytes of a frame were written when the node was killed; it is known once all steps were gone through."""
        return sum(self._rest)

    @classmethod
    def read(cls, data: Iterable[bytes]) -> Self:
        """From the bytes of a file, in pieces of any size; raises `RemoteProtocolError` if they are no tape."""
        rest: list[int] = []
        frames = _frames(data, rest)
        try:
            header = _fields(next(frames))
            if header["version"] != VERSION:
                raise RemoteProtocolError("encoding", f"a tape of version {header['version']!r}, and not {VERSION}")
            parameters = Parameters.parse(Genesis.parse(header["genesis"]), header["parameters"])
            rows = []
            for _ in range(header["rows"]):
                table, key, value = _list(next(frames))
                rows.append((table, key, value))
            return cls(
                header["public_key"],
                parameters,
                Record.parse(header["own"]),
                Caps(*header["caps"]),
                Origin(*header["origin"]),
                tuple(rows),
                (_step(frame) for frame in frames),
                rest,
            )
        except (StopIteration, KeyError, TypeError, ValueError) as error:
            raise RemoteProtocolError("encoding", "not a tape, or cut off in its beginning") from error


def _frames(data: Iterable[bytes], rest: list[int]) -> Iterator[canonical.Value]:
    """The values of whole frames; `rest` gets how much stood behind the last of them."""
    held = b""
    for piece in data:
        held, place = held + piece, 0
        while len(held) - place >= _LENGTH:
            size = int.from_bytes(held[place : place + _LENGTH], "big")
            if size > FRAME_SIZE_MAX:
                raise RemoteProtocolError("encoding", f"a frame of {size} bytes: not a tape")
            end = place + _LENGTH + size
            if len(held) < end:
                break
            yield canonical.decode(held[place + _LENGTH : end], FRAME_SIZE_MAX)
            place = end
        held = held[place:]
    # What is left was being written when its node was killed.
    rest.append(len(held))


def _frame(value: object) -> bytes:
    data = canonical.encode(value, FRAME_SIZE_MAX)
    return len(data).to_bytes(_LENGTH, "big") + data


def _fields(value: canonical.Value) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RemoteProtocolError("encoding", "not a tape")
    return value


def _list(value: canonical.Value) -> list[Any]:
    if not isinstance(value, list):
        raise RemoteProtocolError("encoding", "a frame that is no list")
    return value


def _step(value: canonical.Value) -> Step:
    try:
        mono_ms, wall_ms, (name, *given), drawn, signed, digest, error = _list(value)
        if {type(mono_ms), type(wall_ms)} != {int} or {bytes} | set(map(type, (*drawn, *signed, digest))) != {bytes}:
            raise TypeError("not the types of a step")
        kind = _INPUTS[name]
        given = [tuple(item) if isinstance(item, list) else item for item in given]
        if kind is events.EffectDone and given[2] is not None:
            given[2] = InferenceResult(*given[2])
        return Step(Instant(mono_ms, wall_ms), kind(*given), tuple(drawn), tuple(signed), digest, error)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RemoteProtocolError("encoding", "a frame that is no step") from error


def plain(value: object) -> object:
    """A value as lists, maps and scalars: what a digest is made of."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        # Keys are strings or public keys.
        return [[plain(key), plain(item)] for key, item in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def effects_digest(effects: Iterable[Effect]) -> bytes:
    """SHA-256 over effects, in their order: 32 bytes."""
    packed: bytes = msgpack.packb([plain(effect) for effect in effects], use_bin_type=True)
    return hashlib.sha256(packed).digest()


class _Noted:
    """A signer and a source of entropy that note what they gave."""

    def __init__(self, signer: Signer, entropy: Callable[[int], bytes]) -> None:
        self.public_key = signer.public_key
        self.signed: list[bytes] = []
        self.drawn: list[bytes] = []
        self._signer = signer
        self._entropy = entropy

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        self.signed.append(self._signer.sign(message))
        return self.signed[-1]

    def entropy(self, size: int) -> bytes:
        """Random bytes."""
        self.drawn.append(self._entropy(size))
        return self.drawn[-1]


class TapedCore(Core):
    """A core that writes a tape of itself, a frame at a time, by `write`."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        signer: Signer,
        parameters: Parameters,
        own: Record,
        entropy: Callable[[int], bytes],
        restored: Iterable[tuple[str, bytes, bytes]] = (),
        caps: Caps = Caps(),  # noqa: B008  frozen
        origin: Origin = Origin(),  # noqa: B008  frozen
    ) -> None:
        rows = list(restored)
        self._noted = _Noted(signer, entropy)
        self._write = write
        self._ended = False
        write(
            _frame(
                {
                    "version": VERSION,
                    "genesis": parameters.genesis.body(),
                    "parameters": parameters.body(),
                    "public_key": signer.public_key,
                    "own": own.body(),
                    "caps": [caps.requests_per_hour, caps.tokens_per_day],
                    "origin": [origin.recovery, origin.succession, origin.fresh],
                    "rows": len(rows),
                }
            )
        )
        for row in rows:
            write(_frame(list(row)))
        super().__init__(self._noted, parameters, own, self._noted.entropy, rows, caps=caps, origin=origin)

    def step(self, event: Input, now: Instant) -> list[Effect]:
        """As any core does, and note it."""
        self._noted.signed, self._noted.drawn = [], []
        effects, error = list[Effect](), ""
        try:
            effects = super().step(event, now)
        except LocalProtocolError as raised:
            error = str(raised)
            raise
        finally:
            self._note(event, now, effects_digest(effects), error)
        return effects

    def _note(self, event: Input, now: Instant, digest: bytes, error: str) -> None:
        """Write a frame. What cannot be written ends the tape and not the node."""
        if self._ended:
            return
        name, *given = (type(event).__name__, *(getattr(event, field.name) for field in fields(event)))
        given = [plain(item)[1:] if isinstance(item, InferenceResult) else plain(item) for item in given]  # type: ignore[index]
        noted = (self._noted.drawn, self._noted.signed)
        try:
            frame = _frame([now.mono_ms, now.wall_ms, [name, *given], *noted, digest, error])
        except LocalProtocolError:
            self._ended = True
        else:
            self._write(frame)


class _Played:
    """A signer and a source of entropy that give what is on a tape, in its order."""

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key
        self.signed: Iterator[bytes] = iter(())
        self.drawn: Iterator[bytes] = iter(())

    def sign(self, _: bytes) -> bytes:
        """See `Signer`."""
        return next(self.signed, b"")

    def entropy(self, size: int) -> bytes:
        """What was drawn."""
        drawn = next(self.drawn, b"")
        return drawn if len(drawn) == size else bytes(size)


def replayed(tape: Tape) -> Iterator[tuple[Step, list[Effect], bool]]:
    """Each step of a tape, what this source makes of it, and whether that is byte for byte what was taped."""
    played = _Played(tape.public_key)
    core = Core(played, tape.parameters, tape.own, played.entropy, tape.rows, caps=tape.caps, origin=tape.origin)
    for step in tape.steps:
        played.signed, played.drawn = iter(step.signed), iter(step.drawn)
        effects, error = list[Effect](), ""
        try:
            effects = core.step(step.event, step.now)
        except LocalProtocolError as raised:
            error = str(raised)
        yield step, effects, (effects_digest(effects), error) == (step.digest, step.error)
