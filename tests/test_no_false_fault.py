"""Whatever crashes, restarts, links and clocks do: nothing that honest nodes sign proves a fault, and each receipt holds."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import pytest

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import Record
from protocol.envelope import envelope_id, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.events import Deliver, Effect, PeerLost, Persist, Publish, Send
from protocol.faults import Fault
from protocol.ledger import parse_entry
from protocol.messages import DIRECT, Award, Bid, BidAck
from protocol.own_ledger import TABLE as OWN
from protocol.receipt import Receipt, StepReceipt
from protocol.verification import verify
from simnet.draws import Stream
from simnet.host import Host
from simnet.links import Link
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, failing, liar, record, solver

SLOW = solver(EXPERT, 9_000)
NODES = {
    "asks": solver({}),
    "expert": solver(EXPERT),
    "good": solver({"arith": 800}),
    "slow": SLOW,
    "liar": liar(),
    "fails": failing,
}


class Signed:
    """Everything that the nodes of a world signed, by kind and by what two of a sort have in common."""

    def __init__(self, world: World) -> None:
        self.pairs: dict[tuple[object, ...], set[bytes]] = defaultdict(set)
        self.commits: dict[tuple[object, ...], bytes] = {}
        self.reveals: list[tuple[tuple[object, ...], bytes]] = []
        self.receipts: list[bytes] = []
        world.observer = self.see

    def see(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Send | Publish):
            self.take(effect.data)
        elif isinstance(effect, Persist) and effect.table == OWN and effect.value is not None:
            self.pairs["equivocation", host.key, parse_entry(effect.value).number].add(effect.value)
        elif isinstance(effect, Deliver) and effect.receipt:
            self.receipts.append(effect.receipt)
            for step in Receipt.open(effect.receipt).steps:
                for data in StepReceipt.parse(step).transcript:
                    self.take(data)  # what a node says to itself goes no other way

    def take(self, data: bytes) -> None:
        envelope = open_envelope(data)
        if envelope.type == Record.TYPE:
            self.pairs["records", envelope.sender, Record.parse(envelope.body).sequence].add(data)
            return
        kind = DIRECT.get(envelope.type)
        match kind.parse(envelope.body) if kind is not None else None:
            case Award() as award:
                self.pairs["awards", envelope.sender, award.beacon].add(data)
            case CommitSet() as sealed:
                self.pairs["commit_sets", envelope.sender, sealed.step_id, sealed.round].add(data)
            case Commit() as commit:
                self.commits[envelope.sender, commit.award, commit.round] = data
            case Reveal() as reveal:
                self.reveals.append(((envelope.sender, reveal.award, reveal.round), data))

    def suspicions(self) -> list[Fault]:
        """All that somebody who wished them ill could try."""
        found = [Fault.of(str(key[0]), *two) for key, all_ in self.pairs.items() for two in combinations(sorted(all_), 2)]
        found += [Fault.of("opening", self.commits[key], data) for key, data in self.reveals]
        for receipt in self.receipts:
            for fields in Receipt.open(receipt).steps:
                found += self._dropped(StepReceipt.parse(fields))
        return found

    @staticmethod
    def _dropped(step: StepReceipt) -> list[Fault]:
        bids, acks, awards = {}, [], []
        for data in step.transcript:
            envelope = open_envelope(data)
            if envelope.type == Bid.TYPE:
                bids[envelope.id] = data
            elif envelope.type == BidAck.TYPE:
                acks.append((BidAck.parse(envelope.body).bid, data))
            elif envelope.type == Award.TYPE:
                awards.append(data)
        return [
            Fault.of("dropped_bid", bids[bid], ack, award, view) for bid, ack in acks for award in awards for view in step.views
        ]


@pytest.mark.parametrize("seed", range(4))
def test_honest_nodes__sign_nothing_that_proves_a_fault(seed: int) -> None:
    world = World(PARAMETERS, seed, Link(loss_permille=100))
    signed = Signed(world)
    hosts = [world.add(name, record("arith"), solve) for name, solve in NODES.items()]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=4_000)
    draws = Stream(seed, "course")
    for number in range(24):
        asker = hosts[draws.below(2)]
        if asker.up:
            world.ask(asker, exercise("arith", number).text, deadline_ms=12_000)
        world.run(for_ms=draws.below(700))
        victim = hosts[draws.below(len(hosts))]
        match draws.below(4):
            case 0 if victim.up:
                world.crash(victim)
                world.restart(victim)
                world.join(victim, hosts[0] if victim is not hosts[0] else hosts[1])
            case 1:
                victim.skew_ms += draws.below(12_000) - 6_000
            case 2:
                other = hosts[draws.below(len(hosts))]
                world.after(0, victim, PeerLost(other.key))
            case _:
                world.run(for_ms=3_000)
    world.run(for_ms=20_000)
    suspicions = signed.suspicions()
    assert {fault.kind for fault in suspicions} >= {"awards", "commit_sets", "opening", "dropped_bid"}
    for fault in suspicions:
        with pytest.raises(RemoteProtocolError):
            fault.check(PARAMETERS.network)
    assert [host.core.faults.accused() for host in hosts] == [[]] * len(hosts)
    assert len(signed.receipts) > 8
    for receipt in signed.receipts:
        assert verify(receipt, [PARAMETERS]).failure is None
    assert len({envelope_id(receipt) for receipt in signed.receipts}) == len(signed.receipts)
