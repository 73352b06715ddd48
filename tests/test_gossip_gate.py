"""What a mesh passes on of whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import (
    BEACON_MS,
    BEACONS_BURST,
    GATE_AUTHORS_MAX,
    RECORD_MS,
    RECORDS_BURST,
    RELAY_MS,
    RELAYS_BURST,
)
from protocol.gossip import Gate
from protocol.identity import KeySigner
from protocol.outbox import BEACONS, RECORDS
from protocol.rates import Bucket
from protocol.verdict import Verdict
from tests.core_bench import newer
from tests.stranger import beacon, spoiled
from tests.support import PARAMETERS, WALL_MS, Bench, peers, record

BENCH = Bench()
FLOOD = (Verdict.IGNORE, "flood")
PASSED = (Verdict.ACCEPT, "")


def beacons(author: KeySigner, count: int) -> list[bytes]:
    return [BENCH.sealed(author, beacon()) for _ in range(count)]


def gate(topic: str, *connected: KeySigner) -> Gate:
    return Gate(PARAMETERS.network, topic, frozenset(peer.public_key for peer in connected).__contains__)


def verdicts(of: Gate, messages: list[bytes], mono_ms: int = 0) -> list[tuple[Verdict, str]]:
    return [of.validate(data, WALL_MS, mono_ms) for data in messages]


def test_gate__passes_on_the_ration_of_a_connected_author_and_of_each_for_itself() -> None:
    one, other = peers(2)
    of = gate(BEACONS, one, other)
    assert verdicts(of, beacons(one, BEACONS_BURST + 2)) == [PASSED] * BEACONS_BURST + [FLOOD] * 2
    assert verdicts(of, beacons(other, 1)) == [PASSED]
    assert verdicts(of, beacons(one, 2), BEACON_MS) == [PASSED, FLOOD]


def test_gate__counts_authors_without_a_channel_together() -> None:
    honest, *crowd = peers(RELAYS_BURST + 3, "crowd")
    of = gate(BEACONS, honest)
    assert verdicts(of, [data for key in crowd for data in beacons(key, 1)]) == [PASSED] * RELAYS_BURST + [FLOOD] * 2
    assert verdicts(of, beacons(honest, 1)) == [PASSED]
    assert verdicts(of, beacons(crowd[0], 2), RELAY_MS) == [PASSED, FLOOD]


def test_gate__lets_nobody_use_up_the_ration_of_another() -> None:
    author = peers(1)[0]
    of = gate(BEACONS, author)
    forged = [spoiled(data) for data in beacons(author, BEACONS_BURST)]
    assert set(verdicts(of, forged)) == {(Verdict.REJECT, "signature")}
    assert verdicts(of, beacons(author, 1)) == [PASSED]


def test_gate__rations_records_by_their_own_number() -> None:
    author = peers(1)[0]
    of = gate(RECORDS, author)
    records = [BENCH.sealed(author, newer(record("arith"), sequence)) for sequence in range(RECORDS_BURST + 2)]
    assert verdicts(of, records[:-1]) == [PASSED] * RECORDS_BURST + [FLOOD]
    assert verdicts(of, records[-1:], RECORD_MS) == [PASSED]


def test_gate__remembers_a_bounded_number_of_authors() -> None:
    authors = peers(GATE_AUTHORS_MAX + 50, "author")
    of = gate(BEACONS, *authors)
    for author in authors:
        verdicts(of, beacons(author, 1))
    assert len(of._authors) <= GATE_AUTHORS_MAX


@given(st.integers(1, 1_000), st.integers(1, 50), st.lists(st.integers(0, 2_000), max_size=200))
def test_bucket__gives_no_more_than_its_burst_and_its_mean(interval_ms: int, burst: int, waits: list[int]) -> None:
    bucket, now_ms, given_out = Bucket(interval_ms, burst), 0, 0
    for wait_ms in waits:
        now_ms += wait_ms
        given_out += bucket.spend(now_ms)
        assert given_out <= burst + now_ms // interval_ms
    # And after a pause of the whole burst it is full again.
    now_ms += burst * interval_ms
    assert [bucket.spend(now_ms) for _ in range(burst + 1)] == [True] * burst + [False]
