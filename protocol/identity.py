"""Ed25519 identities: strict verification and libp2p peer ids.

A peer is named by its raw 32-byte public key inside the protocol and by its libp2p peer id where people read it.
Both hold the same information, so neither needs a look-up.
"""

from __future__ import annotations

from typing import Protocol

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import RemoteProtocolError

PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64

# A libp2p peer id is the identity multihash (00, length 24) of the protobuf {Type: Ed25519 (08 01), Data (12 20 ...)}.
_PEER_ID_PREFIX = bytes.fromhex("002408011220")

# Order of the prime-order subgroup (RFC 8032, section 5.1). A signature whose S is not below it is malleable.
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_FIELD_PRIME = 2**255 - 19

# The y coordinates of the eight points of small order; a signature by such a key holds for many messages at once.
# Compared with the sign bit masked and reduced by the field prime, so non-canonical encodings are refused as well.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


class Signer(Protocol):
    """Holds a private key; the core gets one as a constructor argument and never sees the key itself."""

    @property
    def public_key(self) -> bytes:
        """Raw Ed25519 public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of `message`, 64 bytes."""
        ...


class KeySigner:
    """A signer over a 32-byte Ed25519 seed (RFC 8032)."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of `message`, 64 bytes."""
        return self._key.sign(message)


def _is_small_order_or_non_canonical(point: bytes) -> bool:
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    return y >= _FIELD_PRIME or y in _SMALL_ORDER_Y


def check_public_key(key: bytes) -> None:
    """Raise `RemoteProtocolError` unless `key` is a usable Ed25519 public key of 32 bytes."""
    # specs/01-identity.md: "The key MUST have 32 bytes."
    if len(key) != PUBLIC_KEY_SIZE:
        raise RemoteProtocolError("key", f"a public key has {PUBLIC_KEY_SIZE} bytes, not {len(key)}")
    # specs/01-identity.md: "Its y MUST NOT be one of the five values below, those of the points of small order."
    if _is_small_order_or_non_canonical(key):
        raise RemoteProtocolError("key", "the public key is a point of small order or not canonical")


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `RemoteProtocolError` unless `signature` is a strict Ed25519 signature of `message`.

    Strict: S below the group order, neither the key nor R of small order, both canonical (specs/01-identity.md).
    """
    check_public_key(public_key)
    if len(signature) != SIGNATURE_SIZE:
        raise RemoteProtocolError("signature", f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}")
    # specs/01-identity.md: "S, its last 32 bytes as a little-endian integer, MUST be below L."
    if int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
        raise RemoteProtocolError("signature", "the signature's S is not below the group order")
    # specs/01-identity.md: "The y of R, its first 32 bytes, MUST be below p and not one of the five."
    if _is_small_order_or_non_canonical(signature[:32]):
        raise RemoteProtocolError("signature", "the signature's R is a point of small order or not canonical")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise RemoteProtocolError("signature", "the signature does not hold") from error


def peer_id(public_key: bytes) -> str:
    """The libp2p peer id, base58, of a raw 32-byte Ed25519 public key."""
    return base58.b58encode(_PEER_ID_PREFIX + public_key).decode()


def public_key_of(peer: str) -> bytes:
    """The raw public key inside a libp2p Ed25519 peer id; raises `RemoteProtocolError` for anything else."""
    try:
        raw = base58.b58decode(peer)
    except ValueError as error:
        raise RemoteProtocolError("peer_id", f"{peer!r} is not base58") from error
    # The library drops blanks at the end, so that a second text would name the same peer.
    is_exact = base58.b58encode(raw).decode() == peer
    if not is_exact or len(raw) != len(_PEER_ID_PREFIX) + PUBLIC_KEY_SIZE or not raw.startswith(_PEER_ID_PREFIX):
        raise RemoteProtocolError("peer_id", f"{peer!r} is not the peer id of an Ed25519 key")
    key = raw[len(_PEER_ID_PREFIX) :]
    check_public_key(key)
    return key
