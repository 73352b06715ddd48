"""An outcome for people: the answer, how it was voted, what it cost, and in sentences why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.cli.course import NOT_NEEDED, course
from node.cli.plans import plan_lines, why_plans
from node.cli.status import audits
from node.cli.terminal import brief, clean, clean_lines, number, short, size, table

# An outcome as `node.reports.outcome_json` makes it, and what to call each peer besides its id.
Json = Mapping[str, Any]
Names = Mapping[str, str]

_COUNTED = ("answered", "abstained")
_NAME_SHOWN = 32
_ANSWER_SHOWN = 40


def show_answer(outcome: Json, names: Names) -> list[str]:
    """The answer alone on the first line, then how it came about."""
    answer = outcome["answer"]
    first = clean_lines(answer) if answer is not None else [no_answer(outcome)]
    return [*first, "", *details(outcome, names)]


def no_answer(outcome: Json) -> str:  # noqa: PLR0911  a reason each
    """Why there is none, and what to do, in one line."""
    skill = clean(outcome["skill"])
    if outcome["outcome"] == "no bids":
        return f"no answer: nobody bid on this question (skill {skill}); `tutti peers` shows who is there and offers what"
    if outcome["outcome"] == "deadline":
        return "no answer: the deadline came first; give more time with --deadline SECONDS"
    if all(seat["state"] == "abstained" for seat in outcome["award"]["seats"]):
        return "no answer: every node that was asked abstained; ask in other words, or choose another --skill"
    if all(seat["state"] == "declined: model" for seat in outcome["award"]["seats"]):
        return "no answer: no model could answer; a long question may not fit their contexts, so ask a shorter one"
    if all(seat["state"] in ("declined: paused", "declined: cap") for seat in outcome["award"]["seats"]):
        return "no answer: every node that was asked takes no work now; `tutti peers` shows who does, or ask again"
    if outcome["plans"]:
        return "no answer: no plan could be carried out; its steps say why, ask again or forbid plans with --plan 0"
    return "no answer: every node that was asked failed; the leases say how, ask again"


def details(outcome: Json, names: Names) -> list[str]:
    """Margin, votes, failed leases and cost."""
    lines = []
    if outcome["ranking"]:
        lines += [_judged(outcome, names), *table([_rank_row(row, names) for row in outcome["ranking"]])]
    elif outcome["votes"] and outcome["voted"]:
        lines += [_headline(outcome), *table(_support_rows(outcome))]
    elif outcome["votes"]:
        lines.append(_not_voted(outcome, names))
    if outcome["votes"]:
        lines += [
            "votes:" if outcome["voted"] and not outcome["ranking"] else "asked:",
            *table([_vote_row(vote, outcome, names) for vote in outcome["votes"]]),
        ]
    lines += plan_lines(outcome, lambda peer: _who(peer, names))
    spared = [_who(seat["peer_id"], names) for seat in outcome["award"]["seats"] if seat["state"] == NOT_NEEDED]
    if spared:
        lines.append(f"not waited for: {', '.join(spared)}")
    failed = [seat for seat in outcome["award"]["seats"] if seat["state"] not in (*_COUNTED, NOT_NEEDED)]
    if failed:
        rows = [(short(seat["peer_id"]), _name(seat["peer_id"], names), brief(seat["state"], 60)) for seat in failed]
        lines += ["failed leases:", *table(rows)]
    return [*lines, _cost(outcome)]


def _headline(outcome: Json) -> str:
    votes = [vote for vote in outcome["votes"] if vote["answer"] is not None]
    counts = f"{number(len(votes), 'vote')}, {outcome['dissent']} dissenting, {outcome['abstained']} abstained"
    if outcome["coverage"] is not None and outcome["coverage"] < 1:
        counts += f", coverage {outcome['coverage']:.2f}"
    if not votes:
        return f"voted on skill {clean(outcome['skill'])}: {counts}"
    if not outcome["earned"]:
        return (
            f"unearned: nobody who answered has earned weight yet, so most votes won; margin {outcome['margin']:.2f}, {counts}"
        )
    return f"voted on skill {clean(outcome['skill'])}: margin {outcome['margin']:.2f}, {counts}"


def _support_rows(outcome: Json) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for entry in outcome["support"]:
        amount = f"weight {entry['weight']:.2f}" if outcome["earned"] else number(entry["weight"], "vote")
        rows.append((brief(entry["answer"], _ANSWER_SHOWN), amount))
    return rows or [("no answer has support",)]


def _not_voted(outcome: Json, names: Names) -> str:
    return "not voted: free text" + (f", as {_who(outcome['author'], names)} wrote it" if outcome["author"] else "")


def _judged(outcome: Json, names: Names) -> str:
    """How a free text was chosen."""
    judges = {item["peer_id"] for item in outcome["judgements"] if item["preferred"] is not None}
    return f"voted: free text by {_who(outcome['author'], names)}, the best in pairs to {number(len(judges), 'member')}"


def _rank_row(row: Json, names: Names) -> tuple[str, ...]:
    peer = row["peer_id"]
    return short(peer), _name(peer, names), number(row["points"], "point"), f"strength {row['strength']:.2f}"


def _vote_row(vote: Json, outcome: Json, names: Names) -> tuple[str, ...]:
    answer = "abstained" if vote["answer"] is None else brief(vote["answer"], _ANSWER_SHOWN)
    dissents = (
        outcome["voted"]
        and not outcome["ranking"]
        and outcome["answer"] is not None
        and vote["answer"] is not None
        and not vote["agrees"]
    )
    return (
        short(vote["peer_id"]),
        _name(vote["peer_id"], names),
        answer,
        f"weight {vote['weight']:.2f}",
        "dissents" if dissents else "",
    )


def _cost(outcome: Json) -> str:
    waited = f", {outcome['calibration_ms']} ms waiting for audits" if outcome["calibration_ms"] else ""
    return (
        f"cost: {outcome['latency_ms']} ms ({outcome['inference_ms']} ms of it inference{waited}), "
        f"{number(outcome['messages'], 'message')} of {size(outcome['bytes'])}, {number(outcome['tokens'], 'token')}"
    )


def _name(peer: str, names: Names) -> str:
    return brief(names.get(peer, ""), _NAME_SHOWN)


def _who(peer: str, names: Names) -> str:
    name = _name(peer, names)
    return f"{short(peer)} ({name})" if name else short(peer)


# --- In sentences


def explain(outcome: Json, names: Names) -> list[str]:
    """Why this skill, who bid, why these nodes, what their weights come from, what failed, why this result."""
    return [
        *_why_skill(outcome),
        *_why_nodes(outcome, names),
        *_what_failed(outcome, names),
        *why_plans(outcome, lambda peer: _who(peer, names)),
        *course(outcome, lambda peer: _who(peer, names)),
        *_why_result(outcome, names),
    ]


def _why_skill(outcome: Json) -> list[str]:
    skill, similarity = clean(outcome["skill"]), f"{outcome['similarity']:.2f} of 1"
    if outcome["skill_given"]:
        return [f"Skill: {skill}, because it was given with the question."]
    if skill == "general":
        return [f"Skill: general, because the question is like none of this network's examples (the nearest: {similarity})."]
    return [f"Skill: {skill}, because an example of that skill is nearest to the question (similarity {similarity})."]


def _why_nodes(outcome: Json, names: Names) -> list[str]:
    bids, taken = outcome["bids"], {seat["peer_id"] for seat in outcome["award"]["seats"]}
    if not bids:
        return ["Bids: none came, so there was nobody to ask."]
    rule = "Seats go first to nodes with weight, by expected accuracy less a little for queued work, and last to those without."
    if outcome["margin"] is None:
        rule = (
            "Free text goes to a committee that judges its texts if enough nodes have weight, "
            "else to the node with most; the next one gets the seat if it fails."
        )
    lines = [f"Bids: {number(len(bids), 'node')} bid. {rule}", "Weight comes from audits, never from claims:"]
    for bid in sorted(bids, key=lambda row: (not row["awarded"], -row["weight"], row["peer_id"])):
        if bid["late"]:
            lines.append(f"  {_who(bid['peer_id'], names)}: bid after the window had closed: no seat.")
            continue
        queue = f"{bid['queued']} queued" if bid["queued"] else "nothing queued"
        seat = "a seat" if bid["peer_id"] in taken or bid["awarded"] else "no seat"
        lines.append(f"  {_who(bid['peer_id'], names)}: {_standing(bid)}; {queue}: {seat}.")
    return lines


def _standing(bid: Json) -> str:
    """Where a weight comes from, in words."""
    weight = f"weight {bid['weight']:.2f}"
    if bid["hits"] + bid["misses"] == 0:
        return f"no audits yet, so {weight}"
    others = bid["imported_hits"] + bid["imported_misses"]
    found = audits(bid["hits"], bid["misses"]) + (f" ({others:g} of them by others)" if others else "")
    if bid["weight"] == 0:
        return f"{found}, no better than guessing, so {weight}"
    return f"{found}, so {weight}"


def _what_failed(outcome: Json, names: Names) -> list[str]:
    """Each lease that brought no result, and who was asked next: reports stand in the order in which the leases ended."""
    seats, lines = outcome["award"]["seats"], []
    for index, seat in enumerate(seats):
        if seat["state"] in (*_COUNTED, NOT_NEEDED):
            continue
        heir = next((later for later in seats[index + 1 :] if later["seat"] == seat["seat"]), None)
        then = f"its seat went to {_who(heir['peer_id'], names)}" if heir else "nobody was left to take its seat"
        if seat["state"] == "deadline":
            then = "the task ended without it"
        lines.append(f"Failed: {_who(seat['peer_id'], names)}: {brief(seat['state'], 60)}; {then}.")
    return lines


def _why_result(outcome: Json, names: Names) -> list[str]:
    if outcome["answer"] is None:
        return [f"Result: {no_answer(outcome)}."]
    if outcome["ranking"]:
        best, *others = outcome["ranking"]
        rest = ", ".join(f"{_who(row['peer_id'], names)} {row['points']}" for row in others)
        rule = "in pairs that members judged who wrote neither (two for each pair won, one for a tie)"
        return [f"Result: the text by {_who(best['peer_id'], names)} got {number(best['points'], 'point')} {rule}; {rest}."]
    if not outcome["voted"]:
        by = f" by {_who(outcome['author'], names)}" if outcome["author"] else ""
        return [f"Result: not voted; the text{by} is given as it is, and too few judged it."]
    parts = [f"{brief(entry['answer'], _ANSWER_SHOWN)} got {_sum(entry, outcome)}" for entry in outcome["support"]]
    lead = f"the lead is {outcome['margin']:.2f} of all" if len(parts) > 1 else "nothing stood against it"
    totals = [entry["weight"] for entry in outcome["support"]]
    if len(totals) > 1 and outcome["margin"] == 0 and totals[0] == totals[1]:
        lead = "a tie, which a hash of the task and the answer broke"
    unearned = "" if outcome["earned"] else "unearned, since nobody who answered has weight yet and each vote counted one; "
    neutral = f" Abstentions ({outcome['abstained']}) count for nobody." if outcome["abstained"] else ""
    return [f"Result: {unearned}{', '.join(parts)}; {lead}.{neutral}"]


def _sum(entry: Json, outcome: Json) -> str:
    """`6.46 + 6.46 = 12.92`, those who repeat each other's mistakes as one voice; without weights, a count of votes."""
    if not outcome["earned"]:
        return number(entry["weight"], "vote")
    clusters = {bid["peer_id"]: bid["cluster"] for bid in outcome["bids"]}
    voices: dict[object, list[float]] = {}
    for vote in outcome["votes"]:
        if vote["answer"] == entry["answer"]:
            cluster = clusters.get(vote["peer_id"])
            voices.setdefault(vote["peer_id"] if cluster is None else cluster, []).append(vote["weight"])
    terms = [_voice(weights) for weights in voices.values()]
    return " + ".join(terms) if terms == [f"{entry['weight']:.2f}"] else f"{' + '.join(terms)} = {entry['weight']:.2f}"


def _voice(weights: list[float]) -> str:
    """What a voter counts, or those who share a voice: `the most of 6.46, 5.20`."""
    each = ", ".join(f"{weight:.2f}" for weight in weights)
    return each if len(weights) == 1 else f"(one voice: the most of {each})"
