"""The API's paths about ledgers: which are held, their entries, and to begin to pull what there is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from node.ledgers import listing, page
from protocol.events import LedgersWanted
from protocol.identity import PUBLIC_KEY_SIZE

if TYPE_CHECKING:
    from node.daemon import Running


class LedgerApi:
    """Handlers for one node."""

    def __init__(self, node: Running) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/v1/ledger", self._list),
            web.get("/v1/ledger/{author}", self._entries),
            web.post("/v1/ledger/sync", self._sync),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(listing(self._node.executor.core))

    async def _entries(self, request: web.Request) -> web.Response:
        author, first = _key(request.match_info["author"]), request.query.get("first", "0")
        if author is None or not first.isdecimal() or len(first) > len(str(2**53)):
            return web.json_response({"error": "an author is 64 hex digits, first a number"}, status=400)
        return web.json_response(page(self._node.executor.core, author, int(first)))

    async def _sync(self, request: web.Request) -> web.Response:
        try:
            named = (await request.json()).get("peer")
        except (ValueError, AttributeError):
            return web.json_response({"error": "the body is not a JSON object"}, status=400)
        author = None if named is None else _key(named)
        if named is not None and author is None:
            return web.json_response({"error": "peer is not 64 hex digits"}, status=400)
        if not self._node.transport.peers():
            return web.json_response({"error": "no peers: this node is connected to nobody"}, status=409)
        self._node.executor.feed(LedgersWanted(author))
        return web.json_response(listing(self._node.executor.core))


def _key(text: object) -> bytes | None:
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return found if len(found) == PUBLIC_KEY_SIZE else None
