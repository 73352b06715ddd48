"""Whole networks under virtual time: every question ends in one outcome, and the right one where it can be had."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.constants import (
    ACCEPT_MS_MAX,
    AUDITS_AT_ONCE_MAX,
    AUDITS_TARGET,
    CLOCK_SKEW_MS_MAX,
    DEADLINE_MS_DEFAULT,
    SEATS_DEFAULT,
    WINDOW_MS_MAX,
)
from protocol.events import AuditsWanted, Effect, Infer
from protocol.outcome import Outcome, OutcomeKind
from simnet.draws import Stream
from simnet.gossip import HOP_US
from simnet.host import Host, Solution, Solver
from simnet.links import Link
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, exercise, failing, host_of, liar, record, solver, world_of

LATENCY_MS = 1


def experts(count: int, elapsed_ms: int = 50) -> dict[str, Solver]:
    return {f"expert{number}": solver(EXPERT, elapsed_ms) for number in range(count)}


def calibrated(solvers: dict[str, Solver], seed: int = 1, skills: tuple[str, ...] = ("arith",), **links: int) -> World:
    """A network whose first node has audited all others."""
    world = world_of(solvers, seed, skills, **links)
    first = next(iter(world.hosts.values()))
    world.after(0, first, AuditsWanted())
    world.run(until=lambda: first.core.audits.done > 0 and not any(first.core.audits.needy(skill) for skill in skills))
    world.run(for_ms=2_000)
    return world


def ask_all(world: World, hosts: list[Host], seeds: range, skill: str = "arith") -> list[tuple[str, Outcome]]:
    """Ask all questions at the same instant, by turns of the hosts; gives (gold, outcome) of each."""
    asked = []
    for number, seed in enumerate(seeds):
        question, host = exercise(skill, seed), hosts[number % len(hosts)]
        asked.append((question.gold, host, world.ask(host, question.text)))
    world.run(until=lambda: all(request in host.outcomes for _, host, request in asked))
    return [(gold, host.outcomes[request]) for gold, host, request in asked]


def weight(world: World, observer: str, name: str, skill: str = "arith") -> int:
    host = host_of(world, observer)
    known = host.core.counts(host_of(world, name).key, skill, 1_700_000_000_000 + world.now_us // 1_000)
    return known.weight(PARAMETERS.skills[skill].options)


def test_network__answers_with_earned_weights_and_a_liar_has_none() -> None:
    world = calibrated(experts(4) | {"liar": liar()})
    assert weight(world, "expert0", "liar") == 0
    for number in range(4):
        assert weight(world, "expert0", f"expert{number}") > 0
    for gold, outcome in ask_all(world, [host_of(world, "expert0")], range(100, 110)):
        assert (outcome.kind, outcome.answer, outcome.voted) == (OutcomeKind.ANSWERED, gold, True)
        assert host_of(world, "liar").key not in [report.peer for report in outcome.seats if report.weight]


def test_liars_in_the_majority__do_not_decide_once_they_were_audited() -> None:
    liars = {f"liar{number}": liar() for number in range(6)}
    world = calibrated(experts(2) | liars)
    for gold, outcome in ask_all(world, [host_of(world, "expert0")], range(100, 110)):
        assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, gold)
        # Two seats are enough where nobody else earned a weight.
        assert {report.peer for report in outcome.seats} == {host_of(world, f"expert{number}").key for number in range(2)}


def test_specialists__are_awarded_what_they_are_good_at() -> None:
    counting = {f"arith{number}": solver({"arith": 1_000, "lists": 50}) for number in range(3)}
    sorting = {f"lists{number}": solver({"arith": 50, "lists": 1_000}) for number in range(3)}
    world = calibrated(counting | sorting, skills=("arith", "lists"))
    for skill in ("arith", "lists"):
        right = {host.key for host in world.hosts.values() if host.name.startswith(skill)}
        for gold, outcome in ask_all(world, [host_of(world, "arith0")], range(200, 206), skill):
            assert outcome.answer == gold
            assert {report.peer for report in outcome.seats} <= right


def test_nodes_that_are_never_right__give_an_unearned_answer() -> None:
    world = calibrated({f"guesser{number}": solver({}) for number in range(4)})
    kinds = {outcome.kind for _, outcome in ask_all(world, [host_of(world, "guesser0")], range(100, 103))}
    assert kinds == {OutcomeKind.UNEARNED}


def test_lone_node__answers_by_itself_without_waiting_for_others() -> None:
    world = calibrated({"solo": solver(EXPERT)})
    question = exercise("arith", 7)
    outcome = world.answer(host_of(world, "solo"), question.text)
    assert (outcome.kind, outcome.answer, outcome.latency_ms) == (OutcomeKind.ANSWERED, question.gold, 50)


def test_node_without_model_and_peers__gets_no_bids() -> None:
    world = World(PARAMETERS, 1)
    host = world.add("solo", record(available=False), failing)
    outcome = world.answer(host, exercise().text)
    assert (outcome.kind, outcome.answer) == (OutcomeKind.NO_BIDS, None)
    assert outcome.latency_ms == WINDOW_MS_MAX


def test_failing_models__are_all_failed() -> None:
    world = world_of({f"broken{number}": failing for number in range(3)})
    outcome = world.answer(host_of(world, "broken0"), exercise().text)
    assert outcome.kind is OutcomeKind.ALL_FAILED
    assert {report.state for report in outcome.seats} == {"declined: model"}


def test_models_that_never_end__are_a_deadline() -> None:
    world = world_of({f"slow{number}": solver(EXPERT, elapsed_ms=10**7) for number in range(3)})
    outcome = world.answer(host_of(world, "slow0"), exercise().text)
    assert (outcome.kind, outcome.latency_ms) == (OutcomeKind.DEADLINE, DEADLINE_MS_DEFAULT)


def test_free_text__comes_from_the_most_trusted_and_is_not_voted() -> None:
    world = calibrated({"middling": solver({"arith": 600}), "expert": solver(EXPERT), "liar": liar()})
    outcome = world.answer(host_of(world, "middling"), "write a haiku")
    assert (outcome.kind, outcome.voted, outcome.answer) == (OutcomeKind.ANSWERED, False, "an answer of 13 letters")
    assert [report.peer for report in outcome.seats] == [host_of(world, "expert").key]


def test_latency__is_the_models_and_a_few_trips_and_no_fixed_wait() -> None:
    world = calibrated(experts(5))
    for _, outcome in [ask_all(world, [host_of(world, "expert0")], range(seed, seed + 1))[0] for seed in range(300, 310)]:
        # Beacon, bid, award, result: four trips, each a little longer than the link for the rounding to milliseconds, and
        # what a mesh takes to pass a beacon on.
        assert outcome.latency_ms - outcome.inference_ms <= 4 * (LATENCY_MS + 1) + HOP_US // 1_000 + 1
        assert outcome.calibration_ms == 0


def test_many_questions_at_once__never_mix() -> None:
    world = calibrated(experts(5) | {"liar": liar()}, jitter_us=40_000)
    hosts = [host_of(world, name) for name in ("expert0", "expert1", "expert2")]
    outcomes = ask_all(world, hosts, range(1_000, 1_060))
    assert [outcome.answer for _, outcome in outcomes] == [gold for gold, _ in outcomes]
    assert len({outcome.task for _, outcome in outcomes}) == 60
    assert len({outcome.beacon for _, outcome in outcomes}) == 60


def test_busy_nodes__bid_and_say_so() -> None:
    world = calibrated(experts(4, elapsed_ms=800))
    outcomes = ask_all(world, [host_of(world, "expert0")], range(400, 404))
    more = ask_all(world, [host_of(world, "expert0")], range(404, 405))
    assert all(len(outcome.bids) >= SEATS_DEFAULT for _, outcome in outcomes + more)
    request = [world.ask(host_of(world, "expert0"), exercise("arith", seed).text) for seed in (410, 411)]
    world.run(for_ms=400)
    late = world.answer(host_of(world, "expert0"), exercise("arith", 412).text)
    assert max(report.queued for report in late.bids) >= 1
    world.run(until=lambda: all(item in host_of(world, "expert0").outcomes for item in request))


# --- Crashes


def working(world: World, asker: Host) -> tuple[bytes, list[Host]]:
    """Ask and run until all seats are at work; gives the request and who works for it."""
    at_work: list[Host] = []

    def watch(host: Host, effect: Effect) -> None:
        if isinstance(effect, Infer):
            at_work.append(host)

    world.observer = watch
    request = world.ask(asker, exercise("arith", 9).text)
    world.run(until=lambda: len(at_work) >= SEATS_DEFAULT)
    world.observer = None
    world.run(for_ms=5)
    return request, at_work


def test_executor_that_crashes__loses_its_lease_and_the_question_is_answered() -> None:
    world = calibrated(experts(6, elapsed_ms=300))
    asker = host_of(world, "expert0")
    request, at_work = working(world, asker)
    victim = next(host for host in at_work if host is not asker)
    world.crash(victim)
    world.run(until=lambda: request in asker.outcomes)
    outcome = asker.outcomes[request]
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, exercise("arith", 9).gold)
    assert (victim.key, "connection lost") in [(report.peer, report.state) for report in outcome.seats]
    # The link's end is known in a millisecond; nobody waited for a lease to expire.
    assert outcome.latency_ms < 2 * 300 + 50


def test_every_executor_of_a_question_may_crash__if_there_are_others() -> None:
    world = calibrated(experts(6, elapsed_ms=300) | {"asker": failing})
    asker = host_of(world, "expert0")
    for host in list(world.hosts.values()):
        if host.name in ("expert1", "expert2"):
            world.crash(host)
    world.run(for_ms=10)
    for gold, outcome in ask_all(world, [asker], range(500, 503)):
        assert outcome.answer == gold


def test_silent_executor__loses_its_lease_when_no_accept_comes() -> None:
    # Two alike, so that the vote cannot be decided without the second one.
    world = calibrated(experts(2))
    asker = host_of(world, "expert0")
    # The link stays but nothing comes back: the node bids through a bid that was on its way, then hangs.
    mute = next(host for host in world.hosts.values() if host.name == "expert1")
    mark = len(asker.logs)
    request = world.ask(asker, exercise("arith", 9).text)
    bid = ("bid", mute.key.hex())
    world.run(until=lambda: bid in [(log.event, log.fields.get("peer")) for log in list(asker.logs)[mark:]])
    mute.up = False
    world.run(until=lambda: request in asker.outcomes)
    outcome = asker.outcomes[request]
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, exercise("arith", 9).gold)
    assert (mute.key, "lease expired") in [(report.peer, report.state) for report in outcome.seats]
    assert ACCEPT_MS_MAX <= outcome.latency_ms < ACCEPT_MS_MAX + 200


def test_requester_that_crashes__leaves_no_lease_behind() -> None:
    world = calibrated(experts(5, elapsed_ms=2_000))
    asker = host_of(world, "expert0")
    _, at_work = working(world, asker)
    others = [host for host in at_work if host is not asker]
    assert all(host.core.leases for host in others)
    world.crash(asker)
    world.run(for_ms=10)
    assert not any(host.core.leases for host in world.hosts.values() if host.up)


def test_crash_of_the_bootstrap__does_not_divide_who_met_through_it() -> None:
    world = world_of(experts(5))
    world.crash(host_of(world, "expert0"))
    world.run(for_ms=100)
    question = exercise("arith", 9)
    outcome = world.answer(host_of(world, "expert4"), question.text)
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, question.gold)


def test_restart__keeps_what_was_learned_and_comes_back_by_itself() -> None:
    world = calibrated(experts(4))
    host = host_of(world, "expert0")
    sequence, audits = host.core.own_record.sequence, host.core.audits.done
    assert audits
    world.crash(host)
    world.run(for_ms=500)
    world.restart(host)
    world.run(for_ms=3_000)
    assert len(host.core.peers.connected()) == 3
    assert host.core.own_record.sequence > sequence
    question = exercise("arith", 9)
    outcome = world.answer(host, question.text)
    assert (outcome.kind, outcome.answer, outcome.calibration_ms) == (OutcomeKind.ANSWERED, question.gold, 0)
    assert host.core.audits.done == 0


def test_restart__is_asked_at_once_and_answers() -> None:
    world = calibrated(experts(4))
    host = host_of(world, "expert0")
    world.answer(host, exercise("arith", 8).text)
    world.crash(host)
    world.restart(host)
    world.run(for_ms=50)
    outcome = world.answer(host, exercise("arith", 9).text)
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, exercise("arith", 9).gold)


def test_everyone_meets__through_one_bootstrap() -> None:
    world = world_of(experts(7))
    for host in world.hosts.values():
        assert set(host.core.peers.connected()) == set(world.hosts) - {host.key}


@pytest.mark.parametrize("skew_ms", [-CLOCK_SKEW_MS_MAX + 100, CLOCK_SKEW_MS_MAX - 100])
def test_clock__within_the_tolerated_skew_takes_part(skew_ms: int) -> None:
    world = World(PARAMETERS, 1)
    asker = world.add("asker", record(available=False), failing)
    other = world.add("other", record("arith"), solver(EXPERT), skew_ms=skew_ms)
    world.join(other, asker)
    world.run(for_ms=1_000)
    question = exercise("arith", 9)
    assert world.answer(asker, question.text).answer == question.gold


def test_clock__far_ahead_is_heard_by_nobody() -> None:
    world = World(PARAMETERS, 1)
    asker = world.add("asker", record(available=False), failing)
    other = world.add("other", record("arith"), solver(EXPERT), skew_ms=3_600_000)
    world.join(other, asker)
    world.run(for_ms=1_000)
    assert world.answer(asker, exercise().text).kind is OutcomeKind.NO_BIDS
    assert asker.core.rejected["future"] > 0


def test_gossip_that_loses_beacons__ends_every_question_all_the_same() -> None:
    world = calibrated(experts(6), loss_permille=300, jitter_us=20_000)
    for gold, outcome in ask_all(world, list(world.hosts.values()), range(600, 630)):
        assert outcome.kind in (OutcomeKind.ANSWERED, OutcomeKind.UNEARNED)
        assert outcome.answer == gold


def test_audits__stop_when_everyone_has_enough() -> None:
    world = calibrated(experts(4) | {"liar": liar(), "broken": failing})
    first = host_of(world, "expert0")
    done = first.core.audits.done
    world.run(for_ms=30_000)
    assert first.core.audits.done == done
    # Ten audits of six peers, three at a time.
    assert done >= AUDITS_TARGET * 6 // SEATS_DEFAULT
    assert done <= 2 * AUDITS_TARGET * 6 // SEATS_DEFAULT
    assert first.core.audits.tokens > 0


def flaky(prompt: str, draws: Stream) -> Solution:
    """Now fails, now is slow, now is right."""
    chance = draws.below(10)
    if chance < 3:
        return Solution("", 20, error="out of memory")
    return solver(EXPERT, 3_000 if chance < 6 else 30)(prompt, draws)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    kinds=st.lists(st.sampled_from(["expert", "liar", "failing", "flaky"]), min_size=1, max_size=6),
    crashes=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 3_000)), max_size=3),
    loss=st.sampled_from([0, 200, 900]),
    deadline_ms=st.sampled_from([50, 700, 5_000, 60_000]),
)
def test_every_question__ends_in_exactly_one_outcome_by_its_deadline(
    seed: int, kinds: list[str], crashes: list[tuple[int, int]], loss: int, deadline_ms: int
) -> None:
    makers: dict[str, Solver] = {"expert": solver(EXPERT), "liar": liar(), "failing": failing, "flaky": flaky}
    solvers = {"asker": solver(EXPERT)} | {f"node{number}": makers[kind] for number, kind in enumerate(kinds)}
    world = world_of(solvers, seed, loss_permille=loss, jitter_us=30_000)
    asker, *others = world.hosts.values()
    requests = [world.ask(asker, exercise("arith", number).text, deadline_ms=deadline_ms) for number in range(5)]
    for which, after_ms in crashes:
        world.run(for_ms=after_ms)
        victim = others[which % len(others)]
        if victim.up:
            world.crash(victim)
    world.run(for_ms=deadline_ms + 10)
    assert set(asker.outcomes) == set(requests)
    delivered = [log for log in asker.logs if log.event == "outcome"]
    assert len(delivered) == len(requests)
    for outcome in asker.outcomes.values():
        assert outcome.latency_ms <= deadline_ms
        assert (outcome.answer is None) == (outcome.kind not in (OutcomeKind.ANSWERED, OutcomeKind.UNEARNED))
        assert len({report.peer for report in outcome.seats}) == len(outcome.seats)
        # What the vote weighed is what the view that the outcome names says of the bidder.
        weights = {report.peer: report.weight for report in outcome.bids}
        voted = [report for report in outcome.seats if report.state in ("answered", "abstained")]
        assert [report.weight for report in voted] == [weights[report.peer] for report in voted]
    # Audits may go on, of peers that lost gossip hides; with their author gone nobody works for any task.
    assert asker.core.tasks <= AUDITS_AT_ONCE_MAX
    world.crash(asker)
    world.run(for_ms=10)
    assert not [host.name for host in world.hosts.values() if host.up and (host.core.leases or host.core.tasks)]


# --- Determinism

PROGRAM = """
import sys
from tests.support import EXPERT, exercise, host_of, liar, solver, world_of
world = world_of({"a": solver(EXPERT), "b": solver({"arith": 700}), "c": solver(EXPERT), "d": liar()},
                 seed=int(sys.argv[1]), loss_permille=100, jitter_us=9_000)
for number in range(4):
    outcome = world.answer(host_of(world, "b"), exercise("arith", number).text)
world.crash(host_of(world, "c"))
outcome = world.answer(host_of(world, "b"), exercise("arith", 9).text)
print(world.digest(), world.events, outcome.view.hex())
"""


def test_run__is_the_same_under_any_hash_seed_and_differs_between_seeds() -> None:
    def run(seed: int, hash_seed: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(seed)],
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            text=True,
        )

    runs = [run(1, 1), run(1, 2), run(2, 1)]
    first, again, other = (process.communicate(timeout=100)[0] for process in runs)
    assert [process.returncode for process in runs] == [0, 0, 0]
    assert first == again
    assert len(first.split()[0]) == 64
    assert first.split()[0] != other.split()[0]


def _joined(seed: int) -> Outcome:
    """A newcomer asks the moment it is connected to its bootstrap, which does not offer the skill."""
    world = World(PARAMETERS, seed, Link(latency_us=2_000))
    bootstrap = world.add("bootstrap", record("lists"), solver({"lists": 1_000}))
    for number in range(3):
        world.join(world.add(f"expert{number}", record("arith"), solver(EXPERT)), bootstrap)
    world.run(for_ms=2_000)
    newcomer = world.add("newcomer", record("lists"), solver({"lists": 1_000}))
    world.join(newcomer, bootstrap)
    world.run(until=lambda: bool(newcomer.core.peers.connected()))
    return world.answer(newcomer, exercise("arith", seed).text)


@pytest.mark.parametrize("seed", range(1, 9))
def test_newcomer__asks_at_once_and_hears_the_bids_of_those_it_is_about_to_meet(seed: int) -> None:
    outcome = _joined(seed)
    assert (outcome.kind, outcome.answer) == (OutcomeKind.ANSWERED, exercise("arith", seed).gold)


def test_network__does_not_wait_again_for_a_peer_that_was_lost() -> None:
    world = calibrated(experts(3))
    world.crash(host_of(world, "expert2"))
    world.run(for_ms=10)
    question = exercise("arith", 9)
    assert world.answer(host_of(world, "expert0"), question.text).calibration_ms == 0
