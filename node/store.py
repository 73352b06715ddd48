"""What a node keeps between runs, in SQLite: rows of (table, key, value) that the core asks to persist.

Rows of one step are committed together, before any message of that step leaves. WAL with synchronous=NORMAL survives the
end of the process. A power cut may lose the last rows: evidence and sequence numbers that can be had again, and the replay
watermark of the last second, whose messages a peer could then replay once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from node.errors import UserError
from protocol.events import Persist

_SCHEMA = "CREATE TABLE IF NOT EXISTS rows (name TEXT, key BLOB, value BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID"


class Store:
    """One node's database. Every failure is a `UserError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_SCHEMA)
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def rows(self) -> list[tuple[str, bytes, bytes]]:
        """All rows, sorted by table and key."""
        try:
            found: list[tuple[str, bytes, bytes]] = self._database.execute(
                "SELECT name, key, value FROM rows ORDER BY name, key"
            ).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        # SQLite keeps any type in any column, so a damaged file gives what we never wrote.
        if any((type(name), type(key), type(value)) != (str, bytes, bytes) for name, key, value in found):
            raise self.damaged()
        return found

    def damaged(self) -> UserError:
        """What to say when the rows are not what this node wrote."""
        return UserError(f"database {self._path} is damaged: restore it from a backup, or move it away to earn evidence anew")

    def write(self, batch: Sequence[Persist]) -> None:
        """Write one step's rows, all or none."""
        try:
            self._database.execute("BEGIN")
            for row in batch:
                if row.value is None:
                    self._database.execute("DELETE FROM rows WHERE name = ? AND key = ?", (row.table, row.key))
                else:
                    self._database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (row.table, row.key, row.value))
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _failure(self, error: Exception) -> UserError:
        return UserError(f"database {self._path}: {error}; check the disk's space and the file's permissions, or move it away")
