"""Entries, chains and Merkle trees: specs/06-ledger.md."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation, Repeated
from contrib.vectors.keys import BEACON_ID, KEYS, NETWORK, SEEDS, SIGNERS, WALL_MS
from protocol import canonical, merkle
from protocol.chain import Chain
from protocol.constants import ENTRY_SIZE_MAX, SNAPSHOT_EVERY
from protocol.identity import KeySigner
from protocol.ledger import DOMAIN, SNAPSHOT, START, Entry, make_entry, open_entry
from protocol.succession import Succession, recovery_hash, succeed

DOCUMENT: Final = "06-ledger.md"
_START: Final[dict[str, canonical.Value]] = {"recovery": recovery_hash(KEYS[7]), "succession": b""}


def _entry(data: bytes) -> dict[str, object]:
    entry = open_entry(data)
    names = ("id", "author", "network", "number", "previous", "kind", "wall_ms", "body")
    return {name: getattr(entry, name) for name in names}


def _signed(seed: bytes, fields: dict[str, canonical.Value]) -> bytes:
    payload = canonical.encode(fields)
    return KeySigner(seed).sign(DOMAIN + payload) + payload


def _chain(entries: list[bytes]) -> dict[str, object]:
    """The head of a range that begins at entry 0 or at a snapshot."""
    chain = Chain()
    for data in entries:
        chain.add(open_entry(data))
    assert chain.head is not None
    return {"number": chain.head.number, "id": chain.head.id}


def _path(root: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> None:
    merkle.check_proof(root, leaf, index, count, path)


def _succession(data: bytes) -> dict[str, object]:
    found = Succession.open(data)
    return {"network": found.network, "old": found.old, "new": found.new, "recovery": recovery_hash(found.recovery)}


OPERATIONS: Final[dict[str, Operation]] = {
    "sign_entry": _signed,
    "entry": _entry,
    "chain": _chain,
    "recovery": recovery_hash,
    "succession": _succession,
    "merkle_root": merkle.root,
    "merkle_path": _path,
}


def _made(*bodies: tuple[str, dict[str, canonical.Value]], author: int = 0) -> list[Entry]:
    """The entries of a new ledger, a second apart."""
    entries: list[Entry] = []
    for number, (kind, body) in enumerate(bodies):
        previous = entries[-1] if entries else None
        entries.append(make_entry(SIGNERS[author], NETWORK, previous, kind, body, WALL_MS + 1_000 * number))
    return entries


_LEDGER: Final = _made(
    (START, _START),
    ("record", {"sequence": 1, "vector": b"\x01" * 32}),
    ("audits", {"count": 2, "root": b"\x02" * 32}),
    ("beacon", {"beacon": BEACON_ID}),
    ("receipt", {"receipt": b"\x03" * 32}),
    ("fault", {"accused": KEYS[1], "proof": b"\x04" * 32}),
)


def _fields(place: int = 3, /, **changes: object) -> dict[str, canonical.Value]:
    """The fields of an entry of that ledger, but for `changes`; one that is None is left out."""
    fields = canonical.decode(_LEDGER[place].data[64:])
    assert isinstance(fields, dict)
    return {name: value for name, value in (fields | changes).items() if value is not None}  # type: ignore[misc]


def _changed(place: int = 3, /, **changes: object) -> bytes:
    return _signed(SEEDS[0], _fields(place, **changes))


def _snapshot(start: bytes, number: int = SNAPSHOT_EVERY, **counts: int) -> bytes:
    body: dict[str, object] = {
        "counts": {"start": 1, "beacon": SNAPSHOT_EVERY - 2, "record": 1} | counts,
        "open": [b"\x02" * 32],
        "sequence": 7,
        "start": start,
        "vector": b"\x01" * 32,
    }
    return _changed(number=number, previous=b"\x05" * 32, kind=SNAPSHOT, body=body)


def _entries() -> list[Case]:
    first = _LEDGER[3].data
    envelope: dict[str, dict[str, object]] = {
        "a field is missing": {"wall_ms": None},
        "a field too many": {"salt": b""},
        "an author of 31 bytes": {"author": KEYS[0][:31]},
        "a network of 33 bytes": {"network": NETWORK + b"\x00"},
        "a previous id that is a string": {"previous": "00"},
        "a negative number": {"number": -1},
        "a number above 2^53": {"number": 2**53 + 1},
        "a number that is a boolean": {"number": True},
        "a date that is a string": {"wall_ms": "now"},
        "an unknown kind": {"kind": "poem"},
        "a body that is a list": {"body": []},
    }
    bodies: list[tuple[str, str, dict[str, object]]] = [
        ("fields", "a body without its field", {"body": {}}),
        ("fields", "a body of another kind", {"kind": "receipt"}),
        ("fields", "a body with a field too many", {"body": {"beacon": BEACON_ID, "text": ""}}),
        ("field", "an id of 31 bytes", {"body": {"beacon": BEACON_ID[:31]}}),
        ("field", "an id that is a string", {"body": {"beacon": "beacon"}}),
        ("field", "a batch of no audits", {"kind": "audits", "body": {"count": 0, "root": bytes(32)}}),
        ("field", "a batch of too many audits", {"kind": "audits", "body": {"count": 65, "root": bytes(32)}}),
    ]
    wrong: list[tuple[str, str, bytes | Repeated]] = [
        ("size", "longer than an entry may be", Repeated(((b"\x00", ENTRY_SIZE_MAX + 1),))),
        ("size", "nothing", b""),
        ("size", "a signature alone", first[:64]),
        ("encoding", "cut short", first[:-1]),
        ("signature", "signed by another", SIGNERS[1].sign(DOMAIN + first[64:]) + first[64:]),
        ("signature", "signed as an envelope", SIGNERS[0].sign(b"tutti/envelope/1\x00" + first[64:]) + first[64:]),
        *(("entry", name, _changed(3, **changes)) for name, changes in envelope.items()),
        *((code, name, _changed(3, **changes)) for code, name, changes in bodies),
        ("key", "an author of small order", _changed(author=(1).to_bytes(32, "little"))),
    ]
    return [
        *(Case("entry", f"of kind {entry.kind}", {"data": entry.data}) for entry in _LEDGER),
        *(Case("entry", name, {"data": data}, code) for code, name, data in wrong),
    ]


def _chains() -> list[Case]:
    data = [entry.data for entry in _LEDGER]
    start, second = data[0], data[1]
    other_start = _made((START, _START), author=1)[0].data
    late = _signed(SEEDS[0], _fields(1) | {"wall_ms": WALL_MS - 1})
    good: dict[str, list[bytes]] = {
        "an entry alone": data[:1],
        "all of it": data,
        "two of one date": [start, _signed(SEEDS[0], _fields(1) | {"wall_ms": WALL_MS})],
        "from a snapshot on": [_snapshot(start)],
    }
    wrong: dict[str, list[bytes]] = {
        "begins in its middle": data[1:],
        "an entry is missing": [start, data[2]],
        "an entry twice": [start, second, second],
        "two entries change places": [start, data[2], second],
        "of two authors": [start, _other_author()],
        "of two networks": [start, _changed(1, network=bytes(32))],
        "another number": [start, _changed(1, number=2)],
        "another previous id": [start, _changed(1, previous=bytes(32))],
        "dated before the one before": [start, late],
        "a second start": [start, _changed(1, kind=START, body=_START)],
        "entry 0 of another kind": [_changed(0, kind="receipt", body={"receipt": bytes(32)})],
        "entry 0 with a previous id": [_changed(0, previous=BEACON_ID)],
        "a snapshot where none stands": [_snapshot(start, number=SNAPSHOT_EVERY - 1)],
        "no snapshot where one stands": [start, _changed(3, number=SNAPSHOT_EVERY)],
        "a snapshot of another's start": [_snapshot(other_start)],
        "a snapshot whose start is no start": [_snapshot(second)],
        "a snapshot that counts too few": [_snapshot(start, record=0)],
    }
    bad_start = SIGNERS[1].sign(DOMAIN + start[64:]) + start[64:]
    return [
        *(Case("chain", name, {"entries": entries}) for name, entries in good.items()),
        *(Case("chain", name, {"entries": entries}, "chain") for name, entries in wrong.items()),
        Case("chain", "a snapshot whose start is not signed", {"entries": [_snapshot(bad_start)]}, "signature"),
    ]


def _other_author() -> bytes:
    return _signed(SEEDS[1], _fields(1) | {"author": KEYS[1]})


def _trees() -> list[Case]:
    leaves = [bytes([number]) * (number + 1) for number in range(9)]
    roots = [Case("merkle_root", f"{count} leaves", {"leaves": leaves[:count]}) for count in range(1, 10)]
    roots.append(Case("merkle_root", "the empty leaf", {"leaves": [b""]}))
    paths, wrong = [], []
    for index, count in ((0, 1), (0, 2), (1, 2), (2, 3), (4, 5), (6, 7), (8, 9), (3, 9)):
        given: dict[str, object] = {
            "root": merkle.root(leaves[:count]),
            "leaf": leaves[index],
            "index": index,
            "count": count,
            "path": merkle.proof(leaves[:count], index),
        }
        paths.append(Case("merkle_path", f"leaf {index} of {count}", given))
        wrong.append(Case("merkle_path", f"leaf {index} of {count}, another leaf", given | {"leaf": b"x"}, "merkle"))
    last: dict[str, object] = dict(paths[-1].input)
    path = merkle.proof(leaves, 3)
    for name, change in {
        "another index": {"index": 2},
        "another root": {"root": bytes(32)},
        "a hash too few": {"path": path[:-1]},
        "a hash too many": {"path": [*path, bytes(32)]},
        "the path from above": {"path": path[::-1]},
        "an index beyond the leaves": {"index": 9},
        "a negative index": {"index": -1},
        "no leaves": {"index": 0, "count": 0, "path": []},
    }.items():
        wrong.append(Case("merkle_path", name, last | change, "merkle"))  # type: ignore[operator]
    return [*roots, *paths, *wrong]


def _successions() -> list[Case]:
    good = succeed(NETWORK, KEYS[0], SIGNERS[1], SIGNERS[7], SIGNERS[0])
    fields = good.body()
    rows: list[tuple[str, str | None, dict[str, object]]] = [
        ("signed by all three", None, {}),
        ("the old key is gone", None, {"by_old": b""}),
        ("not signed by the new key", "signature", {"by_new": fields["by_old"]}),
        ("not signed by the recovery key", "signature", {"by_recovery": fields["by_new"]}),
        ("the old key's signature is wrong", "signature", {"by_old": fields["by_new"]}),
        ("another successor than was signed", "signature", {"new": KEYS[2]}),
        ("in another network than was signed", "signature", {"network": bytes(32)}),
        ("of a key of small order", "key", {"old": (1).to_bytes(32, "little")}),
        ("to itself", "succession", {"new": KEYS[0]}),
        ("the recovery key follows", "succession", {"new": KEYS[7]}),
        ("a field too many", "fields", {"why": "lost"}),
        ("a signature of 65 bytes", "field", {"by_old": bytes(65)}),
        ("no signature of the recovery key", "field", {"by_recovery": b""}),
    ]
    return [
        *(Case("succession", name, {"data": canonical.encode(fields | change)}, code) for name, code, change in rows),
        Case("succession", "no map", {"data": canonical.encode([])}, "succession"),
        Case("succession", "a byte left over", {"data": good.data() + b"\x00"}, "encoding"),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *(Case("sign_entry", f"number {number}", {"seed": SEEDS[0], "fields": _fields(number)}) for number in (0, 3)),
        *_entries(),
        *_chains(),
        Case("recovery", "of a key", {"public_key": KEYS[7]}),
        *_successions(),
        *_trees(),
    ]
