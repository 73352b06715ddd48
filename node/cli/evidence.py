"""`tutti peers PEER --explain`: in sentences, which evidence there is of one peer, from whom, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.cli.status import audits
from node.cli.terminal import clean, short

_OWN = "this node's"

# Evidence of one peer as `node.evidence_report.evidence_json` makes it.
Json = Mapping[str, Any]


def explain_evidence(evidence: Json) -> list[str]:
    """Own audits with days and ledger entries, what others' audits add and why no more, posterior and weight."""
    who = "this node itself" if evidence["self"] else "connected" if evidence["connected"] else "not connected now"
    lines = [f"{clean(evidence['peer_id'])} ({who})"]
    lines += [
        f"{short(fault['peer_id'])} {clean(fault['text'])}, which is proven: its votes weigh nothing."
        for fault in evidence["faults"]
    ]
    if evidence["followed"]:
        lines.append("Another key has followed this one, so nothing counts for it any more.")
    if evidence["former"]:
        keys = ", ".join(short(key) for key in evidence["former"])
        lines.append(f"It follows {keys}, whose evidence counts for it as well and stands there: `tutti peers PEER --explain`.")
    if evidence["one_voice_with"]:
        others = ", ".join(short(other) for other in evidence["one_voice_with"])
        lines.append(
            f"Its mistakes in this node's audits are those of {others}, beyond chance: they have one voice for an answer."
        )
    if not evidence["skills"]:
        lines.append("It offers no skill of this network, and nobody audited it: its votes weigh nothing.")
    for name, skill in evidence["skills"].items():
        lines += ["", f"{clean(name)}:", *(f"  {line}" for line in _skill_lines(skill))]
    return lines


def _skill_lines(skill: Json) -> list[str]:
    claim = skill["declared"]
    claimed = "does not offer it" if claim is None else f"claims {claim:.2f}, which weighs nothing"
    return [f"It {claimed}.", *_own_lines(skill["own"]), *_author_lines(skill), *_sum_lines(skill)]


def _own_lines(own: Json) -> list[str]:
    if not own["days"]:
        return ["This node has not audited it yet."]
    days = ", ".join(_day(day) for day in reversed(own["days"]))
    lines = [f"Own audits: {days}; faded with age that is {_counts(own)}."]
    if own["entries"]:
        lines.append(f"They were committed in {_entries(own['entries'], _OWN)}.")
    return lines


def _day(day: Json) -> str:
    ago = day["days_ago"]
    when = "today" if ago <= 0 else "yesterday" if ago == 1 else f"{ago} days ago"
    abstained = f", {day['abstained']} abstained" if day["abstained"] else ""
    return f"{audits(day['hits'], day['misses'])}{abstained} {when}"


def _author_lines(skill: Json) -> list[str]:
    return [_author_line(author) for author in skill["authors"]]


def _author_line(author: Json) -> str:
    agreed = author["agreed"]
    judged = agreed["of_strong"] + agreed["of_weak"]
    named = "an auditor of this network" if author["auditor"] else "a peer"
    said = f"{short(author['author'])}, {named}, found {_counts(author['told'])} ({_entries(author['entries'], 'its')})"
    if author["contradicted"]:
        return f"{said}. This node's own audits clearly say otherwise, so that counts nothing."
    shared = (
        f"it agrees with this node on {agreed['strong']} of {agreed['of_strong']} peers found strong "
        f"and {agreed['weak']} of {agreed['of_weak']} found weak"
        if judged
        else "it has audited nobody whom this node knows well enough to judge it by"
    )
    return f"{said}; {shared}, so its trust is {author['trust']:.2f} and that counts as {_counts(author['used'])}."


def _sum_lines(skill: Json) -> list[str]:
    imported, total = skill["imported"], skill["total"]
    lines = []
    if skill["authors"]:
        added = imported["hits"] + imported["misses"]
        cap = f"never more than this node's own audits, and here at most {imported['most']:g}; of auditors more"
        lines.append(f"Together the others add {_counts(imported) if added else 'nothing'}: {cap}.")
    weight = skill["weight"]
    if total["hits"] + total["misses"] == 0:
        lines.append("So there is no evidence, and its vote weighs 0.00.")
    elif weight == 0:
        lines.append(f"So it is right with probability {skill['mean']:.2f}, no better than guessing: its vote weighs 0.00.")
    else:
        lines.append(f"So it is right with probability {skill['mean']:.2f}, and its vote weighs {weight:.2f} of 10.")
    return lines


def _counts(counts: Json) -> str:
    return f"{counts['hits']:g} right and {counts['misses']:g} wrong"


def _entries(entries: Sequence[int], ledger: str) -> str:
    numbers = ", ".join(str(entry) for entry in entries)
    return f"{'entry' if len(entries) == 1 else 'entries'} {numbers} of {ledger} ledger"
