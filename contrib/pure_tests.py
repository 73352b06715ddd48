"""Names the tests that need neither an event loop nor a running node: what `make coverage` and `make mutants` run.

    python -m contrib.pure_tests

Those of the daemon, the wire, the scripts and the report's page look at `protocol` only through others, and cost minutes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_DRIVEN: Final = re.compile(
    r"^(?:import|from) (?:asyncio|trio|contrib|node\.models|simnet\.page|tests\.drivers)\b", re.MULTILINE
)


def pure_tests(repository: Path) -> list[str]:
    """Test files, as paths from the repository's root, in the order of their names."""
    files = sorted((repository / "tests").glob("test_*.py"))
    return [f"tests/{file.name}" for file in files if not _DRIVEN.search(file.read_text())]


if __name__ == "__main__":
    print(" ".join(pure_tests(Path())))
