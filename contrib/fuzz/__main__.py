"""`make fuzz`: every target of contrib/fuzz/targets.py under Atheris for its share of the time.

    python -m contrib.fuzz [--minutes 10] [TARGET ...]
    python -m contrib.fuzz --repeat FILE TARGET     what the fuzzer found, once more and without it

What it learns stays in .cache/fuzz, so the next run goes on from there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from contrib.fuzz.targets import TARGETS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CACHE: Final = REPOSITORY / ".cache" / "fuzz"
# Whole cores have the most to find and are the slowest; the shares of the others are 1.
SHARES: Final = {"cores": 4, "flood": 4}
RSS_MB_MAX: Final = 1_024
INPUT_SIZE_MAX: Final = 4_096
# One input that takes as long is a hang.
HANG_S: Final = 60


def fuzz(name: str, seconds: int) -> tuple[str, bool]:
    """Run one target; gives a line about it, and whether nothing was found."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    options = (
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={RSS_MB_MAX}",
        f"-max_len={INPUT_SIZE_MAX}",
        f"-timeout={HANG_S}",
        "-len_control=0",  # the slow targets would never come to long inputs
        "-seed=1",
    )
    command = [sys.executable, "-m", "contrib.fuzz.child", name, str(folder), *options]
    log = folder / "log"
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
    text = log.read_text(errors="replace")
    runs = _last(r"stat::number_of_executed_units: (\d+)", text)
    memory = _last(r"stat::peak_rss_mb: +(\d+)", text)
    branches = _last(r"cov: (\d+)", text)
    line = f"{name:16} {seconds:5} s {runs:>10} inputs, {branches:>6} branches, {memory:>5} MB at most"
    if done.returncode == 0:
        return line, True
    error = _last(r"(?m)^([A-Za-z_.]*(?:Error|Exception)\b.*)$", text)
    found = _last(r"Test unit written to (\S+)", text)
    line += f"\n{name}: exit code {done.returncode}: {error}; repeat it with --repeat {found} {name}; the log is {log}"
    return line, False


def _last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text)
    return found[-1] if found else "?"


def main(words: list[str]) -> int:
    """The exit code: 0 when nothing was found, 1 when something was, 2 when there is no fuzzer for this machine."""
    parser = argparse.ArgumentParser(prog="python -m contrib.fuzz", description="Fuzz the parsers and the core.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--minutes", type=float, default=10, help="for all of them together (%(default)s)")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run TARGET on this input and no fuzzer")
    chosen = parser.parse_args(words)
    names = chosen.targets or list(TARGETS)
    unknown = sorted(set(names) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if chosen.repeat is not None:
        for name in names:
            TARGETS[name](chosen.repeat.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(
            "fuzz: Atheris has packages for Linux on x86-64 under Python 3.11 to 3.13 alone; use one of these", file=sys.stderr
        )
        return 2
    workers = min(len(names), os.cpu_count() or 1)
    share_s = chosen.minutes * 60 * workers / sum(SHARES.get(name, 1) for name in names)
    # The longest first, so that the processors end together.
    names.sort(key=lambda name: -SHARES.get(name, 1))
    sound = True
    with ThreadPoolExecutor(workers) as pool:
        for line, is_sound in pool.map(lambda name: fuzz(name, max(1, round(share_s * SHARES.get(name, 1)))), names):
            print(line, flush=True)
            sound = sound and is_sound
    print("nothing but the errors that are promised" if sound else "something was found", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
