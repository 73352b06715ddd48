"""The award can be computed again by anyone: same bids and view, same seats."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.allocation import Assignment, ReceivedBid, View, allocate
from protocol.constants import EVIDENCE_ONE, SEATS_MAX
from protocol.evidence import Counts
from protocol.messages import Bid

BEACON = b"b" * 32
K = 10


def bid(number: int, queued: int = 0, slots: int = 1, tokens_per_s: int = 100, envelope: int | None = None) -> ReceivedBid:
    body = Bid(b"t" * 16, 0, 0, BEACON, queued, slots, tokens_per_s)
    name = number if envelope is None else envelope
    return ReceivedBid(number.to_bytes(32, "big"), name.to_bytes(32, "little"), body)


def seen(hits: int, misses: int) -> Counts:
    return Counts(hits * EVIDENCE_ONE, misses * EVIDENCE_ONE)


def view(known: dict[int, Counts] | None = None, newcomer_seats: int = 0, options: int = K) -> View:
    return View(options, newcomer_seats, {number.to_bytes(32, "big"): count for number, count in (known or {}).items()})


def numbers(bids: tuple[ReceivedBid, ...]) -> list[int]:
    return [int.from_bytes(item.bidder, "big") for item in bids]


bids_and_views = st.lists(
    st.builds(bid, st.integers(1, 9), st.integers(0, 20), st.integers(1, 4), st.just(100), st.integers(1, 60)), max_size=14
).flatmap(
    lambda bids: st.tuples(
        st.just(bids),
        st.builds(
            view,
            st.dictionaries(st.integers(1, 9), st.builds(seen, st.integers(0, 12), st.integers(0, 12))),
            st.integers(0, 3),
            st.sampled_from([2, 10, 1_000]),
        ),
    )
)


@settings(max_examples=200)
@given(bids_and_views, st.integers(1, SEATS_MAX), st.randoms(use_true_random=False))
def test_allocate__depends_on_nothing_but_the_set_of_bids(
    case: tuple[list[ReceivedBid], View], seats: int, draws: random.Random
) -> None:
    bids, what = case
    # One envelope has one content: of equal ids one is kept.
    bids = list({item.id: item for item in bids}.values())
    shuffled = list(bids)
    draws.shuffle(shuffled)
    result = allocate(BEACON, seats, bids, what)
    assert allocate(BEACON, seats, shuffled, what) == result
    assert allocate(BEACON, seats, [*bids, *bids], what) == result
    everyone = numbers(result.seats) + numbers(result.reserves)
    assert sorted(everyone) == sorted({int.from_bytes(item.bidder, "big") for item in bids})
    earned = [item for item in {item.bidder: item for item in bids}.values() if what.of(item).weight(what.options) > 0]
    entitled = earned if earned and not what.newcomer_seats else everyone
    assert len(result.seats) == min(seats, len(entitled))
    assert set(result.seats + result.reserves) <= set(bids)


def test_allocate__gives_nobody_a_seat_who_did_not_bid() -> None:
    assert allocate(BEACON, 3, [], view({1: seen(9, 0)})) == Assignment((), ())
    assert numbers(allocate(BEACON, 3, [bid(2)], view({1: seen(9, 0)})).seats) == [2]


def test_allocate__gives_one_peer_one_seat_however_often_it_bids() -> None:
    bids = [bid(1, envelope=number) for number in range(10, 30)] + [bid(2)]
    result = allocate(BEACON, 3, bids, view())
    assert sorted(numbers(result.seats)) == [1, 2]
    assert result.reserves == ()
    assert allocate(BEACON, 3, bids[::-1], view()) == result


def test_allocate__prefers_who_earned_then_newcomers_then_those_who_failed() -> None:
    known = {1: seen(10, 0), 2: seen(5, 5), 3: seen(0, 10)}
    result = allocate(BEACON, 2, [bid(number) for number in (5, 4, 3, 2, 1)], view(known))
    assert numbers(result.seats) == [1, 2]
    # A vote without a weight could change nothing, so a third seat stays empty.
    assert allocate(BEACON, 3, [bid(number) for number in (5, 4, 3, 2, 1)], view(known)) == result
    assert set(numbers(result.reserves[:2])) == {4, 5}
    assert numbers(result.reserves[2:]) == [3]


def test_newcomer_seats__go_first_to_bidders_without_evidence_and_to_no_more() -> None:
    known = {1: seen(10, 0), 2: seen(9, 1), 3: seen(8, 2)}
    bids = [bid(number) for number in (1, 2, 3, 4, 5, 6)]
    result = allocate(BEACON, 3, bids, view(known, newcomer_seats=1))
    assert result.seats[0] in bids[3:]
    assert numbers(result.seats[1:]) == [1, 2]
    assert numbers(allocate(BEACON, 3, bids[:3], view(known, newcomer_seats=3)).seats) == [1, 2, 3]


def test_newcomers__are_drawn_anew_by_every_beacon() -> None:
    bids = [bid(number) for number in range(1, 9)]
    first = [numbers(allocate(number.to_bytes(32, "big"), 1, bids, view()).seats)[0] for number in range(200)]
    assert set(first) == set(range(1, 9))
    assert max(first.count(number) for number in range(1, 9)) < 60


def test_load__costs_rank_between_equals_and_no_more_than_a_quarter() -> None:
    known = {1: seen(9, 1), 2: seen(9, 1), 3: seen(10, 0), 4: seen(3, 7)}
    idle, busy, swamped = bid(2), bid(1, queued=4), bid(3, queued=1_000_000)
    assert numbers(allocate(BEACON, 1, [busy, idle], view(known)).seats) == [2]
    # Eight slots do in one go what one slot does in eight.
    wide = bid(1, queued=4, slots=8)
    assert numbers(allocate(BEACON, 2, [wide, bid(2, queued=4)], view(known)).seats) == [1, 2]
    assert numbers(allocate(BEACON, 2, [swamped, bid(4)], view(known)).seats) == [3, 4]


def test_load__never_lifts_the_worthless_over_who_earned() -> None:
    known = {1: seen(6, 4), 2: seen(0, 10)}
    result = allocate(BEACON, 1, [bid(1, queued=1_000_000), bid(2)], view(known))
    assert numbers(result.seats) == [1]


def test_allocate__takes_no_declared_prior_and_no_declared_speed() -> None:
    assert {field.name for field in fields(View)} == {"options", "newcomer_seats", "counts", "clusters"}
    assert {field.name for field in fields(ReceivedBid)} == {"bidder", "id", "bid"}
    assert {field.name for field in fields(Counts)} == {"hits", "misses"}
    assert set(Bid.RULES) == {"task", "plan", "step", "beacon", "queued", "slots", "tokens_per_s"}
    known = {number: seen(number, 5 - number) for number in range(1, 5)}
    slow = [bid(number, tokens_per_s=0) for number in range(1, 7)]
    fast = [bid(number, tokens_per_s=10_000_000 // number) for number in range(1, 7)]
    assert numbers(allocate(BEACON, 3, slow, view(known)).seats) == numbers(allocate(BEACON, 3, fast, view(known)).seats)


@given(bids_and_views, st.dictionaries(st.integers(1, 9).map(lambda number: number.to_bytes(32, "big")), st.integers(0, 3)))
def test_clusters__move_no_seat(case: tuple[list[ReceivedBid], View], clusters: dict[bytes, int]) -> None:
    bids, what = case
    assert allocate(BEACON, 3, bids, replace(what, clusters=clusters)) == allocate(BEACON, 3, bids, what)


# --- The view's hash


def test_view_hash__does_not_depend_on_order() -> None:
    what = view({1: seen(1, 2), 2: seen(3, 4)})
    same = view({2: seen(3, 4), 1: seen(1, 2)})
    assert what.hash([bid(1), bid(2)]) == same.hash([bid(2), bid(1)])


@given(st.integers(1, 3), st.sampled_from([(1, 0), (0, 1), (-1, 0), (0, -1)]))
def test_view_hash__changes_with_any_count(number: int, change: tuple[int, int]) -> None:
    known = {1: seen(1, 2), 2: seen(3, 4), 3: seen(5, 6)}
    bids = [bid(1), bid(2), bid(3)]
    other = dict(known)
    other[number] = Counts(known[number].hits + change[0], known[number].misses + change[1])
    assert view(other).hash(bids) != view(known).hash(bids)


@pytest.mark.parametrize(
    "change", ["options", "newcomer_seats", "a cluster", "a bid less", "another envelope", "another bidder"]
)
def test_view_hash__changes_with(change: str) -> None:
    bids = [bid(1), bid(2)]
    what = view({1: seen(1, 2)})
    digest = what.hash(bids)
    if change == "options":
        what = replace(what, options=K + 1)
    elif change == "newcomer_seats":
        what = replace(what, newcomer_seats=1)
    elif change == "a cluster":
        what = replace(what, clusters={bids[0].bidder: 0})
    else:
        bids = {"a bid less": bids[:1], "another envelope": [bid(1), bid(2, envelope=9)]}.get(
            change, [bid(1), replace(bid(3), id=bids[1].id)]
        )
    assert what.hash(bids) != digest


def test_view_hash__says_nothing_of_peers_who_did_not_bid() -> None:
    known = replace(view({1: seen(1, 2), 9: seen(7, 0)}), clusters={(9).to_bytes(32, "big"): 0})
    assert known.hash([bid(1)]) == view({1: seen(1, 2)}).hash([bid(1)])
