"""Garbage, signed or not, changes no outcome."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ballot import Commit, Reveal
from protocol.canonical import Value
from protocol.capability import Record
from protocol.constants import (
    ACCEPT_MS_MAX,
    LEASE_MS,
    LIFETIME_MS_MAX,
    SEATS_DEFAULT,
)
from protocol.envelope import Envelope, seal
from protocol.events import (
    Deliver,
    Effect,
    EffectDone,
    Infer,
    MessageReceived,
    PeerLost,
    Publish,
    RequestMade,
    Send,
    TimerFired,
)
from protocol.identity import KeySigner
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
from protocol.outcome import OutcomeKind
from protocol.schema import Message
from protocol.seek import Seek
from tests.core_bench import GOLD, QUESTION, STRANGER, answer, awarded, holder, requester, set_of
from tests.support import (
    PARAMETERS,
    Bench,
    evidence,
    inferred,
    parse,
    peers,
    request_id,
    sealed_answer,
    sent,
)

# --- Garbage


def live() -> tuple[Bench, list[KeySigner], list[tuple[Envelope, Award]], list[Effect]]:
    """A core with a task whose leases are out and a lease of its own at work."""
    others = peers(4)
    signer = Bench().signer
    rows = evidence({peer.public_key: 9 for peer in others}) + evidence({signer.public_key: 9}, "lists")
    bench = Bench(("lists",), rows)
    for peer in others:
        bench.join(peer)
    _, awards = awarded(bench, others)
    nonce = b"n" * 32
    bound = input_hash(nonce, "sort 2 1", "list", 256)
    beacon = Beacon(b"t" * 16, 0, 0, "lists", "list", bound, 3, 256, 1_500, 60_000, 2)
    bench.meet(STRANGER)
    ((bid, body),) = sent(bench.hear(STRANGER, beacon), Bid)
    award = Award(body.task, 0, 0, body.beacon, bid.id, bytes(32), 0, nonce, "sort 2 1", LEASE_MS, 0)
    return bench, others, awards, bench.hear(STRANGER, award)


def finish(bench: Bench, others: list[KeySigner], awards: list[tuple[Envelope, Award]], work: list[Effect]) -> None:
    """End both tasks as if nothing had happened and check that nothing had."""
    for award in awards:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)
    assert outcome.tally is not None
    assert outcome.tally.margin == 1_000
    assert len(outcome.seats) == SEATS_DEFAULT
    ((_, commit),) = sent(bench.step(inferred(work, "answer: 1 2")), Commit)
    ((envelope, reveal),) = sent(bench.hear(STRANGER, set_of(bench, commit)), Reveal)
    assert (envelope.to, reveal.answer) == (STRANGER.public_key, "1 2")


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=120), max_size=20))
def test_garbage_bytes__never_raise_and_change_no_outcome(garbage: list[bytes]) -> None:
    bench, others, awards, work = live()
    for data in garbage:
        assert not bench.step(MessageReceived(None, data))
    finish(bench, others, awards, work)


IDS = [bytes(16), b"t" * 16, bytes(32), b"i" * 32]
wire = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**33) | st.text(max_size=8) | st.sampled_from(IDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=40)
@given(st.data())
def test_signed_garbage__never_raises_and_changes_no_outcome(draw: st.DataObject) -> None:
    """Bodies of every type by a peer with a right key, made of true ids and false ones, none of them its own."""
    bench, others, awards, work = live()
    attacker = peers(1, "attacker")[0]
    award = awards[0][1]
    values = wire | st.sampled_from([awards[0][0].id, award.beacon, award.bid, award.view, award.task])
    kinds: dict[str, type[Message]] = {**DIRECT, "beacon": Beacon, "record": Record, "seek": Seek}
    for _ in range(draw.draw(st.integers(1, 8))):
        kind = draw.draw(st.sampled_from([*sorted(kinds), "unknown", ""]))
        names = list(kinds[kind].RULES) if kind in kinds else ["a"]
        sensible: dict[str, Value] = {
            "task": awards[0][1].task,
            "plan": 0,
            "step": 0,
            "award": awards[0][0].id,
            "beacon": awards[0][1].beacon,
            "bid": awards[0][1].bid,
            "answer": "1",
            "round": 0,
            "reason": "busy",
        }
        body: dict[str, Value] = {
            name: sensible[name] if name in sensible and draw.draw(st.booleans()) else draw.draw(values) for name in names
        }
        to = draw.draw(st.sampled_from(["beacons", "records", "elsewhere"]) | st.sampled_from([bench.core.me, bytes(32)]))
        lifetime_ms = draw.draw(st.sampled_from([1, LIFETIME_MS_MAX]))
        issued_ms = bench.wall_ms + draw.draw(st.sampled_from([0, -LIFETIME_MS_MAX, 5_000, 50_000]))
        data = seal(attacker, PARAMETERS.network, kind, to, body, issued_ms, lifetime_ms)
        bench.step(MessageReceived(attacker.public_key, data))
    finish(bench, others, awards, work)


@settings(max_examples=25)
@given(st.data())
def test_a_holder_that_misbehaves__spoils_its_own_seat_alone(draw: st.DataObject) -> None:
    """Any order of lease messages by one holder leaves the other seats, and the outcome, as they would be."""
    bench, others, awards, _ = live()
    body, award_id = awards[0][1], awards[0][0].id
    step = (body.task, 0, 0)
    moves = [
        Accept(*step, award_id),
        Progress(*step, award_id),
        Decline(*step, award_id, "busy"),
        *sealed_answer(holder(awards[0], others), awards[0], "answer: 1"),
        *sealed_answer(holder(awards[0], others), awards[0], ""),
        Cancel(*step, award_id),
        BidAck(*step, award_id),
    ]
    for number in draw.draw(st.lists(st.integers(0, len(moves) - 1), max_size=6)):
        bench.wait(draw.draw(st.integers(1, 50)))
        bench.hear(holder(awards[0], others), moves[number])
    for award in sent(bench.effects, Award):
        if award[0].id != award_id:
            answer(bench, award, others)
    bench.wait(ACCEPT_MS_MAX + LEASE_MS)
    for award in sent(bench.effects, Award)[len(awards) :]:
        answer(bench, award, others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)


def test_driver_events__that_name_nothing_are_ignored() -> None:
    bench = Bench(("arith",))
    for event in (EffectDone(999), EffectDone(999, error="x"), PeerLost(b"q" * 32), TimerFired(), TimerFired()):
        assert not [effect for effect in bench.step(event) if isinstance(effect, Send | Publish | Infer | Deliver)]


def test_request__is_answered_exactly_once_even_if_asked_twice_with_one_text() -> None:
    bench, others = requester()
    ids = [request_id("a"), request_id("b")]
    for identifier in ids:
        (beacon,) = sent(bench.step(RequestMade(identifier, QUESTION)), Beacon)
        bench.bids(beacon, others)
    for award in sent(bench.effects, Award):
        answer(bench, award, others)
    delivered = [effect.request for effect in bench.effects if isinstance(effect, Deliver)]
    assert sorted(delivered) == sorted(ids)


def test_log__holds_neither_question_nor_answer() -> None:
    bench, others = requester()
    _, awards = awarded(bench, others)
    for award in awards:
        answer(bench, award, others, f"a secret thought\nanswer: {GOLD}")
    logs = [str(effect) for effect in bench.effects if type(effect).__name__ == "Log"]
    assert logs
    assert not [line for line in logs if QUESTION in line or "secret" in line]


def test_parse__opens_everything_the_core_sends() -> None:
    bench, others = requester()
    awarded(bench, others)
    for effect in bench.effects:
        if isinstance(effect, Send | Publish):
            parse(effect.data)


def test_channel__a_peer_speaks_for_itself_alone_but_hands_on_records() -> None:
    bench = Bench()
    relay, author = KeySigner(b"\x21" * 32), KeySigner(b"\x22" * 32)
    bench.step(MessageReceived(relay.public_key, bench.sealed(author, BidAck(bytes(16), 0, 0, bytes(32)))))
    assert bench.core.rejected == {"relayed": 1}
    record = Record(1, {}, "m", 1, "Q8_0", "", 512, 1, 1, available=True, addresses=())
    bench.step(MessageReceived(relay.public_key, bench.sealed(author, record)))
    assert bench.core.peers.get(author.public_key) is not None
    assert bench.core.rejected == {"relayed": 1}
