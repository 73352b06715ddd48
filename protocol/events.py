"""What goes into the core and what comes out of it: the contract between `protocol` and its two drivers.

Inputs are facts (a message came, a timer fired); effects are orders to the driver. The order of effects is meaning: a
`Persist` stands before every `Send` that depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from protocol.outcome import Outcome

# The kind of an inference that compares two texts; no beacon may name it.
JUDGE_KIND: Final = "judge"


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, in integer milliseconds: `mono_ms` never goes back and times leases, `wall_ms` (Unix) times expiry."""

    mono_ms: int
    wall_ms: int


# --- Inputs


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Bytes of an envelope came. `source` is the transport's peer (public key), None when gossip carried it."""

    source: bytes | None
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A channel to `peer` is usable."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The channel to `peer` ended."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The instant that `Core.deadline()` named has come."""


@dataclass(frozen=True, slots=True)
class RequestMade:
    """The owner asks. `skill` overrides the mapping of the text to a requirement; `refine` is how often members may revise.

    `planners` is how many plans the question is to be answered by, 0 for none, None for what its requirement suggests.
    """

    request: bytes
    text: str
    skill: str | None = None
    deadline_ms: int | None = None
    refine: int = 0
    planners: int | None = None


@dataclass(frozen=True, slots=True)
class AuditsWanted:
    """The owner wants the peers calibrated now, rather than with the first question."""


@dataclass(frozen=True, slots=True)
class LedgersWanted:
    """The owner wants what there is now of the ledgers of connected peers, or of `author` from whoever holds it."""

    author: bytes | None = None


@dataclass(frozen=True, slots=True)
class ProofShown:
    """The owner has the proof of a fault, as it stands in a file: kept and told to everybody if it holds."""

    proof: bytes


@dataclass(frozen=True, slots=True)
class ModelChanged:
    """The local model's state: whether it can answer, and its measured speed."""

    available: bool
    tokens_per_s: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The owner wants no more work taken, or wants it again; kept over a restart."""

    paused: bool


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """The multiaddrs that this node listens on."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What the local model wrote for an `Infer`, with its token counts and duration."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class EffectDone:
    """The driver finished effect `effect`; `error` is a one-line reason on failure, `result` belongs to `Infer`.

    `too_long` says of a failed `Infer` that the model would fail on it every time: the question is over its context.
    """

    effect: int
    error: str | None = None
    result: InferenceResult | None = None
    too_long: bool = False


Input: TypeAlias = (
    MessageReceived
    | PeerConnected
    | PeerLost
    | TimerFired
    | RequestMade
    | AuditsWanted
    | LedgersWanted
    | ProofShown
    | ModelChanged
    | Paused
    | AddressesChanged
    | EffectDone
)

# --- Effects


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `value` under (`table`, `key`) before any later effect of the same step; None deletes."""

    table: str
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send an envelope on the channel to `peer`; the driver reports only failure, by `EffectDone`."""

    effect: int
    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Gossip an envelope on `topic`."""

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to `peer` at one of `addresses`; the driver reports failure by `EffectDone`."""

    effect: int
    peer: bytes
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Infer:
    """Run the local model on a question whose answer is of type `kind`; answered by `EffectDone` with a result or an error.

    `texts` are data beside the question: for the kind "judge" the two texts to compare, whose answer is `first`, `second` or
    anything else for neither; else what others answered, for a revision.
    """

    effect: int
    question: str
    kind: str
    tokens_max: int
    deadline_ms: int
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelInference:
    """Stop the inference that effect `effect` began; no `EffectDone` follows."""

    effect: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """The outcome of a request, exactly one for each `RequestMade`.

    `receipt` are the bytes of its receipt, empty if there is none; it holds the question, so only the owner may say where to.
    """

    request: bytes
    outcome: Outcome
    receipt: bytes = b""


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the owner: an event name and fields; never a prompt or an answer."""

    level: str
    event: str
    fields: Mapping[str, str | int] = field(default_factory=dict)


Effect: TypeAlias = Persist | Send | Publish | Dial | Infer | CancelInference | Deliver | Log
