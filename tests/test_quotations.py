"""Where the code quotes the specs, the specs still say so: `# specs/03-envelope.md: "..."` above the check that follows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.test_specs import ROOT, SPECS, sources

QUOTATION: Final = re.compile(r'specs/([\w.-]+\.md): "([^"]+)"')
# What decides alike on every node: each of these quotes the rules that it keeps.
QUOTING: Final = (
    *("allocation", "answers", "canonical", "clusters", "envelope", "evidence", "exercises_stream", "faults", "identity"),
    *("ledger", "merkle", "plan", "receipt", "replay", "sealing", "stopping", "succession", "trust", "verification", "vote"),
)


def comments(text: str) -> list[str]:
    """Blocks of comment lines that follow each other, each as one line."""
    blocks = re.findall(r"(?:^[ \t]*#.*\n)+", text, re.MULTILINE)
    return [" ".join(line.strip().lstrip("#").strip() for line in block.splitlines()) for block in blocks]


def quotations(path: Path) -> list[tuple[str, str]]:
    """The (document, words) that a source file quotes."""
    return [found for block in comments(path.read_text(encoding="utf-8")) for found in QUOTATION.findall(block)]


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("path", sources("protocol"), ids=lambda path: path.stem)
def test_quotations__stand_in_the_specs(path: Path) -> None:
    for document, quoted in quotations(path):
        assert words(quoted) in words((SPECS / document).read_text(encoding="utf-8")), (
            f"{path.name} quotes {document}: {quoted}"
        )


@pytest.mark.parametrize("name", QUOTING)
def test_quotations__stand_above_the_rules_that_decide(name: str) -> None:
    assert quotations(ROOT / "protocol" / f"{name}.py"), f"protocol/{name}.py quotes no rule"
