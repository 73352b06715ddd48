"""The entries of a ledger: what a node signed, in order, so that nothing it said can be taken back (specs/06-ledger.md).

On the wire: the 64-byte signature, then the payload, the canonical encoding of a map. Each entry holds the id of the one
before it, so the last id stands for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol import canonical
from protocol.constants import (
    BATCH_LEAVES_MAX,
    ENTRIES_KEPT,
    ENTRY_KINDS_MAX,
    ENTRY_SIZE_MAX,
    OPEN_BATCHES_MAX,
    SNAPSHOT_EVERY,
    START_SIZE_MAX,
    SUCCESSION_SIZE_MAX,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signer, verify
from protocol.memo import Memo
from protocol.schema import Rule, blob, integer, items, mapping, raw, string

DOMAIN: Final = b"tutti/entry/1\x00"
ID_SIZE: Final = 32
NUMBER_MAX: Final = 2**53
# What stands for the entry before the first one.
NOTHING: Final = bytes(ID_SIZE)

START: Final = "start"
SNAPSHOT: Final = "snapshot"
SUCCESSION: Final = "succession"
_FIELDS: Final = ("author", "body", "kind", "network", "number", "previous", "wall_ms")
_ID: Final = raw(ID_SIZE)
_COUNT: Final = integer(0, NUMBER_MAX)

# The fields of the body of each kind.
OPENED: Final[Memo[Entry]] = Memo(ENTRIES_KEPT)

KINDS: Final[dict[str, dict[str, Rule]]] = {
    START: {"recovery": _ID, "succession": blob(SUCCESSION_SIZE_MAX)},
    "record": {"sequence": _COUNT, "vector": _ID},
    "audits": {"count": integer(1, BATCH_LEAVES_MAX), "root": _ID},
    "opening": {"leaves": items(blob(ENTRY_SIZE_MAX, 1), BATCH_LEAVES_MAX), "root": _ID},
    "beacon": {"beacon": _ID},
    "receipt": {"receipt": _ID},
    "fault": {"accused": raw(PUBLIC_KEY_SIZE), "proof": _ID},
    SUCCESSION: {"statement": blob(SUCCESSION_SIZE_MAX, 1)},
    SNAPSHOT: {
        "counts": mapping(string(32, 1), _COUNT, ENTRY_KINDS_MAX),
        "open": items(_ID, OPEN_BATCHES_MAX),
        "sequence": _COUNT,
        "start": blob(START_SIZE_MAX, 1),
        "vector": _ID,
    },
}
assert len(KINDS) <= ENTRY_KINDS_MAX
assert all(tuple(rules) == tuple(sorted(rules)) for rules in KINDS.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `author`'s ledger. `data` are its bytes on the wire, `id` the SHA-256 of what is signed."""

    id: bytes
    author: bytes
    network: bytes
    number: int
    previous: bytes
    kind: str
    wall_ms: int
    body: Mapping[str, canonical.Value]
    data: bytes


def make_entry(
    signer: Signer, network: bytes, previous: Entry | None, kind: str, body: Mapping[str, canonical.Value], wall_ms: int
) -> Entry:
    """Sign the entry that follows `previous`; its date is never before that one's. Raises `LocalProtocolError`."""
    payload = canonical.encode(
        {
            "author": signer.public_key,
            "body": dict(body),
            "kind": kind,
            "network": network,
            "number": 0 if previous is None else previous.number + 1,
            "previous": NOTHING if previous is None else previous.id,
            "wall_ms": wall_ms if previous is None else max(wall_ms, previous.wall_ms),
        }
    )
    try:
        entry = parse_entry(signer.sign(DOMAIN + payload) + payload)
        check_follows(previous, entry)
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"not an entry of a ledger: {error}") from error
    return entry


def entry_id(data: bytes) -> bytes:
    """The id of the entry that these bytes claim to be: SHA-256 of what is signed, 32 bytes."""
    return hashlib.sha256(DOMAIN + data[SIGNATURE_SIZE:]).digest()


def open_entry(data: bytes) -> Entry:
    """Decode and verify the signature; raises `RemoteProtocolError`."""
    return OPENED.get(data, lambda: _opened(data))


def _opened(data: bytes) -> Entry:
    entry = parse_entry(data)
    # specs/06-ledger.md: "Its signature by `author` MUST hold strictly (01-identity.md)."
    verify(entry.author, DOMAIN + data[SIGNATURE_SIZE:], data[:SIGNATURE_SIZE])
    return entry


def parse_entry(data: bytes) -> Entry:
    """Decode without the signature, for bytes that a verified id vouches for; raises `RemoteProtocolError`."""
    # specs/06-ledger.md: "An entry MUST have more than 64 and at most ENTRY_SIZE_MAX bytes."
    if not SIGNATURE_SIZE < len(data) <= ENTRY_SIZE_MAX:
        raise RemoteProtocolError("size", f"an entry has {SIGNATURE_SIZE} to {ENTRY_SIZE_MAX} bytes, not {len(data)}")
    fields = canonical.decode(data[SIGNATURE_SIZE:])
    if not isinstance(fields, dict) or tuple(fields) != _FIELDS:
        raise RemoteProtocolError("entry", "not the fields of an entry")
    author, network, previous = fields["author"], fields["network"], fields["previous"]
    number, wall_ms, kind, body = fields["number"], fields["wall_ms"], fields["kind"], fields["body"]
    if not (isinstance(author, bytes) and len(author) == PUBLIC_KEY_SIZE):
        raise RemoteProtocolError("entry", "author is not a public key")
    if not (isinstance(network, bytes) and len(network) == ID_SIZE):
        raise RemoteProtocolError("entry", f"network is not {ID_SIZE} bytes")
    if not (isinstance(previous, bytes) and len(previous) == ID_SIZE):
        raise RemoteProtocolError("entry", f"previous is not {ID_SIZE} bytes")
    if type(number) is not int or type(wall_ms) is not int or not (0 <= number <= NUMBER_MAX and 0 <= wall_ms <= NUMBER_MAX):
        raise RemoteProtocolError("entry", "number or wall_ms is not a count")
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise RemoteProtocolError("entry", "kind is not a string or body is not a map")
    _check_body(kind, body)
    return Entry(entry_id(data), author, network, number, previous, kind, wall_ms, body, data)


def _check_body(kind: str, body: dict[str, canonical.Value]) -> None:
    # specs/06-ledger.md: "Its body MUST have exactly the fields of its kind"
    rules = KINDS.get(kind)
    if rules is None:
        raise RemoteProtocolError("entry", f"no kind {kind[:32]!r}")
    if tuple(body) != tuple(rules):
        raise RemoteProtocolError("fields", f"{kind}: not its fields")
    for name, rule in rules.items():
        value = body[name]
        reason = rule(tuple(value) if type(value) is list else value)
        if reason:
            raise RemoteProtocolError("field", f"{kind}: {name} {reason}")


def check_follows(previous: Entry | None, entry: Entry) -> None:
    """Raise `RemoteProtocolError` unless `entry` is the one after `previous`, or the first if that is None."""
    check_kind(entry)
    if previous is None:
        if entry.number != 0 or entry.previous != NOTHING:
            raise RemoteProtocolError("chain", "not the first entry")
        return
    # specs/06-ledger.md: "An entry MUST follow the one before it: the same author and network, `number` one higher, `previous`
    # its id, `wall_ms` not lower"
    if entry.author != previous.author or entry.network != previous.network:
        raise RemoteProtocolError("chain", "of another author or network")
    if entry.number != previous.number + 1 or entry.previous != previous.id:
        raise RemoteProtocolError("chain", f"entry {entry.number} does not follow {previous.number}")
    if entry.wall_ms < previous.wall_ms:
        raise RemoteProtocolError("chain", "dated before the entry that it follows")


def check_kind(entry: Entry) -> None:
    """Raise `RemoteProtocolError` unless the entry has the kind that its number asks for: start, snapshot, or another."""
    # specs/06-ledger.md: "Entry 0, and no other, MUST be of kind `start`; each entry whose number is a multiple of
    # SNAPSHOT_EVERY, and no other, MUST be of kind `snapshot`"
    if (entry.number == 0) != (entry.kind == START):
        raise RemoteProtocolError("chain", "the first entry, and no other, is of kind start")
    if is_snapshot(entry.number) != (entry.kind == SNAPSHOT):
        raise RemoteProtocolError("chain", f"each entry {SNAPSHOT_EVERY} apart, and no other, is a snapshot")


def is_snapshot(number: int) -> bool:
    """Whether the entry with this number must be a snapshot."""
    return number > 0 and number % SNAPSHOT_EVERY == 0
