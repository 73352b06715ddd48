"""What the core's smallest steps cost: an envelope on its way in, an award among a thousand bids, a vote of a hundred.

    python -m contrib.bench.core [--json]

An envelope is received, decoded, verified, checked against its recipient, the clock and replay, and its body parsed: what
the core does before a message means anything to it. The baseline is the signature check alone, by the same library on the same
bytes. Figures are medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contrib.evaluation.figures import table
from protocol.allocation import ReceivedBid, View, allocate
from protocol.constants import EVIDENCE_ONE, LEASE_MS, LIFETIME_MS_MAX
from protocol.envelope import DOMAIN, check_for, check_fresh, open_envelope, seal
from protocol.evidence import Counts
from protocol.identity import SIGNATURE_SIZE, KeySigner
from protocol.messages import DIRECT, Award, Bid
from protocol.schema import Message
from protocol.seen import SeenCache
from protocol.vote import Vote, tally

ENVELOPE_US, ALLOCATE_US, VOTE_US = 30.0, 5_000.0, 1_000.0
"""What each may cost; of an envelope, beyond the signature check."""
_ROUNDS, _BATCH = 60, 100
_BIDS, _VOTES = 1_000, 100
_NETWORK, _WALL_MS = bytes(32), 1_700_000_000_000
_SENDER, _ME = KeySigner(b"s" * 32), KeySigner(b"m" * 32).public_key
_RECIPIENTS = frozenset[bytes | str]((_ME,))
_QUESTION = "What is 7 + 5, if a dozen is sold by weight? " * 6


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def _messages(kind: str) -> list[bytes]:
    """A batch of different envelopes of a kind."""
    found = []
    for number in range(_BATCH):
        task = _digest(kind, number)
        body: Message = Bid(task[:16], 0, 0, task, 1, 2, 100)
        if kind == Award.TYPE:
            body = Award(task[:16], 0, 0, task, task, task, 0, task, _QUESTION, LEASE_MS, 0)
        found.append(seal(_SENDER, _NETWORK, kind, _ME, body.body(), _WALL_MS + number, LIFETIME_MS_MAX))
    return found


def _verify(data: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(_SENDER.public_key)
    key.verify(data[:SIGNATURE_SIZE], DOMAIN + data[SIGNATURE_SIZE:])


def _receive(data: bytes, seen: SeenCache) -> None:
    envelope = open_envelope(data)
    check_for(envelope, _NETWORK, _RECIPIENTS)
    check_fresh(envelope, _WALL_MS)
    seen.add(envelope)
    DIRECT[envelope.type].parse(envelope.body)


def _timed_us(work: Callable[[], object]) -> float:
    started_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started_ns) / 1_000


def envelopes(kind: str) -> tuple[float, float]:
    """Microseconds of an envelope of a kind: beyond the signature check, and that check alone.

    Each envelope is received and its signature checked one right after the other, so what else the machine does falls on both.
    """
    batch, pairs = _messages(kind), []
    for _ in range(_ROUNDS):
        seen = SeenCache()
        pairs += [(_timed_us(lambda: _receive(data, seen)), _timed_us(lambda: _verify(data))) for data in batch]  # noqa: B023
    return statistics.median(whole - alone for whole, alone in pairs), statistics.median(alone for _, alone in pairs)


def award() -> float:
    """Microseconds of `allocate` over bids with evidence of every kind, a fifth of them newcomers'."""
    bids, counts = [], {}
    for number in range(_BIDS):
        bidder = _digest("bidder", number)
        bids.append(
            ReceivedBid(bidder, _digest("bid", number), Bid(bytes(16), 0, 0, bytes(32), number % 9, 1 + number % 4, 100))
        )
        if number % 5:
            counts[bidder] = Counts(EVIDENCE_ONE * (number % 13) + number % 255, EVIDENCE_ONE * (number % 7) + number % 251)
    view = View(10, 0, counts)
    return statistics.median(_timed_us(lambda: allocate(bytes(32), 3, bids, view)) for _ in range(_ROUNDS))


def vote() -> float:
    """Microseconds of `tally` over answers of seven kinds, a third of the voters in clusters."""
    votes = [
        Vote(_digest(number), f"{number % 7}" if number % 9 else None, 1_000 * number, number % 5 if number % 3 == 0 else None)
        for number in range(_VOTES)
    ]
    return statistics.median(_timed_us(lambda: tally(bytes(16), votes)) for _ in range(_ROUNDS))


def main() -> int:
    """Print the table; 1 if something costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m contrib.bench.core", description="The cost of the core's smallest steps.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    found: list[tuple[str, float, float, float | None]] = []
    for kind in (Bid.TYPE, Award.TYPE):
        beyond, alone = envelopes(kind)
        found.append((f"envelope, {kind}, beyond its signature check", beyond, ENVELOPE_US, alone))
    found.append((f"allocate over {_BIDS} bids", award(), ALLOCATE_US, None))
    found.append((f"vote over {_VOTES} answers", vote(), VOTE_US, None))
    if chosen.json:
        print(json.dumps([dict(zip(("what", "us", "limit_us", "signature_us"), row, strict=True)) for row in found]))
    else:
        rows: list[tuple[object, ...]] = [("what", "us", "limit", "share of it", "signature check alone")]
        for what, cost, limit, beside_us in found:
            beside = f"{beside_us:.1f} us, the whole {(beside_us + cost) / beside_us:.2f} times that" if beside_us else ""
            rows.append((what, f"{cost:.1f}", f"{limit:.0f}", f"{cost / limit:.2f}", beside))
        print(table(rows))
    return int(any(cost > limit for _, cost, limit, _ in found))


if __name__ == "__main__":
    sys.exit(main())
