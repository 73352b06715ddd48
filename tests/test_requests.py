"""What a question requires, and of whom it is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol import exercises
from protocol.constants import CALIBRATION_MS_MAX
from protocol.events import RequestMade
from protocol.messages import Beacon
from protocol.planning import COMPOSITE, PLANNER
from tests.support import REQUIREMENT_MAP, Bench, evidence, peers, record, request_id, sent

COMPOSED = exercises.generate(COMPOSITE, 1, 1).text


def skills(bench: Bench, planners: int | None = None, refine: int = 0) -> list[str]:
    """Of which skills beacons ask for the composed question."""
    effects = bench.step(RequestMade(request_id(COMPOSED), COMPOSED, refine=refine, planners=planners))
    return [beacon.skill for _, beacon in sent(effects + bench.wait(CALIBRATION_MS_MAX), Beacon)]


def offering(*offered: str) -> Bench:
    """A core that knows a peer for each skill well enough to want no audits."""
    others = peers(len(offered))
    rows = [row for peer, skill in zip(others, offered, strict=True) for row in evidence({peer.public_key: 9}, skill)]
    bench = Bench(restored=rows)
    for peer, skill in zip(others, offered, strict=True):
        bench.join(peer, replace(record(skill), sequence=1))
    return bench


def test_question_of_several_steps__goes_to_planners_where_there_are_any_unless_it_must_not() -> None:
    assert REQUIREMENT_MAP(COMPOSED).skill == COMPOSITE
    assert skills(offering(PLANNER, "arith")) == [PLANNER]
    assert skills(offering(PLANNER, COMPOSITE)) == [PLANNER]


@pytest.mark.parametrize(("planners", "refine"), [(0, 0), (None, 1)])
def test_question_of_several_steps__that_must_not_be_planned_is_asked_as_one(planners: int | None, refine: int) -> None:
    # Of who answers such questions, or else of those of the next best skill.
    assert skills(offering(PLANNER, COMPOSITE), planners, refine) == [COMPOSITE]
    assert COMPOSITE not in skills(offering(PLANNER, "arith"), planners, refine)


def test_question_of_several_steps__is_asked_as_one_where_nobody_plans() -> None:
    assert skills(offering(COMPOSITE)) == [COMPOSITE]
    assert skills(offering("arith")) == [REQUIREMENT_MAP(COMPOSED, without=COMPOSITE).skill]
