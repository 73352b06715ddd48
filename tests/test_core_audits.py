"""Audits: whom, how often, and what they leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pytest

from protocol.audit_batch import regrade
from protocol.constants import (
    ACCEPT_MS_MAX,
    AUDIT_EVERY,
    AUDITS_AT_ONCE_MAX,
    AUDITS_TARGET,
    CALIBRATION_MS_MAX,
    CROSS_CHECK_MS_MAX,
    EVIDENCE_ONE,
    LEASE_MS,
    LEDGER_RESTORE_MS_MAX,
    PANEL_SIZE,
    SEATS_DEFAULT,
    WINDOW_MS_MAX,
)
from protocol.core import Core
from protocol.envelope import Envelope
from protocol.events import AuditsWanted, PeerLost, Persist, Publish
from protocol.evidence import EvidenceBook
from protocol.identity import KeySigner
from protocol.ledger import Entry, parse_entry
from protocol.messages import (
    Award,
    Beacon,
    Decline,
)
from protocol.outcome import OutcomeKind
from protocol.own_ledger import Origin
from protocol.parameters import Skill
from simnet.host import Host, Solver
from simnet.world import World
from tests.core_bench import QUESTION, answer, asked, newer, requester
from tests.support import (
    EXPERT,
    PARAMETERS,
    WALL_MS,
    Bench,
    bid_on,
    exercise,
    failing,
    host_of,
    liar,
    peers,
    record,
    sent,
    solver,
)
from tests.test_exercises import solve_arith

# --- Audits


def test_audit__looks_like_a_question() -> None:
    """Same type, seats, limits and sizes of fields: nothing in beacon or award tells an audit from a task."""
    others = peers(1)
    bench = Bench()
    bench.join(others[0])
    ((_, audit),) = sent(bench.step(AuditsWanted()), Beacon)[:1]
    known, _ = requester(1)
    _, question = asked(known)
    for name in ("plan", "step", "skill", "answer", "seats", "tokens_max", "window_ms", "deadline_ms", "revision"):
        assert getattr(audit, name) == getattr(question, name), name


def test_declared_prior__orders_audits_and_enters_no_weight() -> None:
    modest, boaster = peers(2)
    bench = Bench()
    bench.join(modest, newer(replace(record("arith"), skills={"arith": 1}), 5))
    bench.join(boaster, newer(replace(record("arith"), skills={"arith": 1_000}), 5))
    assert bench.core.audits.needy("arith") == [boaster.public_key, modest.public_key]
    for peer in (modest, boaster):
        assert bench.core.counts(peer.public_key, "arith", WALL_MS).weight(10) == 0
    beacon = sent(bench.ask(QUESTION) + bench.wait(CALIBRATION_MS_MAX), Beacon)[-1]
    bench.bids(beacon, [modest, boaster])
    bench.wait(WINDOW_MS_MAX)
    for award in sent(bench.effects, Award):
        if award[1].task == beacon[1].task:
            answer(bench, award, [modest, boaster])
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert {report.weight for report in outcome.bids} == {0}
    assert outcome.kind is OutcomeKind.UNEARNED


def audited(bench: Bench, others: list[KeySigner]) -> list[tuple[Envelope, Award]]:
    """Start the first audit, let everyone bid on it, and give its awards."""
    beacon = sent(bench.step(AuditsWanted()), Beacon)[0]
    mark = len(bench.effects)
    bench.bids(beacon, others)
    return [award for award in sent(bench.effects[mark:], Award) if award[1].task == beacon[1].task]


def verdicts(bench: Bench, peer: KeySigner) -> tuple[int, int, int]:
    counts = bench.core.counts(peer.public_key, "arith", bench.wall_ms)
    return counts.hits >> 8, counts.misses >> 8, bench.core.evidence.audits(peer.public_key, "arith", bench.wall_ms)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("right", (1, 0, 1)),
        ("wrong", (0, 1, 1)),
        ("abstains", (0, 0, 1)),
        ("model", (0, 1, 1)),
        ("busy", (0, 0, 0)),
        ("length", (0, 0, 0)),
        ("lost", (0, 0, 0)),
    ],
)
def test_audit__counts(what: str, expected: tuple[int, int, int]) -> None:
    others = peers(1)
    bench = Bench()
    bench.join(others[0])
    (award,) = audited(bench, others)
    gold = solve_arith(award[1].question)
    if what == "lost":
        bench.step(PeerLost(others[0].public_key))
    elif what in ("model", "busy", "length"):
        bench.hear(others[0], Decline(award[1].task, 0, 0, award[0].id, what))
    else:
        answer(bench, award, others, {"right": f"answer: {gold}", "wrong": "answer: -1", "abstains": "hm"}[what])
    assert verdicts(bench, others[0]) == expected
    # What it counted is on disk in the same step.
    book = EvidenceBook()
    for (table, key), value in bench.disk.items():
        if table == "evidence":
            book.restore(key, value)
    assert book.counts(others[0].public_key, "arith", bench.wall_ms) == bench.core.counts(
        others[0].public_key, "arith", bench.wall_ms
    )


def test_audit__of_a_peer_that_bid_and_left_before_the_award_counts_for_nothing() -> None:
    others = peers(2)
    bench = Bench()
    for peer in others:
        bench.join(peer)
    beacon = sent(bench.step(AuditsWanted()), Beacon)[0]
    bench.hear(others[0], bid_on(beacon))
    bench.step(PeerLost(others[0].public_key))
    bench.wait(WINDOW_MS_MAX + ACCEPT_MS_MAX + LEASE_MS)
    assert verdicts(bench, others[0]) == (0, 0, 0)


# --- Batches


def entries_of(core: Core) -> list[Entry]:
    """The own ledger, oldest first."""
    found = [core.ledger.chain.get(number) for number in range(core.ledger.chain.next)]
    return [parse_entry(data) for data in found if data is not None]


def batches_of(core: Core) -> list[tuple[Entry, Entry | None]]:
    """Each batch of audits with the entry that opens it."""
    written = entries_of(core)
    opened = {entry.body["root"]: entry for entry in written if entry.kind == "opening"}
    return [(entry, opened.get(entry.body["root"])) for entry in written if entry.kind == "audits"]


def calibrated(solvers: Mapping[str, Solver], seed: int = 1) -> tuple[World, Host]:
    """A world whose first node has audited the others."""
    world = World(PARAMETERS, seed)
    asker = world.add("asker", record(available=False), failing)
    for name, solve in solvers.items():
        world.join(world.add(name, record("arith"), solve), asker)
    world.run(for_ms=5_000)
    world.after(0, asker, AuditsWanted())
    world.run(for_ms=1)
    world.run(until=lambda: asker.core.audits.settled(("arith",)))
    return world, asker


def test_batch__is_committed_before_its_first_beacon_and_opened_after_its_last_answer() -> None:
    world, asker = calibrated({"expert": solver(EXPERT), "liar": liar()})
    world.run(for_ms=5_000)
    assert asker.core.audits.done >= AUDITS_TARGET
    written = entries_of(asker.core)
    assert sum(entry.kind == "beacon" for entry in written) == asker.core.audits.done
    opened = [(audits, opening) for audits, opening in batches_of(asker.core) if opening is not None]
    assert opened
    for audits, opening in opened:
        between = [entry.kind for entry in written[audits.number + 1 : opening.number]]
        (count,) = [value for name, value in audits.body.items() if name == "count" and isinstance(value, int)]
        assert between.count("beacon") >= count


def test_batch__as_opened_says_what_its_author_counted() -> None:
    world, asker = calibrated({"expert": solver(EXPERT), "half": solver({"arith": 500}), "liar": liar()})
    world.run(for_ms=5_000)
    graded: Counter[tuple[bytes, str]] = Counter()
    for audits, opening in batches_of(asker.core):
        assert opening is not None
        for peer, skill, verdict in regrade(audits, opening, PARAMETERS):
            assert skill == "arith"
            graded[peer, verdict] += 1
    for host in world.hosts.values():
        if host is not asker:
            (day,) = asker.core.evidence.days(host.key, "arith")
            assert day[1:] == tuple(graded[host.key, verdict] for verdict in ("hit", "miss", "abstained"))
            numbers = {audits.number for audits, _ in batches_of(asker.core)}
            assert set(asker.core.evidence.citations(host.key, "arith")) <= numbers


def test_batch__with_an_audit_that_nobody_answered_is_not_opened() -> None:
    world, asker = calibrated({"broken": failing})
    world.run(for_ms=5_000)
    assert asker.core.audits.done
    assert batches_of(asker.core)
    assert all(opening is None for _, opening in batches_of(asker.core))


def test_batch__is_on_disk_before_its_first_beacon() -> None:
    others = peers(1)
    bench = Bench()
    bench.join(others[0])
    order = []
    for effect in bench.step(AuditsWanted()):
        if isinstance(effect, Persist) and effect.table == "ledger" and effect.value is not None:
            order.append(parse_entry(effect.value).kind)
        elif isinstance(effect, Publish):
            order.append("published")
    assert order == ["audits", "beacon", "published", "beacon", "published"]


# --- The panel, and audits among questions


def test_panel__is_small_and_goes_on_with_who_earned_a_weight() -> None:
    world, asker = calibrated({f"expert {number}": solver(EXPERT) for number in range(PANEL_SIZE + 4)})
    audited = {peer for peer in world.hosts if asker.core.evidence.audits(peer, "arith", WALL_MS)}
    assert len(audited) == PANEL_SIZE
    outcome = world.answer(asker, QUESTION)
    assert {seat.peer for seat in outcome.seats} <= audited


def meetings(asker: Host) -> Counter[tuple[bytes, bytes]]:
    """How many audits each two peers shared, by what the core keeps of their answers."""
    taken = asker.core._audit_records._taken
    met: Counter[tuple[bytes, bytes]] = Counter()
    for (one, skill), (other, other_skill) in combinations(sorted(taken), 2):
        if skill == other_skill:
            met[one, other] += len(taken[one, skill].keys() & taken[other, other_skill].keys())
    return met


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [6, PANEL_SIZE])
def test_audits__bring_nearly_all_pairs_of_a_panel_together(size: int, seed: int) -> None:
    """In a fixed order six peers would make two threes that never meet."""
    _, asker = calibrated({f"expert {number}": solver(EXPERT) for number in range(size)}, seed)
    met = meetings(asker)
    assert len(met) == size * (size - 1) // 2
    # By lot each two of eight share three audits in the mean, and one pair in twenty none.
    assert sum(count == 0 for count in met.values()) <= len(met) // 8
    assert max(met.values()) < AUDITS_TARGET


def test_first_audits__follow_the_order_of_the_panel() -> None:
    others = peers(6)
    bench = Bench()
    for number, peer in enumerate(others):
        bench.join(peer, newer(replace(record("arith"), skills={"arith": 100 + number}), 5))
    beacons = sent(bench.step(AuditsWanted()), Beacon)
    examinees = [task.examinees for task in bench.core._requester.tasks()]
    assert len(beacons) == len(examinees) == AUDITS_AT_ONCE_MAX
    ranked = [peer.public_key for peer in reversed(others)]
    assert examinees == [tuple(ranked[:3]), tuple(ranked[3:])]


def test_panel__replaces_who_earned_nothing_on_probation() -> None:
    crowd = {f"liar {number}": liar() for number in range(PANEL_SIZE)} | {
        f"expert {number}": solver(EXPERT) for number in range(3)
    }
    world, asker = calibrated(crowd)
    weights = {host.name: asker.core.counts(host.key, "arith", WALL_MS).weight(10) for host in world.hosts.values()}
    assert all(weights[f"expert {number}"] > 0 for number in range(3))
    assert all(weights[name] == 0 for name in weights if name.startswith("liar"))


def test_audits__go_on_at_a_low_rate_among_questions_and_notice_who_turned_bad() -> None:
    world, asker = calibrated({"good": solver(EXPERT), "turning": solver(EXPERT)})
    turning = host_of(world, "turning")
    before, done = asker.core.counts(turning.key, "arith", WALL_MS), asker.core.audits.done
    turning.solver = liar()
    asked = 20 * AUDIT_EVERY
    for number in range(asked):
        world.answer(asker, exercise("arith", number).text)
        world.run(for_ms=200)
    world.run(for_ms=CROSS_CHECK_MS_MAX)
    assert asked // AUDIT_EVERY // 2 <= asker.core.audits.done - done <= 2 * asked // AUDIT_EVERY
    after = asker.core.counts(turning.key, "arith", WALL_MS)
    assert after.misses > before.misses + 5 * EVIDENCE_ONE
    assert after.weight(10) < before.weight(10) // 2


def test_skill_without_audits__keeps_no_question_waiting() -> None:
    cooking = Skill("number", options=10, tokens_max=256, examples=("how long does an egg boil",))
    bench = Bench(parameters=replace(PARAMETERS, skills={**PARAMETERS.skills, "cooking": cooking}))
    for peer in peers(SEATS_DEFAULT):
        bench.join(peer, newer(record("cooking"), 5))
    # specs/06-ledger.md: "A skill without any that the requester knows has no audits, hence no hits; nobody is needy in it"
    assert bench.core.audits.needy("cooking") == []
    ((_, beacon),) = sent(bench.ask("how long does an egg boil", "cooking"), Beacon)
    assert beacon.skill == "cooking"


def test_audits__wait_for_the_ledger_after_a_restart_and_questions_do_not() -> None:
    others = peers(2)
    bench = Bench(origin=Origin(fresh=False))
    for peer in others:
        bench.join(peer)
    at_first = bench.core.ledger.ready
    assert not at_first
    assert sent(bench.ask(QUESTION), Beacon) == []
    (question,) = sent(bench.wait(CALIBRATION_MS_MAX), Beacon)
    bench.bids(question, others)
    bench.wait(LEDGER_RESTORE_MS_MAX)
    assert bench.core.ledger.ready
    first = entries_of(bench.core)
    assert [entry.kind for entry in first if entry.kind in ("audits", "beacon")][:2] == ["beacon", "audits"]
