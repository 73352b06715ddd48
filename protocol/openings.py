"""Batches of audits in the ledgers that this node follows: graded again when they are opened (specs/06-ledger.md)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from protocol.audit_batch import AUDITS, OPENING, opened_tasks, regrade
from protocol.constants import IMPORT_AUTHORS_MAX, OPEN_BATCHES_MAX
from protocol.errors import RemoteProtocolError
from protocol.events import Persist
from protocol.imports import IMPORTED, Imports
from protocol.ledger import Entry
from protocol.outbox import Outbox
from protocol.parameters import Parameters

# Given the bytes of a batch's entry and of the one that opens it, which may prove a fault.
OnFalse = Callable[[bytes, bytes], None]


class Openings:
    """Takes each entry of a followed ledger, in its author's order, and accounts what opened batches show."""

    def __init__(self, outbox: Outbox, parameters: Parameters, imports: Imports, on_false: OnFalse) -> None:
        self._outbox = outbox
        self._parameters = parameters
        self._imports = imports
        self._on_false = on_false
        # Batches that were committed and not opened yet, by author and root.
        self._open: dict[bytes, dict[bytes, Entry]] = {}

    def take(self, entry: Entry) -> str | None:
        """Take a verified entry; gives the code of what was refused. After a restart all that are held come again.

        A batch may be opened once: what was accounted before, or whose commitment is not known, is passed over. So may each
        of its audits: one that counted already does not count in another batch, nor in the same one committed again.
        """
        root = entry.body.get("root")
        if not isinstance(root, bytes):
            return None
        if entry.kind == AUDITS:
            self._committed(entry, root)
        audits = self._open.get(entry.author, {}).pop(root, None) if entry.kind == OPENING else None
        if entry.kind == OPENING and entry.number <= self._imports.accounted(entry.author):
            self._known(entry)
            return None
        if audits is None:
            return None
        try:
            verdicts = regrade(audits, entry, self._parameters)
        except RemoteProtocolError as error:
            self._on_false(audits.data, entry.data)
            return error.code
        tasks = opened_tasks(entry)
        # specs/06-ledger.md: "one with a task of a batch of this author that was counted, MUST NOT be counted"
        again = self._imports.has_counted(entry.author, tasks)
        # A date in the future would stay young for longer.
        wall_ms = min(audits.wall_ms, self._outbox.now.wall_ms)
        for key, value in self._imports.add(entry.author, () if again else verdicts, wall_ms, entry.number):
            self._outbox.emit(Persist(IMPORTED, key, value))
        self._imports.note(entry.author, tasks)
        return "opening" if again else None

    def _known(self, opening: Entry) -> None:
        """An opening that was accounted in an earlier run: its audits do not count again."""
        with suppress(RemoteProtocolError):
            self._imports.note(opening.author, opened_tasks(opening))

    def _committed(self, entry: Entry, root: bytes) -> None:
        if entry.author not in self._open and len(self._open) >= IMPORT_AUTHORS_MAX:
            del self._open[next(iter(self._open))]
        batches = self._open.setdefault(entry.author, {})
        batches[root] = entry
        if len(batches) > OPEN_BATCHES_MAX:
            del batches[next(iter(batches))]
