"""One key follows another: signed by the recovery key, whatever a thief holds; evidence and faults go along."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical
from protocol.canonical import Value
from protocol.constants import SUCCESSIONS_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Instant, PeerLost
from protocol.identity import KeySigner
from protocol.ledger import Entry, make_entry
from protocol.ledger_messages import Entries
from protocol.outbox import Outbox
from protocol.own_ledger import Origin
from protocol.succession import Succession, Successions, recovery_hash, succeed
from simnet.draws import Stream
from tests.support import WALL_MS, Bench, evidence, peers
from tests.test_following import Club, told
from tests.test_ledger import NETWORK, note, rows

OLD, NEW, RECOVERY, THIEF = (KeySigner(bytes([number]) * 32) for number in range(1, 5))
ROTATED = succeed(NETWORK, OLD.public_key, NEW, RECOVERY, OLD)
RECOVERED = succeed(NETWORK, OLD.public_key, NEW, RECOVERY)


# --- Statements


@pytest.mark.parametrize("statement", [ROTATED, RECOVERED])
def test_statement__is_what_was_signed(statement: Succession) -> None:
    assert Succession.open(statement.data()) == statement


@given(st.data())
def test_any_edit_of_a_statement__is_refused(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([ROTATED, RECOVERED])).data()
    edited = bytearray(original)
    edited[data.draw(st.integers(0, len(original) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError):
        Succession.open(bytes(edited))


def test_statement__of_fewer_than_three_keys_is_refused() -> None:
    for new, recovery in ((NEW, NEW), (OLD, RECOVERY), (NEW, OLD)):
        with pytest.raises(RemoteProtocolError) as caught:
            Succession.open(succeed(NETWORK, OLD.public_key, new, recovery).data())
        assert caught.value.code == "succession"
    with pytest.raises(RemoteProtocolError):
        Succession.open(canonical.encode([]))
    with pytest.raises(LocalProtocolError):
        succeed(NETWORK, OLD.public_key, NEW, RECOVERY, THIEF)


def book(known: Mapping[bytes, KeySigner]) -> Successions:
    outbox = Outbox(THIEF, NETWORK)
    outbox.begin(Instant(0, 0))
    hashes = {key: recovery_hash(recovery.public_key) for key, recovery in known.items()}
    return Successions(outbox, hashes.get, lambda _: True)


def test_recovery_key__outranks_the_key_itself() -> None:
    """A thief holds the old key and makes a recovery key of its own; the owner holds the recovery key alone."""
    found = book({OLD.public_key: RECOVERY})
    theft = succeed(NETWORK, OLD.public_key, THIEF, KeySigner(b"\x09" * 32), OLD)
    assert not found.take(THIEF.public_key, theft.data())
    assert found.successor_of(OLD.public_key) == OLD.public_key
    assert found.take(NEW.public_key, RECOVERED.data())
    assert found.successor_of(OLD.public_key) == NEW.public_key
    assert found.names(NEW.public_key) == (NEW.public_key, OLD.public_key)
    assert found.names(OLD.public_key) == ()
    assert not found.take(NEW.public_key, RECOVERED.data()), "known already"


def test_statement__counts_in_the_ledgers_of_its_keys_and_its_network_alone() -> None:
    found = book({OLD.public_key: RECOVERY})
    for author, statement in ((THIEF, RECOVERED), (NEW, succeed(bytes(32), OLD.public_key, NEW, RECOVERY))):
        with pytest.raises(RemoteProtocolError) as caught:
            found.take(author.public_key, statement.data())
        assert caught.value.code == "succession"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_successions__form_lines_without_end_in_themselves(pairs: list[tuple[int, int]]) -> None:
    keys = [KeySigner(bytes([50 + number]) * 32) for number in range(5)]
    found = book({key.public_key: RECOVERY for key in keys})
    for old, new in pairs:
        if old != new:
            found.take(keys[new].public_key, succeed(NETWORK, keys[old].public_key, keys[new], RECOVERY).data())
    names = [found.names(key.public_key) for key in keys]
    assert sorted(name for line in names for name in line) == sorted(key.public_key for key in keys), "each once"
    for key in keys:
        assert key.public_key in found.names(found.successor_of(key.public_key))


def test_successions__are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.succession.SUCCESSIONS_MAX", 1)
    assert SUCCESSIONS_MAX > 1
    found = book({OLD.public_key: RECOVERY, THIEF.public_key: RECOVERY})
    assert found.take(NEW.public_key, RECOVERED.data())
    other = KeySigner(b"\x0a" * 32)
    assert not found.take(other.public_key, succeed(NETWORK, THIEF.public_key, other, RECOVERY).data())


# --- In a network


def ledger_of(signer: KeySigner, succession: bytes = b"", notes: int = 1) -> list[Entry]:
    start: dict[str, Value] = {"recovery": recovery_hash(RECOVERY.public_key), "succession": succession}
    entries = [make_entry(signer, NETWORK, None, "start", start, 0)]
    for number in range(notes):
        entries.append(make_entry(signer, NETWORK, entries[-1], "beacon", note(number), 0))
    return entries


def show(bench: Bench, signer: KeySigner, entries: list[Entry]) -> None:
    """Let a peer tell its ledger and hand it over."""
    bench.hear(signer, told(entries[-1:]))
    chain = bench.core.followed.get(signer.public_key)
    first = chain.next if chain is not None else 0
    bench.hear(signer, Entries(signer.public_key, first, tuple(entry.data for entry in entries[first:])))


def weight(bench: Bench, key: KeySigner) -> int:
    return bench.core.counts(key.public_key, "arith", WALL_MS).weight(10)


@pytest.mark.parametrize("order", ["old first", "new first"])
def test_evidence__goes_to_the_successor_and_the_old_key_keeps_none(order: str) -> None:
    bench = Bench(restored=evidence({OLD.public_key: 10}))
    for signer in (OLD, NEW):
        bench.join(signer)
    earned = weight(bench, OLD)
    assert earned > 0 == weight(bench, NEW)
    ledgers = [(OLD, ledger_of(OLD)), (NEW, ledger_of(NEW, RECOVERED.data()))]
    for signer, entries in ledgers if order == "old first" else ledgers[::-1]:
        show(bench, signer, entries)
    assert (weight(bench, OLD), weight(bench, NEW)) == (0, earned)
    assert OLD.public_key not in bench.core.candidates("arith")
    assert NEW.public_key in bench.core.candidates("arith")
    again = Bench(restored=rows(bench))
    assert (weight(again, OLD), weight(again, NEW)) == (0, earned)


def test_old_key__cannot_go_on_with_its_ledger() -> None:
    bench = Bench(restored=evidence({OLD.public_key: 10}))
    for signer in (OLD, NEW):
        bench.join(signer)
    entries = ledger_of(OLD, notes=3)
    show(bench, OLD, entries[:2])
    show(bench, NEW, ledger_of(NEW, RECOVERED.data()))
    show(bench, OLD, entries)
    chain = bench.core.followed.get(OLD.public_key)
    assert chain is not None
    assert chain.next == 2


def test_fault__follows_to_the_successor() -> None:
    bench, author, other = Bench(restored=evidence({OLD.public_key: 10})), OLD, peers(1)[0]
    for signer in (author, NEW, other):
        bench.join(signer)
    entries = ledger_of(author, notes=2)
    show(bench, author, entries)
    second = make_entry(author, NETWORK, entries[1], "beacon", note(99), 0)
    bench.hear(author, told([second]))
    bench.hear(author, Entries(author.public_key, 2, (second.data,)))
    show(bench, NEW, ledger_of(NEW, RECOVERED.data()))
    assert bench.core.is_faulty(author.public_key)
    assert bench.core.is_faulty(NEW.public_key)
    assert not bench.core.is_faulty(other.public_key)


def test_statement_of_a_key_without_evidence__is_not_kept() -> None:
    bench = Bench()
    for signer in (OLD, NEW):
        bench.join(signer)
    show(bench, OLD, ledger_of(OLD))
    show(bench, NEW, ledger_of(NEW, RECOVERED.data()))
    assert bench.core.successions.successor_of(OLD.public_key) == OLD.public_key


def test_statement__that_does_not_hold_is_counted_and_changes_nothing() -> None:
    bench = Bench(restored=evidence({OLD.public_key: 10}))
    for signer in (OLD, NEW, THIEF):
        bench.join(signer)
    show(bench, OLD, ledger_of(OLD))
    show(bench, THIEF, ledger_of(THIEF, RECOVERED.data()))
    show(bench, NEW, ledger_of(NEW, b"garbage"))
    assert bench.core.rejected["succession"] == 1
    assert bench.core.rejected["encoding"] == 1
    assert weight(bench, OLD) > 0


def test_damaged_statement_on_disk__is_dropped() -> None:
    bench = Bench(restored=[("successions", OLD.public_key, b"garbage"), ("successions", THIEF.public_key, ROTATED.data())])
    assert [key for table, key in bench.disk if table == "successions"] == []


@pytest.mark.parametrize("how", ["rotated", "recovered"])
def test_successor__tells_the_ledger_of_the_key_that_it_followed(how: str) -> None:
    """The database holds the old ledger, which after `keys rotate` ends in the statement, and its followers hear it."""
    new = KeySigner(Stream(1, "key node").bytes(32))
    statement = succeed(NETWORK, OLD.public_key, new, RECOVERY, OLD).data()
    follower = Bench(("arith",), evidence({OLD.public_key: 10}), name="follower")
    before = ledger_of(OLD)
    follower.join(OLD)
    show(follower, OLD, before[:1])
    follower.step(PeerLost(OLD.public_key))
    if how == "rotated":
        before.append(make_entry(OLD, NETWORK, before[-1], "succession", {"statement": statement}, 0))
    kept = [("ledger", entry.number.to_bytes(8, "big"), entry.data) for entry in before] + evidence({OLD.public_key: 10})
    node = Bench(("arith",), kept, name="node", origin=Origin(recovery_hash(RECOVERY.public_key), statement))
    assert {key[:32] for table, key in node.disk if table == "followed"} == {OLD.public_key}
    assert sorted(key for table, key in node.disk if table == "ledger") == [bytes(8), (1).to_bytes(8, "big")]
    assert weight(node, new) > 0 == weight(node, OLD), "what it knows of its own model goes along"
    Club(node, follower).connect(node, follower)
    assert follower.core.successions.successor_of(OLD.public_key) == node.core.me
