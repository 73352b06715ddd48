"""What one peer, and one address, may cost a node. Addresses are IPv4 addresses and /64 networks of IPv6."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from dataclasses import dataclass

_NS_PER_S = 1_000_000_000
_V6_GROUP = 64  # what a provider gives to one customer at least


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the mean, and so many at once."""

    per_s: int
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit on what comes from one peer or one address. Those of an address hold for all of its peers together."""

    # All connections. A node knows up to 64 candidates well; the rest is for strangers.
    connections: int = 256
    # Kept for peers that we dial: strangers alone cannot cut a node off from those that it chose.
    connections_own: int = 64
    # From one address. A household or a laboratory has fewer nodes; an attacker needs six addresses to fill the rest.
    connections_per_address: int = 32
    # Of one peer: both dialled at once, and a dead pair that nobody has noticed yet.
    connections_per_peer: int = 4
    # Handshakes under way. One takes 15 ms of work here, and a second where the way is long.
    handshakes: int = 128
    handshakes_per_address: int = 32
    # A peer needs four streams: a channel and gossip each way. The rest is for look-ups, identify and ping.
    streams_per_connection: int = 32
    streams_per_peer: int = 48
    # The work of reading, in bytes; `node.libp2p_wire` has the cost of what is dear and small. One core reads about 64 MiB
    # a second, so a peer can take an eighth of it and an address a quarter. Beyond, its connections are read more slowly.
    work_per_peer: Rate = Rate(8 << 20, 32 << 20)
    work_per_address: Rate = Rate(16 << 20, 64 << 20)
    # Frames of a channel. A busy requester hears a hundred a second from one executor; checking four hundred signatures takes
    # a tenth of a core. Beyond, the channel is read more slowly.
    frames_per_peer: Rate = Rate(400, 2_000)
    frames_per_address: Rate = Rate(800, 4_000)
    # Entries of gossip: messages, copies included, subscriptions and control. Twice the budget of the whole network of 200 a
    # second, with a burst for replays. Beyond, they are dropped.
    gossip_per_peer: Rate = Rate(400, 800)
    # Messages that are news, so that their signature must be checked.
    gossip_new_per_address: Rate = Rate(400, 800)
    # Bytes of old messages that a peer gets by asking for them, or by subscribing.
    gossip_served_per_peer: Rate = Rate(1 << 20, 4 << 20)
    # Addresses of this machine have no limits of an address: a whole network on one machine is a development network.
    exempt_loopback: bool = False

    def __post_init__(self) -> None:
        assert self.connections_own < self.connections
        assert self.streams_per_connection <= self.streams_per_peer

    @property
    def connections_inbound(self) -> int:
        """Connections that strangers may have."""
        return self.connections - self.connections_own

    def address_of(self, host: str) -> str | None:
        """What limits of an address count `host` under; None if they do not hold for it."""
        try:
            ip = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return host
        if isinstance(ip, ipaddress.IPv6Address):
            if ip.ipv4_mapped is None:
                if self.exempt_loopback and ip.is_loopback:
                    return None
                return str(ipaddress.ip_network((ip, _V6_GROUP), strict=False))
            ip = ip.ipv4_mapped
        return None if self.exempt_loopback and ip.is_loopback else str(ip)


class RateLimit:
    """A token bucket for each key."""

    def __init__(self, rate: Rate) -> None:
        self.dropped = 0
        self._rate = rate
        self._burst_ns = rate.burst * _NS_PER_S // rate.per_s
        # The instant at which a bucket would be full again says all about it in one number.
        self._full_at_ns: dict[Hashable, int] = {}

    def _full_at(self, key: Hashable, now_ns: int, cost: int) -> int:
        return max(self._full_at_ns.get(key, 0), now_ns) + cost * _NS_PER_S // self._rate.per_s

    def allows(self, key: Hashable, now_ns: int, cost: int = 1) -> bool:
        """Whether `cost` more of `key` may be handled; what may not is counted, and costs nothing."""
        full_at_ns = self._full_at(key, now_ns, cost)
        if full_at_ns > now_ns + self._burst_ns:
            self.dropped += 1
            return False
        self._full_at_ns[key] = full_at_ns
        return True

    def charge(self, key: Hashable, now_ns: int, cost: int = 1) -> int:
        """Take `cost` of `key`, which has happened, and say for how many ns nothing more of it should be handled."""
        full_at_ns = self._full_at_ns[key] = self._full_at(key, now_ns, cost)
        return max(0, full_at_ns - now_ns - self._burst_ns)

    def tidy(self, now_ns: int) -> None:
        """Drop full buckets, which say nothing. Those of peers that left stay until then, or reconnecting would refill them."""
        self._full_at_ns = {key: full_at_ns for key, full_at_ns in self._full_at_ns.items() if full_at_ns > now_ns}
