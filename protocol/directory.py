"""What stands in the network's directory, a distributed hash table: who offers a skill, and each node's record.

(specs/05-capability.md). Nodes that keep entries for others check them by these rules and trust nobody: a value is the signed
record of the node that its key names, and nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Final

from protocol.capability import Record
from protocol.constants import DIRECTORY_VALUE_SIZE_MAX
from protocol.envelope import RECORD, Envelope, check_for, check_fresh, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.identity import peer_id
from protocol.outbox import RECORDS

_RECORD_PREFIX: Final = b"/record/"
# A multihash: SHA-256, 32 bytes.
_SHA256_PREFIX: Final = bytes((0x12, 0x20))


def skill_key(network: bytes, skill: str) -> bytes:
    """The key under which the providers of a skill stand."""
    return _SHA256_PREFIX + hashlib.sha256(b"tutti/skill/1\x00" + network + skill.encode()).digest()


def record_key(peer: bytes) -> bytes:
    """The key under which the record of a node stands."""
    return _RECORD_PREFIX + peer_id(peer).encode()


def check_value(key: bytes, data: bytes, network: bytes, wall_ms: int) -> tuple[Envelope, Record]:
    """The envelope and record in `data`; raises `RemoteProtocolError` unless it may stand under `key` now."""
    if len(data) > DIRECTORY_VALUE_SIZE_MAX:
        raise RemoteProtocolError("size", f"a record of {len(data)} bytes")
    envelope = open_envelope(data)
    check_for(envelope, network, frozenset((RECORDS,)))
    if envelope.type != RECORD:
        raise RemoteProtocolError("type", f"a {envelope.type[:32]} in place of a record")
    if key != record_key(envelope.sender):
        raise RemoteProtocolError("recipient", "a record under another node's key")
    check_fresh(envelope, wall_ms)
    return envelope, envelope.message(Record)
