"""What the daemon knows of one peer, and from whom: own audits, what other authors' audits add, weight, as JSON values."""

from __future__ import annotations

from typing import Any

from node.reports import weight_bits
from protocol.constants import EVIDENCE_ONE, IMPORT_MAX, TRUST_ONE, WEIGHT_ONE
from protocol.core import Core
from protocol.evidence import DAY_MS, Counts
from protocol.faults import KINDS as FAULT_KINDS
from protocol.identity import peer_id
from protocol.imports import Part


def evidence_json(core: Core, peer: bytes, wall_ms: int) -> dict[str, Any]:
    """All that decides what a peer's votes weigh here, by each skill of the network that it offers or has evidence in."""
    known = core.peers.get(peer)
    record = known.record if known is not None else None
    own = core.own_record if peer == core.me else record
    names = core.successions.names(peer)
    offered = dict(own.skills) if own is not None else {}
    skills = [
        skill
        for skill in sorted(core.parameters.skills)
        if skill in offered or core.evidence.days(peer, skill) or core.imports.parts(peer, skill, wall_ms)
    ]
    return {
        "peer_id": peer_id(peer),
        "connected": known is not None and known.connected,
        "self": peer == core.me,
        # A name that another key followed has no keys, not even its own.
        "followed": not names,
        "former": [peer_id(key) for key in names[1:]],
        "faults": [
            {"peer_id": peer_id(key), "kind": fault.kind, "text": FAULT_KINDS[fault.kind].text}
            for key in names or (peer,)
            for fault in core.faults.of(key)
        ],
        "one_voice_with": [peer_id(other) for other in _cluster(core, peer)],
        "skills": {skill: _skill_json(core, peer, skill, offered.get(skill), wall_ms) for skill in skills},
    }


def _cluster(core: Core, peer: bytes) -> list[bytes]:
    """The others whose mistakes in this node's audits are the peer's too."""
    clusters = core.clusters()
    return sorted(other for other, number in clusters.items() if other != peer and number == clusters.get(peer))


def _skill_json(core: Core, peer: bytes, skill: str, declared: int | None, wall_ms: int) -> dict[str, Any]:
    own = core.evidence.counts(peer, skill, wall_ms)
    added = core.imports.counts(peer, skill, wall_ms)
    both = core.counts(peer, skill, wall_ms)
    options = core.parameters.skills[skill].options
    return {
        "declared": None if declared is None else declared / 1_000,
        "options": options,
        "own": {
            **_counts_json(own),
            "days": [
                {"days_ago": wall_ms // DAY_MS - day, "hits": hits, "misses": misses, "abstained": abstained}
                for day, hits, misses, abstained in core.evidence.days(peer, skill)
            ],
            "entries": list(core.evidence.citations(peer, skill)),
        },
        "authors": [_part_json(part) for part in core.imports.parts(peer, skill, wall_ms)],
        "imported": _counts_json(added) | {"most": round(min(own.total / EVIDENCE_ONE, IMPORT_MAX), 1)},
        "total": _counts_json(both),
        "mean": round(both.mean(options) / WEIGHT_ONE, 3),
        "weight": weight_bits(both.weight(options)),
    }


def _counts_json(counts: Counts) -> dict[str, float]:
    return {"hits": round(counts.hits / EVIDENCE_ONE, 1), "misses": round(counts.misses / EVIDENCE_ONE, 1)}


def _part_json(part: Part) -> dict[str, Any]:
    agreement = part.agreement
    return {
        "author": peer_id(part.author),
        "auditor": agreement.auditor,
        "trust": round(agreement.trust / TRUST_ONE, 2),
        "agreed": {
            "strong": agreement.strong_agreed,
            "of_strong": agreement.strong,
            "weak": agreement.weak_agreed,
            "of_weak": agreement.weak,
        },
        "contradicted": part.contradicted,
        "told": _counts_json(part.told),
        "used": _counts_json(part.used),
        "entries": list(part.entries),
    }
