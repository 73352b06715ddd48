"""Evidence that travels: audits of others, followed, graded again, and counted as far as their author agreed with one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from protocol.audit_batch import Answers, audits_body, opening_body
from protocol.canonical import Value
from protocol.constants import (
    AUDIT_BATCH_MAX,
    CALIBRATION_MS_MAX,
    DEADLINE_MS_DEFAULT,
    EVIDENCE_ONE,
    IMPORT_AUTHORS_MAX,
    IMPORT_MAX,
    IMPORT_TASKS_MAX,
    OPEN_BATCHES_MAX,
)
from protocol.events import AuditsWanted, Instant, MessageReceived
from protocol.evidence import Counts, EvidenceBook
from protocol.faults import Fault
from protocol.identity import KeySigner
from protocol.imports import IMPORTED, Imports
from protocol.ledger import Entry, make_entry
from protocol.ledger_messages import Entries, Heads, Pull, pack_head
from protocol.messages import Beacon
from protocol.openings import Openings
from protocol.outbox import FAULTS, Outbox
from simnet.world import World
from tests.core_bench import QUESTION
from tests.support import EXPERT, PARAMETERS, WALL_MS, Bench, evidence, failing, liar, peers, record, sent, solver
from tests.test_audit_batch import closed, leaf

SHARED = peers(16, "shared")
STRONG, WEAK = SHARED[:8], SHARED[8:]

# --- Ledgers made by hand


def batches(verdicts: Iterable[tuple[KeySigner, bool]], times: int, author: KeySigner, number: int = 0) -> list[list[Answers]]:
    """Audits after `number`, three executors each, by which each peer is `times` right or wrong."""
    pairs = [pair for pair in verdicts for _ in range(times)]
    found: list[list[Answers]] = []
    while pairs:
        batch: list[Answers] = []
        while pairs and len(batch) < AUDIT_BATCH_MAX:
            examined: dict[KeySigner, bool] = {}
            for signer, right in list(pairs):
                if len(examined) < 3 and signer not in examined:
                    examined[signer] = right
                    pairs.remove((signer, right))
            number += 1
            audit = leaf(number)
            given: dict[KeySigner, str | None] = {signer: audit.gold if right else "-1" for signer, right in examined.items()}
            batch.append(Answers(audit, (closed(audit, given, author=author),)))
        found.append(batch)
    return found


def ledger(author: KeySigner, opened: Sequence[Sequence[Answers]]) -> list[Entry]:
    """A ledger that commits and opens these batches."""
    network = PARAMETERS.network
    body: dict[str, Value] = {"recovery": bytes(32), "succession": b""}
    entries = [make_entry(author, network, None, "start", body, WALL_MS)]
    for batch in opened:
        for kind, made in (("audits", audits_body([each.leaf for each in batch])), ("opening", opening_body(batch))):
            entries.append(make_entry(author, network, entries[-1], kind, made, WALL_MS))
    return entries


def honest(author: KeySigner, *more: tuple[KeySigner, bool], times: int = 3) -> list[list[Answers]]:
    """Audits of the peers that the reader has audited itself, with what is so, and of some more."""
    return batches([*((peer, True) for peer in STRONG), *((peer, False) for peer in WEAK), *more], times, author)


def reader() -> Bench:
    """A node whose own audits found eight peers strong and eight weak."""
    return Bench(restored=evidence({peer.public_key: 10 if peer in STRONG else 0 for peer in SHARED}))


def tell(bench: Bench, author: KeySigner, entries: list[Entry]) -> None:
    """Connect an author and let the node pull its ledger, if it has room for one more."""
    bench.join(author)
    if not bench.core.followed.has_room(author.public_key):
        return
    mark = len(bench.effects)
    bench.hear(author, Heads((pack_head(entries[-1]),)))
    for _ in range(1_000):
        found = [pull for envelope, pull in sent(bench.effects[mark:], Pull) if envelope.to == author.public_key]
        mark = len(bench.effects)
        held = bench.core.followed.get(author.public_key)
        if held is not None and held.next == len(entries):
            return
        for pull in found:
            wanted = entries[pull.first : pull.first + 4] if pull.author == author.public_key else []
            bench.hear(author, Entries(pull.author, pull.first, tuple(entry.data for entry in wanted)))
        if not found:
            bench.wait(500)
    raise AssertionError("never pulled")


def restart(bench: Bench) -> Bench:
    """The node again, from its disk."""
    found = Bench(restored=[(*row, value) for row, value in sorted(bench.disk.items())], wall_ms=bench.wall_ms)
    found.wait(1_000)
    return found


def imported(bench: Bench, peer: KeySigner) -> Counts:
    return bench.core.imports.counts(peer.public_key, "arith", bench.wall_ms)


def weight(bench: Bench, peer: KeySigner) -> int:
    return bench.core.counts(peer.public_key, "arith", bench.wall_ms).weight(10)


def trust(bench: Bench, author: KeySigner) -> int:
    return bench.core.imports.agreement(author.public_key, bench.wall_ms).trust


def audited(bench: Bench, peer: KeySigner, hits: int, misses: int = 0) -> None:
    """The node's own audits of a peer."""
    for verdict, count in (("hit", hits), ("miss", misses)):
        for _ in range(count):
            bench.core.evidence.add(peer.public_key, "arith", verdict, bench.wall_ms)


AUTHOR, OTHER, SUBJECT = peers(3, "told")


def test_opened_batch__of_an_author_that_agrees_adds_to_ones_own_audits() -> None:
    bench = reader()
    audited(bench, SUBJECT, 2)
    alone = weight(bench, SUBJECT)
    tell(bench, AUTHOR, ledger(AUTHOR, honest(AUTHOR, (SUBJECT, True))))
    assert trust(bench, AUTHOR) > 0
    assert EVIDENCE_ONE < imported(bench, SUBJECT).hits <= 2 * EVIDENCE_ONE
    assert weight(bench, SUBJECT) > alone


def test_outcome__says_apart_what_others_found() -> None:
    bench = reader()
    audited(bench, SUBJECT, 5)
    tell(bench, AUTHOR, ledger(AUTHOR, honest(AUTHOR, (SUBJECT, True))))
    bench.join(SUBJECT)
    beacon = sent(bench.ask(QUESTION) + bench.wait(CALIBRATION_MS_MAX), Beacon)[-1]
    bench.bids(beacon, [SUBJECT])
    bench.wait(2 * DEADLINE_MS_DEFAULT)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    (report,) = outcome.bids
    assert (report.imported_hits, report.imported_misses) == (imported(bench, SUBJECT).hits, 0)
    assert report.hits == 5 * EVIDENCE_ONE + report.imported_hits > 5 * EVIDENCE_ONE


def test_opened_batch__of_an_author_that_shares_no_peer_adds_nothing() -> None:
    bench = reader()
    audited(bench, SUBJECT, 2)
    tell(bench, AUTHOR, ledger(AUTHOR, batches([(SUBJECT, True)], 5, AUTHOR)))
    assert bench.core.imports.parts(SUBJECT.public_key, "arith", bench.wall_ms)
    assert trust(bench, AUTHOR) == 0
    assert imported(bench, SUBJECT) == Counts()


def test_opened_batch__is_counted_once_and_after_a_restart_as_before() -> None:
    bench = reader()
    audited(bench, SUBJECT, 2)
    entries = ledger(AUTHOR, honest(AUTHOR, (SUBJECT, True)))
    again = make_entry(AUTHOR, PARAMETERS.network, entries[-1], "opening", dict(entries[-1].body), WALL_MS)
    tell(bench, AUTHOR, [*entries, again])
    told = [part.told for part in bench.core.imports.parts(SUBJECT.public_key, "arith", bench.wall_ms)]
    assert told == [Counts(3 * EVIDENCE_ONE, 0)]
    restarted = restart(bench)
    audited(restarted, SUBJECT, 2)
    assert restarted.core.followed.get(AUTHOR.public_key) is not None
    assert imported(restarted, SUBJECT) == imported(bench, SUBJECT)


@pytest.mark.parametrize("same", [True, False], ids=["root", "task"])
def test_audit__counts_once_also_in_a_batch_that_is_committed_again(same: bool) -> None:  # noqa: FBT001
    batch = batches([(SUBJECT, True)], 2, AUTHOR)[0]
    again = batch if same else [batch[1], *batches([(SUBJECT, True)], 1, AUTHOR, 100)[0]]
    bench = reader()
    tell(bench, AUTHOR, ledger(AUTHOR, [batch, again, again]))
    assert bench.core.rejected["opening"] == 2
    restarted = restart(bench)
    longer = ledger(AUTHOR, [batch, again, again, again])
    tell(restarted, AUTHOR, longer)
    for each in (bench, restarted):
        told = [part.told for part in each.core.imports.parts(SUBJECT.public_key, "arith", each.wall_ms)]
        assert told == [Counts(2 * EVIDENCE_ONE, 0)]
    assert restarted.core.rejected["opening"] == 1


def test_tasks__that_were_counted_are_known_of_each_author_in_a_bounded_number() -> None:
    imports = Imports(EvidenceBook(), OTHER.public_key)
    author, tasks = AUTHOR.public_key, [number.to_bytes(16, "big") for number in range(IMPORT_TASKS_MAX + 1)]
    imports.note(author, tasks)
    assert not imports.has_counted(author, tasks), "of nobody whose audits are not kept"
    imports.add(author, [], WALL_MS, 2)
    imports.note(author, tasks)
    assert not imports.has_counted(author, tasks[:1])
    assert all(imports.has_counted(author, [task]) for task in tasks[1:])
    assert not imports.has_counted(SUBJECT.public_key, tasks)
    imports.drop(author)
    assert not imports.has_counted(author, tasks)


def test_author__that_is_proven_faulty_counts_nothing_of_what_it_told_before_and_after_a_restart() -> None:
    bench = reader()
    audited(bench, SUBJECT, 2)
    alone = weight(bench, SUBJECT)
    entries = ledger(AUTHOR, honest(AUTHOR, (SUBJECT, True)))
    tell(bench, AUTHOR, entries)
    assert weight(bench, SUBJECT) > alone
    rows = {(table, key): value for (table, key), value in bench.disk.items() if table == IMPORTED}
    other = make_entry(AUTHOR, PARAMETERS.network, entries[0], "receipt", {"receipt": bytes(32)}, WALL_MS)
    fault = Fault.of("equivocation", entries[1].data, other.data)
    bench.step(MessageReceived(None, bench.sealed(OTHER, fault, FAULTS)))
    assert AUTHOR.public_key in bench.core.faults
    assert not rows.keys() & bench.disk.keys()
    assert weight(bench, SUBJECT) == alone
    bench.disk |= rows
    restarted = restart(bench)
    audited(restarted, SUBJECT, 2)
    assert restarted.core.followed.get(AUTHOR.public_key) is not None
    assert restarted.core.imports.authors() == []
    assert weight(restarted, SUBJECT) == alone
    assert not rows.keys() & restarted.disk.keys()


def test_ring__of_a_hundred_identities_gains_nothing_also_when_ten_reported_honestly_first() -> None:
    bench = reader()
    ring = peers(100, "ring")
    for number, member in enumerate(ring):
        friends = [ring[(number + step) % len(ring)] for step in range(1, 10)]
        praise = batches([(friend, True) for friend in friends], 3, member, 100)
        tell(bench, member, ledger(member, (honest(member) if number < 10 else []) + praise))
    trusted = [member for member in ring if trust(bench, member) > 0]
    assert trusted == ring[:10]
    before = [trust(bench, member) for member in trusted]
    assert all(weight(bench, member) == 0 and not imported(bench, member).any for member in ring)
    # Whoever is then audited has what those audits found and not more, however much it is praised.
    for member in ring:
        audited(bench, member, 0, 3)
    assert all(weight(bench, member) == 0 and not imported(bench, member).any for member in ring)
    assert all(2 * trust(bench, member) < former for member, former in zip(trusted, before, strict=True))


@pytest.mark.parametrize("before", [False, True], ids=["unknown", "trusted"])
def test_slanderer__that_opens_only_failures_moves_nobody(before: bool) -> None:  # noqa: FBT001
    bench = reader()
    victim = STRONG[0]
    own = weight(bench, victim)
    slander = batches([(victim, False)], 20, AUTHOR, 100)
    tell(bench, AUTHOR, ledger(AUTHOR, (honest(AUTHOR) if before else []) + slander))
    assert weight(bench, victim) == own
    assert imported(bench, victim) == Counts()


def test_slanderer__with_false_gold_answers_is_refused() -> None:
    bench = reader()
    victim = STRONG[0]
    false = replace(leaf(1), gold="17171717")
    batch = [Answers(false, (closed(false, {victim: leaf(1).gold}, author=AUTHOR),))]
    own = weight(bench, victim)
    tell(bench, AUTHOR, ledger(AUTHOR, [batch]))
    assert bench.core.rejected["opening"] == 1
    assert bench.core.imports.authors() == []
    assert weight(bench, victim) == own


def test_author__that_opens_other_audits_than_it_committed_is_proven_faulty() -> None:
    bench = reader()
    entries = ledger(AUTHOR, batches([(SUBJECT, False)], 1, AUTHOR))[:-1]
    other = Answers(leaf(9), (closed(leaf(9), {SUBJECT: leaf(9).gold}, author=AUTHOR),))
    body = opening_body([other]) | {"root": entries[-1].body["root"]}
    tell(bench, AUTHOR, [*entries, make_entry(AUTHOR, PARAMETERS.network, entries[-1], "opening", body, WALL_MS)])
    assert [fault.kind for fault in bench.core.faults.of(AUTHOR.public_key)] == ["audits"]
    assert bench.core.imports.authors() == []


# --- A whole network


def test_network__uses_what_another_found_only_after_agreeing_with_it() -> None:
    """B, who has not audited C, hears of it from A, believes it only after its own audits agreed, and then audits C less."""
    world = World(PARAMETERS, 1)
    first = world.add("A", record(available=False), failing)
    subject = world.add("C", record("arith"), solver(EXPERT))
    shared = [world.add(f"strong {number}", record("arith"), solver(EXPERT)) for number in range(3)]
    shared += [world.add(f"weak {number}", record("arith"), liar()) for number in range(3)]
    for host in (subject, *shared):
        world.join(host, first)
    world.run(for_ms=5_000)
    world.after(0, first, AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: first.core.audits.settled(("arith",)))
    world.run(for_ms=10_000)
    world.crash(subject)
    second = world.add("B", record(available=False), failing)
    world.join(second, first)
    world.run(for_ms=60_000)
    imports = second.core.imports
    (part,) = imports.parts(subject.key, "arith", WALL_MS)
    assert part.author == first.key
    assert part.told.hits >= 3 * EVIDENCE_ONE
    assert part.agreement.trust == 0
    assert imports.recommended(subject.key, "arith", WALL_MS) == Counts()
    world.after(0, second, AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: second.core.audits.settled(("arith",)))
    assert imports.agreement(first.key, WALL_MS).trust > 0
    assert imports.recommended(subject.key, "arith", WALL_MS).hits > 0
    assert second.core.counts(subject.key, "arith", WALL_MS) == Counts()
    world.restart(subject)
    world.join(subject, second)
    world.run(for_ms=120_000)
    world.run(until=lambda: second.core.audits.settled(("arith",)))
    added = imports.counts(subject.key, "arith", WALL_MS)
    assert EVIDENCE_ONE <= added.hits <= IMPORT_MAX * EVIDENCE_ONE
    own = second.core.evidence.audits(subject.key, "arith", WALL_MS)
    assert own + added.hits // EVIDENCE_ONE >= 10 > own


def test_commitments__that_nobody_opens_are_bounded() -> None:
    outbox = Outbox(AUTHOR, PARAMETERS.network)
    outbox.begin(Instant(1, WALL_MS))
    imports = Imports(EvidenceBook(), OTHER.public_key)
    openings = Openings(outbox, PARAMETERS, imports, lambda *_: None)
    batch = honest(AUTHOR)[0]
    _, audits, opening = ledger(AUTHOR, [batch])

    def unopened(author: bytes, number: int) -> Entry:
        return replace(audits, author=author, body={"count": 1, "root": number.to_bytes(32, "big")})

    openings.take(audits)
    for number in range(OPEN_BATCHES_MAX):
        openings.take(unopened(AUTHOR.public_key, number))
    openings.take(opening)
    assert imports.authors() == []
    openings.take(audits)
    for number in range(IMPORT_AUTHORS_MAX):
        openings.take(unopened(number.to_bytes(32, "big"), number))
    openings.take(opening)
    assert imports.authors() == []
    openings.take(audits)
    openings.take(opening)
    assert imports.authors() == [AUTHOR.public_key]
