"""What a network is: its genesis and the id that follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.genesis import NOBODY, Genesis, protocol_prefix
from protocol.identity import KeySigner, verify
from protocol.parameters import Parameters, preset

FOUNDER = KeySigner(b"f" * 32).public_key
GENESIS = Genesis("choir", FOUNDER, b"n" * 16)


def test_network_id__follows_every_field_of_the_genesis() -> None:
    others = [
        Genesis("choirs", FOUNDER, b"n" * 16),
        Genesis("choir", b"g" * 32, b"n" * 16),
        Genesis("choir", FOUNDER, bytes(16)),
    ]
    assert len({genesis.network for genesis in (GENESIS, *others)}) == 4
    assert Genesis.parse(GENESIS.body()).network == GENESIS.network


def test_network_id__does_not_follow_the_parameters() -> None:
    assert Parameters(GENESIS, 9, {}).network == Parameters(GENESIS, 1, preset("dev").skills).network == GENESIS.network


def test_protocol_prefix__parts_networks() -> None:
    assert protocol_prefix(preset("dev").network) != protocol_prefix(preset("local").network)
    assert protocol_prefix(bytes(range(32))) == "/tutti/0001020304050607"


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a" * 33, "ä", "a/b", "..", "a\n"])
def test_genesis__refuses_names_that_are_no_directory(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Genesis(name, FOUNDER, bytes(16))
    with pytest.raises(RemoteProtocolError):
        Genesis.parse({"name": name, "founder": FOUNDER, "nonce": bytes(16)})


@given(st.binary(max_size=99), st.binary(min_size=64, max_size=64))
def test_preset__has_a_founder_for_whom_nobody_can_sign(message: bytes, signature: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify(NOBODY, message, signature)
