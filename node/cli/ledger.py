"""`tutti ledger`: what this node and those that it follows have signed: show, sync, export, check."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from node.cli.flags import add_json, add_verbs
from node.cli.place import client_of, located, network_home
from node.cli.terminal import clean, print_json, print_lines, short, size, table
from node.errors import ExitCode, UserError
from node.ledgers import Held, Verdict, check, find, held, pack, unpack
from node.networks import load
from protocol.errors import RemoteProtocolError
from protocol.identity import peer_id, public_key_of
from protocol.ledger import Entry, parse_entry

# What a person reads at once; --json has all.
_SHOWN: Final = 20
# A pull that nobody answers is given up in less.
_SYNC_S: Final = 30.0
_LOOK_S: Final = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs, each with flags of its own."""
    add = add_verbs(parser)
    show = add("show", "the entries of a ledger, the latest last")
    show.add_argument("peer", metavar="PEER", nargs="?", help="a peer id or its end (else this node)")
    add_json(show)
    sync = add("sync", "pull what there is now from the connected peers")
    sync.add_argument("peer", metavar="PEER", nargs="?", help="the ledger of this peer id, from whoever holds it")
    add_json(sync)
    export = add("export", "write all entries of a ledger to a file, as they were signed")
    export.add_argument("file", metavar="FILE", help="the file to write, - for stdout; one that exists is left as it is")
    export.add_argument("peer", metavar="PEER", nargs="?", help="a peer id or its end (else this node)")
    checked = add("check", "whether all links and signatures of a ledger hold, and whether it forks")
    checked.add_argument("what", metavar="PEER|FILE", nargs="?", help="a peer id or its end, or an exported file (else own)")
    add_json(checked)


def run(args: argparse.Namespace) -> int:
    """Run one verb; raises `UserError`."""
    return {"show": _show, "sync": _sync, "export": _export, "check": _check}[args.verb](args)


def _held(args: argparse.Namespace) -> Held:
    return held(network_home(args), lambda: client_of(args))


# --- show


def _show(args: argparse.Namespace) -> int:
    known = _held(args)
    author = find(known, args.peer)
    entries = _parsed(known.entries(author), peer_id(author))
    others = [other for other in known.authors if other not in (author, known.own)]
    if args.json:
        print_json({**_ledger_json(author, entries), "others": [peer_id(other) for other in others]})
        return ExitCode.OK
    first, last = entries[0].number, entries[-1].number
    counts = Counter(entry.kind for entry in entries)
    rows = [
        ("ledger of", peer_id(author) + (" (this node)" if author == known.own else "")),
        ("entries", f"{first} to {last}, {size(sum(len(entry.data) for entry in entries))}"),
        ("kinds", ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))),
    ]
    listed = [("NUMBER", "KIND", "DATE (as signed)", "ID")]
    listed += [(str(entry.number), entry.kind, _date(entry.wall_ms), entry.id.hex()[:16]) for entry in entries[-_SHOWN:]]
    lines = [*table(rows, indent=""), *table(listed)]
    if args.peer is None and others:
        lines.append(f"followed: {', '.join(short(peer_id(other)) for other in others)}; `tutti ledger show PEER` shows one")
    print_lines(lines)
    return ExitCode.OK


def _parsed(entries: Sequence[bytes], name: str) -> list[Entry]:
    try:
        found = [parse_entry(data) for data in entries]
    except RemoteProtocolError as error:
        raise UserError(f"the ledger of {name} is damaged: {error}; `tutti ledger check` says where") from error
    if not found:
        raise UserError(f"no entries of {name} are held here")
    return found


def _ledger_json(author: bytes, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "peer_id": peer_id(author),
        "first": entries[0].number,
        "next": entries[-1].number + 1,
        "entries": [
            {
                "number": entry.number,
                "kind": entry.kind,
                "id": entry.id.hex(),
                "previous": entry.previous.hex(),
                "wall_ms": entry.wall_ms,
                "body": _plain(entry.body),
            }
            for entry in entries
        ],
    }


def _plain(value: object) -> object:
    """A value as JSON, bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _date(wall_ms: int) -> str:
    try:
        return f"{dt.datetime.fromtimestamp(wall_ms / 1_000, dt.UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return f"{wall_ms} ms"  # an author may sign any number


# --- sync


def _sync(args: argparse.Namespace) -> int:
    try:
        body = {} if args.peer is None else {"peer": public_key_of(args.peer).hex()}
    except RemoteProtocolError as error:
        raise UserError(f"bad PEER: {error}; sync needs a whole peer id", ExitCode.USAGE) from error
    client = client_of(args)
    before = _next_numbers(client.get("/v1/ledger"))
    listed = client.post("/v1/ledger/sync", body)
    deadline = time.monotonic() + _SYNC_S
    while listed["busy"] and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        listed = client.get("/v1/ledger")
    after = _next_numbers(listed)
    came = {peer: count for peer, beyond in sorted(after.items()) if (count := beyond - before.get(peer, 0))}
    if args.json:
        print_json({"complete": not listed["busy"], "came": came})
        return ExitCode.OK
    lines = [f"{clean(peer)}: {count} new {'entry' if count == 1 else 'entries'}" for peer, count in came.items()]
    if listed["busy"]:
        lines.append("peers are still sending: run it again")
    print_lines(lines or ["nothing new"])
    return ExitCode.OK


def _next_numbers(listed: Mapping[str, Any]) -> dict[str, int]:
    return {row["peer_id"]: row["first"] + row["count"] for row in listed["ledgers"]}


# --- export and check


def _export(args: argparse.Namespace) -> int:
    known = _held(args)
    author = find(known, args.peer)
    entries = known.entries(author)
    content = pack(entries)
    if args.file == "-":
        sys.stdout.buffer.write(content)
        return ExitCode.OK
    file = Path(args.file)
    try:
        with file.open("xb") as handle:
            handle.write(content)
    except FileExistsError as error:
        raise UserError(f"{file} exists and is left as it is: choose another file") from error
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error
    print_lines([f"{len(entries)} entries of {peer_id(author)} are in {file}"])
    return ExitCode.OK


def _check(args: argparse.Namespace) -> int:
    network = load(located(args)[1].network).parameters.network
    file = Path(args.what) if args.what is not None else None
    if file is not None and file.exists():
        try:
            entries = unpack(file.read_bytes(), str(file))
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from error
        verdict = check(entries, network, known=_known(args, entries))
    else:
        known = _held(args)
        author = find(known, args.what)
        verdict = check(known.entries(author), network, author)
    if args.json:
        print_json(_verdict_json(verdict))
    if verdict.reason is not None:
        where = "" if verdict.number is None else f" at entry {verdict.number}"
        raise UserError(f"the ledger of {_name(verdict)} does not hold{where}: {verdict.reason}")
    if not args.json:
        last = verdict.first + verdict.count - 1
        begins = "its first entry" if verdict.first == 0 else "a snapshot"
        print_lines(
            [
                f"the ledger of {_name(verdict)} holds",
                f"  entries {verdict.first} to {last}, from {begins}: each signed, each following the one before",
                "  no other entry with one of these numbers is known here; dates are its author's word",
            ]
        )
    return ExitCode.OK


def _known(args: argparse.Namespace, entries: Sequence[bytes]) -> list[bytes]:
    """What this home holds of the author of a file, if anything."""
    try:
        author = parse_entry(entries[0]).author if entries else b""
        known = _held(args)
    except (UserError, RemoteProtocolError):
        return []
    return known.entries(author) if author in known.authors else []


def _name(verdict: Verdict) -> str:
    return peer_id(verdict.author) if verdict.author is not None else "nobody"


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "ok": verdict.reason is None,
        "peer_id": None if verdict.author is None else peer_id(verdict.author),
        "first": verdict.first,
        "count": verdict.count,
        "reason": verdict.reason,
        "number": verdict.number,
    }
