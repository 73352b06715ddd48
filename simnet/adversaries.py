"""Nodes that break the rules, or bend them: each policy is a host whose core is the honest one, and what it does besides.

An adversary signs with its own key alone: what it could do with anybody else's does not exist here, as it does not outside.
Over-claimers need no host of their own, only another record. Until its policy begins, each of them is honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from protocol import canonical, exercises
from protocol.ballot import Commit, Reveal
from protocol.capability import Record
from protocol.constants import LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX, RECORDS_SHARED_MAX, TOKENS_GENERAL, WINDOW_MS_MAX
from protocol.envelope import Envelope, open_envelope, seal
from protocol.errors import RemoteProtocolError
from protocol.events import Effect, Infer, Input, Instant, MessageReceived, Send
from protocol.faults import Fault
from protocol.identity import SIGNATURE_SIZE
from protocol.ledger import DOMAIN as ENTRY_DOMAIN
from protocol.ledger_messages import Entries, Heads, Pull
from protocol.messages import DIRECT, Beacon, Bid
from protocol.outbox import BEACONS, HEADS, RECORDS
from protocol.schema import Message
from protocol.seek import Seek
from simnet.draws import Draws
from simnet.host import Host, Solution
from simnet.solvers import KINDS, solver
from simnet.world import WALL_MS

if TYPE_CHECKING:
    from simnet.world import World

_KEPT_MAX: Final = 64
_BEACONS_MAX: Final = 512
# What an accuser and a leech send to each in one turn, and how often a leech names another head.
_PROOFS: Final = 2
_AT_ONCE: Final = 8
_LEECH_US: Final = 20_000_000
# What follows on another question as closely is taken for an audit.
_BURST_MS: Final = 300
# After so many turns an equivocator goes back: its peers have heard of what it wrote by then.
_ACTS_AHEAD: Final = 4
# What all colluders say instead: the same step away from the right answer.
LIAR: Final = solver(KINDS["liar"])


def _type_of(data: bytes) -> str:
    try:
        return open_envelope(data).type
    except RemoteProtocolError:
        return ""


class Adversary(Host):
    """An honest core until `begun`; `lie_permille` is how much its policy touches; `act` is called every `period_ms` then.

    `touched` counts what the policy did, so that one that does nothing is seen.
    """

    period_ms: ClassVar[int | None] = None
    lie_permille = 1_000
    begun = False
    touched = 0

    def begin(self) -> None:
        """Be honest no longer."""
        self.begun = True

    def touches(self, what: bytes) -> bool:
        """Whether a thing is in the part that is touched: the same part for all adversaries."""
        if not self.begun or not self._is_chosen(what):
            return False
        self.touched += 1
        return True

    def _is_chosen(self, what: bytes) -> bool:
        return int.from_bytes(hashlib.sha256(b"touch" + what).digest()[:4], "big") % 1_000 < self.lie_permille

    def act(self, world: World) -> None:
        """Do what the policy does by itself."""

    def heard_of(self, event: Input, kinds: tuple[str, ...]) -> bool:
        """Whether an input is a message of these types from a peer of the part that is touched."""
        if not self.begun or not isinstance(event, MessageReceived) or event.source is None:
            return False
        return _type_of(event.data) in kinds and self.touches(event.source)

    def ask(self, world: World) -> None:
        """Ask something, as an owner would."""
        self.questions += 1
        world.ask(self, exercises.generate("arith", 1, self.questions).text)

    questions = 0

    def _said(self, effect: Send, message: Message, later_ms: int) -> Send:
        """The same effect with another message, signed anew and dated so much later."""
        envelope = open_envelope(effect.data)
        issued_ms = envelope.issued_ms + later_ms
        network = self.parameters.network
        data = seal(self.signer, network, message.TYPE, envelope.to, message.body(), issued_ms, LIFETIME_MS_MAX)
        return Send(effect.effect, effect.peer, data)


class FreeRider(Adversary):
    """Takes awards and never answers: its model never ends."""

    def _carry_out(self, effect: Effect) -> None:
        if not (isinstance(effect, Infer) and self.touches(effect.question.encode())):
            super()._carry_out(effect)


class Withholder(Adversary):
    """Commits to answers and does not open them."""

    def _carry_out(self, effect: Effect) -> None:
        if not (isinstance(effect, Send) and _type_of(effect.data) == Reveal.TYPE and self.touches(effect.data)):
            super()._carry_out(effect)


class Colluder(Adversary):
    """Lies as all colluders do, on the part that all of them choose alike."""

    def solved(self, effect: Infer) -> Solution:
        """Take the liar's answer for the part that is touched."""
        if not self.touches(effect.question.encode()):
            return super().solved(effect)
        return LIAR(effect.question, self._draws)


class Censor(Adversary):
    """A requester that does not hear the bids of a part of its peers."""

    period_ms = 5_000

    def act(self, world: World) -> None:
        """Ask."""
        self.ask(world)

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Let bids of the censored fall to the floor."""
        return [] if self.heard_of(event, (Bid.TYPE,)) else super().take(event, now)


class Slanderer(Adversary):
    """Asks and audits, and does not hear the answers of a part of its peers: to its own book they have failed."""

    period_ms = 5_000

    def act(self, world: World) -> None:
        """Ask; audits go before."""
        self.ask(world)

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Let answers of the slandered fall to the floor."""
        return [] if self.heard_of(event, (Commit.TYPE, Reveal.TYPE)) else super().take(event, now)


class AuditSpotter(Adversary):
    """Answers well what follows closely on another question, as audits do, and wrongly what comes alone."""

    _now_ms = _last_ms = -_BURST_MS

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Remember when it is."""
        self._now_ms = now.mono_ms
        return super().take(event, now)

    def solved(self, effect: Infer) -> Solution:
        """Spoil what is taken for real work."""
        last_ms, self._last_ms = self._last_ms, self._now_ms
        solution = super().solved(effect)
        if self._now_ms - last_ms <= _BURST_MS or not self.touches(effect.question.encode()):
            return solution
        return Solution(solution.text + "0", solution.elapsed_ms, solution.tokens, solution.error, solution.prompt_tokens)


class Equivocator(Adversary):
    """Goes on from an old copy of its disk and hears nobody who knows better: it signs other entries with one number."""

    period_ms = 5_000
    _old: dict[tuple[str, bytes], bytes] | None = None
    _acts = 0

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Once it has gone back, let what others hold of its ledger fall to the floor."""
        if self.touched and isinstance(event, MessageReceived) and _type_of(event.data) in (Heads.TYPE, Entries.TYPE):
            return []
        return super().take(event, now)

    def act(self, world: World) -> None:
        """Keep a copy, write on by asking, and later go back to it, once."""
        self._acts += 1
        if self._acts == 1:
            self._old = dict(self.disk)
        if self._acts == _ACTS_AHEAD and self._old is not None:
            self.touched += 1
            world.crash(self)
            self.disk = dict(self._old)
            world.restart(self)
        else:
            self.ask(world)


class Flooder(Adversary):
    """Sends beacons as fast as gossip takes them, for questions that it never awards."""

    period_ms = 20

    def act(self, world: World) -> None:
        """One more."""
        self.touched += 1
        task = hashlib.sha256(self.key + self.touched.to_bytes(8, "big")).digest()[:16]
        beacon = Beacon(
            task, 0, 0, "general", "text", bytes(32), 3, TOKENS_GENERAL, WINDOW_MS_MAX, 60_000, self.parameters.revision
        )
        wall_ms = WALL_MS + world.now_us // 1_000
        network = self.parameters.network
        world.gossip(self, BEACONS, seal(self.signer, network, Beacon.TYPE, BEACONS, beacon.body(), wall_ms, LIFETIME_MS_MAX))


class Replayer(Adversary):
    """Sends again what it heard, to others and to all, and the same with a bit changed."""

    period_ms = 200
    _heard: tuple[bytes, ...] = ()
    # Of beacons it keeps more: who was away for a while must not take again what it took before.
    _beacons: tuple[bytes, ...] = ()
    _lots: Draws | None = None

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Keep what comes; what comes by gossip it hands on at once, before others have it."""
        if isinstance(event, MessageReceived):
            self._heard = (*self._heard[-_KEPT_MAX:], event.data)
            if event.source is None and _type_of(event.data) == Beacon.TYPE:
                self._beacons = (*self._beacons[-_BEACONS_MAX:], event.data)
                for target in sorted(self.links) if self.begun else ():
                    self.network.deliver(self, target, event.data)
        return super().take(event, now)

    def act(self, world: World) -> None:
        """Send one of them again."""
        if not self._heard or not self.links:
            return
        lots = self._lots = self._lots or Draws(world.seed, f"replayer {self.name}")
        data = self._heard[lots.below(len(self._heard))]
        place = lots.below(len(data))
        changed = data[:place] + bytes([data[place] ^ 1 << lots.below(8)]) + data[place + 1 :]
        self.touched += 1
        world.forged.append(changed)
        target = sorted(self.links)[lots.below(len(self.links))]
        for each in (data, changed):
            world.deliver(self, target, each)
            world.gossip(self, BEACONS, each)
        if self._beacons:
            world.gossip(self, BEACONS, self._beacons[lots.below(len(self._beacons))])


class Switcher(Adversary):
    """Opens another answer than it was bound to."""

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send) and _type_of(effect.data) == Reveal.TYPE and self.touches(effect.data):
            reveal = open_envelope(effect.data).message(Reveal)
            effect = self._said(effect, replace(reveal, answer=None if reveal.answer else "0"), 0)
        super()._carry_out(effect)


class Stutterer(Adversary):
    """Says everything of a task twice, each time signed anew, so that no replay shows it."""

    def _carry_out(self, effect: Effect) -> None:
        super()._carry_out(effect)
        if isinstance(effect, Send) and (kind := DIRECT.get(_type_of(effect.data))) and self.touches(effect.data):
            super()._carry_out(self._said(effect, open_envelope(effect.data).message(kind), 1))


class Accuser(Adversary):
    """Accuses honest nodes with proofs that prove nothing: two things that one rightly said, or one that it did not say."""

    period_ms = 1_000
    _pairs: Mapping[str, str] = MappingProxyType(
        {"award": "awards", "commit_set": "commit_sets", "record": "records", "entry": "equivocation"}
    )
    _last: dict[tuple[str, bytes], bytes] | None = None
    _proofs: tuple[Fault, ...] = ()

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Put together what comes from one author."""
        if self.begun and isinstance(event, MessageReceived):
            kind = _type_of(event.data)
            if kind in self._pairs:
                envelope = open_envelope(event.data)
                self._pair(kind, envelope.sender, event.data)
                if kind == Record.TYPE and envelope.sender != self.key:
                    self._mix(envelope)
            elif kind == Entries.TYPE:
                message = open_envelope(event.data).message(Entries)
                for entry in message.entries[-2:]:
                    self._pair("entry", message.author, entry)
        return super().take(event, now)

    def _pair(self, kind: str, author: bytes, data: bytes) -> None:
        self._last = self._last or {}
        before = self._last.get((kind, author))
        self._last[kind, author] = data
        if before not in (None, data) and author != self.key:
            self._proofs = (*self._proofs[-_KEPT_MAX:], Fault.of(self._pairs[kind], before or b"", data))

    def _mix(self, envelope: Envelope) -> None:
        """A record of its own with the number of another's."""
        record = replace(envelope.message(Record), model="another")
        data = seal(
            self.signer, envelope.network, Record.TYPE, RECORDS, record.body(), envelope.issued_ms, RECORD_LIFETIME_MS_MAX
        )
        self._proofs = (*self._proofs[-_KEPT_MAX:], Fault.of("records", envelope.data, data))

    def act(self, world: World) -> None:
        """Tell peers of the latest, on their channels: what gossip carries is checked before it is passed on."""
        wall_ms, network = WALL_MS + world.now_us // 1_000, self.parameters.network
        for fault in self._proofs[-_PROOFS:]:
            for target in sorted(self.links):
                self.touched += 1
                data = seal(self.signer, network, Fault.TYPE, target, fault.body(), wall_ms, LIFETIME_MS_MAX)
                world.deliver(self, target, data)
        self._proofs = ()


class Forger(Adversary):
    """Hands out its ledger with entries that do not follow the ones before them, each with its own signature."""

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Send) and _type_of(effect.data) == Entries.TYPE and self.touches(effect.data):
            message = open_envelope(effect.data).message(Entries)
            if message.author == self.key and message.entries:
                forged = replace(message, entries=(*message.entries[:-1], self._unlinked(message.entries[-1])))
                effect = self._said(effect, forged, 0)
        super()._carry_out(effect)

    def _unlinked(self, data: bytes) -> bytes:
        fields = canonical.decode(data[SIGNATURE_SIZE:])
        assert isinstance(fields, dict)
        payload = canonical.encode(fields | {"previous": hashlib.sha256(data).digest()})
        return self.signer.sign(ENTRY_DOMAIN + payload) + payload


class Leech(Adversary):
    """Asks for entries and records far beyond its rations, says to hold many more than it has, and gives none."""

    period_ms = 500

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Let pulls fall to the floor."""
        return [] if self.heard_of(event, (Pull.TYPE,)) else super().take(event, now)

    def act(self, world: World) -> None:
        """Claim and pull, of the same peers each time."""
        wall_ms, number = WALL_MS + world.now_us // 1_000, 1_000 + world.now_us // _LEECH_US
        for target in sorted(self.links)[:2]:
            self.touched += 1
            heads = Heads((self.key + number.to_bytes(8, "big") + hashlib.sha256(self.key).digest(),))
            messages: list[Message] = [heads] if world.now_us // _LEECH_US != (world.now_us - 500_000) // _LEECH_US else []
            messages += [*(Pull(target, 0, 1 + each) for each in range(_AT_ONCE)), Seek(RECORDS_SHARED_MAX)]
            for message in messages:
                network, to = self.parameters.network, HEADS if message is heads else target
                data = seal(self.signer, network, message.TYPE, to, message.body(), wall_ms, LIFETIME_MS_MAX)
                world.deliver(self, target, data)


HOSTS: Final[Mapping[str, type[Host]]] = MappingProxyType(
    {
        "colluder": Colluder,
        "free-rider": FreeRider,
        "withholder": Withholder,
        "censor": Censor,
        "slanderer": Slanderer,
        "audit-spotter": AuditSpotter,
        "equivocator": Equivocator,
        "flooder": Flooder,
        "replayer": Replayer,
        "switcher": Switcher,
        "stutterer": Stutterer,
        "accuser": Accuser,
        "leech": Leech,
        "forger": Forger,
    }
)
