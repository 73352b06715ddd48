"""Entries, chains and Merkle trees: what was signed in order can be neither changed, nor left out, nor moved."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical, merkle
from protocol.canonical import Value
from protocol.chain import Chain, vector_hash
from protocol.constants import ENTRY_SIZE_MAX, LEDGER_ENTRIES_MAX, LEDGER_RESTORE_WAIT_MS, OPEN_BATCHES_MAX, SNAPSHOT_EVERY
from protocol.envelope import envelope_id
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import AddressesChanged, Persist, Publish
from protocol.identity import SIGNATURE_SIZE, KeySigner
from protocol.ledger import DOMAIN, NOTHING, Entry, make_entry, open_entry, parse_entry
from protocol.own_ledger import Origin
from protocol.succession import recovery_hash
from tests.support import PARAMETERS, Bench, record

SIGNER = KeySigner(b"\x07" * 32)
NETWORK = PARAMETERS.network
START: Mapping[str, Value] = {"recovery": bytes(32), "succession": b""}


def note(number: int) -> Mapping[str, Value]:
    return {"beacon": number.to_bytes(32, "big")}


def ledger(count: int, signer: KeySigner = SIGNER) -> list[Entry]:
    """A ledger of `count` entries, snapshots where they belong."""
    chain = Chain()
    entries: list[Entry] = []
    for number in range(count):
        if number == 0:
            kind, body = "start", START
        elif number % SNAPSHOT_EVERY == 0:
            kind, body = "snapshot", chain.summary.body()
        else:
            kind, body = "beacon", note(number)
        entries.append(make_entry(signer, NETWORK, entries[-1] if entries else None, kind, body, 1_000 * number))
        chain.add(entries[-1])
    return entries


LEDGER = ledger(8)


def signed(fields: Mapping[str, Value], signer: KeySigner = SIGNER) -> bytes:
    """Whatever fields, signed as an entry."""
    payload = canonical.encode(fields)
    return signer.sign(DOMAIN + payload) + payload


def fields_of(entry: Entry) -> dict[str, Value]:
    value = canonical.decode(entry.data[SIGNATURE_SIZE:])
    assert isinstance(value, dict)
    return value


# --- Entries


def test_entry__is_what_was_made() -> None:
    for entry in LEDGER:
        assert open_entry(entry.data) == entry == parse_entry(entry.data)


@given(st.integers(0, 7), st.data())
def test_any_edit__is_refused(number: int, data: st.DataObject) -> None:
    """Any byte changed, cut or added: the signature or the form does not hold."""
    original = LEDGER[number].data
    at = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "add"]))
    if change == "flip":
        edited = bytearray(original)
        edited[at] ^= data.draw(st.integers(1, 255))
        changed = bytes(edited)
    elif change == "cut":
        changed = original[:at]
    else:
        changed = original[:at] + data.draw(st.binary(min_size=1, max_size=3)) + original[at:]
    if changed == original:
        return
    with pytest.raises(RemoteProtocolError):
        open_entry(changed)


@given(st.lists(st.sampled_from(range(8)), max_size=9))
def test_chain__takes_only_what_was_signed_in_its_order(order: list[int]) -> None:
    """Left out, moved or doubled entries are refused, and leave the chain as it was."""
    chain = Chain()
    for number in order:
        before = chain.next
        if number == before:
            chain.add(LEDGER[number])
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                chain.add(LEDGER[number])
            assert caught.value.code == "chain"
            assert chain.next == before
    assert [chain.get(number) for number in range(chain.next)] == [entry.data for entry in LEDGER[: chain.next]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"author": bytes(31)}, "entry"),
        ({"network": b""}, "entry"),
        ({"previous": 0}, "entry"),
        ({"number": -1}, "entry"),
        ({"number": True}, "entry"),
        ({"wall_ms": 2**53 + 1}, "entry"),
        ({"kind": 1}, "entry"),
        ({"kind": "rumour"}, "entry"),
        ({"body": []}, "entry"),
        ({"more": 1}, "entry"),
        ({"body": {}}, "fields"),
        ({"body": {"beacon": bytes(32), "more": 1}}, "fields"),
        ({"body": {"beacon": bytes(31)}}, "field"),
    ],
)
def test_entry__of_another_form_is_refused(change: dict[str, Value], code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        open_entry(signed(fields_of(LEDGER[1]) | change))
    assert caught.value.code == code


def test_entry__longer_than_an_envelope_can_carry_is_refused() -> None:
    leaves: list[Value] = [bytes(ENTRY_SIZE_MAX // 2)] * 2
    data = signed(fields_of(LEDGER[1]) | {"kind": "opening", "body": {"leaves": leaves, "root": bytes(32)}})
    with pytest.raises(RemoteProtocolError) as caught:
        open_entry(data)
    assert caught.value.code == "size"
    with pytest.raises(LocalProtocolError):
        make_entry(SIGNER, NETWORK, LEDGER[0], "opening", {"leaves": leaves, "root": bytes(32)}, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"previous": bytes(32)},
        {"wall_ms": 999},
        {"network": bytes(32)},
        {"author": KeySigner(bytes(32)).public_key},
    ],
)
def test_entry__that_does_not_follow_is_refused(change: dict[str, Value]) -> None:
    chain = Chain()
    chain.add(LEDGER[0])
    chain.add(LEDGER[1])
    with pytest.raises(RemoteProtocolError) as caught:
        chain.add(parse_entry(signed(fields_of(LEDGER[2]) | change)))
    assert caught.value.code == "chain"


def test_start__is_the_first_entry_and_no_other() -> None:
    for previous, kind, body in ((None, "beacon", note(1)), (LEDGER[0], "start", START)):
        with pytest.raises(LocalProtocolError):
            make_entry(SIGNER, NETWORK, previous, kind, body, 0)


def test_date__never_goes_back() -> None:
    assert make_entry(SIGNER, NETWORK, LEDGER[3], "beacon", note(4), 5).wall_ms == LEDGER[3].wall_ms


# --- Snapshots


def test_snapshot__stands_where_it_must_and_nowhere_else() -> None:
    chain = Chain()
    for entry in ledger(SNAPSHOT_EVERY):
        chain.add(entry)
    for previous, kind, body in ((chain.head, "beacon", note(1)), (LEDGER[0], "snapshot", chain.summary.body())):
        with pytest.raises(LocalProtocolError):
            make_entry(SIGNER, NETWORK, previous, kind, body, 10**9)


def test_follower__that_begins_at_a_snapshot_knows_what_was_before() -> None:
    entries = ledger(SNAPSHOT_EVERY + 5)
    whole, late = Chain(), Chain()
    for entry in entries:
        whole.add(entry)
    for entry in entries[SNAPSHOT_EVERY:]:
        late.add(entry)
    assert late.summary == whole.summary
    assert late.first == SNAPSHOT_EVERY
    assert late.summary.counts == {"start": 1, "beacon": SNAPSHOT_EVERY - 1 + 4, "snapshot": 1}
    for number in (1, 3, SNAPSHOT_EVERY + 1):
        with pytest.raises(RemoteProtocolError):
            Chain().add(entries[number])


def test_snapshot__that_says_something_else_is_refused() -> None:
    entries = ledger(SNAPSHOT_EVERY)
    chain = Chain()
    for entry in entries:
        chain.add(entry)
    true = chain.summary.body()
    foreign = ledger(1, KeySigner(b"\x08" * 32))[0].data
    nothing: list[Value] = [bytes(32)]
    wrongs: dict[str, Value] = {
        "counts": {"start": 1},
        "open": nothing,
        "sequence": 5,
        "vector": b"\x01" * 32,
        "start": foreign,
    }
    for name, wrong in wrongs.items():
        entry = make_entry(SIGNER, NETWORK, entries[-1], "snapshot", {**true, name: wrong}, 10**9)
        with pytest.raises(RemoteProtocolError) as caught:
            chain.add(entry)
        assert caught.value.code == "chain"
        if name in ("counts", "start"):
            with pytest.raises(RemoteProtocolError):
                Chain().add(entry)
    chain.add(make_entry(SIGNER, NETWORK, entries[-1], "snapshot", true, 10**9))


def test_summary__knows_batches_that_are_not_opened() -> None:
    chain = Chain()
    chain.add(LEDGER[0])
    for number in range(OPEN_BATCHES_MAX + 2):
        chain.add(make_entry(SIGNER, NETWORK, chain.head, "audits", {"count": 1, "root": bytes([number]) * 32}, 0))
    assert chain.summary.open == [bytes([number]) * 32 for number in range(2, OPEN_BATCHES_MAX + 2)]
    chain.add(make_entry(SIGNER, NETWORK, chain.head, "opening", {"leaves": [b"x"], "root": b"\x05" * 32}, 0))
    assert b"\x05" * 32 not in chain.summary.open
    assert chain.summary.recovery == NOTHING


# --- Ranges


def test_range__gives_what_fits_and_forgets_what_is_dropped() -> None:
    chain = Chain()
    for entry in LEDGER:
        chain.add(entry)
    size = len(LEDGER[3].data)
    assert chain.since(2, 3, 10**6) == [entry.data for entry in LEDGER[2:5]]
    assert chain.since(2, 3, 2 * size) == [entry.data for entry in LEDGER[2:4]]
    assert chain.since(2, 3, 0) == [LEDGER[2].data], "one at least, or a long one could never be had"
    assert chain.since(9, 3, 10**6) == []
    assert chain.drop_before(3) == [0, 1, 2]
    assert (chain.first, len(chain), chain.next) == (3, 5, 8)
    assert chain.bytes_total == sum(len(entry.data) for entry in LEDGER[3:])
    assert chain.get(2) is None
    assert chain.id_of(3) == LEDGER[3].id
    with pytest.raises(LocalProtocolError):
        chain.drop_before(2)


# --- Merkle trees

LEAVES = st.lists(st.binary(max_size=4), min_size=1, max_size=20)


@given(LEAVES, st.data())
def test_each_leaf__is_shown_by_its_path_and_by_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle.root(leaves), merkle.proof(leaves, index)
    merkle.check_proof(root, leaves[index], index, len(leaves), path)
    wrong = [
        (root, leaves[index] + b"x", index, len(leaves), path),
        (bytes(32), leaves[index], index, len(leaves), path),
        (root, leaves[index], len(leaves), len(leaves), path),
        (root, leaves[index], index, len(leaves), [*path, bytes(32)]),
        *((root, leaves[index], index, len(leaves), path[:-1]) for _ in path[:1]),
    ]
    for case in wrong:
        with pytest.raises(RemoteProtocolError) as caught:
            merkle.check_proof(*case)
        assert caught.value.code == "merkle"


@given(LEAVES, LEAVES)
def test_two_lists__have_two_roots(first: list[bytes], second: list[bytes]) -> None:
    assert (merkle.root(first) == merkle.root(second)) == (first == second)


def test_tree__doubles_no_leaf_and_takes_no_node_for_one() -> None:
    a, b, c = b"a", b"b", b"c"
    assert merkle.root([a, b, c]) != merkle.root([a, b, c, c])
    inner = merkle.leaf_hash(a) + merkle.leaf_hash(b)
    assert merkle.root([a, b]) != merkle.root([inner])
    with pytest.raises(LocalProtocolError):
        merkle.root([])
    with pytest.raises(LocalProtocolError):
        merkle.proof([a], 1)


def test_merkle__is_that_of_rfc_6962() -> None:
    """The shape alone, since the domains are ours: the tree of seven leaves in section 2.1.3 of the RFC."""
    leaves = [bytes([number]) for number in range(7)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    g, h, i = (merkle._node(hashes[at], hashes[at + 1]) for at in (0, 2, 4))
    k, rest = merkle._node(g, h), merkle._node(i, hashes[6])
    assert merkle.root(leaves) == merkle._node(k, rest)
    assert merkle.proof(leaves, 0) == [hashes[1], h, rest]
    assert merkle.proof(leaves, 3) == [hashes[2], g, rest]
    assert merkle.proof(leaves, 6) == [i, k]


# --- A node's own ledger


def rows(bench: Bench) -> list[tuple[str, bytes, bytes]]:
    return [(table, key, value) for (table, key), value in sorted(bench.disk.items())]


def entries(bench: Bench) -> list[Entry]:
    return [open_entry(value) for table, _, value in rows(bench) if table == "ledger"]


def released(bench: Bench) -> list[Entry]:
    """Let a node meet somebody after a restart, and wait until it may write; gives its entries."""
    bench.meet(SIGNER)
    bench.wait(LEDGER_RESTORE_WAIT_MS)
    assert bench.core.ledger.ready
    return entries(bench)


def test_first_step__begins_the_ledger_and_notes_the_claim() -> None:
    bench = Bench(("arith",))
    start, claim = entries(bench)
    assert (start.kind, start.body["recovery"]) == ("start", NOTHING)
    assert (claim.kind, claim.body["vector"]) == ("record", vector_hash(bench.core.own_record))
    assert bench.core.ledger.head == (1, claim.id)


def test_recovery_key__stands_in_the_first_entry_by_its_hash() -> None:
    bench = Bench(origin=Origin(recovery_hash(SIGNER.public_key)))
    assert bench.core.ledger.chain.summary.recovery == recovery_hash(SIGNER.public_key)


def test_claim__is_noted_when_it_changes_and_not_when_it_is_refreshed() -> None:
    bench = Bench(("arith",))
    bench.wait(300_000)
    assert len(entries(bench)) == 2
    again = Bench(("arith",), rows(bench))
    released(again)
    assert len(entries(again)) == 2, "the same claim after a restart"
    other = Bench(("arith", "lists"), rows(bench))
    released(other)
    assert [entry.kind for entry in entries(other)] == ["start", "record", "record"]


def test_entry__is_on_disk_before_the_beacon_that_it_notes_leaves() -> None:
    bench = Bench(("arith",))
    effects = bench.ask("What is 2 + 3?") + bench.wait(2_000)
    last = ""
    for effect in effects:
        if isinstance(effect, Persist) and effect.table == "ledger" and effect.value is not None:
            last = str(open_entry(effect.value).body.get("beacon"))
        elif isinstance(effect, Publish) and effect.topic == "beacons":
            assert last == str(envelope_id(effect.data))
    assert last


def test_ledger__goes_on_after_a_restart() -> None:
    bench = Bench(("arith",))
    again = Bench(("arith",), rows(bench))
    assert again.core.ledger.append("beacon", note(2)) is None, "it waits"
    (waited,) = [entry for entry in released(again) if entry.kind == "beacon"]
    assert waited.previous == entries(bench)[-1].id
    entry = again.core.ledger.append("beacon", note(1))
    assert entry is not None
    assert entry.previous == waited.id


@pytest.mark.parametrize("damage", ["gap", "signature", "number", "garbage"])
def test_damaged_ledger__is_refused_at_the_start(damage: str) -> None:
    bench = Bench(("arith",))
    kept = {key: value for table, key, value in rows(bench) if table == "ledger"}
    first, last = sorted(kept)
    if damage == "gap":
        del kept[first]
    elif damage == "signature":
        kept[last] = bytes(64) + kept[last][64:]
    elif damage == "number":
        kept[b"\xff" * 8] = kept.pop(last)
    else:
        kept[first] = b"garbage"
    with pytest.raises(LocalProtocolError):
        Bench(("arith",), [("ledger", key, value) for key, value in sorted(kept.items())])


def test_ledger_of_another_identity__is_not_gone_on_with() -> None:
    bench = Bench(("arith",))
    other = Bench(("arith",), rows(bench), name="other")
    assert [entry.author for entry in entries(other)] == [other.core.me] * 2


def test_own_ledger__is_bounded_and_restates_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.own_ledger.LEDGER_ENTRIES_MAX", 3 * SNAPSHOT_EVERY)
    assert 3 * SNAPSHOT_EVERY < LEDGER_ENTRIES_MAX
    bench = Bench(("arith",))
    bench.step(AddressesChanged(("/sim/bench",)))
    for number in range(3 * SNAPSHOT_EVERY):
        bench.core.ledger.append("beacon", note(number))
    bench.wait(1)
    bench.step(AddressesChanged(("/sim/bench",)))
    chain = bench.core.ledger.chain
    assert len(chain) <= 3 * SNAPSHOT_EVERY
    assert chain.first % SNAPSHOT_EVERY == 0 < chain.first
    late = Chain()
    for number in range(chain.first, chain.next):
        data = chain.get(number)
        assert data is not None
        late.add(open_entry(data))
    assert late.summary == chain.summary


def test_vector__is_what_a_record_claims() -> None:
    claim = record("arith")
    assert vector_hash(claim) == vector_hash(record("arith", available=False))
    assert vector_hash(claim) != vector_hash(record("arith", prior=501))
