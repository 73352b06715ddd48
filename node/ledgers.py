"""Ledgers as a person asks for them: from the running node, from its database, or from a file; and whether they hold."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.client import Client
from node.errors import ExitCode, UserError
from node.home import NetworkHome
from node.store import inspect
from protocol.chain import Chain
from protocol.constants import ENTRY_SIZE_MAX
from protocol.core import Core
from protocol.errors import RemoteProtocolError
from protocol.followed import TABLE as FOLLOWED
from protocol.identity import PUBLIC_KEY_SIZE, peer_id
from protocol.ledger import Entry, entry_id, open_entry, parse_entry
from protocol.own_ledger import TABLE as OWN

# Entries in one answer of the API: half a megabyte as a rule, 20 MB at the very worst.
PAGE_COUNT: Final = 512
# What an exported ledger begins with; then each entry, its length before it as 4 bytes big-endian.
MAGIC: Final = b"tutti-ledger/1\n"
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Held:
    """The ledgers that a node holds, by author; `own` is its own, if it has one."""

    own: bytes | None
    authors: tuple[bytes, ...]
    entries: Callable[[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a range of a ledger holds; `reason` is the first thing that does not, about entry `number`."""

    author: bytes | None
    first: int
    count: int
    reason: str | None = None
    number: int | None = None


# --- Where they are


def held(home: NetworkHome, client: Callable[[], Client]) -> Held:
    """From the running node, else from its database; raises `UserError`."""
    try:
        node = client()
        return _of_node(node)
    except UserError as error:
        if error.code != ExitCode.NO_DAEMON:
            raise
        if not home.database_file.exists():
            raise UserError(f"{error}; there is no database in {home.data} either", ExitCode.NO_DAEMON) from error
    return _of_database(home.database_file)


def _of_node(client: Client) -> Held:
    listed = client.get("/v1/ledger")
    names = {bytes.fromhex(row["author"]) for row in listed["ledgers"]}
    own = bytes.fromhex(listed["own"])

    def entries(author: bytes) -> list[bytes]:
        found: list[bytes] = []
        first: int | None = 0
        while first is not None:
            page = client.get(f"/v1/ledger/{author.hex()}?first={first}")
            found += map(base64.b64decode, page["entries"])
            first = page["next"]
        return found

    return Held(own if own in names else None, tuple(sorted(names)), entries)


def _of_database(path: Path) -> Held:
    found: dict[bytes, list[bytes]] = {}
    own = None
    for table, key, value in inspect(path):
        if table == OWN:
            try:
                own = own or parse_entry(value).author
            except RemoteProtocolError as error:
                raise UserError(f"database {path} is damaged: its ledger is {error}") from error
            found.setdefault(own, []).append(value)
        elif table == FOLLOWED:
            found.setdefault(key[:PUBLIC_KEY_SIZE], []).append(value)
    return Held(own, tuple(sorted(found)), lambda author: found.get(author, []))


def find(held: Held, named: str | None) -> bytes:
    """The author that a peer id, or the end of one, names; None is this node. Raises `UserError`."""
    if named is None:
        if held.own is None:
            raise UserError("this node has no ledger yet: the first `tutti run` begins it")
        return held.own
    found = [author for author in held.authors if peer_id(author).endswith(named)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{named!r} is the end of {len(found)} peer ids: give more of it", ExitCode.USAGE)
    raise UserError(f"no ledger of {named!r} is held here; `tutti ledger show` lists those that are", ExitCode.USAGE)


# --- The API's side


def listing(core: Core) -> dict[str, Any]:
    """The ledgers that the node holds."""
    chains = [(core.me, core.ledger.chain), *((author, core.followed.get(author)) for author in core.followed.authors())]
    return {
        "own": core.me.hex(),
        "ready": core.ledger.ready,
        "busy": core.following.busy,
        "ledgers": [
            {
                "author": author.hex(),
                "peer_id": peer_id(author),
                "first": chain.first,
                "count": len(chain),
                "bytes": chain.bytes_total,
            }
            for author, chain in chains
            if chain is not None and chain.head is not None
        ],
    }


def page(core: Core, author: bytes, first: int) -> dict[str, Any]:
    """Entries of one author from `first` on, and where the next page begins."""
    chain = core.ledger.chain if author == core.me else core.followed.get(author)
    if chain is None:
        return {"entries": [], "next": None}
    first = max(first, chain.first)
    found = chain.since(first, PAGE_COUNT, PAGE_COUNT * ENTRY_SIZE_MAX)
    beyond = first + len(found)
    return {
        "entries": [base64.b64encode(data).decode() for data in found],
        "next": beyond if found and beyond < chain.next else None,
    }


# --- Files


def pack(entries: Iterable[bytes]) -> bytes:
    """One file of raw entries."""
    return MAGIC + b"".join(_LENGTH.pack(len(data)) + data for data in entries)


def unpack(content: bytes, name: str) -> list[bytes]:
    """The entries of a file; raises `UserError` if it is none, or is cut."""
    if not content.startswith(MAGIC):
        raise UserError(f"{name} is no exported ledger")
    found: list[bytes] = []
    at = len(MAGIC)
    while at < len(content):
        if at + _LENGTH.size > len(content):
            raise UserError(f"{name} does not hold: it is cut off after {len(found)} entries")
        (size,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if at + size > len(content):
            raise UserError(f"{name} does not hold: it is cut off after {len(found)} entries")
        found.append(content[at : at + size])
        at += size
    return found


# --- Whether they hold


def check(entries: Sequence[bytes], network: bytes, author: bytes | None = None, known: Sequence[bytes] = ()) -> Verdict:
    """Verify each signature and link, and compare with what else is known of the same author."""
    chain = Chain()
    others = _by_number(known)
    for data in entries:
        number = chain.next if chain.head is not None else None
        try:
            entry = open_entry(data)
            number = entry.number
            if entry.network != network:
                raise RemoteProtocolError("network", "an entry of another network")
            if author is not None and entry.author != author:
                raise RemoteProtocolError("chain", "an entry of another author")
            chain.add(entry)
        except RemoteProtocolError as error:
            return Verdict(author or _author(chain.head), chain.first, len(chain), str(error), number)
        author = entry.author
        other = others.get(entry.number)
        if other is not None and entry_id(other) != entry.id and parse_entry(other).author == author:
            return Verdict(author, chain.first, len(chain), "another entry with this number is signed as well: a fork", number)
    if chain.head is None:
        return Verdict(author, 0, 0, "there are no entries")
    return Verdict(author, chain.first, len(chain))


def _author(head: Entry | None) -> bytes | None:
    return head.author if head is not None else None


def _by_number(entries: Sequence[bytes]) -> dict[int, bytes]:
    found = {}
    for data in entries:
        try:
            found[parse_entry(data).number] = data
        except RemoteProtocolError:
            continue
    return found
