"""When no more answers are needed, and when more are (specs/08-execution.md). Integers alone: who has the same votes agrees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from protocol.constants import GATE_CHECK, GATE_MEAN, MARGIN_THIN
from protocol.identity import SIGNATURE_SIZE
from protocol.vote import Tally, Vote, tally, tie_break, voices

# Stands for an answer that nobody has given yet; the canonical form of nothing.
_ANY = ""


def decided(task: bytes, votes: Sequence[Vote], owed: Sequence[Vote]) -> bool:
    """Whether no answers of those who still owe one can change the answer of the task; what `owed` say is not read.

    They may give any answer, a new one whose hash wins ties as well, or abstain.
    """
    now = tally(task, votes)
    if not owed or now.answer is None:
        return not owed
    if not now.earned:
        if any(vote.weight > 0 for vote in owed):
            return False
        votes, owed = [replace(vote, weight=1) for vote in votes], [replace(vote, weight=1) for vote in owed]
    lead = voices(vote for vote in votes if vote.answer == now.answer)
    # An answer gets most when all of them give it, and the leader least when none of them gives its.
    # specs/08-execution.md: "What those who owe weigh together, of each cluster the largest alone, is less than the support of
    # the first answer"
    if voices(owed) >= lead:
        return False
    rivals = {vote.answer for vote in votes} - {None, now.answer}
    return all(
        (-lead, tie_break(task, now.answer))
        < (-voices([*owed, *(vote for vote in votes if vote.answer == rival)]), tie_break(task, rival))
        for rival in rivals
        if rival is not None
    )


def worth_opening(task: bytes, votes: Sequence[Vote], sealed: Sequence[Vote], at_work: Sequence[Vote]) -> bool:
    """Whether the sealed answers would decide the task if they agreed, whatever those say who are still at work."""
    answers = sorted({vote.answer for vote in votes if vote.answer is not None} | {_ANY})
    return any(decided(task, [*votes, *(replace(vote, answer=answer) for vote in sealed)], at_work) for answer in answers)


def alone(committee: Sequence[Vote], means: Sequence[int]) -> int | None:
    """The place of the one of a committee that may be asked alone, None if there is none.

    Its weight exceeds those of all the others together, so that no vote of theirs could change its answer; or its expected
    accuracy, by `means` in units of 2^-16, is GATE_MEAN at least and nobody weighs as much.
    """
    if len(committee) < 2:  # noqa: PLR2004  one alone is no committee
        return None
    best = max(range(len(committee)), key=lambda place: (committee[place].weight, -place))
    others = [vote for place, vote in enumerate(committee) if place != best]
    weight = committee[best].weight
    if weight > voices(others) or (means[best] >= GATE_MEAN and weight > max(vote.weight for vote in others)):
        return best
    return None


def is_checked(acknowledgements: Sequence[bytes]) -> bool:
    """Whether one who may be asked alone is asked with its committee all the same, by the acknowledgements of all bids.

    They are envelopes by ascending bidder. Their signatures decide, which no bidder knows but its own.
    """
    signatures = b"".join(data[:SIGNATURE_SIZE] for data in acknowledgements)
    drawn = hashlib.sha256(b"tutti/gate/1\x00" + signatures).digest()
    return int.from_bytes(drawn[:8], "big") % GATE_CHECK == 0


def is_thin(result: Tally) -> bool:
    """Whether the lead is so small that more votes are worth their cost."""
    return result.earned and result.margin < MARGIN_THIN
