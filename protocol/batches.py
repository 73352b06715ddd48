"""A node's own batches of audits: planned, committed in its ledger, asked one by one, and opened once all have ended.

What is only in memory is lost with a restart: such a batch is never opened and counts for this node alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from protocol import canonical, exercises
from protocol.audit_batch import AUDITS, OPENING, Answers, Leaf, audits_body, make_leaf, opening_body
from protocol.ballot import CommitSet, Reveal
from protocol.constants import AUDIT_BATCH_MAX, ENTRY_SIZE_MAX
from protocol.exercises import Exercise
from protocol.identity import SIGNATURE_SIZE
from protocol.outbox import Outbox
from protocol.own_ledger import OwnLedger
from protocol.parameters import Parameters
from protocol.step import NONCE_SIZE, TASK_SIZE

# Of the largest entry, what the fields around the leaves take at most.
_ENTRY_OVERHEAD = 1_024
# And the lengths around each part of a leaf.
_PART_OVERHEAD = 16


@dataclass(slots=True)
class Planned:
    """One audit of a batch; `answers` once it has ended."""

    leaf: Leaf
    exercise: Exercise
    begun: bool = False
    answers: Answers | None = None


@dataclass(slots=True)
class Batch:
    """Audits committed by the ledger's entry `entry`. Those `in_reserve` wait to be mixed among questions."""

    entry: int
    in_reserve: bool
    audits: list[Planned] = field(default_factory=list)


class Batches:
    """Batches that are not opened yet."""

    def __init__(self, outbox: Outbox, ledger: OwnLedger, parameters: Parameters, entropy: Callable[[int], bytes]) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._parameters = parameters
        self._entropy = entropy
        self._batches: list[Batch] = []

    def commit(self, skills: Sequence[str], *, in_reserve: bool = False) -> bool:
        """Commit to an audit of each of `skills`, AUDIT_BATCH_MAX at most; False if the ledger has to wait.

        Its entry stands before the first beacon: no audit can be made up, or left out, after its answers are known.
        """
        if not self._ledger.ready:
            return False
        audits = [Planned(*self._draw(skill)) for skill in skills[:AUDIT_BATCH_MAX]]
        entry = self._ledger.append(AUDITS, audits_body([planned.leaf for planned in audits]))
        assert entry is not None
        self._batches.append(Batch(entry.number, in_reserve, audits))
        return True

    def begin(self, skill: str, *, in_reserve: bool = False) -> Planned | None:
        """The next audit of `skill` that has not begun; it begins now."""
        for batch in self._batches:
            for planned in batch.audits:
                if batch.in_reserve == in_reserve and not planned.begun and planned.leaf.skill == skill:
                    planned.begun = True
                    return planned
        return None

    def end(self, task: bytes, transcript: Iterable[bytes]) -> int | None:
        """An audit ended: keep what shows its answers, open the batch if it was the last; the number of the batch's entry."""
        for batch in self._batches:
            for planned in batch.audits:
                if planned.leaf.task == task:
                    planned.answers = _answers(planned.leaf, transcript)
                    self._settle(batch)
                    return batch.entry
        return None

    def _settle(self, batch: Batch) -> None:
        found = [planned.answers for planned in batch.audits if planned.answers is not None]
        if len(found) < len(batch.audits):
            return
        self._batches.remove(batch)
        # A batch with an audit that nobody answered counts for its author alone, so nobody is shown it.
        whole = all(answers.rounds and all(_complete(*each) for each in answers.rounds) for answers in found)
        # Nor one with answers longer than any right one, which fit no entry.
        if whole and sum(map(_size, found)) <= ENTRY_SIZE_MAX - _ENTRY_OVERHEAD:
            self._ledger.append(OPENING, opening_body(found))

    def _draw(self, skill: str) -> tuple[Leaf, Exercise]:
        pairs = self._parameters.skills[skill].audited_by
        seed = int.from_bytes(self._entropy(8), "big")
        levels = len(exercises.DIFFICULTIES)
        family, difficulty = pairs[seed // levels % len(pairs)], exercises.DIFFICULTIES[seed % levels]
        return make_leaf(self._parameters, skill, family, difficulty, seed, self._entropy(TASK_SIZE), self._entropy(NONCE_SIZE))


def _answers(leaf: Leaf, transcript: Iterable[bytes]) -> Answers:
    """Of the envelopes of a task, the set of each round and the openings in it, by ascending key."""
    sets: dict[int, bytes] = {}
    reveals: dict[int, dict[bytes, bytes]] = {}
    for data in transcript:
        match canonical.decode(data[SIGNATURE_SIZE:]):
            case {"type": CommitSet.TYPE, "body": {"round": int(number)}}:
                # One set goes to each of its members, in an envelope each: any of them shows it.
                sets.setdefault(number, data)
            case {"type": Reveal.TYPE, "sender": bytes(peer), "body": {"round": int(number)}}:
                reveals.setdefault(number, {})[peer] = data
            case _:
                pass
    rounds = ((sets[number], reveals.get(number, {})) for number in sorted(sets))
    return Answers(leaf, tuple((sealed, tuple(opened[peer] for peer in sorted(opened))) for sealed, opened in rounds))


def _size(answers: Answers) -> int:
    """About how much of an entry an opened audit takes, and no less."""
    parts = [part for sealed, openings in answers.rounds for part in (sealed, *openings)]
    return len(answers.leaf.data) + _PART_OVERHEAD * (1 + len(parts)) + sum(map(len, parts))


def _complete(sealed: bytes, openings: Sequence[bytes]) -> bool:
    match canonical.decode(sealed[SIGNATURE_SIZE:]):
        case {"body": {"members": [*members]}}:
            return len(members) == len(openings)
    return False
