"""What a comparison of policies found: how each stands under each condition, and where ours loses."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from simnet import compare
from simnet.compare import Job, Question, Row
from simnet.conditions import CONDITIONS, FROM_S
from simnet.report import interval
from simnet.running import source_digest
from simnet.ways import WAYS

# Of the questions the first third is cold and the last is warm: the protocol begins to audit with its first question.
COLD, WARM = "cold", "warm"
WINDOWS: Final[Mapping[str, int]] = MappingProxyType({COLD: 0, WARM: 2})
_THIRDS: Final = 3
# Two-sided 95 % of the normal distribution.
_Z: Final = 1.959964
_HINDSIGHT: Final = frozenset(way.name for way in WAYS if way.hindsight)


@dataclass(frozen=True, slots=True)
class Window:
    """A policy's questions in a part of all runs of a condition: how many, how many right, and the share with its interval.

    `lead` is how many points it has more of them right than ours, question by question, with its interval. Latencies are of all
    questions, those without an answer at their deadline. `doubted` are the wrong answers that ours itself calls unearned.
    """

    questions: int
    right: int
    doubted: int
    accuracy: float
    low: float
    high: float
    lead: float
    lead_low: float
    lead_high: float
    p50_ms: int
    p95_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy at a budget under a condition, over all seeds; costs are means a question, over all questions.

    `messages` and `kilobytes` are what a question causes, those with `_all` everything that went over the wire.
    """

    condition: str
    policy: str
    budget: str
    hindsight: bool
    windows: Mapping[str, Window]
    tokens: float
    tokens_all: float
    messages: float
    messages_all: float
    kilobytes: float
    kilobytes_all: float
    fairness: float


@dataclass(frozen=True, slots=True)
class Loss:
    """Where another policy is beyond doubt more right than ours, or as right and cheaper."""

    condition: str
    window: str
    measure: str
    ours: float
    policy: str
    budget: str
    hindsight: bool
    theirs: float
    # Of accuracy, the lead in points with its interval; None of a cost.
    lead: tuple[float, float, float] | None = None


# The costs of a question, by what they are called: what they are of a standing, and whether less is better.
COSTS: Final[Mapping[str, tuple[Callable[[Standing], float], bool]]] = MappingProxyType(
    {
        "tokens": (lambda each: each.tokens_all, True),
        "messages": (lambda each: each.messages_all, True),
        "kilobytes": (lambda each: each.kilobytes_all, True),
        "p50 latency, ms": (lambda each: each.windows[WARM].p50_ms, True),
        "p95 latency, ms": (lambda each: each.windows[WARM].p95_ms, True),
        "fairness of load": (lambda each: each.fairness, False),
    }
)
ACCURACY: Final = "accuracy"
# Why ours loses where it does, by measure; shown if it does.
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"{ACCURACY}, {COLD}": (
            "Nobody has earned a weight yet, so the majority of newcomers decides; a question waits for audits 1.5 seconds at "
            "most. The protocol marks such answers as unearned. A hub pools one book of audits for all askers, where ours "
            "keeps one for each, and what is known in hindsight needs no audits at all."
        ),
        f"{ACCURACY}, {WARM}": (
            "A beacon closes as soon as a committee of those who earned some weight has bid. Those are the nearest and not the "
            "best: bids of better nodes far away come too late to be ranked, and two mediocre votes outweigh a good one. "
            "Liars who are right half of the time keep some weight, and ten audits are not always enough to see that they err "
            "alike. And what ours spends on audits buys no votes: where everybody is honest, more voices are better."
        ),
        "tokens": (
            "Every asker audits for itself, ten times a node and skill of its panel, where others trust. That is paid once, "
            "and these runs are short."
        ),
        "messages": (
            "A beacon goes to everybody by gossip, several copies each; every bid is acknowledged, every answer sealed and "
            "opened, every ledger followed."
        ),
        "kilobytes": "Each of those messages is signed, and ledgers with audits and receipts go to all who follow.",
        "p50 latency, ms": (
            "A beacon, bids, an award, a sealed answer, the set of all, an opening: three round trips, where a question and "
            "its answer are one. While a committee is not audited, a question waits 1.5 seconds for audits; slow nodes hold "
            "those up, for an audit waits for all whom it examines and only two are under way at once."
        ),
        "p95 latency, ms": (
            "The slowest of those round trips goes round the world. Where models are slow, one that says it is at work keeps "
            "its seat for half of the time that is left, and longer if no reserve is worth as much; others give up after six "
            "seconds."
        ),
        "fairness of load": "Work goes to who has earned a weight with each asker, and that is a panel and not everybody.",
    }
)


def standings(found: Sequence[tuple[Job, Sequence[Row]]]) -> list[Standing]:
    """Each policy at each budget under each condition, in the order in which they were run."""
    shown = []
    for condition in CONDITIONS:
        runs = [(job, rows) for job, rows in found if job.condition == condition]
        shown += [
            _standing(condition, [(job, rows[place], rows[0]) for job, rows in runs])
            for place in range(len(runs[0][1]) if runs else 0)
        ]
    return shown


def _standing(condition: str, runs: Sequence[tuple[Job, Row, Row]]) -> Standing:
    """`runs` are of one policy at one budget, each with that of ours."""
    rows = [row for _, row, _ in runs]
    count = sum(len(row.questions) for row in rows)

    def mean(values: Iterable[int]) -> float:
        return sum(values) / count

    return Standing(
        condition=condition,
        policy=rows[0].policy,
        budget=rows[0].budget,
        hindsight=rows[0].policy in _HINDSIGHT,
        windows={name: _window(runs, third) for name, third in WINDOWS.items()},
        tokens=mean(row.tokens for row in rows),
        tokens_all=mean(row.tokens_all for row in rows),
        messages=mean(row.messages for row in rows),
        messages_all=mean(row.messages_all for row in rows),
        kilobytes=mean(row.bytes_total for row in rows) / 1_000,
        kilobytes_all=mean(row.bytes_all for row in rows) / 1_000,
        fairness=sum(row.fairness for row in rows) / len(rows),
    )


def _window(runs: Sequence[tuple[Job, Row, Row]], third: int) -> Window:
    pairs: list[tuple[Question, Question]] = []
    for job, row, ours in runs:
        each_ms = 60_000 * job.minutes / _THIRDS
        begin_ms = 1_000 * FROM_S + third * each_ms
        both = zip(row.questions, ours.questions, strict=True)
        pairs += [pair for pair in both if begin_ms <= pair[0].at_ms < begin_ms + each_ms]
    right, count = sum(one.right for one, _ in pairs), len(pairs)
    latencies = sorted(one.latency_ms for one, _ in pairs)
    won = sum(one.right and not other.right for one, other in pairs)
    lost = sum(other.right and not one.right for one, other in pairs)
    low, high = interval(right, count)
    return Window(
        count, right, sum(one.doubted and not one.right for one, _ in pairs), right / count, low, high, *lead(won, lost, count),
        latencies[count // 2], latencies[min(count - 1, count * 95 // 100)],
    )  # fmt: skip


def lead(won: int, lost: int, count: int) -> tuple[float, float, float]:
    """The difference of two shares of the same questions, and its 95 % interval by Agresti and Min (2005), in points.

    `won` were right in the first alone, `lost` in the second alone.
    """
    more, less, total = won + 0.5, lost + 0.5, count + 2
    middle = (more - less) / total
    half = _Z * math.sqrt(more + less - (more - less) ** 2 / total) / total
    return 100 * (won - lost) / count, 100 * (middle - half), 100 * (middle + half)


# --- Where ours loses


def losses(shown: Sequence[Standing]) -> list[Loss]:
    """Those of accuracy one by one; of each cost the best of those that are not less accurate beyond doubt."""
    found = []
    for condition in dict.fromkeys(each.condition for each in shown):
        ours, *others = [each for each in shown if each.condition == condition]
        for window in WINDOWS:
            found += [
                Loss(
                    condition, window, ACCURACY, ours.windows[window].accuracy, each.policy, each.budget,
                    each.hindsight, there.accuracy, (there.lead, there.lead_low, there.lead_high),
                )
                for each in others
                if (there := each.windows[window]).lead_low > 0
            ]  # fmt: skip
        equal = [each for each in others if each.windows[WARM].lead_high >= 0 and not each.hindsight]
        for measure, (value, less) in COSTS.items():
            best = min(equal, key=lambda each: value(each) if less else -value(each), default=None)
            if best is not None and (value(best) < value(ours) if less else value(best) > value(ours)):
                found.append(Loss(condition, WARM, measure, value(ours), best.policy, best.budget, best.hindsight, value(best)))
    return found


def reasons(found: Sequence[Loss]) -> dict[str, str]:
    """Why, for each measure in which ours loses anywhere."""
    named = {f"{loss.measure}, {loss.window}" if loss.measure == ACCURACY else loss.measure for loss in found}
    return {name: reason for name, reason in REASONS.items() if name in named}


# --- To be printed


def command(seeds: str, nodes: int, minutes: int) -> str:
    """What repeats a comparison of this source."""
    return shlex.join(["simnet", "compare", "--seeds", seeds, "--nodes", str(nodes), "--minutes", str(minutes)])


def as_json(found: Sequence[tuple[Job, Sequence[Row]]], repeat: str) -> dict[str, Any]:
    """Everything, with stable names."""
    shown = standings(found)
    lost = losses(shown)
    return {
        "source": source_digest(),
        "digest": compare.digest(found),
        "repeat": repeat,
        "standings": [asdict(each) for each in shown],
        "losses": [asdict(each) for each in lost],
        "reasons": reasons(lost),
    }


_HEAD: Final = (
    f"  {'policy':19}{'budget':24}{'cold':>24}{'warm':>24}{'tokens':>8}{'messages':>10}{'kB':>8}{'p50':>7}{'p95':>7}{'Jain':>6}"
)


def lines(shown: Sequence[Standing]) -> list[str]:
    """A table for each condition, for a terminal."""
    told = []
    for condition in dict.fromkeys(each.condition for each in shown):
        told += [
            "",
            condition,
            _HEAD,
        ]
        told += [_line(each) for each in shown if each.condition == condition]
    return told


def _line(each: Standing) -> str:
    shares = "".join(f"{share(each.windows[name]):>24}" for name in WINDOWS)
    warm = each.windows[WARM]
    return (
        f"  {each.policy:19}{each.budget:24}{shares}{each.tokens_all:8.0f}{each.messages_all:10.1f}{each.kilobytes_all:8.1f}"
        f"{warm.p50_ms:7}{warm.p95_ms:7}{each.fairness:6.2f}"
    )


def share(window: Window) -> str:
    """An accuracy with its interval."""
    return f"{window.accuracy:.3f} ({window.low:.3f} to {window.high:.3f})"


def told(loss: Loss) -> str:
    """A loss in a line."""
    return f"{loss.condition}, {loss.window}: {beaten(loss)}"


def beaten(loss: Loss) -> str:
    """By whom ours is beaten, and by how much."""
    by = f"{loss.policy}{' †' if loss.hindsight else ''} at {loss.budget}"
    if loss.lead is not None:
        middle, low, high = loss.lead
        return f"{by}: {loss.theirs:.3f} against {loss.ours:.3f}, {middle:+.1f} points ({low:+.1f} to {high:+.1f})"
    return f"{by}: {loss.measure} {figure(loss, loss.theirs)} against {figure(loss, loss.ours)}"


def figure(loss: Loss, value: float) -> str:
    """A cost in as many digits as it is worth."""
    return f"{value:.{_DIGITS.get(loss.measure, 1)}f}"


_DIGITS: Final = {"fairness of load": 2, "tokens": 0, "p50 latency, ms": 0, "p95 latency, ms": 0}
