"""`python -m contrib.vectors` writes every file of specs/vectors again; nothing but the code decides what stands in them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Final

from contrib.vectors import (
    audits,
    award,
    capability,
    encoding,
    envelope,
    evidence,
    faults,
    generators,
    identity,
    ledger,
    lies,
    messages,
    network,
    planned,
    planned_lies,
    plans,
    receipts,
    vote,
)
from contrib.vectors.form import render

DIRECTORY: Final = Path(__file__).parents[2] / "specs" / "vectors"
SUBJECTS: Final[dict[str, ModuleType]] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        identity,
        encoding,
        envelope,
        capability,
        ledger,
        audits,
        evidence,
        award,
        messages,
        vote,
        plans,
        network,
        generators,
        faults,
        receipts,
        lies,
        planned,
        planned_lies,
    )
}


def text_of(subject: str) -> str:
    """The text of one file."""
    module = SUBJECTS[subject]
    return render(module.DOCUMENT, module.OPERATIONS, module.cases(), share=hasattr(module, "SHARED"))


def main() -> None:
    """Write them all."""
    DIRECTORY.mkdir(exist_ok=True)
    for subject in SUBJECTS:
        (DIRECTORY / f"{subject}.json").write_text(text_of(subject), encoding="utf-8")
    print(f"{len(SUBJECTS)} files in {DIRECTORY}")


if __name__ == "__main__":
    main()
