"""The signed envelope around everything that leaves a node (specs/03-envelope.md).

On the wire: the 64-byte signature, then the payload, the canonical encoding of a map. The signature covers a domain string
and the payload; the id is the SHA-256 of the same bytes, so it does not depend on the signature's own bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar, cast

from protocol import canonical
from protocol.constants import CLOCK_SKEW_MS_MAX, ENVELOPES_KEPT, LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, KeySigner, Signer, verify
from protocol.memo import Memo
from protocol.schema import Message

_Message = TypeVar("_Message", bound=Message)
_Kind: TypeAlias = type[_Message]

DOMAIN: Final = b"tutti/envelope/1\x00"
_FIELDS: Final = ("body", "expires_ms", "issued_ms", "network", "sender", "to", "type")

# A record supersedes by its sequence number and may be handed on by others, so it alone lives longer and may repeat.
RECORD: Final = "record"
_TIME_MS_MAX: Final = 2**53

OPENED: Final[Memo[Envelope]] = Memo(ENVELOPES_KEPT)
NETWORK_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened envelope: its signature held, its fields have the right types; its body is still to be parsed.

    `data` are its bytes on the wire: whoever keeps them can show them to a third party.
    """

    id: bytes
    network: bytes
    type: str
    sender: bytes
    to: bytes | str
    issued_ms: int
    expires_ms: int
    body: dict[str, canonical.Value]
    data: bytes
    parsed: dict[_Kind[Message], Message] = field(default_factory=dict, compare=False, repr=False)

    def message(self, kind: _Kind[_Message]) -> _Message:
        """The body as a message of `kind`, parsed once; raises `RemoteProtocolError`."""
        found = self.parsed.get(kind)
        if found is None:
            found = self.parsed[kind] = kind.parse(self.body)
        assert isinstance(found, kind)
        return found

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.data)


def seal(
    signer: Signer,
    network: bytes,
    kind: str,
    to: bytes | str,
    body: dict[str, canonical.Value],
    issued_ms: int,
    lifetime_ms: int,
) -> bytes:
    """Sign `body` for `to` (a public key or a topic) and give the bytes for the wire."""
    if not 0 < lifetime_ms <= lifetime_ms_max(kind):
        raise LocalProtocolError(f"a {kind} may not live {lifetime_ms} ms")
    expires_ms = issued_ms + lifetime_ms
    payload, fields = canonical.encoded(
        {
            "network": network,
            "type": kind,
            "sender": signer.public_key,
            "to": to,
            "issued_ms": issued_ms,
            "expires_ms": expires_ms,
            "body": body,
        }
    )
    signed = DOMAIN + payload
    data = signer.sign(signed) + payload
    if type(signer) is KeySigner:
        # A node hears what it sends to itself, and need not verify what its own key has signed.
        digest, told = hashlib.sha256(signed).digest(), cast("dict[str, canonical.Value]", fields)["body"]
        assert isinstance(told, dict)
        OPENED.put(data, Envelope(digest, network, kind, signer.public_key, to, issued_ms, expires_ms, told, data))
    return data


def envelope_id(data: bytes) -> bytes:
    """The id of the envelope that these wire bytes claim to be: SHA-256 of what is signed, 32 bytes."""
    return hashlib.sha256(DOMAIN + data[SIGNATURE_SIZE:]).digest()


def lifetime_ms_max(kind: str) -> int:
    """How long an envelope of this type may live."""
    return RECORD_LIFETIME_MS_MAX if kind == RECORD else LIFETIME_MS_MAX


def open_envelope(data: bytes) -> Envelope:
    """Decode and verify; raises `RemoteProtocolError`. Time, network and recipient are `check_fresh` and `check_for`."""
    return OPENED.get(data, lambda: _opened(data))


def _opened(data: bytes) -> Envelope:
    # specs/03-envelope.md: "In this order, and nothing of the envelope may have an effect before all of it held"
    if len(data) <= SIGNATURE_SIZE:
        raise RemoteProtocolError("size", "shorter than a signature")
    payload = data[SIGNATURE_SIZE:]
    fields = canonical.decode(payload)
    if not isinstance(fields, dict) or tuple(fields) != _FIELDS:
        raise RemoteProtocolError("envelope", "not the fields of an envelope")
    network, kind, sender, to = fields["network"], fields["type"], fields["sender"], fields["to"]
    issued_ms, expires_ms, body = fields["issued_ms"], fields["expires_ms"], fields["body"]
    if not (isinstance(network, bytes) and len(network) == NETWORK_SIZE):
        raise RemoteProtocolError("envelope", f"network is not {NETWORK_SIZE} bytes")
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise RemoteProtocolError("envelope", "type is not a string or body is not a map")
    if not (isinstance(sender, bytes) and len(sender) == PUBLIC_KEY_SIZE):
        raise RemoteProtocolError("envelope", "sender is not a public key")
    if not (isinstance(to, str) or (isinstance(to, bytes) and len(to) == PUBLIC_KEY_SIZE)):
        raise RemoteProtocolError("envelope", "to is neither a topic nor a public key")
    if type(issued_ms) is not int or type(expires_ms) is not int or not 0 <= issued_ms < expires_ms <= _TIME_MS_MAX:
        raise RemoteProtocolError("envelope", "issued_ms and expires_ms are not an interval")
    # specs/03-envelope.md: "The signature holds strictly (01-identity.md)."
    verify(sender, DOMAIN + payload, data[:SIGNATURE_SIZE])
    return Envelope(envelope_id(data), network, kind, sender, to, issued_ms, expires_ms, body, data)


def check_for(envelope: Envelope, network: bytes, recipients: frozenset[bytes | str]) -> None:
    """Raise `RemoteProtocolError` unless the envelope is of this network and for one of `recipients`."""
    # specs/03-envelope.md: "`network` is this network's id."
    if envelope.network != network:
        raise RemoteProtocolError("network", "of another network")
    # specs/03-envelope.md: "`to` is the receiving node's own key"
    if envelope.to not in recipients:
        raise RemoteProtocolError("recipient", "for another recipient")


def check_fresh(envelope: Envelope, wall_ms: int) -> None:
    """Raise `RemoteProtocolError` unless the envelope is valid at `wall_ms`, within the tolerated clock skew."""
    # specs/03-envelope.md: "`expires_ms - issued_ms` is at most what the type may live."
    if envelope.expires_ms - envelope.issued_ms > lifetime_ms_max(envelope.type):
        raise RemoteProtocolError("lifetime", f"a {envelope.type[:32]} may not live that long")
    # specs/03-envelope.md: "`issued_ms <= wall_ms + CLOCK_SKEW_MS_MAX`."
    if envelope.issued_ms > wall_ms + CLOCK_SKEW_MS_MAX:
        raise RemoteProtocolError("future", f"issued {envelope.issued_ms - wall_ms} ms in the future")
    # specs/03-envelope.md: "`expires_ms > wall_ms - CLOCK_SKEW_MS_MAX`."
    if envelope.expires_ms <= wall_ms - CLOCK_SKEW_MS_MAX:
        raise RemoteProtocolError("expired", f"expired {wall_ms - envelope.expires_ms} ms ago")
