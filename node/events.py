"""The stream of what happens in a node: to the log, and to whoever listens over the API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from protocol.events import Log
from protocol.identity import peer_id

_log = logging.getLogger(__name__)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# A listener that reads slower than this many events lag behind loses the oldest.
_LAG_MAX = 4_096


class EventStream:
    """Fans log effects out. Events hold names, numbers and ids: never a prompt or an answer."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()

    def emit(self, log: Log) -> None:
        """Log an event and hand it to the listeners."""
        fields = {
            name: peer_id(bytes.fromhex(value)) if name == "peer" and isinstance(value, str) else value
            for name, value in log.fields.items()
        }
        _log.log(_LEVELS[log.level], log.event, extra={"fields": fields})
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait({"event": log.event, **fields})

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """A queue of the events from now on."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_LAG_MAX)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
