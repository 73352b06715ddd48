"""What a checker is, and how it is shown what happens: only what it asked to see, so that an ordinary run hardly pays for it.

A checker names the effects, inputs and types of messages that it looks at. Each message is opened once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from protocol.canonical import decode
from protocol.envelope import OPENED, Envelope, envelope_id
from protocol.errors import RemoteProtocolError
from protocol.events import Effect, Input, MessageReceived, Publish, Send
from protocol.identity import SIGNATURE_SIZE
from simnet.host import Host
from simnet.world import World

Kind = Literal["safety", "liveness"]
# Enough to see what is wrong; a broken run would find millions.
VIOLATIONS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Violation:
    """What does not hold: by which checker, when (simulated milliseconds), where, and how."""

    kind: Kind
    checker: str
    at_ms: int
    node: str
    text: str


class Stopped(Exception):  # noqa: N818  no error: something was found
    """A checker that stops the run at once has found this."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


class Checker:
    """One invariant. `found` holds what broke it; `effects`, `inputs`, `sent` and `heard` say what it wants to see.

    It sees what honest nodes do and take, after the step in which they did; what is taken before what is done.
    """

    kind: Kind = "safety"
    name: ClassVar[str] = ""
    effects: ClassVar[tuple[type[Effect], ...]] = ()
    inputs: ClassVar[tuple[type[Input], ...]] = ()
    sent: ClassVar[tuple[str, ...]] = ()
    heard: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.found: list[Violation] = []
        # Whether what it finds ends the run, as `Stopped`.
        self.stops = False

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """An honest node wants something done."""

    def on_input(self, world: World, host: Host, event: Input) -> None:
        """An honest node took something in."""

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """An honest node sends a message to a peer, or publishes it."""

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """A message came to an honest node, on the channel of `source` or by gossip; its signature may not hold."""

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """The run is over and has settled."""

    def report(self, world: World, host: Host, text: str, kind: Kind | None = None) -> None:
        """Note a violation."""
        violation = Violation(kind or self.kind, self.name, world.now_us // 1_000, host.name, text)
        if self.stops:
            raise Stopped(violation)
        if len(self.found) < VIOLATIONS_MAX:
            self.found.append(violation)


_OnSent = Callable[[World, Host, Envelope], None]
_OnHeard = Callable[[World, Host, Envelope, bytes | None], None]


class Watcher:
    """Shows `checkers` what the `honest` nodes of a world (by index) do and take."""

    def __init__(self, world: World, checkers: Sequence[Checker], honest: Collection[int]) -> None:
        self._world = world
        self._honest = honest
        self._effects: dict[type, list[Callable[[World, Host, Effect], None]]] = {}
        self._inputs: dict[type, list[Callable[[World, Host, Input], None]]] = {}
        self._sent: dict[str, list[_OnSent]] = {}
        self._heard: dict[str, list[_OnHeard]] = {}
        for checker in checkers:
            for effect in checker.effects:
                self._effects.setdefault(effect, []).append(checker.on_effect)
            for event in checker.inputs:
                self._inputs.setdefault(event, []).append(checker.on_input)
            for kind in checker.sent:
                self._sent.setdefault(kind, []).append(checker.on_sent)
            for kind in checker.heard:
                self._heard.setdefault(kind, []).append(checker.on_heard)

    def on_effect(self, host: Host, effect: Effect) -> None:
        """Show an effect."""
        if host.index not in self._honest:
            return
        world = self._world
        for look in self._effects.get(type(effect), ()):
            look(world, host, effect)
        if isinstance(effect, Send | Publish) and self._sent:
            sent = opened(effect.data)
            if sent is not None:
                for on_sent in self._sent.get(sent.type, ()):
                    on_sent(world, host, sent)

    def on_input(self, host: Host, event: Input) -> None:
        """Show an input."""
        if host.index not in self._honest:
            return
        world = self._world
        for look in self._inputs.get(type(event), ()):
            look(world, host, event)
        if isinstance(event, MessageReceived) and self._heard:
            heard = opened(event.data)
            if heard is not None:
                for on_heard in self._heard.get(heard.type, ()):
                    on_heard(world, host, heard, event.source)


def opened(data: bytes) -> Envelope | None:
    """What these bytes say that they are, whether their signature holds or not; None if that cannot be read."""
    try:
        # Whoever took them has opened them a moment ago, if they are whole.
        return OPENED.get(data, _unknown)
    except LookupError:
        return _read(data)


def _unknown() -> Envelope:
    raise LookupError


def _read(data: bytes) -> Envelope | None:
    try:
        fields = decode(data[SIGNATURE_SIZE:])
    except RemoteProtocolError:
        return None
    match fields:
        case {
            "network": bytes(network),
            "type": str(kind),
            "sender": bytes(sender),
            "to": bytes() | str() as to,
            "issued_ms": int(issued_ms),
            "expires_ms": int(expires_ms),
            "body": dict(body),
        }:
            return Envelope(envelope_id(data), network, kind, sender, to, issued_ms, expires_ms, body, data)
    return None
