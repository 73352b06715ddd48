"""Bootstraps are hints that are dialled for ever; an owner hears once of a node that nobody answers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import joining
from node.daemon import Running
from node.joining import ALONE_MS, Bootstraps, Solitude, join, told_alone
from node.logs import FIELDS
from node.transport import TransportError
from protocol.constants import DIAL_BACKOFF_MS_MAX, DIAL_BACKOFF_MS_MIN, DIAL_JITTER_SHARE
from protocol.events import Log
from protocol.identity import KeySigner, peer_id

KEYS = [KeySigner(bytes([1 + number]) * 32).public_key for number in range(3)]
ADDRESSES = [f"/ip4/127.0.0.1/tcp/{4_100 + number}/p2p/{peer_id(key)}" for number, key in enumerate(KEYS)]


def test_bootstraps__are_dialled_all_at_once_and_this_node_never() -> None:
    hints = Bootstraps(ADDRESSES, KEYS[2])
    assert hints.due([], 0) == ADDRESSES[:2]
    assert hints.due([], 100_000) == []  # those dials are still under way


@given(st.integers(2, 12))
def test_bootstrap_that_is_dead__is_dialled_for_ever_with_backoff(failures: int) -> None:
    hints, now_ms, backoff_ms = Bootstraps(ADDRESSES[:1], b""), 0, DIAL_BACKOFF_MS_MIN
    for _ in range(failures):
        assert hints.due([], now_ms)
        hints.ended(ADDRESSES[0], "refused", now_ms)
        assert not hints.due([], now_ms + backoff_ms - 1)
        now_ms += backoff_ms + backoff_ms // DIAL_JITTER_SHARE
        backoff_ms = min(2 * backoff_ms, DIAL_BACKOFF_MS_MAX)
    assert hints.due([], now_ms)
    assert hints.reason == "refused"


def test_bootstrap_that_was_reached__is_left_alone_until_no_peer_is_left() -> None:
    hints = Bootstraps(ADDRESSES[:2], b"")
    hints.due([], 0)
    hints.ended(ADDRESSES[0], "", 0)
    hints.ended(ADDRESSES[1], "refused", 0)
    # The other is still wanted: an operator named it for a reason.
    assert hints.due([KEYS[0]], 10_000) == ADDRESSES[1:2]
    hints.ended(ADDRESSES[1], "refused", 10_000)
    # It went, another peer stayed: the network is there.
    assert hints.due([KEYS[2]], 100_000) == ADDRESSES[1:2]
    hints.ended(ADDRESSES[1], "refused", 100_000)
    # All went: everything at once, whatever the waits were.
    assert hints.due([], 100_001) == ADDRESSES[:2]


def test_bootstrap_with_several_addresses__is_dialled_at_each_until_one_leads_there() -> None:
    other = ADDRESSES[0].replace("127.0.0.1", "192.0.2.1")
    hints = Bootstraps([other, ADDRESSES[0]], b"")
    assert hints.due([], 0) == [other, ADDRESSES[0]]
    hints.ended(ADDRESSES[0], "", 0)
    hints.ended(other, "no answer", 0)
    assert hints.due([KEYS[0]], 100_000) == []
    # It was reached once, and another peer is there.
    assert hints.due([KEYS[2]], 100_000) == []
    assert hints.due([], 100_000) == [other, ADDRESSES[0]]


def test_solitude__is_told_after_a_minute_and_once_until_there_was_a_peer() -> None:
    solitude = Solitude(0)
    told = [now_ms for now_ms in range(0, 5 * ALONE_MS, 1_000) if solitude.notice(0, now_ms)]
    assert told == [ALONE_MS]
    assert not solitude.notice(1, 5 * ALONE_MS)
    told = [now_ms for now_ms in range(5 * ALONE_MS, 8 * ALONE_MS, 1_000) if solitude.notice(0, now_ms)]
    assert told == [6 * ALONE_MS]


def test_error__names_what_was_tried_and_the_remedy() -> None:
    long = f"cannot use {ADDRESSES[0]}: it is a node of another network (id {16 * 'a'}..., ours is {16 * 'b'}...); both"
    error = told_alone(2, 1, long, ADDRESSES[0])
    assert (error.level, error.event) == ("error", "no_peers")
    reason = str(error.fields["reason"])
    assert reason.startswith(
        "none of 2 bootstraps and 1 saved peer answered, the last because: it is a node of another network"
        f" (id {16 * 'a'}..., ours is {16 * 'b'}...); run tutti doctor"
    )
    assert "tutti doctor" in reason
    longest = str(told_alone(64, 256, 1_000 * "x", ADDRESSES[0]).fields["reason"])
    assert FIELDS["reason"].fullmatch(longest)
    assert "--bootstrap" in reason


def test_error__of_a_node_that_knew_nobody_says_how_others_join_it_and_how_it_joins_somebody() -> None:
    # The longest own address: an IPv6 one with every digit.
    longest = f"/ip6/{':'.join(8 * ['ffff'])}/tcp/65535/p2p/{ADDRESSES[0].rpartition('/')[2]}"
    error = told_alone(0, 0, "", longest)
    assert (error.level, error.event) == ("error", "no_peers")
    reason = str(error.fields["reason"])
    assert reason.startswith(f"nobody has joined this node; others join it with --bootstrap {longest}; ")
    assert reason.endswith("start it with --bootstrap and the address of a node that runs now")
    assert FIELDS["reason"].fullmatch(reason)


@pytest.mark.parametrize("bootstraps", [0, 1])
def test_lonely_node__says_so_through_its_log(bootstraps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Log] = []
    clock = [0]

    async def dial(address: str) -> bytes:
        raise TransportError(f"cannot reach {address}: connection refused")

    class DoneError(Exception):
        pass

    async def sleep(_: float) -> None:
        clock[0] += 1_000
        if clock[0] > 3 * ALONE_MS:
            raise DoneError
        for _ in range(3):
            await asyncio.get_running_loop().create_task(_nothing())

    async def _nothing() -> None:
        pass

    node = SimpleNamespace(
        config=SimpleNamespace(bootstrap=ADDRESSES[:bootstraps]),
        peer=KEYS[2],
        transport=SimpleNamespace(peers=list, dial=dial, addresses=lambda: ADDRESSES[2:]),
        events=SimpleNamespace(emit=said.append),
        executor=SimpleNamespace(core=SimpleNamespace(peers=SimpleNamespace(all=list))),
        unreached={},
    )
    monkeypatch.setattr(joining, "_now_ms", lambda: clock[0])
    monkeypatch.setattr(joining, "asyncio", SimpleNamespace(TaskGroup=asyncio.TaskGroup, sleep=sleep))
    with pytest.raises(ExceptionGroup):
        asyncio.run(join(cast("Running", node)))
    errors = [log for log in said if log.level == "error"]
    assert [log.event for log in errors] == ["no_peers"]
    if not bootstraps:
        return
    assert node.unreached == {ADDRESSES[0]: f"cannot reach {ADDRESSES[0]}: connection refused"}
    # Seven waits that double up to a minute fit into three minutes.
    failed = [log.level for log in said if log.event == "bootstrap_failed"]
    assert 7 <= len(failed) <= 9
    # Always the same reason: told once.
    assert failed == ["warning", *["debug"] * (len(failed) - 1)]
