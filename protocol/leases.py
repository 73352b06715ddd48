"""The leases of an executor, and whose turn it is when its model has room (specs/08-execution.md).

Nobody can buy more than a turn with many questions or many keys: turns alternate between requesters that earned a weight
here and all others, and among each of the two go round.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.allowance import Reservation
from protocol.constants import JUDGE_TOKENS_MAX, LEASES_MAX
from protocol.messages import Award, Beacon
from protocol.review import Judge


@dataclass(slots=True)
class Lease:
    """An award at work: for whom, until when, when the next sign of life is due, and what it took of the owner's allowance.

    `effect` is None while it waits. Under an award this node may be asked more than its first answer: with `judge`, which of
    two texts is better; with `others`, for a revision in view of what they answered.
    """

    requester: bytes
    known: bool
    award: Award
    award_id: bytes
    beacon: Beacon
    ends_mono_ms: int
    progress_at_ms: int
    reservation: Reservation | None
    effect: int | None = None
    judge: Judge | None = None
    others: tuple[str, ...] | None = None

    @property
    def key(self) -> tuple[bytes, int | None]:
        """The award, and which judgement under it."""
        return self.award_id, None if self.judge is None else self.judge.number

    @property
    def tokens_max(self) -> int:
        """What its model may write."""
        return self.beacon.tokens_max if self.judge is None else JUDGE_TOKENS_MAX


class Leases:
    """At most LEASES_MAX leases, at most `slots` of them with the model, in the order of their arrival."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._leases: dict[tuple[bytes, int | None], Lease] = {}
        # When each requester with a lease last had a turn.
        self._turns: dict[bytes, int] = {}
        self._turn = 0
        self._last_known = False

    def __len__(self) -> int:
        return len(self._leases)

    def all(self) -> list[Lease]:
        """All leases, the oldest first."""
        return list(self._leases.values())

    def under(self, requester: bytes, award_id: bytes) -> list[Lease]:
        """What is done under an award of a requester."""
        return [lease for lease in self._leases.values() if (lease.requester, lease.award_id) == (requester, award_id)]

    def inferring(self, effect: int) -> Lease | None:
        """The lease that the model works on as effect `effect`."""
        return next((lease for lease in self._leases.values() if lease.effect == effect), None)

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return len(self._leases) >= LEASES_MAX

    def add(self, lease: Lease) -> None:
        """Let a lease wait for its turn."""
        assert not self.full
        self._leases[lease.key] = lease

    def remove(self, lease: Lease) -> None:
        """The lease ended."""
        del self._leases[lease.key]
        if not self._held(lease.requester):
            self._turns.pop(lease.requester, None)

    def giving_way(self, requester: bytes, *, known: bool) -> Lease | None:
        """The waiting lease that must make room for one more of `requester` if none is left; None if that would be unfair.

        It is the last of who holds most: of the unknown ones if `requester` is known, else of those of its own kind that would
        still hold as many.
        """
        waiting = [lease for lease in self._leases.values() if lease.effect is None]
        unknown = [lease for lease in waiting if not lease.known]
        if not known or not unknown:
            most = self._held(requester) + 1
            unknown = [lease for lease in waiting if lease.known == known and self._held(lease.requester) > most]
        # Of equals `max` takes the first, which is the last that came.
        return max(reversed(unknown), key=lambda lease: (self._held(lease.requester), lease.requester), default=None)

    def next(self) -> Lease | None:
        """Whose turn it is if the model has room."""
        waiting = [lease for lease in self._leases.values() if lease.effect is None]
        if not waiting or len(self._leases) - len(waiting) >= self._slots:
            return None
        others = [lease for lease in waiting if lease.known is not self._last_known]
        chosen = min(others or waiting, key=lambda lease: (self._at_work(lease.requester), self._turns.get(lease.requester, 0)))
        self._turn += 1
        self._turns[chosen.requester], self._last_known = self._turn, chosen.known
        return chosen

    def _held(self, requester: bytes) -> int:
        return sum(lease.requester == requester for lease in self._leases.values())

    def _at_work(self, requester: bytes) -> int:
        return sum(lease.requester == requester and lease.effect is not None for lease in self._leases.values())
