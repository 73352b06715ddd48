"""Receipts of questions that went by plans: the steps' receipts, and what they make together."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

from protocol import canonical
from protocol.constants import RECEIPT_SIZE_MAX
from protocol.envelope import open_envelope, seal
from protocol.events import Deliver, Effect
from protocol.identity import SIGNATURE_SIZE, KeySigner
from protocol.messages import Beacon
from protocol.verification import Report, verify
from simnet.host import Host
from tests.support import PARAMETERS, host_of
from tests.test_core_plans import GOLD, OTHER, QUESTION, RIGHT, planned, planner, world_of
from tests.test_receipts import Fields


@functools.cache
def made(*plans: str | None) -> tuple[bytes, KeySigner]:
    """The receipt of a question whose planners write `plans`, and its requester."""
    world = world_of({f"p{number}": planner(plan) for number, plan in enumerate(plans)})
    receipts = []

    def observe(_: Host, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            receipts.append(effect.receipt)

    world.observer = observe
    planned(world, planners=len(plans))
    return receipts[-1], host_of(world, "asked").signer


def report(data: bytes) -> Report:
    return verify(data, [PARAMETERS])


def changed(change: Callable[[Fields], None], *plans: str | None) -> str:
    """What is said of the receipt after a change, signed by the requester all the same."""
    data, signer = made(*plans)
    fields = canonical.decode(data[SIGNATURE_SIZE:], RECEIPT_SIZE_MAX)
    assert isinstance(fields, dict)
    change(fields)
    payload = canonical.encode(fields, RECEIPT_SIZE_MAX)
    failure = report(signer.sign(b"tutti/receipt/1\x00" + payload) + payload).failure
    assert failure is not None
    return failure


@pytest.mark.parametrize(
    "plans", [(RIGHT,), (RIGHT, RIGHT, OTHER), (OTHER, RIGHT), (None,), ("lists: Nonsense.",), (RIGHT, None)]
)
def test_receipt__of_plans_holds(plans: tuple[str | None, ...]) -> None:
    found = report(made(*plans)[0])
    assert found.failure is None, found.failure
    assert found.question == QUESTION


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
    fields: Any = canonical.decode(data[SIGNATURE_SIZE:], RECEIPT_SIZE_MAX)
    assert report(data).failure is None
    beacon = open_envelope(fields["steps"][1]["transcript"][0])
    again = seal(signer, PARAMETERS.network, Beacon.TYPE, "beacons", beacon.body | {"skill": "arith"}, 1, 1)
    fields["steps"][1]["transcript"][0] = again
    payload = canonical.encode(fields, RECEIPT_SIZE_MAX)
    failure = report(signer.sign(b"tutti/receipt/1\x00" + payload) + payload).failure
    assert failure is not None
    assert "bids on another beacon" in failure
