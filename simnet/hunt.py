"""Swarm testing: random scenarios from seeds, until something that must hold does not; then the smallest that shows it.

Each scenario draws which faults and adversaries there are at all before it draws how many (Groce et al., "Swarm Testing", ISSTA
2012): a run with a few kinds of trouble reaches what one with all kinds at once never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from simnet import report, running, toml
from simnet.checkers import Violation
from simnet.draws import Draws
from simnet.regions import REGIONS
from simnet.scenario import WHOLE_POLICIES, Policy, Scenario
from simnet.world import CoreError

_SHRINKS_MAX: Final = 40
_FAULTS: Final = ("partition", "crash", "gray", "loss", "duplicate", "skew", "eclipse")


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, and the scenario and seed that show it."""

    scenario: Scenario
    seed: int
    violation: Violation

    @property
    def command(self) -> str:
        """What shows it again."""
        return report.command("baseline", self.seed, settings_of(self.scenario))


def settings_of(scenario: Scenario) -> list[str]:
    """What makes this scenario of `baseline`, as `--set` takes it."""
    base, mine = (each.model_dump(mode="json", exclude={"name", "about"}) for each in (Scenario.load("baseline"), scenario))
    return [f"{key}={toml.value(value)}" for key, value in mine.items() if value != base[key]]


def drawn(seed: int) -> Scenario:
    """A random scenario."""
    draws = Draws(seed, "hunt")
    duration_s = 40 + draws.below(80)
    fields: dict[str, Any] = {
        "about": "drawn by hunt",
        "nodes": 5 + draws.below(20),
        "duration_s": duration_s,
        "settle_s": 60,
        "join_s": 5,
        "reach": {"open": 7, "nat": 0 if draws.below(3) else 3},
        "directory": bool(draws.below(2)),
        "links": {"jitter_permille": draws.below(500), "loss_permille": draws.below(100) if draws.below(2) else 0},
        "workload": {"questions_per_minute": 10 + draws.below(120), "askers": 1 + draws.below(5), "from_s": 5},
    }
    kinds = [kind for kind in _FAULTS if draws.below(3) == 0]
    fields["faults"] = [_fault(kind, duration_s, draws) for kind in kinds for _ in range(1 + draws.below(2))]
    policies = [policy for policy in get_args(Policy) if draws.below(6) == 0][:3]
    fields["adversaries"] = [
        {
            "policy": policy,
            "share_permille": 50 + draws.below(200),
            **({} if policy in WHOLE_POLICIES else {"lie_permille": 100 + draws.below(901)}),
        }
        for policy in policies
    ]
    if draws.below(3) == 0:
        fields["churn"] = {"median_session_s": 10 + draws.below(60), "median_absence_s": 5 + draws.below(20), "from_s": 15}
    return Scenario.read(fields, "hunted")


def _fault(kind: str, duration_s: int, draws: Draws) -> dict[str, Any]:
    at_s = 10 + draws.below(duration_s - 20)
    fault: dict[str, Any] = {"kind": kind, "at_s": at_s, "lasts_s": 1 + draws.below(duration_s - at_s)}
    more: dict[str, dict[str, Any]] = {
        "partition": {"regions": [REGIONS[draws.below(len(REGIONS))]], "one_way": bool(draws.below(2))},
        "crash": {
            "share_permille": 100 + draws.below(500),
            "silent": bool(draws.below(2)),
            "loses_writes": bool(draws.below(2)),
        },
        "gray": {"share_permille": 100 + draws.below(500), "factor": 2 + draws.below(200)},
        "loss": {"permille": 10 + draws.below(300), "delay_ms": draws.below(2_000)},
        "duplicate": {"permille": 10 + draws.below(991), "late_ms": draws.below(200_000)},
        "skew": {"share_permille": 100 + draws.below(500), "up_to_ms": 1_000 + draws.below(60_000)},
        "eclipse": {},
    }
    return fault | more[kind]


def violation_of(scenario: Scenario, seed: int, checker: str | None = None) -> Violation | None:
    """The first violation of a run, of one checker if it is named; an error that a core raised counts as one."""
    try:
        found = running.run(scenario, seed).violations
    except CoreError as error:
        found = (Violation("safety", "no-error", 0, "", str(error)),)
    return next((each for each in found if checker is None or each.checker == checker), None)


def shrunk(found: Found, look: Callable[[Scenario, int, str], Violation | None] = violation_of) -> Found:
    """A smaller scenario that violates the same: as long as something can be taken away, it is."""
    tries = 0
    progress = True
    while progress and tries < _SHRINKS_MAX:
        progress = False
        for smaller in _smaller(found.scenario):
            tries += 1
            violation = look(smaller, found.seed, found.violation.checker)
            if violation is not None:
                found, progress = Found(smaller, found.seed, violation), True
                break
            if tries >= _SHRINKS_MAX:
                break
    return found


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with a bit less in them, the largest steps first."""
    fields = scenario.model_dump(mode="json", exclude={"name"})

    def without(**change: Any) -> Scenario:  # noqa: ANN401  JSON
        return Scenario.read({**fields, **change}, scenario.name)

    for key in ("faults", "adversaries"):
        for number in range(len(fields[key])):
            yield without(**{key: fields[key][:number] + fields[key][number + 1 :]})
    if fields["churn"] is not None:
        yield without(churn=None)
    if scenario.nodes > 4:  # noqa: PLR2004  fewer have no committee
        yield without(nodes=max(4, scenario.nodes // 2))
        yield without(nodes=scenario.nodes - 1)
    if fields["links"]["loss_permille"]:
        yield without(links={**fields["links"], "loss_permille": 0})
    if scenario.workload.questions_per_minute > 1:
        yield without(workload={**fields["workload"], "questions_per_minute": scenario.workload.questions_per_minute // 2})
    last_s = max([fault.ends_s for fault in scenario.faults] + [scenario.workload.from_s + 1])
    if scenario.duration_s > last_s:
        yield without(duration_s=max(last_s, scenario.duration_s * 2 // 3))


def hunted(first_seed: int, go_on: Callable[[int], bool]) -> Found | None:
    """Run random scenarios from `first_seed` on as long as `go_on` says, until one violates something; that one, shrunk."""
    seed = first_seed
    while go_on(seed):
        scenario = drawn(seed)
        violation = violation_of(scenario, seed)
        if violation is not None:
            return shrunk(Found(scenario, seed, violation))
        seed += 1
    return None
