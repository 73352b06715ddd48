"""The checkers' own arithmetic agrees with the core's: each was written from the specs alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.allocation import ReceivedBid, View, allocate
from protocol.evidence import Counts, log2_fixed
from protocol.messages import Bid
from protocol.stopping import alone, decided, is_checked
from protocol.vote import Vote, tally
from simnet.oracles import Bidder, Voice, asked_alone, binary_log, is_decided, mean_of, ranked, result_of, weight_of

TASK = bytes(range(16))
BEACON = bytes(range(32))
_COUNTS = st.tuples(st.integers(0, 4_000), st.integers(0, 4_000))
# Few answers, weights and clusters, so that ties are common.
_VOTES = st.lists(
    st.tuples(st.sampled_from([None, "1", "2"]), st.sampled_from([0, 5, 10]), st.sampled_from([-1, 0, 1])), max_size=4
)


def voices(rows: list[tuple[str | None, int, int]], first: int = 0) -> tuple[list[Vote], list[Voice]]:
    keys = [bytes([first + number]) * 32 for number in range(len(rows))]
    votes = [
        Vote(key, answer, weight, None if group < 0 else group) for key, (answer, weight, group) in zip(keys, rows, strict=True)
    ]
    return votes, [Voice(key, *row) for key, row in zip(keys, rows, strict=True)]


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_log__is_the_cores(numerator: int, denominator: int) -> None:
    assert binary_log(numerator, denominator) == log2_fixed(numerator, denominator)


@given(_COUNTS, st.integers(2, 1_000))
def test_weight_and_mean__are_the_cores(counts: tuple[int, int], options: int) -> None:
    assert weight_of(*counts, options) == Counts(*counts).weight(options)
    assert mean_of(*counts, options) == Counts(*counts).mean(options)


@given(_VOTES, _VOTES)
def test_result__is_the_cores(cast: list[tuple[str | None, int, int]], silent: list[tuple[str | None, int, int]]) -> None:
    (votes, said), (others, asked) = voices(cast), voices([(None, *row[1:]) for row in silent], 100)
    due, found = tally(TASK, votes, others), result_of(TASK, said, asked, "settled", 1)
    assert found == {
        "outcome": "all failed" if due.answer is None else "answered" if due.earned else "unearned",
        "answer": due.answer,
        "earned": due.earned,
        "margin": due.margin,
        "support": [list(row) for row in due.support],
        "dissent": due.dissent,
        "abstained": due.abstained,
        "coverage": due.coverage,
    }


@given(_VOTES, _VOTES)
def test_decided__never_sooner_than_by_brute_force(
    cast: list[tuple[str | None, int, int]], silent: list[tuple[str | None, int, int]]
) -> None:
    (votes, said), (owed, asked) = voices(cast), voices([(None, *row[1:]) for row in silent], 100)
    if decided(TASK, votes, owed):
        assert is_decided(TASK, said, asked)


_BIDDERS = st.lists(st.tuples(_COUNTS, st.integers(0, 3), st.integers(1, 4)), max_size=6)


def bidders(rows: list[tuple[tuple[int, int], int, int]]) -> list[Bidder]:
    return [Bidder(bytes([number]) * 32, *counts, -1, queued, slots) for number, (counts, queued, slots) in enumerate(rows)]


@given(_BIDDERS)
def test_ranked__is_the_order_of_the_cores_award(rows: list[tuple[tuple[int, int], int, int]]) -> None:
    found = bidders(rows)
    bids = [ReceivedBid(each.key, each.key, Bid(TASK, 0, 0, BEACON, each.queued, each.slots, 0)) for each in found]
    due = allocate(BEACON, 3, bids, View(10, 0, {each.key: Counts(each.hits, each.misses) for each in found}))
    assert [each.key for each in ranked(BEACON, found, 10)] == [bid.bidder for bid in (*due.seats, *due.reserves)]


@given(_BIDDERS, st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64), max_size=2))
def test_asked_alone__is_the_cores(rows: list[tuple[tuple[int, int], int, int]], acks: dict[bytes, bytes]) -> None:
    found = bidders(rows)[:3]
    votes = [Vote(each.key, None, weight_of(each.hits, each.misses, 10)) for each in found]
    place = alone(votes, [mean_of(each.hits, each.misses, 10) for each in found])
    checked = is_checked([ack for _, ack in sorted(acks.items())])
    assert asked_alone(found, 10, acks) == (None if place is None or checked else found[place])
