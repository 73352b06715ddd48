"""Canonical answers, sealed answers and the vote: specs/08-execution.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from contrib.vectors.form import Case, Operation
from contrib.vectors.keys import KEYS, NETWORK, TASK
from protocol.answers import answer_of
from protocol.constants import ANSWER_SIZE_MAX, GATE_MEAN, WEIGHT_MAX, WEIGHT_ONE
from protocol.sealing import commitment
from protocol.step import StepId
from protocol.stopping import alone, decided, is_checked
from protocol.vote import Vote, tally

DOCUMENT: Final = "08-execution.md"
# Answer, weight and cluster of a voter; the answer of a silent one is None.
_Voice: TypeAlias = tuple[str | None, int, int | None]


def _answer(kind: str, output: str) -> str | None:
    return answer_of(kind, output)


def _commitment(
    network: bytes, task: bytes, plan: int, step: int, number: int, peer: bytes, nonce: bytes, answer: str | None
) -> bytes:
    return commitment(network, StepId(task, plan, step), number, peer, nonce, answer)


def _tally(task: bytes, votes: list[dict[str, object]], silent: list[dict[str, object]]) -> dict[str, object]:
    heard = [Vote(**vote) for vote in votes]  # type: ignore[arg-type]
    result = tally(task, heard, [Vote(**vote) for vote in silent])  # type: ignore[arg-type]
    names = ("answer", "earned", "margin", "support", "dissent", "abstained", "coverage")
    return {name: getattr(result, name) for name in names}


def _decided(task: bytes, votes: list[dict[str, object]], owed: list[dict[str, object]]) -> bool:
    return decided(task, [Vote(**vote) for vote in votes], [Vote(**vote) for vote in owed])  # type: ignore[arg-type]


def _alone(committee: list[dict[str, object]], means: list[int]) -> int | None:
    return alone([Vote(**vote) for vote in committee], means)  # type: ignore[arg-type]


OPERATIONS: Final[dict[str, Operation]] = {
    "answer": _answer,
    "commitment": _commitment,
    "tally": _tally,
    "decided": _decided,
    "alone": _alone,
    "is_checked": is_checked,
}

_OUTPUTS: Final[dict[str, tuple[str, ...]]] = {
    "number": (
        *(
            "7",
            "answer: 7",
            "3 + 4 is 7. Answer: 7.",
            "ANSWER: 7",
            "answer: 6 no, answer: 7",
            "answer:7",
            "answer :7",
            "answer: ",
        ),
        *(
            "answer: +007.50",
            "answer: -0",
            "answer: -0.0",
            "answer: 0.50",
            "answer: .5",
            "answer: 5.",
            "answer: 5...",
            "answer: 1e3",
        ),
        *("answer: 1,000", "answer: 7 apples", "answer: \u0667", "answer: --7", "answer: +-7", "answer: - 7", "answer: 007"),
        *(
            f"answer: {'9' * 64}.{'9' * 64}",
            f"answer: {'9' * 65}",
            f"answer: 1.{'0' * 65}",
            f"answer: {'0' * 64}",
            "answer: 1.2.3",
        ),
        *(
            "answer: \u00a07\u3000",
            "answer: \u200b7",
            "answer: 7\n\n",
            "answer: \x1c7\x1f",
            "an\u017fwer: 7",
            "Answer: 7 \u2026",
        ),
    ),
    "list": (
        *("answer: [3, 1;2]", "answer: (3 1 2)", "answer: 3,1,2.", "answer: ()", "answer: [[1]]", "answer: [1)", "answer: 1"),
        *(
            "answer: ,1,,2;",
            "answer: 1\u00a02\u30003",
            "answer: [ 01, +2.0, -0 ]",
            "answer: 1 two",
            "answer: [1, 2].",
            "answer: 1. 2.",
        ),
        f"answer: {' '.join('1' for _ in range(512))}",
        f"answer: {' '.join('1' for _ in range(ANSWER_SIZE_MAX))}",
    ),
    "word": (
        *(
            'answer: "banana."',
            "answer: two words",
            "answer: Banana",
            "answer: well-known",
            "answer: -known",
            "answer: well--known",
        ),
        *(
            "answer: été",
            "answer: e\u0301te\u0301",
            "answer: \u201cword\u201d.",
            "answer: don't",
            "answer: 'a'.",
            "answer: .a",
            "answer: a_b",
        ),
        *(
            "answer: 42nd",
            "answer: \u65e5\u672c",
            "answer: a\u2019b",
            "answer: ``",
            "answer: \u00bd",
            "answer: a\u00b5",
            "answer: \U0001d11e",
        ),
        *("answer: '.a.'", "answer: a\u3000b", "answer: a.\u201d."),
        "answer: " + "é" * 512,
        "answer: " + "é" * 513,
    ),
    "choice": (
        "answer: Yes.",
        "answer: NO",
        "answer: été",
        "answer: yes or no",
        "Answer: 'No'.",
        "yes",
        "answer: well-Known",
        "answer: \u212a",
    ),
    "plan": ("answer: arith: 1 + 1", "arith: 1 + 1", "answer:\n lists: Sort 2 1.\narith: Add #1[1] and 1.", "answer: 7"),
    "text": ("  two   words  ", "", " \n\u3000", "answer: 7", "e\u0301", "line\nline\n"),
}


def _outputs() -> list[Case]:
    return [
        Case("answer", f"{kind} {number}", {"kind": kind, "output": output})
        for kind, outputs in _OUTPUTS.items()
        for number, output in enumerate(outputs)
    ]


def _commitments() -> list[Case]:
    given = {"network": NETWORK, "task": TASK, "plan": 0, "step": 0, "number": 0, "peer": KEYS[0], "nonce": bytes(32)}
    rows: dict[str, dict[str, object]] = {
        "an answer": {"answer": "642"},
        "an abstention": {"answer": None},
        "the empty text": {"answer": ""},
        "another round": {"answer": "642", "number": 1},
        "another step": {"answer": "642", "step": 2},
        "another plan": {"answer": "642", "plan": 1},
        "another peer": {"answer": "642", "peer": KEYS[1]},
        "another nonce": {"answer": "642", "nonce": b"\x01" * 32},
        "another network": {"answer": "642", "network": bytes(32)},
    }
    return [Case("commitment", name, given | changes) for name, changes in rows.items()]


def _votes(voices: Iterable[_Voice], first: int = 0) -> list[dict[str, object]]:
    return [
        {"peer": KEYS[first + number], "answer": answer, "weight": weight, "cluster": cluster}
        for number, (answer, weight, cluster) in enumerate(voices)
    ]


def _tallies() -> list[Case]:
    one = WEIGHT_ONE
    rows: dict[str, tuple[list[_Voice], list[_Voice]]] = {
        "nobody": ([], []),
        "one vote": ([("7", one, None)], []),
        "weight against number": ([("7", 3 * one, None), ("8", one, None), ("8", one, None)], []),
        "the sum decides": ([("7", 2 * one, None), ("8", one, None), ("8", one + 1, None)], []),
        "a tie, by the task": ([("4", one, None), ("5", one, None)], []),
        "a tie in the other order": ([("5", one, None), ("4", one, None)], []),
        "a tie of three": ([("a", 1, None), ("b", 1, None), ("c", 1, None)], []),
        "unearned: plurality": ([("7", 0, None), ("8", 0, None), ("8", 0, None)], []),
        "unearned: a tie": ([("é", 0, None), ("e", 0, None)], []),
        "weight 0 beside an earned weight": ([("7", 1, None), ("8", 0, None), ("8", 0, None)], []),
        "abstentions": ([("7", one, None), (None, 5 * one, None), (None, 0, None)], []),
        "all abstain": ([(None, one, None), (None, 0, None)], []),
        "who earned a weight abstains": ([("7", 0, None), (None, one, None)], []),
        "a cluster has one voice": ([("7", 2 * one, None), ("8", one, 0), ("8", one + 1, 0), ("8", one, 0)], []),
        "two clusters": ([("7", 3 * one, None), ("8", 2 * one, 0), ("8", one, 0), ("8", one + 1, 1), ("8", 1, 1)], []),
        "a cluster of two minds": ([("7", one, 0), ("8", 2 * one, 0), ("8", one, None)], []),
        "an unearned cluster": ([("8", 0, 0), ("8", 0, 0), ("7", 0, None)], []),
        "silent ones lower the coverage": ([("7", one, None)], [(None, 2 * one, None)]),
        "silent ones of a cluster": ([("7", one, 0)], [(None, 2 * one, 0), (None, one, None)]),
        "silent ones alone": ([], [(None, one, None)]),
        "unearned, and a silent one of weight": ([("7", 0, None)], [(None, one, None)]),
        "the largest weights": ([("7", WEIGHT_MAX, None), ("7", WEIGHT_MAX, None), ("8", WEIGHT_MAX - 1, None)], []),
        "a thin margin": ([("7", 500_001, None), ("8", 500_000, None)], []),
    }
    return [
        Case("tally", name, {"task": TASK, "votes": _votes(heard), "silent": _votes(silent, len(heard))})
        for name, (heard, silent) in rows.items()
    ]


def _stops() -> list[Case]:
    one = WEIGHT_ONE
    rows: dict[str, tuple[list[_Voice], list[_Voice]]] = {
        "nobody": ([], []),
        "nothing opened": ([], [(None, one, None)]),
        "nothing owed": ([("7", one, None)], []),
        "more than is owed": ([("7", 2 * one, None)], [(None, one, None)]),
        "as much as is owed": ([("7", one, None)], [(None, one, None)]),
        "two against one": ([("7", one, None), ("7", one, None)], [(None, one, None)]),
        "a rival could overtake": ([("7", 3 * one, None), ("8", 2 * one, None)], [(None, one + 1, None)]),
        "a rival could draw level, 4 before 5": ([("4", 3 * one, None), ("5", 2 * one, None)], [(None, one, None)]),
        "a rival could draw level, 5 before 4": ([("5", 3 * one, None), ("4", 2 * one, None)], [(None, one, None)]),
        "a rival could not": ([("7", 4 * one, None), ("8", 2 * one, None)], [(None, one, None)]),
        "unearned, and one of weight is owed": ([("7", 0, None), ("7", 0, None)], [(None, 1, None)]),
        "unearned, two against one": ([("7", 0, None), ("7", 0, None)], [(None, 0, None)]),
        "those owed have one voice": ([("7", 2 * one, None)], [(None, one, 0), (None, one, 0), (None, one, 0)]),
        "a rival's cluster gains nothing": ([("7", 2 * one, None), ("8", one, 0)], [(None, one, 0)]),
        "an abstention": ([(None, 5 * one, None)], [(None, one, None)]),
    }
    return [
        Case("decided", name, {"task": TASK, "votes": _votes(heard), "owed": _votes(owed, len(heard))})
        for name, (heard, owed) in rows.items()
    ]


def _gates() -> list[Case]:
    one = WEIGHT_ONE
    high = [GATE_MEAN] * 4
    rows: dict[str, tuple[list[_Voice], list[int]]] = {
        "one seat": ([(None, one, None)], high),
        "more than the others together": ([(None, one, None), (None, 3 * one, None), (None, one, None)], [0, 0, 0]),
        "as much as the others together": ([(None, one, None), (None, 2 * one, None), (None, one, None)], [0, 0, 0]),
        "the others are a cluster": ([(None, one + 1, None), (None, one, 0), (None, one, 0)], [0, 0, 0]),
        "reliable": ([(None, 2 * one, None), (None, 2 * one - 1, None), (None, one, None)], high[:3]),
        "nearly reliable": ([(None, 2 * one, None), (None, 2 * one - 1, None), (None, one, None)], [GATE_MEAN - 1, 0, 0]),
        "reliable, and another is level": ([(None, 2 * one, None), (None, 2 * one, None), (None, one, None)], high[:3]),
        "nobody has a weight": ([(None, 0, None), (None, 0, None)], high[:2]),
    }
    acks = [bytes([number]) * 64 + b"acknowledgement" for number in range(20)]
    return [
        *(Case("alone", name, {"committee": _votes(voices), "means": means}) for name, (voices, means) in rows.items()),
        *(Case("is_checked", f"acknowledgement {place}", {"acknowledgements": [ack]}) for place, ack in enumerate(acks)),
        *(Case("is_checked", f"{count} acknowledgements", {"acknowledgements": acks[:count]}) for count in (0, 2, 3, 4)),
    ]


def cases() -> list[Case]:
    """All of this subject."""
    return [*_outputs(), *_commitments(), *_tallies(), *_stops(), *_gates()]
