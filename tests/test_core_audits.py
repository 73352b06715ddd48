"""Audits: whom, how often, and what they leave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.constants import (
    ACCEPT_MS_MAX,
    CALIBRATION_MS_MAX,
    LEASE_MS,
    WINDOW_MS_MAX,
)
from protocol.envelope import Envelope
from protocol.events import (
    AuditsWanted,
    PeerLost,
)
from protocol.evidence import EvidenceBook
from protocol.identity import KeySigner
from protocol.messages import (
    Award,
    Beacon,
    Decline,
)
from protocol.outcome import OutcomeKind
from tests.core_bench import QUESTION, answer, asked, newer, requester
from tests.support import (
    WALL_MS,
    Bench,
    bid_on,
    peers,
    record,
    sent,
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
