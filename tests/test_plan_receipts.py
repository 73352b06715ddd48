"""Receipts of questions that went by plans: the steps' receipts, and what they make together."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical
from protocol.constants import PLANNERS_MAX, RECEIPT_SIZE_MAX
from protocol.envelope import open_envelope, seal
from protocol.events import Deliver, Effect, RequestMade
from protocol.identity import SIGNATURE_SIZE, KeySigner
from protocol.messages import Beacon
from protocol.outcome import OutcomeKind
from protocol.planning import COMPOSITE
from protocol.receipt import Receipt, StepReceipt
from protocol.verification import Report, verify
from simnet.host import Host, Solver
from tests.support import PARAMETERS, host_of
from tests.test_core_plans import GOLD, OTHER, QUESTION, RIGHT, SPECIALISTS, planned, planner, reader, world_of
from tests.test_receipts import JUNK, Fields


@functools.cache
def made(*plans: str | None, planners: int = 0) -> tuple[bytes, KeySigner]:
    """The receipt of a question whose planners write `plans`, and its requester; of them `planners` are asked, or all."""
    world = world_of({f"p{number}": planner(plan) for number, plan in enumerate(plans)})
    receipts = []

    def observe(_: Host, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            receipts.append(effect.receipt)

    world.observer = observe
    planned(world, planners or len(plans))
    return receipts[-1], host_of(world, "asked").signer


def report(data: bytes) -> Report:
    return verify(data, [PARAMETERS])


def changed(change: Callable[[Fields], None], *plans: str | None) -> str:
    """What is said of the receipt after a change, signed by the requester all the same."""
    data, signer = made(*plans)
    fields = opened(data)
    change(fields)
    failure = report(signed(signer, fields)).failure
    assert failure is not None
    return failure


def signed(signer: KeySigner, fields: Fields) -> bytes:
    payload = canonical.encode(fields, RECEIPT_SIZE_MAX)
    return signer.sign(b"tutti/receipt/1\x00" + payload) + payload


def opened(data: bytes) -> Fields:
    fields = canonical.decode(data[SIGNATURE_SIZE:], RECEIPT_SIZE_MAX)
    assert isinstance(fields, dict)
    return fields


def bare_step(signer: KeySigner, fields: Fields, plan: int, step: int) -> Fields:
    """A step on which nobody bid: a requester can make one without anybody's help."""
    like: Fields = fields["steps"][0]
    body = open_envelope(like["transcript"][0]).body | {"plan": plan, "step": step}
    beacon = seal(signer, PARAMETERS.network, Beacon.TYPE, "beacons", body, 1, 1)
    made = {"plan": plan, "step": step, "transcript": [beacon], "views": [], "notes": [], "reason": "no_bids"}
    nothing: Fields = {"outcome": "no bids", "answer": None, "earned": False, "support": []}
    counts = dict.fromkeys(("margin", "dissent", "abstained", "coverage"), 0)
    return like | made | {"result": like["result"] | nothing | counts}


@pytest.mark.parametrize(
    "plans", [(RIGHT,), (RIGHT, RIGHT, OTHER), (OTHER, RIGHT), (None,), ("lists: Nonsense.",), (RIGHT, None)]
)
def test_receipt__of_plans_holds(plans: tuple[str | None, ...]) -> None:
    found = report(made(*plans)[0])
    assert found.failure is None, found.failure
    assert found.question == QUESTION


def slow(skill: str) -> Solver:
    """A specialist that takes its time."""
    solve = reader(skill)
    return lambda prompt, draws: replace(solve(prompt, draws), elapsed_ms=400)


@pytest.mark.parametrize(("there", "planners"), [(3, 1), (3, 2), (2, 3), (4, 4), (5, 4), (5, PLANNERS_MAX), (5, 3)])
def test_receipt__of_plans_holds_whatever_the_number_of_planners(there: int, planners: int) -> None:
    data, _ = made(*[RIGHT] * there, planners=planners)
    found = report(data)
    assert (found.failure, found.answer) == (None, GOLD)
    beacon = StepReceipt.parse(Receipt.open(data).steps[0]).transcript[0]
    assert open_envelope(beacon).body["seats"] == planners


def test_receipt__of_plans_holds_if_time_was_up_before_a_step_went_out() -> None:
    world = world_of({"a": planner(RIGHT), "b": planner(RIGHT)}, {name: slow(name) for name in SPECIALISTS})
    receipts = []

    def observe(_: Host, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            receipts.append(effect.receipt)

    world.observer = observe
    asked = host_of(world, "asked")
    # The audits that a step waits for last longer than the question has time.
    world.after(0, asked, RequestMade(b"late", QUESTION, COMPOSITE, planners=2, deadline_ms=1_000))
    world.run(until=lambda: b"late" in asked.outcomes)
    assert asked.outcomes[b"late"].kind is OutcomeKind.DEADLINE
    receipt = Receipt.open(receipts[-1])
    assert [(step["plan"], step["step"]) for step in receipt.steps] == [(0, 0)]
    assert receipt.result["outcome"] == OutcomeKind.DEADLINE.value
    assert report(receipts[-1]).failure is None


def test_receipt__of_plans_says_which_step_each_statement_is_of() -> None:
    found = report(made(RIGHT)[0])
    assert found.answer == GOLD
    for name in ("its planning", "step 1 of plan 1", "step 4 of plan 1"):
        assert any(line.startswith(f"{name}: each answer is the one that its node had committed to") for line in found.proven)
    assert "the plans are those that the planners opened (1 plan)" in found.proven


def other_question_of_a_step(fields: Fields) -> None:
    """Ask something else, with a beacon that binds it; executors' bids name the one that they saw."""
    fields["steps"][1]["question"] = "What is 1 + 1?"


def step_left_out(fields: Fields) -> None:
    del fields["steps"][1]


def last_step_left_out(fields: Fields) -> None:
    del fields["steps"][-1]


def planning_left_out(fields: Fields) -> None:
    del fields["steps"][0]


def steps_in_another_order(fields: Fields) -> None:
    fields["steps"].reverse()


def step_of_no_plan(fields: Fields) -> None:
    fields["steps"][-1]["plan"] = 7


def other_answer(fields: Fields) -> None:
    fields["result"]["answer"] = "1"


def steps_exchanged(fields: Fields) -> None:
    first, second = fields["steps"][1], fields["steps"][2]
    first["step"], second["step"] = second["step"], first["step"]
    fields["steps"][1], fields["steps"][2] = second, first


LIES = [
    (other_question_of_a_step, "step 1 of plan 1: message 1 .*binds another question"),
    (step_left_out, "step 3 of plan 1 asks something else than its plan says"),
    (last_step_left_out, "it gives outcome as 'answered'|it gives answer as"),
    (planning_left_out, "do not begin with that of plan 0"),
    (steps_in_another_order, "are not in order"),
    (step_of_no_plan, "belongs to another task or step"),
    (other_answer, "it gives answer as '1'"),
    (steps_exchanged, "belongs to another task or step"),
]


@pytest.mark.parametrize(("lie", "named"), LIES, ids=lambda value: getattr(value, "__name__", "-"))
def test_lie__about_plans_is_named(lie: Callable[[Fields], None], named: str) -> None:
    found = changed(lie, RIGHT)
    assert re.search(named, found), found


def test_step__whose_beacon_asks_for_another_skill_than_its_plan_is_named() -> None:
    """The bids name the beacon that their bidders saw."""
    data, signer = made(RIGHT, OTHER)
    fields = opened(data)
    assert report(data).failure is None
    beacon = open_envelope(fields["steps"][1]["transcript"][0])
    again = seal(signer, PARAMETERS.network, Beacon.TYPE, "beacons", beacon.body | {"skill": "arith"}, 1, 1)
    fields["steps"][1]["transcript"][0] = again
    failure = report(signed(signer, fields)).failure
    assert failure is not None
    assert "bids on another beacon" in failure


@pytest.mark.parametrize("place", [(0, 1), (0, 63), (1, 0), (15, 0)])
@pytest.mark.parametrize("plan", [RIGHT, None])
def test_later_step__of_plan_0_or_step_0_is_refused(plan: str | None, place: tuple[int, int]) -> None:
    data, signer = made(plan)
    fields = opened(data)
    fields["steps"].append(bare_step(signer, fields, *place))
    fields["steps"].sort(key=lambda step: (step["plan"], step["step"]))
    failure = report(signed(signer, fields)).failure
    assert failure == "one of its later steps has plan 0 or step 0, which only that of the planners has"


def test_beacon__of_a_question_has_as_many_seats_as_any_other() -> None:
    data, signer = made(RIGHT)
    fields = opened(data)
    beacon = open_envelope(fields["steps"][1]["transcript"][0])
    again = seal(signer, PARAMETERS.network, Beacon.TYPE, "beacons", beacon.body | {"seats": 1}, 1, 1)
    fields["steps"][1]["transcript"][0] = again
    failure = report(signed(signer, fields)).failure
    assert failure is not None
    assert "has 1 seats where a question has 3" in failure


def edit(draw: st.DataObject, place: Any, signer: KeySigner) -> None:  # noqa: ANN401  maps and lists of anything
    """Change something somewhere below `place`: a value, its place in a list, or a field of an envelope of the requester's."""
    key_above = None
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw.draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw.draw(st.integers(0, 4)):
            place, key_above = inner, key
            continue
        if key_above == "transcript":
            envelope = open_envelope(inner)
            name = draw.draw(st.sampled_from(sorted(envelope.body)))
            body: Fields = envelope.body | {name: draw.draw(JUNK | st.integers(0, 20))}
            place[key] = seal(signer, PARAMETERS.network, envelope.type, envelope.to, body, 1, 1)
        elif isinstance(place, list) and draw.draw(st.booleans()):
            other = draw.draw(st.integers(0, len(place) - 1))
            place[key], place[other] = place[other], place[key]
        elif isinstance(place, list) and draw.draw(st.booleans()):
            place.insert(key, inner) if draw.draw(st.booleans()) else place.pop(key)
        else:
            place[key] = draw.draw(JUNK | st.integers(0, 20))
        return


@given(st.data())
def test_receipt__of_plans_that_was_edited_and_signed_anew_ends_in_a_report(draw: st.DataObject) -> None:
    """Whatever its requester makes of it, verification raises nothing and says at most one line of what does not hold."""
    data, signer = made(*draw.draw(st.sampled_from([(RIGHT,), (OTHER, RIGHT), (None,)])))
    fields = opened(data)
    if draw.draw(st.booleans()):
        fields["steps"].append(bare_step(signer, fields, draw.draw(st.integers(0, 2)), draw.draw(st.integers(0, 5))))
        if draw.draw(st.booleans()):
            fields["steps"].sort(key=lambda step: (step["plan"], step["step"]))
    else:
        edit(draw, fields, signer)
    found = report(signed(signer, fields))
    assert "\n" not in (found.failure or "")


@given(st.data())
def test_receipt__of_plans_with_a_byte_changed_does_not_hold(draw: st.DataObject) -> None:
    data = bytearray(made(RIGHT)[0])
    data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    assert report(bytes(data)).failure is not None
