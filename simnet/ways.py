"""The policies to compare with: how each chooses, and what it is shown at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from simnet.adversaries import Adversary
from simnet.desk import Desk
from simnet.host import Host
from simnet.policies import Policy, Random, Ranked, RoundRobin, Symphony, SymphonyCoord, Tutti
from simnet.solvers import Model

Budget: TypeAlias = Literal["one answer", "our answers", "our answers and audits"]
ONE: Final = "one answer"
ANSWERS: Final = "our answers"
ALL: Final = "our answers and audits"


Truth: TypeAlias = Mapping[bytes, Mapping[str, int]]
"""How often each node is right in each skill, in thousandths."""


@dataclass(frozen=True, slots=True)
class Way:
    """A policy to compare with: how its desks choose, and which budgets it is shown at."""

    name: str
    about: str
    policy: Callable[[Truth, Desk], Policy]
    budgets: tuple[Budget, ...]
    # Whether it knows what nobody can know.
    hindsight: bool = False
    bids: bool = False
    repeats: bool = False
    hub: bool = False
    audits: bool = False
    degraded: bool = False


def _over_all(truth: Truth, bidder: bytes, _: str) -> int:
    return -sum(truth[bidder].values())


def _in_skill(truth: Truth, bidder: bytes, skill: str) -> int:
    return -truth[bidder].get(skill, 0)


def _ranked(by: Callable[[Truth, bytes, str], int], truth: Truth, desk: Desk) -> Policy:
    return Ranked(lambda bidder, beacon: by(truth, bidder, desk.skill_of(beacon)))


def truth_of(host: Host) -> Mapping[str, int]:
    """How often a node is right, whatever it says of itself; of one that breaks the rules on purpose, never."""
    assert isinstance(host.solver, Model)
    return {} if isinstance(host, Adversary) else host.solver.kind.skills


_EACH: Final[tuple[Budget, ...]] = (ONE, ANSWERS, ALL)
WAYS: Final = (
    Way("random", "by lot among those that say they can; plurality", lambda *_: Random(), _EACH),
    Way("round robin", "in turn among those that say they can; plurality", lambda *_: RoundRobin(), _EACH),
    Way(
        "best single node",
        "the node that is best over all skills, known in hindsight",
        partial(_ranked, _over_all),
        (ONE,),
        hindsight=True,
    ),
    Way(
        "self-consistency",
        "the best single node asked again and again; plurality",
        partial(_ranked, _over_all),
        (ANSWERS, ALL),
        hindsight=True,
        repeats=True,
    ),
    Way(
        "best node a skill",
        "the node that is best in the skill, known in hindsight",
        partial(_ranked, _in_skill),
        (ONE,),
        hindsight=True,
    ),
    Way(
        "Symphony",
        "the nearest self-declared vectors of those that offer; votes weigh their score",
        lambda _, desk: Symphony(desk.declared, desk.required),
        _EACH,
        bids=True,
    ),
    Way(
        "Symphony-Coord",
        "likeness, success and stability, then LinUCB, at one orchestrator; plurality",
        lambda _, desk: SymphonyCoord(desk.declared, desk.required),
        _EACH,
        bids=True,
        hub=True,
    ),
    Way(
        "central",
        "one orchestrator that measures everybody with as many audits as ours; the best, and a weighted vote",
        lambda *_: Tutti(),
        (ONE, ANSWERS),
        hub=True,
        audits=True,
    ),
    Way(
        "central, degraded",
        "the same on a machine that hears nothing in 30 of every 90 seconds, and else everything a quarter second late",
        lambda *_: Tutti(),
        (ANSWERS,),
        hub=True,
        audits=True,
        degraded=True,
    ),
)
