"""A batch of audits: what is committed, what opens it, and what a reader grades again or refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical, exercises
from protocol.audit_batch import Answers, Leaf, audits_body, make_leaf, opening_body, opening_root, regrade
from protocol.ballot import CommitSet, Reveal
from protocol.batches import Batches
from protocol.canonical import Value
from protocol.constants import (
    ANSWER_SIZE_MAX,
    AUDIT_BATCH_MAX,
    CLOCK_SKEW_MS_MAX,
    LIFETIME_MS_MAX,
    ROUNDS_MAX,
    SEATS_DEFAULT,
    TEXT_SIZE_MAX,
)
from protocol.envelope import seal
from protocol.errors import RemoteProtocolError
from protocol.events import Instant
from protocol.identity import KeySigner
from protocol.ledger import Entry, make_entry, parse_entry
from protocol.messages import input_hash
from protocol.outbox import Outbox
from protocol.own_ledger import Origin, OwnLedger
from protocol.schema import Message
from protocol.sealing import commitment
from simnet.draws import Stream
from tests.support import PARAMETERS, WALL_MS, peers

AUTHOR, OTHER = peers(2, "author")
EXECUTORS = peers(3, "executor")
NETWORK = PARAMETERS.network

Given = dict[KeySigner, str | None]


def leaf(number: int = 1, skill: str = "arith", family: str = "add") -> Leaf:
    return make_leaf(PARAMETERS, skill, (skill, family), 1 + number % 3, number, bytes([number]) * 16, bytes([number]) * 32)[0]


def sealed(signer: KeySigner, message: Message, to: bytes, issued_ms: int = WALL_MS) -> bytes:
    return seal(signer, NETWORK, message.TYPE, to, message.body(), issued_ms, LIFETIME_MS_MAX)


def reveal_of(task: bytes, signer: KeySigner, answer: str | None, number: int = 0) -> tuple[Reveal, bytes]:
    """An opening, and the commitment that it opens."""
    reveal = Reveal(task, 0, 0, bytes(32), number, signer.public_key, answer)
    return reveal, commitment(NETWORK, reveal.step_id, number, signer.public_key, reveal.nonce, answer)


def closed(
    audit: Leaf, given: Given, number: int = 0, author: KeySigner = AUTHOR, issued_ms: int = WALL_MS
) -> tuple[bytes, tuple[bytes, ...]]:
    """One round of an audit: the set that closed it, and every opening."""
    made = {signer: reveal_of(audit.task, signer, answer, number) for signer, answer in given.items()}
    ordered = sorted(made, key=lambda signer: signer.public_key)
    members = tuple((signer.public_key, made[signer][1]) for signer in ordered)
    set_data = sealed(author, CommitSet(audit.task, 0, 0, number, members), ordered[0].public_key)
    return set_data, tuple(sealed(signer, made[signer][0], author.public_key, issued_ms) for signer in ordered)


def right(audit: Leaf) -> Answers:
    """An audit whose executors answered right, wrong and not at all."""
    return Answers(audit, (closed(audit, dict(zip(EXECUTORS, (audit.gold, "-1", None), strict=True))),))


def entries(
    batch: Sequence[Leaf], opening: dict[str, Value], author: KeySigner = AUTHOR, wall_ms: int = WALL_MS
) -> tuple[Entry, Entry]:
    start = make_entry(author, NETWORK, None, "start", {"recovery": bytes(32), "succession": b""}, wall_ms)
    audits = make_entry(author, NETWORK, start, "audits", audits_body(batch), wall_ms)
    return audits, make_entry(author, NETWORK, audits, "opening", opening, wall_ms + 60_000)


def graded(*batch: Answers) -> list[tuple[bytes, str, str]]:
    return list(regrade(*entries([answers.leaf for answers in batch], opening_body(batch)), PARAMETERS))


def refusal(*batch: Answers) -> str:
    return refused(*entries([answers.leaf for answers in batch], opening_body(batch)))


def refused(audits: Entry, opening: Entry) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        regrade(audits, opening, PARAMETERS)
    return caught.value.code


def test_opening__is_graded_again_by_whoever_reads_it() -> None:
    batch = [right(leaf(1)), right(leaf(2)), right(leaf(3, "lists", "sort"))]
    verdicts = graded(*batch)
    keys = [signer.public_key for signer in EXECUTORS]
    assert verdicts == [
        (peer, skill, verdict)
        for skill in ("arith", "arith", "lists")
        for peer, verdict in zip(keys, ("hit", "miss", "abstained"), strict=True)
    ]


def test_opening__of_the_largest_batch_with_the_longest_answers_fits_an_entry() -> None:
    longest = "1" * ANSWER_SIZE_MAX
    batch = [
        Answers(audit, (closed(audit, dict.fromkeys(EXECUTORS[:SEATS_DEFAULT], longest)),))
        for audit in map(leaf, range(1, AUDIT_BATCH_MAX + 1))
    ]
    assert len(graded(*batch)) == AUDIT_BATCH_MAX * SEATS_DEFAULT


def test_opening__of_several_rounds_counts_each_executor_once() -> None:
    audit = leaf()
    first, second = closed(audit, {EXECUTORS[0]: audit.gold}), closed(audit, {EXECUTORS[1]: "-1"}, 1)
    assert [verdict for _, _, verdict in graded(Answers(audit, (first, second)))] == ["hit", "miss"]
    again = closed(audit, {EXECUTORS[0]: audit.gold}, 1)
    assert refusal(Answers(audit, (first, again))) == "opening"
    assert refusal(Answers(audit, (first, closed(audit, {EXECUTORS[1]: "-1"})))) == "opening"


@pytest.mark.parametrize("gold", ["-99", "17171717"])
def test_opening__with_a_false_gold_answer_is_refused(gold: str) -> None:
    false = replace(leaf(), gold=gold)
    assert refusal(Answers(false, (closed(false, {EXECUTORS[0]: gold}),))) == "opening"


@pytest.mark.parametrize(
    "change",
    [
        {"input_hash": bytes(32)},
        {"nonce": bytes(32)},
        {"seed": 2},
        {"difficulty": 3},
        {"exercise": f"arith/{exercises.SKILLS['arith'][1]}"},
    ],
)
def test_opening__of_another_question_than_the_generators_is_refused(change: dict[str, object]) -> None:
    changed = replace(leaf(), **change)  # type: ignore[arg-type]
    assert refusal(right(changed)) == "opening"


@pytest.mark.parametrize(
    "change", [{"revision": 3}, {"skill": "cooking"}, {"exercise": "arith/later"}, {"exercise": "lists/sort"}]
)
def test_opening__by_other_parameters_is_not_for_this_node_to_grade(change: dict[str, object]) -> None:
    changed = replace(leaf(), **change)  # type: ignore[arg-type]
    assert refusal(right(changed)) == "revision"


def test_opening__with_an_audit_that_nobody_answered_counts_for_its_author_alone() -> None:
    assert refusal(right(leaf(1)), Answers(leaf(2), ())) == "unanswered"


def test_opening__that_leaves_out_an_answer_counts_for_its_author_alone() -> None:
    answers = right(leaf())
    set_data, openings = answers.rounds[0]
    for kept in (openings[:-1], (), openings[1:], (*openings[1:], openings[0])):
        partial = replace(answers, rounds=((set_data, kept),))
        assert refusal(partial) == "unanswered"


def test_opening__of_other_audits_than_were_committed_is_refused() -> None:
    batch = [right(leaf(1)), right(leaf(2))]
    leaves = [answers.leaf for answers in batch]
    for other in ([batch[1], batch[0]], [batch[0], right(leaf(3))], batch[:1], [*batch, right(leaf(3))]):
        audits, opening = entries(leaves, opening_body(other) | {"root": audits_body(leaves)["root"]})
        assert refused(audits, opening) == "opening"
    audits, opening = entries(leaves, opening_body(batch[:1]))
    assert refused(audits, opening) == "opening"


def test_opening__with_one_task_twice_is_refused() -> None:
    one = leaf(1)
    two = replace(leaf(2), task=one.task)
    assert refusal(right(one), right(two)) == "opening"


def test_opening__of_more_audits_than_a_batch_may_have_is_refused() -> None:
    batch = [Answers(audit, ()) for audit in map(leaf, range(1, AUDIT_BATCH_MAX + 2))]
    assert refusal(*batch) == "opening"


def test_opening__of_another_author_or_before_its_batch_is_refused() -> None:
    batch = [right(leaf())]
    audits, opening = entries([leaf()], opening_body(batch))
    _, foreign = entries([leaf()], opening_body(batch), author=OTHER)
    for pair in ((audits, foreign), (opening, audits), (opening, opening), (audits, audits)):
        assert refused(*pair) == "opening"


def test_answers__of_another_set_task_or_signer_are_refused() -> None:
    audit = leaf()
    set_data, openings = closed(audit, {EXECUTORS[0]: audit.gold})
    other_task = closed(leaf(2), {EXECUTORS[0]: audit.gold})
    other_answer = closed(audit, {EXECUTORS[0]: "-1"})
    foreign_set = closed(audit, {EXECUTORS[0]: audit.gold}, author=OTHER)
    to_other = sealed(EXECUTORS[0], reveal_of(audit.task, EXECUTORS[0], audit.gold)[0], OTHER.public_key)
    for rounds in (
        (other_task,),
        ((set_data, other_task[1]),),
        ((set_data, other_answer[1]),),
        ((foreign_set[0], openings),),
        ((set_data, (to_other,)),),
        ((set_data, (set_data,)),),
        ((openings[0], openings),),
    ):
        assert refusal(Answers(audit, rounds)) in ("opening", "unanswered")


@given(st.integers(-999, 999).map(str))
def test_opening__of_another_answer_than_was_committed_is_refused(other: str) -> None:
    audit = leaf()
    (set_data, _), (_, openings) = (closed(audit, {EXECUTORS[0]: answer}) for answer in (audit.gold, other))
    if other == audit.gold:
        assert graded(Answers(audit, ((set_data, openings),)))
    else:
        assert refusal(Answers(audit, ((set_data, openings),))) == "opening"


def test_answers__given_before_the_batch_was_committed_are_refused() -> None:
    audit = leaf()
    early = closed(audit, {EXECUTORS[0]: audit.gold}, issued_ms=WALL_MS - CLOCK_SKEW_MS_MAX - 1)
    assert refusal(Answers(audit, (early,))) == "opening"
    in_time = closed(audit, {EXECUTORS[0]: audit.gold}, issued_ms=WALL_MS - CLOCK_SKEW_MS_MAX)
    assert graded(Answers(audit, (in_time,)))


def test_answers__in_another_spelling_of_the_gold_answer_are_abstentions() -> None:
    audit = leaf()
    (verdict,) = graded(Answers(audit, (closed(audit, {EXECUTORS[0]: f"0{audit.gold}"}),)))
    assert verdict[2] == "abstained"


def test_leaf__binds_the_question_that_the_beacon_binds() -> None:
    made, exercise = make_leaf(PARAMETERS, "arith", ("arith", "add"), 2, 9, bytes(16), bytes(32))
    rule = PARAMETERS.skills["arith"]
    assert exercise == exercises.generate("arith", 2, 9, "add")
    assert made.input_hash == input_hash(bytes(32), exercise.text, rule.answer, rule.tokens_max)


@settings(max_examples=150)
@given(st.data())
def test_opening__with_any_change_gives_verdicts_or_the_peers_error(data: st.DataObject) -> None:
    batch = [right(leaf(1)), right(leaf(2))]
    audits, opening = entries([answers.leaf for answers in batch], opening_body(batch))
    leaves = [item for item in opening.body["leaves"] if isinstance(item, bytes)]  # type: ignore[union-attr]
    place = data.draw(st.integers(0, len(leaves[0]) - 1))
    other = data.draw(st.integers(0, 255))
    changed = leaves[0][:place] + bytes([other]) + leaves[0][place + 1 :]
    body: dict[str, canonical.Value] = {"leaves": [changed, leaves[1]], "root": opening.body["root"]}
    # Another body has another id, or what was found of the first one would be found again.
    forged = opening if changed == leaves[0] else replace(opening, id=hashlib.sha256(changed).digest(), body=body)
    try:
        verdicts = regrade(audits, forged, PARAMETERS)
    except RemoteProtocolError:
        return
    assert changed == leaves[0]
    assert len(verdicts) == 6


@pytest.mark.parametrize(
    "shown",
    [
        [],
        {},
        [leaf().body()],
        [leaf().body(), {}],
        [leaf().body(), [[]]],
        [leaf().body(), [[b"", [1]]]],
        [leaf().body(), [[1, []]]],
        [leaf().body(), [[b"", []]] * (ROUNDS_MAX + 1)],
        [leaf().body(), [], 1],
    ],
)
def test_opening__of_another_form_is_refused(shown: Value) -> None:
    body: dict[str, Value] = {"leaves": [canonical.encode(shown)], "root": audits_body([leaf()])["root"]}
    assert refused(*entries([leaf()], body)) == "opening"


def test_opening__shows_a_root_or_is_refused() -> None:
    batch = [right(leaf(1)), right(leaf(2))]
    _, opening = entries([leaf(1), leaf(2)], opening_body(batch))
    assert opening_root(opening) == opening.body["root"]
    for leaves in ([], [canonical.encode({})], [canonical.encode([leaf().body()])]):
        _, other = entries([leaf(1)], {"leaves": list(leaves), "root": bytes(32)})
        with pytest.raises(RemoteProtocolError):
            opening_root(other)


# --- A node's own batches


def own_batches() -> tuple[Batches, OwnLedger]:
    outbox = Outbox(AUTHOR, NETWORK)
    outbox.begin(Instant(1, WALL_MS))
    ledger = OwnLedger(outbox, Origin())
    return Batches(outbox, ledger, PARAMETERS, Stream(1, "batches").bytes), ledger


def kinds(ledger: OwnLedger) -> list[str]:
    found = (ledger.chain.get(number) for number in range(ledger.chain.next))
    return [parse_entry(data).kind for data in found if data is not None]


@pytest.mark.parametrize(
    ("answer", "opened"),
    [("1", True), ("1" * ANSWER_SIZE_MAX, True), (None, True), ("x" * TEXT_SIZE_MAX, False)],
    ids=["short", "longest", "abstained", "too long"],
)
def test_own_batch__is_opened_if_it_fits_whatever_executors_answer(answer: str | None, opened: bool) -> None:  # noqa: FBT001
    batches, ledger = own_batches()
    assert batches.commit(["arith"] * (AUDIT_BATCH_MAX + 1))
    for _ in range(AUDIT_BATCH_MAX):
        planned = batches.begin("arith")
        assert planned is not None
        set_data, openings = closed(planned.leaf, dict.fromkeys(EXECUTORS, answer))
        batches.end(planned.leaf.task, [set_data, *openings])
    assert batches.begin("arith") is None
    assert kinds(ledger) == ["start", "audits", *(["opening"] if opened else [])]


def test_own_batch__knows_its_own_tasks_alone() -> None:
    batches, ledger = own_batches()
    assert batches.commit(["arith"])
    assert batches.end(bytes(16), ()) is None
    assert kinds(ledger) == ["start", "audits"]
