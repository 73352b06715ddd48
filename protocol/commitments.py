"""What this node as executor is bound to and has not opened yet (specs/08-execution.md).

An answer is opened once, to the requester of its award, against a set that holds exactly its commitment. A set without it
closes that round: the executor commits anew for the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import COMMITMENTS_MAX, ROUNDS_MAX
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError
from protocol.events import InferenceResult
from protocol.leases import Lease
from protocol.messages import Award, Beacon
from protocol.outbox import Outbox
from protocol.review import Judge, Refine
from protocol.sealing import commitment
from protocol.step import NONCE_SIZE, StepId

# Given the bytes of two envelopes, each a requester's set for one round of one step, that differ.
OnConflict = Callable[[bytes, bytes], None]


@dataclass(slots=True)
class Bound:
    """An award that this node took: the round it answers in, its answer once there is one, and the sets that it was shown.

    `commitment` is empty until there is an answer, `judged` are the numbers of the judgements that were asked for.
    """

    award: Award
    award_id: bytes
    beacon: Beacon
    round: int
    ends_mono_ms: int
    answer: str | None = None
    spent: InferenceResult | None = None
    nonce: bytes = b""
    commitment: bytes = b""
    opened: bool = False
    sets: dict[int, tuple[CommitSet, bytes]] = field(default_factory=dict)
    judged: set[int] = field(default_factory=set)


class Commitments:
    """Answers of this node that wait for their sets, by requester and step."""

    def __init__(self, outbox: Outbox, entropy: Callable[[int], bytes], on_conflict: OnConflict) -> None:
        self._outbox = outbox
        self._entropy = entropy
        self._on_conflict = on_conflict
        self._bound: dict[tuple[bytes, StepId], Bound] = {}
        # No task of these is over before.
        self._ends_mono_ms: int | None = None

    def begin(self, lease: Lease) -> None:
        """An award was taken: sets for its step may come from now on."""
        if len(self._bound) >= COMMITMENTS_MAX:
            self._forget_one()
        self._bound[lease.requester, lease.award.step_id] = Bound(
            lease.award, lease.award_id, lease.beacon, lease.award.round, lease.ends_mono_ms
        )
        if self._ends_mono_ms is None or lease.ends_mono_ms < self._ends_mono_ms:
            self._ends_mono_ms = lease.ends_mono_ms

    def end(self, lease: Lease) -> None:
        """The lease was given back or taken away before it had an answer; what was opened before a revision stands."""
        key = (lease.requester, lease.award.step_id)
        if lease.others is not None and key in self._bound:
            self._bound[key].opened = True
        elif lease.judge is None:
            self._bound.pop(key, None)

    def opened(self, requester: bytes, message: Judge | Refine) -> Bound:
        """The opened answer that a message about it names; raises `RemoteProtocolError` if there is none."""
        self.expire()
        bound = self._bound.get((requester, message.step_id))
        if bound is None or bound.award_id != message.award:
            raise RemoteProtocolError("unknown", "names no award that we took")
        if not bound.opened:
            raise RemoteProtocolError("state", "asks for more before the answer is opened")
        return bound

    def revise(self, bound: Bound, number: int) -> None:
        """Answer again, in a later round."""
        bound.round, bound.answer, bound.spent, bound.commitment, bound.opened = number, None, None, b"", False

    def commit(self, lease: Lease, answer: str | None, spent: InferenceResult) -> None:
        """Bind this node to the answer of a lease."""
        key = (lease.requester, lease.award.step_id)
        bound = self._bound.get(key)
        if bound is not None:
            bound.answer, bound.spent = answer, spent
            self._commit(key, bound)

    def cancel(self, requester: bytes, award_id: bytes) -> bool:
        """The requester needs the answer no more; whether there was one under this award."""
        for key, bound in self._bound.items():
            if key[0] == requester and bound.award_id == award_id:
                del self._bound[key]
                return True
        return False

    def forget(self, requester: bytes) -> None:
        """Nobody waits any more for what this requester asked."""
        self._bound = {key: bound for key, bound in self._bound.items() if key[0] != requester}

    def expire(self) -> None:
        """Forget what belongs to tasks that are over."""
        now_ms = self._outbox.now.mono_ms
        if self._ends_mono_ms is not None and self._ends_mono_ms <= now_ms:
            self._bound = {key: bound for key, bound in self._bound.items() if bound.ends_mono_ms > now_ms}
            self._ends_mono_ms = min((bound.ends_mono_ms for bound in self._bound.values()), default=None)

    def on_set(self, envelope: Envelope, sealed: CommitSet) -> None:
        """Open what the set binds; raises `RemoteProtocolError` for a set that is not ours or not as it should be."""
        self.expire()
        key = (envelope.sender, sealed.step_id)
        bound = self._bound.get(key)
        if bound is None:
            raise RemoteProtocolError("unknown", "a commit set for no award that we took")
        known = bound.sets.get(sealed.round)
        if known is not None:
            if known[0] == sealed:
                raise RemoteProtocolError("repeated", "a commit set again")
            # The first one stands. Both are signed by the requester, so anyone can see that it broke its word.
            self._on_conflict(known[1], envelope.data)
            raise RemoteProtocolError("conflict", "another commit set for one round")
        bound.sets[sealed.round] = (sealed, envelope.data)
        if bound.opened or sealed.round < bound.round:
            return
        own = dict(sealed.members).get(self._outbox.me)
        if own is None:
            self._go_on(key, bound, sealed.round + 1)
        elif own != bound.commitment or sealed.round != bound.round:
            raise RemoteProtocolError("commitment", "the set holds another commitment than ours")
        else:
            self._open(key, bound)

    def _go_on(self, key: tuple[bytes, StepId], bound: Bound, number: int) -> None:
        """Answer in a later round, if there is one."""
        if number >= ROUNDS_MAX:
            return
        bound.round = number
        if bound.spent is not None:
            self._commit(key, bound)

    def _commit(self, key: tuple[bytes, StepId], bound: Bound) -> None:
        requester, step = key
        assert bound.spent is not None
        bound.nonce = self._entropy(NONCE_SIZE)
        bound.commitment = commitment(self._outbox.network, step, bound.round, self._outbox.me, bound.nonce, bound.answer)
        spent = bound.spent
        self._outbox.send(
            requester,
            Commit(
                step.task,
                step.plan,
                step.step,
                bound.award_id,
                bound.round,
                bound.commitment,
                spent.prompt_tokens,
                spent.completion_tokens,
                spent.elapsed_ms,
            ),
        )

    def _open(self, key: tuple[bytes, StepId], bound: Bound) -> None:
        requester, step = key
        bound.opened = True
        self._outbox.send(
            requester,
            Reveal(step.task, step.plan, step.step, bound.award_id, bound.round, bound.nonce, bound.answer),
        )

    def _forget_one(self) -> None:
        """Make room: of who has most, the oldest, one that is opened if there is any."""
        opened = {key for key, bound in self._bound.items() if bound.opened}
        held = Counter(key[0] for key in opened or self._bound)
        most = max(held, key=lambda requester: (held[requester], requester))
        del self._bound[next(key for key in opened or self._bound if key[0] == most)]
