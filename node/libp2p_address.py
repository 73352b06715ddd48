"""Multiaddrs as people type them: checked once, with an error that shows a good one."""

from __future__ import annotations

import socket

from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.transport import TransportError
from protocol.errors import RemoteProtocolError
from protocol.identity import peer_id, public_key_of

EXAMPLE_LISTEN = "/ip4/0.0.0.0/tcp/4101"
EXAMPLE_PEER = "/ip4/192.0.2.7/tcp/4101/p2p/12D3KooWSahP5pFRCEfaziPEba7urXtoif93yN3A9oeNL9ESkrVY"

_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
_SHOWN_MAX = 100


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "...")


def _parse(text: str, example: str) -> tuple[Multiaddr, list[str]]:
    try:
        address = Multiaddr(text)
        names = [protocol.name for protocol in address.protocols()]
    except (MultiaddrError, ValueError) as error:
        raise TransportError(f"bad address {_short(text)}: not a multiaddr; write it like {example}") from error
    if not names or names[0] not in _HOSTS or names[1:2] != ["tcp"]:
        raise TransportError(f"bad address {_short(text)}: a host and /tcp/<port> are needed; write it like {example}")
    return address, names[2:]


def parse_listen(text: str) -> Multiaddr:
    """The multiaddr to listen on; port 0 means any free port. Raises `TransportError` with an example."""
    address, rest = _parse(text, EXAMPLE_LISTEN)
    if rest:
        raise TransportError(f"bad address {_short(text)}: nothing may follow the port; write it like {EXAMPLE_LISTEN}")
    if address.protocols()[0].name not in ("ip4", "ip6"):
        raise TransportError(f"bad address {_short(text)}: listen on an IP address, not a name; like {EXAMPLE_LISTEN}")
    return address


def parse_address(text: str) -> tuple[Multiaddr, bytes]:
    """A peer's multiaddr and the 32-byte public key in its peer id. Raises `TransportError` with an example."""
    address, rest = _parse(text, EXAMPLE_PEER)
    if rest != ["p2p"]:
        raise TransportError(f"bad address {_short(text)}: it must end in /p2p/<peer id>; write it like {EXAMPLE_PEER}")
    try:
        return address, public_key_of(str(address.value_for_protocol("p2p")))
    except RemoteProtocolError as error:
        raise TransportError(f"bad address {_short(text)}: {error}; write it like {EXAMPLE_PEER}") from error


def shown_addresses(bound: list[Multiaddr], own: bytes) -> list[str]:
    """What to tell others: each bound address with the peer id, and wildcards as this machine's real addresses."""
    shown: list[str] = []
    for address in bound:
        text = str(address)
        for wildcard, family, probe, loopback in (
            ("/ip4/0.0.0.0/", socket.AF_INET, "192.0.2.1", "127.0.0.1"),
            ("/ip6/::/", socket.AF_INET6, "2001:db8::1", "::1"),
        ):
            if text.startswith(wildcard):
                kind, rest = wildcard.split("/")[1], text.removeprefix(wildcard)
                hosts = dict.fromkeys([*_outbound_address(family, probe), loopback])
                shown += [f"/{kind}/{host}/{rest}" for host in hosts]
                break
        else:
            shown.append(text)
    return [f"{text}/p2p/{peer_id(own)}" for text in shown]


def _outbound_address(family: socket.AddressFamily, probe: str) -> list[str]:
    """The address this machine sends from. Connecting a UDP socket asks the routing table and sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((probe, 9))
        except OSError:
            return []
        return [str(sock.getsockname()[0])]
