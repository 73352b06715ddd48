"""Faults that anyone can check: what proves one, what does not, and what a node makes of a proof."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical
from protocol.allocation import ReceivedBid, View, view_hash
from protocol.audit_batch import Answers, audits_body, opening_body
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import Record
from protocol.constants import (
    FAULT_AGAIN_MS,
    FAULT_MS,
    FAULT_TOLD_AGAIN,
    FAULTS_BURST,
    FAULTS_OTHERS_MAX,
    FAULTS_SHARED_MAX,
    LEASE_MS,
    LIFETIME_MS_MAX,
)
from protocol.envelope import envelope_id, open_envelope, seal
from protocol.errors import RemoteProtocolError
from protocol.events import Log, MessageReceived, PeerConnected, PeerLost, Persist, ProofShown, Publish, Send
from protocol.evidence import Counts
from protocol.faults import KINDS, Fault
from protocol.gossip import Gate
from protocol.identity import KeySigner
from protocol.ledger import make_entry, open_entry, parse_entry
from protocol.messages import Award, Beacon, Bid, BidAck
from protocol.outbox import FAULTS
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.step import StepId
from protocol.verdict import Verdict
from simnet.faults import partition, release
from tests.core_bench import asked, awarded, holder, offered, requester
from tests.support import EXPERT, PARAMETERS, WALL_MS, Bench, evidence, peers, record, sent, solver, world_of
from tests.test_audit_batch import leaf

NETWORK = PARAMETERS.network
LIAR, VICTIM, OTHER = peers(3, "fault")
STEP = (b"t" * 16, 0, 0)
BEACON_ID, NONCE = b"b" * 32, b"n" * 32


def sealed(by: KeySigner, message: Message, to: KeySigner | str = "records", issued_ms: int = WALL_MS) -> bytes:
    target = to if isinstance(to, str) else to.public_key
    return seal(by, NETWORK, message.TYPE, target, message.body(), issued_ms, LIFETIME_MS_MAX)


def numbered(number: int = 7, **change: object) -> Record:
    return dataclasses.replace(record("arith"), sequence=number, **change)  # type: ignore[arg-type]


def award(**change: object) -> Award:
    made = Award(*STEP, BEACON_ID, b"i" * 32, b"v" * 32, 0, NONCE, "What?", LEASE_MS, 0)
    return dataclasses.replace(made, **change)  # type: ignore[arg-type]


def two_records(by: KeySigner = LIAR) -> Fault:
    return Fault.of("records", sealed(by, numbered()), sealed(by, numbered(slots=9)))


def two_awards(by: KeySigner = LIAR) -> Fault:
    return Fault.of("awards", sealed(by, award(), VICTIM), sealed(by, award(seat=1), VICTIM))


def dropped(by: KeySigner = LIAR, *, holds: bool = False) -> Fault:
    bids = []
    for key in (VICTIM, OTHER):
        data = sealed(key, Bid(*STEP, BEACON_ID, 0, 1, 100), by)
        bids.append((data, ReceivedBid(key.public_key, envelope_id(data), Bid.parse(open_envelope(data).body))))
    kept = [bid for data, bid in bids if holds or bid.bidder == OTHER.public_key]
    view = View(10, 0, {OTHER.public_key: Counts(256, 0)})
    ack = sealed(by, BidAck(*STEP, bids[0][1].id), VICTIM)
    return Fault.of("dropped_bid", bids[0][0], ack, sealed(by, award(view=view.hash(kept)), OTHER), view.encode(kept))


def two_sets(by: KeySigner = LIAR) -> Fault:
    sets = (CommitSet(*STEP, 0, ((key.public_key, bytes(32)),)) for key in (VICTIM, OTHER))
    return Fault.of("commit_sets", *(sealed(by, each, VICTIM) for each in sets))


def mismatch(by: KeySigner = LIAR, answer: str = "5", **change: object) -> Fault:
    bound = commitment(NETWORK, StepId(*STEP), 0, by.public_key, NONCE, "4")
    reveal = dataclasses.replace(Reveal(*STEP, b"a" * 32, 0, NONCE, answer), **change)  # type: ignore[arg-type]
    commit = Commit(*STEP, b"a" * 32, 0, bound, 1, 1, 1)
    return Fault.of("opening", sealed(by, commit, VICTIM), sealed(by, reveal, VICTIM))


def two_entries(by: KeySigner = LIAR) -> Fault:
    start = make_entry(by, NETWORK, None, "start", {"recovery": bytes(32), "succession": b""}, WALL_MS)
    forks = (make_entry(by, NETWORK, start, "beacon", {"beacon": bytes([number]) * 32}, WALL_MS) for number in (1, 2))
    return Fault.of("equivocation", *(fork.data for fork in forks))


def other_audits(by: KeySigner = LIAR, *, opens: int = 2) -> Fault:
    first, second = (Answers(leaf(number), ()) for number in (1, opens))
    start = make_entry(by, NETWORK, None, "start", {"recovery": bytes(32), "succession": b""}, WALL_MS)
    audits = make_entry(by, NETWORK, start, "audits", audits_body([first.leaf]), WALL_MS)
    body = opening_body([second]) | {"root": audits.body["root"]}
    return Fault.of("audits", audits.data, make_entry(by, NETWORK, audits, "opening", body, WALL_MS).data)


MAKERS: dict[str, Callable[[KeySigner], Fault]] = {
    "commit_sets": two_sets,
    "opening": mismatch,
    "awards": two_awards,
    "audits": other_audits,
    "dropped_bid": dropped,
    "equivocation": two_entries,
    "records": two_records,
}


def refused(fault: Fault) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        fault.check(NETWORK)
    return str(caught.value)


# --- What proves, and what does not


def test_catalogue__has_a_proof_of_each_kind() -> None:
    assert MAKERS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_proof__names_who_signed_and_survives_its_file(kind: str) -> None:
    fault = MAKERS[kind](LIAR)
    assert fault.check(NETWORK) == LIAR.public_key
    assert Fault.decode(fault.encode()) == fault


@pytest.mark.parametrize("kind", KINDS)
@given(draw=st.data())
def test_proof__with_any_byte_changed_proves_nothing(kind: str, draw: st.DataObject) -> None:
    fault = MAKERS[kind](LIAR)
    number = draw.draw(st.integers(0, len(fault.parts) - 1))
    part = bytearray(fault.parts[number])
    part[draw.draw(st.integers(0, len(part) - 1))] ^= draw.draw(st.integers(1, 255))
    refused(Fault(kind, (*fault.parts[:number], bytes(part), *fault.parts[number + 1 :])))


@pytest.mark.parametrize("kind", KINDS)
def test_proof__of_another_network_or_with_other_parts_proves_nothing(kind: str) -> None:
    fault = MAKERS[kind](LIAR)
    with pytest.raises(RemoteProtocolError, match="another network"):
        fault.check(bytes(32))
    assert "parts" in refused(Fault(kind, fault.parts[:-1]))
    assert "parts" in refused(Fault(kind, ()))
    for other in KINDS.keys() - {kind}:
        refused(Fault(other, fault.parts))


@given(st.binary(max_size=200))
def test_file__of_anything_else_is_refused_without_another_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Fault.decode(data)


@pytest.mark.parametrize("kind", ["awards", "commit_sets", "equivocation", "records"])
def test_pair__has_one_order_and_is_never_one_thing_twice(kind: str) -> None:
    first, second = MAKERS[kind](LIAR).parts
    assert "in order" in refused(Fault(kind, (second, first)))
    assert "in order" in refused(Fault(kind, (first, first)))


def test_records__of_other_numbers_authors_or_of_the_same_words_prove_nothing() -> None:
    one = sealed(LIAR, numbered())
    assert "different sequence" in refused(Fault.of("records", one, sealed(LIAR, numbered(8))))
    assert "say the same" in refused(Fault.of("records", one, sealed(LIAR, numbered(), issued_ms=WALL_MS + 1)))
    assert "one node" in refused(Fault.of("records", one, sealed(OTHER, numbered(slots=9))))


def test_entries__of_other_numbers_or_authors_prove_nothing() -> None:
    start = make_entry(LIAR, NETWORK, None, "start", {"recovery": bytes(32), "succession": b""}, WALL_MS)
    beacon = make_entry(LIAR, NETWORK, start, "beacon", {"beacon": bytes(32)}, WALL_MS)
    assert "one number" in refused(Fault.of("equivocation", start.data, beacon.data))
    assert "one node" in refused(Fault.of("equivocation", two_entries().parts[0], two_entries(OTHER).parts[0]))


def test_opening__that_matches_or_belongs_elsewhere_proves_nothing() -> None:
    assert "matches" in refused(mismatch(answer="4"))
    for change in ({"round": 1}, {"award": b"b" * 32}, {"step": 1}):
        assert "another award or round" in refused(mismatch(**change))
    assert "one node" in refused(Fault.of("opening", mismatch().parts[0], mismatch(OTHER).parts[1]))


def test_audits__that_were_committed_or_of_another_batch_prove_nothing() -> None:
    assert "matches" in refused(other_audits(opens=1))
    audits, opening = sorted(other_audits().parts, key=lambda part: open_entry(part).kind)
    foreign = sorted(other_audits(OTHER).parts, key=lambda part: open_entry(part).kind)[1]
    assert "one node" in refused(Fault.of("audits", audits, foreign))
    for part in (audits, opening):
        assert "not a batch" in refused(Fault.of("audits", part, two_entries().parts[0]))


def test_commit_sets__of_other_rounds_or_with_the_same_members_prove_nothing() -> None:
    first = two_sets().parts[0]
    body = CommitSet.parse(open_envelope(first).body)
    again = sealed(LIAR, body, OTHER)
    assert "say the same" in refused(Fault.of("commit_sets", first, again))
    later = sealed(LIAR, CommitSet(*STEP, 1, ()), VICTIM)
    assert "different rounds" in refused(Fault.of("commit_sets", first, later))
    assert "one node" in refused(Fault.of("commit_sets", first, two_sets(OTHER).parts[1]))


def test_awards__of_one_seat_to_two_bids_are_legal_and_of_two_questions_are_not() -> None:
    first = sealed(LIAR, award(), VICTIM)
    again = sealed(LIAR, award(bid=b"j" * 32), OTHER)
    assert "exclude" in refused(Fault.of("awards", first, again))
    for change in ({"question": "Which?"}, {"nonce": b"m" * 32}):
        fault = Fault.of("awards", first, sealed(LIAR, award(bid=b"j" * 32, **change), OTHER))
        assert fault.check(NETWORK) == LIAR.public_key
    # Another date alone says nothing, nor does what belongs to another beacon or signer.
    assert "exclude" in refused(Fault.of("awards", first, sealed(LIAR, award(), VICTIM, WALL_MS + 1)))
    assert "beacons" in refused(Fault.of("awards", first, sealed(LIAR, award(beacon=b"c" * 32, seat=1), VICTIM)))
    assert "beacons" in refused(Fault.of("awards", first, sealed(LIAR, award(step=1, seat=1), VICTIM)))
    assert "one node" in refused(Fault.of("awards", first, sealed(OTHER, award(seat=1), VICTIM)))


def test_dropped_bid__needs_all_four_to_belong_together() -> None:
    bid, ack, awarded, view = dropped().parts
    assert "holds the bid" in refused(dropped(holds=True))
    assert "belong together" in refused(
        Fault.of("dropped_bid", bid, sealed(LIAR, BidAck(*STEP, bytes(32)), VICTIM), awarded, view)
    )
    assert "not the view" in refused(Fault.of("dropped_bid", bid, ack, awarded, view[:-1] + b"\x00"))
    assert "not the view" in refused(Fault.of("dropped_bid", bid, ack, sealed(LIAR, award(), OTHER), view))
    other = sealed(VICTIM, Bid(*STEP, b"c" * 32, 0, 1, 100), LIAR)
    acked = sealed(LIAR, BidAck(*STEP, envelope_id(other)), VICTIM)
    assert "belong together" in refused(Fault.of("dropped_bid", other, acked, awarded, view))
    # An acknowledgement by somebody else promises nothing in the requester's name.
    foreign = sealed(OTHER, BidAck(*STEP, envelope_id(bid)), VICTIM)
    assert "one node" in refused(Fault.of("dropped_bid", bid, foreign, awarded, view))


@pytest.mark.parametrize("rows", [None, [b"x"], [[]], [[1]], [[b"x"], 1], {}])
def test_dropped_bid__by_a_view_that_is_none_proves_nothing(rows: canonical.Value) -> None:
    bid, ack, _, _ = dropped().parts
    view = canonical.encode({"bids": rows})
    assert "not a view" in refused(Fault.of("dropped_bid", bid, ack, sealed(LIAR, award(view=view_hash(view)), OTHER), view))
    empty = View(10, 0, {}).encode([])
    hashed = sealed(LIAR, award(view=view_hash(empty)), OTHER)
    assert Fault.of("dropped_bid", bid, ack, hashed, empty).check(NETWORK) == LIAR.public_key


# --- An honest node leaves nothing to prove


def test_honest_requester__signs_no_two_awards_that_exclude_each_other() -> None:
    bench, others = requester(6)
    bench.bids(asked(bench), others)
    for peer in others[:3]:
        bench.step(PeerLost(peer.public_key))
    made = [envelope.data for envelope, _ in sent(bench.effects, Award)]
    assert len(made) == 6
    for first in made:
        for second in made:
            refused(Fault.of("awards", first, second))


@given(st.lists(st.tuples(st.sampled_from(["connect", "restart", "back", "lost disk"]), st.integers(0, 100_000)), max_size=12))
def test_honest_node__gives_no_number_twice_over_restarts_and_clock_jumps(course: list[tuple[str, int]]) -> None:
    bench, records = Bench(), dict[int, bytes]()
    (peer,) = peers(1)
    for what, by_ms in [*course, ("connect", 0)]:
        for effect in bench.effects:
            if isinstance(effect, Send | Publish) and (envelope := open_envelope(effect.data)).type == Record.TYPE:
                body = Record.parse(envelope.body)
                assert Record.parse(open_envelope(records.setdefault(body.sequence, effect.data)).body) == body
        if what == "connect":
            bench.step(PeerConnected(peer.public_key), by_ms)
            bench.step(PeerLost(peer.public_key))
        else:
            # The disk is lost only while the clock goes on: a node that lost both has nothing left to count by.
            wall_ms = bench.wall_ms + 1 + (-by_ms if what == "back" else by_ms)
            rows = (
                []
                if what == "lost disk" and wall_ms > max(records, default=0)
                else [(*key, row) for key, row in bench.disk.items()]
            )
            bench = Bench(restored=rows, wall_ms=wall_ms)


# --- What a node makes of it


def faulty(bench: Bench, fault: Fault, by: KeySigner = OTHER) -> None:
    """Hear of a fault by gossip."""
    bench.step(MessageReceived(None, sealed(by, fault, FAULTS, bench.wall_ms)))


def test_two_records_with_one_number__are_found_kept_and_told_to_all() -> None:
    bench, others = requester(1)
    (liar,) = others
    mark = len(bench.effects)
    for slots in (3, 4, 5):
        bench.hear(liar, dataclasses.replace(numbered(2), slots=slots))
    ((envelope, told),) = sent(bench.effects[mark:], Fault)
    assert envelope.to == FAULTS
    assert told.check(NETWORK) == liar.public_key
    assert bench.core.faults.of(liar.public_key) == [told]
    assert bench.disk["faults", liar.public_key + b"records"] == told.encode()
    (line,) = [effect for effect in bench.effects if isinstance(effect, Log) and effect.event == "fault"]
    assert line.fields["kind"] == "records"


def test_two_awards_of_one_bid__are_found_and_stand_in_the_ledger_if_the_requester_has_evidence() -> None:
    worker = Bench(("arith",), restored=evidence({OTHER.public_key: 10}), name="worker")
    for asker in (LIAR, OTHER):
        offer, _ = offered(worker, asker)
        first = worker.hear(asker, offer)
        assert not sent(first, Fault)
        assert not sent(worker.hear(asker, offer, issued_ms=worker.wall_ms + 1), Fault), "the same with another date"
        ((_, fault),) = sent(worker.hear(asker, dataclasses.replace(offer, seat=1)), Fault)
        assert (fault.kind, fault.check(NETWORK)) == ("awards", asker.public_key)
    noted = [entry for number in range(worker.core.ledger.chain.next) if (entry := worker.core.ledger.chain.get(number))]
    noted = [entry for entry in noted if parse_entry(entry).kind == "fault"]
    assert [parse_entry(entry).body for entry in noted] == [{"accused": OTHER.public_key, "proof": fault.id}]


def test_record_of_before_a_restart__proves_it_as_well() -> None:
    (liar,) = peers(1)
    bench = Bench()
    bench.join(liar, numbered(1, addresses=("/ip4/192.0.2.1/tcp/4040",)))
    bench.wait(5_000)
    again = Bench(restored=[(*key, value) for key, value in bench.disk.items()], wall_ms=bench.wall_ms)
    again.meet(liar)
    again.hear(liar, dataclasses.replace(numbered(1), slots=9))
    assert liar.public_key in again.core.faults


def test_same_record_with_another_date__is_no_fault() -> None:
    bench, (honest,) = requester(1)
    own = numbered(5)
    bench.hear(honest, own)
    bench.hear(honest, own, issued_ms=bench.wall_ms + 1)
    assert honest.public_key not in bench.core.faults


def test_faulty_peer__has_no_weight_no_seat_and_is_no_requester() -> None:
    bench, others = requester(4)
    liar = others[0]
    assert bench.core.counts(liar.public_key, "arith", bench.wall_ms).any
    faulty(bench, two_records(liar), others[1])
    assert not bench.core.counts(liar.public_key, "arith", bench.wall_ms).any
    assert liar.public_key not in bench.core.candidates("arith")
    _, awards = awarded(bench, others)
    assert {holder(each, others) for each in awards} == set(others[1:])
    assert bench.core.rejected["faulty"] == 1
    worker = Bench(("arith",), name="worker")
    worker.join(liar)
    body = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 64, 1_500, 60_000, 2)
    assert sent(worker.hear(liar, body), Bid)
    faulty(worker, two_records(liar))
    assert not sent(worker.hear(liar, dataclasses.replace(body, task=b"u" * 16)), Bid)


def test_proof__outlives_a_restart_and_evidence_comes_back_to_nobody() -> None:
    bench, others = requester(2)
    faulty(bench, two_awards(others[0]))
    again = Bench(restored=[(*key, value) for key, value in bench.disk.items()], wall_ms=bench.wall_ms)
    again.join(others[0])
    assert [fault.kind for fault in again.core.faults.of(others[0].public_key)] == ["awards"]
    assert others[0].public_key not in again.core.candidates("arith")


@pytest.mark.parametrize("damage", [lambda key, row: (key, row[:-1]), lambda key, row: (b"x" + key[1:], row)])
def test_damaged_proof__on_disk_accuses_nobody(damage: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> None:
    key, row = damage(LIAR.public_key + b"records", two_records().encode())
    bench = Bench(restored=[("faults", key, row)])
    assert bench.core.faults.accused() == []
    assert Persist("faults", key, None) in bench.effects


def test_proof__is_kept_once_for_each_kind() -> None:
    bench, _ = requester(1)
    faulty(bench, two_records())
    again = Fault.of("records", sealed(LIAR, numbered(3)), sealed(LIAR, numbered(3, slots=2)))
    for fault in (two_records(), again, two_awards(), dropped()):
        faulty(bench, fault)
    assert [fault.kind for fault in bench.core.faults.of(LIAR.public_key)] == ["awards", "dropped_bid", "records"]
    assert bench.core.faults.of(LIAR.public_key)[2] == two_records()
    assert sum(table == "faults" for table, _ in bench.disk) == 3


def test_proofs__against_unknown_keys_are_bounded_and_those_against_known_ones_are_not() -> None:
    bench, others = requester(2)
    faulty(bench, two_records(others[0]))
    never_met = peers(1, "evidenced")[0]
    bench.core.evidence.add(never_met.public_key, "arith", "hit", bench.wall_ms)
    faulty(bench, two_records(never_met))
    crowd = peers(FAULTS_OTHERS_MAX + 3, "crowd")
    for key in crowd:
        bench.wait(FAULT_MS)
        faulty(bench, two_records(key))
    kept = set(bench.core.faults.accused())
    assert len(kept) == FAULTS_OTHERS_MAX + 2
    assert {others[0].public_key, never_met.public_key} <= kept
    assert not {key.public_key for key in crowd[:3]} & kept
    assert sum(table == "faults" for table, _ in bench.disk) == FAULTS_OTHERS_MAX + 2


def test_proofs__are_rationed_before_they_are_checked() -> None:
    bench, others = requester(2)
    wrong = Fault.of("records", sealed(LIAR, numbered()), sealed(LIAR, numbered(8)))
    for _ in range(FAULTS_BURST + 2):
        bench.hear(others[0], wrong)
    assert (bench.core.rejected["fault"], bench.core.rejected["rate"]) == (FAULTS_BURST, 2)
    bench.hear(others[1], two_records())
    assert LIAR.public_key in bench.core.faults


def test_proof__on_a_channel_is_for_us_and_by_the_peer_itself() -> None:
    bench, others = requester(2)
    for data in (sealed(others[0], two_records(), FAULTS), sealed(others[0], two_records(), others[1])):
        bench.step(MessageReceived(others[0].public_key, data))
    bench.step(MessageReceived(others[0].public_key, bench.sealed(others[1], two_records())))
    bench.step(MessageReceived(None, bench.sealed(others[1], two_records())))
    assert bench.core.rejected["recipient"] == 3
    assert bench.core.rejected["relayed"] == 1
    assert LIAR.public_key not in bench.core.faults


def test_newcomer__is_told_what_is_proven_of_whom_we_know() -> None:
    bench, others = requester(2)
    faulty(bench, two_records(others[0]))
    faulty(bench, two_records(LIAR))
    newcomer = peers(1, "newcomer")[0]
    ((envelope, told),) = sent(bench.step(PeerConnected(newcomer.public_key)), Fault)
    assert envelope.to == newcomer.public_key
    assert told.check(NETWORK) == others[0].public_key
    known = peers(FAULTS_SHARED_MAX + 2, "known")
    for key in known:
        bench.core.evidence.add(key.public_key, "arith", "hit", bench.wall_ms)
        bench.wait(FAULT_MS)
        faulty(bench, two_records(key))
    told_again = sent(bench.step(PeerConnected(peers(1, "next")[0].public_key)), Fault)
    assert [fault.check(NETWORK) for _, fault in told_again] == [key.public_key for key in reversed(known)][:FAULTS_SHARED_MAX]


def test_proof__is_told_to_some_peers_a_while_after_it_was_learned_and_not_again() -> None:
    bench, others = requester(FAULT_TOLD_AGAIN + 4)
    liar = others[0].public_key
    faulty(bench, two_records(others[0]))
    mark = len(bench.effects)
    bench.wait(FAULT_AGAIN_MS - 1_000)
    assert not sent(bench.effects[mark:], Fault)
    told = sent(bench.wait(2_000), Fault)
    assert {fault.check(NETWORK) for _, fault in told} == {liar}
    whom = {envelope.to for envelope, _ in told}
    assert len(whom) == len(told) == FAULT_TOLD_AGAIN
    assert whom <= {peer.public_key for peer in others[1:]}
    assert not sent(bench.wait(3 * FAULT_AGAIN_MS), Fault)


def test_proof__against_a_key_that_nobody_knows_is_not_told_again() -> None:
    bench, _ = requester(2)
    faulty(bench, two_records(LIAR))
    assert not sent(bench.wait(2 * FAULT_AGAIN_MS), Fault)


def test_peer__that_missed_a_proof_while_its_channels_lasted_hears_of_it() -> None:
    world = world_of({name: solver(EXPERT) for name in ("liar", "first", "second", "away")})
    hosts = list(world.hosts.values())
    liar, *honest = hosts
    cut = partition(world, [honest[-1]], hosts[:-1])
    world.after(0, honest[0], ProofShown(two_records(liar.signer).encode()))
    world.run(for_ms=5_000)
    release(world, cut)
    world.run(for_ms=1_000)
    assert honest[1].core.is_faulty(liar.key)
    assert not honest[-1].core.is_faulty(liar.key)
    world.run(for_ms=FAULT_AGAIN_MS)
    assert honest[-1].core.is_faulty(liar.key)


def test_own_key__that_is_proven_faulty_is_told_to_its_owner() -> None:
    bench, others = requester(3)
    faulty(bench, two_records(bench.signer))
    (line,) = [effect for effect in bench.effects if isinstance(effect, Log) and effect.event == "own_fault"]
    assert line.level == "error"
    assert awarded(bench, others)[1]


# --- What a mesh passes on


def test_mesh__passes_on_one_proof_of_each_kind_and_none_that_does_not_hold() -> None:
    gate = Gate(NETWORK, FAULTS, lambda _: True)

    def verdict(fault: Fault, by: KeySigner = OTHER) -> tuple[Verdict, str]:
        return gate.validate(sealed(by, fault, FAULTS), WALL_MS, 0)

    assert verdict(two_records()) == (Verdict.ACCEPT, "")
    again = Fault.of("records", sealed(LIAR, numbered(3)), sealed(LIAR, numbered(3, slots=2)))
    assert verdict(again, VICTIM) == (Verdict.IGNORE, "flood")
    assert verdict(two_awards()) == (Verdict.ACCEPT, "")
    wrong = Fault.of("records", sealed(LIAR, numbered()), sealed(LIAR, numbered(8)))
    assert verdict(wrong) == (Verdict.REJECT, "fault")


def test_mesh__rations_proofs_before_it_checks_them() -> None:
    gate = Gate(NETWORK, FAULTS, lambda _: False)
    authors = peers(FAULTS_BURST + 1, "author")
    wrong = Fault.of("records", sealed(LIAR, numbered()), sealed(LIAR, numbered(8)))
    verdicts = [gate.validate(sealed(author, wrong, FAULTS), WALL_MS, 0) for author in authors]
    assert verdicts == [(Verdict.REJECT, "fault")] * FAULTS_BURST + [(Verdict.IGNORE, "flood")]
