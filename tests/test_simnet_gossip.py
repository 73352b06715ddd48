"""Gossip as a model: who hears a message, how soon beside the shortest way there is, and at what cost in copies."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.constants import RELAY_MS, RELAYS_BURST
from simnet.draws import Draws, mixed
from simnet.gossip import DEGREE_HIGH, HOP_US, Overlay, _mixed
from simnet.links import Rule

NODES = 300
WAYS = [[(30_000, 5_000, 0)]]


def overlay(seed: int = 1, nodes: int = NODES, connections: int = 16) -> Overlay:
    """Nodes that are connected at random."""
    made, draws = Overlay(seed), Draws(seed, "connections")
    for _ in range(nodes):
        made.add(0)
    linked: set[tuple[int, int]] = set()
    for one in range(nodes):
        for _ in range(connections // 2):
            other = draws.below(nodes)
            pair = (min(one, other), max(one, other))
            if one != other and pair not in linked:
                linked.add(pair)
                made.connect(*pair)
    return made


def shortest(made: Overlay, source: int) -> dict[int, int]:
    """The least that any spreading over the same edges can take, by Dijkstra (1959): no jitter, no loss."""
    times = {source: 0}
    queue = [(0, source)]
    while queue:
        time_us, node = heapq.heappop(queue)
        if time_us > times[node]:
            continue
        for other in made._links[node] if node == source else made._meshes[node]:
            if time_us + WAYS[0][0][0] < times.get(other, 1 << 60):
                times[other] = time_us + WAYS[0][0][0]
                heapq.heappush(queue, (times[other], other))
    return times


def test_gossip__reaches_everybody_in_little_more_than_the_shortest_way() -> None:
    made = overlay()
    ratios = []
    for source in range(0, NODES, 10):
        spread = made.spread("records", source, 0, WAYS)
        assert len(spread.hosts) == NODES - 1
        bound = sorted(shortest(made, source).values())
        ratios.append(np.quantile(spread.arrivals_us, 0.99) / bound[len(bound) * 99 // 100])
        assert spread.copies <= 6 * NODES
    assert max(ratios) <= 1.25


@pytest.mark.parametrize("permille", [50, 200])
def test_gossip__that_is_lost_on_the_way_is_pulled(permille: int) -> None:
    made = overlay(2)
    heard = [len(made.spread("records", source, 0, [[(30_000, 5_000, permille)]]).hosts) for source in range(60)]
    assert heard == [NODES - 1] * 60


def test_gossip__passes_no_partition() -> None:
    made = overlay(3)
    west = frozenset(range(NODES // 2))
    east = frozenset(range(NODES // 2, NODES))
    rules = [Rule(west, east, block=True), Rule(east, west, block=True)]
    spread = made.spread("records", 0, 0, WAYS, rules)
    assert set(spread.hosts.tolist()) <= west
    assert len(spread.hosts) > NODES // 3


def test_gossip__of_authors_without_a_channel_is_rationed() -> None:
    made = overlay(4)
    heard = [len(made.spread("records", source, 0, WAYS).hosts) for source in range(2 * RELAYS_BURST)]
    assert heard[0] == NODES - 1
    # After the burst only those who have a channel to the author hear it.
    assert heard[-1] <= len(made._links[2 * RELAYS_BURST - 1])
    assert len(made.spread("records", 0, 1_000 * RELAYS_BURST * RELAY_MS, WAYS).hosts) == NODES - 1


@given(st.integers(0, 1 << 32), st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=120))
def test_mesh__has_both_ends_of_an_edge_and_keeps_its_degree(seed: int, pairs: list[tuple[int, int]]) -> None:
    made = Overlay(seed)
    for _ in range(20):
        made.add(0)
    linked: set[tuple[int, int]] = set()
    for one, other in pairs:
        pair = (min(one, other), max(one, other))
        if one == other:
            continue
        if pair in linked:
            linked.remove(pair)
            made.disconnect(*pair)
        else:
            linked.add(pair)
            made.connect(*pair)
    for node, mesh in enumerate(made._meshes):
        assert len(mesh) <= DEGREE_HIGH
        assert all(node in made._meshes[other] for other in mesh)
        assert all((min(node, other), max(node, other)) in linked for other in mesh)


@given(st.integers(0, (1 << 64) - 1))
def test_draws__of_many_at_once_are_those_of_one(state: int) -> None:
    assert int(_mixed(np.array([state], np.uint64))[0]) == mixed(state)


def test_spread__is_the_same_for_the_same_seed_and_differs_between_messages() -> None:
    first, second = overlay(5), overlay(5)
    spreads = [made.spread("records", 1, 0, WAYS).arrivals_us.tolist() for made in (first, second, second)]
    assert spreads[0] == spreads[1] != spreads[2]
    assert min(spreads[0]) >= HOP_US
