"""A requester's core with peers, and the steps to bring a question to its awards, for the tests of the core."""

from __future__ import annotations

from dataclasses import replace

from protocol.ballot import Commit, CommitSet
from protocol.capability import Record
from protocol.constants import (
    LEASE_MS,
)
from protocol.envelope import Envelope
from protocol.events import (
    Effect,
)
from protocol.identity import KeySigner
from protocol.messages import (
    Accept,
    Award,
    Beacon,
    Bid,
    input_hash,
)
from tests.support import (
    Bench,
    evidence,
    exercise,
    peers,
    sent,
)

QUESTION = exercise("arith", 3).text
GOLD = exercise("arith", 3).gold
STRANGER = peers(1, "stranger")[0]


def requester(count: int = 5, hits: int = 9) -> tuple[Bench, list[KeySigner]]:
    """A core that knows `count` connected peers well enough to want no audits; it has no model itself."""
    others = peers(count)
    bench = Bench(restored=evidence({peer.public_key: hits for peer in others}))
    for peer in others:
        bench.join(peer)
    return bench, others


def asked(bench: Bench, text: str = QUESTION, deadline_ms: int | None = None) -> tuple[Envelope, Beacon]:
    (beacon,) = sent(bench.ask(text, deadline_ms=deadline_ms), Beacon)
    return beacon


def awarded(bench: Bench, others: list[KeySigner]) -> tuple[tuple[Envelope, Beacon], list[tuple[Envelope, Award]]]:
    """Ask, let everyone bid, and give the beacon and the awards."""
    beacon, mark = asked(bench), len(bench.effects)
    # Of equals the smaller keys are awaited, so nobody is too late when they bid last.
    bench.bids(beacon, others[::-1])
    return beacon, sent(bench.effects[mark:], Award)


def holder(award: tuple[Envelope, Award], others: list[KeySigner]) -> KeySigner:
    return next(peer for peer in others if peer.public_key == award[0].to)


def accept(bench: Bench, award: tuple[Envelope, Award], others: list[KeySigner]) -> list[Effect]:
    body = award[1]
    return bench.hear(holder(award, others), Accept(body.task, body.plan, body.step, award[0].id))


def answer(bench: Bench, award: tuple[Envelope, Award], others: list[KeySigner], text: str = f"answer: {GOLD}") -> list[Effect]:
    """Let a holder commit to an answer, and everyone open theirs if that closes the round."""
    return bench.commit(holder(award, others), award, text)


def disagree(bench: Bench, awards: list[tuple[Envelope, Award]], others: list[KeySigner]) -> None:
    """Let the second and third holder answer differently, so that the first one's answer matters."""
    answer(bench, awards[1], others)
    answer(bench, awards[2], others, "answer: 1")


def offered(
    bench: Bench, asker: KeySigner, question: str = QUESTION, step: int = 0, kind: tuple[str, str] = ("arith", "number")
) -> tuple[Award, list[Effect]]:
    """Send the bench a beacon of a skill and type, take its bid and give the award that would follow, with its effects."""
    nonce = b"n" * 32
    skill, answer_kind = kind
    bound = input_hash(nonce, question, answer_kind, 256)
    beacon = Beacon(b"t" * 16, 0, step, skill, answer_kind, bound, 3, 256, 1_500, 60_000, 2)
    if not bench.core.peers.is_connected(asker.public_key):
        bench.meet(asker)
    effects = bench.hear(asker, beacon)
    ((bid, body),) = sent(effects, Bid)
    return Award(body.task, 0, step, body.beacon, bid.id, bytes(32), 0, nonce, question, LEASE_MS, 0), effects


def offered_text(bench: Bench, asker: KeySigner, question: str) -> tuple[Award, list[Effect]]:
    """The same for a free text."""
    return offered(bench, asker, question, kind=("general", "text"))


def set_of(bench: Bench, commit: Commit) -> CommitSet:
    """The set in which the bench alone is bound."""
    return CommitSet(commit.task, commit.plan, commit.step, commit.round, ((bench.core.me, commit.commitment),))


def newer(own: Record, sequence: int, *addresses: str) -> Record:
    return replace(own, sequence=sequence, addresses=addresses)
