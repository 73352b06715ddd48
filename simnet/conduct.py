"""What a node may say, and what it must hear: checkers of messages, each with a table of its own of what was said before.

None of them asks a core what it thinks: they go by what went over the wire, by specs/03-envelope.md, 05 to 08.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from protocol import canonical
from protocol.constants import (
    ACCEPT_MS_MAX,
    BEACON_MS,
    BEACONS_BURST,
    BEACONS_SPARE,
    CALIBRATION_MS_MAX,
    CLOCK_SKEW_MS_MAX,
    LEASE_MS,
    LIFETIME_MS_MAX,
    PULL_MS,
    PULL_TRIES_MAX,
    PULLS_BURST,
    REVEAL_MS_MAX,
    WATERMARK_STEP_MS,
)
from protocol.envelope import Envelope
from protocol.events import (
    AddressesChanged,
    Deliver,
    Dial,
    Effect,
    EffectDone,
    Input,
    PeerConnected,
    PeerLost,
    Send,
    TimerFired,
)
from simnet.checking import Checker
from simnet.host import Host
from simnet.queue import Guard
from simnet.world import DIAL_US, WALL_MS, World

# What an executor or a requester says under an award, and what leads to it.
_LEASE: Final = ("accept", "progress", "decline", "commit", "reveal")
_TASK: Final = ("beacon", "bid", "bid_ack", "award", *_LEASE, "cancel", "commit_set", "judge", "judgement", "refine")
# A wake-up may come in the same instant, and the end of a step a moment behind its beginning.
_SLACK_US: Final = 100_000
# What is due at one time is done by then, whatever follows from it.
_WAKES_MAX: Final = 1_000
_NEVER_US: Final = 1 << 62
_AGE_US: Final = 1_000 * (LIFETIME_MS_MAX + 2 * CLOCK_SKEW_MS_MAX)

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """A table that forgets what is older than any message may be, so that a long run does not fill the memory."""

    def __init__(self) -> None:
        self._new: dict[_Key, _Value] = {}
        self._old: dict[_Key, _Value] = {}
        self._turn_us = _AGE_US

    def put(self, key: _Key, value: _Value, now_us: int) -> None:
        """Note something."""
        if now_us >= self._turn_us:
            self._old, self._new, self._turn_us = self._new, {}, now_us + _AGE_US
        self._new[key] = value

    def get(self, key: _Key) -> _Value | None:
        """What was noted, None if nothing was or it is long over."""
        found = self._new.get(key)
        return self._old.get(key) if found is None else found


@dataclass(slots=True)
class _Life:
    """One life of a host, from a start to a crash: its channels, and how many messages of each type it has counted.

    `restarted_ms` is its clock when it came back; 0 in its first life.
    """

    guard: Guard
    restarted_ms: int
    channels: set[bytes] = field(default_factory=set)
    handled: Counter[str] = field(default_factory=Counter)


class _Lives:
    """The life that each host is in."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}

    def of(self, world: World, host: Host) -> _Life:
        """That of `host`; a new one from its first input on."""
        life = self._lives.get(host.index)
        if life is None or life.guard is not host.life:
            life = self._lives[host.index] = _Life(host.life, 0 if life is None else _wall_ms(world, host))
        return life


def _wall_ms(world: World, host: Host) -> int:
    return WALL_MS + world.now_us // 1_000 + host.skew_ms


def _is_honest(world: World, key: object) -> bool:
    host = world.hosts.get(key) if isinstance(key, bytes) else None
    return host is not None and host.honest


class Heard(Checker):
    """What comes is handled once, and only if it may be; what an honest node says for the first time is heard."""

    name = "heard"
    inputs = (AddressesChanged, PeerConnected, PeerLost)
    sent = ("beacon",)
    heard = _TASK

    def __init__(self) -> None:
        super().__init__()
        self._lives = _Lives()
        self._published: Recent[bytes, bool] = Recent()
        # By host and id: in which life it was handled, and whether it was issued by a clock that was not ahead.
        self._handled: Recent[tuple[int, bytes], tuple[Guard, bool]] = Recent()

    def on_input(self, world: World, host: Host, event: Input) -> None:
        """Keep the table of channels."""
        channels = self._lives.of(world, host).channels
        if isinstance(event, PeerConnected):
            channels.add(event.peer)
        elif isinstance(event, PeerLost):
            channels.discard(event.peer)

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:  # noqa: ARG002
        """Keep what was published."""
        self._published.put(envelope.data, True, world.now_us)  # noqa: FBT003  a table of what there is

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """Compare what the core did with what the checks 6 to 11 of specs/03-envelope.md say."""
        life, wall_ms = self._lives.of(world, host), _wall_ms(world, host)
        count, place = host.core.received[envelope.type], (host.index, envelope.id)
        handled, life.handled[envelope.type] = count > life.handled[envelope.type], count
        before, honest = self._handled.get(place), _is_honest(world, envelope.sender)
        is_fresh = envelope.issued_ms - CLOCK_SKEW_MS_MAX <= wall_ms < envelope.expires_ms + CLOCK_SKEW_MS_MAX
        if envelope.type == "beacon":
            is_mine = envelope.sender in life.channels
            is_whole = not honest or self._published.get(envelope.data) is not None
        else:
            is_mine, is_whole = envelope.to == host.key, source == envelope.sender or not honest
        if handled:
            if before is not None and self._is_replay(life, envelope, *before):
                self.report(world, host, f"handled one {envelope.type} twice")
            elif not (is_fresh and is_mine and is_whole and source in (None, envelope.sender)):
                self.report(world, host, f"handled a {envelope.type} that is forged, over, not for it, or came by another")
            self._handled.put(place, (host.life, envelope.issued_ms <= wall_ms), world.now_us)
        elif before is None and honest and is_fresh and is_mine and is_whole and source in (None, envelope.sender):
            is_new = not life.restarted_ms or envelope.issued_ms > life.restarted_ms + WATERMARK_STEP_MS
            if is_new:
                self.report(world, host, f"did not hear a {envelope.type} of {world.hosts[envelope.sender].name}")

    @staticmethod
    def _is_replay(life: _Life, envelope: Envelope, guard: Guard, by_then: bool) -> bool:  # noqa: FBT001
        """Whether what was handled must not be again; after a restart the watermark is bounded by the node's own clock."""
        return guard is life.guard or (by_then and envelope.issued_ms <= life.restarted_ms + WATERMARK_STEP_MS)


class Channels(Checker):
    """A node speaks to those alone to whom it has a channel, as far as it was told."""

    name = "channels"
    effects = (Send,)
    inputs = (AddressesChanged, PeerConnected, PeerLost)

    def __init__(self) -> None:
        super().__init__()
        self._lives = _Lives()

    def on_input(self, world: World, host: Host, event: Input) -> None:
        """Keep the table of channels."""
        channels = self._lives.of(world, host).channels
        if isinstance(event, PeerConnected):
            channels.add(event.peer)
        elif isinstance(event, PeerLost):
            channels.discard(event.peer)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Look whom it sends to."""
        if isinstance(effect, Send) and effect.peer not in self._lives.of(world, host).channels:
            self.report(world, host, f"sends to {effect.peer.hex()[:8]}, to whom it has no channel")


class Founded(Checker):
    """Each message of a task follows from one that was really said: a bid from a beacon, an award from a bid, and so on."""

    name = "founded"
    sent = ("beacon", "bid", "bid_ack", "award", *_LEASE, "commit_set")
    heard = ("commit_set",)

    def __init__(self) -> None:
        super().__init__()
        # By id: who said it to whom (None: to all), and its type. By speaker and step: bids. By award: the last commitment.
        self._said: Recent[bytes, tuple[bytes, object, str]] = Recent()
        self._bids: Recent[tuple[bytes, object, Hashable], Guard] = Recent()
        self._bound: Recent[tuple[bytes, Hashable, int], bytes] = Recent()
        self._sealed: Recent[tuple[bytes, object, Hashable, int], bytes] = Recent()

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """Keep what a set binds its hearer to."""
        for peer, commitment in _rows(envelope.body.get("members")):
            if peer == host.key and source is not None:
                key = host.key, source, _step(envelope), _int(envelope, "round")
                if self._sealed.get(key) is None:
                    self._sealed.put(key, commitment, world.now_us)

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Look what a message names."""
        body, kind, now_us = envelope.body, envelope.type, world.now_us
        named = {"bid": "beacon", "bid_ack": "bid", "award": "bid"}.get(kind, "award" if kind in _LEASE else None)
        if named is not None and _is_honest(world, envelope.to):
            said = self._said.get(_bytes(body.get(named)))
            if said is None or said[0] != envelope.to or said[1] not in (None, host.key) or said[2] != named:
                self.report(
                    world, host, f"a {kind} names a {named} that {world.hosts[_bytes(envelope.to)].name} did not send it"
                )
        self._said.put(envelope.id, (host.key, None if kind == "beacon" else envelope.to, kind), now_us)
        if kind == "bid":
            place = host.key, envelope.to, _step(envelope)
            if self._bids.get(place) is host.life and _is_honest(world, envelope.to):
                self.report(world, host, "bids twice for one step")
            self._bids.put(place, host.life, now_us)
        elif kind == "commit":
            self._bound.put((host.key, _step(envelope), _int(envelope, "round")), _bytes(body["commitment"]), now_us)
        elif kind == "commit_set":
            self._check_set(world, host, envelope)
        elif kind == "reveal":
            self._check_reveal(world, host, envelope)

    def _check_set(self, world: World, host: Host, envelope: Envelope) -> None:
        """Every member has committed to what the set says before."""
        for peer, commitment in _rows(envelope.body["members"]):
            bound = self._bound.get((peer, _step(envelope), _int(envelope, "round")))
            if peer != host.key and _is_honest(world, peer) and bound != commitment:
                self.report(world, host, f"seals what {world.hosts[peer].name} did not commit to")

    def _check_reveal(self, world: World, host: Host, envelope: Envelope) -> None:
        """Opened is what was committed to, after a set that holds it."""
        number = _int(envelope, "round")
        bound = self._bound.get((host.key, _step(envelope), number))
        if _commitment(envelope, host.key) != bound:
            self.report(world, host, "opens another answer than it committed to")
        elif self._sealed.get((host.key, envelope.to, _step(envelope), number)) != bound:
            self.report(world, host, "opens an answer before a set binds it")


class ProofsTaken(Checker):
    """Who is shown an opening that does not match what its own set binds holds the proof of it from then on."""

    name = "proofs-taken"
    sent = ("commit_set", "cancel")
    heard = ("reveal",)

    def __init__(self) -> None:
        super().__init__()
        self._sealed: Recent[tuple[int, bytes, Hashable, int], bytes] = Recent()
        self._cancelled: Recent[tuple[int, bytes], bool] = Recent()

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Keep what a set binds, and which awards were taken back."""
        if envelope.type == "cancel":
            self._cancelled.put((host.index, _bytes(envelope.body["award"])), True, world.now_us)  # noqa: FBT003
            return
        for peer, commitment in _rows(envelope.body["members"]):
            self._sealed.put((host.index, peer, _step(envelope), _int(envelope, "round")), commitment, world.now_us)

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """Compare an opening."""
        if source is None or source != envelope.sender or self._cancelled.get((host.index, _bytes(envelope.body.get("award")))):
            return
        bound = self._sealed.get((host.index, source, _step(envelope), _int(envelope, "round")))
        if bound not in (None, _commitment(envelope, source)) and not host.core.is_faulty(source):
            self.report(world, host, f"holds no proof against {world.hosts[source].name}, which opened another answer to it")


def _commitment(envelope: Envelope, peer: bytes) -> bytes:
    """What a reveal opens."""
    body = envelope.body
    said = [body.get(name) for name in ("task", "plan", "step", "round")]
    fields = [envelope.network, *said, peer, body.get("nonce"), body.get("answer")]
    return hashlib.sha256(b"tutti/commitment/1\x00" + canonical.encode(fields)).digest()


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _int(envelope: Envelope, name: str) -> int:
    value = envelope.body.get(name)
    return value if isinstance(value, int) else -1


def _step(envelope: Envelope) -> tuple[bytes, int, int]:
    return _bytes(envelope.body.get("task")), _int(envelope, "plan"), _int(envelope, "step")


def _rows(value: object) -> list[tuple[bytes, bytes]]:
    rows = value if isinstance(value, list | tuple) else ()
    return [(_bytes(row[0]), _bytes(row[1])) for row in rows if isinstance(row, list | tuple) and len(row) == 2]  # noqa: PLR2004


@dataclass(slots=True)
class _Lease:
    """An award as its requester must see it: until when something has to come."""

    guard: Guard
    peer: bytes
    due_us: int
    committed: bool = False


class LeasesExpire(Checker):
    """A lease without a sign of life ends in time, by the checker's own clock: nobody waits for one that is silent."""

    name = "leases-expire"
    inputs = (PeerLost,)
    sent = ("award", "cancel", "commit_set")
    heard = _LEASE

    def __init__(self) -> None:
        super().__init__()
        self._leases: dict[tuple[int, bytes], _Lease] = {}
        # Those of a host by its seat's holder and step, for sets and lost channels.
        self._held: dict[int, dict[bytes, set[bytes]]] = {}
        self._steps: dict[tuple[int, bytes], tuple[bytes, int, int]] = {}

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """An award begins a lease, a set asks for an opening, a cancel ends it."""
        if envelope.type == "award":
            self._begin(world, host, envelope)
        elif envelope.type == "cancel":
            self._end(world, host, _bytes(envelope.body["award"]))
        else:
            members = {peer for peer, _ in _rows(envelope.body["members"])}
            for award in self._held.get(host.index, {}).get(_bytes(envelope.to), set()):
                if self._steps[host.index, award] == _step(envelope) and envelope.to in members:
                    self._wait(world, host, award, REVEAL_MS_MAX)

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:
        """A sign of life."""
        award = _bytes(envelope.body.get("award"))
        lease = self._leases.get((host.index, award))
        if lease is None or lease.peer != source:
            return
        if envelope.type in ("accept", "progress", "commit"):
            self._look(world, host, lease)
            if envelope.type == "commit" and not lease.committed:
                # Who has committed waits for the others.
                lease.committed, lease.due_us = True, _NEVER_US
            elif not lease.committed:
                lease.due_us = world.now_us + 1_000 * LEASE_MS
        else:
            self._end(world, host, award)

    def on_input(self, world: World, host: Host, event: Input) -> None:
        """A channel ended, and what was held over it."""
        if isinstance(event, PeerLost):
            for award in sorted(self._held.get(host.index, {}).get(event.peer, set())):
                self._end(world, host, award)

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Nothing may be overdue."""
        hosts = {host.index: host for host in honest}
        for (index, _), lease in sorted(self._leases.items()):
            self._look(world, hosts[index], lease)

    def _begin(self, world: World, host: Host, envelope: Envelope) -> None:
        peer, place = _bytes(envelope.to), (host.index, envelope.id)
        self._leases[place] = _Lease(host.life, peer, world.now_us + 1_000 * ACCEPT_MS_MAX)
        self._steps[place] = _step(envelope)
        self._held.setdefault(host.index, {}).setdefault(peer, set()).add(envelope.id)

    def _wait(self, world: World, host: Host, award: bytes, wait_ms: int) -> None:
        self._leases[host.index, award].due_us = world.now_us + 1_000 * wait_ms

    def _end(self, world: World, host: Host, award: bytes) -> None:
        lease = self._leases.pop((host.index, award), None)
        if lease is not None:
            self._look(world, host, lease)
            del self._steps[host.index, award]
            self._held[host.index][lease.peer].discard(award)

    def _look(self, world: World, host: Host, lease: _Lease) -> None:
        if lease.guard is host.life and host.up and world.now_us > lease.due_us + _SLACK_US:
            late_ms = (world.now_us - lease.due_us) // 1_000
            self.report(world, host, f"waits for {world.hosts[lease.peer].name} {late_ms} ms longer than a lease lives")


class Rations(Checker):
    """What a node sends to one peer, or publishes, keeps within the rations of specs/06-ledger.md and 07-beacon.md."""

    name = "rations"
    sent = ("beacon", "bid", "entries", "pull")
    heard = ("entries", "heads", "beacon")

    def __init__(self) -> None:
        super().__init__()
        # By host, peer and type: when the ration is full again.
        self._full_us: dict[tuple[int, object, str], int] = {}
        self._pulls: dict[tuple[int, object], tuple[object, int]] = {}

    _RATION: Final = {
        "beacon": (BEACON_MS, BEACONS_BURST - BEACONS_SPARE),
        "bid": (BEACON_MS, BEACONS_BURST),
        "entries": (PULL_MS, PULLS_BURST),
    }

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:  # noqa: ARG002
        """A peer that says something new may be asked again."""
        self._pulls.pop((host.index, envelope.sender), None)

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Take one from a ration."""
        if envelope.type == "pull":
            asked = envelope.body["author"], envelope.body["first"]
            before, times = self._pulls.get((host.index, envelope.to), (None, 0))
            times = times + 1 if before == asked else 1
            self._pulls[host.index, envelope.to] = asked, times
            if times > PULL_TRIES_MAX:
                self.report(world, host, f"asks {times} times for entries that do not come")
            return
        each_ms, burst = self._RATION[envelope.type]
        key = host.index, envelope.to, envelope.type
        full_us = max(self._full_us.get(key, 0), world.now_us) + 1_000 * each_ms
        self._full_us[key] = full_us
        if full_us - world.now_us > 1_000 * each_ms * (burst + 1):
            self.report(world, host, f"sends more {envelope.type} than one each {each_ms} ms and {burst} at once")


class Sleeps(Checker):
    """A node that was woken does what is due, and sleeps until later: not for ever in one instant."""

    name = "sleeps"
    inputs = (TimerFired, EffectDone)

    def __init__(self) -> None:
        super().__init__()
        self._woken: dict[int, tuple[int, int]] = {}

    def on_input(self, world: World, host: Host, event: Input) -> None:  # noqa: ARG002
        """Count how often it was woken at this time."""
        at_us, times = self._woken.get(host.index, (-1, 0))
        times = times + 1 if at_us == world.now_us else 1
        self._woken[host.index] = world.now_us, times
        if times > _WAKES_MAX:
            self.report(world, host, f"was woken {times} times in one instant")


class DialsEnd(Checker):
    """A dial that ended is not taken to be under way: else its peer is never dialled again."""

    name = "dials-end"
    effects = (Dial,)
    inputs = (AddressesChanged, EffectDone)

    def __init__(self) -> None:
        super().__init__()
        # By host, for its present life: when each dial began, None once it has ended.
        self._dials: dict[int, tuple[Guard, dict[int, int | None]]] = {}

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """A dial begins."""
        if isinstance(effect, Dial):
            self._of(host)[effect.effect] = world.now_us

    def on_input(self, world: World, host: Host, event: Input) -> None:
        """Look at the table of peers when one ends; one that begins in the same step is not shown yet."""
        dials = self._of(host)
        if isinstance(event, EffectDone) and event.effect in dials:
            dials[event.effect] = None
            self._look(world, host)

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """And at the end."""
        for host in honest:
            if host.up:
                self._look(world, host)

    def _of(self, host: Host) -> dict[int, int | None]:
        known = self._dials.get(host.index)
        if known is None or known[0] is not host.life:
            known = self._dials[host.index] = host.life, {}
        return known[1]

    def _look(self, world: World, host: Host) -> None:
        dials = self._of(host)
        for key, peer in host.core.peers.all():
            if peer.dialling in dials:
                begun_us = dials[peer.dialling]
                if begun_us is None or begun_us + DIAL_US + _SLACK_US < world.now_us:
                    self.report(world, host, f"still takes a dial of {key.hex()[:8]} to be under way that has ended")


class NewestRecord(Checker):
    """The newest record wins: what a node knows of an author never goes back; and no author numbers two records alike."""

    name = "newest-record"
    sent = ("record",)
    heard = ("record",)

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[int, bytes], tuple[Guard, int]] = {}
        self._own: dict[int, tuple[int, object]] = {}

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """An own record has a number above the last one's."""
        if envelope.sender != host.key:
            return
        number, body = _int(envelope, "sequence"), envelope.body
        last, said = self._own.get(host.index, (-1, None))
        if number < last or (number == last and body != said):
            self.report(world, host, f"its record number {number} comes after {last}, or says something else")
        self._own[host.index] = number, body

    def on_heard(self, world: World, host: Host, envelope: Envelope, source: bytes | None) -> None:  # noqa: ARG002
        """Look what the table of peers holds now."""
        peer = host.core.peers.get(envelope.sender)
        if peer is None or peer.record is None:
            return
        place, number = (host.index, envelope.sender), peer.record.sequence
        guard, last = self._known.get(place, (None, -1))
        if guard is host.life and number < last:
            self.report(world, host, f"goes back from record {last} of {envelope.sender.hex()[:8]} to {number}")
        self._known[place] = host.life, number


class InTime(Checker):
    """A question goes out within the time for audits, and has its outcome when its time is up."""

    name = "in-time"
    effects = (Deliver,)
    sent = ("beacon",)

    def __init__(self) -> None:
        super().__init__()
        self._out_us: Recent[bytes, int] = Recent()
        # What waits for the ration of beacons may go out later.
        self._full_us: dict[int, deque[int]] = {}

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Note when a task went out."""
        self._out_us.put(_bytes(envelope.body["task"]), world.now_us, world.now_us)
        times = self._full_us.setdefault(host.index, deque(maxlen=BEACONS_BURST - BEACONS_SPARE))
        times.append(world.now_us)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Compare times with those of the owner's request."""
        asked = host.asked.get(effect.request) if isinstance(effect, Deliver) else None
        if asked is None or not isinstance(effect, Deliver):
            return
        _, ends_us = asked
        if world.now_us > ends_us + _SLACK_US:
            self.report(
                world, host, f"request {effect.request.hex()} ends {(world.now_us - ends_us) // 1_000} ms after its deadline"
            )
        out_us = self._out_us.get(effect.outcome.task)
        begun_us = world.now_us - 1_000 * effect.outcome.latency_ms
        if out_us is None or len(self._full_us.get(host.index, ())) == BEACONS_BURST - BEACONS_SPARE:
            return
        if effect.outcome.plans:
            return  # its plans were asked for first
        if out_us - begun_us > 1_000 * CALIBRATION_MS_MAX + _SLACK_US:
            self.report(world, host, f"a question went out {(out_us - begun_us) // 1_000} ms after it was asked")
