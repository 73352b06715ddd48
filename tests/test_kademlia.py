"""Distance, contacts and shelves: bounded, and a crowd displaces nothing but its own."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID

from node.kademlia import BUCKET_PER_HOST_MAX, BUCKET_SIZE, PEER_ID_PREFIX, Contact, Contacts, Entry, Shelf, distance

KEYS = st.binary(min_size=32, max_size=32)


def contact(number: int, host: str = "", *, proven: bool = False) -> Contact:
    address = f"/ip4/{host or f'10.{number // 250}.{number % 250}.1'}/tcp/{1 + number}/p2p/x"
    return Contact(number.to_bytes(32, "big"), (address,), proven)


@given(st.lists(KEYS, unique=True, max_size=20), st.binary(max_size=40))
def test_distance__is_that_of_libp2p(peers: list[bytes], key: bytes) -> None:
    ids = sort_peer_ids_by_distance(key, [ID(PEER_ID_PREFIX + peer) for peer in peers])
    assert [ID(PEER_ID_PREFIX + peer) for peer in sorted(peers, key=lambda peer: distance(peer, key))] == ids


def test_closest__are_the_nearest_of_all() -> None:
    table = Contacts(bytes(32))
    added = [item for number in range(1, 200) if table.add(item := contact(number))]
    nearest = sorted(added, key=lambda item: distance(item.peer, b"key"))
    assert table.closest(b"key", 8) == nearest[:8]


def test_contacts__are_bounded_and_a_claim_displaces_nobody() -> None:
    table = Contacts(bytes(32))
    first = [item for number in range(1, 500) if table.add(item := contact(number))]
    assert len(table) == len(first) < 10 * BUCKET_SIZE
    # More claims find no room where a bucket is full; a node that answered does, in place of a claim.
    full = [number for number in range(500, 600) if not table.add(contact(number))]
    assert full
    assert table.add(contact(full[0], proven=True))
    assert len(table) <= len(first) + 100 - len(full)
    assert table.get(full[0].to_bytes(32, "big")) is not None


def test_proven_contacts__stay() -> None:
    table = Contacts(bytes(32))
    proven = [item for number in range(1, 300) if table.add(item := contact(number, proven=True))]
    for number in range(300, 900):
        table.add(contact(number, proven=True))
        table.add(contact(number))
    assert all(table.get(item.peer) == item for item in proven)


def test_contacts__of_one_host_take_a_part_of_each_bucket() -> None:
    table = Contacts(bytes(32))
    for number in range(1, 1_000):
        table.add(contact(number, "198.51.100.7", proven=True))
    assert all(len(bucket) <= BUCKET_PER_HOST_MAX for bucket in table._buckets.values())
    # A whole network on one machine is no crowd.
    local = Contacts(bytes(32))
    assert sum(local.add(contact(number, "127.0.0.1")) for number in range(1, 17)) == 16


def test_contacts__of_one_host_are_a_crowd_whatever_address_they_name_first() -> None:
    table = Contacts(bytes(32))
    for number in range(1, 500):
        known = contact(number, "192.0.2.9")
        table.add(replace(known, addresses=(f"/ip4/127.0.0.1/tcp/{number}/p2p/x", *known.addresses)))
    assert max(len(bucket) for bucket in table._buckets.values()) == BUCKET_PER_HOST_MAX


def test_shelf__keeps_what_stands_against_a_crowd_from_one_host() -> None:
    shelf = Shelf(10)
    for number in range(4):
        assert shelf.put(b"honest %d" % number, Entry(b"v", f"host {number}", 1_000), 0)
    taken = sum(shelf.put(b"junk %d" % number, Entry(b"j", "crowd", 1_000), 0) for number in range(100))
    assert (taken, len(shelf)) == (6, 10)
    # An honest one that comes late displaces the newest of the crowd, until the crowd is no larger than the others.
    for number in range(4, 9):
        assert shelf.put(b"honest %d" % number, Entry(b"v", f"host {number}", 1_000), 0)
    assert all(shelf.get(b"honest %d" % number, 0) for number in range(9))
    assert len(shelf) == 10


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(0, 50)), max_size=200))
def test_shelf__is_bounded_and_gives_nothing_that_is_over(puts: list[tuple[int, int, int]]) -> None:
    shelf = Shelf(8)
    for now, (key, host, life) in enumerate(puts):
        shelf.put(bytes([key]), Entry(bytes([key]), str(host), now + life), now)
        assert len(shelf) <= 8
        for known in shelf.keys(now):
            entry = shelf.get(known, now)
            assert entry is not None
            assert entry.ends_ms > now
    assert shelf.keys(10_000) == []
