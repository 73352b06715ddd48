"""Nodes that break the rules, or bend them: each policy is a host whose core is the honest one, and what it does besides.

An adversary signs with its own key alone: what it could do with anybody else's does not exist here, as it does not outside.
Over-claimers need no host of their own, only another record. Until its policy begins, each of them is honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from protocol import exercises
from protocol.ballot import Commit, Reveal
from protocol.constants import LIFETIME_MS_MAX, TOKENS_GENERAL, WINDOW_MS_MAX
from protocol.envelope import open_envelope, seal
from protocol.errors import RemoteProtocolError
from protocol.events import Effect, Infer, Input, Instant, MessageReceived, Send
from protocol.ledger_messages import Entries, Heads
from protocol.messages import Beacon, Bid
from protocol.outbox import BEACONS
from simnet.draws import Draws
from simnet.host import Host, Solution
from simnet.solvers import KINDS, solver
from simnet.world import WALL_MS

if TYPE_CHECKING:
    from simnet.world import World

_KEPT_MAX: Final = 64
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
    _lots: Draws | None = None

    def take(self, event: Input, now: Instant) -> list[Effect]:
        """Keep what comes."""
        if isinstance(event, MessageReceived):
            self._heard = (*self._heard[-_KEPT_MAX:], event.data)
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
    }
)
