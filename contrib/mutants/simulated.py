"""Runs the simulator's hunt against one mutant after the other: which single changes of the code its checkers notice.

    python -m contrib.mutants --by simnet [--count 100] [--seed 1] [--again]

Each is hunted in a process of its own (simnet/planting.py) through the same few scenarios, for so long of a processor's time.
Verdicts are kept in .cache/mutants with what made them, so a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from contrib.mutants.sampling import Mutant
from simnet import planting
from simnet.planting import BROKEN, Hunted, Job, PlantingError

# Scenarios that each mutant meets, from seed 1 on, and no further one after so many seconds of a processor.
DRAWS: Final = 6
CPU_S: Final = 25
# A hunt that its limits ended: the mutant loops, or takes all the memory.
ENDLESS: Final = "endless"


def module_of(mutant: Mutant) -> str:
    """The name under which a mutant's file is imported."""
    return ".".join(Path(mutant.path).with_suffix("").parts)


def judged(mutants: Sequence[Mutant], cache: Path, *, again: bool) -> list[Hunted]:
    """What the hunt found in each, in their order."""
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / "simulated.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() and not again else []
    known = {row["key"]: Hunted(**row["found"]) for row in rows}
    tree = _digest()
    found = []
    with log.open("a") as file:
        for number, mutant in enumerate(mutants, 1):
            key = hashlib.sha256(f"{tree}\0{mutant.path}\0{mutant.code}".encode()).hexdigest()[:24]
            if key not in known:
                known[key] = _hunted(mutant)
                file.write(json.dumps({"key": key, "found": asdict(known[key])}) + "\n")
                file.flush()
                each = known[key]
                said = f"{each.checker or 'survived':16} {each.cpu_s:5.1f} s"
                print(f"{number:3} of {len(mutants)} {said} {mutant.path}:{mutant.line} {mutant.operator}", flush=True)
            found.append(known[key])
    return found


def _hunted(mutant: Mutant) -> Hunted:
    try:
        return planting.run(Job(module_of(mutant), mutant.code, 1, DRAWS, CPU_S))
    except PlantingError as error:
        return Hunted(ENDLESS, str(error), 1, 0, 0.0)


def _digest() -> str:
    """The simulator and the protocol as they are: under others a mutant may fare otherwise."""
    from simnet.running import source_digest  # noqa: PLC0415  it imports all of both

    return source_digest()


def lines(mutants: Sequence[Mutant], found: Sequence[Hunted]) -> list[str]:
    """The survivors, and how many were noticed by what."""
    shown = ["", "| place | before | after |", "|---|---|---|"]
    for mutant, each in zip(mutants, found, strict=True):
        if not each.checker:
            shown.append(f"| `{mutant.path}` {mutant.line} | `{mutant.before}` | `{mutant.after}` |")
    counts = Counter(each.checker for each in found if each.checker)
    by = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    broken = counts[BROKEN] + counts[ENDLESS]
    seen = sum(counts.values()) - broken
    cpu_s = sum(each.cpu_s for each in found)
    total = f"{seen} of {len(found)} found by a checker or an error of a core, {broken} that cannot be imported or do not end"
    return [*shown, "", f"{total}, {len(found) - seen - broken} not; {cpu_s:.0f} s of a processor", f"by: {by}"]
