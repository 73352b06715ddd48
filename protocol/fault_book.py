"""The faults that this node knows of: found, heard, kept, handed on (specs/11-receipt.md).

A proof about a peer that was met or has evidence is kept for ever. A key without either is worth no more than a fresh one,
so of those a bounded number is kept, and nobody can fill a disk with keys made to be faulty.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from protocol.constants import (
    FAULT_AGAIN_MS,
    FAULT_MS,
    FAULT_SIZE_MAX,
    FAULT_TOLD_AGAIN,
    FAULTS_BURST,
    FAULTS_OTHERS_MAX,
    FAULTS_SHARED_MAX,
    LEASES_MAX,
)
from protocol.envelope import Envelope
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Persist
from protocol.faults import KINDS, Fault
from protocol.lots import SEED_SIZE, lot_of
from protocol.messages import Award
from protocol.outbox import Outbox
from protocol.rates import Bucket

TABLE: Final = "faults"


class FaultBook:
    """One proof of each kind against each accused. `known` are the peers that were met or have evidence.

    `connected` are those with a channel. `note` is given what this node itself found: the key of the accused and the id of the
    proof.
    """

    def __init__(
        self,
        outbox: Outbox,
        entropy: Callable[[int], bytes],
        known: Callable[[], frozenset[bytes]],
        connected: Callable[[], list[bytes]],
        note: Callable[[bytes, bytes], None],
    ) -> None:
        self._outbox = outbox
        self._entropy = entropy
        self._connected = connected
        self._known = known
        self._note = note
        # Awards that this node took, by requester and bid: no bid has two.
        self._awards: dict[tuple[bytes, bytes], bytes] = {}
        # In the order in which they were learned.
        self._found: dict[bytes, dict[str, Fault]] = {}
        # Of whom some peers are to be told, and when, the earliest first.
        self._again: dict[bytes, int] = {}
        # Changes with every change of it, so that what was computed from it can be kept.
        self.version = 0
        self._gossiped = Bucket(FAULT_MS, FAULTS_BURST)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, peer: bytes) -> bool:
        # A node does not shun itself: it says so in its log, and others do.
        return peer in self._found and peer != self._outbox.me

    def of(self, peer: bytes) -> list[Fault]:
        """What is proven of `peer`, in the order of the catalogue."""
        found = self._found.get(peer, {})
        return [found[kind] for kind in KINDS if kind in found]

    def accused(self) -> list[bytes]:
        """Of whom something is proven, sorted."""
        return sorted(self._found)

    def suspect(self, kind: str, *parts: bytes) -> None:
        """What came to this node may prove a fault: if it does, keep it and tell everybody.

        Parts that are too large together to travel prove nothing to anyone.
        """
        if sum(map(len, parts)) > FAULT_SIZE_MAX:
            return
        fault = Fault.of(kind, *parts)
        try:
            accused = fault.check(self._outbox.network)
        except RemoteProtocolError:
            return
        if self._keep(accused, fault):
            self._note(accused, fault.id)
            self._outbox.publish_fault(fault)

    def show(self, data: bytes) -> None:
        """The owner has a proof in a file; raises `LocalProtocolError` that says why it is none."""
        try:
            fault = Fault.decode(data)
            fault.check(self._outbox.network)
        except RemoteProtocolError as error:
            raise LocalProtocolError(str(error)) from error
        self.suspect(fault.kind, *fault.parts)

    def on_award(self, envelope: Envelope, award: Award) -> None:
        """An award came: another one of the same bid before it proves a fault."""
        taken = self._awards.get((envelope.sender, award.bid))
        if taken is not None and taken != envelope.data:
            self.suspect("awards", taken, envelope.data)

    def award_taken(self, envelope: Envelope, award: Award) -> None:
        """An award was of a bid of ours: remember it, as many as there may be leases."""
        self._awards[envelope.sender, award.bid] = envelope.data
        if len(self._awards) > LEASES_MAX:
            del self._awards[next(iter(self._awards))]

    def hear(self, fault: Fault, spend: Callable[[], bool] | None) -> None:
        """Take in what another node passed on; raises `RemoteProtocolError` for what proves nothing, or is too much.

        `spend` counts it for the peer on whose channel it came; what gossip brings is counted together.
        """
        if any(fault in found.values() for found in self._found.values()):
            return
        if not (self._gossiped.spend(self._outbox.now.mono_ms) if spend is None else spend()):
            raise RemoteProtocolError("rate", "more proofs than one peer, or all of gossip, may bring")
        self._keep(fault.check(self._outbox.network), fault)

    def tell(self, peer: bytes) -> None:
        """Tell a peer that connects what is proven about who is known here, the latest first."""
        known = self._known() if self._found else frozenset[bytes]()
        told = [accused for accused in reversed(self._found) if accused in known][:FAULTS_SHARED_MAX]
        for accused in told:
            self._outbox.send(peer, self.of(accused)[0])

    def deadline_ms(self) -> int | None:
        """When `advance` has something to do."""
        return next(iter(self._again.values()), None)

    def advance(self) -> None:
        """Tell some peers, drawn by lot, what this node learned a while ago.

        Gossip reaches only who is there: whoever was cut off for a moment, and kept its channels, hears of it by this.
        """
        while self._again and (accused := next(iter(self._again))) and self._again[accused] <= self._outbox.now.mono_ms:
            del self._again[accused]
            seed, proofs = self._entropy(SEED_SIZE), self.of(accused)[:1]
            others = sorted((peer for peer in self._connected() if peer != accused), key=partial(lot_of, seed))
            for peer in others[:FAULT_TOLD_AGAIN] if proofs else ():
                self._outbox.send(peer, proofs[0])

    def restore(self, key: bytes, value: bytes) -> None:
        """Take back a persisted proof, checked again; what proves nothing here goes from the disk."""
        try:
            fault = Fault.decode(value)
            accused = fault.check(self._outbox.network)
        except RemoteProtocolError:
            self._outbox.emit(Persist(TABLE, key, None))
            return
        if key == accused + fault.kind.encode():
            self._put(accused, fault)
        else:
            self._outbox.emit(Persist(TABLE, key, None))

    def _put(self, accused: bytes, fault: Fault) -> None:
        self._found.setdefault(accused, {})[fault.kind] = fault
        self.version += 1

    def _keep(self, accused: bytes, fault: Fault) -> bool:
        """Write a proof down; False if there is one of its kind."""
        if fault.kind in self._found.get(accused, {}):
            return False
        self._put(accused, fault)
        self._outbox.emit(Persist(TABLE, accused + fault.kind.encode(), fault.encode()))
        if accused in self._known():
            self._again.setdefault(accused, self._outbox.now.mono_ms + FAULT_AGAIN_MS)
        # Of its own key a node learns that it runs twice, or went on from an old copy of its disk.
        level, event = ("error", "own_fault") if accused == self._outbox.me else ("warning", "fault")
        self._outbox.log(level, event, {"peer": accused.hex(), "kind": fault.kind, "reason": KINDS[fault.kind].text})
        if len(self._found) > FAULTS_OTHERS_MAX:
            self._make_room()
        return True

    def _make_room(self) -> None:
        known = self._known()
        others = [peer for peer in self._found if peer not in known]
        for peer in others[: max(0, len(others) - FAULTS_OTHERS_MAX)]:
            self.version += 1
            for kind in self._found.pop(peer):
                self._outbox.emit(Persist(TABLE, peer + kind.encode(), None))
