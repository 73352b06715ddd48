"""Receipts with one lie each, that their requester signed all the same: specs/11-receipt.md."""

from __future__ import annotations

from typing import Any, Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import BEACON_ID, KEYS, TASK
from contrib.vectors.receipts import SCRIPT, TEXTS, Act, check_receipt, judging, revising, signed, told, written
from contrib.vectors.stories import Story
from protocol.messages import Progress

DOCUMENT: Final = "11-receipt.md"
SHARED: Final = True
OPERATIONS: Final[dict[str, Operation]] = {"receipt": check_receipt}


def _then(name: str, act: Act) -> dict[str, Act | None]:
    """What the script does at `name`, and another act after it."""

    def both(story: Story) -> None:
        SCRIPT[name](story)
        act(story)

    return {name.replace(" ", "_"): both}


def _exchanged(first: str, second: str) -> dict[str, Act | None]:
    return {first.replace(" ", "_"): SCRIPT[second], second.replace(" ", "_"): SCRIPT[first]}


def _after(story: Story, act: Act) -> Story:
    act(story)
    return story


def _judging_but_one(story: Story) -> None:
    judging(story)
    del story.transcript[-2]


def _lies() -> dict[str, Story]:
    """By what the requester does that it may not do; each step after it is as honest as it can be."""
    return {
        "no beacon": told(**_then("ask", lambda story: story.transcript.clear())),
        "a beacon to somebody": told("ask", ask=lambda story: story.ask(to="records")),
        "two beacons": told("ask", **_then("ask", lambda story: story.ask())),
        "a beacon for another question": told("ask", ask=lambda story: story.ask(question="What is 3 + 5?")),
        "a bid on another beacon": told("bid 3", bid_3=lambda story: story.bid(3, beacon=BEACON_ID)),
        "two bids of one bidder": told("bid 3", **_then("bid 3", lambda story: story.bid(3))),
        "an acknowledged bid is left out": told(bid_3=None, acknowledge_3=lambda story: story.acknowledge(3, bid=BEACON_ID)),
        "a bid acknowledged by another": told(acknowledge_3=lambda story: story.acknowledge(3, by=7)),
        "a bid acknowledged after the awards": told(acknowledge_3=None, **_then("award 2", SCRIPT["acknowledge 3"])),
        "a view without an acknowledged bid": told("award 1", look=lambda story: story.look(without=3)),
        "a view that the receipt lacks": told("award 1", **_then("look", lambda story: story.views.clear())),
        "a view too many": told(**_then("look", lambda story: story.views.append(b"\x80"))),
        "a view with newcomer seats": told("award 1", look=lambda story: story.look(newcomer_seats=3)),
        "a view with one option": told("award 1", look=lambda story: story.look(options=1)),
        "a view with another number of options": told(look=lambda story: story.look(options=9)),
        "a view with a field too many": told("award 1", look=lambda story: story.look(salt=b"")),
        "an award out of turn": told(
            "award 0", award_1=lambda story: story.award(0, 0), award_0=lambda story: story.award(1, 1)
        ),
        "a reserve is asked first": told(
            "award 2",
            award_2=lambda story: story.award(3, 2),
            commit_2=lambda story: story.commit(3, "8"),
            close=lambda story: story.close(1, 0, 3),
            reveal_2=lambda story: story.reveal(3, "8"),
        ),
        "a seat too few": told(award_2=None, commit_2=None, close=lambda story: story.close(1, 0), reveal_2=None),
        "a seat too many": told("award 2", **_then("award 2", lambda story: story.award(3, 3))),
        "a seat number is passed over": told("award 2", award_2=lambda story: story.award(2, 3)),
        "one seat twice": told("award 0", award_0=lambda story: story.award(0, 0)),
        "one bid twice": told("award 0", award_0=lambda story: story.award(1, 1)),
        "an award on another beacon": told("award 2", award_2=lambda story: story.award(2, 2, beacon=BEACON_ID)),
        "an award of another bid": told("award 2", award_2=lambda story: story.award(2, 2, bid=BEACON_ID)),
        "an award of another question": told("award 2", award_2=lambda story: story.award(2, 2, question="What is 3 + 5?")),
        "an award with another nonce": told("award 2", award_2=lambda story: story.award(2, 2, nonce=bytes(32))),
        "a commitment for another round": told("commit 2", commit_2=lambda story: story.commit(2, "8", number=1)),
        "a commitment by another": told("commit 2", commit_2=lambda story: story.commit(2, "8", by=4)),
        "two commitments of one": told("commit 2", **_then("commit 2", lambda story: story.commit(2, "7"))),
        "accepted after the commitment": told("commit 1", accept_1=None, **_then("commit 1", SCRIPT["accept 1"])),
        "accepted twice": told("accept 1", **_then("accept 1", SCRIPT["accept 1"])),
        "a set without one who committed": told("close", close=lambda story: story.close(1, 0), reveal_2=None),
        "a set of another round": told("close", close=lambda story: story.close(1, 0, 2, number=1)),
        "two sets of one round": told("close", **_then("close", lambda story: story.close(1, 0))),
        "a set for somebody who was not asked": told("close", **_then("close", lambda story: story.close(1, 0, 2, to=[3]))),
        "a commitment after the set": told(commit_2=None, close=lambda story: story.close(1, 0), reveal_2=SCRIPT["commit 2"]),
        "an opening before the set": told(**_exchanged("close", "reveal 2")),
        "an opening twice": told(end=lambda story: story.transcript.append(story.transcript[-1])),
        "an opening of another round": told(reveal_2=lambda story: story.reveal(2, "8", number=1)),
        "an opening is left out": told(reveal_2=None),
        "an envelope of another type": told(
            **_then("accept 1", lambda story: story.say(2, KEYS[0], Progress(TASK, 0, 0, story.awards[1])))
        ),
        "somebody is sent away who matters": told(
            reveal_2=lambda story: story.note("unneeded", story.awards[2]), reveal_0=None, end=SCRIPT["reveal 0"]
        ),
        "a judge is passed over": _after(written(), _judging_but_one),
        "a judgement that nobody asked for": _after(written(), lambda story: story.judgement(1, 0, "first")),
        "a judge is shown another text": _after(written(), lambda story: judging(story, TEXTS | {2: "Perhaps 7."})),
        "a revision that was not wanted": _after(written(), lambda story: revising(story, TEXTS, 1)),
        "a revision in view of another answer": _after(
            written(refine=1), lambda story: revising(story, TEXTS | {2: "Perhaps 7."}, 1)
        ),
        "an award that ended ends again": told(end=lambda story: story.note("expired", story.awards[1])),
        "an award that nobody made expires": told(end=lambda story: story.note("expired", BEACON_ID)),
        "who never bid is gone": told(end=lambda story: story.note("gone", KEYS[6])),
        "who is gone is gone again": told(end=lambda story: story.notes.extend([(23, "gone", KEYS[4]), (23, "gone", KEYS[4])])),
        "notes out of order": told(end=lambda story: story.notes.extend([(9, "gone", KEYS[4]), (8, "gone", KEYS[3])])),
    }


# --- Fields that do not follow


def _results() -> list[Case]:
    honest = told().receipt()
    step, result = honest["steps"][0], honest["result"]
    cases = []
    for name, value in {
        "answer": "8",
        "outcome": "unearned",
        "voted": False,
        "earned": False,
        "margin": 999,
        "support": [],
        "dissent": 0,
        "abstained": 1,
        "coverage": 999,
    }.items():
        claimed = result | {name: value}
        cases.append(signed(f"another {name}", honest | {"steps": [step | {"result": claimed}], "result": claimed}))
    other = result | {"answer": "8"}
    changed: dict[str, dict[str, Any]] = {
        "the task's result is not its step's": {"result": other},
        "another requester": {"requester": KEYS[1]},
        "another network": {"network": bytes(32)},
        "another task": {"task": bytes(16)},
        "no steps": {"steps": []},
        "one step twice": {"steps": [step, step]},
        "a field too many": {"hops": 1},
        "a salt of 31 bytes": {"salt": bytes(31)},
        "a date below zero": {"made_ms": -1},
        "another question in the step": {"steps": [step | {"question": "What is 3 + 5?"}]},
        "another nonce in the step": {"steps": [step | {"nonce": bytes(32)}]},
        "another number of the step": {"steps": [step | {"step": 1}]},
        "another reason": {"steps": [step | {"reason": "no_bids"}]},
        "an unknown reason": {"steps": [step | {"reason": "bored"}]},
        "a field of the step too many": {"steps": [step | {"hops": 1}]},
        "the transcript's end is missing": {"steps": [step | {"transcript": step["transcript"][:-1]}]},
        "an empty transcript": {"steps": [step | {"transcript": []}]},
    }
    cases += [signed(name, honest | change) for name, change in changed.items()]
    return [*cases, signed("signed by another", honest, by=1)]


def cases() -> list[Case]:
    """All of this subject."""
    lies = [signed(name, story.receipt()) for name, story in _lies().items()]
    return [*lies, *_results()]
