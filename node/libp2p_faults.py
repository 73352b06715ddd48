"""Why a peer could not be joined: one cause and one remedy for a person, from what the library raised.

A wrong port, a firewall, a machine that is off, another key, another network and something that is no libp2p at all need
different remedies, and the library tells them apart only deep in a chain of causes.
"""

from __future__ import annotations

import errno
import re
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.io.exceptions import IncompleteReadError, IOException
from libp2p.peer.id import ID
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.transport.exceptions import SecurityUpgradeFailure
from multiaddr import Multiaddr

from node.libp2p_guards import answered
from protocol.genesis import short_id

# After a dial that nobody answered: whether at least a connection can be made, and a node's list of protocols.
PROBE_TIMEOUT_S = 2
IDENTIFY_TIMEOUT_S = 2
IDENTIFY_SIZE_MAX: Final = 1 << 16

_PEER_ID: Final = re.compile(r"from_pubkey=(12D3KooW[1-9A-HJ-NP-Za-km-z]{44})\b")
_CHANNEL: Final = re.compile(rb"/tutti/([0-9a-f]{16})/channel/1")

NO_LIBP2P: Final = "something answers there, but no libp2p node; is the port right?"
_REFUSED: Final = "connection refused, so nothing listens there; is the node running and the port right?"
_SILENT: Final = "no answer at all; is the machine on, and does its firewall or router let this port through?"
_MUTE: Final = "the port takes connections, but nobody speaks libp2p there; is the port right, or does the node hang?"
_NO_ROUTE: Final = "no way leads there from this machine; is it online, and is the address one that it can reach?"
_NO_NAME: Final = "the name is unknown; check its spelling and this machine's DNS"
_FORBIDDEN: Final = "this machine forbids the connection; look at its own firewall"

_OF_ERRNO: Final = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ETIMEDOUT: _SILENT,
    errno.ENETUNREACH: _NO_ROUTE,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.EADDRNOTAVAIL: _NO_ROUTE,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}


async def why_not(error: BaseException, target: Multiaddr) -> str:
    """Why a dial of `target` ended in `error`."""
    causes = list(_causes(error))
    # The library drops what the resolver said, and time that ran out does not say at which step.
    if isinstance(error, trio.TooSlowError) or (str(target).startswith("/dns") and not _system(causes)):
        return await _probed(target)
    return _reason(causes)


def _system(causes: Sequence[BaseException]) -> list[OSError]:
    return [cause for cause in causes if isinstance(cause, OSError)]


def _reason(causes: Sequence[BaseException]) -> str:
    if any(isinstance(cause, PeerIDMismatchesPubkey) for cause in causes):
        found = next((match[1] for cause in causes if (match := _PEER_ID.search(str(cause)))), "unknown")
        return f"another key answers there ({found}); ask its owner for the present address"
    for cause in reversed(_system(causes)):
        if isinstance(cause, socket.gaierror):
            return _NO_NAME
        if cause.errno in _OF_ERRNO:
            return _OF_ERRNO[cause.errno]
    if any(isinstance(cause, SecurityUpgradeFailure) for cause in causes):
        reset = any(cause.errno in (errno.ECONNRESET, errno.EPIPE) for cause in _system(causes))
        if reset or any(isinstance(cause, IncompleteReadError) and not cause.received_bytes for cause in causes):
            return "it closed the connection at once: no libp2p node, or one that is full; is the port right?"
        return NO_LIBP2P
    return str(causes[0]).splitlines()[0] or type(causes[0]).__name__


async def _probed(target: Multiaddr) -> str:
    """Whether a connection can be made at all, and if not why."""
    host, port = str(target).split("/")[2], int(target.value_for_protocol("tcp"))
    try:
        with trio.fail_after(PROBE_TIMEOUT_S):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        return _SILENT
    except OSError as error:
        return _reason(list(_causes(error)))
    await trio.aclose_forcefully(stream)
    return _MUTE


async def why_no_channel(host: BasicHost, peer: ID, network: bytes, hits: Counter[str]) -> str:
    """Why a peer that speaks libp2p opens no channel of ours: its list of protocols names its network."""
    theirs = await _networks(host, peer, hits)
    ours = short_id(network)
    if ours in theirs:
        return "a node of this network, but it takes no channel from us; it may be full, try again later"
    if theirs:
        return f"a node of another network (id {theirs[0]}..., ours is {ours}...); both need the same network file"
    return "a libp2p node, but no Tutti node of this version; is the port right?"


async def _networks(host: BasicHost, peer: ID, hits: Counter[str]) -> list[str]:
    """Beginnings of the ids of the networks whose channel a peer offers; found in the raw answer, which is not parsed."""
    data = b""
    with trio.move_on_after(IDENTIFY_TIMEOUT_S):
        try:
            stream = await answered(hits, "guard_identify", host.new_stream, peer, [TProtocol(IDENTIFY)])
            while len(data) < IDENTIFY_SIZE_MAX and (chunk := await stream.read(IDENTIFY_SIZE_MAX)):
                data += chunk
        except (BaseLibp2pError, IOException):
            pass  # what came so far may do
    return sorted({digits.decode() for digits in _CHANNEL.findall(data)})


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and everything behind it, groups included, outermost first."""
    if error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _causes(part)
        yield from _causes(error.__cause__ or error.__context__)
