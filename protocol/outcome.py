"""How a task ended, with everything a person needs to see why: bids, award, votes, tally, cost."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from protocol.ranking import Judged, Ranked
from protocol.requirement import Requirement
from protocol.vote import Tally


class OutcomeKind(enum.Enum):
    """Every task ends in exactly one of these."""

    ANSWERED = "answered"
    UNEARNED = "unearned"
    NO_BIDS = "no bids"
    ALL_FAILED = "all failed"
    DEADLINE = "deadline"


class Gate(enum.Enum):
    """Whether one very reliable node was asked alone."""

    COMMITTEE = "committee"
    ALONE = "alone"
    CHECKED = "checked"
    WIDENED = "widened"


@dataclass(frozen=True, slots=True)
class BidReport:
    """A bid and what the requester knew of the bidder when it allocated.

    `imported_hits` and `imported_misses` are what of `hits` and `misses` others' audits add; bidders of one `cluster` share a
    voice. A `late` one came after the window and was never ranked, so nothing was looked up for it.
    """

    peer: bytes
    queued: int
    slots: int
    tokens_per_s: int
    hits: int
    misses: int
    imported_hits: int
    imported_misses: int
    weight: int
    awarded: bool
    late: bool
    cluster: int | None


@dataclass(frozen=True, slots=True)
class SeatReport:
    """One lease and its end: `state` is "answered", "abstained" or the reason why the seat went to the next bid.

    `round` is the sealed round in which it answered. If it was asked to revise, `round_first` is the one of its
    `first_answer`; None if not.
    """

    seat: int
    peer: bytes
    state: str
    answer: str | None = None
    weight: int = 0
    inference_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    round: int = 0
    round_first: int | None = None
    first_answer: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it brought neither an answer nor an abstention."""
        return self.state not in ("answered", "abstained")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one task.

    `answer` is canonical, or a text by `author`: the first of the `ranking` that follows from what was `judged`, or if it was
    not `voted`, that of the most trusted node. `refined` is how often members were asked to revise. `view` is the hash
    that the awards carry, `rounds` are those that were sealed, `further` the seats that a thin margin asked for, `stopped`
    says that somebody was not waited for who could change nothing. `latency_ms` runs from the request to this outcome,
    `inference_ms` is the longest time that an executor whose answer counted reported, `messages` and `bytes_total` are
    envelopes sent and received for this task.

    A question that was planned has `plans`, the heaviest first. Its bids and seats are those of its planners, whose answers are
    plans; answer and tally are those of the plans' vote, and the costs those of planners and steps together.
    """

    task: bytes
    kind: OutcomeKind
    requirement: Requirement
    skill_given: bool
    voted: bool
    answer: str | None
    tally: Tally | None
    author: bytes | None
    ranking: tuple[Ranked, ...]
    judged: tuple[Judged, ...]
    beacon: bytes
    view: bytes
    bids: tuple[BidReport, ...]
    seats: tuple[SeatReport, ...]
    rounds: int
    gate: Gate
    further: int
    stopped: bool
    refined: int
    calibration_ms: int
    latency_ms: int
    inference_ms: int
    messages: int
    bytes_total: int
    tokens: int
    plans: tuple[PlanReport, ...] = ()


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step of a plan that ended: its question with the answers that it needed put in, and its outcome."""

    step: int
    skill: str
    question: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class PlanReport:
    """A plan, who wrote it with which weight together, and what came of it: `state` is "answered" or why it failed."""

    plan: int
    planners: tuple[bytes, ...]
    weight: int
    text: str
    state: str
    answer: str | None
    steps: tuple[StepReport, ...]
