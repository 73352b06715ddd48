"""A message that breaks a rule cannot be built, and one that came that way is the peer's fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import GENERAL, Record
from protocol.constants import (
    AWARDS_MAX,
    DEADLINE_MS_MAX,
    JUDGEMENTS_MAX,
    LEASE_MS,
    QUESTION_SIZE_MAX,
    RECORD_ADDRESSES_MAX,
    RECORD_SKILLS_MAX,
    RECORDS_SHARED_MAX,
    REFINE_ANSWERS_MAX,
    REFINE_TEXT_SIZE_MAX,
    ROUNDS_MAX,
    SEATS_MAX,
    TEXT_SIZE_MAX,
    TOKENS_MAX,
    WINDOW_MS_MAX,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import (
    DIRECT,
    Accept,
    Award,
    Beacon,
    Bid,
    BidAck,
    Cancel,
    Decline,
    Progress,
    input_hash,
)
from protocol.review import Judge, Judgement, Refine
from protocol.schema import Message, integer, items, mapping, string
from protocol.seek import Seek
from protocol.step import StepId

TASK, ID = b"t" * 16, b"i" * 32
EXAMPLES: dict[str, Message] = {
    message.TYPE: message
    for message in (
        Beacon(TASK, 0, 0, "arith", "number", ID, 3, 256, WINDOW_MS_MAX, 60_000, 2),
        Bid(TASK, 0, 0, ID, 0, 1, 100),
        BidAck(TASK, 0, 0, ID),
        Award(TASK, 0, 0, ID, ID, ID, 0, ID, "What is 1 + 1?", LEASE_MS, 0),
        Accept(TASK, 0, 0, ID),
        Decline(TASK, 0, 0, ID, "busy"),
        Progress(TASK, 0, 0, ID),
        Commit(TASK, 0, 0, ID, 0, ID, 12, 5, 80),
        CommitSet(TASK, 0, 0, 0, ((b"a" * 32, ID), (b"b" * 32, ID))),
        Reveal(TASK, 0, 0, ID, 0, ID, "2"),
        Judge(TASK, 0, 0, ID, 0, "a poem", "another"),
        Judgement(TASK, 0, 0, ID, 0, "first", 12, 1, 80),
        Refine(TASK, 0, 0, ID, 1, ("2", "3")),
        Cancel(TASK, 0, 0, ID),
        Seek(1),
        Record(1, {"arith": 500}, "m", 1, "Q8_0", "ab", 512, 90, 1, available=True, addresses=("/sim/a",)),
    )
}

# For each message values that are each one step outside its rules.
OUTSIDE: dict[str, dict[str, list[Any]]] = {
    "beacon": {
        "task": [b"t" * 15, b"t" * 17, "t" * 16, None],
        "plan": [-1, 16, True, "0", None],
        "step": [-1, 64],
        "skill": ["", "s" * 33, "é" * 17, b"arith", None],
        "answer": ["", "Number", "words", None],
        "input_hash": [b"i" * 31, "i" * 32],
        "seats": [0, SEATS_MAX + 1, True],
        "tokens_max": [0, TOKENS_MAX + 1],
        "window_ms": [0, WINDOW_MS_MAX + 1],
        "deadline_ms": [0, -5, DEADLINE_MS_MAX + 1],
        "revision": [-1, 2**32 + 1],
    },
    "bid": {"beacon": [b""], "queued": [-1, 1_000_001], "slots": [0, 1_025], "tokens_per_s": [-1, 10_000_001]},
    "bid_ack": {"bid": [b"", ID + b"i"]},
    "award": {
        "seat": [-1, SEATS_MAX],
        "nonce": [b""],
        "view": [b""],
        "question": ["", "q" * (QUESTION_SIZE_MAX + 1), "é" * (QUESTION_SIZE_MAX // 2 + 1), b"q", "\ud800"],
        "lease_ms": [0, LEASE_MS + 1],
        "round": [-1, ROUNDS_MAX],
    },
    "accept": {"award": [b""]},
    "decline": {"reason": ["", "because", None]},
    "progress": {"award": [None]},
    "commit": {
        "award": [b""],
        "round": [-1, ROUNDS_MAX],
        "commitment": [ID[:-1], None],
        "prompt_tokens": [-1, 2**32 + 1, True],
        "inference_ms": [-1],
    },
    "commit_set": {
        "round": [ROUNDS_MAX, True],
        "members": [
            ((b"b" * 32, ID), (b"a" * 32, ID)),
            ((b"a" * 32, ID), (b"a" * 32, bytes(32))),
            ((b"a" * 31, ID),),
            ((b"a" * 32, ID, ID),),
            (b"a" * 32,),
            tuple((bytes([number]) * 32, ID) for number in range(AWARDS_MAX + 1)),
            None,
        ],
    },
    "reveal": {
        "nonce": [b""],
        "round": [None],
        "answer": ["x" * (TEXT_SIZE_MAX + 1), b"x", 2, "\ud800"],
    },
    "judge": {
        "number": [-1, JUDGEMENTS_MAX],
        "first": ["", "x" * (TEXT_SIZE_MAX + 1), None],
        "second": ["", b"x"],
    },
    "judgement": {"number": [None], "preference": ["", "third", None], "completion_tokens": [-1]},
    "refine": {
        "round": [0, ROUNDS_MAX],
        "answers": [("",), ("x",) * (REFINE_ANSWERS_MAX + 1), ("x" * (REFINE_TEXT_SIZE_MAX + 1),), (1,), None],
    },
    "cancel": {"award": [ID[:-1]]},
    "seek": {"count": [0, RECORDS_SHARED_MAX + 1, True, None]},
    "record": {
        "sequence": [-1, 2**53 + 1],
        "skills": [
            {"arith": -1},
            {"arith": 1_001},
            {"arith": True},
            {"arith": "500"},
            {"": 1},
            {"s" * 33: 1},
            {f"s{n}": 1 for n in range(RECORD_SKILLS_MAX + 1)},
            None,
        ],
        "model": ["m" * 129, None],
        "slots": [0],
        "available": [0, 1, None],
        "addresses": [("/a",) * (RECORD_ADDRESSES_MAX + 1), ("",), ("a" * 257,), (1,), None],
    },
}
CASES = [(kind, name, value) for kind, fields in OUTSIDE.items() for name, values in fields.items() for value in values]


def from_wire(message: Message, body: dict[str, Any]) -> Message:
    return type(message).parse(body)


def test_examples__cover_every_type() -> None:
    assert set(EXAMPLES) == set(DIRECT) | {"beacon", "record", "seek"} == set(OUTSIDE)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_message__survives_the_wire(kind: str) -> None:
    message = EXAMPLES[kind]
    body = canonical.decode(canonical.encode(message.body()))
    assert isinstance(body, dict)
    assert from_wire(message, body) == message


@pytest.mark.parametrize(("kind", "name", "value"), CASES, ids=[f"{k}-{n}-{i}" for i, (k, n, _) in enumerate(CASES)])
def test_message__outside_its_rules_cannot_be_built_nor_parsed(kind: str, name: str, value: object) -> None:
    message = EXAMPLES[kind]
    with pytest.raises(LocalProtocolError):
        replace(message, **{name: value})  # type: ignore[type-var]
    body: dict[str, Any] = message.body() | {name: list(value) if isinstance(value, tuple) else value}
    with pytest.raises(RemoteProtocolError) as caught:
        from_wire(message, body)
    assert caught.value.code == "field"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_parse__refuses_missing_and_unknown_fields(kind: str) -> None:
    message = EXAMPLES[kind]
    for name in message.RULES:
        body = message.body()
        value = body.pop(name)
        for wrong in (body, body | {"other": value}):
            with pytest.raises(RemoteProtocolError) as caught:
                from_wire(message, wrong)
            assert caught.value.code == "fields"
    with pytest.raises(RemoteProtocolError):
        from_wire(message, message.body() | {"other": 1})


wire = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**33) | st.text(max_size=5) | st.sampled_from([TASK, ID, b""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=250)
@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_parse__raises_nothing_but_the_peers_error(kind: str, draw: st.DataObject) -> None:
    message = EXAMPLES[kind]
    names = draw.draw(st.lists(st.sampled_from(sorted(message.RULES)), min_size=1, max_size=4))
    body = message.body() | {name: draw.draw(wire) for name in names}
    try:
        parsed = from_wire(message, body)
    except RemoteProtocolError:
        return
    assert parsed.body() == body


def test_step_id__is_in_every_message_of_a_task() -> None:
    for kind, message in EXAMPLES.items():
        if kind not in ("record", "seek"):
            other = replace(message, plan=3, step=5)  # type: ignore[type-var]
            assert other.step_id == StepId(TASK, 3, 5)  # type: ignore[attr-defined]


def test_check_table__finds_a_field_without_a_rule() -> None:
    class Slip(Bid):
        RULES = {name: rule for name, rule in Bid.RULES.items() if name != "slots"}  # noqa: RUF012

    with pytest.raises(LocalProtocolError):
        Slip.check_table()


@settings(max_examples=60)
@given(st.text(max_size=12))
def test_string__counts_bytes_of_utf8(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        assert string(1_000)(text)
        return
    assert string(size)(text) is None
    assert size == 0 or string(size - 1)(text)
    assert string(1_000, size + 1)(text)


def test_rules__take_no_other_type_for_their_own() -> None:
    assert [integer(0, 1)(value) is None for value in (True, 1.0, 1)] == [False, False, True]
    assert items(integer(0, 1), 2)([0, 1])
    assert mapping(string(3), integer(0, 1), 1)({1: 1})
    assert items(integer(0, 1), 2)((0, 1)) is None


def test_input_hash__binds_every_part_of_the_input() -> None:
    parts: tuple[bytes, str, str, int] = (ID, "What is 1 + 1?", "number", 256)
    others = [(b"j" * 32, *parts[1:]), (ID, "What is 1 + 2?", *parts[2:]), (*parts[:2], "list", 256), (*parts[:3], 255)]
    assert len({input_hash(*parts), *(input_hash(*other) for other in others)}) == 5


def test_record__offers_what_it_says_while_its_model_is_there() -> None:
    record = EXAMPLES["record"]
    assert isinstance(record, Record)
    assert record.offers("arith")
    assert record.offers(GENERAL)
    assert not record.offers("lists")
    gone = replace(record, available=False)
    assert not gone.offers("arith")
    assert not gone.offers(GENERAL)
