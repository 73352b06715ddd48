"""The API's paths about faults: what is proven of a peer, a proof that the owner has, and what a receipt may be held to."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from aiohttp import web

from node.reports import faults_json
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import ProofShown
from protocol.identity import public_key_of

if TYPE_CHECKING:
    from node.daemon import Running


class FaultApi:
    """Handlers for one node."""

    def __init__(self, node: Running) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/v1/peers/{peer}/faults", self._faults),
            web.get("/v1/peers/{peer}/bids/{task}", self._bids),
            web.post("/v1/faults", self._show),
        ]

    async def _faults(self, request: web.Request) -> web.Response:
        try:
            peer = public_key_of(request.match_info["peer"])
        except RemoteProtocolError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"faults": faults_json(self._node.executor.core, peer, proofs=True)})

    async def _bids(self, request: web.Request) -> web.Response:
        """Bids of this node that a peer acknowledged in one of its tasks."""
        try:
            peer, task = public_key_of(request.match_info["peer"]), bytes.fromhex(request.match_info["task"])
        except (RemoteProtocolError, ValueError) as error:
            return web.json_response({"error": f"not a peer id and a task id in hex digits: {error}"}, status=400)
        pairs = self._node.executor.core.acknowledged.of(peer, task)
        rows = [{"bid": base64.b64encode(bid).decode(), "bid_ack": base64.b64encode(ack).decode()} for bid, ack in pairs]
        return web.json_response({"bids": rows})

    async def _show(self, request: web.Request) -> web.Response:
        try:
            proof = base64.b64decode((await request.json())["proof"], validate=True)
        except (ValueError, TypeError, KeyError):
            return web.json_response({"error": "the body is not a JSON object with a proof in base64"}, status=400)
        try:
            self._node.executor.feed(ProofShown(proof))
        except LocalProtocolError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})
