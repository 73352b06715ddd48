"""A batch of audits: committed before its first beacon, opened when all have ended, and graded again by whoever reads it.

A leaf binds a task and its question, not the id of a beacon: a beacon sealed that early would carry an early date and tell
audits from questions. The date is the author's word; that each answer came after the commitment is its executor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from protocol import canonical, exercises, merkle
from protocol.answers import is_canonical
from protocol.ballot import CommitSet, Reveal
from protocol.constants import ANSWER_SIZE_MAX, AUDIT_BATCH_MAX, BATCHES_KEPT, CLOCK_SKEW_MS_MAX, REVISION_MAX, ROUNDS_MAX
from protocol.envelope import Envelope, open_envelope
from protocol.errors import RemoteProtocolError
from protocol.exercises import Exercise
from protocol.ledger import Entry
from protocol.memo import Memo
from protocol.messages import input_hash
from protocol.parameters import Parameters, exercise_name
from protocol.schema import Message, Rule, integer, raw, string
from protocol.sealing import commitment
from protocol.step import ID_SIZE, NONCE_SIZE, TASK_SIZE, StepId

AUDITS: Final = "audits"
OPENING: Final = "opening"

# Peer, skill, and "hit", "miss" or "abstained".
Verdicts: TypeAlias = tuple[tuple[bytes, str, str], ...]
# Every follower of one author grades the same batch: where many of them are in one process, once is enough.
_REGRADED: Final[Memo[Verdicts]] = Memo(BATCHES_KEPT)
_TASKS: Final[Memo[tuple[bytes, ...]]] = Memo(BATCHES_KEPT)
MEMOS: Final = (_REGRADED, _TASKS)


@dataclass(frozen=True, slots=True)
class Leaf(Message):
    """One audit as its author bound it: the task, the exercise, the answer that is right, and under which parameters."""

    difficulty: int
    exercise: str
    gold: str
    input_hash: bytes
    nonce: bytes
    revision: int
    seed: int
    skill: str
    task: bytes
    TYPE: ClassVar[str] = "audit"
    RULES: ClassVar[dict[str, Rule]] = {
        "difficulty": integer(exercises.DIFFICULTIES[0], exercises.DIFFICULTIES[-1]),
        "exercise": exercise_name,
        "gold": string(ANSWER_SIZE_MAX, 1),
        "input_hash": raw(ID_SIZE),
        "nonce": raw(NONCE_SIZE),
        "revision": integer(0, REVISION_MAX),
        "seed": integer(0, exercises.SEED_MAX),
        "skill": string(32, 1),
        "task": raw(TASK_SIZE),
    }

    @property
    def data(self) -> bytes:
        """What is hashed into the tree."""
        return canonical.encode(self.body())


Leaf.check_table()


@dataclass(frozen=True, slots=True)
class Answers:
    """What shows an audit's answers: the set that closed each round, and the openings of all its members, as they were sent."""

    leaf: Leaf
    rounds: tuple[tuple[bytes, tuple[bytes, ...]], ...]


def make_leaf(
    parameters: Parameters, skill: str, family: tuple[str, str], difficulty: int, seed: int, task: bytes, nonce: bytes
) -> tuple[Leaf, Exercise]:
    """The leaf of an audit of `skill` by the exercise `family`, and the exercise."""
    exercise = exercises.generate(family[0], difficulty, seed, family[1])
    rule = parameters.skills[skill]
    bound = input_hash(nonce, exercise.text, rule.answer, rule.tokens_max)
    name = "/".join(family)
    return Leaf(difficulty, name, exercise.gold, bound, nonce, parameters.revision, seed, skill, task), exercise


def audits_body(leaves: Sequence[Leaf]) -> dict[str, canonical.Value]:
    """The body of the entry that commits to `leaves`."""
    return {"count": len(leaves), "root": merkle.root([leaf.data for leaf in leaves])}


def opening_body(batch: Sequence[Answers]) -> dict[str, canonical.Value]:
    """The body of the entry that opens a batch, in the order in which it was committed."""
    leaves: list[canonical.Value] = [
        canonical.encode([answers.leaf.body(), [[sealed, list(reveals)] for sealed, reveals in answers.rounds]])
        for answers in batch
    ]
    return {"leaves": leaves, "root": merkle.root([answers.leaf.data for answers in batch])}


def regrade(audits: Entry, opening: Entry, parameters: Parameters) -> Verdicts:
    """The verdicts (peer, skill, "hit", "miss" or "abstained") of a batch that `audits` committed and `opening` opens.

    Raises `RemoteProtocolError`: "opening" for what its author signed and is not so, "unanswered" for an audit without an
    answer of everyone bound to one, "revision" for other parameters than ours. The entries' signatures are the caller's.
    """
    # Of one network and revision there is one set of parameters, whatever object it is.
    key = audits.id, opening.id, parameters.network, parameters.revision
    return _REGRADED.get(key, lambda: _regraded(audits, opening, parameters))


def _regraded(audits: Entry, opening: Entry, parameters: Parameters) -> Verdicts:
    batch = open_leaves(audits, opening)
    verdicts = []
    for answers in batch:
        _check_exercise(answers.leaf, parameters)
        graded = _grade(audits, answers, parameters)
        verdicts += [(peer, answers.leaf.skill, verdict) for peer, verdict in sorted(graded.items())]
    return tuple(verdicts)


def open_leaves(audits: Entry, opening: Entry) -> list[Answers]:
    """The audits of an opened batch; raises `RemoteProtocolError` "opening" unless they are those that were committed."""
    if audits.kind != AUDITS or opening.kind != OPENING or audits.author != opening.author or opening.number <= audits.number:
        raise RemoteProtocolError("opening", "not a batch and its later opening")
    leaves = opening.body["leaves"]
    assert isinstance(leaves, list)
    if len(leaves) > AUDIT_BATCH_MAX:
        raise RemoteProtocolError("opening", f"more than {AUDIT_BATCH_MAX} audits")
    batch = [_parse(leaf) for leaf in leaves if isinstance(leaf, bytes)]
    if len(batch) != audits.body["count"] or audits.body["root"] != opening.body["root"]:
        raise RemoteProtocolError("opening", "of another batch")
    if merkle.root([answers.leaf.data for answers in batch]) != audits.body["root"]:
        raise RemoteProtocolError("opening", "not the audits that were committed")
    if len({answers.leaf.task for answers in batch}) != len(batch):
        raise RemoteProtocolError("opening", "two audits with one task")
    return batch


def opened_tasks(opening: Entry) -> tuple[bytes, ...]:
    """The tasks whose audits an opening shows, whether it holds or not; raises `RemoteProtocolError` if it cannot be read."""
    return _TASKS.get(opening.id, lambda: _opened_tasks(opening))


def _opened_tasks(opening: Entry) -> tuple[bytes, ...]:
    leaves = opening.body["leaves"]
    assert isinstance(leaves, list)
    return tuple(_parse(leaf).leaf.task for leaf in leaves[:AUDIT_BATCH_MAX] if isinstance(leaf, bytes))


def opening_root(opening: Entry) -> bytes:
    """The Merkle root of the leaves that an opening shows, whatever their fields; raises `RemoteProtocolError` for none."""
    leaves = opening.body["leaves"]
    shown = []
    for data in leaves if isinstance(leaves, list) else []:
        match canonical.decode(data if isinstance(data, bytes) else b""):
            case [dict(leaf), _]:
                shown.append(canonical.encode(leaf))
            case _:
                raise RemoteProtocolError("opening", "an audit is not a leaf and its rounds")
    if not shown:
        raise RemoteProtocolError("opening", "no audits")
    return merkle.root(shown)


def _parse(data: bytes) -> Answers:
    match canonical.decode(data):
        case [dict(leaf), [*rounds]] if len(rounds) <= ROUNDS_MAX:
            return Answers(Leaf.parse(leaf), tuple(_parse_round(each) for each in rounds))
    raise RemoteProtocolError("opening", "an audit is not a leaf and its rounds")


def _parse_round(value: canonical.Value) -> tuple[bytes, tuple[bytes, ...]]:
    match value:
        case [bytes(sealed), [*reveals]]:
            found = tuple(reveal for reveal in reveals if isinstance(reveal, bytes))
            if len(found) == len(reveals):
                return sealed, found
    raise RemoteProtocolError("opening", "a round is not a commit set and its openings")


def _check_exercise(leaf: Leaf, parameters: Parameters) -> None:
    """The question and its gold answer are those of the generator, and audit this skill in this network."""
    rule = parameters.skills.get(leaf.skill)
    skill, _, family = leaf.exercise.partition("/")
    if leaf.revision != parameters.revision or rule is None or (skill, family) not in rule.audited_by:
        raise RemoteProtocolError("revision", "audits by other parameters than ours")
    made, exercise = make_leaf(parameters, leaf.skill, (skill, family), leaf.difficulty, leaf.seed, leaf.task, leaf.nonce)
    if leaf.gold != exercise.gold:
        raise RemoteProtocolError("opening", "a gold answer that is not the generator's")
    if leaf != made:
        raise RemoteProtocolError("opening", "another question than the generator's")


def _grade(audits: Entry, answers: Answers, parameters: Parameters) -> dict[bytes, str]:
    """The verdict on each executor, from its own signature."""
    leaf, found = answers.leaf, dict[bytes, str]()
    kind, last = parameters.skills[leaf.skill].answer, -1
    for data, openings in answers.rounds:
        sealed = _opened(data, audits, CommitSet.TYPE, audits.author).message(CommitSet)
        if sealed.step_id != StepId(leaf.task) or sealed.round <= last:
            raise RemoteProtocolError("opening", "a commit set of another task, or not of the next round")
        last = sealed.round
        reveals = [_opened(reveal, audits, Reveal.TYPE, None) for reveal in openings]
        if [reveal.sender for reveal in reveals] != [peer for peer, _ in sealed.members]:
            # Whoever may leave out an answer can hide what a peer got right.
            raise RemoteProtocolError("unanswered", "not an opening of everyone in the set")
        for (peer, bound), envelope in zip(sealed.members, reveals, strict=True):
            reveal = envelope.message(Reveal)
            opens = commitment(audits.network, sealed.step_id, sealed.round, peer, reveal.nonce, reveal.answer)
            if reveal.step_id != sealed.step_id or envelope.to != audits.author or opens != bound:
                raise RemoteProtocolError("opening", "opens another commitment than the set holds")
            if envelope.issued_ms + CLOCK_SKEW_MS_MAX < audits.wall_ms:
                raise RemoteProtocolError("opening", "answered before it was committed")
            if peer in found:
                raise RemoteProtocolError("opening", "one executor twice in one audit")
            right = "hit" if reveal.answer == leaf.gold else "miss"
            found[peer] = right if reveal.answer is not None and is_canonical(kind, reveal.answer) else "abstained"
    if not found:
        raise RemoteProtocolError("unanswered", "an audit that nobody answered")
    return found


def _opened(data: bytes, audits: Entry, kind: str, sender: bytes | None) -> Envelope:
    envelope = open_envelope(data)
    if envelope.network != audits.network or envelope.type != kind or (sender is not None and envelope.sender != sender):
        raise RemoteProtocolError("opening", f"not a {kind} of whom it should be")
    return envelope
