"""From the mistakes of audited peers to one voice in the vote of a question."""

from __future__ import annotations

from protocol.audit_records import TABLE, AuditRecords
from protocol.envelope import Envelope
from protocol.events import AuditsWanted
from protocol.identity import KeySigner
from protocol.messages import Award, Beacon
from tests.core_bench import GOLD, QUESTION, answer, asked
from tests.support import Bench, evidence, peers, sent

AUDITS = 8


def known(count: int, alike: int) -> tuple[Bench, list[KeySigner]]:
    """A core with so many peers of good evidence, of whom the first `alike` made the same mistakes."""
    others = peers(count)
    kept, rows = AuditRecords({}), evidence({peer.public_key: 9 for peer in others})
    for peer in others[:alike]:
        for audit in range(AUDITS):
            key, value = kept.add(peer.public_key, "arith", audit.to_bytes(16, "big"), f"{audit}")
        rows.append((TABLE, key, value))
    bench = Bench(restored=rows)
    for peer in others:
        bench.join(peer)
    return bench, others


def voted(bench: Bench, others: list[KeySigner], answers: dict[bytes, str]) -> None:
    beacon, mark = asked(bench), len(bench.effects)
    bench.bids(beacon, others[::-1])
    for award in sent(bench.effects[mark:], Award):
        to = award[0].to
        assert isinstance(to, bytes)
        answer(bench, award, others, f"answer: {answers[to]}")


def test_peers__who_made_the_same_mistakes_have_one_voice() -> None:
    bench, others = known(3, alike=2)
    assert dict(bench.core.clusters()) == {peer.public_key: 0 for peer in others[:2]}
    voted(bench, others, {others[0].public_key: "1", others[1].public_key: "1", others[2].public_key: GOLD})
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.tally is not None
    (first, second) = outcome.tally.support
    assert first[1] == second[1] == outcome.bids[0].weight
    # And the owner sees whose.
    assert {report.peer: report.cluster for report in outcome.bids} == {
        others[0].public_key: 0,
        others[1].public_key: 0,
        others[2].public_key: None,
    }


def test_peers__who_stand_alone_have_each_a_voice() -> None:
    bench, others = known(3, alike=1)
    voted(bench, others, {others[0].public_key: "1", others[1].public_key: "1", others[2].public_key: GOLD})
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.answer == "1"


def test_audits__leave_the_mistakes_on_disk_and_find_who_repeats_them() -> None:
    others = peers(2)
    bench = Bench()
    for peer in others:
        bench.join(peer)
    done: set[bytes] = set()
    bench.step(AuditsWanted())
    for _ in range(AUDITS):
        for beacon in sent(bench.effects, Beacon):
            if beacon[0].id not in done:
                done.add(beacon[0].id)
                bench.bids(beacon, others)
        for award in _new(bench, done):
            answer(bench, award, others, "answer: -1")
    clusters = dict(bench.core.clusters())
    assert clusters == {peer.public_key: 0 for peer in others}
    again = Bench(restored=[(table, key, value) for (table, key), value in bench.disk.items()])
    again.wait(1)
    again.step(AuditsWanted())
    assert dict(again.core.clusters()) == clusters


def _new(bench: Bench, done: set[bytes]) -> list[tuple[Envelope, Award]]:
    found = [award for award in sent(bench.effects, Award) if award[0].id not in done]
    done.update(award[0].id for award in found)
    return found
