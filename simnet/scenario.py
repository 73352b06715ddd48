"""Scenario files: TOML, checked before anything runs, with errors that name the key.

What a scenario says is all that a run depends on, besides the seed and the source: `Scenario.load` and `Scenario.changed` give
a value that is valid or raise `ScenarioError` with one line for each key that is not.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.constants import DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX
from protocol.exercises import ONE_STEP
from simnet.answerbook import digest
from simnet.gossip import HOP_US
from simnet.regions import REGIONS, SHARES
from simnet.solvers import KINDS, PACKAGED

SUFFIX: Final = ".toml"
FILE_SIZE_MAX: Final = 1 << 20
NODES_MAX: Final = 1_000_000
SEED_MAX: Final = 2**62
HOURS_MAX: Final = 7 * 24
PROBE_S: Final = 10
RECORDED: Final = "recorded"
_PINNED: Final = re.compile(r"#[0-9a-f]{64}$")
_WHOLE: Final = 1_000
_BOOTSTRAPS_LEAST: Final = 3
_NODES_PER_BOOTSTRAP: Final = 32

Permille: TypeAlias = Annotated[int, Field(ge=0, le=1_000)]
Seconds: TypeAlias = Annotated[int, Field(ge=0, le=HOURS_MAX * 3_600)]
Operator: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Parts: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000)]


class ScenarioError(Exception):
    """A scenario that cannot be run; the text has a line for each key that is wrong, and what it may be."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Group(_Part):
    """Nodes alike: of the whole population `parts` of the sum of all parts. Caps bound what they do for others; 0 is none.

    One `operator` runs them all, which no node is told: the protocol knows keys, and who errs alike. Faults can name it.
    """

    model: str
    parts: Parts = 1
    operator: Operator | None = None
    requests_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    tokens_per_day: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.model not in KINDS:
            raise ValueError(f"no model {self.model}; there are {', '.join(KINDS)}")
        return self

    hardware: Literal["phone", "laptop", "desktop", "server"] = "laptop"


class Reach(_Part):
    """Nodes by how they can be reached, in parts: `open` ones by anybody; those behind a `nat` dial out, and no more.

    The daemon traverses no NAT: it has neither relays nor hole punching. So there are no further classes.
    """

    open: Parts = 1
    nat: Parts = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.open:
            raise ValueError("nobody is open, so nobody could dial anybody")
        return self


class Links(_Part):
    """`regions` by parts; jitter is a share of the latency, on top; `bits_per_s` is what a node can send, 0 without bound.

    `latency_us`, one way, takes the place of what the map of regions says; a hop of gossip takes `hop_us` more.
    """

    regions: dict[str, Parts] = Field(default_factory=lambda: dict(zip(REGIONS, SHARES, strict=True)))
    jitter_permille: Permille = 100
    loss_permille: Permille = 0
    bits_per_s: Annotated[int, Field(ge=0, le=100_000_000_000)] | None = None
    latency_us: Annotated[int, Field(ge=0, le=60_000_000)] | None = None
    hop_us: Annotated[int, Field(ge=0, le=60_000_000)] = HOP_US

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = sorted(set(self.regions) - set(REGIONS))
        if unknown:
            raise ValueError(f"no region {', '.join(unknown)}; there are {', '.join(REGIONS)}")
        if not sum(self.regions.values()):
            raise ValueError("regions have no parts at all")
        return self


class Machines(_Part):
    """What daemons compute and write (simnet/machines.py), 0 being nothing, on a laptop; other hardware as its models.

    Each node has a core of its own, or all `share` so many: then they run on one machine, whatever hardware their models have.
    """

    message_us: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    write_us: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    share: Annotated[int, Field(ge=1, le=1_024)] | None = None


class Churn(_Part):
    """Sessions and absences of `share_permille` of the nodes: exponential, of these medians, from `from_s` to `until_s`."""

    median_session_s: Annotated[int, Field(ge=1, le=1_000_000)]
    median_absence_s: Annotated[int, Field(ge=1, le=1_000_000)]
    share_permille: Permille = 1_000
    from_s: Seconds = 60
    until_s: Seconds | None = None


class Workload(_Part):
    """Questions: Poisson arrivals of this rate over the whole network, by `askers` nodes, of these skills in turn.

    `plans_permille` of them take several steps, and planners are asked to split them.
    """

    questions_per_minute: Annotated[int, Field(ge=0, le=600_000)] = 60
    askers: Annotated[int, Field(ge=1, le=NODES_MAX)] = 10
    skills: tuple[str, ...] = tuple(sorted(ONE_STEP))
    difficulty_max: Annotated[int, Field(ge=1, le=3)] = 3
    plans_permille: Permille = 0
    deadline_ms: Annotated[int, Field(ge=1, le=DEADLINE_MS_MAX)] = DEADLINE_MS_DEFAULT
    from_s: Seconds = 30
    rush_at_s: Seconds | None = None
    rush_s: Seconds = 10
    rush_factor: Annotated[int, Field(ge=1, le=1_000)] = 10

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = sorted(set(self.skills) - set(ONE_STEP))
        if unknown or not self.skills:
            raise ValueError(f"no skill {', '.join(unknown) or 'at all'}; there are {', '.join(sorted(ONE_STEP))}")
        return self


class _Timed(_Part):
    at_s: Seconds
    lasts_s: Annotated[int, Field(ge=1, le=HOURS_MAX * 3_600)]

    @property
    def ends_s(self) -> int:
        """When it is over."""
        return self.at_s + self.lasts_s


class _Victims(_Timed):
    """What befalls a share of the honest nodes, by lot, or all nodes of an operator."""

    share_permille: Permille | None = None
    operator: Operator | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.share_permille is None) == (self.operator is None):
            raise ValueError("say share_permille or operator, and not both")
        return self


class Partition(_Timed):
    """No message passes between two sets of regions, or only one way."""

    kind: Literal["partition"]
    regions: tuple[str, ...]
    one_way: bool = False


class Crash(_Victims):
    """A share of the nodes stops at once and comes back from its disk afterwards; `silent` as machines without power.

    With `loses_writes` each is struck within a step that writes, and loses what the daemon can lose of one: see `Torn`.
    """

    kind: Literal["crash"]
    silent: bool = False
    loses_writes: bool = False


class Gray(_Victims):
    """A share of the nodes is slow but alive: its models take so many times as long."""

    kind: Literal["gray"]
    factor: Annotated[int, Field(ge=2, le=1_000)] = 20


class Loss(_Timed):
    """So many more hops are lost, everywhere, and what is sent takes longer."""

    kind: Literal["loss"]
    permille: Permille
    delay_ms: Annotated[int, Field(ge=0, le=60_000)] = 0


class Duplicate(_Timed):
    """So much of what arrives, over channels and by gossip, arrives a second time, up to so much later."""

    kind: Literal["duplicate"]
    permille: Permille
    late_ms: Annotated[int, Field(ge=0, le=600_000)] = 1_000


class Skew(_Victims):
    """The clocks of a share of the nodes are off by up to so much, either way."""

    kind: Literal["skew"]
    up_to_ms: Annotated[int, Field(ge=1, le=86_400_000)]


class Eclipse(_Timed):
    """All links of one honest node but those to adversaries are cut."""

    kind: Literal["eclipse"]


Fault: TypeAlias = Annotated[Partition | Crash | Gray | Loss | Duplicate | Skew | Eclipse, Field(discriminator="kind")]
Policy: TypeAlias = Literal[
    "over-claimer",
    "colluder",
    "equivocator",
    "slanderer",
    "censor",
    "free-rider",
    "audit-spotter",
    "flooder",
    "withholder",
    "replayer",
    "switcher",
    "stutterer",
    "accuser",
    "leech",
    "forger",
]


# Policies that touch all they can, or begin with the run, whatever the file says.
WHOLE_POLICIES: Final = frozenset({"over-claimer", "equivocator", "flooder", "replayer", "accuser", "leech"})


class Adversary(_Part):
    """A share of the nodes follows a policy of simnet/adversaries.py from a time on; `lie_permille` is how much it touches.

    One `operator` runs them all: a swarm of Sybils has one name for faults and reports, that of its policy if no other is said.
    """

    policy: Policy
    share_permille: Permille
    lie_permille: Permille = _WHOLE
    from_s: Seconds = 0
    operator: Operator | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if self.lie_permille != _WHOLE and self.policy in WHOLE_POLICIES:
            raise ValueError(f"lie_permille means nothing to {self.policy}: leave it out")
        if self.from_s and self.policy == "over-claimer":
            raise ValueError("from_s means nothing to over-claimer: what it says of itself stands in its first record")
        return self


def _pinned(solvers: str) -> str:
    """The way in which models answer, a recording with its digest, so that another file is another scenario."""
    way, _, file = solvers.partition(":")
    if way != RECORDED:
        if solvers not in ("statistical", "models"):
            raise ValueError(f"must be statistical, models or {RECORDED}:FILE, not {solvers[:60]!r}")
        return solvers
    return solvers if _PINNED.search(file) else f"{solvers}#{digest(Path(file))}"


Solvers: TypeAlias = Annotated[str, AfterValidator(_pinned)]


class Scenario(_Part):
    """A whole run. `settle_s` is what the network has to converge in after everything that disturbs it is over.

    Each node knows three of the `bootstraps`; 0 are three, or one for each 32 nodes, so that all find room. Within `recovers_s`
    of that end questions must have answers again: some nodes ask then, unless the run ends within PROBE_S. The default is what
    a dead channel takes to be noticed (25 s), and a dial or two.

    `solvers` says who answers: "statistical" models, what stands in a file ("recorded:FILE"), or the packaged models themselves
    ("models").
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    about: Annotated[str, Field(min_length=1, max_length=2_000)]
    network: Literal["dev", "local", "testnet"] = "dev"
    nodes: Annotated[int, Field(ge=2, le=NODES_MAX)] = 100
    duration_s: Annotated[int, Field(ge=1, le=HOURS_MAX * 3_600)] = 120
    settle_s: Seconds = 60
    recovers_s: Seconds = 30
    join_s: Seconds = 10
    bootstraps: Annotated[int, Field(ge=0, le=10_000)] = 0
    reach: Reach = Reach()
    directory: bool = False
    solvers: Solvers = "statistical"
    population: tuple[Group, ...] = ()
    links: Links = Links()
    machines: Machines = Machines()
    churn: Churn | None = None
    workload: Workload = Workload()
    faults: tuple[Fault, ...] = ()
    adversaries: tuple[Adversary, ...] = ()

    @property
    def first(self) -> int:
        """How many nodes, the first ones, others bootstrap from."""
        return self.bootstraps or max(_BOOTSTRAPS_LEAST, self.nodes // _NODES_PER_BOOTSTRAP)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.join_s > self.duration_s:
            raise ValueError(f"join_s = {self.join_s} is after duration_s = {self.duration_s}")
        for number, fault in enumerate(self.faults):
            if fault.ends_s > self.duration_s:
                raise ValueError(f"faults.{number} ends at {fault.ends_s} s, after duration_s = {self.duration_s}")
            if isinstance(fault, _Victims) and fault.operator not in (None, *self.operators):
                raise ValueError(
                    f"faults.{number}: no operator {fault.operator}; there are {', '.join(self.operators) or 'none'}"
                )
            if isinstance(fault, Partition) and not (fault.regions and set(fault.regions) < set(self.links.regions)):
                raise ValueError(f"faults.{number}.regions must be some and not all of {', '.join(self.links.regions)}")
        if sum(adversary.share_permille for adversary in self.adversaries) >= _WHOLE:
            raise ValueError("adversaries leave no honest node: their shares must be below 1000 together")
        if self.workload.plans_permille and not any(group.model == "plan" and group.parts for group in self.population):
            raise ValueError('workload.plans_permille needs a group of population with model = "plan"')
        if self.solvers != "statistical" and any(group.model not in PACKAGED for group in self.population):
            raise ValueError(f"solvers = {self.solvers!r} needs a population of packaged models: {', '.join(PACKAGED)}")
        if self.population and not sum(group.parts for group in self.population):
            raise ValueError("population has no parts at all")
        return self

    @property
    def operators(self) -> tuple[str, ...]:
        """Who runs some of the nodes, sorted."""
        named = [group.operator for group in self.population] + [each.operator or each.policy for each in self.adversaries]
        return tuple(sorted({name for name in named if name is not None}))

    @classmethod
    def read(cls, fields: Mapping[str, Any], name: str) -> Self:
        """A scenario from the fields of a file called `name`; raises `ScenarioError`."""
        try:
            # By the rules for JSON, which take a list for a tuple; a date becomes a text, which no key takes.
            return cls.model_validate_json(json.dumps({"name": name, **fields}, default=str))
        except ValidationError as error:
            raise ScenarioError("\n".join(_line(name, found) for found in error.errors())) from error

    @classmethod
    def load(cls, what: str) -> Self:
        """The scenario in a file, or the built-in one of this name; raises `ScenarioError`."""
        path = Path(what)
        if is_file(what):
            return cls.read(_parsed(_text(path), what), path.stem)
        if what not in names():
            raise ScenarioError(f"no scenario {what!r}; there are {', '.join(names())}, or a file that ends in {SUFFIX}")
        return cls.read(_parsed(_built_in(what).read_text(encoding="utf-8"), what), what)

    @property
    def content(self) -> dict[str, Any]:
        """All of it as JSON values, with every default: what a run depends on, wherever it was read from."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """SHA-256 over the content: 64 hex digits."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def changed(self, settings: Sequence[str]) -> Self:
        """The same with some keys set, each as `key=value` with a path of names and numbers; raises `ScenarioError`."""
        fields = self.model_dump(mode="json", exclude={"name"})
        for setting in settings:
            key, sign, value = setting.partition("=")
            if not sign:
                raise ScenarioError(f"{setting!r} is not key=value, such as nodes=200 or links.loss_permille=50")
            _put(fields, key.strip(), _value(value.strip()))
        return self.read(fields, self.name)


def is_file(what: str) -> bool:
    """Whether these words of a command name a file, and no built-in scenario."""
    return what.endswith(SUFFIX) or Path(what).parent != Path()


def names() -> list[str]:
    """The built-in scenarios, sorted."""
    directory = resources.files("simnet") / "scenarios"
    return sorted(file.name.removesuffix(SUFFIX) for file in directory.iterdir() if file.name.endswith(SUFFIX))


def _built_in(name: str) -> Any:  # noqa: ANN401  a Traversable, which has no type that mypy and every Python agree on
    return resources.files("simnet") / "scenarios" / f"{name}{SUFFIX}"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise ScenarioError(f"{path} has more than {FILE_SIZE_MAX} bytes: that is no scenario")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path} is not text in UTF-8") from error
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from error


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not TOML: {error}") from error


def _line(name: str, error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in _KINDS) or name
    if error["type"] == "extra_forbidden":
        return f"{place}: no such key"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"


# The discriminator's words stand in the place of an error, and mean nothing to who wrote the file.
_KINDS: Final = frozenset({"partition", "crash", "gray", "loss", "duplicate", "skew", "eclipse"})


def _put(fields: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    here: Any = fields
    for part in path:
        here = _inside(here, part, key)
        if here is None:
            raise ScenarioError(f"{key}: nothing is set at {part}; write a scenario file for that")
    _inside(here, last, key)
    here[int(last) if isinstance(here, list) else last] = value


def _inside(here: Any, part: str, key: str) -> Any:  # noqa: ANN401  JSON
    if isinstance(here, list):
        if not part.isdecimal() or int(part) >= len(here):
            raise ScenarioError(f"{key}: there are {len(here)}, numbered from 0, and no {part}")
        return here[int(part)]
    if not isinstance(here, dict) or part not in here:
        known = f"; there are {', '.join(sorted(here))}" if isinstance(here, dict) else ""
        raise ScenarioError(f"{key}: no such key {part}{known}")
    return here[part]


def _value(text: str) -> object:
    """A value as TOML has it; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
