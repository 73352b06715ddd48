"""Checks of what a node is connected by: its ports, its peers, its bootstraps and their clocks."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from node.cli.status import availability
from node.cli.terminal import clean, number
from node.config import PORT_DEFAULT, Config
from node.doctor.finding import Finding, fail, ok, warn
from protocol.constants import CLOCK_SKEW_MS_MAX
from protocol.parameters import PRESETS

Json = Mapping[str, Any]

_KNOCK_S: Final = 3.0
_KNOCKS_AT_ONCE: Final = 16
# A clock that is set in small steps drifts by less than this while a node runs.
_JUMP_MS: Final = 2_000
_REASONS: Final[Mapping[int, tuple[str, str]]] = {
    errno.EADDRINUSE: ("is taken", "stop what uses it, or choose another port"),
    errno.EACCES: ("needs privileges", "choose a port from 1024 on"),
    errno.EADDRNOTAVAIL: ("is on an address that this machine does not have", "listen on /ip4/0.0.0.0/tcp/PORT"),
}


def could_listen(config: Config) -> Iterator[Finding]:
    """Whether the ports of a node that does not run are free."""
    wanted = [(f"port {_port(address)} of {_host(address)}", _host(address), _port(address)) for address in config.listen_on]
    for use, host, port in [*wanted, ("the API's port", "127.0.0.1", config.api_port)]:
        if port == 0:
            continue
        reason = _bind(host, port)
        if reason is not None:
            text, remedy = _REASONS.get(
                reason, (f"cannot be listened on ({errno.errorcode.get(reason, reason)})", "see listen")
            )
            if reason == errno.EADDRINUSE and port == PORT_DEFAULT and not config.listen:
                # Nobody asked for this port, so a node takes another.
                yield warn("ports", f"{use} is taken, so a node would listen on any free one", "set listen to choose it")
            else:
                yield fail("ports", f"{use} {text}", f"{remedy} (keys listen and api_port)")
        else:
            yield ok("ports", f"{use} is free")
    if not any(port for _, _, port in wanted):
        yield ok("ports", "any free port is taken at the start")
    yield from _reach([host for _, host, _ in wanted], config)


def listens(status: Json, config: Config) -> Iterator[Finding]:
    """What a running node listens on."""
    addresses = [clean(address) for address in status["addresses"]]
    if not addresses:
        yield fail("ports", "the node listens on nothing", "set listen, for example /ip4/0.0.0.0/tcp/4101")
    for address in addresses:
        yield ok("ports", f"listens on {address}")
    yield from _reach([_host(address) for address in addresses], config)


def _reach(hosts: Sequence[str], config: Config) -> Iterator[Finding]:
    with contextlib.suppress(ValueError):
        if hosts and all(ipaddress.ip_address(host).is_loopback for host in hosts):
            text = "only nodes on this machine can connect to it (loopback)"
            if config.network in PRESETS:
                yield ok("ports", text)
            else:
                yield warn("ports", text, "set listen to /ip4/0.0.0.0/tcp/4101, and let that port through")


def peers(status: Json, bootstraps: Sequence[str], known: Sequence[Json]) -> Iterator[Finding]:
    """Whom the node is connected to, and why not."""
    there = {clean(peer["peer_id"]) for peer in known if peer["connected"]}
    connected = status["peers_connected"]
    told = f"{connected} connected, {status['peers_known']} known"
    reached = dict(zip(bootstraps, _knocked(bootstraps), strict=True))
    if connected:
        yield ok("peers", told)
    elif not bootstraps:
        yield warn("peers", told, "name a peer: tutti run --bootstrap MULTIADDR")
    elif any(reason is None for reason in reached.values()):
        yield warn("peers", told, "a bootstrap answers, but not as a peer of this network: the node's log says why")
    else:
        yield fail("peers", told, "no bootstrap can be reached: see below, or name another with --bootstrap")
    for address, reason in reached.items():
        if address.rpartition("/")[2] in there:
            # Perhaps by another address: who dialled whom is not told.
            yield ok("bootstrap", f"{address}: its peer is connected")
        elif address in status["unreached"]:
            # The node has tried more than to connect: it knows another network or key from a closed port.
            text, _, remedy = clean(status["unreached"][address]).partition("; ")
            yield warn("bootstrap", text, remedy)
        else:
            yield _knock_told(address, reason)


def bootstraps_alone(bootstraps: Sequence[str]) -> Iterator[Finding]:
    """Whether a node that does not run could reach its bootstraps."""
    for address, reason in zip(bootstraps, _knocked(bootstraps), strict=True):
        yield _knock_told(address, reason)


def clock(status: Json) -> Iterator[Finding]:
    """Whether the clock is that of the peers, and was moved while the node ran."""
    if off_ms := status["clock_off_ms"]:
        text = f"this machine's clock is {abs(off_ms) // 1_000} s {'ahead of' if off_ms > 0 else 'behind'} those of most peers"
        yield fail("clock", text, "set it, for example with timedatectl set-ntp true")
    elif status["peers_clock_off"]:
        text = f"the clocks of {number(status['peers_clock_off'], 'peer')} differ from this one's"
        yield warn("clock", text, "the log says by how much; look at this machine's clock too if that is its only peer")
    jumped_ms = status["clock_jumped_ms"]
    if abs(jumped_ms) < _JUMP_MS:
        return
    way = "forward" if jumped_ms > 0 else "back"
    text = f"the clock was put {way} by {abs(jumped_ms) // 1_000} s since the node started, or the machine slept"
    level = fail if jumped_ms < -CLOCK_SKEW_MS_MAX else warn
    yield level("clock", text, "see that the time is right (timedatectl), and start the node again if peers refuse it")


def work(status: Json) -> Iterator[Finding]:
    """Whether the node takes work, and if not, why."""
    value = status["availability"]
    told = f"takes work: {availability(value)}"
    chosen = set(value["reasons"]) <= {"no model", "paused", "cap", "no peers"}
    yield ok("work", told) if chosen else fail("work", told, "the node's log says why its model ended")
    refused = sum(status["rejected"].values())
    if refused:
        yield ok("work", f"{number(refused, 'message')} of others refused")


# --- Knocking


def _knocked(addresses: Sequence[str]) -> list[str | None]:
    """For each address why nothing takes a connection there, None if something does."""
    with concurrent.futures.ThreadPoolExecutor(_KNOCKS_AT_ONCE) as pool:
        return list(pool.map(_knock, addresses))


def _knock(address: str) -> str | None:
    try:
        socket.create_connection((_host(address), _port(address)), _KNOCK_S).close()
    except socket.gaierror:
        return "its name is unknown: check the name and this machine's DNS"
    except TimeoutError:
        return "no answer: it is off, or a firewall drops what comes"
    except ConnectionRefusedError:
        return "refused, so the machine is there: check the port, and that the node runs"
    except OSError as error:
        return f"{error.strerror}: check this machine's network"
    return None


def _knock_told(address: str, reason: str | None) -> Finding:
    if reason is None:
        return ok("bootstrap", f"{address}: takes connections")
    text, _, remedy = reason.partition(": ")
    return warn("bootstrap", f"{address}: {text}", remedy)


def _bind(host: str, port: int) -> int | None:
    """Why nothing can listen there, as an errno; None if it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return error.errno or errno.EIO
    return None


def _host(address: str) -> str:
    return address.split("/")[2]


def _port(address: str) -> int:
    return int(address.split("/")[4])
