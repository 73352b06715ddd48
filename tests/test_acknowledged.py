"""Bids that a requester acknowledged: kept, held against the receipt that it shows, and proven where one is left out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli import main
from node.errors import ExitCode
from protocol.acknowledged import Acknowledged, Pair, dropped_bids
from protocol.constants import ACKNOWLEDGED_MAX
from protocol.envelope import envelope_id, open_envelope
from protocol.errors import LocalProtocolError
from protocol.events import MessageReceived, ProofShown, Publish
from protocol.identity import KeySigner, peer_id
from protocol.messages import Beacon, Bid, BidAck
from protocol.receipt import Receipt, StepReceipt
from protocol.step import StepId
from tests.api_bench import Served, with_node
from tests.support import PARAMETERS, Bench, bid_on, peers, sent
from tests.test_faults import LIAR, sealed, two_records
from tests.test_receipts import made

VICTIM = peers(1, "victim")[0]
BEACON = Beacon(b"t" * 16, 0, 0, "arith", "number", bytes(32), 3, 256, 1_500, 60_000, 2)


def shown() -> tuple[Receipt, KeySigner, StepId, Pair, Pair]:
    """A receipt that holds, its requester and step, an acknowledged bid that is in it, and one that it leaves out."""
    data, requester, _ = made()
    receipt = Receipt.open(data)
    told = [(envelope, envelope.type) for envelope in map(open_envelope, StepReceipt.parse(receipt.steps[0]).transcript)]
    beacon, bid, ack = (next(envelope for envelope, kind in told if kind == wanted) for wanted in ("beacon", "bid", "bid_ack"))
    assert BidAck.parse(ack.body).bid == bid.id
    left_out = sealed(VICTIM, bid_on((beacon, Beacon.parse(beacon.body))), requester)
    promise = sealed(requester, BidAck(receipt.task, 0, 0, envelope_id(left_out)), VICTIM)
    return receipt, requester, StepId(receipt.task), (bid.data, ack.data), (left_out, promise)


def test_receipt__that_leaves_out_an_acknowledged_bid_proves_it() -> None:
    receipt, requester, _, there, left_out = shown()
    assert dropped_bids(receipt, [there]) == []
    (proof,) = dropped_bids(receipt, [there, left_out])
    assert proof.kind == "dropped_bid"
    assert proof.check(PARAMETERS.network) == requester.public_key


def test_receipt__whose_steps_are_made_up_proves_nothing() -> None:
    receipt, _, _, there, left_out = shown()
    broken = replace(receipt, steps=({"step": 1}, {**receipt.steps[0], "transcript": [b"\x00" * 80, there[0]]}))
    assert dropped_bids(broken, [left_out]) == []


def test_proof__that_the_owner_shows_is_kept_and_told_once() -> None:
    bench = Bench(("arith",))
    effects = bench.step(ProofShown(two_records().encode()))
    assert bench.core.is_faulty(LIAR.public_key)
    assert len([effect for effect in effects if isinstance(effect, Publish)]) == 1
    assert not [effect for effect in bench.step(ProofShown(two_records().encode())) if isinstance(effect, Publish)]


def test_acknowledged__are_those_of_the_task_and_of_its_requester() -> None:
    bench = Bench(("arith",))
    bench.join(LIAR)
    ((bid, _),) = sent(bench.hear(LIAR, BEACON), Bid)
    assert bench.core.acknowledged.of(LIAR.public_key, BEACON.task) == []
    bench.hear(LIAR, BidAck(BEACON.task, 0, 0, bytes(32)))
    assert bench.core.acknowledged.of(LIAR.public_key, BEACON.task) == []
    ack = bench.sealed(LIAR, BidAck(BEACON.task, 0, 0, bid.id))
    bench.step(MessageReceived(LIAR.public_key, ack))
    assert bench.core.acknowledged.of(LIAR.public_key, BEACON.task) == [(bid.data, ack)]
    assert bench.core.acknowledged.of(VICTIM.public_key, BEACON.task) == []
    assert bench.core.acknowledged.of(LIAR.public_key, bytes(16)) == []


def test_acknowledged__are_bounded_and_who_floods_loses_its_own() -> None:
    held = Acknowledged()
    held.keep(VICTIM.public_key, StepId(bytes(16)), (b"bid", b"ack"))
    for number in range(2 * ACKNOWLEDGED_MAX):
        held.keep(LIAR.public_key, StepId(number.to_bytes(16, "big")), (b"%d" % number, b"ack"))
    assert held.of(VICTIM.public_key, bytes(16)) == [(b"bid", b"ack")]
    kept = [n for n in range(2 * ACKNOWLEDGED_MAX) if held.of(LIAR.public_key, n.to_bytes(16, "big"))]
    assert kept == list(range(ACKNOWLEDGED_MAX + 1, 2 * ACKNOWLEDGED_MAX))


@pytest.mark.parametrize("data", [b"", b"\x00", two_records().encode()[:-1]])
def test_proof__that_proves_nothing_is_an_error_that_says_so(data: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        Bench().step(ProofShown(data))


def test_verify__tells_the_node_what_a_receipt_or_a_proof_proves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof, file = tmp_path / "proof", tmp_path / "receipt"

    async def check(node: Served) -> None:
        receipt, requester, step, there, left_out = shown()
        core, cheat = node.node.executor.core, peer_id(requester.public_key)
        file.write_bytes(made()[0])
        for pair, code, said in ((there, ExitCode.OK, "none is left out"), (left_out, ExitCode.FAILED, "leaves out a bid")):
            core.acknowledged.keep(requester.public_key, step, pair)
            status, found = await node.call("GET", f"/v1/peers/{cheat}/bids/{receipt.task.hex()}")
            assert (status, [base64.b64decode(row["bid"]) for row in found["bids"]]) == (200, [pair[0]])
            assert await node.tutti("verify", str(file), "--tell") == code
            output = capsys.readouterr()
            assert said in output.out + output.err
            assert core.is_faulty(requester.public_key) is (pair == left_out)
        proof.write_bytes(two_records().encode())
        assert await node.tutti("verify", str(proof), "--tell") == ExitCode.OK
        assert core.is_faulty(LIAR.public_key)
        assert (await node.call("GET", f"/v1/peers/{cheat}/bids/xyz"))[0] == 400
        for body in (b"[]", b"{", json.dumps({"proof": "?"}).encode(), json.dumps({"proof": "AAAA"}).encode()):
            assert (await node.call("POST", "/v1/faults", body))[0] == 400

    with_node(tmp_path, check)


def test_verify__without_a_node_to_tell_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proof").write_bytes(two_records().encode())
    assert main(["verify", str(tmp_path / "proof"), "--tell", "--home", str(tmp_path)]) == ExitCode.NO_DAEMON
    assert "no node runs" in capsys.readouterr().err
