"""A reader in JavaScript that was written from specs/ alone (contrib/conformance) finds in the vectors what we find.

It shares no line with ours: where the two agree, the documents were enough. `make test` installs its one package.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from contrib.setup import javascript
from contrib.vectors.__main__ import DIRECTORY, SUBJECTS
from protocol.receipt import receipt_hash
from tests import core_bench, test_plan_receipts, test_receipts
from tests import test_core_plans as plans
from tests.test_receipts_review import NEVER_FURTHER, further

NODE_JS: Final = shutil.which("node")
PATIENCE_S: Final = 120
# What makes a receipt of a question, the question and its answer.
RECEIPTS: Final[dict[str, tuple[Callable[[], bytes], str, str]]] = {
    "plain": (lambda: test_receipts.made()[0], core_bench.QUESTION, core_bench.GOLD),
    "planned": (lambda: test_plan_receipts.made(plans.RIGHT, plans.RIGHT, plans.OTHER)[0], plans.QUESTION, plans.GOLD),
}


def _missing() -> str | None:
    if NODE_JS is None:
        return "Node.js is missing: `make test` says which package to install"
    if not javascript.is_ready(javascript.CONFORMANCE):
        return "the packages of contrib/conformance are not installed: `make test` does it, or says why not"
    return None


def _reader(vectors: Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code of the reader, and what it says of each file."""
    command = [str(NODE_JS), str(javascript.CONFORMANCE / "run.js"), str(vectors)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert not done.stderr, done.stderr[-2_000:]
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_conformance__is_installed_where_tests_decide() -> None:
    assert os.environ.get("CI") != "true" or _missing() is None, _missing()


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_conformance__the_independent_reader_agrees_on_every_vector() -> None:
    code, found = _reader(DIRECTORY)
    assert [row for row in found if row["different"]] == []
    assert code == 0
    cases = {path.name: len(json.loads(path.read_text(encoding="utf-8"))["cases"]) for path in DIRECTORY.iterdir()}
    assert {row["file"]: row["cases"] for row in found} == cases


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
@pytest.mark.parametrize("subject", sorted(SUBJECTS))
def test_conformance__the_independent_reader_notices_what_differs(subject: str, tmp_path: Path) -> None:
    vectors = json.loads((DIRECTORY / f"{subject}.json").read_text(encoding="utf-8"))
    for case in vectors["cases"]:
        case.update({"output": "something else"} if "output" in case else {"code": "another"})
    (tmp_path / f"{subject}.json").write_text(json.dumps(vectors), encoding="utf-8")
    code, (found,) = _reader(tmp_path)
    assert code == 1
    assert {(row["operation"], row["name"]) for row in found["different"]} == {
        (case["operation"], case["name"]) for case in vectors["cases"]
    }


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
@pytest.mark.parametrize("kind", RECEIPTS)
def test_conformance__the_independent_reader_verifies_the_receipt_of_a_core(kind: str, tmp_path: Path) -> None:
    made, question, answer = RECEIPTS[kind]
    data = made()
    output = {"hash": {"$hex": receipt_hash(data).hex()}, "question": question, "answer": answer}
    holds = {"operation": "receipt_file", "name": "holds", "input": {"data": {"$hex": data.hex()}}, "output": output}
    other = data[:-1] + bytes([data[-1] ^ 1])
    refused = {"operation": "receipt_file", "name": "changed", "input": {"data": {"$hex": other.hex()}}, "code": "receipt"}
    (tmp_path / "receipts.json").write_text(json.dumps({"document": "", "cases": [holds, refused]}), encoding="utf-8")
    code, (found,) = _reader(tmp_path)
    assert (code, found["different"]) == (0, [])


@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_conformance__the_independent_reader_knows_where_there_are_no_further_seats(tmp_path: Path) -> None:
    data = further("number")
    output = {"hash": {"$hex": receipt_hash(data).hex()}, "question": "What is 3 + 4?", "answer": "9"}
    cases = [{"operation": "receipt_file", "name": "a vote", "input": {"data": {"$hex": data.hex()}}, "output": output}]
    for kind, refine in NEVER_FURTHER:
        given = {"data": {"$hex": further(kind, refine).hex()}}
        cases.append({"operation": "receipt_file", "name": f"{kind} {refine}", "input": given, "code": "receipt"})
    (tmp_path / "receipts.json").write_text(json.dumps({"document": "", "cases": cases}), encoding="utf-8")
    code, (found,) = _reader(tmp_path)
    assert (code, found["different"]) == (0, [])
