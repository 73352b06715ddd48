"""Swarm testing: random scenarios from seeds, until something that must hold does not; then the smallest that shows it.

Each scenario draws which faults and adversaries there are at all before it draws how many (Groce et al., "Swarm Testing", ISSTA
2012): a run with a few kinds of trouble reaches what one with all kinds at once never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from protocol.parameters import preset
from simnet import report, running, toml
from simnet.checkers import all_checkers
from simnet.checking import Stopped, Violation
from simnet.draws import Draws
from simnet.regions import REGIONS
from simnet.scenario import WHOLE_POLICIES, Policy, Scenario
from simnet.world import CoreError, World

# The checker that an error of a core counts as.
NO_ERROR: Final = "no-error"
_SHRINKS_MAX: Final = 40
_FEW: Final = 6
# A flood is dear to run, and only one of many troubles.
_SELDOM: Final = {"flooder": 20}
_DEADLINES_MS: Final = (60_000, 30_000, 10_000, 4_000)
_MODELS: Final = (
    ("arith", "lists"),
    ("generalist",),
    ("generalist", "arith", "lists", "text", "logic"),
    ("logic", "generalist"),
)
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
    duration_s, nodes = 25 + draws.below(25), 4 + draws.below(6)
    fields: dict[str, Any] = {
        "about": "drawn by hunt",
        "nodes": nodes,
        "duration_s": duration_s,
        "settle_s": 75,
        # Whoever asks examines all its peers first, so a run in which all of them ask is a dear one.
        "recovers_s": 75 if draws.below(6) else 30,
        "join_s": 5,
        "reach": {"open": 7, "nat": 0 if draws.below(3) else 3},
        "directory": bool(draws.below(2)),
        "bootstraps": 1 + draws.below(2),
        "links": {"jitter_permille": draws.below(500), "loss_permille": draws.below(100) if draws.below(2) else 0},
        "workload": {
            "questions_per_minute": 10 + draws.below(80),
            "askers": 1 + draws.below(2),
            "from_s": 5,
            "deadline_ms": _DEADLINES_MS[draws.below(len(_DEADLINES_MS))],
        },
    }
    if draws.below(3):
        # Few kinds of models are often of one weight, and often of two minds.
        models = _MODELS[draws.below(len(_MODELS))]
        capped = draws.below(3) == 0
        fields["population"] = [{"model": model, "requests_per_hour": 5 if capped else 0} for model in models]
    kinds = [kind for kind in _FAULTS if draws.below(3) == 0]
    fields["faults"] = [_fault(kind, duration_s, draws) for kind in kinds for _ in range(1 + draws.below(2))]
    known, first = get_args(Policy), draws.below(len(get_args(Policy)))
    policies = [each for each in (*known[first:], *known[:first]) if draws.below(_SELDOM.get(each, 5)) == 0][: nodes // 3]
    fields["adversaries"] = [
        {
            "policy": policy,
            # One each, or two: a share of so few nodes is easily none.
            "share_permille": -(-1_000 * (1 + draws.below(2) if nodes > _FEW else 1) // nodes),
            **({} if policy in WHOLE_POLICIES else {"lie_permille": 100 + draws.below(901)}),
        }
        for policy in policies
    ]
    if draws.below(3) == 0:
        fields["churn"] = {"median_session_s": 10 + draws.below(50), "median_absence_s": 5 + draws.below(20), "from_s": 15}
    return Scenario.read(fields, "hunted")


def _fault(kind: str, duration_s: int, draws: Draws) -> dict[str, Any]:
    at_s = 10 + draws.below(duration_s - 20)
    fault: dict[str, Any] = {"kind": kind, "at_s": at_s, "lasts_s": 1 + draws.below(duration_s - at_s)}
    more: dict[str, dict[str, Any]] = {
        "partition": {"regions": [REGIONS[draws.below(len(REGIONS))]], "one_way": bool(draws.below(2))},
        "crash": {
            "share_permille": 300 + draws.below(600),
            "silent": bool(draws.below(2)),
            "loses_writes": bool(draws.below(2)),
        },
        "gray": {"share_permille": 300 + draws.below(600), "factor": 2 + draws.below(200)},
        "loss": {"permille": 10 + draws.below(300), "delay_ms": draws.below(2_000)},
        "duplicate": {"permille": 10 + draws.below(991), "late_ms": draws.below(200_000)},
        "skew": {"share_permille": 300 + draws.below(600), "up_to_ms": 1_000 + draws.below(60_000)},
        "eclipse": {},
    }
    return fault | more[kind]


def violation_of(
    scenario: Scenario, seed: int, checker: str | None = None, progress: Callable[[World], None] | None = None
) -> Violation | None:
    """The first violation of a run, which ends there, or that of one checker; an error that a core raised counts as one."""
    watching = all_checkers(preset(scenario.network))
    for each in watching:
        each.stops = checker in (None, each.name)
    try:
        running.run(scenario, seed, progress, watching)
    except Stopped as stopped:
        return stopped.violation
    except CoreError as error:
        return Violation("safety", NO_ERROR, 0, "", str(error)) if checker in (None, NO_ERROR) else None
    return None


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
