"""Receipts of questions that plans carried out: specs/11-receipt.md, rule 13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, NETWORK, TASK
from contrib.vectors.receipts import check_receipt, signed
from contrib.vectors.stories import REQUESTER, Story, receipt_of
from protocol.parameters import preset
from protocol.plan_replay import carried_out, replayed
from protocol.receipt import Result, StepReceipt

DOCUMENT: Final = "11-receipt.md"
SHARED: Final = True
OPERATIONS: Final[dict[str, Operation]] = {"receipt": check_receipt}
Fields: TypeAlias = dict[str, Any]

QUESTION: Final = "What is the sum of the two largest of 3 1 2?"
# What the steps of the right plan ask.
SORT: Final = "lists: Sort the list 3 1 2."
ADD: Final = "arith: Add 3 and 2."
# Right, in two steps; right at once; wrong; right by steps that need nothing from each other. By text, `arith` comes first.
RIGHT: Final = f"{SORT}\narith: Add #1[-1] and #1[-2]."
SHORT: Final = ADD
WRONG: Final = "arith: Add 3 and 1."
APART: Final = "lists: What is the largest of 3 1 2?\nlists: Sort the list 2 1.\narith: Add #1 and #2[-1]."
# Hits and misses of whoever earned a weight, and of whoever did not.
GOOD: Final = (9, 1)
NEW: Final = (0, 0)


# --- Steps


def ran(story: Story, answers: Sequence[str | None]) -> Story:
    """A step in which each bidder is awarded a seat and opens its answer."""
    bidders = range(len(answers))
    story.ask()
    for bidder in bidders:
        story.bid(bidder)
    story.look()
    for seat, bidder in enumerate(story.order):
        story.award(bidder, seat)
    for bidder in bidders:
        story.commit(bidder, answers[bidder])
    story.close(*bidders, to=[0])
    for bidder in bidders:
        story.reveal(bidder, answers[bidder])
    return story


def planners(known: Sequence[tuple[int, ...]], seats: int = 3) -> Story:
    """The planners' step before anything is said in it."""
    return Story(known, "plan", skill="plan", question=QUESTION, seats=seats)


def planning(*plans: str | None, known: Sequence[tuple[int, ...]] = (), seats: int = 3) -> Fields:
    """The planners' step, in which each planner gives its plan; they are `known` as said, or as good as each other."""
    return ran(planners(known or [GOOD] * len(plans), seats), plans).step("settled")


def story_of(plan: int, step: int, line: str, known: tuple[int, int] = GOOD, seats: int = 3) -> Story:
    """A step that asks what a line of a plan says, before anything is said in it."""
    skill, _, question = line.partition(": ")
    kind = preset("dev").skills[skill].answer
    return Story((known,), kind, place=(plan, step), skill=skill, question=question, seats=seats)


def done(plan: int, step: int, line: str, answer: str, known: tuple[int, int] = GOOD) -> Fields:
    """A step that one node answers."""
    return ran(story_of(plan, step, line, known), [answer]).step("settled")


def failed(plan: int, step: int, line: str, *, late: bool = False) -> Fields:
    """A step of which the only bidder declines its award, or has no answer when the time is up."""
    story = story_of(plan, step, line)
    story.ask()
    story.bid(0)
    story.look()
    story.award(0, 0)
    if late:
        story.note("expired", story.awards[0])
    else:
        story.decline(0)
    return story.step("deadline" if late else "settled")


def unasked(plan: int, step: int, line: str) -> Fields:
    """A step on which nobody bids: a requester can write it down without anybody's help."""
    story = story_of(plan, step, line)
    story.ask()
    return story.step("no_bids")


def right(plan: int, known: tuple[int, int] = GOOD) -> list[Fields]:
    """The steps of the plan `RIGHT` under a number; who answers the last one is `known` as said."""
    return [done(plan, 1, SORT, "1 2 3"), done(plan, 2, ADD, "5", known)]


def short(plan: int, known: tuple[int, int] = GOOD) -> Fields:
    """The one step of the plan `SHORT`."""
    return done(plan, 1, SHORT, "5", known)


def wrong(plan: int) -> Fields:
    """The one step of the plan `WRONG`."""
    return done(plan, 1, WRONG, "4")


# --- Receipts


def result_of(*steps: Fields) -> Fields:
    """The result that follows from the steps."""
    parts = replayed(NETWORK, KEYS[REQUESTER], TASK, [StepReceipt.parse(step) for step in steps])
    return Result.of(carried_out(parts)[0]).body()


def told(*steps: Fields, **changes: object) -> Fields:
    """A receipt of these steps, with `changes` of the result that follows from them."""
    return receipt_of(steps, result_of(*steps) | changes)


def four_planners(cluster: int = 0) -> Fields:
    """Four planners: two of one voice, or of none if it is -1, who err; one who is right; and one without a plan."""
    known = ((8, 2, cluster), (8, 2, cluster), GOOD, GOOD)
    return planning(WRONG, WRONG, RIGHT, None, known=known, seats=4)


def _honest() -> dict[str, Fields]:
    one, two, alike = planning(RIGHT), planning(RIGHT, WRONG), planning(RIGHT, SHORT)
    apart = planning(APART)
    nobody = planners(())
    nobody.ask()
    return {
        "one planner": told(one, *right(1)),
        "steps that need nothing from each other": told(
            apart,
            done(1, 1, "lists: What is the largest of 3 1 2?", "3"),
            done(1, 2, "lists: Sort the list 2 1.", "1 2"),
            done(1, 3, ADD, "5"),
        ),
        "the plan of two planners, and that of one": told(planning(RIGHT, RIGHT, WRONG), *right(1), wrong(2)),
        "plans of one weight, by their text": told(two, wrong(1), *right(2)),
        "two plans with one answer outweigh the heaviest": told(
            planning(WRONG, RIGHT, SHORT, known=((10, 0), GOOD, GOOD)), wrong(1), short(2), *right(3)
        ),
        "four planners, of whom two share one voice and one gave no plan": told(four_planners(), wrong(1), *right(2)),
        "planners without a weight": told(planning(RIGHT, known=[NEW]), *right(1)),
        "a step failed": told(two, wrong(1), right(2)[0], failed(2, 2, ADD)),
        "a step failed, and one that does not need it was done": told(
            apart, failed(1, 1, "lists: What is the largest of 3 1 2?"), done(1, 2, "lists: Sort the list 2 1.", "1 2")
        ),
        "an item that is not there": told(one, done(1, 1, SORT, "3")),
        "nobody bid on a step": told(one, unasked(1, 1, SORT)),
        "a step was late": told(one, failed(1, 1, SORT, late=True)),
        "a step was late, and another plan was done": told(two, failed(1, 1, WRONG, late=True), *right(2)),
        "no step went out": told(two),
        "no step went out in time": told(two, outcome="deadline"),
        "a step without a weight": told(one, *right(1, known=NEW)),
        "a step without a weight, and a plan of the same answer without one": told(alike, short(1, known=NEW), *right(2)),
        "nobody gave a plan": told(planning(None, "no plan")),
        "nobody bid for a plan": told(nobody.step("no_bids")),
    }


def cases() -> list[Case]:
    """All of this subject."""
    return [signed(name, fields, None) for name, fields in _honest().items()]
