"""What the daemon tells about itself and its tasks, as JSON values with stable names."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from node.strengths import strengths
from protocol.constants import EVIDENCE_ONE, WEIGHT_ONE
from protocol.core import Core
from protocol.events import Instant
from protocol.faults import KINDS
from protocol.identity import peer_id
from protocol.outcome import Outcome, PlanReport


def weight_bits(weight: int) -> float:
    """A weight for people: log2 units, two decimals."""
    return round(weight / WEIGHT_ONE, 2)


def availability_json(core: Core, *, model: bool, connected: bool, now: Instant) -> dict[str, Any]:
    """Whether the node takes work of others and, if not, every reason; `until_ms` is Unix time."""
    availability = core.availability
    allowance, until_ms = availability.allowance, availability.allowance.closed_until_ms
    reasons = {
        "no model": not model,
        "model down": model and not availability.alive,
        "paused": availability.paused,
        "cap": until_ms is not None,
        "no peers": not connected,
    }
    return {
        # Not what the record says: peers do not care that nobody is connected, an owner does.
        "available": not any(reasons.values()),
        "reasons": [reason for reason, holds in reasons.items() if holds],
        "until_ms": None if until_ms is None else now.wall_ms + until_ms - now.mono_ms,
        "paused": availability.paused,
        "requests_per_hour": {"cap": allowance.requests.cap, "taken": allowance.requests.taken},
        "tokens_per_day": {"cap": allowance.tokens.cap, "taken": allowance.tokens.taken},
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome with bids, award, votes, tally and cost."""
    tally = outcome.tally
    peers = {bid.peer for bid in outcome.bids} | {seat.peer for seat in outcome.seats}
    names = {peer: peer_id(peer) for peer in peers}
    # A planner votes for what its plan gave.
    planned = {peer: plan.answer for plan in outcome.plans for peer in plan.planners}
    answers = {seat.peer: planned.get(seat.peer) if outcome.plans else seat.answer for seat in outcome.seats}
    votes = [
        {
            "peer_id": names[seat.peer],
            "answer": answers[seat.peer],
            "weight": weight_bits(seat.weight),
            "agrees": outcome.voted and answers[seat.peer] is not None and answers[seat.peer] == outcome.answer,
            "round": seat.round,
            "revised": seat.round_first is not None,
            "first_answer": seat.first_answer,
            "inference_ms": seat.inference_ms,
            "tokens": seat.prompt_tokens + seat.completion_tokens,
        }
        for seat in outcome.seats
        if seat.state in ("answered", "abstained")
    ]
    return {
        "task": outcome.task.hex(),
        "outcome": outcome.kind.value,
        "voted": outcome.voted,
        "answer": outcome.answer,
        "skill": outcome.requirement.skill,
        "skill_given": outcome.skill_given,
        "similarity": outcome.requirement.similarity / 1_000,
        "margin": tally.margin / 1_000 if tally is not None else None,
        "support": [
            {"answer": answer, "weight": weight_bits(total) if tally.earned else total} for answer, total in tally.support
        ]
        if tally is not None
        else [],
        "author": None if outcome.author is None else names[outcome.author],
        "ranking": _ranking_json(outcome, names),
        "judgements": [
            {
                "peer_id": names[item.judge],
                "first": names[item.first],
                "second": names[item.second],
                "preferred": None if item.preferred is None else names[item.preferred],
                "weight": weight_bits(item.weight),
            }
            for item in outcome.judged
        ],
        "rounds": outcome.rounds,
        "gate": outcome.gate.value,
        "stopped": outcome.stopped,
        "further": outcome.further,
        "refined": outcome.refined,
        "earned": tally.earned if tally is not None else False,
        "dissent": tally.dissent if tally is not None else 0,
        "abstained": tally.abstained if tally is not None else 0,
        "coverage": tally.coverage / 1_000 if tally is not None else None,
        "bids": [
            {
                "peer_id": names[bid.peer],
                "queued": bid.queued,
                "tokens_per_s": bid.tokens_per_s,
                "hits": round(bid.hits / EVIDENCE_ONE, 1),
                "misses": round(bid.misses / EVIDENCE_ONE, 1),
                "imported_hits": round(bid.imported_hits / EVIDENCE_ONE, 1),
                "imported_misses": round(bid.imported_misses / EVIDENCE_ONE, 1),
                "weight": weight_bits(bid.weight),
                "awarded": bid.awarded,
                "late": bid.late,
                "cluster": bid.cluster,
            }
            for bid in outcome.bids
        ],
        "award": {
            "beacon": outcome.beacon.hex(),
            "view": outcome.view.hex(),
            "seats": [{"seat": seat.seat, "peer_id": names[seat.peer], "state": seat.state} for seat in outcome.seats],
        },
        "votes": votes,
        "plans": [_plan_json(plan) for plan in outcome.plans],
        "calibration_ms": outcome.calibration_ms,
        "latency_ms": outcome.latency_ms,
        "inference_ms": outcome.inference_ms,
        "messages": outcome.messages,
        "bytes": outcome.bytes_total,
        "tokens": outcome.tokens,
    }


def _plan_json(plan: PlanReport) -> dict[str, Any]:
    """A plan with its steps; of a step, what was asked, who said what, and what it cost."""
    kept = ("outcome", "answer", "margin", "votes", "latency_ms", "tokens")
    return {
        "plan": plan.plan,
        "planners": [peer_id(peer) for peer in plan.planners],
        "weight": weight_bits(plan.weight),
        "text": plan.text,
        "state": plan.state,
        "answer": plan.answer,
        "steps": [
            {"step": step.step, "skill": step.skill, "question": step.question}
            | {key: value for key, value in outcome_json(step.outcome).items() if key in kept}
            for step in plan.steps
        ],
    }


def _ranking_json(outcome: Outcome, names: Mapping[bytes, str]) -> list[dict[str, Any]]:
    """Authors from the best text on, with the points that decided and strengths that only show how clear it was."""
    shown = strengths([item.author for item in outcome.ranking], outcome.judged)
    return [
        {"peer_id": names[item.author], "points": item.points, "strength": round(shown[item.author], 2)}
        for item in outcome.ranking
    ]


def peers_json(core: Core, wall_ms: int) -> list[dict[str, Any]]:
    """Every known peer, connected ones first, with what its record says and what this node found out itself."""
    known = dict(core.peers.all())
    rows = []
    for key in sorted(known.keys() | set(core.faults.accused())):
        peer = known.get(key)
        record = peer.record if peer is not None else None
        rows.append(
            {
                "peer_id": peer_id(key),
                "connected": peer is not None and peer.connected,
                "model": record.model if record else None,
                "quantisation": record.quantisation if record else None,
                "parameters": record.parameters if record else None,
                "available": record.available if record else None,
                "tokens_per_s": record.tokens_per_s if record else None,
                "addresses": list(record.addresses) if record else [],
                "skills": skills_json(core, key, dict(record.skills) if record else {}, wall_ms),
                "faults": faults_json(core, key),
            }
        )
    return sorted(rows, key=lambda row: (not row["connected"], str(row["peer_id"])))


def faults_json(core: Core, key: bytes, *, proofs: bool = False) -> list[dict[str, str]]:
    """What is proven of a peer, with the proofs in base64 if they are wanted."""
    rows = []
    for fault in core.faults.of(key):
        row = {"kind": fault.kind, "text": KINDS[fault.kind].text}
        rows.append(row | {"proof": base64.b64encode(fault.encode()).decode()} if proofs else row)
    return rows


def skills_json(core: Core, key: bytes, declared: dict[str, int], wall_ms: int) -> dict[str, dict[str, Any]]:
    """For each declared skill: the claim, the evidence and the weight that follows from the evidence alone."""
    rows = {}
    for skill in sorted(declared):
        counts = core.counts(key, skill, wall_ms)
        known = core.parameters.skills.get(skill)
        rows[skill] = {
            "declared": declared[skill] / 1_000,
            "hits": round(counts.hits / EVIDENCE_ONE, 1),
            "misses": round(counts.misses / EVIDENCE_ONE, 1),
            "weight": weight_bits(counts.weight(known.options)) if known else 0.0,
        }
    return rows
