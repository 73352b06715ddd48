"""The owner's caps: never more than allowed in any hour or day, kept over restarts, and told instead of timing out."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import canonical
from protocol.allowance import CLOSED_MS_MIN, DAY_MS, HOUR_MS, SLOTS, Allowance, Caps, Reservation
from protocol.errors import LocalProtocolError
from protocol.events import Instant

USUAL = 512
WALL_MS = 1_700_000_000_000


class Owner:
    """An allowance under a clock of its own, with what was truly taken and when."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.true_ms = self.booted_ms = 0
        self.jump_ms = 0
        self.taken: list[tuple[int, list[int]]] = []
        self.open: list[tuple[Reservation, list[int]]] = []
        self.allowance = Allowance(caps, USUAL)
        self.wait(0)

    @property
    def now(self) -> Instant:
        return Instant(self.true_ms - self.booted_ms, WALL_MS + self.true_ms + self.jump_ms)

    def wait(self, for_ms: int) -> None:
        self.true_ms += for_ms
        self.allowance.begin(self.now)

    def award(self, tokens: int) -> bool:
        if not self.allowance.fits(tokens):
            return False
        entry = [tokens]
        self.taken.append((self.true_ms, entry))
        self.open.append((self.allowance.reserve(tokens), entry))
        return True

    def settle(self, share: int) -> None:
        reservation, entry = self.open.pop(0)
        entry[0] = reservation.tokens * share // 100
        self.allowance.settle(reservation, entry[0])

    def restart(self, away_ms: int) -> None:
        row = self.allowance.row()
        self.true_ms += away_ms
        self.booted_ms = self.true_ms
        self.open.clear()
        self.allowance = Allowance(self.caps, USUAL)
        self.allowance.restore(row, self.now)

    def within(self, length_ms: int) -> list[int]:
        return [entry[0] for at_ms, entry in self.taken if at_ms > self.true_ms - length_ms]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("award"), st.integers(1, 4_096)),
        st.tuples(st.just("settle"), st.integers(0, 100)),
        st.tuples(st.just("wait"), st.integers(0, 2 * HOUR_MS)),
        st.tuples(st.just("restart"), st.integers(0, 30 * HOUR_MS)),
        st.tuples(st.just("jump"), st.integers(-3 * DAY_MS, 3 * DAY_MS)),
    ),
    max_size=60,
)


@given(requests=st.integers(0, 5), tokens=st.just(0) | st.integers(4_096, 10_000), steps=steps)
@example(requests=1, tokens=0, steps=[("award", 1), ("jump", -150_001), ("restart", HOUR_MS - 1), ("award", 1)])
def test_caps__are_never_exceeded_in_any_hour_or_day(requests: int, tokens: int, steps: list[tuple[str, int]]) -> None:
    owner = Owner(Caps(requests, tokens))
    for what, amount in steps:
        if what == "award":
            owner.award(amount)
        elif what == "settle" and owner.open:
            owner.settle(amount)
        elif what == "wait":
            owner.wait(amount)
        elif what == "restart":
            # A clock that is put forward while the node is off cannot be told from a night; one that was ahead may be put back.
            owner.jump_ms = min(0, owner.jump_ms)
            owner.restart(amount)
        elif what == "jump":
            owner.jump_ms = amount
            owner.wait(0)
        assert not requests or len(owner.within(HOUR_MS)) <= requests
        assert not tokens or sum(owner.within(DAY_MS)) <= tokens


@given(requests=st.integers(1, 5), waits=st.lists(st.integers(0, HOUR_MS), max_size=20))
def test_closed__says_when_it_opens_and_opens_then(requests: int, waits: list[int]) -> None:
    owner = Owner(Caps(requests_per_hour=requests))
    for for_ms in waits:
        owner.award(1)
        until_ms = owner.allowance.closed_until_ms
        assert (until_ms is None) == owner.allowance.fits(1)
        if until_ms is not None:
            assert owner.now.mono_ms < until_ms <= owner.now.mono_ms + HOUR_MS + HOUR_MS // SLOTS
            owner.wait(until_ms - owner.now.mono_ms - 1)
            assert owner.allowance.closed_until_ms == until_ms
            owner.wait(1)
            assert owner.allowance.fits(1)
            assert owner.allowance.closed_until_ms is None
        owner.wait(for_ms)


def test_result__gives_back_what_it_did_not_take() -> None:
    owner = Owner(Caps(tokens_per_day=5_000))
    owner.award(4_096)
    owner.settle(25)
    assert owner.allowance.tokens.taken == 1_024


def test_result__that_took_more_than_it_was_allowed_counts_as_it_was() -> None:
    owner = Owner(Caps(tokens_per_day=5_000))
    owner.award(4_000)
    owner.settle(130)
    assert owner.allowance.tokens.taken == 5_200
    assert not owner.award(1)
    assert owner.allowance.closed_until_ms is not None


def test_award__without_a_result_counts_in_full() -> None:
    owner = Owner(Caps(tokens_per_day=5_000))
    owner.award(4_096)
    owner.open.clear()
    owner.wait(HOUR_MS)
    assert owner.allowance.tokens.taken == 4_096


def test_closed__stays_so_for_a_minute_whatever_comes_back() -> None:
    owner = Owner(Caps(tokens_per_day=4_096))
    owner.award(4_000)
    owner.settle(1)
    assert owner.allowance.fits(USUAL)
    assert owner.allowance.closed_until_ms == CLOSED_MS_MIN
    owner.wait(CLOSED_MS_MIN)
    assert owner.allowance.closed_until_ms is None


def test_restart__with_the_clock_put_back_gives_nothing_back() -> None:
    owner = Owner(Caps(requests_per_hour=1))
    owner.award(1)
    owner.jump_ms = -DAY_MS
    owner.restart(0)
    assert not owner.award(1)
    owner.wait(HOUR_MS + HOUR_MS // SLOTS)
    assert owner.award(1)


def test_restart__with_other_caps_keeps_what_was_taken() -> None:
    owner = Owner(Caps(requests_per_hour=3))
    owner.award(1)
    owner.award(1)
    owner.caps = Caps(requests_per_hour=2)
    owner.restart(0)
    assert not owner.award(1)


def test_no_caps__allow_everything_and_keep_nothing() -> None:
    owner = Owner(Caps())
    assert not owner.allowance.capped
    assert all(owner.award(4_096) for _ in range(100))
    assert (owner.allowance.requests.taken, owner.allowance.tokens.taken) == (0, 0)


@given(row=st.binary(max_size=60))
def test_damaged_row__is_told(row: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="damaged"):
        Allowance(Caps(1, 1), USUAL).restore(row, Instant(0, WALL_MS))


@pytest.mark.parametrize("name", ["clock_ms", "wall_ms", "requests", "tokens"])
@pytest.mark.parametrize("wrong", [-1, 2**63 - 1, "1", True, None, [1]])
def test_damaged_row__is_told_whichever_number_is_none(name: str, wrong: canonical.Value) -> None:
    row = canonical.decode(Owner(Caps(1, 1)).allowance.row())
    assert isinstance(row, dict)
    # What was taken are rows of a slot and an amount.
    changes: list[canonical.Value] = [wrong] if name in ("clock_ms", "wall_ms") else [[[wrong, 1]], [[1, wrong]]]
    for change in changes:
        with pytest.raises(LocalProtocolError, match="damaged"):
            Allowance(Caps(1, 1), USUAL).restore(canonical.encode(row | {name: change}), Instant(0, WALL_MS))


def test_reservation__beyond_the_caps_is_misuse() -> None:
    owner = Owner(Caps(requests_per_hour=1))
    owner.award(1)
    with pytest.raises(LocalProtocolError):
        owner.allowance.reserve(1)
