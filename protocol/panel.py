"""The peers of a skill that a node calibrates and mainly works with (specs/06-ledger.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from protocol.constants import PANEL_SIZE, PROBATION, SEATS_DEFAULT
from protocol.evidence import DAY_MS, Counts, EvidenceBook
from protocol.imports import Imports
from protocol.outbox import Outbox
from protocol.parameters import Parameters
from protocol.peers import PeerTable

# What a panel was made from: candidates, day, versions of the evidence and of what others say.
_Made = tuple[tuple[bytes, ...], int, int, int]


class Panel:
    """At most PANEL_SIZE candidates a skill: who earned a weight, then who may, then who did not.

    Where more offer a skill, an unknown one comes in when a place is free: a crowd of new names costs no more audits than the
    panel has places, and who earned nothing by PROBATION audits makes room for the next.
    """

    def __init__(
        self,
        outbox: Outbox,
        parameters: Parameters,
        evidence: EvidenceBook,
        imports: Imports,
        peers: PeerTable,
        candidates: Callable[[str], list[bytes]],
        counts: Callable[[bytes, str, int], Counts],
    ) -> None:
        self._outbox = outbox
        self._parameters = parameters
        self._evidence = evidence
        self._imports = imports
        self._peers = peers
        self._candidates = candidates
        self._counts = counts
        self._made: dict[str, tuple[_Made, list[bytes]]] = {}

    def members(self, skill: str) -> list[bytes]:
        """The panel in the order of its members' first audits: by what others found, by declared prior, then by key."""
        candidates = self._candidates(skill)
        made = (
            tuple(candidates),
            self._outbox.now.wall_ms // DAY_MS,
            self._evidence.version,
            self._imports.version,
        )
        known = self._made.get(skill)
        if known is None or known[0] != made:
            ranked = sorted(candidates, key=lambda peer: (self._rank(peer, skill), *self._claim(peer, skill)))
            known = made, sorted(ranked[:PANEL_SIZE], key=lambda peer: self._claim(peer, skill))
            self._made[skill] = known
        return list(known[1])

    def drawn(self, skill: str, lot: bytes) -> tuple[bytes, ...]:
        """Up to a committee by lot: somebody who earned no weight, and for the rest those who did."""
        drawn = sorted(self._candidates(skill), key=lambda peer: hashlib.sha256(lot + peer).digest())
        earned = [peer for peer in drawn if self._weighs(peer, skill)]
        others = [peer for peer in drawn if peer not in earned]
        first = [*earned[: SEATS_DEFAULT - 1], *others[:1]]
        return tuple([*first, *(peer for peer in drawn if peer not in first)][:SEATS_DEFAULT])

    def _rank(self, peer: bytes, skill: str) -> tuple[int, int]:
        wall_ms = self._outbox.now.wall_ms
        if self._weighs(peer, skill):
            return 0, -self._counts(peer, skill, wall_ms).mean(self._options(skill))
        audits = self._evidence.audits(peer, skill, wall_ms)
        return (1, -audits) if audits < PROBATION else (2, 0)

    def _claim(self, peer: bytes, skill: str) -> tuple[int, int, bytes]:
        """What others found of a peer, then what it says itself: they decide who is audited first, and nothing else."""
        known = self._peers.get(peer)
        prior = known.record.skills.get(skill, 0) if known is not None and known.record is not None else 0
        return -self._imports.recommended(peer, skill, self._outbox.now.wall_ms).hits, -prior, peer

    def _weighs(self, peer: bytes, skill: str) -> bool:
        return self._counts(peer, skill, self._outbox.now.wall_ms).earns(self._options(skill))

    def _options(self, skill: str) -> int:
        rule = self._parameters.skills.get(skill)
        return rule.options if rule is not None else 2
