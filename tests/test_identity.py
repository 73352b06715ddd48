"""Ed25519 is checked strictly, and a peer id is the key itself in libp2p's spelling."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from protocol.errors import RemoteProtocolError
from protocol.identity import KeySigner, check_public_key, peer_id, public_key_of, verify

# RFC 8032, section 7.1, tests 1 to 3: seed, public key, message, R and S.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
SIGNER = KeySigner(bytes(range(32)))


def small_order_encodings() -> list[bytes]:
    """Every 32-byte string that decodes to one of the eight points of small order, found by arithmetic, not from a list."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    root_of_minus_one = pow(2, (PRIME - 1) // 4, PRIME)
    # The points of order 8 have y^2 with d y^4 + 2 y^2 - 1 = 0: doubling them gives a point with y = 0.
    ys = {0, 1, PRIME - 1}
    discriminant = (1 + d) % PRIME
    root = pow(discriminant, (PRIME + 3) // 8, PRIME)
    if root * root % PRIME != discriminant:
        root = root * root_of_minus_one % PRIME
    assert root * root % PRIME == discriminant
    for sign in (root, -root):
        square = (-1 + sign) * pow(d, -1, PRIME) % PRIME
        y = pow(square, (PRIME + 3) // 8, PRIME)
        if y * y % PRIME != square:
            y = y * root_of_minus_one % PRIME
        if y * y % PRIME == square:
            ys |= {y, PRIME - y}
    assert len(ys) == 5
    spellings = ys | {y + PRIME for y in ys if y + PRIME < 2**255}
    return sorted((y | sign << 255).to_bytes(32, "little") for y in spellings for sign in (0, 1))


@pytest.mark.parametrize(("seed", "key", "message", "r", "s"), RFC_8032)
def test_sign__gives_the_signatures_of_rfc_8032(seed: str, key: str, message: str, r: str, s: str) -> None:
    signature = r + s
    signer = KeySigner(bytes.fromhex(seed))
    assert signer.public_key.hex() == key
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@pytest.mark.parametrize("multiple", range(1, 15))
def test_verify__refuses_s_not_below_the_group_order(multiple: int) -> None:
    signature = SIGNER.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + multiple * ORDER
    with pytest.raises(RemoteProtocolError) as caught:
        verify(SIGNER.public_key, b"message", signature[:32] + s.to_bytes(32, "little"))
    assert caught.value.code == "signature"


def test_verify__refuses_every_encoding_of_a_small_order_key() -> None:
    encodings = small_order_encodings()
    assert len(encodings) >= 14
    for encoding in encodings:
        with pytest.raises(RemoteProtocolError) as caught:
            check_public_key(encoding)
        assert caught.value.code == "key"
        # With such a key R = 0, S = 0 would hold for one message in eight or for all.
        for r in encodings:
            with pytest.raises(RemoteProtocolError):
                verify(encoding, b"any message", r + bytes(32))


def test_verify__refuses_a_small_order_r() -> None:
    for r in small_order_encodings():
        with pytest.raises(RemoteProtocolError):
            verify(SIGNER.public_key, b"message", r + (1).to_bytes(32, "little"))


def test_key__of_a_non_canonical_encoding_is_refused() -> None:
    for y in range(PRIME, 2**255):
        for sign in (0, 1):
            with pytest.raises(RemoteProtocolError):
                check_public_key((y | sign << 255).to_bytes(32, "little"))


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=32))
def test_verify__of_any_key_raises_nothing_but_the_peers_error(key: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify(key, b"message", SIGNER.sign(b"message"))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128])
def test_verify__refuses_a_signature_of_another_size(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        verify(SIGNER.public_key, b"message", (SIGNER.sign(b"message") * 2)[:size])


@settings(max_examples=60)
@given(st.binary(max_size=80), st.integers(0, 511), st.binary(max_size=40))
def test_verify__refuses_any_flipped_bit_and_any_other_message(message: bytes, bit: int, more: bytes) -> None:
    signature = bytearray(SIGNER.sign(message))
    verify(SIGNER.public_key, message, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError):
        verify(SIGNER.public_key, message, bytes(signature))
    if more:
        with pytest.raises(RemoteProtocolError):
            verify(SIGNER.public_key, message + more, SIGNER.sign(message))


@settings(max_examples=40)
@given(st.binary(min_size=32, max_size=32))
def test_peer_id__gives_back_its_key(seed: bytes) -> None:
    key = KeySigner(seed).public_key
    assert public_key_of(peer_id(key)) == key
    assert peer_id(key).startswith("12D3KooW")


def test_peer_id__is_the_one_libp2p_computes() -> None:
    for seed, key, *_ in RFC_8032:
        public = create_new_key_pair(bytes.fromhex(seed)).public_key
        assert public.to_bytes().hex() == key
        assert ID.from_pubkey(public).to_base58() == peer_id(bytes.fromhex(key))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "12D3KooW",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooW0OIl",
        "12D3KooWé",
        "\ud800",
        peer_id(SIGNER.public_key)[:-1],
        peer_id(SIGNER.public_key) + "1",
        "1" + peer_id(SIGNER.public_key),
        peer_id((1).to_bytes(32, "little")),
    ],
    ids=ascii,
)
def test_public_key_of__refuses_what_is_no_ed25519_peer_id(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        public_key_of(text)


@settings(max_examples=80)
@given(st.text(max_size=60))
def test_public_key_of__raises_nothing_but_the_peers_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        public_key_of(text)
