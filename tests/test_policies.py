"""The policies to compare with follow their papers' formulas and keep the signatures of what they stand in for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocol.allocation import ReceivedBid, View
from protocol.messages import Bid
from protocol.vote import Vote
from simnet.policies import (
    Finished,
    LinUcb,
    Policy,
    Random,
    RoundRobin,
    Symphony,
    SymphonyCoord,
    Tutti,
    Vector,
    chain_weight,
    cosine,
    features,
    reward,
    stability,
    top_score,
)

BEACONS = [bytes([number]) * 32 for number in range(1, 60)]
VIEW = View(10, 0, {})


def bids(count: int, queued: int = 0) -> list[ReceivedBid]:
    return [
        ReceivedBid(bytes([number]) * 32, bytes([number, 1]) * 16, Bid(bytes(16), 0, 0, bytes(32), queued, 1, 100))
        for number in range(1, count + 1)
    ]


def seated(policy: Policy, beacon: bytes, seats: int, offered: list[ReceivedBid]) -> list[int]:
    return [bid.bidder[0] for bid in policy.allocate(beacon, seats, offered, VIEW).seats]


def declared(bidder: bytes, _: bytes) -> Vector:
    return {"arith": 1.0, "lists": (bidder[0] - 1) / 10}


def required(_: bytes) -> Vector:
    return {"arith": 1.0}


ALL: list[Policy] = [Tutti(), Random(), RoundRobin(), Symphony(declared, required), SymphonyCoord(declared, required)]


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: type(policy).__name__)
def test_policy__seats_each_bidder_once_and_keeps_the_rest_in_reserve(policy: Policy) -> None:
    assignment = policy.allocate(BEACONS[0], 3, [*bids(5), *bids(5)], VIEW)
    everyone = [bid.bidder for bid in (*assignment.seats, *assignment.reserves)]
    assert len(assignment.seats) == 3
    assert sorted(everyone) == [bid.bidder for bid in bids(5)]
    assert policy.allocate(BEACONS[1], 3, [], VIEW).seats == ()


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: type(policy).__name__)
def test_policy__counts_votes_for_the_answer_that_all_gave(policy: Policy) -> None:
    policy.allocate(BEACONS[0], 3, bids(3), VIEW)
    assert policy.vote(BEACONS[0][:16], [Vote(bid.bidder, "7", 1) for bid in bids(3)]).answer == "7"


def test_random__gives_everyone_a_turn() -> None:
    assert {seated(Random(), beacon, 1, bids(4))[0] for beacon in BEACONS} == {1, 2, 3, 4}


def test_round_robin__goes_round() -> None:
    policy = RoundRobin()
    assert [seated(policy, beacon, 2, bids(3)) for beacon in BEACONS[:3]] == [[1, 2], [3, 1], [2, 3]]


def test_symphony__takes_the_nearest_vector_and_weighs_the_chain_by_it() -> None:
    policy = Symphony(declared, required)
    assert seated(policy, BEACONS[0], 2, bids(5)[::-1]) == [1, 2]
    assert cosine({"arith": 3.0, "lists": 4.0}, {"arith": 1.0}) == pytest.approx(0.6)
    assert cosine({}, {"arith": 1.0}) == 0
    assert len({cosine({"arith": level / 1_000, "lists": level / 1_000}, {"arith": 1.0}) for level in range(1, 1_000)}) == 1
    assert chain_weight([0.5, 1.0]) == 0.75
    # Two far ones lose against a near one only if their scores sum to less.
    policy.allocate(BEACONS[0], 3, bids(3), VIEW)
    votes = [Vote(bids(3)[0].bidder, "near", 0), Vote(bids(3)[1].bidder, "far", 9), Vote(bids(3)[2].bidder, "far", 9)]
    assert policy.vote(BEACONS[0][:16], votes).answer == "far"
    assert policy.vote(BEACONS[0][:16], votes[:2]).answer == "near"


def test_symphony__believes_whoever_says_one() -> None:
    def claims(bidder: bytes, beacon: bytes) -> Vector:
        return required(beacon) if bidder[0] == 5 else {"arith": 0.9, "lists": 0.3}

    assert seated(Symphony(claims, required), BEACONS[0], 1, bids(5)) == [5]


def test_symphony_coord__scores_as_its_paper() -> None:
    assert top_score(1.0, 0.0, 0.0) == 0.5
    assert top_score(0.0, 1.0, 0.0) == 0.35
    assert top_score(0.0, 0.0, 1.0) == 0.15
    assert stability(0.0, 0.0) == pytest.approx(1.0)
    assert stability(1.0, 0.5, 0.0) == pytest.approx(0.2)
    assert reward(Finished(b"", answered=True, agrees=True, latency_ms=500)) == pytest.approx(1 + 0.5 - 0.2 * 0.5)
    assert np.linalg.norm(features(1, 1, 1, 1)) <= 1 + 1e-12


def test_linucb__is_ridge_regression_with_a_bound_that_shrinks() -> None:
    bandit, seen = LinUcb(), [features(0.9, 0.1, 0.2, 0.5), features(0.2, 0.8, 0.1, 0.4), features(0.5, 0.5, 0.5, 0.5)]
    assert bandit.beta == pytest.approx(math.sqrt(2 * math.log(20)) + 1)
    before = bandit.bound(seen[0])
    for place, context in enumerate(seen):
        bandit.update(context, float(place))
    matrix = np.eye(6) + sum(np.outer(context, context) for context in seen)
    assert np.allclose(bandit.inverse, np.linalg.inv(matrix))
    assert bandit.beta == pytest.approx(math.sqrt(6 * math.log(4) + 2 * math.log(20)) + 1)
    spread = bandit.beta * math.sqrt(seen[0] @ np.linalg.inv(matrix) @ seen[0])
    assert bandit.bound(seen[0]) == pytest.approx(
        seen[0] @ np.linalg.solve(matrix, sum(r * c for r, c in enumerate(seen))) + spread
    )
    assert before == pytest.approx((math.sqrt(2 * math.log(20)) + 1) * np.linalg.norm(seen[0]))


def test_symphony_coord__learns_from_agreement_and_from_nothing_else() -> None:
    policy = SymphonyCoord(lambda *_: {"arith": 1.0}, required)
    offered = bids(4)
    for beacon in BEACONS:
        chosen = policy.allocate(beacon, 3, offered, VIEW).seats
        policy.learn(beacon, [Finished(bid.bidder, answered=True, agrees=bid.bidder[0] != 2, latency_ms=100) for bid in chosen])
    assert 2 not in seated(policy, BEACONS[0], 3, offered)
