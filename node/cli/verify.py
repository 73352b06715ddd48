"""`tutti verify`: what a receipt or a proof of a fault shows to somebody who trusts nobody in it."""

from __future__ import annotations

import argparse
import base64
import dataclasses

from node.cli.flags import add_json
from node.cli.place import client_of
from node.cli.terminal import brief, clean, print_json, print_lines
from node.client import Client
from node.errors import ExitCode, UserError
from node.ledgers import unpack
from node.networks import load
from node.receipts import read_file
from protocol.acknowledged import dropped_bids
from protocol.constants import RECEIPT_SIZE_MAX
from protocol.identity import peer_id
from protocol.parameters import PRESETS, preset
from protocol.receipt import Receipt
from protocol.verification import Report, verify

_SHOWN = 200
# Four times what a node keeps of its own ledger.
LEDGER_SIZE_MAX = 1 << 28


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and how to print it."""
    parser.add_argument(
        "file", metavar="FILE", help="a receipt (`tutti ask --receipt`) or a proof (`tutti peers PEER --proof`)"
    )
    parser.add_argument("--network", metavar="FILE", help="the file of its network, to check the skill's options by as well")
    parser.add_argument(
        "--ledger",
        dest="ledgers",
        action="append",
        default=[],
        metavar="FILE",
        help="a ledger (`tutti ledger export`), the requester's or another's, to check the evidence by; repeatable",
    )
    parser.add_argument(
        "--tell",
        action="store_true",
        help="give the running node what the file proves: a fault, or that the receipt leaves out a bid of this node",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Verify it and print what was found; raises `UserError` (exit code 1) with the first thing that does not hold."""
    data = read_file(args.file, RECEIPT_SIZE_MAX)
    known = [preset(name) for name in PRESETS]
    if args.network is not None:
        known.append(load(args.network).parameters)
    report = verify(data, known, [unpack(read_file(name, LEDGER_SIZE_MAX), name) for name in args.ledgers])
    if args.tell and report.failure is None:
        report = _told(client_of(args), data, report)
    if args.json:
        print_json({"holds": report.failure is None, **dataclasses.asdict(report)})
    elif report.failure is None:
        print_lines(show(report, args.file))
    if report.failure is not None:
        raise UserError(f"{clean(args.file)} does not hold: {clean(report.failure)}")
    return ExitCode.OK


def _told(client: Client, data: bytes, report: Report) -> Report:
    """Hand the node what is proven; a receipt that leaves out an acknowledged bid of this node does not hold any more."""
    if report.kind == "fault":
        _hand_over(client, data)
        return report
    receipt = Receipt.open(data)
    requester = peer_id(receipt.requester)
    rows = client.get(f"/v1/peers/{requester}/bids/{receipt.task.hex()}")["bids"]
    pairs = [(base64.b64decode(row["bid"]), base64.b64decode(row["bid_ack"])) for row in rows]
    proofs = dropped_bids(receipt, pairs)
    for proof in proofs:
        _hand_over(client, proof.encode())
    if not proofs:
        said = f"this node has {len(pairs)} acknowledged bids in its task, and none is left out"
        return dataclasses.replace(report, proven=(*report.proven, said))
    text = f"it leaves out a bid of this node that its requester acknowledged; `tutti peers {requester} --proof FILE` proves it"
    return Report(report.kind, failure=text)


def _hand_over(client: Client, proof: bytes) -> None:
    client.post("/v1/faults", {"proof": base64.b64encode(proof).decode()})


def show(report: Report, name: str) -> list[str]:
    """The lines for a person."""
    lines = [f"{clean(name)} holds: a {'receipt' if report.kind == 'receipt' else 'proof of a fault'}"]
    if report.question is not None:
        lines += [f"question: {brief(report.question, _SHOWN)}", f"answer:   {brief(report.answer or 'none', _SHOWN)}"]
    for title, statements in (
        ("PROVEN: signatures and arithmetic", report.proven),
        ("ASSERTED: somebody's word alone", report.asserted),
        ("NOT PROVABLE: nobody could know", report.not_provable),
    ):
        if statements:
            lines += ["", title, *(f"  {clean(statement)}" for statement in statements)]
    return lines
