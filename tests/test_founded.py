"""Daemons on a founded network: two homes join it by its file, and a namesake of the network is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from node.config import Config
from node.daemon import Running, running
from node.home import locate
from node.networks import Network, load, render
from protocol.genesis import Genesis, short_id
from protocol.identity import KeySigner
from protocol.parameters import TINY_SKILLS, Parameters

PATIENCE_S = 30
FOUNDER = KeySigner(b"f" * 32)


def founded(file: Path, nonce: bytes, bootstrap: tuple[str, ...] = ()) -> str:
    parameters = Parameters(Genesis("choir", FOUNDER.public_key, nonce * 16), 1, TINY_SKILLS)
    file.write_bytes(render(Network(parameters, parameters.signed_by(FOUNDER), bootstrap)))
    return str(file)


@asynccontextmanager
async def node(home: Path, network: str, *bootstrap: str) -> AsyncIterator[Running]:
    config = Config.model_validate({"network": network, "listen": ["/ip4/127.0.0.1/tcp/0"], "bootstrap": bootstrap})
    async with asyncio.timeout(PATIENCE_S), running(locate(str(home), {}).network(load(network).directory), config) as there:
        yield there


def test_homes__join_by_the_file_and_a_bootstrap_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        plain = founded(tmp_path / "choir.json", b"n")
        async with node(tmp_path / "ann", plain) as ann:
            hinted = founded(tmp_path / "hinted.json", b"n", (ann.transport.addresses()[0],))
            with ann.events.listen() as events:
                async with node(tmp_path / "bob", hinted) as bob:
                    assert bob.parameters.network == ann.parameters.network
                    assert (tmp_path / "bob" / load(plain).directory / "network.json").exists()
                    while (await events.get())["event"] != "peer_connected":
                        pass
                    assert bob.peer in ann.transport.peers()

    asyncio.run(main())


def test_namesake__is_another_network_and_the_node_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = founded(tmp_path / "ours.json", b"o"), founded(tmp_path / "theirs.json", b"t")
        async with node(tmp_path / "ann", theirs) as ann:
            address = ann.transport.addresses()[0]
            async with node(tmp_path / "bob", ours, address) as bob:
                with bob.events.listen() as events:
                    while address not in bob.unreached:
                        await events.get()
                ids = [short_id(there.parameters.network) for there in (ann, bob)]
                assert "another network (id {}..., ours is {}...)".format(*ids) in bob.unreached[address]
                assert bob.transport.peers() == []

    asyncio.run(main())
