"""Receipts of free texts that members judged and of answers that they revised: they hold, and lies about them are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from contrib.vectors.keys import SIGNERS
from contrib.vectors.stories import REQUESTER, Story
from protocol.envelope import open_envelope
from protocol.events import RequestMade
from protocol.identity import KeySigner
from protocol.messages import Award, Beacon
from protocol.receipt import Receipt, StepReceipt
from protocol.verification import Report, verify
from tests import test_core_judging as judging
from tests.core_bench import GOLD, QUESTION, answer, requester
from tests.support import PARAMETERS, request_id, sent

WRONG, RIGHT = "answer: 1", f"answer: {GOLD}"


def judged() -> tuple[bytes, KeySigner]:
    """A free text that three members judged."""
    bench, others, awards = judging.ready(9, 9, 9)
    for asked in judging.written(bench, others, awards):
        judging.judge(bench, others, asked, max(asked[1].first, asked[1].second))
    return bench.receipt(judging.TEXT), bench.signer


def revised() -> tuple[bytes, KeySigner]:
    """A question of which two revised what the third was convinced of at once."""
    bench, others = requester(3)
    (beacon,) = sent(bench.step(RequestMade(request_id(QUESTION), QUESTION, refine=1)), Beacon)
    mark = len(bench.effects)
    bench.bids(beacon, others)
    awards = sent(bench.effects[mark:], Award)
    for outputs in ((WRONG, RIGHT, WRONG), (RIGHT, RIGHT, RIGHT)):
        for award, output in zip(awards, outputs, strict=True):
            answer(bench, award, others, output)
    return bench.receipt(QUESTION), bench.signer


def report(data: bytes) -> Report:
    return verify(data, [PARAMETERS])


def resigned(made: tuple[bytes, KeySigner], change: Callable[[dict[str, Any]], None]) -> Report:
    """The receipt with its step changed, signed by its requester again."""
    data, signer = made
    fields: dict[str, Any] = dict(Receipt.open(data).body())
    step: dict[str, Any] = dict(fields["steps"][0])
    step["transcript"] = list(step["transcript"])
    change(step)
    return report(Receipt.parse(fields | {"steps": [step]}).sign(signer))


def places(step: dict[str, Any], kind: str) -> list[int]:
    return [place for place, data in enumerate(step["transcript"]) if open_envelope(data).type == kind]


def without(kind: str, number: int) -> Callable[[dict[str, Any]], None]:
    def change(step: dict[str, Any]) -> None:
        place = places(step, kind)[number]
        del step["transcript"][place]
        step["notes"] = [[at - (at > place), event, subject] for at, event, subject in step["notes"]]

    return change


def swapped(kind: str) -> Callable[[dict[str, Any]], None]:
    def change(step: dict[str, Any]) -> None:
        one, other, *_ = places(step, kind)
        transcript = step["transcript"]
        transcript[one], transcript[other] = transcript[other], transcript[one]

    return change


def test_receipt__of_a_judged_text_holds() -> None:
    found = report(judged()[0])
    assert found.failure is None
    assert found.answer == "poem 2"
    assert "the answer is the text that comes first by the judgements of those who wrote neither of a pair" in found.proven
    assert any("judged by whom the rule says (3 judgements)" in line for line in found.proven)


def test_receipt__of_revised_answers_holds() -> None:
    data, _ = revised()
    found = report(data)
    assert found.failure is None
    assert found.answer == GOLD
    assert StepReceipt.parse(Receipt.open(data).steps[0]).refine == 1
    assert any("each revision" in line for line in found.proven)


def test_receipt__of_a_text_that_nobody_could_judge_holds() -> None:
    bench, others, awards = judging.ready(9, 9, 9)
    for asked in judging.written(bench, others, awards):
        judging.judge(bench, others, asked, None)
    found = report(bench.receipt(judging.TEXT))
    assert found.failure is None
    assert any("nothing was voted on" in line for line in found.proven)


@pytest.mark.parametrize(
    ("made", "change", "named"),
    [
        (judged, without("judge", 0), "a judgement that is not due"),
        (judged, without("judge", 2), "not owed|was not asked"),
        (judged, without("judgement", 0), "from the votes follows|gives"),
        (judged, swapped("judge"), "a judgement that is not due"),
        (revised, without("refine", 2), "names no award|not asked|state|accepts|commit"),
        (revised, swapped("refine"), "a revision that is not due"),
        (revised, lambda step: step.update(refine=0), "was not wanted"),
    ],
    ids=["first judge", "last judge", "judgement", "order of judges", "refine", "order of revisions", "unwanted"],
)
def test_lie__about_a_review_is_named(
    made: Callable[[], tuple[bytes, KeySigner]], change: Callable[[dict[str, Any]], None], named: str
) -> None:
    found = resigned(made(), change).failure
    assert found is not None
    assert re.search(named, found), found
    assert resigned(made(), lambda _: None).failure is None


# --- Further seats

FURTHER = {
    "number": ("7", "8", "9", "9"),
    "text": ("Seven.", "It is 8.", "Perhaps 9.", "Nine."),
    "plan": ("arith: Add 3 and 4.", "arith: Add 4 and 4.", "arith: Add 5 and 4.", "arith: Add 5 and 4."),
}
# For which types, and after how many revisions, nobody is asked for more.
NEVER_FURTHER = [("text", 0), ("plan", 0), ("number", 1)]


def further(kind: str, refine: int = 0) -> bytes:
    """Three answer differently, keep to it if they are asked to revise, and a fourth is asked for more."""
    story = Story(((9, 1),) * 4, kind, refine=refine)
    story.hear(0, 1, 2, 3)
    story.look()
    said = dict(zip(story.order, FURTHER[kind], strict=True))
    *first, fourth = said
    for seat, bidder in enumerate(first):
        story.award(bidder, seat)
    for number in range(refine + 1):
        for bidder in first if number else ():
            story.revise(bidder, number, *sorted(said[other] for other in first if other != bidder))
        _sealed(story, {bidder: said[bidder] for bidder in first}, number)
    story.award(fourth, 3, number=refine + 1)
    _sealed(story, {fourth: said[fourth]}, refine + 1)
    # The result is the one that follows for a requester without the rule.
    with mock.patch("protocol.replay.may_ask_more", return_value=True):
        return Receipt.parse(story.receipt()).sign(SIGNERS[REQUESTER])


def _sealed(story: Story, said: dict[int, str], number: int) -> None:
    for bidder, text in said.items():
        story.commit(bidder, text, number)
    story.close(*said, number=number)
    for bidder, text in said.items():
        story.reveal(bidder, text, number)


def test_further_seat__is_for_a_vote_with_a_thin_margin() -> None:
    found = report(further("number"))
    assert (found.failure, found.answer) == (None, "9")
    assert "more were asked because the margin was thin (1 seat)" in found.proven


@pytest.mark.parametrize(("kind", "refine"), NEVER_FURTHER)
def test_further_seat__for_a_text_for_planners_or_after_a_revision_is_refused(kind: str, refine: int) -> None:
    failure = report(further(kind, refine)).failure
    assert failure is not None
    assert failure.endswith("(award): gives out seat 3, which the allocation does not give"), failure
