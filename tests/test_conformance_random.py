"""Both readers on what nobody chose: mutated bytes, odd texts, votes and bids drawn by lot, from a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from contrib.vectors import award, encoding, envelope, evidence, generators, plans, vote
from contrib.vectors.__main__ import SUBJECTS
from contrib.vectors.form import Case, answered, written
from contrib.vectors.keys import BEACON_ID, KEYS, NETWORK, TASK, WALL_MS
from protocol import canonical, exercises
from tests.test_conformance import _missing, _reader

ROUNDS: Final = 400
LETTERS: Final = "aZ09.,;:-+_#[]()'\"` \t\n\u00a0\u00e9e\u0301\u2019\u3000\ufeff\u200b\U0001d11eanswer: 17"
KINDS: Final = ("number", "list", "word", "choice", "plan", "text")


def mutated(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(changed) + 1)
        match random.randrange(4):
            case 0 if place < len(changed):
                changed[place] = random.randrange(256)
            case 1:
                changed[place:place] = random.randbytes(random.randint(1, 3))
            case 2:
                del changed[place : place + random.randint(1, 3)]
            case _:
                del changed[place:]
    return bytes(changed)


def text(random: Random, size_max: int = 24) -> str:
    return "".join(random.choices(LETTERS, k=random.randint(0, size_max)))


def value(random: Random, depth: int = 0) -> object:
    match random.randrange(8 if depth < 3 else 6):
        case 0:
            return random.choice([None, True, False])
        case 1:
            return random.choice([1, -1]) * random.getrandbits(random.randint(1, 63))
        case 2 | 3:
            return text(random, 40)
        case 4 | 5:
            return random.randbytes(random.randint(0, 40))
        case 6:
            return [value(random, depth + 1) for _ in range(random.randint(0, 18))]
        case _:
            return {text(random, 6): value(random, depth + 1) for _ in range(random.randint(0, 18))}


def of_encoding(random: Random) -> Iterator[Case]:
    for number in range(ROUNDS):
        data = canonical.encode(value(random))
        yield Case("decode", f"as it is {number}", {"data": data})
        yield Case("decode", f"mutated {number}", {"data": mutated(random, data)})


def of_envelopes(random: Random) -> Iterator[Case]:
    honest = envelope._signed()
    for number in range(ROUNDS):
        given = {"data": mutated(random, honest), "network": NETWORK, "key": KEYS[1], "wall_ms": WALL_MS}
        yield Case("open", str(number), given)


def of_evidence(random: Random) -> Iterator[Case]:
    for number in range(ROUNDS):
        ratio = {"numerator": random.getrandbits(random.randint(1, 80)) + 1, "denominator": random.getrandbits(40) + 1}
        yield Case("log2_fixed", str(number), ratio)
        counts = {"options": random.randint(2, 1_000), "hits": random.getrandbits(14), "misses": random.getrandbits(12)}
        yield Case("weight", str(number), counts)


def of_awards(random: Random) -> Iterator[Case]:
    for number in range(ROUNDS // 4):
        bids = [
            {
                "id": random.randbytes(32),
                "bidder": random.choice(KEYS[:3]) if random.randrange(4) == 0 else random.randbytes(32),
                "queued": random.randint(0, 12),
                "slots": random.randint(1, 4),
                "hits": random.choice([0, 0, 256, 2_304, random.getrandbits(12)]),
                "misses": random.choice([0, 256, random.getrandbits(11)]),
                "cluster": -1,
            }
            for _ in range(random.randint(0, 9))
        ]
        known = {row["bidder"]: row for row in bids}
        rows = [row | {name: known[row["bidder"]][name] for name in ("hits", "misses")} for row in bids]
        given = {"beacon": BEACON_ID, "seats": random.randint(1, 4), "options": 10, "newcomer_seats": random.choice([0, 3])}
        # A view has one row a bidder; two bids of one are for the award alone, and stand in vectors that were chosen.
        yield Case("award", str(number), given | {"bids": rows if len(known) == len(bids) else rows[:1]})


def votes(random: Random, count: int) -> list[dict[str, object]]:
    return [
        {
            "peer": KEYS[place],
            "answer": random.choice(["7", "8", "9", None]),
            "weight": random.choice([0, 1, 65_536, random.getrandbits(19)]),
            "cluster": random.choice([None, None, 0, 1]),
        }
        for place in range(count)
    ]


def of_votes(random: Random) -> Iterator[Case]:
    for number in range(ROUNDS):
        cast = votes(random, random.randint(0, 6))
        others = [row | {"answer": None} for row in votes(random, random.randint(0, 3))]
        yield Case("tally", str(number), {"task": TASK, "votes": cast, "silent": others})
        yield Case("decided", str(number), {"task": TASK, "votes": cast, "owed": others})
        yield Case("answer", str(number), {"kind": random.choice(KINDS), "output": f"{text(random)}answer:{text(random)}"})


def of_plans(random: Random) -> Iterator[Case]:
    lines = ("lists: Sort 3 1 2.", "arith: Add #1[-1] and #1.", "logic: Is #2 even?", "text: Count #1[3] in #2.")
    for number in range(ROUNDS):
        plan = mutated(random, "\n".join(random.sample(lines, random.randint(1, 4))).encode()).decode("utf-8", "replace")
        yield Case("plan", str(number), {"text": plan})


def of_generators(random: Random) -> Iterator[Case]:
    for number in range(ROUNDS):
        skill = random.choice(list(exercises.SKILLS))
        named = {"skill": skill, "family": random.choice(exercises.SKILLS[skill])}
        yield Case("exercise", str(number), named | {"difficulty": random.randint(1, 3), "seed": random.getrandbits(64)})


DRAWN: Final = {
    encoding: of_encoding,
    envelope: of_envelopes,
    evidence: of_evidence,
    award: of_awards,
    vote: of_votes,
    plans: of_plans,
    generators: of_generators,
}


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_conformance__the_independent_reader_agrees_on_what_nobody_chose(tmp_path: Path) -> None:
    for module, cases in DRAWN.items():
        subject = next(name for name, each in SUBJECTS.items() if each is module)
        rows = [answered(case, module.OPERATIONS[case.operation]) for case in cases(Random(7))]  # noqa: S311 - a fixed seed
        (tmp_path / f"{subject}.json").write_text(written(module.DOCUMENT, rows), encoding="utf-8")
    code, found = _reader(tmp_path)
    assert [row for row in found if row["different"]] == []
    assert (code, len(found)) == (0, len(DRAWN))
