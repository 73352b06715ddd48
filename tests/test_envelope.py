"""An envelope counts once, for its recipient, in its time, and only as its sender signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical
from protocol.constants import (
    CLOCK_SKEW_MS_MAX,
    ENVELOPE_SIZE_MAX,
    LIFETIME_MS_MAX,
    RECORD_LIFETIME_MS_MAX,
    SEEN_PER_SENDER_MAX,
    SEEN_SENDERS_MAX,
)
from protocol.envelope import (
    DOMAIN,
    RECORD,
    Envelope,
    check_for,
    check_fresh,
    envelope_id,
    open_envelope,
    seal,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.identity import KeySigner
from protocol.seen import SeenCache

ALICE, BOB = KeySigner(b"a" * 32), KeySigner(b"b" * 32)
NETWORK = bytes(32)
NOW_MS = 1_700_000_000_000
BODY: dict[str, canonical.Value] = {"task": b"t" * 16, "step": 0, "text": "12"}


def sealed(**changes: object) -> bytes:
    arguments: dict[str, Any] = {
        "signer": ALICE,
        "network": NETWORK,
        "kind": "result",
        "to": BOB.public_key,
        "body": BODY,
        "issued_ms": NOW_MS,
        "lifetime_ms": LIFETIME_MS_MAX,
    }
    return seal(**(arguments | changes))


def signed(fields: dict[str, Any], signer: KeySigner = ALICE) -> bytes:
    """An envelope whose fields no honest node would write, with a signature that holds."""
    payload = canonical.encode(fields)
    return signer.sign(DOMAIN + payload) + payload


def fields_of(data: bytes) -> dict[str, Any]:
    fields = canonical.decode(data[64:])
    assert isinstance(fields, dict)
    return dict(fields)


def code_of(action: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        action(*arguments)
    return caught.value.code


def test_open__gives_back_what_was_sealed() -> None:
    data = sealed()
    envelope = open_envelope(data)
    assert (envelope.network, envelope.type, envelope.sender, envelope.to) == (
        NETWORK,
        "result",
        ALICE.public_key,
        BOB.public_key,
    )
    assert (envelope.issued_ms, envelope.expires_ms) == (NOW_MS, NOW_MS + LIFETIME_MS_MAX)
    assert (envelope.body, envelope.size) == (BODY, len(data))
    assert envelope.id == envelope_id(data) == hashlib.sha256(DOMAIN + data[64:]).digest()


@settings(max_examples=250)
@given(st.data())
def test_open__refuses_any_flipped_byte(draw: st.DataObject) -> None:
    data = bytearray(sealed())
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    code_of(open_envelope, bytes(data))


@settings(max_examples=100)
@given(st.data())
def test_open__refuses_any_cut_or_addition(draw: st.DataObject) -> None:
    data = sealed()
    code_of(open_envelope, data[: draw.draw(st.integers(0, len(data) - 1))])
    code_of(open_envelope, data + draw.draw(st.binary(min_size=1, max_size=5)))


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_open__raises_nothing_but_the_peers_error(data: bytes) -> None:
    code_of(open_envelope, data)


def test_open__refuses_a_sender_who_did_not_sign() -> None:
    forged = fields_of(sealed()) | {"sender": BOB.public_key}
    assert code_of(open_envelope, signed(forged, ALICE)) == "signature"


def test_open__refuses_a_signature_made_for_another_purpose() -> None:
    payload = sealed()[64:]
    assert code_of(open_envelope, ALICE.sign(payload) + payload) == "signature"
    assert code_of(open_envelope, ALICE.sign(b"tutti/envelope/2\x00" + payload) + payload) == "signature"


def test_open__refuses_a_sender_key_of_small_order() -> None:
    key = (1).to_bytes(32, "little")
    payload = canonical.encode(fields_of(sealed()) | {"sender": key})
    # For this key R = the identity and S = 0 would satisfy the bare equation for every message.
    assert code_of(open_envelope, key + bytes(32) + payload) == "key"


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "network of another size": {"network": b"n" * 31},
    "network as a string": {"network": "n" * 32},
    "type as bytes": {"type": b"result"},
    "type missing its value": {"type": None},
    "body as a list": {"body": []},
    "sender of another size": {"sender": b"s" * 33},
    "sender as a string": {"sender": "s" * 32},
    "recipient of another size": {"to": b"t" * 31},
    "recipient as a number": {"to": 1},
    "recipient as a list": {"to": []},
    "issued as a boolean": {"issued_ms": True},
    "issued before time": {"issued_ms": -1},
    "expires as a string": {"expires_ms": "1"},
    "expires when issued": {"expires_ms": NOW_MS},
    "expires before issued": {"expires_ms": NOW_MS - 1},
    "expires beyond what a double holds": {"expires_ms": 2**53 + 1},
    "another field": {"hops": 1},
}


@pytest.mark.parametrize("fault", BAD_FIELDS)
def test_open__refuses_a_signed_envelope_with(fault: str) -> None:
    assert code_of(open_envelope, signed(fields_of(sealed()) | BAD_FIELDS[fault])) == "envelope"


def test_open__takes_every_time_that_a_double_holds() -> None:
    last = open_envelope(signed(fields_of(sealed()) | {"issued_ms": 2**53 - 1, "expires_ms": 2**53}))
    assert (last.issued_ms, last.expires_ms) == (2**53 - 1, 2**53)
    assert open_envelope(sealed(issued_ms=0)).issued_ms == 0


@pytest.mark.parametrize("name", ["body", "expires_ms", "issued_ms", "network", "sender", "to", "type"])
def test_open__refuses_a_missing_field(name: str) -> None:
    fields = fields_of(sealed())
    del fields[name]
    assert code_of(open_envelope, signed(fields)) == "envelope"


@pytest.mark.parametrize("value", [[], 1, "text", None])
def test_open__refuses_a_payload_that_is_no_map(value: object) -> None:
    payload = canonical.encode(value)
    assert code_of(open_envelope, ALICE.sign(DOMAIN + payload) + payload) == "envelope"


def test_check_for__refuses_another_network_and_another_recipient() -> None:
    envelope = open_envelope(sealed())
    check_for(envelope, NETWORK, frozenset({BOB.public_key, "beacons"}))
    assert code_of(check_for, envelope, b"n" * 32, frozenset({BOB.public_key})) == "network"
    assert code_of(check_for, envelope, NETWORK, frozenset({ALICE.public_key, "beacons"})) == "recipient"
    # A topic whose name is a key's bytes is no key.
    topic = open_envelope(sealed(to="b" * 32))
    assert code_of(check_for, topic, NETWORK, frozenset({b"b" * 32})) == "recipient"


def test_check_fresh__has_exact_bounds() -> None:
    envelope = open_envelope(sealed())
    check_fresh(envelope, NOW_MS - CLOCK_SKEW_MS_MAX)
    assert code_of(check_fresh, envelope, NOW_MS - CLOCK_SKEW_MS_MAX - 1) == "future"
    last_ms = NOW_MS + LIFETIME_MS_MAX + CLOCK_SKEW_MS_MAX - 1
    check_fresh(envelope, last_ms)
    assert code_of(check_fresh, envelope, last_ms + 1) == "expired"


@pytest.mark.parametrize(("kind", "lifetime_ms"), [("result", LIFETIME_MS_MAX), (RECORD, RECORD_LIFETIME_MS_MAX)])
def test_lifetime__is_bounded_on_both_sides(kind: str, lifetime_ms: int) -> None:
    fields = fields_of(sealed(kind=kind, lifetime_ms=lifetime_ms))
    check_fresh(open_envelope(signed(fields)), NOW_MS)
    too_long = signed(fields | {"expires_ms": NOW_MS + lifetime_ms + 1})
    assert code_of(check_fresh, open_envelope(too_long), NOW_MS) == "lifetime"
    for wrong_ms in (lifetime_ms + 1, 0, -1):
        with pytest.raises(LocalProtocolError):
            sealed(kind=kind, lifetime_ms=wrong_ms)


def test_seal__refuses_a_body_that_does_not_fit() -> None:
    with pytest.raises(LocalProtocolError):
        sealed(body={"text": "x" * ENVELOPE_SIZE_MAX})


# --- Replay


def numbered(number: int, issued_ms: int, sender: bytes = bytes(32)) -> Envelope:
    """An envelope as `open_envelope` gives it, without the cost of a signature."""
    return replace(TEMPLATE, id=number.to_bytes(32, "big"), issued_ms=issued_ms, sender=sender)


TEMPLATE = open_envelope(sealed())


def test_seen__refuses_the_second_copy() -> None:
    seen = SeenCache()
    seen.add(TEMPLATE)
    assert code_of(seen.add, TEMPLATE) == "replay"


def test_seen__is_bounded_and_never_takes_again_what_it_forgot() -> None:
    seen = SeenCache()
    for number in range(SEEN_PER_SENDER_MAX + 1):
        seen.add(numbered(number, NOW_MS + number))
        assert len(seen) <= SEEN_PER_SENDER_MAX
    for number in range(SEEN_PER_SENDER_MAX + 1):
        assert code_of(seen.add, numbered(number, NOW_MS + number)) == "replay"
    seen.add(numbered(SEEN_PER_SENDER_MAX + 1, NOW_MS + SEEN_PER_SENDER_MAX + 1))


def test_seen__keeps_its_promise_when_all_came_in_one_millisecond() -> None:
    seen = SeenCache()
    for number in range(SEEN_PER_SENDER_MAX + 1):
        seen.add(numbered(number, NOW_MS))
    for number in (0, SEEN_PER_SENDER_MAX // 2, SEEN_PER_SENDER_MAX):
        assert code_of(seen.add, numbered(number, NOW_MS)) == "replay"
    seen.add(numbered(0, NOW_MS + 1))


def test_seen__a_flood_dated_ahead_costs_no_other_sender_a_message() -> None:
    seen = SeenCache()
    for number in range(4 * SEEN_PER_SENDER_MAX):
        seen.add(numbered(number, NOW_MS + 9_900 + number, sender=b"f" * 32))
    assert len(seen) <= SEEN_PER_SENDER_MAX
    seen.add(numbered(1, NOW_MS, sender=b"h" * 32))


def test_seen__the_number_of_senders_is_bounded_and_the_latest_stay() -> None:
    seen = SeenCache()
    for number in range(2 * SEEN_SENDERS_MAX):
        seen.add(numbered(number, NOW_MS, sender=number.to_bytes(32, "big")))
    assert len(seen) == SEEN_SENDERS_MAX
    last = 2 * SEEN_SENDERS_MAX - 1
    assert code_of(seen.add, numbered(last, NOW_MS, sender=last.to_bytes(32, "big"))) == "replay"


def test_watermark__refuses_what_was_issued_up_to_it() -> None:
    seen = SeenCache(NOW_MS)
    assert code_of(seen.add, numbered(1, NOW_MS)) == "replay"
    assert code_of(seen.add, numbered(1, NOW_MS - 1)) == "replay"
    seen.add(numbered(1, NOW_MS + 1))
