"""`make mutants`: change `protocol` in a hundred places, one at a time, and see whether the tests notice.

    python -m contrib.mutants [--by tests|simnet] [--count 100] [--seed 1] [--list] [--again] [--score-min 85]

The draw is fixed by the seed and the code. Mutants that were killed are remembered in .cache/mutants by what they are; a
run that was stopped goes on there, and survivors are tried again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from contrib.mutants import running, simulated
from contrib.mutants.sampling import Mutant, sample

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CACHE: Final = REPOSITORY / ".cache" / "mutants"
COUNT: Final = 100
SCORE_MIN: Final = 85
SEED: Final = 1
# A mutant that loops may fill the memory as well; what the tests run in has this limit from here.
MEMORY_MAX: Final = 4 << 30

Choose = Callable[[Path, str], tuple[str, ...]]


def key_of(mutant: Mutant) -> str:
    """Names a mutant by where it is and by all the code of its file."""
    return hashlib.sha256(f"{mutant.path}\0{mutant.code}".encode()).hexdigest()[:24]


def remembered() -> dict[str, str]:
    """Verdicts of earlier runs that cost the tests nothing to stand by: those of the killed."""
    file = CACHE / "verdicts.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {row["key"]: row["verdict"] for row in rows if row["verdict"] != "survived"}


def judged(mutants: list[Mutant], *, again: bool) -> list[str]:
    """The verdicts on `mutants`, in their order: the near tests on all of them, then the others on those that survived."""
    CACHE.mkdir(parents=True, exist_ok=True)
    verdicts = {} if again else remembered()
    trees: SimpleQueue[Path] = SimpleQueue()
    workers = os.cpu_count() or 1
    for number in range(workers):
        trees.put(running.copied(REPOSITORY, CACHE / f"tree-{number}"))
    with (CACHE / "verdicts.jsonl").open("a") as log, ThreadPoolExecutor(workers) as pool:

        def judge(mutant: Mutant, choose: Choose) -> None:
            tree, began = trees.get(), time.monotonic()
            try:
                verdict = running.verdict(tree, mutant, choose(tree, mutant.path))
            finally:
                trees.put(tree)
            verdicts[key_of(mutant)] = verdict
            log.write(json.dumps({"key": key_of(mutant), "verdict": verdict}) + "\n")
            log.flush()
            took_s = time.monotonic() - began
            place = f"{mutant.path}:{mutant.line} {mutant.operator}"
            print(f"{choose.__name__:5} {verdict:9} {took_s:5.0f} s {place}", flush=True)

        for choose in (running.near, running.far):
            waiting = [mutant for mutant in mutants if verdicts.get(key_of(mutant), "survived") == "survived"]
            print(f"{len(waiting)} of {len(mutants)} mutants meet the {choose.__name__} tests", flush=True)
            list(pool.map(lambda mutant, choose=choose: judge(mutant, choose), waiting))
    return [verdicts[key_of(mutant)] for mutant in mutants]


def main(words: list[str]) -> int:
    """The exit code: 0 when enough were killed, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m contrib.mutants", description="Mutation tests of protocol.")
    parser.add_argument("--by", choices=("tests", "simnet"), default="tests", help="what is to notice (%(default)s)")
    parser.add_argument("--count", type=int, default=COUNT, help="how many mutants (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the draw (%(default)s)")
    parser.add_argument("--list", action="store_true", help="show the draw and run nothing")
    parser.add_argument("--again", action="store_true", help="forget the verdicts of earlier runs")
    parser.add_argument("--score-min", type=int, default=SCORE_MIN, help="killed of a hundred, or fail (%(default)s)")
    chosen = parser.parse_args(words)
    mutants = sample(REPOSITORY, chosen.count, chosen.seed)
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.path}:{mutant.line} {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}")
        return 0
    if chosen.by == "simnet":
        print("\n".join(simulated.lines(mutants, simulated.judged(mutants, CACHE, again=chosen.again))))
        return 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    try:
        verdicts = judged(mutants, again=chosen.again)
    except running.BrokenTreeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    print("\n| place | before | after |\n|---|---|---|")
    for mutant, verdict in zip(mutants, verdicts, strict=True):
        if verdict == "survived":
            print(f"| `{mutant.path}` {mutant.line} | `{mutant.before}` | `{mutant.after}` |")
    counts = Counter(verdicts)
    killed = counts["killed"] + counts["timeout"]
    print(
        f"\n{killed} of {len(mutants)} killed ({counts['timeout']} of them by running too long), "
        f"{counts['survived']} survived; seed {chosen.seed}"
    )
    return 0 if killed * 100 >= chosen.score_min * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
