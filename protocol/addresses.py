"""Addresses that somebody else named: which of them are worth dialling, and how often (specs/05-capability.md).

A record's addresses are its author's claim. Without limits whoever makes records could have this node, and every other,
knock at a third party's door: at one port under a thousand names, or at every port of a host. So attempts are counted by
target and by host, and what succeeds costs nothing. Addresses are multiaddrs; what is no IP address is its own host.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from protocol.constants import DIAL_HOST_MS, DIAL_TARGET_MS, DIAL_TARGETS_MAX, DIALS_PER_HOST_MAX, DIALS_PER_TARGET_MAX

# A home or a rented machine gets a whole /64 of IPv6, so its addresses there count as one host.
_HOST_BITS_V6: Final = 64


def target_of(address: str) -> str:
    """What one connection is made to: host and port, in one notation and without the peer's name."""
    parts = address.split("/")[:5]
    found = _ip(address)
    if found is not None:
        parts[2] = str(found)
    if parts[-1].isdecimal():
        parts[-1] = parts[-1].lstrip("0")
    return "/".join(parts)


def host_of(address: str) -> str:
    """The machine, as far as the address tells: the IPv4 address, the /64 of an IPv6 one, or the name."""
    found = _ip(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _HOST_BITS_V6), strict=False))
    if found is not None:
        return str(found)
    return "/".join(address.split("/")[:3])


def is_loopback(address: str) -> bool:
    """Whether it names this machine, whoever says it."""
    found = _ip(address)
    return found is not None and found.is_loopback


def worth_dialling(addresses: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """Those of a peer's addresses that can lead to it from here, given the addresses that this node itself has.

    A loopback address is another machine's own unless the peer names a host of ours or nothing else; a private one leads
    somewhere else entirely for a node that has no private address.
    """
    hosts = {host_of(address) for address in own if not is_loopback(address)}
    here = any(host_of(address) in hosts for address in addresses)
    loopback = any(is_loopback(address) for address in own) and (here or all(map(is_loopback, addresses)))
    private = any(_is_private(address) for address in own)
    found = [address for address in addresses if _usable(address, loopback=loopback, private=private)]
    # On one machine, the way that leaves it last.
    return tuple(sorted(found, key=lambda address: not is_loopback(address)))


def _usable(address: str, *, loopback: bool, private: bool) -> bool:
    found = _ip(address)
    if found is None:
        return address.split("/")[1:2] not in (["ip4"], ["ip6"])
    if found.is_loopback:
        return loopback
    if found.is_unspecified or found.is_multicast or found.is_link_local or found == IPv4Address("255.255.255.255"):
        return False
    return private or not found.is_private


def _is_private(address: str) -> bool:
    found = _ip(address)
    return found is not None and found.is_private and not found.is_loopback


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):  # noqa: PLR2004 - "", kind and value
        return None
    try:
        found = ip_address(parts[2])
    except ValueError:
        return None
    # The same machine in the other notation, which must not pass for another one.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


class DialBudget:
    """How often targets and hosts that others named may be tried: a full bucket at first, one more attempt per period.

    A target is tried as often as a single unreachable peer there would be, however many peers are said to live at it.
    """

    def __init__(self) -> None:
        # For each key the instant at which its bucket is full again, which says all about it in one number.
        self._full_at_ms: dict[str, int] = {}

    def due_ms(self, address: str, now_ms: int) -> int:
        """When `address` may be tried; not after `now_ms` if at once."""
        waits = [
            self._full_at_ms.get(key, now_ms) + period_ms - burst * period_ms
            for key, burst, period_ms in self._buckets(address)
        ]
        return max(waits)

    def spend(self, address: str, now_ms: int) -> None:
        """Count an attempt."""
        if len(self._full_at_ms) >= DIAL_TARGETS_MAX:
            self._tidy(now_ms)
        for key, _, period_ms in self._buckets(address):
            self._full_at_ms[key] = max(self._full_at_ms.get(key, 0), now_ms) + period_ms

    def refund(self, address: str) -> None:
        """The attempt was answered by the peer that it was meant for."""
        for key, _, period_ms in self._buckets(address):
            if key in self._full_at_ms:
                self._full_at_ms[key] -= period_ms

    def _tidy(self, now_ms: int) -> None:
        # Full buckets say nothing; of the others those that are full soonest say least.
        kept = sorted((item for item in self._full_at_ms.items() if item[1] > now_ms), key=lambda item: (item[1], item[0]))
        self._full_at_ms = dict(kept[-DIAL_TARGETS_MAX // 2 :])

    @staticmethod
    def _buckets(address: str) -> tuple[tuple[str, int, int], tuple[str, int, int]]:
        return (
            (target_of(address), DIALS_PER_TARGET_MAX, DIAL_TARGET_MS),
            (f"host {host_of(address)}", DIALS_PER_HOST_MAX, DIAL_HOST_MS),
        )
