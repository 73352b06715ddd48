"""Rates, addresses, and who may connect when places are taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.peer.id import ID

from node.libp2p_admission import HANDSHAKE_GRACE_S, IDLE_GRACE_S, Admission, Guest
from node.limits import Limits, Rate, RateLimit

_SECOND_NS = 1_000_000_000
_RATE = Rate(400, 2_000)


def test_rate__allows_a_burst_and_then_so_many_a_second() -> None:
    limit = RateLimit(_RATE)
    assert sum(limit.allows(b"a", 0) for _ in range(3 * _RATE.burst)) == _RATE.burst
    assert limit.dropped == 2 * _RATE.burst
    assert sum(limit.allows(b"a", _SECOND_NS) for _ in range(_RATE.burst)) == _RATE.per_s


def test_rate__of_one_peer_is_not_that_of_another_and_reconnecting_refills_nothing() -> None:
    limit = RateLimit(_RATE)
    for _ in range(2 * _RATE.burst):
        limit.allows(b"a", 0)
    assert limit.allows(b"b", 0)
    limit.tidy(0)
    assert not limit.allows(b"a", 0)
    limit.tidy(_RATE.burst * _SECOND_NS // _RATE.per_s)
    assert limit.allows(b"a", _RATE.burst * _SECOND_NS // _RATE.per_s)


@given(st.lists(st.tuples(st.integers(0, 50_000_000), st.integers(1, 60)), max_size=300))
def test_rate__never_lets_through_more_than_burst_and_rate(steps: list[tuple[int, int]]) -> None:
    limit, now_ns, passed = RateLimit(_RATE), 0, 0
    for gap_ns, cost in steps:
        now_ns += gap_ns
        passed += cost * limit.allows(b"a", now_ns, cost)
    assert passed <= _RATE.burst + now_ns * _RATE.per_s // _SECOND_NS + 1


@given(st.lists(st.integers(1, 500), min_size=1, max_size=100))
def test_rate__who_waits_as_told_never_exceeds_it_and_loses_nothing(costs: list[int]) -> None:
    limit, now_ns, done = RateLimit(_RATE), 0, 0
    for cost in costs:
        done += cost
        now_ns += limit.charge(b"a", now_ns, cost)
        assert done <= _RATE.burst + now_ns * _RATE.per_s // _SECOND_NS + len(costs)
    assert now_ns <= max(0, sum(costs) - _RATE.burst) * _SECOND_NS // _RATE.per_s + len(costs)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_address__is_what_one_customer_has(host: str, group: str) -> None:
    assert Limits().address_of(host) == group


def test_address__of_this_machine_is_exempt_only_where_asked_for() -> None:
    dev = Limits(exempt_loopback=True)
    assert [dev.address_of(host) for host in ("127.0.0.1", "::1", "::ffff:127.0.0.9")] == [None] * 3
    assert dev.address_of("192.0.2.7") == "192.0.2.7"
    assert dev.address_of("2001:db8::1") == "2001:db8::/64"


@dataclass(eq=False)
class FakeWire:
    """What admission asks of a connection."""

    address: str | None
    open: bool = True

    def abort(self) -> None:
        self.open = False


class Door:
    """An admission, and wires that knock on it."""

    def __init__(self, limits: Limits) -> None:
        self.hits: Counter[str] = Counter()
        self.admission = Admission(limits, self.hits)
        self.now = 0.0

    def knock(self, address: str | None) -> Guest | None:
        return self.admission.knock(FakeWire(address), self.now)  # type: ignore[arg-type]

    def enter(self, address: str | None, peer: int, *, useful: bool = False) -> Guest | None:
        guest = self.knock(address)
        if guest is None or not self.admission.enter(guest, ID(bytes([peer])), self.now):
            return None
        guest.useful = useful
        return guest


def is_open(guest: Guest | None) -> bool:
    return guest is not None and bool(guest.wire.open)  # type: ignore[attr-defined]


def test_handshakes__of_one_address_leave_room_for_others_and_for_its_own_after_a_second() -> None:
    door = Door(Limits())
    knocks = [door.knock("a") for _ in range(1_000)]
    assert sum(map(is_open, knocks)) == Limits().handshakes_per_address
    assert is_open(door.knock("b"))
    assert door.hits["guard_too_many_handshakes"] == 1_000 - Limits().handshakes_per_address
    door.now += HANDSHAKE_GRACE_S + 0.1
    assert is_open(door.knock("a"))
    assert not is_open(knocks[0])
    assert is_open(knocks[1])


def test_handshakes__of_all_addresses_are_bounded_and_the_oldest_leaves() -> None:
    limits = Limits()
    door = Door(limits)
    knocks = [door.knock(str(n // 20)) for n in range(1_000)]
    assert sum(map(is_open, knocks)) == limits.handshakes == len(door.admission.handshakes)
    door.now += HANDSHAKE_GRACE_S + 0.1
    assert is_open(door.knock("honest"))
    assert not is_open(knocks[0])
    assert len(door.admission.handshakes) == limits.handshakes


def test_guests__of_one_address_are_bounded_and_leave_room_for_others() -> None:
    door = Door(Limits())
    guests = [door.enter("a", n % 250, useful=True) for n in range(100)]
    assert sum(map(is_open, guests)) == Limits().connections_per_address
    assert is_open(door.enter("b", 251))


def test_guests__without_a_channel_leave_for_others_after_their_time_and_those_with_one_never() -> None:
    limits = Limits(connections=40, connections_own=8)
    door = Door(limits)
    useful = [door.enter(str(n), n, useful=True) for n in range(16)]
    idle = [door.enter(str(n), n) for n in range(16, 32)]
    assert door.knock("late") is None
    door.now += IDLE_GRACE_S + 0.1
    for number in range(16):
        assert is_open(door.enter(f"late {number}", 100 + number, useful=True))
        assert not is_open(idle[number])
    assert door.knock("later") is None
    assert all(map(is_open, useful))
    assert len(door.admission.guests) == limits.connections_inbound


def test_guests__of_one_peer_are_its_newest() -> None:
    door = Door(Limits())
    guests = [door.enter("a", 7, useful=True) for _ in range(6)]
    assert list(map(is_open, guests)) == [False, False, True, True, True, True]


def test_own_dials__always_find_room_by_the_newest_stranger_and_idle_ones_first() -> None:
    limits = Limits(connections=20, connections_own=4)
    door = Door(limits)
    guests = [door.enter(str(n), n, useful=n != 5) for n in range(limits.connections_inbound)]
    assert all(map(is_open, guests))
    for own in range(limits.connections):
        assert door.admission.make_room(own)
        assert own + len(door.admission.guests) < limits.connections
    assert not door.admission.make_room(limits.connections)
    assert not door.admission.guests


def test_own_dials__push_out_the_idle_and_then_the_newest() -> None:
    door = Door(Limits(connections=8, connections_own=2))
    guests = [door.enter(str(n), n, useful=n != 1) for n in range(6)]
    assert door.admission.make_room(2)
    assert list(map(is_open, guests)) == [True, False, True, True, True, True]
    assert door.admission.make_room(3)
    assert list(map(is_open, guests)) == [True, False, True, True, True, False]


@given(st.lists(st.tuples(st.sampled_from("keal"), st.integers(0, 5), st.integers(0, 7)), max_size=200))
def test_places__are_counted_right_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    limits = Limits(connections=12, connections_own=4, connections_per_address=3, handshakes=6, handshakes_per_address=2)
    door = Door(limits)
    made: list[Guest] = []
    for step, address, peer in steps:
        door.now += 0.4
        guest = door.knock(str(address)) if step == "k" else door.enter(str(address), peer, useful=step == "a")
        if guest is not None:
            made.append(guest)
        elif step == "l" and made:
            door.admission.leave(made[peer % len(made)])
        admission = door.admission
        assert len(admission.handshakes) <= limits.handshakes
        assert len(admission.guests) <= limits.connections_inbound
        for places, counts, most in (
            (admission.handshakes, admission._handshakes_of, limits.handshakes_per_address),
            (admission.guests, admission._guests_of, limits.connections_per_address),
        ):
            assert counts == Counter(guest.wire.address for guest in places)
            assert not counts or max(counts.values()) <= most
