"""What a receipt or a proof of a fault shows to somebody who trusts nobody in it (specs/11-receipt.md).

The requester who wrote a receipt is the one who may lie in it. So each statement says no more than the signatures and the
arithmetic do; what is the requester's word alone, and what nobody could know, are told apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.citations import Citations
from protocol.constants import ENVELOPE_SIZE_MAX
from protocol.envelope import open_envelope
from protocol.errors import RemoteProtocolError
from protocol.faults import KINDS, Fault
from protocol.identity import peer_id
from protocol.ledger import open_entry
from protocol.outcome import Gate, OutcomeKind
from protocol.parameters import Parameters
from protocol.plan_replay import PLAN_ANSWER, Part, carried_out, compare, replayed
from protocol.planning import Course
from protocol.receipt import Receipt, Result, StepReceipt, receipt_hash
from protocol.replay import Replay, wrong
from protocol.task import Task

_NOT_PROVABLE: Final = (
    "whether there were bids that it acknowledged to nobody, or answers that it took into no set",
    "whether it asked the same before, and shows no receipt of that",
    "whether those who answered are independent of each other and of the requester",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: `failure` says what does not hold first, and then nothing else is said.

    `kind` is "receipt" or "fault"; `question` and `answer` are those of a receipt.
    """

    kind: str
    proven: tuple[str, ...] = ()
    asserted: tuple[str, ...] = ()
    not_provable: tuple[str, ...] = ()
    failure: str | None = None
    question: str | None = None
    answer: str | None = None


def verify(data: bytes, known: Sequence[Parameters] = (), ledgers: Sequence[Sequence[bytes]] = ()) -> Report:
    """What the file shows. `known` are networks whose parameters the reader has, `ledgers` the entries of exported ledgers.

    Total, whatever the bytes.
    """
    fault = _fault_in(data)
    try:
        return _fault_report(fault) if fault is not None else _receipt_report(data, known, ledgers)
    except RemoteProtocolError as error:
        return Report("fault" if fault is not None else "receipt", failure=str(error))


def _fault_in(data: bytes) -> Fault | None:
    """The proof in a file; None for anything else, which must then be a receipt."""
    if len(data) > ENVELOPE_SIZE_MAX:
        return None
    try:
        return Fault.decode(data)
    except RemoteProtocolError:
        return None


# --- Faults


def _fault_report(fault: Fault) -> Report:
    first = fault.parts[0] if fault.parts else b""
    network = open_entry(first).network if KINDS[fault.kind].parts[0] == "entry" else open_envelope(first).network
    accused = fault.check(network)
    return Report("fault", (f"{peer_id(accused)} {KINDS[fault.kind].text}, in network {network.hex()}",))


# --- Receipts


def _receipt_report(data: bytes, known: Sequence[Parameters], ledgers: Sequence[Sequence[bytes]]) -> Report:
    receipt = Receipt.open(data)
    steps = [StepReceipt.parse(step) for step in receipt.steps]
    parts = replayed(receipt.network, receipt.requester, receipt.task, steps)
    parameters = next((each for each in known if each.network == receipt.network), None)
    name = "" if parameters is None else f"{parameters.name}, "
    signed = (
        f"{peer_id(receipt.requester)} signed this receipt of task {receipt.task.hex()}, {name}network {receipt.network.hex()}"
    )
    citations, hashed = Citations(receipt.network, ledgers), receipt_hash(data)
    statements = [_of_part(part, parameters, citations, hashed) for part in parts]
    first = parts[0].replay.beacon
    if first is not None and first.answer == PLAN_ANSWER:
        outcome, courses = carried_out(parts)
        proven, asserted = _of_plans(parts, statements, courses)
        if outcome.answer is None and Result.parse(receipt.result).outcome == OutcomeKind.DEADLINE.value:
            # That time was up for a step which nobody was asked is its word.
            outcome = dataclasses.replace(outcome, kind=OutcomeKind.DEADLINE)
    elif len(parts) == 1:
        outcome, (proven, asserted) = parts[0].outcome, statements[0]
    else:
        raise wrong(f"a receipt without a plan has one step, this one {len(parts)}")
    found, stated = Result.of(outcome), Result.parse(receipt.result)
    # specs/11-receipt.md: "The result of the step, and of the task, is the one that follows from the openings, the weights of
    # the last view and its clusters"
    compare(stated, found)
    return Report(
        "receipt", (signed, *proven, _conclusion(found)), tuple(asserted), _NOT_PROVABLE, None, steps[0].question, found.answer
    )


def _of_part(part: Part, parameters: Parameters | None, citations: Citations, hashed: bytes) -> tuple[list[str], list[str]]:
    """What is proven and what is asserted of one step."""
    replay, task = part.replay, part.task
    k_proven, k_asserted = _options(replay, parameters)
    cited, uncited = _cited(citations, replay.requester, hashed, replay, task, parameters)
    return [*_proven(replay, task), *k_proven, *cited], [*k_asserted, *_asserted(replay, task), *uncited]


def _of_plans(
    parts: Sequence[Part], statements: Sequence[tuple[list[str], list[str]]], courses: Sequence[Course]
) -> tuple[list[str], list[str]]:
    proven = [f"{part.name}: {line}" for part, (lines, _) in zip(parts, statements, strict=True) for line in lines]
    asserted = [f"{part.name}: {line}" for part, (_, lines) in zip(parts, statements, strict=True) for line in lines]
    proven.append(f"the plans are those that the planners opened ({_count(len(courses), 'plan')})")
    proven.append(
        "each step asks what its plan says, with the answers of the steps before put in, and a plan's answer is its last's"
    )
    open_ = sum(course.answer is None for course in courses)
    if open_:
        asserted.append(f"that a plan could not be carried out, or not to its end ({_count(open_, 'plan')})")
    return proven, asserted


def _options(replay: Replay, parameters: Parameters | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whether the number of options that weights depend on is the network's; raises `RemoteProtocolError` if it is not."""
    if not replay.views or replay.beacon is None:
        return (), ()
    skill, options = replay.beacon.skill, replay.views[0].options
    rules = None if parameters is None or parameters.revision != replay.beacon.revision else parameters.skills.get(skill)
    if rules is None:
        return (), (f"that skill {skill} has K = {options} in this network",)
    if rules.options != options:
        raise wrong(f"its view takes skill {skill} for one with K = {options}, and this network says {rules.options}")
    return (f"skill {skill} has K = {options} in revision {replay.beacon.revision} of this network",), ()


def _cited(
    citations: Citations, requester: bytes, hashed: bytes, replay: Replay, task: Task, parameters: Parameters | None
) -> tuple[list[str], list[str]]:
    """What the ledgers bear out, and what they do not."""
    if requester not in citations.authors or replay.beacon is None:
        return [], ["that its ledger, which is not here, holds the hash of this receipt"]
    proven, asserted = [], []
    number = citations.number_of(requester, "receipt", hashed)
    if number is None:
        asserted.append("that its ledger holds the hash of this receipt: the part of it that is here does not")
    else:
        proven.append(f"its ledger holds the hash of this receipt (entry {number})")
    before = citations.number_of(requester, "beacon", task.beacon_id)
    if before is None:
        asserted.append("that its ledger holds the beacon: the part of it that is here does not")
        return proven, asserted
    proven.append(f"its ledger holds the beacon (entry {before}), and what stands there before it was signed before")
    if task.view is not None and parameters is not None:
        counts = dict(task.view.counts)
        found = citations.borne_out(requester, before, task.requirement.skill, counts, parameters, replay.issued_ms)
        of = _count(len(counts), "bidder")
        proven.append(f"the counts of {len(found)} of {of} are no better than audits show that are opened in the ledgers here")
        if len(found) < len(counts):
            asserted.append(f"the counts of {len(counts) - len(found)} of {of}, which the ledgers here do not bear out")
    return proven, asserted


def _proven(replay: Replay, task: Task) -> list[str]:
    messages, signers = _count(replay.facts["messages"], "message"), _count(len(replay.signers), "node")
    found = [
        f"each message is of this task and signed by the node that it names ({messages}, {signers})",
        "the question is the one that the beacon bound, and each bid names that beacon",
    ]
    if task.seats:
        bids = _count(len(replay.acknowledged), "bid")
        found += [
            f"each bid that it acknowledged stands in each view that its awards name ({bids})",
            f"each award goes to whom its view and the network's rule name next ({_count(task.awards, 'award')})",
        ]
    if task.gate is Gate.ALONE:
        found.append("one node was asked alone: by that view it outweighs its committee, or has no equal and is all but sure")
    if task.refined:
        found.append("each revision was asked for by what the others had opened, and sealed in a round of its own")
    if task.judged:
        found.append(f"each pair of texts was judged by whom the rule says ({_count(len(task.judged), 'judgement')})")
    if task.further:
        found.append(f"more were asked because the margin was thin ({_count(task.further, 'seat')})")
    opened = [report for report in task.reports if report.state in ("answered", "abstained")]
    if opened:
        found += [
            f"each answer is the one that its node had committed to ({_count(len(opened), 'answer')})",
            "each commitment stands in a set that the requester signed, with all others of its round that are here",
            "each weight follows from the counts in the view, and who is in one cluster there has one voice",
        ]
    if replay.facts["unneeded"]:
        found.append(
            f"whoever was not waited for could not have changed the answer ({_count(replay.facts['unneeded'], 'node')})"
        )
    if replay.facts["mismatched"]:
        found.append(f"an opening that does not match is its signer's fault, and no vote ({replay.facts['mismatched']})")
    if any(report.peer == replay.requester for report in opened):
        found.append("one of those who answered is the requester itself")
    return found


def _conclusion(result: Result) -> str:
    if result.answer is None:
        return f"it has no answer: {result.outcome}"
    if not result.voted:
        return "the answer is the text of who weighs most among those that opened one; nothing was voted on"
    if not result.support:
        return "the answer is the text that comes first by the judgements of those who wrote neither of a pair"
    how = "by weight" if result.earned else "by number alone, for no voter had a weight"
    return (
        f"the answer follows from the votes, {how}: margin {result.margin / 1_000:.3f}, {result.dissent} dissenting, "
        f"{result.abstained} abstained, coverage {result.coverage / 1_000:.3f}"
    )


def _asserted(replay: Replay, task: Task) -> list[str]:
    found = [f"that the question asks for skill {task.requirement.skill}"]
    if task.view is not None:
        bidders = _count(len(task.view.counts), "bidder")
        found.append(f"the counts and clusters in its views: what its audits and others' showed ({bidders})")
    found.append("that the messages came in this order, and when")
    if task.gone:
        found.append(f"that a bidder had gone before its turn ({_count(len(task.gone), 'bidder')})")
    for event, what in (
        ("expired", "that a lease ran out"),
        ("lost", "that a lease was lost with its node's connection"),
        ("withheld", "that a node committed and did not open, which its own signed opening would refute"),
    ):
        if replay.facts[event]:
            found.append(f"{what} ({replay.facts[event]})")
    if any(report.state in ("answered", "abstained") for report in task.reports):
        found.append("the tokens and times of each answer, which its node states")
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
