"""Addresses that others named: which are worth dialling, and how often a third party can be knocked at through us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.addresses import DialBudget, host_of, is_loopback, target_of, worth_dialling
from protocol.constants import DIAL_HOST_MS, DIAL_TARGET_MS, DIAL_TARGETS_MAX, DIALS_PER_HOST_MAX, DIALS_PER_TARGET_MAX

HOME = ("/ip4/192.168.1.5/tcp/4101/p2p/A", "/ip4/127.0.0.1/tcp/4101/p2p/A")
PUBLIC = ("/ip4/198.51.100.7/tcp/4101/p2p/A",)
GLOBAL = "/ip4/8.8.4.4/tcp/4101/p2p/B"
LOOPBACK = "/ip4/127.0.0.1/tcp/4102/p2p/B"
PRIVATE = "/ip4/192.168.1.9/tcp/4101/p2p/B"
NAME = "/dns4/node.example/tcp/4101/p2p/B"


@pytest.mark.parametrize(
    ("own", "named", "dialled"),
    [
        # Somebody else's loopback is not ours, unless the peer lives on this machine.
        (HOME, (GLOBAL, LOOPBACK), (GLOBAL,)),
        (HOME, ("/ip4/192.168.1.5/tcp/9/p2p/B", LOOPBACK), (LOOPBACK, "/ip4/192.168.1.5/tcp/9/p2p/B")),
        (("/ip4/127.0.0.1/tcp/1/p2p/A",), (LOOPBACK,), (LOOPBACK,)),
        (("/ip4/8.8.8.8/tcp/1/p2p/A",), (LOOPBACK,), ()),
        # A private address leads somewhere else for a node that has none.
        (HOME, (PRIVATE, GLOBAL), (PRIVATE, GLOBAL)),
        (("/ip4/8.8.8.8/tcp/1/p2p/A",), (PRIVATE, GLOBAL), (GLOBAL,)),
        ((), (PRIVATE, LOOPBACK, GLOBAL, NAME), (GLOBAL, NAME)),
        # These are nobody's.
        (HOME, ("/ip4/0.0.0.0/tcp/1/p2p/B", "/ip4/224.0.0.1/tcp/1/p2p/B", "/ip4/255.255.255.255/tcp/1/p2p/B"), ()),
        (HOME, ("/ip6/fe80::1/tcp/1/p2p/B", "/ip6/ff02::1/tcp/1/p2p/B", "/ip6/::/tcp/1/p2p/B"), ()),
        (HOME, ("/ip4/nonsense/tcp/1/p2p/B", "/ip6/::ffff:0.0.0.0/tcp/1"), ()),
    ],
)
def test_address__is_dialled_only_where_it_can_lead_to_the_peer(
    own: tuple[str, ...], named: tuple[str, ...], dialled: tuple[str, ...]
) -> None:
    assert worth_dialling(named, own) == dialled


def test_host__is_one_in_any_notation() -> None:
    assert host_of("/ip6/2001:db8::1/tcp/1") == host_of("/ip6/2001:0db8:0:0:9::/tcp/2")
    assert host_of("/ip6/2001:db8::1/tcp/1") == host_of("/ip6/2001:db8::8000:0:0:1/tcp/1")
    assert host_of("/ip6/2001:db8::1/tcp/1") != host_of("/ip6/2001:db8:0:1::1/tcp/1")
    assert host_of("/ip6/::ffff:8.8.8.8/tcp/1") == host_of("/ip4/8.8.8.8/tcp/2")
    assert target_of("/ip6/2001:db8:0::1/tcp/0080/p2p/A") == target_of("/ip6/2001:db8::1/tcp/80/p2p/B")
    assert host_of("/dns4/a.example/tcp/1") != host_of("/dns4/b.example/tcp/1")


@pytest.mark.parametrize("host", ["/ip4/127.0.0.1", "/ip4/8.8.8.8", "/ip6/2001:db8::1", "/ip6/::1", "/dns4/node.example"])
def test_host__is_the_same_whatever_follows_it(host: str) -> None:
    for rest in ("/tcp/1", "/tcp/1/p2p/A", "/udp/1/quic-v1"):
        assert host_of(host) == host_of(host + rest)
        assert is_loopback(host) == is_loopback(host + rest)


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 9)), max_size=200))
def test_budget__bounds_what_a_target_and_a_host_can_get_through_us(tries: list[tuple[int, int]]) -> None:
    budget, now_ms = DialBudget(), 0
    begun: list[str] = []
    for gap_ms, port in tries:
        now_ms += gap_ms
        for name in "abcdefghij":  # as many names as somebody likes to make up for the same place
            address = f"/ip4/203.0.113.9/tcp/{port}/p2p/{name}"
            if budget.due_ms(address, now_ms) <= now_ms:
                budget.spend(address, now_ms)
                begun.append(target_of(address))
    assert len(begun) <= DIALS_PER_HOST_MAX + now_ms // DIAL_HOST_MS
    for target in set(begun):
        assert begun.count(target) <= DIALS_PER_TARGET_MAX + now_ms // DIAL_TARGET_MS


def test_budget__says_when_to_come_back_and_gives_back_what_was_answered() -> None:
    budget, address = DialBudget(), "/ip4/203.0.113.9/tcp/1/p2p/A"
    for _ in range(DIALS_PER_TARGET_MAX):
        assert budget.due_ms(address, 5) <= 5
        budget.spend(address, 5)
    due_ms = budget.due_ms(address, 5)
    assert due_ms == 5 + DIAL_TARGET_MS
    assert budget.due_ms(address, due_ms) <= due_ms
    budget.refund(address)
    assert budget.due_ms(address, 5) <= 5


def test_budget__is_bounded_itself_and_keeps_those_that_were_tried_most() -> None:
    budget, busy = DialBudget(), "/ip4/203.0.113.9/tcp/1/p2p/A"
    for _ in range(DIALS_PER_TARGET_MAX):
        budget.spend(busy, 0)
    for number in range(3 * DIAL_TARGETS_MAX):
        budget.spend(f"/dns4/n{number}.example/tcp/1/p2p/A", 0)
    assert len(budget._full_at_ms) <= DIAL_TARGETS_MAX + 1
    assert budget.due_ms(busy, 0) > 0
