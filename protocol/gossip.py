"""What a gossip mesh may pass on: a pure verdict on each message, with the rule that it broke (specs/04-transport.md)."""

from __future__ import annotations

from protocol.capability import Record
from protocol.envelope import check_for, check_fresh, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.messages import Beacon
from protocol.outbox import BEACONS, RECORDS
from protocol.schema import Message
from protocol.verdict import Verdict

_MESSAGE: dict[str, type[Message]] = {BEACONS: Beacon, RECORDS: Record}
# Faults that an honest relay may bring about by being slow or by a clock that is off: they cost the relay nothing.
_IGNORED = frozenset({"expired", "future"})


def validate(data: bytes, network: bytes, topic: str, wall_ms: int) -> tuple[Verdict, str]:
    """The verdict on a message of `topic` ("beacons" or "records") and a short reason."""
    try:
        envelope = open_envelope(data)
        check_for(envelope, network, frozenset((topic,)))
        kind = _MESSAGE[topic]
        if envelope.type != kind.TYPE:
            raise RemoteProtocolError("type", f"a {envelope.type[:32]} on topic {topic}")
        kind.parse(envelope.body)
        check_fresh(envelope, wall_ms)
    except RemoteProtocolError as error:
        return (Verdict.IGNORE if error.code in _IGNORED else Verdict.REJECT), error.code
    return Verdict.ACCEPT, ""
