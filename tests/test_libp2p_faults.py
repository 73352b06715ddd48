"""Joining errors over real sockets on loopback: each cause has a line of its own, with its remedy."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from node import libp2p_faults, libp2p_stack
from node.libp2p_transport import Libp2pTransport
from node.transport import TransportError
from protocol.genesis import short_id
from protocol.identity import KeySigner, peer_id
from tests.hostile import listening

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
OURS, THEIRS = bytes(range(32)), bytes(range(32, 64))
NOBODY = peer_id(KeySigner(b"z" * 32).public_key)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def node(letter: bytes, network: bytes, *listen: str) -> AsyncIterator[Libp2pTransport]:
    transport = Libp2pTransport(letter * 32, list(listen), network=network)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.close()


async def failure(address: str) -> str:
    """What a node of our network says when it dials `address`."""
    async with node(b"a", OURS) as dialler:
        with pytest.raises(TransportError) as caught:
            await dialler.dial(address)
    message = str(caught.value)
    assert address in message
    assert len(message.splitlines()) == 1
    return message.replace(address, "ADDRESS")


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[str]:
    """A server that is no libp2p node; its address under a peer id that nobody has."""
    done = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        # Stays silent until the test is over, unless it has already closed.
        if not writer.is_closing():
            await done.wait()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        try:
            yield f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}/p2p/{NOBODY}"
        finally:
            done.set()


async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Takes the connection and says nothing."""


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1_000)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad")
    writer.write_eof()


async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x05\xff\xfe\x00\x0a" * 40)


async def closed(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def of_server(serve: Serve) -> str:
    async with served(serve) as address:
        return await failure(address)


def test_dial__a_node_of_another_network_is_told_with_both_ids() -> None:
    async def main() -> str:
        async with node(b"b", THEIRS, LOOPBACK) as other:
            return await failure(other.addresses()[0])

    message = asyncio.run(main())
    assert message == (
        f"cannot use ADDRESS: it is a node of another network (id {short_id(THEIRS)}..., ours is {short_id(OURS)}...);"
        " both need the same network file"
    )


def test_dial__another_key_at_the_address_is_told_with_that_key() -> None:
    async def main() -> tuple[str, str]:
        async with node(b"b", OURS, LOOPBACK) as other:
            address = other.addresses()[0]
            return await failure(f"{address.rpartition('/')[0]}/{NOBODY}"), peer_id(other.peer)

    message, found = asyncio.run(main())
    assert message == f"cannot reach ADDRESS: another key answers there ({found}); ask its owner for the present address"


def test_dial__a_closed_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        message = asyncio.run(failure(f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}/p2p/{NOBODY}"))
    assert "connection refused" in message
    assert "is the node running and the port right?" in message


@pytest.mark.parametrize("serve", [http, garbage])
def test_dial__what_is_no_libp2p_is_told_so(serve: Serve) -> None:
    assert asyncio.run(of_server(serve)) == f"cannot reach ADDRESS: {libp2p_faults.NO_LIBP2P}"


def test_dial__who_closes_at_once_may_be_full() -> None:
    assert "closed the connection at once" in asyncio.run(of_server(closed))


def test_dial__a_port_that_takes_connections_and_says_nothing_is_not_called_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_stack, "DIAL_TIMEOUT_S", 0.2)
    message = asyncio.run(of_server(silent))
    assert "the port takes connections, but nobody speaks libp2p there" in message


def test_dial__a_port_from_which_nothing_comes_is_called_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_stack, "DIAL_TIMEOUT_S", 0.2)
    monkeypatch.setattr(libp2p_faults, "PROBE_TIMEOUT_S", 0.2)
    # A listener whose queue is full drops what comes next, as a firewall does.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)  # noqa: FBT003 - the call has no name for it
            assert filler.connect_ex(full.getsockname()) in (0, errno.EINPROGRESS)
        message = asyncio.run(failure(f"/ip4/127.0.0.1/tcp/{full.getsockname()[1]}/p2p/{NOBODY}"))
    assert "no answer at all" in message
    assert "firewall" in message


def test_dial__a_name_that_does_not_exist_is_told_so() -> None:
    assert "the name is unknown" in asyncio.run(failure(f"/dns4/nobody.invalid/tcp/4101/p2p/{NOBODY}"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENETUNREACH, "no way leads there"), (errno.EHOSTUNREACH, "no way leads there"), (errno.EPERM, "forbids")],
)
def test_dial__an_error_of_the_system_has_its_own_remedy(number: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: object) -> None:
        raise OSError(number, "as the system says")

    monkeypatch.setattr("trio.open_tcp_stream", unreachable)
    assert expected in asyncio.run(failure(f"/ip4/192.0.2.1/tcp/4101/p2p/{NOBODY}"))


def test_dial__a_libp2p_node_that_is_not_ours_is_told_apart_from_another_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object, stream: object) -> None:
        await stream.reset()  # type: ignore[attr-defined]

    async def main() -> str:
        async with listening(refuse) as address:
            return await failure(address)

    monkeypatch.setattr(libp2p_faults, "IDENTIFY_TIMEOUT_S", 0.5)
    assert "a libp2p node, but no Tutti node of this version" in asyncio.run(main())
