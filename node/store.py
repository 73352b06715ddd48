"""What a node keeps between runs, in SQLite: rows of (table, key, value) that the core asks to persist.

Rows of one step are committed together, before any message of that step leaves. WAL with synchronous=FULL survives a power cut
as well: a node that lost the last entry of its ledger would sign another one with its number, and that is a fault for ever.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from node.errors import UserError
from protocol.events import Persist

_SCHEMA = "CREATE TABLE IF NOT EXISTS rows (name TEXT, key BLOB, value BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID"


# A table, a key and a value.
Row: TypeAlias = tuple[str, bytes, bytes]


class Store:
    """One node's database. Every failure is a `UserError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute(_SCHEMA)
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def rows(self) -> list[Row]:
        """All rows, sorted by table and key."""
        try:
            return _rows(self._database, self._path)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def damaged(self) -> UserError:
        """What to say when the rows are not what this node wrote."""
        return damaged(self._path)

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
        return _failure(self._path, error)


def inspect(path: Path) -> list[Row]:
    """All rows of a file that a node may be using, once every page was checked; raises `UserError` and writes nothing."""
    if not path.is_file():
        raise UserError(f"database {path} is not a plain file: move it away")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if database.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise damaged(path)
            return _rows(database, path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise _failure(path, error) from error
        raise damaged(path) from error


def damaged(path: Path) -> UserError:
    """What to say when the rows are not what a node wrote."""
    return UserError(f"database {path} is damaged: restore it from a backup, or move it away to earn evidence anew")


def _rows(database: sqlite3.Connection, path: Path) -> list[Row]:
    found: list[Row] = database.execute("SELECT name, key, value FROM rows ORDER BY name, key").fetchall()
    # SQLite keeps any type in any column, so a damaged file gives what we never wrote.
    if any((type(name), type(key), type(value)) != (str, bytes, bytes) for name, key, value in found):
        raise damaged(path)
    return found


def _failure(path: Path, error: Exception) -> UserError:
    return UserError(f"database {path}: {error}; check the disk's space and the file's permissions, or move it away")
