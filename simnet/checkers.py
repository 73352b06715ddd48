"""What must hold in every run, whatever its scenario: one checker an invariant, each of which can fail.

A checker sees every effect of every honest node as it happens, and the whole world at the end, after everything that disturbs
it is over and it had time to settle. What it finds is a `Violation`: safety if something happened that never may, liveness if
something did not happen that must.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from protocol.allowance import DAY_MS, HOUR_MS
from protocol.ballot import Commit
from protocol.constants import CLOCK_SKEW_MS_MAX, HEADS_EACH_MS
from protocol.envelope import Envelope
from protocol.events import Deliver, Effect, Persist, Publish, Send
from protocol.ledger import parse_entry
from protocol.ledger_messages import Heads
from protocol.messages import Accept, Award
from protocol.outcome import OutcomeKind
from protocol.parameters import Parameters
from protocol.review import Judgement
from protocol.verification import verify
from simnet.bookkeeping import Chains, EvidenceOnce
from simnet.checking import Checker, Violation, opened
from simnet.conduct import (
    Channels,
    DialsEnd,
    Founded,
    Heard,
    InTime,
    LeasesExpire,
    NewestRecord,
    ProofsTaken,
    Rations,
    Recent,
    Sleeps,
)
from simnet.holdings import HOLDINGS
from simnet.host import Host
from simnet.introductions import Introductions
from simnet.oracles import check_receipt
from simnet.world import WALL_MS, World

__all__ = ["Checker", "Violation", "all_checkers"]

# A question ends at its deadline, give or take a wake-up.
_LATE_US: Final = 1_000_000
# A head is told within HEADS_EACH_MS, and what it names is pulled in a few round trips.
_UNDER_WAY_MS: Final = 2 * HEADS_EACH_MS
# A node that starts again with its clock put forward has its allowance back by so much sooner (protocol/allowance.py).
_CLOCKS_OFF_MS: Final = 600_000


class OneOutcome(Checker):
    """A question has one outcome, and one that its node lived through has one at all."""

    name = "one-outcome"
    effects = (Deliver,)

    def __init__(self) -> None:
        super().__init__()
        self._delivered: Counter[tuple[int, bytes]] = Counter()

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Count outcomes by request."""
        if isinstance(effect, Deliver):
            self._delivered[host.index, effect.request] += 1
            if self._delivered[host.index, effect.request] > 1:
                self.report(world, host, f"request {effect.request.hex()} has a second outcome")

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Nobody may still wait."""
        for host in honest:
            for request, (life, ends_us) in host.asked.items():
                if life.open and ends_us + _LATE_US < world.now_us and not self._delivered[host.index, request]:
                    self.report(world, host, f"request {request.hex()} never had an outcome")


class Rederives(Checker):
    """Whatever is decided can be derived again from its receipt by who trusts nobody in it: awards, votes, signatures."""

    name = "rederives"
    effects = (Deliver,)

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self._parameters = parameters

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Verify each receipt."""
        if isinstance(effect, Deliver) and effect.receipt:
            failure = verify(effect.receipt, [self._parameters]).failure
            if failure is not None:
                self.report(world, host, f"the receipt of {effect.request.hex()} does not hold: {failure}")


class Follows(Checker):
    """What a receipt says follows from its messages by the specs, worked out by code that no core shares."""

    name = "follows"
    effects = (Deliver,)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Look at each receipt."""
        if isinstance(effect, Deliver) and effect.receipt:
            wrong = check_receipt(effect.receipt)
            if wrong is not None:
                self.report(world, host, f"the receipt of {effect.request.hex()}: {wrong}")


class NoSeatTwice(Checker):
    """No bid is awarded twice."""

    name = "no-seat-twice"
    sent = (Award.TYPE,)

    def __init__(self) -> None:
        super().__init__()
        self._awarded: Recent[tuple[bytes, bytes], bytes] = Recent()

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Look at every award that leaves."""
        award = envelope.message(Award)
        if self._awarded.get((host.key, award.bid)) not in (None, envelope.id):
            self.report(world, host, f"bid {award.bid.hex()} was awarded twice")
        self._awarded.put((host.key, award.bid), envelope.id, world.now_us)


class Bounded(Checker):
    """Every node keeps its limits: none of its tables is larger than the constants say."""

    name = "bounded"
    effects = (Deliver,)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Look at the node while it works."""
        if isinstance(effect, Deliver):
            self._look(world, host)

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """And at the end."""
        for host in honest:
            self._look(world, host)

    def _look(self, world: World, host: Host) -> None:
        for what, count, most in HOLDINGS:
            if count(host) > most:
                self.report(world, host, f"has {count(host)} {what}, more than {most}")


class Budgets(Checker):
    """Nobody works more for others than its owner allows, over restarts too: so many requests an hour, so many tokens a day."""

    name = "budgets"
    sent = (Accept.TYPE, Commit.TYPE, Judgement.TYPE)

    def __init__(self) -> None:
        super().__init__()
        # By host what left it: when, requests, tokens.
        self._spent: dict[int, list[tuple[int, int, int]]] = {}

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:
        """Count what is accepted, judged and answered for others."""
        if not (host.caps.requests_per_hour or host.caps.tokens_per_day):
            return
        requests, tokens = _cost(envelope)
        spent = self._spent.setdefault(host.index, [])
        spent.append((world.now_us // 1_000, requests, tokens))
        for what, place, length_ms, most in (
            ("requests in an hour", 1, HOUR_MS, host.caps.requests_per_hour),
            ("tokens in a day", 2, DAY_MS, host.caps.tokens_per_day),
        ):
            begin_ms = spent[-1][0] - length_ms + _CLOCKS_OFF_MS
            taken = sum(each[place] for each in spent if each[0] > begin_ms)
            if most and spent[-1][place] and taken > most:
                self.report(world, host, f"took {taken} {what}, more than {most}")


def _cost(envelope: Envelope) -> tuple[int, int]:
    """Requests and tokens that a message says to have been spent on its receiver."""
    if envelope.type == Accept.TYPE:
        return 1, 0
    if envelope.type == Commit.TYPE:
        return 0, envelope.message(Commit).completion_tokens
    if envelope.type == Judgement.TYPE:
        return 1, envelope.message(Judgement).completion_tokens
    return 0, 0


class Recovers(Checker):
    """Some time after everything that disturbs is over, a question has an answer: those asked then are in `World.probes`."""

    name = "recovers"
    kind = "liveness"

    def on_end(self, world: World, honest: Sequence[Host]) -> None:  # noqa: ARG002  as all checkers
        """Look for what came of them."""
        for host, request in world.probes:
            outcome = host.outcomes.get(request)
            if outcome is None or outcome.kind not in (OutcomeKind.ANSWERED, OutcomeKind.UNEARNED):
                what = "nothing" if outcome is None else outcome.kind.value
                self.report(world, host, f"asked {request.hex()} after everything that disturbs was over: {what}")


class NoLeaseLost(Checker):
    """When no node has a question or an audit under way any more, nobody holds a lease."""

    name = "no-lease-lost"
    kind = "liveness"

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Nothing may be under way."""
        if any(host.up and host.core.tasks for host in world.hosts.values()):
            return
        for host in honest:
            if host.up and host.core.leases:
                self.report(world, host, f"still holds {host.core.leases} leases")


class LedgersConverge(Checker):
    """Who follows an honest node holds its whole ledger, but for what it wrote in the last seconds.

    A node follows whoever it has a channel to and knows the record of, as far as it has room (protocol/following.py). While one
    of both clocks is off their messages are refused, and a follower gives up: it is owed a ledger once it is told of it again.
    """

    name = "ledgers-converge"
    kind = "liveness"
    effects = (Send, Publish, Persist)

    def __init__(self) -> None:
        super().__init__()
        # When a clock was last seen to be off, and by author and follower when a head was last told.
        self._off_us: dict[int, int] = {}
        self._told_us: dict[tuple[int, bytes], int] = {}

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Note whose clock is off, and from then on who is told a head."""
        if abs(host.skew_ms) > CLOCK_SKEW_MS_MAX // 2:
            self._off_us[host.index] = world.now_us
        if self._off_us and isinstance(effect, Send):
            sent = opened(effect.data)
            if sent is not None and sent.type == Heads.TYPE:
                self._told_us[host.index, effect.peer] = world.now_us

    def _is_owed(self, author: Host, follower: Host) -> bool:
        off_us = max(self._off_us.get(author.index, -1), self._off_us.get(follower.index, -1))
        return off_us < 0 or self._told_us.get((author.index, follower.key), -1) > off_us

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Compare heads over every channel between honest nodes."""
        keys = {host.key for host in honest}
        old_ms = WALL_MS + world.now_us // 1_000 - _UNDER_WAY_MS
        for host in honest:
            chain = host.core.ledger.chain
            for key in sorted(host.links) if host.up else ():
                follower = world.hosts[key]
                held = follower.core.followed.get(host.key)
                if key not in keys or not self._is_owed(host, follower):
                    continue
                if held is None and not self._follows(follower, host.key):
                    continue
                first = chain.first if held is None else held.next
                missing = chain.get(first)
                if missing is not None and parse_entry(missing).wall_ms < old_ms:
                    self.report(world, follower, f"lacks entry {first} of {host.name}, which holds {chain.next}")

    @staticmethod
    def _follows(follower: Host, author: bytes) -> bool:
        core = follower.core
        known = core.peers.get(author) if core.peers.is_connected(author) else None
        return known is not None and known.record is not None and core.followed.has_room(author) and not core.is_faulty(author)


class FaultsKnown(Checker):
    """What is proven of a node is known to every honest node that has a channel to one who knows it."""

    name = "faults-known"
    kind = "liveness"

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Compare what neighbours know of nodes that both have met."""
        keys = {host.key for host in honest}
        for host in honest:
            if not host.up:
                continue
            for accused in host.core.faults.accused():
                if accused in keys:
                    self.report(world, host, f"holds a proof against {world.hosts[accused].name}, which is honest", "safety")
                for key in sorted(host.links):
                    other = world.hosts[key]
                    if key in keys and accused in other.core.peers.met() and not other.core.is_faulty(accused):
                        self.report(world, other, f"does not know what {host.name} can prove of {world.hosts[accused].name}")


class ForgeriesUnheard(Checker):
    """No bytes that nobody signed reach a decision: what adversaries forged stands in no receipt of an honest node."""

    name = "forgeries-unheard"
    effects = (Deliver,)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Look for forged envelopes in each receipt."""
        if isinstance(effect, Deliver) and effect.receipt and world.forged:
            for data in world.forged:
                if data in effect.receipt:
                    self.report(world, host, f"the receipt of {effect.request.hex()} holds an envelope that was forged")


def all_checkers(parameters: Parameters) -> list[Checker]:
    """One of each."""
    return [
        OneOutcome(),
        Rederives(parameters),
        Follows(),
        NoSeatTwice(),
        Bounded(),
        Budgets(),
        Recovers(),
        NoLeaseLost(),
        LedgersConverge(),
        FaultsKnown(),
        ForgeriesUnheard(),
        Heard(),
        Channels(),
        Founded(),
        ProofsTaken(),
        LeasesExpire(),
        Rations(),
        Introductions(),
        DialsEnd(),
        Sleeps(),
        NewestRecord(),
        InTime(),
        Chains(),
        EvidenceOnce(),
    ]
