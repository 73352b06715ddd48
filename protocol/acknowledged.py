"""Bids of this node that requesters acknowledged: a receipt whose view leaves one out proves a fault (specs/11-receipt.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from protocol.allocation import view_hash
from protocol.constants import ACKNOWLEDGED_MAX
from protocol.envelope import open_envelope
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.faults import Fault
from protocol.messages import Award
from protocol.receipt import Receipt, StepReceipt
from protocol.step import StepId

# The envelopes of a bid and of its acknowledgement, as they were on the wire.
Pair = tuple[bytes, bytes]


class Acknowledged:
    """The latest ACKNOWLEDGED_MAX, in memory: what a restart forgets can be shown no more."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[bytes, StepId], Pair] = {}

    def keep(self, requester: bytes, step: StepId, pair: Pair) -> None:
        """A requester signed that it has a bid."""
        if len(self._pairs) >= ACKNOWLEDGED_MAX and (requester, step) not in self._pairs:
            del self._pairs[oldest_of_most(self._pairs)]
        self._pairs[requester, step] = pair

    def of(self, requester: bytes, task: bytes) -> list[Pair]:
        """Those for one task of a requester, by plan and step."""
        held = [(step, pair) for (other, step), pair in self._pairs.items() if other == requester and step.task == task]
        return [pair for _, pair in sorted(held, key=lambda item: (item[0].plan, item[0].step))]


def oldest_of_most(held: Iterable[tuple[bytes, StepId]]) -> tuple[bytes, StepId]:
    """Of what is held by requester and step, oldest first: the oldest of the requester that has most of it."""
    keys = list(held)
    counts = Counter(requester for requester, _ in keys)
    most = max(counts, key=lambda requester: (counts[requester], requester))
    return next(key for key in keys if key[0] == most)


def dropped_bids(receipt: Receipt, pairs: Iterable[Pair]) -> list[Fault]:
    """The proofs that a receipt gives with acknowledged bids: one for each bid that a view of it leaves out."""
    found = (next(_proofs(receipt, *pair), None) for pair in pairs)
    return [proof for proof in found if proof is not None]


def _proofs(receipt: Receipt, bid: bytes, ack: bytes) -> Iterator[Fault]:
    """What the awards of a receipt prove; what its requester made up proves nothing, and raises nothing here."""
    for fields in receipt.steps:
        with suppress(RemoteProtocolError):
            step = StepReceipt.parse(fields)
            views = {view_hash(view): view for view in step.views}
            for data in step.transcript:
                proof = _proof(data, views, bid, ack, receipt.network)
                if proof is not None:
                    yield proof


def _proof(data: bytes, views: Mapping[bytes, bytes], bid: bytes, ack: bytes, network: bytes) -> Fault | None:
    try:
        envelope = open_envelope(data)
        if envelope.type != Award.TYPE or (view := views.get(envelope.message(Award).view)) is None:
            return None
        proof = Fault.of("dropped_bid", bid, ack, data, view)
        proof.check(network)
    except (RemoteProtocolError, LocalProtocolError):
        return None
    return proof
