"""The fuzzer's targets hold on their seeds, on any bytes, and on what the fuzzer found once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrib.fuzz.recorded import recorded
from contrib.fuzz.targets import TARGETS, seeds
from protocol.ledger import open_entry

# What once broke a target: its name and the input, in hexadecimal.
FOUND: list[tuple[str, str]] = []


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_target__holds_on_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target__holds_on_its_seeds(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


def test_targets__hold_on_what_was_found() -> None:
    for name, data in FOUND:
        TARGETS[name](bytes.fromhex(data))


def test_recorded_run__has_all_that_every_question_brings() -> None:
    kinds = recorded().envelopes.keys()
    assert kinds >= {"record", "beacon", "bid", "bid_ack", "award", "accept", "commit", "commit_set", "reveal"}
    assert kinds >= {"seek", "heads", "pull", "entries", "refine", "judge", "judgement"}
    assert {open_entry(value).kind for _, value in recorded().disk["ledger"]} >= {"start", "beacon", "audits", "opening"}
    assert recorded().receipts
