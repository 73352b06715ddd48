"""What one peer can take of a node: beacons, bids, leases, turns of the model, awards, time, records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.constants import (
    ACCEPT_MS_MAX,
    AUDIT_PAUSE_MS,
    AUDITS_AT_ONCE_MAX,
    AWARDS_MAX,
    BEACON_MS,
    BEACON_SHARE_BURST,
    BEACON_SHARE_MS,
    BEACONS_BURST,
    BEACONS_SPARE,
    BIDS_OPEN_MAX,
    DEADLINE_MS_DEFAULT,
    LEASE_MS,
    LEASES_MAX,
    PROGRESS_MAX,
    RECORD_MS,
    RECORDS_BURST,
    REST_MS,
    SEAT_SHARE,
    SEATS_DEFAULT,
    STRANGER_MS,
    STRANGERS_PER_SOURCE_MAX,
    TASKS_MAX,
    TOKENS_GENERAL,
    UNKNOWN_BEACON_MS,
    UNKNOWN_BEACONS_BURST,
)
from protocol.envelope import Envelope
from protocol.events import AuditsWanted, Effect, EffectDone, Infer, InferenceResult, MessageReceived, PeerLost
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, Progress, input_hash
from protocol.outcome import OutcomeKind
from tests.core_bench import (
    GOLD,
    QUESTION,
    STRANGER,
    accept,
    answer,
    asked,
    awarded,
    disagree,
    holder,
    newer,
    offered,
    requester,
)
from tests.support import Bench, bid_on, evidence, exercise, peers, record, sent

NONCE = b"n" * 32
SECOND = exercise("arith", 4).text


def beacon(number: int, **change: object) -> Beacon:
    body = Beacon(
        number.to_bytes(16, "big"),
        0,
        0,
        "arith",
        "number",
        input_hash(NONCE, QUESTION, "number", 256),
        3,
        256,
        1_500,
        60_000,
        2,
    )
    return replace(body, **change)  # type: ignore[arg-type]


def award_of(bench: Bench, asker: KeySigner, number: int, text: str | None = None) -> list[Effect]:
    """Send a beacon and the award that follows from its bid."""
    question = text or f"question {number}"
    body = beacon(number, input_hash=input_hash(NONCE, question, "number", 256))
    if not bench.core.peers.is_connected(asker.public_key):
        bench.meet(asker)
    ((bid, offer),) = sent(bench.hear(asker, body), Bid)
    award = Award(body.task, 0, 0, offer.beacon, bid.id, bytes(32), 0, NONCE, question, LEASE_MS, 0)
    return bench.hear(asker, award)


def lease(bench: Bench, asker: KeySigner, number: int, text: str | None = None) -> bytes:
    """Bring a lease about; gives the award's id."""
    effects = award_of(bench, asker, number, text)
    ((_, taken),) = sent(effects, Accept)
    return taken.award


def refused(bench: Bench, asker: KeySigner, number: int) -> bool:
    """Whether an award is declined at once."""
    effects = award_of(bench, asker, number)
    return [item[0].to for item in sent(effects, Decline)] == [asker.public_key] and not sent(effects, Accept)


def starts(bench: Bench) -> list[str]:
    """The questions given to the model so far, in order."""
    return [effect.question for effect in bench.effects if isinstance(effect, Infer)]


def finish_one(bench: Bench) -> None:
    """The model ends the inference that it began first of those at work."""
    begun = [effect.effect for effect in bench.effects if isinstance(effect, Infer)]
    running = next(effect for effect in begun if bench.core._execution._leases.inferring(effect))
    bench.step(EffectDone(running, result=InferenceResult("answer: 1", 1, 1, 1)))


# --- Beacons and bids


def test_beacon__of_a_peer_without_a_channel_gets_no_bid_and_no_place() -> None:
    bench = Bench(("arith",))
    for number, key in enumerate(peers(20)):
        assert not sent(bench.step(MessageReceived(None, bench.sealed(key, beacon(number)))), Bid)
    assert bench.core.rejected == {"unconnected": 20}
    assert len(bench.core._seen) == 0


def test_beacons__of_one_requester_are_rationed_and_those_of_another_are_not_touched() -> None:
    bench = Bench(("arith",))
    other = peers(1, "other")[0]
    bench.meet(STRANGER, other)
    bids = [len(sent(bench.hear(STRANGER, beacon(number)), Bid)) for number in range(BEACONS_BURST + 20)]
    assert sum(bids) == BEACONS_BURST
    assert bench.core.rejected == {"rate": 20}
    assert len(sent(bench.hear(other, beacon(1)), Bid)) == 1
    bench.wait(BEACON_MS)
    assert [len(sent(bench.hear(STRANGER, beacon(1_000 + number)), Bid)) for number in range(2)] == [1, 0]


def test_beacons__of_many_requesters_without_a_weight_are_rationed_together() -> None:
    known, *crowd = peers(10)
    bench = Bench(("arith",), evidence({known.public_key: 9}))
    bench.meet(known, *crowd)
    bids = sum(len(sent(bench.hear(key, beacon(number)), Bid)) for key in crowd for number in range(BEACONS_BURST // 2))
    assert bids == UNKNOWN_BEACONS_BURST + len(crowd) * BEACON_SHARE_BURST
    assert len(sent(bench.hear(known, beacon(0)), Bid)) == 1
    bench.wait(UNKNOWN_BEACON_MS)
    assert [len(sent(bench.hear(crowd[0], beacon(9_000 + number)), Bid)) for number in range(2)] == [1, 0]


def test_beacons__of_who_earned_nothing_are_heard_however_much_others_flood() -> None:
    honest, *crowd = peers(5)
    bench = Bench(("arith",))
    bench.meet(honest, *crowd)
    for second in range(30):
        for key in crowd:
            for number in range(BEACONS_BURST if second == 0 else 20):
                bench.hear(key, beacon(1_000 * second + number))
        assert len(sent(bench.hear(honest, beacon(second)), Bid)) == 1
        bench.wait(BEACON_SHARE_MS)


def test_beacons__replayed_by_others_use_up_nothing_of_their_author() -> None:
    bench = Bench(("arith",))
    bench.meet(STRANGER)
    data = bench.sealed(STRANGER, beacon(0))
    for _ in range(2 * BEACONS_BURST):
        bench.step(MessageReceived(None, data))
    assert len(sent(bench.hear(STRANGER, beacon(1)), Bid)) == 1


def test_flood_of_beacons__leaves_an_honest_open_bid_to_be_awarded() -> None:
    flooders = peers(1 + BIDS_OPEN_MAX // BEACONS_BURST, "flooder")
    bench = Bench(("arith",), evidence({peer.public_key: 9 for peer in flooders}))
    award, _ = offered(bench, STRANGER)
    for attacker in flooders:
        bench.meet(attacker)
        for number in range(BEACONS_BURST):
            bench.hear(attacker, beacon(number))
    assert len(bench.core._execution._bidding._bids) == BIDS_OPEN_MAX
    assert len(sent(bench.hear(STRANGER, award), Accept)) == 1


def beacons_of(bench: Bench) -> list[bytes]:
    """The tasks whose beacons have gone out, in order."""
    return [body.task for _, body in sent(bench.effects, Beacon)]


def test_beacons__of_a_requester_go_out_as_others_take_them_in_the_order_of_its_questions() -> None:
    bench = Bench()
    for number in range(TASKS_MAX):
        bench.ask(f"What is {number} + 1?")
    tasks = [task.id for task in bench.core._requester.tasks()]
    at_once = BEACONS_BURST - BEACONS_SPARE
    assert beacons_of(bench) == tasks[:at_once]
    bench.wait(BEACON_MS - 1)
    assert beacons_of(bench) == tasks[:at_once]
    bench.wait(1)
    assert beacons_of(bench) == tasks[: at_once + 1]
    bench.wait((TASKS_MAX - at_once) * BEACON_MS)
    assert beacons_of(bench) == tasks


def test_beacons__of_a_requester_are_all_heard_though_they_come_closer_together_than_they_went_out() -> None:
    bench, hearer = Bench(), Bench(("arith",), name="hearer")
    for number in range(TASKS_MAX):
        bench.ask(f"What is {number} + 1?")
    bench.wait(BEACONS_SPARE * BEACON_MS)
    hearer.meet(bench.signer)
    hearer.wait(bench.mono_ms - hearer.mono_ms)
    beacons = [envelope for envelope, _ in sent(bench.effects, Beacon)]
    assert len(beacons) == BEACONS_BURST
    for envelope in beacons:
        hearer.step(MessageReceived(bench.core.me, envelope.data))
    assert len(sent(hearer.effects, Bid)) == BEACONS_BURST


def test_beacons__of_audits_count_with_those_of_questions_and_go_before_them() -> None:
    bench, _ = requester(1)
    for number in range(TASKS_MAX):
        bench.ask(f"What is {number} + 1?")
    questions = {task.id for task in bench.core._requester.tasks()}
    at_once, begun_ms = BEACONS_BURST - BEACONS_SPARE, bench.mono_ms
    bench.join(peers(1, "unknown")[0])
    bench.wait((AUDITS_AT_ONCE_MAX + 1) * BEACON_MS)
    later = beacons_of(bench)[at_once:]
    assert len(later) == (bench.mono_ms - begun_ms) // BEACON_MS
    assert [task in questions for task in later] == [False] * AUDITS_AT_ONCE_MAX + [True]


def test_questions__that_are_held_back_to_their_deadline_end_by_it() -> None:
    bench = Bench()
    texts = [f"What is {number} + 1?" for number in range(TASKS_MAX)]
    for text in texts:
        bench.ask(text, deadline_ms=2 * BEACON_MS)
    bench.wait(2 * BEACON_MS)
    went_out = BEACONS_BURST - BEACONS_SPARE + 1
    assert len(beacons_of(bench)) == went_out
    kinds = [outcome.kind for text in texts if (outcome := bench.outcome(text)) is not None]
    assert kinds == [OutcomeKind.NO_BIDS] * went_out + [OutcomeKind.DEADLINE] * (TASKS_MAX - went_out)
    assert [bool(bench.receipt(text)) for text in texts] == [True] * went_out + [False] * (TASKS_MAX - went_out)
    assert not bench.core.tasks


@pytest.mark.parametrize(
    ("skill", "tokens", "bids"), [("arith", 256, 1), ("arith", 257, 0), ("general", TOKENS_GENERAL + 1, 0)]
)
def test_beacon__that_asks_for_more_tokens_than_the_network_gives_its_skill_gets_no_bid(
    skill: str, tokens: int, bids: int
) -> None:
    bench = Bench(("arith",))
    bench.meet(STRANGER)
    assert len(sent(bench.hear(STRANGER, beacon(0, skill=skill, tokens_max=tokens)), Bid)) == bids


def test_bids__to_a_requester_that_left_are_forgotten() -> None:
    bench = Bench(("arith",))
    award, _ = offered(bench, STRANGER)
    bench.step(PeerLost(STRANGER.public_key))
    bench.meet(STRANGER)
    assert not sent(bench.hear(STRANGER, award), Accept)
    assert not bench.core._execution._bidding._bids


# --- Leases and turns


def test_model__gets_no_more_leases_than_it_has_slots() -> None:
    bench = Bench(("arith",))
    for number in range(5):
        lease(bench, STRANGER, number)
    assert starts(bench) == ["question 0"]
    for done in range(1, 5):
        finish_one(bench)
        assert starts(bench)[-1] == f"question {done}"
    finish_one(bench)
    assert bench.core.leases == 0


def test_turns__go_round_by_requester_however_many_leases_one_has() -> None:
    bench = Bench(("arith",))
    greedy, modest = peers(2)
    for number in range(30):
        lease(bench, greedy, number)
    for number in range(3):
        lease(bench, modest, number, f"modest {number}")
    for _ in range(6):
        finish_one(bench)
    assert [text for text in starts(bench)[:7] if text.startswith("modest")] == ["modest 0", "modest 1", "modest 2"]


def test_turns__half_go_to_who_earned_a_weight_however_many_strangers_there_are() -> None:
    honest, *crowd = peers(40)
    bench = Bench(("arith",), evidence({honest.public_key: 9}))
    for number, key in enumerate(crowd):
        lease(bench, key, number)
    for number in range(4):
        lease(bench, honest, number, f"honest {number}")
    for _ in range(8):
        finish_one(bench)
    assert [index for index, text in enumerate(starts(bench)) if text.startswith("honest")] == [1, 3, 5, 7]


def test_full_queue__makes_room_for_who_holds_less_at_the_cost_of_who_holds_most() -> None:
    bench = Bench(("arith",))
    greedy, modest = peers(2)
    for number in range(LEASES_MAX):
        last = lease(bench, greedy, number)
    mark = len(bench.effects)
    lease(bench, modest, 0, "modest")
    ((declined, body),) = sent(bench.effects[mark:], Decline)
    assert (declined.to, body.award, body.reason) == (greedy.public_key, last, "busy")
    assert bench.core.leases == LEASES_MAX
    # Not the other way round, and only down to the same number.
    assert refused(bench, greedy, 999)
    for number in range(1, LEASES_MAX):
        award_of(bench, modest, number)
    held = [item.requester for item in bench.core._execution._leases.all()]
    assert held.count(greedy.public_key) == held.count(modest.public_key) == LEASES_MAX // 2


def test_full_queue__of_strangers_makes_room_for_who_earned_a_weight() -> None:
    honest, *crowd = peers(LEASES_MAX + 2)
    bench = Bench(("arith",), evidence({honest.public_key: 9}))
    for number, key in enumerate(crowd[:LEASES_MAX]):
        lease(bench, key, number)
    mark = len(bench.effects)
    lease(bench, honest, 0)
    assert [item[0].to for item in sent(bench.effects[mark:], Accept)] == [honest.public_key]
    assert refused(bench, crowd[-1], 0)


def test_waiting_lease__is_given_back_at_its_deadline_and_stays_alive_until_then() -> None:
    bench = Bench(("arith",))
    lease(bench, STRANGER, 0)
    late = lease(bench, STRANGER, 1)
    effects = bench.wait(60_000)
    assert {item[1].award for item in sent(effects, Progress)} >= {late}
    assert [(item[1].award, item[1].reason) for item in sent(effects, Decline)] == [(late, "busy")]


def test_cancelled_waiting_lease__never_starts() -> None:
    bench = Bench(("arith",))
    lease(bench, STRANGER, 0)
    second = lease(bench, STRANGER, 1)
    bench.hear(STRANGER, Cancel((1).to_bytes(16, "big"), 0, 0, second))
    finish_one(bench)
    assert starts(bench) == ["question 0"]
    assert bench.core.leases == 0


# --- What a bidder can take of a requester


def test_bidders_that_all_decline__cost_a_bounded_number_of_awards() -> None:
    bench, others = requester(2 * AWARDS_MAX)
    beacon_out = asked(bench)
    bench.bids(beacon_out, others[::-1])
    declined: set[bytes] = set()
    for _ in range(4 * AWARDS_MAX):
        left = [award for award in sent(bench.effects, Award) if award[0].id not in declined]
        if not left:
            break
        declined.add(left[0][0].id)
        body = left[0][1]
        bench.hear(holder(left[0], others), Decline(body.task, 0, 0, left[0][0].id, "busy"))
    assert len(sent(bench.effects, Award)) == AWARDS_MAX
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ALL_FAILED


def test_hung_executor__loses_its_seat_to_a_reserve_although_it_shows_progress() -> None:
    bench, others = requester(5)
    _, awards = awarded(bench, others)
    disagree(bench, awards, others)
    accept(bench, awards[0], others)
    hung, body = holder(awards[0], others), awards[0][1]
    begun_ms = bench.mono_ms
    effects: list[Effect] = []
    while not sent(effects, Award) and bench.mono_ms < begun_ms + DEADLINE_MS_DEFAULT:
        bench.hear(hung, Progress(body.task, 0, 0, awards[0][0].id))
        effects = bench.wait(1_000)
    assert bench.mono_ms - begun_ms <= DEADLINE_MS_DEFAULT // SEAT_SHARE + 1_000
    ((envelope, again),) = sent(effects, Award)
    assert (again.seat, len(sent(effects, Cancel))) == (body.seat, 1)
    answer(bench, (envelope, again), others)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)


def test_slow_executor__keeps_its_seat_while_nobody_as_good_waits() -> None:
    known, stranger = peers(3), peers(1, "newcomer")[0]
    bench = Bench(restored=evidence({peer.public_key: 9 for peer in known}))
    for peer in known:
        bench.join(peer)
    bench.meet(stranger)
    out = asked(bench)
    bench.hear(stranger, bid_on(out))
    bench.bids(out, known)
    awards = sent(bench.effects, Award)
    assert {award[0].to for award in awards} == {peer.public_key for peer in known}
    for award in awards:
        accept(bench, award, known)
    for _ in range(DEADLINE_MS_DEFAULT // 1_000 - 1):
        for award in awards:
            bench.hear(holder(award, known), Progress(award[1].task, 0, 0, award[0].id))
        assert not sent(bench.wait(1_000), Award)
    for award in awards:
        answer(bench, award, known)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ANSWERED


def test_progress__beyond_what_a_lease_can_need_renews_nothing() -> None:
    bench, others = requester(SEATS_DEFAULT)
    _, awards = awarded(bench, others)
    accept(bench, awards[0], others)
    body, chatty = awards[0][1], holder(awards[0], others)
    for number in range(PROGRESS_MAX + 10):
        bench.wait(1)
        bench.hear(chatty, Progress(body.task, 0, 0, awards[0][0].id))
        del number
    assert bench.core.rejected == {"limit": 11}


def test_accept_that_is_followed_by_silence__costs_a_lease_and_then_the_seat_moves_on() -> None:
    bench, others = requester(4)
    _, awards = awarded(bench, others)
    bench.wait(ACCEPT_MS_MAX - 1)
    for award in awards:
        accept(bench, award, others)
    assert not sent(bench.wait(LEASE_MS - 1), Award)
    assert len(sent(bench.wait(1), Award)) == 1


def crowded(audited: int, crowd: int) -> tuple[Bench, list[KeySigner], list[KeySigner]]:
    """A requester with peers that earned a weight, and a crowd of new keys that offer everything."""
    known, strangers = peers(audited), peers(crowd, "crowd")
    bench = Bench(restored=evidence({peer.public_key: 9 for peer in known}))
    for peer in (*known, *strangers):
        bench.join(peer)
    return bench, known, strangers


def question(bench: Bench) -> tuple[Envelope, Beacon]:
    """Ask; gives the question's beacon, which is told from those of audits by its input."""
    mark = len(bench.effects)
    bench.ask(QUESTION)
    (task,) = [task for task in bench.core._requester.tasks() if task.audit is None]
    return next(item for item in sent(bench.effects[mark:], Beacon) if item[1].task == task.id)


def test_strangers__who_offer_everything_and_never_bid_hold_up_nothing() -> None:
    bench, known, _ = crowded(2, 20)
    out = question(bench)
    mark = len(bench.effects)
    bench.bids(out, known)
    assert {award[0].to for award in sent(bench.effects[mark:], Award)} == {peer.public_key for peer in known}


def test_strangers__who_bid_first_and_accept_nothing_get_no_seat_where_another_earned_one() -> None:
    bench, known, strangers = crowded(2, 20)
    out = question(bench)
    bench.bids(out, strangers)
    bench.bids(out, known)
    awards = [award for award in sent(bench.effects, Award) if award[1].task == out[1].task]
    assert {award[0].to for award in awards} == {peer.public_key for peer in known}
    # Nor does a seat that fails go to one while the other is at work.
    first, second = awards
    bench.hear(holder(first, known), Decline(first[1].task, 0, 0, first[0].id, "busy"))
    answer(bench, second, known)
    outcome = bench.outcome(QUESTION)
    assert outcome is not None
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, GOLD)


def test_strangers__are_asked_when_nobody_who_earned_a_weight_is_left() -> None:
    bench, known, strangers = crowded(1, 4)
    out = question(bench)
    bench.bids(out, strangers)
    bench.bids(out, known)
    (award,) = [award for award in sent(bench.effects, Award) if award[1].task == out[1].task]
    effects = bench.hear(known[0], Decline(award[1].task, 0, 0, award[0].id, "model"))
    ((envelope, _),) = sent(effects, Award)
    assert envelope.to in {peer.public_key for peer in strangers}


def test_who_let_a_lease_run_out__is_left_alone_for_a_while_if_another_is_there() -> None:
    bench, others = requester(4)
    _, awards = awarded(bench, others)
    disagree(bench, awards, others)
    hung = holder(awards[0], others)
    effects = bench.wait(ACCEPT_MS_MAX)
    answer(bench, sent(effects, Award)[0], others)
    assert bench.outcome(QUESTION) is not None
    (out,) = sent(bench.ask(SECOND), Beacon)
    bench.hear(hung, bid_on(out))
    assert bench.core.rejected == {"resting": 1}
    mark = len(bench.effects)
    bench.bids(out, [peer for peer in others if peer is not hung])
    # Nobody waits for its bid, either.
    awards = sent(bench.effects[mark:], Award)
    assert len(awards) == SEATS_DEFAULT
    for award in awards:
        answer(bench, award, others)
    bench.wait(REST_MS)
    (out,) = sent(bench.ask(QUESTION + "?"), Beacon)
    assert len(sent(bench.hear(hung, bid_on(out)), BidAck)) == 1


@pytest.mark.parametrize(("answered", "deadline_ms", "rests"), [(0, 4_000, 0), (1, 4_000, 2), (0, 60_000, 3)])
def test_deadline__that_is_too_short_for_all_gives_nobody_a_rest(answered: int, deadline_ms: int, rests: int) -> None:
    bench, others = requester(4)
    out = asked(bench, deadline_ms=deadline_ms)
    mark = len(bench.effects)
    bench.bids(out, others)
    awards = sent(bench.effects[mark:], Award)
    for award in awards:
        accept(bench, award, others)
    for award in awards[:answered]:
        answer(bench, award, others)
    while bench.outcome(QUESTION) is None:
        for award in awards[answered:]:
            bench.hear(holder(award, others), Progress(award[1].task, 0, 0, award[0].id))
        bench.wait(LEASE_MS // 3)
    (out,) = sent(bench.ask(SECOND), Beacon)
    for peer in others:
        bench.hear(peer, bid_on(out))
    assert bench.core.rejected.get("resting", 0) == rests


def test_who_let_a_lease_run_out__is_asked_again_if_nobody_else_is_there() -> None:
    bench, others = requester(1)
    awarded(bench, others)
    bench.wait(ACCEPT_MS_MAX)
    (out,) = sent(bench.ask(SECOND), Beacon)
    assert len(sent(bench.hear(others[0], bid_on(out)), BidAck)) == 1


def test_silent_examinee__costs_one_lease_and_then_nothing_for_a_while() -> None:
    bench = Bench()
    silent = peers(1)[0]
    bench.join(silent)
    bench.step(AuditsWanted())
    seen: set[bytes] = set()
    leases = 0
    while bench.mono_ms < AUDIT_PAUSE_MS:
        for out in sent(bench.effects, Beacon):
            if out[1].task not in seen:
                seen.add(out[1].task)
                for award in sent(bench.hear(silent, bid_on(out)), Award):
                    leases += 1
                    bench.hear(silent, Accept(award[1].task, 0, 0, award[0].id))
        bench.wait(500)
    assert leases == AUDITS_AT_ONCE_MAX


# --- Records


def test_records__of_one_author_are_rationed() -> None:
    bench = Bench()
    author = peers(1)[0]
    for sequence in range(1, RECORDS_BURST + 11):
        bench.hear(author, newer(record("arith"), sequence))
    # The first one was counted against whoever named the author.
    assert bench.core.rejected == {"rate": 9}
    bench.wait(RECORD_MS)
    bench.hear(author, newer(record("arith"), 1_000))
    known = bench.core.peers.get(author.public_key)
    assert known is not None
    assert known.record is not None
    assert known.record.sequence == 1_000


def test_records__of_new_keys_are_rationed_by_who_names_them_and_a_connected_peer_brings_its_own() -> None:
    bench = Bench()
    namer, other = peers(2, "namer")
    bench.meet(namer, other)
    records = [bench.sealed(key, newer(record("arith"), 1)) for key in peers(STRANGERS_PER_SOURCE_MAX + 50, "fresh")]
    for data in records:
        bench.step(MessageReceived(namer.public_key, data))
    assert bench.core.rejected == {"rate": 50}
    bench.step(MessageReceived(other.public_key, records[-1]))
    assert bench.core.rejected == {"rate": 50}
    bench.wait(STRANGER_MS)
    for data in records[-3:-1]:
        bench.step(MessageReceived(namer.public_key, data))
    assert bench.core.rejected == {"rate": 51}
    bench.join(STRANGER)
    assert bench.core.rejected == {"rate": 51}
    known = bench.core.peers.get(STRANGER.public_key)
    assert known is not None
    assert known.record is not None
