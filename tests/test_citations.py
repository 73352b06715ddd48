"""What exported ledgers bear out of a receipt, and what they do not."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from node.cli import main
from node.errors import ExitCode
from node.ledgers import pack
from protocol.citations import Citations
from protocol.events import Deliver, Effect
from protocol.evidence import Counts
from protocol.ledger import parse_entry
from protocol.own_ledger import TABLE as OWN
from protocol.receipt import Receipt
from protocol.verification import verify
from simnet.host import Host
from tests.support import EXPERT, PARAMETERS, WALL_MS, exercise, host_of, liar, peers, solver, world_of
from tests.test_imported_audits import batches
from tests.test_imported_audits import ledger as made

NETWORK = PARAMETERS.network


@functools.cache
def told() -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...], bytes]:
    """A receipt, the ledgers of its requester and of another author, and the key of a liar whom both audited."""
    world = world_of(
        {"asks": solver({}), "other": solver({}), "expert": solver(EXPERT), "good": solver(EXPERT), "liar": liar()}
    )
    asks, other = host_of(world, "asks"), host_of(world, "other")
    receipts = []

    def observe(host: Host, effect: Effect) -> None:
        if host is asks and isinstance(effect, Deliver):
            receipts.append(effect.receipt)

    world.observer = observe
    for number in range(3):
        world.answer(other, exercise("arith", 100 + number).text)
        world.answer(asks, exercise("arith", number).text)
        world.run(for_ms=3_000)
    committed = kinds(asks).count("audits")
    for number in range(3, 80):
        # Audits are mixed with questions: the batches of before the receipt are opened while more are asked.
        if kinds(asks).count("opening") >= committed:
            break
        world.answer(asks, exercise("arith", number).text)
    return receipts[2], ledger(asks), ledger(other), host_of(world, "liar").key


def kinds(host: Host) -> list[str]:
    return [parse_entry(data).kind for data in ledger(host)]


def ledger(host: Host) -> tuple[bytes, ...]:
    return tuple(value for (table, _), value in sorted(host.disk.items()) if table == OWN)


def test_ledger__bears_out_hash_beacon_and_counts() -> None:
    data, own, other, _ = told()
    for ledgers in ([own, other], [own]):
        found = verify(data, [PARAMETERS], ledgers)
        assert found.failure is None
        text = "\n".join(found.proven)
        assert "its ledger holds the hash of this receipt (entry " in text
        assert "its ledger holds the beacon (entry " in text
    full = verify(data, [PARAMETERS], [own, other])
    assert any(line.startswith("the counts of ") and "no better than audits show" in line for line in full.proven)
    assert not any("do not bear out" in line for line in full.asserted)


def test_receipt__without_its_requesters_ledger_says_so() -> None:
    data, own, other, _ = told()
    for ledgers in ([], [other]):
        assert (
            "that its ledger, which is not here, holds the hash of this receipt" in verify(data, [PARAMETERS], ledgers).asserted
        )
    early = verify(data, [PARAMETERS], [own[:5]])
    assert early.failure is None
    assert sum("the part of it that is here does not" in line for line in early.asserted) == 2


def test_counts__that_are_better_than_the_audits_are_not_borne_out() -> None:
    data, own, other, lies = told()
    requester = Receipt.open(data).requester
    citations = Citations(NETWORK, [own, other])

    def borne_out(counts: Counts) -> list[bytes]:
        return citations.borne_out(requester, len(own), "arith", {lies: counts}, PARAMETERS, WALL_MS)

    assert borne_out(Counts(0, 99 * 256)) == [lies]
    assert borne_out(Counts(256, 99 * 256)) == [], "a hit that nobody saw"
    assert borne_out(Counts(0, 256)) == [], "misses that it keeps to itself"


@pytest.mark.parametrize("again", ["root", "task"])
def test_audit__bears_out_once_also_in_a_batch_that_is_committed_again(again: str) -> None:
    requester, subject = peers(2, "cites")
    (batch,) = batches([(subject, True)], 2, requester)
    other = batch if again == "root" else [batch[1], *batches([(subject, True)], 1, requester, 100)[0]]
    entries = made(requester, [batch, other, other])
    citations = Citations(NETWORK, [[entry.data for entry in entries]])
    found = {
        hits: citations.borne_out(
            requester.public_key, len(entries), "arith", {subject.public_key: Counts(hits * 256, 0)}, PARAMETERS, WALL_MS
        )
        for hits in (2, 3)
    }
    assert found == {2: [subject.public_key], 3: []}


def test_ledger__that_does_not_hold_or_is_not_of_the_network_is_no_witness() -> None:
    data, own, other, _ = told()
    forged = (*own[:-1], own[-1][:-1] + bytes([own[-1][-1] ^ 1]))
    for ledgers in ([forged], [own[:3] + own[4:]], [own, own], [()], [(b"x",)]):
        assert verify(data, [PARAMETERS], ledgers).failure is not None
    assert verify(data, [PARAMETERS], [other, own]).failure is None


def test_verify__takes_exported_ledgers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, own, other, _ = told()
    for name, content in (("receipt", data), ("own", pack(own)), ("other", pack(other)), ("cut", pack(own)[:-1])):
        (tmp_path / name).write_bytes(content)
    named = [str(tmp_path / name) for name in ("receipt", "own", "other")]
    assert main(["verify", named[0], "--ledger", named[1], "--ledger", named[2]]) == ExitCode.OK
    assert "its ledger holds the hash of this receipt" in capsys.readouterr().out
    assert main(["verify", named[0], "--ledger", str(tmp_path / "cut")]) == ExitCode.FAILED
    assert "is cut off" in capsys.readouterr().err
    assert main(["verify", named[0], "--ledger", str(tmp_path / "none")]) == ExitCode.USAGE
