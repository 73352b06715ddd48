"""What a gossip mesh may pass on: a verdict on each message, with the rule that it broke (specs/04-transport.md).

To what the message says of itself a `Gate` adds how much its author has had passed on already. Every node of the network pays
for a message that one passes on, so here a flood ends, and not where it arrives.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.capability import Record
from protocol.constants import (
    BEACON_MS,
    BEACONS_BURST,
    FAULT_MS,
    FAULTS_BURST,
    GATE_AUTHORS_MAX,
    GATE_FAULTS_MAX,
    RECORD_MS,
    RECORDS_BURST,
    RELAY_MS,
    RELAYS_BURST,
)
from protocol.envelope import Envelope, check_for, check_fresh, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.faults import Fault
from protocol.messages import Beacon
from protocol.outbox import BEACONS, FAULTS, RECORDS
from protocol.rates import Bucket
from protocol.schema import Message
from protocol.verdict import Verdict

_MESSAGE: dict[str, type[Message]] = {BEACONS: Beacon, RECORDS: Record, FAULTS: Fault}
# By topic, what is passed on of one author with a channel, and of all others together: one more in a time, some at once. A
# proof is large and rare.
_RATION = {
    BEACONS: ((BEACON_MS, BEACONS_BURST), (RELAY_MS, RELAYS_BURST)),
    RECORDS: ((RECORD_MS, RECORDS_BURST), (RELAY_MS, RELAYS_BURST)),
    FAULTS: ((FAULT_MS, FAULTS_BURST), (FAULT_MS, FAULTS_BURST)),
}
# Faults that an honest relay may bring about by being slow, by a clock that is off, or because others flood: they cost the
# relay nothing.
_IGNORED = frozenset({"expired", "future", "flood"})


def _checked(data: bytes, network: bytes, topic: str, wall_ms: int) -> tuple[Envelope, Message]:
    envelope = open_envelope(data)
    check_for(envelope, network, frozenset((topic,)))
    kind = _MESSAGE[topic]
    if envelope.type != kind.TYPE:
        raise RemoteProtocolError("type", f"a {envelope.type[:32]} on topic {topic}")
    message = envelope.message(kind)
    check_fresh(envelope, wall_ms)
    return envelope, message


class Gate:
    """Verdicts on one topic.

    Authors are counted: each that has a channel to us for itself, all others together.
    """

    def __init__(self, network: bytes, topic: str, is_connected: Callable[[bytes], bool]) -> None:
        self._network = network
        self._topic = topic
        self._is_connected = is_connected
        self._authors: dict[bytes, Bucket] = {}
        self._each, others = _RATION[topic]
        self._others = Bucket(*others)
        self._proven: dict[tuple[bytes, str], None] = {}

    def validate(self, data: bytes, wall_ms: int, mono_ms: int) -> tuple[Verdict, str]:
        """The verdict on a message and a short reason; what is sound and too much is ignored."""
        try:
            self._check(data, wall_ms, mono_ms)
        except RemoteProtocolError as error:
            return (Verdict.IGNORE if error.code in _IGNORED else Verdict.REJECT), error.code
        return Verdict.ACCEPT, ""

    def _check(self, data: bytes, wall_ms: int, mono_ms: int) -> None:
        # After the signature: nobody uses up the ration of another.
        envelope, message = _checked(data, self._network, self._topic, wall_ms)
        author = envelope.sender
        bucket = self._of(author, mono_ms) if self._is_connected(author) else self._others
        if not bucket.spend(mono_ms):
            raise RemoteProtocolError("flood", "more of this author, or of all authors without a channel, than is passed on")
        if isinstance(message, Fault):
            # After the ration: a proof costs several signatures.
            self._check_fault(message)

    def _check_fault(self, fault: Fault) -> None:
        """One proof of each kind against each accused is passed on, whoever puts it into an envelope of its own."""
        proven = (fault.check(self._network), fault.kind)
        if proven in self._proven:
            raise RemoteProtocolError("flood", "this was proven already")
        if len(self._proven) >= GATE_FAULTS_MAX:
            del self._proven[next(iter(self._proven))]
        self._proven[proven] = None

    def _of(self, author: bytes, mono_ms: int) -> Bucket:
        if author not in self._authors:
            if len(self._authors) >= GATE_AUTHORS_MAX:
                # Full buckets say nothing; of the others the oldest goes, which has had the longest to fill again.
                self._authors = {key: bucket for key, bucket in self._authors.items() if bucket.full_at_ms > mono_ms}
                if len(self._authors) >= GATE_AUTHORS_MAX:
                    del self._authors[next(iter(self._authors))]
            self._authors[author] = Bucket(*self._each)
        return self._authors[author]
