"""One target under the fuzzer, in a process of its own: `python -m contrib.fuzz.child TARGET FOLDER [libFuzzer's options]`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["protocol"], enable_loader_override=False):
    from contrib.fuzz.cores import Flood
    from contrib.fuzz.targets import TARGETS, seeds


def main(words: list[str]) -> None:
    """Fuzz until the options say that it is enough; the process ends with libFuzzer's exit code."""
    name, folder = words[0], Path(words[1])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    target = TARGETS[name]
    if isinstance(target, Flood):
        target.history = folder / "history"
    options = [f"-artifact_prefix={folder}/", "-print_final_stats=1", *words[2:]]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
