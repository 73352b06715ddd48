"""Collects the effects of one step and seals what is sent.

What a node sends to itself, or publishes, it also hears: a requester's own model bids like any other. Those copies never
reach the driver; the core takes them from `local` within the same step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.canonical import Value
from protocol.capability import Record
from protocol.constants import LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.envelope import envelope_id, seal
from protocol.events import Effect, Instant, Log, Publish, Send
from protocol.identity import Signer
from protocol.ledger import Entry, make_entry
from protocol.ledger_messages import Heads
from protocol.messages import DIRECT, Beacon
from protocol.receipt import Receipt
from protocol.schema import Message

BEACONS = "beacons"
RECORDS = "records"
FAULTS = "faults"
TOPICS = (BEACONS, RECORDS, FAULTS)
# All to whom the sender has a channel. No topic: what is addressed so comes from its signer alone.
HEADS = "heads"


@dataclass(frozen=True, slots=True)
class Sent:
    """An envelope of ours: its id and its bytes on the wire."""

    id: bytes
    data: bytes


class Outbox:
    """The effects of the current step, in order, and the clock that stamps them."""

    def __init__(self, signer: Signer, network: bytes) -> None:
        self.me = signer.public_key
        self.network = network
        self.now = Instant(0, 0)
        self.effects: list[Effect] = []
        # Short, and mostly empty: an empty deque takes ten times as much.
        self.local: list[bytes] = []
        # Envelopes of tasks to others, by type. Records, proofs and ledgers are not counted: they go to whoever comes by.
        self.sent: Counter[str] = Counter()
        self._signer = signer
        self._effect = 0

    def begin(self, now: Instant) -> None:
        """Start a step."""
        self.now = now
        self.effects = []

    def number(self) -> int:
        """A new effect id."""
        self._effect += 1
        return self._effect

    def emit(self, effect: Effect) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def log(self, level: str, event: str, fields: Mapping[str, str | int] | None = None) -> None:
        """Add a log line."""
        self.effects.append(Log(level, event, fields or {}))

    def send(self, peer: bytes, message: Message) -> Sent:
        """Seal and send to one peer."""
        data = seal(self._signer, self.network, message.TYPE, peer, message.body(), self.now.wall_ms, LIFETIME_MS_MAX)
        if peer == self.me:
            self.local.append(data)
        else:
            if message.TYPE in DIRECT:
                self.sent[message.TYPE] += 1
            self.effects.append(Send(self.number(), peer, data))
        return Sent(envelope_id(data), data)

    def tell(self, peers: Iterable[bytes], heads: Heads) -> None:
        """Seal heads once, and send the same bytes to each of `peers`, in their order."""
        data = seal(self._signer, self.network, heads.TYPE, HEADS, heads.body(), self.now.wall_ms, LIFETIME_MS_MAX)
        self.effects += [Send(self.number(), peer, data) for peer in peers]

    def seal_beacon(self, beacon: Beacon) -> Sent:
        """Seal a beacon, to be noted and then published."""
        data = seal(self._signer, self.network, beacon.TYPE, BEACONS, beacon.body(), self.now.wall_ms, LIFETIME_MS_MAX)
        return Sent(envelope_id(data), data)

    def publish_beacon(self, beacon: Sent) -> None:
        """Gossip a sealed beacon."""
        self.sent[Beacon.TYPE] += 1
        self.effects.append(Publish(BEACONS, beacon.data))
        self.local.append(beacon.data)

    def publish_fault(self, fault: Message) -> None:
        """Seal and gossip a proof; this node has it already."""
        data = seal(self._signer, self.network, fault.TYPE, FAULTS, fault.body(), self.now.wall_ms, LIFETIME_MS_MAX)
        self.effects.append(Publish(FAULTS, data))

    def seal_record(self, record: Record) -> bytes:
        """Seal this node's own record, to be gossiped and handed to peers."""
        return seal(self._signer, self.network, record.TYPE, RECORDS, record.body(), self.now.wall_ms, RECORD_LIFETIME_MS_MAX)

    def sign_receipt(self, receipt: Receipt) -> bytes:
        """The receipt of a task as it stands in a file."""
        return receipt.sign(self._signer)

    def sign_entry(self, previous: Entry | None, kind: str, body: Mapping[str, Value]) -> Entry:
        """Sign the entry of this node's ledger that follows `previous`."""
        return make_entry(self._signer, self.network, previous, kind, body, self.now.wall_ms)
