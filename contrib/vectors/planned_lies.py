"""Receipts of plans with one lie each, that their requester signed all the same: specs/11-receipt.md, rule 13."""

from __future__ import annotations

from typing import Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.planned import (
    ADD,
    GOOD,
    RIGHT,
    SHORT,
    SORT,
    WRONG,
    Fields,
    done,
    failed,
    four_planners,
    planners,
    planning,
    ran,
    result_of,
    right,
    story_of,
    told,
    unasked,
    wrong,
)
from contrib.vectors.receipts import check_receipt, signed
from contrib.vectors.stories import QUESTION, Story, receipt_of

DOCUMENT: Final = "11-receipt.md"
SHARED: Final = True
OPERATIONS: Final[dict[str, Operation]] = {"receipt": check_receipt}


def _places() -> dict[str, Fields]:
    """Which steps stand there; the result is the one that a verifier finds that does not look at their places."""
    one, two, (first, second) = planning(RIGHT), planning(RIGHT, WRONG), right(1)
    found, compared = result_of(one, first, second), result_of(two, wrong(1), *right(2))
    number = ran(Story((GOOD,), question=QUESTION), ["7"]).step("settled")
    return {
        "no planners' step": receipt_of([first, second], second["result"]),
        "a step before that of the planners": receipt_of([first, one, second], found),
        "plans in another order": receipt_of([two, *right(2), wrong(1)], compared),
        "the steps of two plans mixed": receipt_of([two, right(2)[0], wrong(1), right(2)[1]], compared),
        "a step twice": receipt_of([one, first, first, second], found),
        "another step of plan 0": receipt_of([one, unasked(0, 1, SHORT), first, second], found),
        "a step 0 of a plan": receipt_of([one, unasked(1, 0, SHORT), first, second], found),
        "a step of a plan that nobody opened": receipt_of([one, first, second, unasked(2, 1, SHORT)], found),
        "a step that its plan does not have": receipt_of([one, first, second, unasked(1, 3, SHORT)], found),
        "steps of a question that no plan was asked for": receipt_of([number, first, second], number["result"]),
        "messages of another step": receipt_of([one, first | {"step": 2}], result_of(one)),
    }


def _steps() -> dict[str, Fields]:
    """What the steps are; the result is the one that a verifier finds that takes them for steps of their plans."""
    one, two, (first, second) = planning(RIGHT), planning(RIGHT, WRONG), right(1)
    found, nothing = result_of(one, first, second), result_of(one)
    other = found | {"answer": "4", "support": [["4", found["support"][0][1]]]}
    one_seat = ran(story_of(1, 2, ADD, seats=1), ["5"]).step("settled")
    alone = planners(((40, 0), (3, 20), (3, 21)))
    alone.ask()
    for bidder in range(3):
        alone.bid(bidder)
    alone.look()
    alone.award(0, 0)
    alone.commit(0, RIGHT)
    alone.close(0)
    alone.reveal(0, RIGHT)
    trusted = planning(RIGHT, known=((40, 0),))
    return {
        "plans numbered by voices": receipt_of(
            [four_planners(), *right(1), wrong(2)], result_of(four_planners(), wrong(1), *right(2))
        ),
        "plans of one weight, against the order of their text": receipt_of(
            [two, *right(1), wrong(2)], result_of(two, wrong(1), *right(2))
        ),
        "another question than the plan's": receipt_of([one, done(1, 1, "lists: Sort the list 9 1 2.", "1 2 9")], nothing),
        "another item is put in": receipt_of([one, first, done(1, 2, "arith: Add 3 and 1.", "4")], other),
        "an answer that a step did not give is put in": receipt_of([one, failed(1, 1, SORT), second], nothing),
        "an item is put in that is not there": receipt_of(
            [one, done(1, 1, SORT, "3"), done(1, 2, "arith: Add 3 and #1[-2].", "5")], found
        ),
        "the step before is not here": receipt_of([one, second], nothing),
        "another skill than the plan's": receipt_of([one, first, done(1, 2, "lists: Add 3 and 2.", "5")], found),
        "one seat for a step": receipt_of([one, first, one_seat | {"result": second["result"]}], found),
        "a planner alone": receipt_of(
            [alone.step("settled") | {"result": trusted["result"]}, first, second], result_of(trusted, first, second)
        ),
        "another result of a step": receipt_of([one, first, second | {"result": second["result"] | {"coverage": 999}}], found),
    }


def _results() -> dict[str, Fields]:
    """What the steps make together."""
    one, two, (first, second) = planning(RIGHT), planning(RIGHT, WRONG), right(1)
    compared = [two, wrong(1), *right(2)]
    best, other = result_of(*compared)["support"]
    voices = [four_planners(), wrong(1), *right(2)]
    found = result_of(one, first, second)
    partly = [two, wrong(1), right(2)[0], failed(2, 2, ADD)]
    late = [one, failed(1, 1, SORT, late=True)]
    unplanned = planning(None, "no plan")
    return {
        "a plan without its last step has an answer": receipt_of([one, first], found),
        "a plan has an answer of which a step failed": receipt_of(partly, result_of(*compared)),
        "the planners' vote": receipt_of([one, first, second], one["result"]),
        "the last step's vote": receipt_of(compared, wrong(1)["result"]),
        "the answer that came second": told(*compared, answer=other[0], support=[other, best]),
        "one voice counts twice": receipt_of(voices, result_of(four_planners(-1), wrong(1), *right(2))),
        "dissent by plans and not by planners": told(*voices, dissent=1),
        "another margin": told(*compared, margin=1_000),
        "no plan without an answer": told(*partly, abstained=0),
        "plans without an answer covered": told(*partly, coverage=1_000),
        "who gave no plan abstains": told(*voices, abstained=1),
        "who gave no plan is not covered": told(*voices, coverage=voices[0]["result"]["coverage"]),
        "no vote": told(one, first, second, voted=False),
        "unearned, though every step has a weight": told(one, first, second, outcome="unearned"),
        "a deadline with an answer": told(one, first, second, outcome="deadline"),
        "no answer where there is one": receipt_of([one, first, second], result_of(one)),
        "failed where a step was late": told(*late, outcome="all failed"),
        "no bids where a step failed": told(one, failed(1, 1, SORT), outcome="no bids"),
        "no bids where nobody gave a plan": told(unplanned, outcome="no bids"),
        "silent planners abstain from the vote of plans": told(unplanned, abstained=2),
    }


def cases() -> list[Case]:
    """All of this subject."""
    lies = _places() | _steps() | _results()
    return [signed(name, fields) for name, fields in lies.items()]
