"""Keys, strict signatures, peer ids: specs/01-identity.md."""

from __future__ import annotations

from typing import Final

import base58

from contrib.vectors.form import Case, Operation
from protocol.identity import _GROUP_ORDER, _PEER_ID_PREFIX, _SMALL_ORDER_Y, KeySigner, peer_id, public_key_of, verify

DOCUMENT: Final = "01-identity.md"
_SEED: Final = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
_PRIME: Final = 2**255 - 19
_SIGN_BIT: Final = 1 << 255


def _key(seed: bytes) -> dict[str, object]:
    key = KeySigner(seed).public_key
    return {"public_key": key, "peer_id": peer_id(key)}


OPERATIONS: Final[dict[str, Operation]] = {
    "key": _key,
    "sign": lambda seed, message: KeySigner(seed).sign(message),
    "verify": verify,
    "public_key_of": public_key_of,
}


def _little(number: int) -> bytes:
    return number.to_bytes(32, "little")


def _verify(name: str, key: bytes, message: bytes, signature: bytes, code: str | None) -> Case:
    return Case("verify", name, {"public_key": key, "message": message, "signature": signature}, code)


def _keys() -> list[Case]:
    seeds = {"first of RFC 8032": _SEED, "zeros": bytes(32), "ones": b"\xff" * 32}
    return [Case("key", name, {"seed": seed}) for name, seed in seeds.items()]


def _signatures() -> list[Case]:
    signer, message = KeySigner(_SEED), b"tutti"
    key, signature = signer.public_key, signer.sign(message)
    point, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    cases = [
        Case("sign", "empty message", {"seed": _SEED, "message": b""}),
        Case("sign", "message", {"seed": _SEED, "message": message}),
        _verify("holds", key, message, signature, None),
        _verify("holds for the empty message", key, b"", signer.sign(b""), None),
        _verify("another message", key, b"tutta", signature, "signature"),
        _verify("another key", KeySigner(bytes(32)).public_key, message, signature, "signature"),
        _verify("one bit of R", key, message, bytes([point[0] ^ 1]) + signature[1:], "signature"),
        _verify("63 bytes", key, message, signature[:63], "signature"),
        _verify("65 bytes", key, message, signature + b"\x00", "signature"),
        _verify("S plus the group order", key, message, point + _little(scalar + _GROUP_ORDER), "signature"),
        _verify("S is the group order", key, message, point + _little(_GROUP_ORDER), "signature"),
        _verify("y of R is not below p", key, message, _little(_PRIME + 5) + signature[32:], "signature"),
        _verify("key of 31 bytes", key[:31], message, signature, "key"),
        _verify("key of 33 bytes", key + b"\x00", message, signature, "key"),
        _verify("y of the key is p", _little(_PRIME), message, signature, "key"),
        _verify("y of the key is not below p, sign bit", _little(_PRIME + 3 | _SIGN_BIT), message, signature, "key"),
        _verify("key is no point", _little(2), message, signature, "signature"),
    ]
    for number, y in enumerate(sorted(_SMALL_ORDER_Y)):
        for sign in (0, 1):
            point = _little(y | sign * _SIGN_BIT)
            name = f"point of small order {number}, sign {sign}"
            # With S = 0 and such a key, R = key or R = 0 satisfies the equation for many messages.
            cases += [
                _verify(f"key is {name}", point, message, _little(1) + bytes(32), "key"),
                _verify(f"R is {name}", key, message, point + signature[32:], "signature"),
            ]
    return cases


def _peer_ids() -> list[Case]:
    key = KeySigner(_SEED).public_key
    raw = _PEER_ID_PREFIX + key
    texts: list[tuple[str, str, str | None]] = [
        ("of the key", peer_id(key), None),
        ("empty", "", "peer_id"),
        ("a blank behind it", peer_id(key) + " ", "peer_id"),
        ("a line end behind it", peer_id(key) + "\n", "peer_id"),
        ("a one before it", "1" + peer_id(key), "peer_id"),
        ("not base58", peer_id(key)[:-1] + "0", "peer_id"),
        ("a byte short", base58.b58encode(raw[:-1]).decode(), "peer_id"),
        ("a byte long", base58.b58encode(raw + b"\x00").decode(), "peer_id"),
        ("of an RSA key", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "peer_id"),
        ("another prefix", base58.b58encode(b"\x00\x24\x08\x02\x12\x20" + key).decode(), "peer_id"),
        ("of a point of small order", peer_id(_little(1)), "key"),
    ]
    return [Case("public_key_of", name, {"peer": text}, code) for name, text, code in texts]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_keys(), *_signatures(), *_peer_ids()]
