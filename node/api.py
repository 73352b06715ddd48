"""The daemon's HTTP API on loopback: bearer token in a file that only the owner reads.

`/healthz` answers without the token: the process is alive. Everything else is the owner's.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.answering import answer
from node.api_faults import FaultApi
from node.api_ledger import LedgerApi
from node.engine import EngineError, Sampling
from node.errors import UserError
from node.evidence_report import evidence_json
from node.executor import now
from node.home import write_private
from node.llama_engine import SEED_MAX, TEMPERATURE_MILLI_MAX
from node.reports import availability_json, outcome_json, peers_json, skills_json
from protocol.answers import answer_of
from protocol.constants import (
    DEADLINE_MS_DEFAULT,
    DEADLINE_MS_MAX,
    FAULT_SIZE_MAX,
    PLANNERS_MAX,
    QUESTION_SIZE_MAX,
    REFINE_MAX,
    TOKENS_GENERAL,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import AuditsWanted, Paused, RequestMade
from protocol.identity import peer_id, public_key_of

if TYPE_CHECKING:
    from node.daemon import Running

# A question in escapes, or the proof of a fault in base64.
_BODY_SIZE_MAX = max(4 * QUESTION_SIZE_MAX, 2 * FAULT_SIZE_MAX)
_Form = TypeVar("_Form", bound="_Question")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    question: str
    skill: str | None = None
    deadline_ms: int = Field(DEADLINE_MS_DEFAULT, ge=1, le=DEADLINE_MS_MAX)


class _Ask(_Question):
    receipt: bool = False
    refine: int = Field(0, ge=0, le=REFINE_MAX)
    planners: int | None = Field(None, ge=0, le=PLANNERS_MAX)


class _Infer(_Question):
    temperature_milli: int = Field(0, ge=0, le=TEMPERATURE_MILLI_MAX)
    seed: int = Field(0, ge=0, le=SEED_MAX)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a fault of a request is the node's; a program on this machine that speaks no HTTP, or goes, is none."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_is_ours)


class Api:
    """Serves one node. `file` gets the port and the token while the node runs."""

    def __init__(self, node: Running, file: Path, port: int) -> None:
        self._node = node
        self._file = file
        self._port = port
        self._token = secrets.token_urlsafe(32)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on loopback; raises `UserError` when the port is taken."""
        application = web.Application(client_max_size=_BODY_SIZE_MAX, middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/v1/status", self._status),
                web.get("/v1/peers", self._peers),
                web.get("/v1/peers/{peer}/evidence", self._evidence),
                web.get("/v1/audits", self._audits),
                web.get("/v1/events", self._events),
                web.post("/v1/audits", self._begin_audits),
                web.post("/v1/pause", self._pause),
                web.post("/v1/resume", self._pause),
                web.post("/v1/ask", self._ask),
                web.post("/v1/infer", self._infer),
                *LedgerApi(self._node).routes(),
                *FaultApi(self._node).routes(),
            ]
        )
        runner = web.AppRunner(application, access_log=None, logger=_http_log, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            try:
                await site.start()
            except PermissionError as error:
                raise UserError(
                    f"the API's port {self._port} needs privileges: choose one from 1024 on, or --api-port 0 for a free one"
                ) from error
            except OSError as error:
                raise UserError(
                    f"the API's port {self._port} is taken: stop what uses it, or set --api-port 0 for a free one"
                ) from error
            port = runner.addresses[0][1]
            write_private(self._file, json.dumps({"port": port, "token": self._token}).encode())
            yield
        finally:
            # A directory in its place was told when it was to be written; that message must not be lost here.
            with contextlib.suppress(OSError):
                self._file.unlink()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path != "/healthz":
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
                return _error(401, "the bearer token is missing or wrong; it stands in the daemon's api.json")
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"a question has at most {QUESTION_SIZE_MAX} bytes")
        except web.HTTPNotFound:
            return _error(404, "there is nothing at this path")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return _error(405, f"this path takes {allowed}", {"Allow": allowed})
        except (ConnectionError, PayloadEncodingError):
            # The client went while it spoke: nobody is left to be told, and it is no fault of the node's.
            return _error(400, "the request ended before its body did")

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _status(self, _: web.Request) -> web.Response:
        node = self._node
        core, engine = node.executor.core, node.engine
        wall_ms = time.time_ns() // 1_000_000
        model = engine.model if engine is not None else None
        return web.json_response(
            {
                "peer_id": peer_id(node.peer),
                "network": node.parameters.name,
                "network_id": node.parameters.network.hex(),
                "revision": node.parameters.revision,
                "addresses": node.transport.addresses(),
                "availability": self._availability(),
                "uptime_s": round(time.monotonic() - node.started),
                "clock_jumped_ms": wall_ms - node.started_wall_ms - round(1_000 * (time.monotonic() - node.started)),
                "config": node.config.model_dump(),
                "clock_off_ms": core.clocks.off_ms,
                "peers_clock_off": core.clocks.peers_off,
                "unreached": dict(sorted(node.unreached.items())),
                "peers_connected": len(node.transport.peers()),
                "peers_known": len(core.peers.all()),
                "model": None
                if model is None or engine is None
                else {
                    "name": model.name,
                    "file": str(model.path),
                    "sha256": model.sha256,
                    "parameters": model.parameters,
                    "quantisation": model.quantisation,
                    "context": model.context,
                    "tokens_per_s": model.tokens_per_s,
                    "pid": engine.pid,
                    "restarts": engine.restarts,
                },
                "skills": skills_json(core, node.peer, dict(core.own_record.skills), wall_ms),
                "ledger": {
                    "entries": core.ledger.head[0] + 1,
                    "ready": core.ledger.ready,
                    "followed": len(core.followed),
                },
                "tasks": core.tasks,
                "leases": core.leases,
                "answered": node.executor.outcomes,
                "peers_lost": core.peers_lost,
                "messages": {"sent": dict(sorted(core.sent.items())), "received": dict(sorted(core.received.items()))},
                "rejected": dict(sorted(core.rejected.items())),
                "transport": dict(node.transport.counters()),
            }
        )

    async def _peers(self, _: web.Request) -> web.Response:
        return web.json_response({"peers": peers_json(self._node.executor.core, time.time_ns() // 1_000_000)})

    async def _evidence(self, request: web.Request) -> web.Response:
        try:
            peer = public_key_of(request.match_info["peer"])
        except RemoteProtocolError as error:
            return _error(400, str(error))
        return web.json_response(evidence_json(self._node.executor.core, peer, time.time_ns() // 1_000_000))

    async def _audits(self, _: web.Request) -> web.Response:
        audits = self._node.executor.core.audits
        return web.json_response(
            {
                "settled": audits.settled(audits.skills),
                "tasks": audits.done,
                "messages": audits.messages,
                "bytes": audits.bytes_total,
                "tokens": audits.tokens,
            }
        )

    async def _begin_audits(self, request: web.Request) -> web.Response:
        self._node.executor.feed(AuditsWanted())
        return await self._audits(request)

    async def _pause(self, request: web.Request) -> web.Response:
        core, paused = self._node.executor.core, request.path == "/v1/pause"
        changed = core.availability.paused != paused
        self._node.executor.feed(Paused(paused))
        return web.json_response({"changed": changed, "leases": core.leases, "availability": self._availability()})

    def _availability(self) -> dict[str, Any]:
        node = self._node
        connected = bool(node.transport.peers())
        return availability_json(node.executor.core, model=node.engine is not None, connected=connected, now=now())

    async def _ask(self, request: web.Request) -> web.Response:
        asked = await self._parse(request, _Ask)
        if isinstance(asked, web.Response):
            return asked
        node = self._node
        if not node.transport.peers():
            return _error(
                409,
                "no peers: this node is connected to nobody; start it with --bootstrap MULTIADDR of a running node, "
                "or run `tutti dev` for a network of your own",
            )
        identifier = secrets.token_bytes(16)
        future = node.executor.expect(identifier)
        try:
            node.executor.feed(
                RequestMade(identifier, asked.question, asked.skill, asked.deadline_ms, asked.refine, asked.planners)
            )
        except LocalProtocolError as error:
            future.cancel()
            return _error(400, str(error))
        ended = await future
        found = outcome_json(ended.outcome)
        if asked.receipt:
            found["receipt"] = base64.b64encode(ended.receipt).decode() if ended.receipt else None
        return web.json_response(found)

    async def _infer(self, request: web.Request) -> web.Response:
        """Ask this node's own model and nobody else: for evaluations, and to see what one's model does alone."""
        asked = await self._parse(request, _Infer)
        if isinstance(asked, web.Response):
            return asked
        engine = self._node.engine
        if engine is None:
            return _error(409, "this node has no model; start it with --model NAME or --model FILE.gguf")
        skill = self._node.parameters.skills.get(asked.skill or "")
        kind, tokens_max = (skill.answer, skill.tokens_max) if skill else ("text", TOKENS_GENERAL)
        sampling = Sampling(asked.temperature_milli, asked.seed)
        try:
            completion = await answer(engine, asked.question, kind, tokens_max, asked.deadline_ms, sampling)
        except EngineError as error:
            return _error(503, str(error))
        return web.json_response(
            {
                "answer": answer_of(kind, completion.text),
                "tokens": completion.prompt_tokens + completion.completion_tokens,
                "inference_ms": completion.elapsed_ms,
            }
        )

    async def _parse(self, request: web.Request, form: type[_Form]) -> _Form | web.Response:
        try:
            return form.model_validate_json(await request.read())
        except ValidationError as error:
            first = error.errors()[0]
            return _error(400, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a line, as things happen, until the client goes."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        with self._node.events.listen() as queue, contextlib.suppress(ConnectionError):
            while True:
                event: dict[str, Any] = await queue.get()
                await response.write(json.dumps(event).encode() + b"\n")
        return response
