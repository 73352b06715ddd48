"""Receipts: an honest one holds, a changed one does not, and each lie of a requester who signs anew is named."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol import canonical
from protocol.allocation import view_hash
from protocol.ballot import CommitSet, Reveal
from protocol.canonical import Value
from protocol.constants import RECEIPT_SIZE_MAX, TRANSCRIPT_MAX, WINDOW_MS_MAX
from protocol.envelope import Envelope, open_envelope, seal
from protocol.events import Log, PeerLost
from protocol.identity import SIGNATURE_SIZE, KeySigner, peer_id
from protocol.messages import DIRECT, Award, Beacon, Bid, BidAck
from protocol.receipt import Receipt, StepReceipt, receipt_hash
from protocol.schema import Message
from protocol.verification import Report, verify
from tests.core_bench import GOLD, QUESTION, answer, asked, awarded, holder, requester
from tests.support import PARAMETERS, sent

WRONG = "answer: 1"


@functools.cache
def made() -> tuple[bytes, KeySigner, tuple[KeySigner, ...]]:
    """An honest receipt with dissent, its requester and the other nodes."""
    bench, others = requester(5)
    _, awards = awarded(bench, others)
    for number, award in enumerate(awards):
        answer(bench, award, others, WRONG if number == 2 else f"answer: {GOLD}")
    return bench.receipt(QUESTION), bench.signer, tuple(others)


def report(data: bytes) -> Report:
    return verify(data, [PARAMETERS])


def failure(data: bytes) -> str:
    found = report(data).failure
    assert found is not None
    return found


# --- An honest receipt


def test_receipt__holds_and_says_what_is_proven_and_what_is_not() -> None:
    data, signer, _ = made()
    found = report(data)
    assert found.failure is None
    assert (found.question, found.answer) == (QUESTION, GOLD)
    assert found.proven[0].startswith(f"{peer_id(signer.public_key)} signed this receipt")
    assert "each bid that it acknowledged stands in each view that its awards name (5 bids)" in found.proven
    assert "each answer is the one that its node had committed to (3 answers)" in found.proven
    assert found.proven[-1] == (
        "the answer follows from the votes, by weight: margin 0.333, 1 dissenting, 0 abstained, coverage 1.000"
    )
    assert "that the messages came in this order, and when" in found.asserted
    assert found.not_provable


def test_receipt__needs_no_parameters_but_then_takes_the_options_on_trust() -> None:
    data, _, _ = made()
    assert "that skill arith has K = 10 in this network" in verify(data).asserted
    assert f"skill arith has K = 10 in revision {PARAMETERS.revision} of this network" in report(data).proven
    skill = dataclasses.replace(PARAMETERS.skills["arith"], options=4)
    other = dataclasses.replace(PARAMETERS, skills={**PARAMETERS.skills, "arith": skill})
    assert "this network says 4" in str(verify(data, [other]).failure)


def test_receipt__tells_what_is_the_requesters_word_alone() -> None:
    bench, others = requester(6)
    beacon = asked(bench)
    bench.bids(beacon, others[1:])
    bench.step(PeerLost(others[1].public_key))
    mark = len(bench.effects)
    bench.hear(others[0], Bid(*_step(beacon[1]), beacon[0].id, 0, 1, 100))
    bench.wait(WINDOW_MS_MAX)
    awards = sent(bench.effects[mark:], Award)
    bench.step(PeerLost(holder(awards[0], others).public_key))
    for award in sent(bench.effects[mark:], Award):
        if holder(award, others) is not holder(awards[0], others):
            answer(bench, award, others)
    found = report(bench.receipt(QUESTION))
    assert found.failure is None
    assert "that a lease was lost with its node's connection (1)" in found.asserted
    assert any("had gone before its turn" in line for line in found.asserted)


def test_receipt__of_a_question_that_nobody_answers_holds_as_well() -> None:
    bench, _ = requester(3)
    asked(bench)
    bench.wait(WINDOW_MS_MAX)
    found = report(bench.receipt(QUESTION))
    assert (found.failure, found.answer) == (None, None)
    assert found.proven[-1] == "it has no answer: no bids"


def test_receipt__stands_in_the_ledger_as_a_salted_hash() -> None:
    bench, others = requester(3)
    _, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others)
    data = bench.receipt(QUESTION)
    entries = [bench.core.ledger.chain.get(number) for number in range(bench.core.ledger.chain.next)]
    assert any(entry is not None and receipt_hash(data) in entry for entry in entries)
    assert not any(entry is not None and QUESTION.encode() in entry for entry in entries)
    assert Receipt.open(data).salt != bytes(32)


# --- Bytes that were changed


@given(st.data())
def test_receipt__with_any_byte_changed_does_not_hold(draw: st.DataObject) -> None:
    data = bytearray(made()[0])
    place = draw.draw(st.integers(0, len(data) - 1))
    match draw.draw(st.sampled_from(["change", "insert", "remove", "cut", "swap"])):
        case "change":
            data[place] ^= draw.draw(st.integers(1, 255))
        case "insert":
            data[place:place] = draw.draw(st.binary(min_size=1, max_size=40))
        case "remove":
            del data[place : place + draw.draw(st.integers(1, 40))]
        case "cut":
            del data[place:]
        case _:
            data = data[place:] + data[:place] if place else data[:-1]
    assert failure(bytes(data))


@given(st.binary(max_size=300))
def test_file__of_anything_does_not_hold(data: bytes) -> None:
    assert failure(data)


@pytest.mark.parametrize("data", [b"", bytes(SIGNATURE_SIZE), bytes(RECEIPT_SIZE_MAX + 1), b"\x91" * 70_000])
def test_file__of_any_size_does_not_hold(data: bytes) -> None:
    assert failure(data)


# --- A requester who lies and signs anew


Fields = dict[str, Any]


def resigned(change: Callable[[Fields, Fields], None]) -> bytes:
    """The receipt after `change` of its fields and of its one step's, signed by the requester all the same."""
    data, signer, _ = made()
    fields = canonical.decode(data[SIGNATURE_SIZE:], RECEIPT_SIZE_MAX)
    assert isinstance(fields, dict)
    change(fields, fields["steps"][0])  # type: ignore[index,arg-type]
    payload = canonical.encode(fields, RECEIPT_SIZE_MAX)
    return signer.sign(b"tutti/receipt/1\x00" + payload) + payload


def places(step: Fields, kind: type[Message]) -> list[int]:
    return [number for number, data in enumerate(step["transcript"]) if open_envelope(data).type == kind.TYPE]


def opened(data: bytes) -> tuple[Envelope, Message]:
    envelope = open_envelope(data)
    kinds: dict[str, type[Message]] = {Beacon.TYPE: Beacon, **DIRECT}
    return envelope, kinds[envelope.type].parse(envelope.body)


def again(data: bytes, signer: KeySigner | None = None, **fields: object) -> bytes:
    """An envelope of the requester, or of another signer, sealed again with another body."""
    envelope, message = opened(data)
    body = dataclasses.replace(message, **fields).body()  # type: ignore[type-var]
    lifetime_ms = envelope.expires_ms - envelope.issued_ms
    return seal(signer or made()[1], PARAMETERS.network, envelope.type, envelope.to, body, envelope.issued_ms, lifetime_ms)


def _step(message: Any) -> tuple[bytes, int, int]:  # noqa: ANN401
    return message.task, message.plan, message.step


def replaced(step: Fields, place: int, **fields: object) -> None:
    step["transcript"][place] = again(step["transcript"][place], None, **fields)


def other_question(_: Fields, step: Fields) -> None:
    step["question"] = "What is 1 + 1?"


def other_nonce(_: Fields, step: Fields) -> None:
    step["nonce"] = bytes(32)


def other_beacon(_: Fields, step: Fields) -> None:
    replaced(step, 0, input_hash=bytes(32))


def no_beacon(_: Fields, step: Fields) -> None:
    del step["transcript"][0]


def two_beacons(_: Fields, step: Fields) -> None:
    step["transcript"].insert(1, again(step["transcript"][0], skill="lists"))


def bid_left_out(_: Fields, step: Fields) -> None:
    del step["transcript"][places(step, Bid)[0]]


def bid_by_nobody(_: Fields, step: Fields) -> None:
    replaced(step, places(step, Bid)[0], queued=9)


def forged_ack(_: Fields, step: Fields) -> None:
    replaced(step, places(step, BidAck)[0], bid=bytes(32))


def ack_of_another(_: Fields, step: Fields) -> None:
    place = places(step, BidAck)[0]
    step["transcript"][place] = again(step["transcript"][place], signer=made()[2][0])


def ack_after_award(_: Fields, step: Fields) -> None:
    place = places(step, BidAck)[0]
    step["transcript"].append(step["transcript"].pop(place))


def message_twice(_: Fields, step: Fields) -> None:
    step["transcript"].append(step["transcript"][places(step, Reveal)[0]])


def view_changed(step: Fields, change: Callable[[list[list[Any]]], object]) -> None:
    """Another view, and awards that name it: what executors signed names the awards that they had."""
    view = canonical.decode(step["views"][0])
    assert isinstance(view, dict)
    change(view["bids"])  # type: ignore[arg-type]
    step["views"] = [canonical.encode(view)]
    for place in places(step, Award):
        replaced(step, place, view=view_hash(step["views"][0]))


def acknowledged_bid_dropped(_: Fields, step: Fields) -> None:
    view_changed(step, lambda rows: rows.pop())


def counts_of_the_view(_: Fields, step: Fields) -> None:
    step["views"] = [step["views"][0].replace(canonical.encode(2304), canonical.encode(2305))]


def counts_of_view_and_awards(_: Fields, step: Fields) -> None:
    """More evidence for who is first already, so that nobody's turn changes."""
    first = open_envelope(step["transcript"][places(step, Award)[0]]).to

    def more(rows: list[list[Any]]) -> None:
        for row in rows:
            row[2] += 256 if row[1] == first else 0

    view_changed(step, more)


def rows_out_of_order(_: Fields, step: Fields) -> None:
    view_changed(step, lambda rows: rows.reverse())


def seats_for_newcomers(_: Fields, step: Fields) -> None:
    view = canonical.decode(step["views"][0])
    assert isinstance(view, dict)
    view["newcomer_seats"] = 3
    step["views"] = [canonical.encode(view)]
    replaced(step, places(step, Award)[0], view=view_hash(step["views"][0]))


def award_out_of_turn(_: Fields, step: Fields) -> None:
    first, second, *_rest = places(step, Award)
    transcript = step["transcript"]
    transcript[first], transcript[second] = transcript[second], transcript[first]


def award_of_another_seat(_: Fields, step: Fields) -> None:
    replaced(step, places(step, Award)[1], seat=0)


def award_of_another_question(_: Fields, step: Fields) -> None:
    replaced(step, places(step, Award)[0], question="What is 1 + 1?")


def too_few_awards(_: Fields, step: Fields) -> None:
    envelopes = [opened(data) for data in step["transcript"]]
    last = [envelope for envelope, message in envelopes if isinstance(message, Award)][-1]
    step["transcript"] = [
        data
        for data, (envelope, _message) in zip(step["transcript"], envelopes, strict=True)
        if envelope.id != last.id and (envelope.sender != last.to or envelope.type == Bid.TYPE)
    ]


def commit_left_out_of_the_set(_: Fields, step: Fields) -> None:
    for place in places(step, CommitSet):
        sealed = opened(step["transcript"][place])[1]
        assert isinstance(sealed, CommitSet)
        replaced(step, place, members=sealed.members[1:])


def two_sets(_: Fields, step: Fields) -> None:
    replaced(step, places(step, CommitSet)[1], members=())


def opening_swapped(_: Fields, step: Fields) -> None:
    place = places(step, Reveal)[0]
    step["transcript"][place] = again(step["transcript"][place], signer=made()[1], answer="1")


def openings_exchanged(_: Fields, step: Fields) -> None:
    """Each of two executors signs the opening of the other, in league with the requester."""
    first, second, *_rest = places(step, Reveal)
    (one, a), (two, b) = opened(step["transcript"][first]), opened(step["transcript"][second])
    assert isinstance(a, Reveal)
    assert isinstance(b, Reveal)
    keys = {key.public_key: key for key in made()[2]}
    step["transcript"][first] = again(step["transcript"][first], keys[one.sender], nonce=b.nonce, answer=b.answer)
    step["transcript"][second] = again(step["transcript"][second], keys[two.sender], nonce=a.nonce, answer=a.answer)


def opening_left_out(_: Fields, step: Fields) -> None:
    del step["transcript"][places(step, Reveal)[0]]


def ended_early(_: Fields, step: Fields) -> None:
    """Send away one whose vote would count, before it opened."""
    place = places(step, Reveal)[0]
    _envelope, message = opened(step["transcript"].pop(place))
    step["notes"] = [[place, "unneeded", message.award]]  # type: ignore[attr-defined]


def result_of(name: str, value: Value) -> Callable[[Fields, Fields], None]:
    def change(fields: Fields, step: Fields) -> None:
        fields["result"][name] = step["result"][name] = value

    return change


def only_in_the_head(fields: Fields, _: Fields) -> None:
    fields["result"]["answer"] = "1"


def expired_twice(_: Fields, step: Fields) -> None:
    award = opened(step["transcript"][places(step, Award)[0]])[0]
    step["notes"] = [[len(step["transcript"]), "expired", award.id]]


def gone_who_never_bid(_: Fields, step: Fields) -> None:
    step["notes"] = [[0, "gone", bytes(32)]]


def notes_out_of_order(_: Fields, step: Fields) -> None:
    step["notes"] = [[9, "gone", bytes(32)], [3, "gone", bytes(32)]]


def said_that_nobody_bid(_: Fields, step: Fields) -> None:
    step["reason"] = "no_bids"


def a_view_too_many(_: Fields, step: Fields) -> None:
    step["views"].append(canonical.encode({"bids": [], "newcomer_seats": 0, "options": 10}))


def other_task(fields: Fields, _: Fields) -> None:
    fields["task"] = bytes(16)


def other_network(fields: Fields, _: Fields) -> None:
    fields["network"] = bytes(32)


def other_step(_: Fields, step: Fields) -> None:
    step["step"] = 1


def two_steps(fields: Fields, step: Fields) -> None:
    fields["steps"].append(step)


def another_step(fields: Fields, step: Fields) -> None:
    fields["steps"].append(step | {"plan": 1, "step": 1})


LIES: list[tuple[Callable[[Fields, Fields], None], str]] = [
    (other_question, "message 1 .*beacon.*: binds another question"),
    (other_nonce, "message 1 .*beacon.*: binds another question"),
    (other_beacon, "message 1 .*beacon.*: binds another question"),
    (no_beacon, "message 1 .*bid.*: comes before the beacon"),
    (two_beacons, "message 2 .*beacon.*: is a second beacon"),
    (bid_left_out, r"bid_ack\): acknowledges no bid"),
    (bid_by_nobody, r"bid_ack\): acknowledges no bid"),
    (forged_ack, r"bid_ack\): acknowledges no bid"),
    (ack_of_another, r"bid_ack\): is not by the requester"),
    (ack_after_award, "after the awards"),
    (message_twice, r"reveal\): stands there twice"),
    (acknowledged_bid_dropped, "without the bid of .*, which was acknowledged"),
    (counts_of_the_view, "names a view that the receipt does not hold"),
    (counts_of_view_and_awards, r"accept|commit\): names no award of the receipt"),
    (rows_out_of_order, "not in the order of their bidders"),
    (seats_for_newcomers, "newcomer seats"),
    (award_out_of_turn, "was next by the view"),
    (award_of_another_seat, "gives out seat 0 again while"),
    (award_of_another_question, "gives another question"),
    (too_few_awards, "does not hold what .* committed to"),
    (commit_left_out_of_the_set, "does not hold what .* committed to"),
    (two_sets, "another commit set for round 0, which is a fault"),
    (opening_swapped, r"reveal\): is of another node"),
    (openings_exchanged, "gives .* and from the votes follows"),
    (opening_left_out, "ended while"),
    (ended_early, "could have changed the result"),
    (result_of("answer", "1"), "gives answer as '1', and from the votes follows"),
    (result_of("margin", 999), "gives margin as 999"),
    (result_of("dissent", 0), "gives dissent as 0"),
    (result_of("coverage", 7), "gives coverage as 7"),
    (result_of("earned", value=False), "gives earned as False"),
    (result_of("outcome", "unearned"), "gives outcome as 'unearned'"),
    (result_of("voted", value=False), "gives voted as False"),
    (result_of("support", [["1", 5]]), "gives support as"),
    (only_in_the_head, "gives answer as '1'"),
    (expired_twice, "its note that .* was expired"),
    (gone_who_never_bid, "nobody who had bid"),
    (notes_out_of_order, "notes are not in order"),
    (said_that_nobody_bid, "says that nobody bid"),
    (a_view_too_many, "a view that no award names"),
    (other_task, "belongs to another task"),
    (other_network, "is of another network"),
    (other_step, "do not begin with that of plan 0"),
    (two_steps, "are not in order"),
    (another_step, "belongs to another task or step"),
]


@pytest.mark.parametrize(("lie", "named"), LIES, ids=lambda value: getattr(value, "__name__", "-"))
def test_lie__is_named(lie: Callable[[Fields, Fields], None], named: str) -> None:
    found = failure(resigned(lie))
    assert re.search(named, found), found


def test_receipt__signed_again_unchanged_holds() -> None:
    assert report(resigned(lambda _fields, _step: None)).failure is None


def test_receipt__in_anothers_name_does_not_hold() -> None:
    assert "signature" in failure(resigned(lambda fields, _: fields.update(requester=made()[2][0].public_key)))


ATOM = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4) | st.binary(max_size=40)
JUNK = ATOM | st.lists(ATOM, max_size=3) | st.dictionaries(st.text(max_size=3), ATOM, max_size=2)
# What is the requester's word, and may be any value of its kind.
FREE = {("salt",), ("made_ms",), ("steps", 0, "reason")}


@given(st.data())
def test_receipt__with_a_value_of_another_kind_is_refused_in_one_line(draw: st.DataObject) -> None:
    """Whatever stands anywhere in it, verification ends with a reason and with no other error."""
    path: list[Any] = []

    def confuse(fields: Fields, _: Fields) -> None:
        place: Any = fields
        while True:
            key = draw.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            path.append(key)
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner) or draw.draw(st.integers(0, 4)) == 0:
                place[key] = draw.draw(JUNK)
                assume(place[key] != inner or type(place[key]) is not type(inner))
                return
            place = inner

    data = resigned(confuse)
    if tuple(path) not in FREE:
        assert "\n" not in failure(data)


def test_receipt__that_would_be_too_long_is_left_out_and_the_answer_comes_all_the_same() -> None:
    bench, others = requester(3)
    _, awards = awarded(bench, others)
    (task,) = bench.core._requester.tasks()
    task.transcript.extend([b"x"] * TRANSCRIPT_MAX)
    for award in awards:
        answer(bench, award, others, f"answer: {GOLD}")
    assert bench.receipt(QUESTION) == b""
    assert "no_receipt" in [item.event for item in bench.effects if isinstance(item, Log)]


def test_step__of_the_honest_receipt_is_what_the_task_kept() -> None:
    receipt = Receipt.open(made()[0])
    step = StepReceipt.parse(receipt.steps[0])
    assert open_envelope(step.transcript[0]).type == Beacon.TYPE
    assert step.question == QUESTION
