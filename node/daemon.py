"""One node: identity, store, model, network, core and API, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from node.api import Api
from node.config import PORT_DEFAULT, Config
from node.discovery import discover
from node.engine import Engine, EngineError, ModelInfo
from node.errors import UserError
from node.events import EventStream
from node.executor import Executor
from node.home import NetworkHome, load_or_create_seed
from node.joining import join
from node.keys import origin
from node.libp2p_transport import Libp2pTransport
from node.limits import Limits
from node.llama_engine import LlamaEngine
from node.mdns import greet
from node.models import PackagedModel, find, packaged
from node.networks import Network, load, newest
from node.peering import receive
from node.store import Store
from node.tapes import TapeFile
from node.transport import Transport, TransportError, Validator
from protocol import gossip
from protocol.allowance import Caps
from protocol.capability import GENERAL, Record
from protocol.core import Core
from protocol.errors import LocalProtocolError
from protocol.events import ModelChanged
from protocol.genesis import protocol_prefix
from protocol.identity import KeySigner, public_key_of
from protocol.outbox import TOPICS
from protocol.parameters import Parameters
from protocol.tape import TapedCore

_log = logging.getLogger(__name__)
_MODEL_CHECK_S = 1.0
_TINY_BYTES = 64 << 20
# Of a skill that nobody measured for this model: half a chance is a claim, and claims earn nothing.
_UNMEASURED_PERMILLE = 500


@dataclass(frozen=True, slots=True)
class Running:
    """A node that runs."""

    config: Config
    executor: Executor
    transport: Transport
    engine: Engine | None
    parameters: Parameters
    events: EventStream
    started: float
    failed: asyncio.Future[UserError]
    started_wall_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    # Bootstraps that could not be reached when last tried, and why.
    unreached: dict[str, str] = field(default_factory=dict)

    @property
    def peer(self) -> bytes:
        """The node's public key."""
        return self.executor.core.me


@contextlib.asynccontextmanager
async def running(
    home: NetworkHome,
    config: Config,
    wrap: Callable[[Engine], Engine] | None = None,
    *,
    fresh: bool = False,
    tape: Path | None = None,
) -> AsyncIterator[Running]:
    """Start a node and stop it on leaving; raises `UserError` in one line. `wrap` is for `tutti dev` alone.

    `fresh` says that the caller made the identity just now, so that nobody holds anything of its ledger. `tape` is a new file
    for all that goes into the core.
    """
    home.create()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.locked())
        seed, made = load_or_create_seed(home.identity_file)
        begins = origin(home, KeySigner(seed).public_key, fresh=fresh or made)
        network = newest(home, load(config.network))
        parameters, config = network.parameters, _settled(config, network)
        store = Store(home.database_file)
        stack.callback(store.close)
        engine = _engine(config)
        if engine is not None and wrap is not None:
            engine = wrap(engine)
        # Twenty nodes of a development network come from one address, which is nobody's attack.
        limits = Limits(exempt_loopback=config.network == "dev")
        skills = sorted(parameters.skills)
        transport = Libp2pTransport(seed, list(config.listen_on), network=parameters.network, skills=skills, limits=limits)
        topics = {topic: f"{protocol_prefix(parameters.network)}/{topic}/1" for topic in TOPICS}
        for topic, name in topics.items():
            transport.subscribe(name, _validator(parameters.network, topic, transport))
        stack.push_async_callback(transport.close)
        if engine is not None:
            stack.push_async_callback(engine.close)
        await _start(engine, transport)
        if engine is not None and engine.model.instruct and not engine.model.chat_template:
            _log.warning(
                "the model's file has no chat template, so it is asked in plain text: an instruct model answers better",
                extra={"fields": {"model": engine.model.name}},
            )
        caps = Caps(config.requests_per_hour, config.tokens_per_day)
        own = _own_record(config, engine, parameters)
        ignored = frozenset(map(public_key_of, config.auditors_ignored))
        kept = replace(parameters, auditors=tuple(auditor for auditor in parameters.auditors if auditor not in ignored))
        if tape is None:
            core = Core(KeySigner(seed), kept, own, secrets.token_bytes, store.rows(), caps=caps, origin=begins)
        else:
            file = TapeFile(tape)
            stack.callback(file.close)
            core = TapedCore(file.write, KeySigner(seed), kept, own, secrets.token_bytes, store.rows(), caps, begins)
        failed: asyncio.Future[UserError] = asyncio.get_running_loop().create_future()
        events = EventStream()
        executor = Executor(core, transport, engine, store, topics, events.emit, lambda e: _fail(failed, e))
        stack.push_async_callback(executor.close)
        try:
            executor.start()
        except LocalProtocolError as error:
            raise store.damaged() from error
        node = Running(config, executor, transport, engine, parameters, events, time.monotonic(), failed)
        for work in (receive(node), join(node), discover(node, transport), greet(node), _watch_model(node)):
            task = asyncio.create_task(work)
            task.add_done_callback(lambda ended: _report_end(ended, failed))
            stack.callback(task.cancel)
        await stack.enter_async_context(Api(node, home.api_file, config.api_port).serving())
        yield node


def _settled(config: Config, network: Network) -> Config:
    """The settings with what the network's file adds to them: its bootstraps, and a free port if its usual one is taken."""
    bootstrap = tuple(dict.fromkeys((*config.bootstrap, *network.bootstrap)))
    listen = config.listen_on
    if network.signature and not config.listen and not _free(PORT_DEFAULT):
        _log.warning("the usual port is taken, listening on another one", extra={"fields": {"port": PORT_DEFAULT}})
        listen = tuple(address.replace(f"/tcp/{PORT_DEFAULT}", "/tcp/0") for address in listen)
    return config.model_copy(update={"bootstrap": bootstrap, "listen": listen})


def _free(port: int) -> bool:
    """Whether the port could be listened on a moment ago; whoever names an address hears of it when it is taken instead."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _fail(failed: asyncio.Future[UserError], error: UserError) -> None:
    if not failed.done():
        failed.set_result(error)


def _report_end(ended: asyncio.Task[None], failed: asyncio.Future[UserError]) -> None:
    """A background task that ends by itself ends the node, with its reason, rather than leaving it half alive."""
    if ended.cancelled():
        return
    error = ended.exception()
    if isinstance(error, UserError):
        _fail(failed, error)
    elif isinstance(error, TransportError):
        _fail(failed, UserError(str(error)))
    elif error is not None:
        _log.error("a task of the node ended", exc_info=error)
        _fail(failed, UserError(f"internal error: {type(error).__name__}; the log has the details"))


def _engine(config: Config) -> Engine | None:
    if config.model == "none":
        return None
    try:
        path, digest = find(config.model)
        return LlamaEngine(
            path,
            expected_sha256=digest,
            threads=config.threads or _threads(path),
            slots=config.slots,
            context=config.context or None,
            gpu_layers=config.gpu_layers,
        )
    except EngineError as error:
        raise UserError(str(error)) from error


def _threads(model: Path) -> int:
    """All cores for a real model; one for a tiny one, whose threads would wait for each other longer than they compute."""
    with contextlib.suppress(OSError):
        if model.stat().st_size < _TINY_BYTES:
            return 1
    return os.cpu_count() or 1


async def _start(engine: Engine | None, transport: Transport) -> None:
    """Load the model and open the network at the same time: both take most of a second."""
    starting = [transport.start()] if engine is None else [transport.start(), engine.start()]
    results = await asyncio.gather(*starting, return_exceptions=True)
    for result in results:
        if isinstance(result, EngineError | TransportError):
            raise UserError(str(result)) from result
        if isinstance(result, BaseException):
            raise result


def _own_record(config: Config, engine: Engine | None, parameters: Parameters) -> Record:
    model: ModelInfo | None = engine.model if engine is not None else None
    known = {entry.sha256: entry for entry in packaged()}.get(model.sha256) if model is not None else None
    return Record(
        sequence=0,
        skills=_declared(config, known, parameters) if model else {},
        model=(known.name if known else model.name[:128]) if model else "",
        parameters=model.parameters if model else 0,
        quantisation=model.quantisation[:32] if model else "",
        weights_hash=model.sha256 if model else "",
        context=model.context if model else 0,
        tokens_per_s=model.tokens_per_s if model else 0,
        slots=config.slots,
        available=engine is not None,
        addresses=(),
    )


def _declared(config: Config, known: PackagedModel | None, parameters: Parameters) -> dict[str, int]:
    """Skills with their declared prior in thousandths: those of the configuration, else all that the model may have.

    A packaged model has the skills of its manifest. Nobody knows those of another, so it is tried in all of the network.
    """
    priors = {str(skill): int(prior) for skill, prior in known.entry["declared_prior_permille"].items()} if known else {}
    offered = config.skills
    if offered is None:
        offered = tuple(skill for skill in parameters.skills if skill in priors or known is None)
    return {skill: priors.get(skill, _UNMEASURED_PERMILLE) for skill in offered if skill != GENERAL}


def _validator(network: bytes, topic: str, transport: Transport) -> Validator:
    # It runs in the network's thread, alone: the gate needs no lock, and who is connected is the transport's to say.
    gate = gossip.Gate(network, topic, lambda author: author == transport.peer or transport.is_connected(author))
    return lambda data: gate.validate(data, time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)[0]


async def _watch_model(node: Running) -> None:
    """Tell the network when the model's process is lost and when it is back, rather than letting leases time out."""
    if node.engine is None:
        return
    available, started = True, node.engine.model
    while True:
        await asyncio.sleep(_MODEL_CHECK_S)
        if node.engine.model.sha256 != started.sha256:
            # Its record, its skills and what peers measured are those of the old file.
            raise UserError(f"the model file {started.path} was replaced: start the node again to offer the new one")
        alive = node.engine.pid is not None
        if alive != available:
            available = alive
            node.executor.feed(ModelChanged(alive, node.engine.model.tokens_per_s))
