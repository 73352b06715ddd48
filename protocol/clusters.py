"""Who repeats whose mistakes: a partition of peers from what they answered to audits (specs/06-ledger.md, Clusters).

Right answers all look alike, wrong ones scatter. Two peers whose wrong answers coincide more often than chance allows have one
model, one owner or one plan, and share one voice in the vote. Nothing that a peer declares is read here, so nobody can be put
into a cluster by what another says; and integers alone decide, so everybody who has the records finds the same clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

from protocol.constants import CLUSTER_DOUBT


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What a peer answered to one audit: `wrong` is the hash of its wrong answer, None if it was right.

    `chance` is K - 1, over how many a wrong answer of this skill scatters. Who abstained or was silent has no record.
    """

    audit: bytes
    peer: bytes
    chance: int
    wrong: bytes | None


def partition(records: Iterable[AuditRecord]) -> dict[bytes, int]:
    """The number of each peer's cluster; who stands alone is not in it. Independent of the order of records.

    Two peers are joined if their mistakes coincide beyond doubt, and whoever is joined with one of a cluster is in it.
    Clusters are numbered from 0 by their smallest key.
    """
    taken: dict[bytes, dict[bytes, AuditRecord]] = {}
    for record in records:
        taken.setdefault(record.peer, {})[record.audit] = record
    wrong: dict[bytes, list[AuditRecord]] = {}
    for peer in sorted(taken):
        for record in taken[peer].values():
            if record.wrong is not None:
                wrong.setdefault(record.audit, []).append(record)
    pairs: dict[tuple[bytes, bytes], list[bytes]] = {}
    for audit, made in wrong.items():
        for first, second in combinations(made, 2):
            pairs.setdefault((first.peer, second.peer), []).append(audit)
    leader = {peer: peer for peer in taken}
    for (first_peer, second_peer), shared in sorted(pairs.items()):
        if _coincide(taken[first_peer], taken[second_peer], shared, len(pairs)):
            ends = sorted((_find(leader, first_peer), _find(leader, second_peer)))
            leader[ends[1]] = ends[0]
    return _numbered({peer: _find(leader, peer) for peer in sorted(taken)})


def _coincide(one: Mapping[bytes, AuditRecord], other: Mapping[bytes, AuditRecord], shared: list[bytes], pairs: int) -> bool:
    """Whether two peers who both erred in the audits `shared` made the same mistakes, though so many `pairs` were looked at."""
    same = sum(one[audit].wrong == other[audit].wrong for audit in shared)
    scattered: dict[int, int] = {}
    for audit in shared:
        chance = one[audit].chance
        scattered[chance] = scattered.get(chance, 0) + 1
    # specs/06-ledger.md: "Of those that both got wrong, let n_c be the number in skills with K - 1 = c, and s of all of them
    # those in which both gave the same wrong answer."
    if _is_beyond_doubt(scattered, same, pairs):
        return True
    # With two options all wrong answers are alike. There, erring together more often than apart tells what the answers cannot.
    apart = sum(one[audit].wrong != other[audit].wrong for audit in one.keys() & other.keys())
    # specs/06-ledger.md: "Of the u that one or both got wrong, s were by the same answer"
    return _is_beyond_doubt({2: same + apart}, same, pairs)


def _is_beyond_doubt(trials: Mapping[int, int], successes: int, tests: int) -> bool:
    """Whether so many successes have a probability of at most 1 / (CLUSTER_DOUBT * tests), by chance.

    `trials` gives, for each m, how many trials succeed with probability 1 / m. The exact upper tail of their sum: the numbers
    of ways are the coefficients of a product of polynomials, out of the product of all m.
    """
    if successes * max(trials) <= sum(trials.values()):
        return False
    ways, total = [1], 1
    for chance, count in sorted(trials.items()):
        own = [comb(count, hits) * (chance - 1) ** (count - hits) for hits in range(count + 1)]
        joined = [0] * (len(ways) + count)
        for place, factor in enumerate(ways):
            for hits, number in enumerate(own):
                joined[place + hits] += factor * number
        ways, total = joined, total * chance**count
    return sum(ways[successes:]) * tests * CLUSTER_DOUBT <= total


def _find(leader: dict[bytes, bytes], peer: bytes) -> bytes:
    while leader[peer] != peer:
        leader[peer] = leader[leader[peer]]
        peer = leader[peer]
    return peer


def _numbered(leaders: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """Numbers of the clusters with more than one member; a leader is its cluster's smallest key."""
    sizes: dict[bytes, int] = {}
    for leader in leaders.values():
        sizes[leader] = sizes.get(leader, 0) + 1
    numbers = {leader: number for number, leader in enumerate(sorted(key for key, size in sizes.items() if size > 1))}
    return {peer: numbers[leader] for peer, leader in leaders.items() if leader in numbers}
