"""What a run keeps of its course for a report: bounded series and columns, whatever the size of the run.

It stands under `record` in what `simnet run --json` prints. Its values are valid once built, so a file that was cut or edited
is refused with the name of the part that is wrong.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simnet.scenario import Scenario

# Together these keep what is written of 1,000 nodes and half an hour below a megabyte.
NODES_MAX: Final = 1_000
EDGES_MAX: Final = 12 * NODES_MAX
QUESTIONS_MAX: Final = 4_000
MOMENTS_MAX: Final = 121
BELIEF_MOMENTS_MAX: Final = 41
BELIEFS_MAX: Final = 200
KINDS_MAX: Final = 100
BINS_MAX: Final = 100

Count: TypeAlias = Annotated[int, Field(ge=0, le=1 << 62)]
Permille: TypeAlias = Annotated[int, Field(ge=0, le=1_000)]
Name: TypeAlias = Annotated[str, Field(max_length=200)]


class Part(BaseModel):
    """A frozen group of fields, all of which are known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Columns(Part):
    """Fields of one length: the rows of a table, column by column."""

    @model_validator(mode="after")
    def _even(self) -> Self:
        sizes = {len(column) for _, column in self if isinstance(column, tuple)}
        if len(sizes) > 1:
            raise ValueError(f"its columns have {', '.join(map(str, sorted(sizes)))} rows")
        return self


class Kind(Part):
    """What nodes are: a kind of model (simnet/solvers.py), or the policy of an adversary."""

    name: Name
    adversary: bool


class Nodes(_Columns):
    """Each `step`-th node of all: what it is, and what it did. `region` and `kind` are places in lists of the record.

    `channels` and `up` are those of the moment of the topology; `answers` are its votes in questions, `inferences` those
    of audits too.
    """

    step: Annotated[int, Field(ge=1)]
    name: Annotated[tuple[Name, ...], Field(max_length=NODES_MAX)]
    region: tuple[Count, ...]
    kind: tuple[Count, ...]
    reachable: tuple[bool, ...]
    up: tuple[bool, ...]
    channels: tuple[Count, ...]
    inferences: tuple[Count, ...]
    answers: tuple[Count, ...]
    sent_bytes: tuple[Count, ...]


class Topology(_Columns):
    """The mesh over which gossip is passed on, at one moment: the ends of each edge between nodes of the record."""

    at_ms: Count
    one: Annotated[tuple[Count, ...], Field(max_length=EDGES_MAX)]
    other: tuple[Count, ...]


class Moments(_Columns):
    """The network over time. What is counted is counted from one moment to the next."""

    at_ms: Annotated[tuple[Count, ...], Field(max_length=MOMENTS_MAX)]
    up: tuple[Count, ...]
    channels: tuple[Count, ...]
    messages: tuple[Count, ...]
    message_bytes: tuple[Count, ...]
    inferences: tuple[Count, ...]
    published: tuple[Count, ...]
    gossip_reached: tuple[Count, ...]
    gossip_missed: tuple[Count, ...]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(one >= other for one, other in pairwise(self.at_ms)):
            raise ValueError("its moments do not follow each other")
        return self


class Delivery(Part):
    """How long gossip of one topic took from publishing to each node that got it: how many fell into which bin."""

    topic: Name
    published: Count
    reached: Count
    missed: Count
    counts: Annotated[tuple[Count, ...], Field(max_length=BINS_MAX)]


class Questions(_Columns):
    """Each `step`-th question, in the order of asking. Those without outcome are "lost", and have no latency.

    `margin` is the lead of the answer in thousandths of the support, None where nothing was voted on.
    """

    step: Annotated[int, Field(ge=1)]
    at_ms: Annotated[tuple[Count, ...], Field(max_length=QUESTIONS_MAX)]
    skill: tuple[Name, ...]
    outcome: tuple[Name, ...]
    right: tuple[bool, ...]
    latency_ms: tuple[Count | None, ...]
    margin: tuple[Permille | None, ...]
    messages: tuple[Count, ...]


class Belief(_Columns):
    """What askers believe of a kind of nodes in a skill, over time: the posterior means, in thousandths, of those audited.

    `low` and `high` hold eight in ten of these means, `truth` is how often the solvers of the same nodes are right, and
    `pairs` how many (asker, node) have evidence, of `pairs_all`. `right` of `answered` votes in questions were right.
    """

    kind: Count
    skill: Name
    at_ms: Annotated[tuple[Count, ...], Field(max_length=BELIEF_MOMENTS_MAX)]
    mean: tuple[Permille | None, ...]
    low: tuple[Permille | None, ...]
    high: tuple[Permille | None, ...]
    truth: tuple[Permille | None, ...]
    pairs: tuple[Count, ...]
    pairs_all: Count
    answered: Count
    right: Count


class Record(Part):
    """All of it."""

    form: Literal[1] = 1
    scenario: Scenario
    regions: Annotated[tuple[Name, ...], Field(max_length=KINDS_MAX)]
    kinds: Annotated[tuple[Kind, ...], Field(max_length=KINDS_MAX)]
    nodes: Nodes
    # Jain's index over all honest nodes, in thousandths: 1000 where all have the same load, None where there is none.
    fairness: Permille | None
    topology: Topology
    moments: Moments
    # Upper ends of the bins of `gossip`, in microseconds; the last bin has none.
    gossip_bounds_us: Annotated[tuple[Count, ...], Field(max_length=BINS_MAX)]
    gossip: Annotated[tuple[Delivery, ...], Field(max_length=KINDS_MAX)]
    questions: Questions
    beliefs: Annotated[tuple[Belief, ...], Field(max_length=BELIEFS_MAX)]

    @model_validator(mode="after")
    def _refers(self) -> Self:
        places = (
            ("nodes.region", self.nodes.region, len(self.regions)),
            ("nodes.kind", self.nodes.kind, len(self.kinds)),
            ("topology", (*self.topology.one, *self.topology.other), len(self.nodes.name)),
            ("beliefs.kind", tuple(belief.kind for belief in self.beliefs), len(self.kinds)),
        )
        for name, found, size in places:
            if any(place >= size for place in found):
                raise ValueError(f"{name} names a place that is not there")
        if any(len(each.counts) != len(self.gossip_bounds_us) + 1 for each in self.gossip):
            raise ValueError("gossip has other bins than gossip_bounds_us")
        return self
