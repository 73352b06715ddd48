"""Nodes on one link find each other by multicast DNS; whoever else answers there can do nothing but be dialled, rarely."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from node import mdns
from node.daemon import Running
from node.mdns import MDNS_HINTS_BURST, MDNS_QUESTIONS_MAX, SERVICE, Neighbours, greet
from protocol.genesis import short_id
from protocol.identity import KeySigner, peer_id

NETWORK, OTHER = b"n" * 32, b"o" * 32
KEYS = [KeySigner(bytes([1 + number]) * 32).public_key for number in range(3)]
LOOPBACK = ["127.0.0.1"]
_TIMEOUT_S = 30


def address(key: bytes, host: str = "127.0.0.1", port: int = 4_101) -> str:
    return f"/ip4/{host}/tcp/{port}/p2p/{peer_id(key)}"


def test_nodes_of_one_network__find_each_other_and_no_others() -> None:
    async def work() -> None:
        found: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

        def node(number: int, network: bytes) -> Neighbours:
            own = [address(KEYS[number], port=4_101 + number)]
            return Neighbours(network, KEYS[number], own, lambda text: found.put_nowait((number, text)))

        stranger, one, two = node(2, OTHER), node(0, NETWORK), node(1, NETWORK)
        async with asyncio.timeout(_TIMEOUT_S), stranger.present(LOOPBACK), one.present(LOOPBACK), two.present(LOOPBACK):
            seen = {await found.get(), await found.get()}
        assert seen == {(0, address(KEYS[1], port=4_102)), (1, address(KEYS[0]))}

    asyncio.run(work())


def info(name: str, network: bytes = NETWORK, hosts: Sequence[str] = ("192.168.1.9",), port: int = 4_101) -> AsyncServiceInfo:
    properties = {"network": short_id(network)}
    return AsyncServiceInfo(SERVICE, name, port=port, parsed_addresses=list(hosts), properties=properties)


@pytest.mark.parametrize(
    ("name", "network", "hosts", "port", "dialled"),
    [
        (peer_id(KEYS[1]), NETWORK, ("192.168.1.9",), 4_101, 1),
        (peer_id(KEYS[1]), OTHER, ("192.168.1.9",), 4_101, 0),
        ("12D3KooWnonsense", NETWORK, ("192.168.1.9",), 4_101, 0),
        (peer_id(KEYS[1]), NETWORK, ("127.0.0.1", "224.0.0.1", "255.255.255.255"), 22, 0),
        (peer_id(KEYS[1]), NETWORK, ("192.168.1.9",), 0, 0),
        (peer_id(KEYS[1]), NETWORK, [f"192.168.1.{number}" for number in range(1, 100)], 4_101, mdns.MDNS_ADDRESSES_MAX),
    ],
)
def test_answer__is_a_hint_only_if_it_is_of_this_network_and_leads_somewhere(
    name: str, network: bytes, hosts: Sequence[str], port: int, dialled: int
) -> None:
    neighbours = Neighbours(NETWORK, KEYS[0], [address(KEYS[0], "192.168.1.5")], lambda _: None)
    full = f"{name}.{SERVICE}"
    assert len(neighbours.hints(full, info(full, network, hosts, port))) == dialled


def test_flood_of_answers__is_looked_into_at_a_bounded_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def work() -> None:
        neighbours = Neighbours(NETWORK, KEYS[0], [address(KEYS[0])], lambda _: None)

        async def ask(_: object, __: str, name: str) -> None:
            asked.append(name)
            if name.startswith("slow"):
                await asyncio.Event().wait()

        monkeypatch.setattr(neighbours, "_ask", ask)
        zeroconf = cast("AsyncZeroconf", None)
        for number in range(100):
            name = f"slow{number}.{SERVICE}"
            neighbours._on_change(zeroconf, SERVICE, name, ServiceStateChange.Added)  # type: ignore[arg-type]
        assert len(neighbours._questions) == MDNS_QUESTIONS_MAX
        for question in neighbours._questions:
            question.cancel()
        await asyncio.gather(*neighbours._questions, return_exceptions=True)
        for number in range(100):
            neighbours._on_change(zeroconf, SERVICE, f"fast{number}.{SERVICE}", ServiceStateChange.Added)  # type: ignore[arg-type]
            await asyncio.gather(*neighbours._questions)
        # Its own name is no answer.
        neighbours._on_change(zeroconf, SERVICE, f"{peer_id(KEYS[0])}.{SERVICE}", ServiceStateChange.Added)  # type: ignore[arg-type]

    asyncio.run(work())
    assert sum(name.startswith("slow") for name in asked) <= MDNS_QUESTIONS_MAX
    assert MDNS_HINTS_BURST - MDNS_QUESTIONS_MAX <= len(asked) <= MDNS_HINTS_BURST + 2


@pytest.mark.parametrize(("setting", "host"), [("on", "127.0.0.1"), ("off", "192.168.1.5")])
def test_node_on_loopback_or_told_not_to__stays_silent(setting: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it spoke")

    monkeypatch.setattr(mdns, "Neighbours", refuse)
    node = SimpleNamespace(
        transport=SimpleNamespace(addresses=lambda: [address(KEYS[0], host)]), config=SimpleNamespace(mdns=setting)
    )
    asyncio.run(greet(cast("Running", node)))
