"""Batches of audits, opened and graded again, trust in their authors, clusters: specs/06-ledger.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, NETWORK, SIGNERS, WALL_MS
from protocol.audit_batch import Answers, Leaf, audits_body, make_leaf, opening_body, regrade
from protocol.ballot import CommitSet, Reveal
from protocol.clusters import AuditRecord, partition
from protocol.constants import CLOCK_SKEW_MS_MAX
from protocol.envelope import seal
from protocol.genesis import Genesis
from protocol.ledger import START, Entry, make_entry, open_entry
from protocol.parameters import Parameters, Skill, preset
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.step import StepId
from protocol.trust import lower_bound

DOCUMENT: Final = "06-ledger.md"
_PARAMETERS: Final = Parameters(
    preset("dev").genesis,
    revision=1,
    skills={
        "arith": Skill("number", 10, 256, (), ("arith/add", "riddles/hard")),
        "lists": Skill("list", 10, 256, (), ("lists/sort",)),
        "logic": Skill("choice", 2, 256, (), ("logic/parity",)),
    },
)
_AUTHOR: Final = 0
# Who answers, by the number of its key.
_EXECUTORS: Final = (1, 2)


def _regrade(
    audits: bytes, opening: bytes, genesis: dict[str, Any], parameters: dict[str, Any]
) -> list[tuple[bytes, str, str]]:
    """Verdicts as (peer, skill, verdict)."""
    return list(regrade(open_entry(audits), open_entry(opening), Parameters.parse(Genesis.parse(genesis), parameters)))


def _clusters(records: list[dict[str, Any]]) -> list[tuple[bytes, int]]:
    return sorted(partition(AuditRecord(**record) for record in records).items())


OPERATIONS: Final[dict[str, Operation]] = {"regrade": _regrade, "bound": lower_bound, "clusters": _clusters}


@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit as it is opened: the leaf, and by round what each executor gave; what is changed makes it a wrong one."""

    leaf: Leaf
    rounds: tuple[tuple[tuple[int, str | None], ...], ...]
    set_by: int = _AUTHOR
    set_task: bytes | None = None
    reveal_task: bytes | None = None
    reveal_to: bytes = KEYS[_AUTHOR]
    issued_ms: int = WALL_MS + 1_000
    numbers: tuple[int, ...] = (0, 1, 2)
    nonce: bytes = b"\x07" * 32
    opened: dict[int, str | None] = field(default_factory=dict)
    unopened: frozenset[int] = frozenset()


def _sealed(by: int, message: Message, to: bytes, issued_ms: int) -> bytes:
    return seal(SIGNERS[by], NETWORK, message.TYPE, to, message.body(), issued_ms, 60_000)


def _round(audit: _Audit, number: int, answers: Sequence[tuple[int, str | None]]) -> tuple[bytes, tuple[bytes, ...]]:
    task = audit.leaf.task
    members, reveals = [], []
    for executor, answer in sorted(answers, key=lambda row: KEYS[row[0]]):
        bound = commitment(NETWORK, StepId(task), number, KEYS[executor], audit.nonce, answer)
        members.append((KEYS[executor], bound))
        said = audit.opened.get(executor, answer)
        reveal = Reveal(audit.reveal_task or task, 0, 0, b"\x08" * 32, number, audit.nonce, said)
        if executor not in audit.unopened:
            reveals.append(_sealed(executor, reveal, audit.reveal_to, audit.issued_ms))
    closed = CommitSet(audit.set_task or task, 0, 0, number, tuple(members))
    return _sealed(audit.set_by, closed, KEYS[executor], audit.issued_ms), tuple(reveals)


def _answers(audit: _Audit) -> Answers:
    rounds = zip(audit.numbers, audit.rounds, strict=False)
    return Answers(audit.leaf, tuple(_round(audit, number, answers) for number, answers in rounds))


def _leaf(place: int, skill: str, family: str, difficulty: int = 1) -> Leaf:
    task, nonce = bytes([place]) * 16, bytes([place]) * 32
    leaf, _ = make_leaf(_PARAMETERS, skill, (skill, family), difficulty, 2**40 + place, task, nonce)
    return leaf


def _entries(batch: Sequence[_Audit], **changes: Any) -> tuple[Entry, Entry]:  # noqa: ANN401 - a body's values
    """The entries `audits` and `opening`; `changes` are of the body of the first."""
    found = [_answers(audit) for audit in batch]
    start = make_entry(SIGNERS[_AUTHOR], NETWORK, None, START, {"recovery": bytes(32), "succession": b""}, WALL_MS)
    body = audits_body([answers.leaf for answers in found]) | changes
    first = make_entry(SIGNERS[_AUTHOR], NETWORK, start, "audits", body, WALL_MS)
    return first, make_entry(SIGNERS[_AUTHOR], NETWORK, first, "opening", opening_body(found), WALL_MS + 60_000)


def _case(name: str, batch: Sequence[_Audit], code: str | None = None, entries: tuple[Entry, Entry] | None = None) -> Case:
    audits, opening = entries or _entries(batch)
    given: dict[str, object] = {
        "audits": audits.data,
        "opening": opening.data,
        "genesis": _PARAMETERS.genesis.body(),
        "parameters": _PARAMETERS.body(),
    }
    return Case("regrade", name, given, code)


def _batches() -> list[Case]:
    one, two = _leaf(1, "arith", "add"), _leaf(2, "logic", "parity", 2)
    right = tuple((executor, one.gold) for executor in _EXECUTORS)
    other = tuple((executor, two.gold) for executor in _EXECUTORS[:1])
    audit, second = _Audit(one, (right,)), _Audit(two, (other,))
    mixed = _Audit(one, (((1, one.gold), (2, "-1"), (3, None)),))
    audits, opening = _entries([audit])
    swapped = _entries([second, audit])[1]
    good = {
        "all right": [audit],
        "right, wrong and silent": [mixed],
        "two audits": [audit, second],
        "two rounds": [replace(audit, rounds=(right[:1], right[1:]))],
        "rounds 1 and 3": [replace(audit, rounds=(right[:1], right[1:]), numbers=(1, 3))],
        "an answer that is not in canonical form": [replace(audit, rounds=(((1, f"+{one.gold}"),),))],
        "dated before the batch, as clocks may differ": [replace(audit, issued_ms=WALL_MS - CLOCK_SKEW_MS_MAX)],
    }
    wrong = {
        "an answer beside its commitment": [replace(audit, opened={2: "-1"})],
        "an abstention beside its commitment": [replace(audit, opened={2: None})],
        "a set of another author": [replace(audit, set_by=7)],
        "a set of another task": [replace(audit, set_task=bytes(16))],
        "an opening of another task": [replace(audit, reveal_task=bytes(16))],
        "an opening for another": [replace(audit, reveal_to=KEYS[7])],
        "dated before the batch": [replace(audit, issued_ms=WALL_MS - CLOCK_SKEW_MS_MAX - 1)],
        "the rounds in the wrong order": [replace(audit, rounds=(right[:1], right[1:]), numbers=(1, 0))],
        "one round twice": [replace(audit, rounds=(right[:1], right[1:]), numbers=(0, 0))],
        "one executor in two rounds": [replace(audit, rounds=(right, right[:1]))],
        "a gold answer of its own": [replace(audit, leaf=replace(one, gold="-1"))],
        "another question than the exercise": [replace(audit, leaf=replace(one, input_hash=bytes(32)))],
        "another nonce than the question's": [replace(audit, leaf=replace(one, nonce=bytes(32)))],
        "one task twice": [audit, replace(second, leaf=replace(two, task=one.task))],
    }
    others: list[tuple[str, str, list[_Audit]]] = [
        ("unanswered", "nobody answered", [replace(audit, rounds=())]),
        ("unanswered", "a member did not open", [replace(audit, unopened=frozenset((2,)))]),
        ("revision", "of another revision", [replace(audit, leaf=replace(one, revision=2))]),
        ("revision", "an exercise that audits another skill", [replace(audit, leaf=replace(one, skill="lists"))]),
        ("revision", "an exercise that nobody knows", [replace(audit, leaf=replace(one, exercise="riddles/hard"))]),
        ("revision", "a skill that the network lacks", [replace(audit, leaf=replace(one, skill="poems"))]),
    ]
    return [
        *(_case(name, batch) for name, batch in good.items()),
        *(_case(name, batch, "opening") for name, batch in wrong.items()),
        *(_case(name, batch, code) for code, name, batch in others),
        _case("another root", [audit], "opening", _entries([audit], root=bytes(32))),
        _case("another count", [audit], "opening", _entries([audit], count=2)),
        _case("another batch", [audit], "opening", (audits, swapped)),
        _case("opened before it was committed", [audit], "opening", (opening, audits)),
    ]


def _bounds() -> list[Case]:
    pairs = (
        (0, 0),
        (0, 5),
        (1, 1),
        (3, 3),
        (10, 10),
        (9, 10),
        (5, 10),
        (20, 20),
        (64, 64),
        (63, 64),
        (100, 100),
        (99, 200),
        (32, 64),
    )
    return [Case("bound", f"{agreed} of {judged}", {"agreed": agreed, "judged": judged}) for agreed, judged in pairs]


def _records(wrong: Sequence[Sequence[int | None]], chance: int = 9) -> list[dict[str, object]]:
    """Of each peer a row: its wrong answer to each audit, None where it was right, -1 where it has no record."""
    return [
        {
            "audit": bytes([audit]) * 4,
            "peer": KEYS[peer],
            "chance": chance,
            "wrong": None if made is None else bytes([made]) * 4,
        }
        for peer, row in enumerate(wrong)
        for audit, made in enumerate(row)
        if made != -1
    ]


def _partitions() -> list[Case]:
    rows: dict[str, list[dict[str, object]]] = {
        "nobody": [],
        "no mistakes": _records([[None] * 10] * 3),
        "one mistake in common": _records([[1, None, None], [1, None, None]]),
        "all mistakes in common": _records([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]]),
        "mistakes that differ": _records([[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]]),
        "a chain of three": _records([[1] * 6 + [-1] * 6, [1] * 12, [-1] * 6 + [1] * 6]),
        "two clusters": _records([[1] * 8, [2] * 8, [1] * 8, [2] * 8]),
        "two options, erring together": _records([[1] * 20 + [None] * 20] * 2, chance=1),
        "two options, erring apart": _records([[1] * 10 + [None] * 10, [None] * 10 + [1] * 10], chance=1),
        "two skills": [
            *_records([[1, 1, 1], [1, 1, 1]]),
            *({**row, "audit": b"other" + bytes(row["audit"])} for row in _records([[1, 1], [1, 1]], chance=2)),  # type: ignore[call-overload]
        ],
    }
    return [Case("clusters", name, {"records": records}) for name, records in rows.items()]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_batches(), *_bounds(), *_partitions()]
