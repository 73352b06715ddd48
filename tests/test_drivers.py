"""The contract of `protocol/events.py`: one body of tests that both drivers pass, and what only the node's has."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import Record
from protocol.constants import (
    DEADLINE_MS_DEFAULT,
    DIAL_BACKOFF_MS_MIN,
    DIAL_JITTER_SHARE,
    LEASE_MS,
    PROGRESS_SHARE,
    RECORD_REFRESH_MS,
)
from protocol.events import CancelInference, Deliver, Dial, EffectDone, Infer, Persist, Publish, Send, TimerFired
from protocol.identity import KeySigner
from protocol.messages import Accept, Award, Beacon, Bid, Cancel, Decline, Progress, input_hash
from protocol.outcome import OutcomeKind
from simnet.draws import Stream
from simnet.host import Solution
from tests.drivers import Driver, ExecutorDriver, HostDriver, address_of
from tests.support import Kind, parse, record

NONCE = b"n" * 32
INFERENCE_MS = 7_000


def solve(prompt: str, _: Stream) -> Solution:
    """The model under both drivers: a question says how long it takes and whether it fails."""
    text, *rest = prompt.split("|")
    elapsed_ms = int(rest[0]) if rest else 50
    return Solution(f"answer: {text}", elapsed_ms, error="the model failed" if text == "fail" else None)


def _executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutorDriver:
    return ExecutorDriver(record("arith", slots=2), solve, tmp_path, monkeypatch)


def _host(_: Path, __: pytest.MonkeyPatch) -> HostDriver:
    return HostDriver(record("arith", slots=2), solve)


@pytest.fixture(params=[_executor, _host], ids=["node", "simnet"])
def driver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    make: Callable[[Path, pytest.MonkeyPatch], Driver] = request.param
    made = make(tmp_path, monkeypatch)
    yield made
    made.wait(100)
    made.close()
    check(made)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExecutorDriver]:
    made = _executor(tmp_path, monkeypatch)
    yield made
    made.close()


# --- What holds in every run


def check(driver: Driver) -> None:
    """The rules of the contract that hold whatever happened."""
    _check_time(driver)
    _check_rows(driver)
    _check_order(driver)
    _check_ends(driver)


def _check_time(driver: Driver) -> None:
    """The clock never goes back and no deadline passes without a step."""
    last_ms = 0
    for step in driver.steps:
        assert step.now.mono_ms >= last_ms
        assert step.due_ms is None or step.now.mono_ms <= max(step.due_ms, last_ms)
        last_ms = step.now.mono_ms
    due_ms = driver.core.deadline()
    assert due_ms is None or due_ms >= driver.now().mono_ms


def _check_rows(driver: Driver) -> None:
    """What a step persists can be read from the disk, or a later value, before anything that follows in it leaves."""
    history: dict[tuple[str, bytes], list[bytes | None]] = {}
    wanted: dict[bytes, list[tuple[tuple[str, bytes], int]]] = {}
    for step in driver.steps:
        before = []
        for effect in step.effects:
            if isinstance(effect, Persist):
                place = (effect.table, effect.key)
                history.setdefault(place, []).append(effect.value)
                before.append((place, len(history[place]) - 1))
            elif isinstance(effect, Send | Publish):
                wanted.setdefault(effect.data, list(before))
    for left in driver.left:
        for place, number in wanted[left.data]:
            assert left.rows.get(place) in history[place][number:]


def _check_order(driver: Driver) -> None:
    """To each peer, and to all, leaves what the core gave, in its order; a frame is missing only if that was told."""
    failed = {done.effect for done in driver.done if done.error is not None}
    given: dict[bytes | None, list[bytes]] = {}
    for effect in driver.effects:
        if isinstance(effect, Send) and effect.effect not in failed:
            given.setdefault(effect.peer, []).append(effect.data)
        elif isinstance(effect, Publish):
            given.setdefault(None, []).append(effect.data)
    left: dict[bytes | None, list[bytes]] = {}
    for item in driver.left:
        left.setdefault(item.target, []).append(item.data)
    assert left == given


def _check_ends(driver: Driver) -> None:
    """An effect ends at most once, only after it was given, and never after it was cancelled."""
    begun: set[int] = set()
    over: set[int] = set()
    for step in driver.steps:
        if isinstance(step.event, EffectDone):
            assert step.event.effect in begun - over
            over.add(step.event.effect)
        begun |= {effect.effect for effect in step.effects if isinstance(effect, Infer | Send | Dial)}
        over |= {effect.effect for effect in step.effects if isinstance(effect, CancelInference)}


# --- Scenes


def sent_to(driver: Driver, peer: KeySigner, kind: type[Kind]) -> list[tuple[int, bytes, Kind]]:
    """The messages of one kind that left for a peer: when, under which id, what."""
    opened = [(left.at_ms, *parse(left.data)) for left in driver.left if left.target == peer.public_key]
    return [(at_ms, envelope.id, message) for at_ms, envelope, message in opened if isinstance(message, kind)]


def joined(driver: Driver, *names: str) -> list[KeySigner]:
    """Peers with a channel."""
    peers = [driver.peer(name) for name in names]
    for peer in peers:
        driver.connect(peer)
    driver.wait(10)
    return peers


def beacon(text: str, step: int = 0) -> Beacon:
    """A beacon that binds a question."""
    bound = input_hash(NONCE, text, "number", 256)
    return Beacon(b"t" * 16, 0, step, "arith", "number", bound, 3, 256, 1_500, DEADLINE_MS_DEFAULT, 2)


def award(driver: Driver, peer: KeySigner, text: str, step: int = 0) -> bytes:
    """Let a peer ask for bids and award the one it gets; gives the id of the award."""
    driver.hear(peer, beacon(text, step))
    driver.wait(10)
    bid_id, bid = next((bid_id, bid) for _, bid_id, bid in sent_to(driver, peer, Bid) if bid.step == step)
    data = driver.sealed(peer, Award(bid.task, 0, step, bid.beacon, bid_id, b"v" * 32, 0, NONCE, text, 6_000, 0))
    driver.receive(peer, data)
    driver.wait(10)
    return parse(data)[0].id


def ends_of_inferences(driver: Driver) -> list[EffectDone]:
    begun = {effect.effect for effect in driver.effects if isinstance(effect, Infer)}
    return [done for done in driver.done if done.effect in begun]


# --- One body for both


def test_rows__are_on_disk_before_what_follows_from_them_leaves(driver: Driver) -> None:
    peer, other = joined(driver, "peer", "other")
    for number in range(3):
        driver.hear(other, record("arith") if number == 0 else beacon(str(number), number))
        driver.hear(peer, beacon(str(number), number))
        driver.wait(2_000)
    rows = [left.rows for left in driver.left if left.target == peer.public_key and isinstance(parse(left.data)[1], Bid)]
    marks = [int(row["node", b"watermark"]) for row in rows]
    assert len(marks) == 3
    assert marks == sorted(set(marks))
    check(driver)


def test_sends__to_one_peer_keep_their_order(driver: Driver) -> None:
    peers = joined(driver, "a", "b", "c")
    for step in range(20):
        for peer in peers:
            driver.hear(peer, beacon("1", step))
    driver.wait(500)
    for peer in peers:
        assert [bid.step for _, _, bid in sent_to(driver, peer, Bid)] == list(range(20))


def test_send__that_fails_is_told_once_and_holds_up_nobody(driver: Driver) -> None:
    gone, here = joined(driver, "gone", "here")
    award(driver, gone, "1|1000")
    driver.cut(gone)
    driver.wait(1_500)
    award(driver, here, "2", 1)
    driver.wait(100)
    (commit,) = [
        effect
        for effect in driver.effects
        if isinstance(effect, Send) and effect.peer == gone.public_key and isinstance(parse(effect.data)[1], Commit)
    ]
    (told,) = [done for done in driver.done if done.effect == commit.effect]
    assert told.error
    assert sent_to(driver, gone, Commit) == []
    assert len(sent_to(driver, here, Commit)) == 1


def test_inference__comes_back_once_and_its_answer_reaches_who_asked(driver: Driver) -> None:
    first, second = joined(driver, "first", "second")
    slow = award(driver, first, "1|1000")
    quick = award(driver, second, "2|100", 1)
    assert driver.inferring() == 2
    driver.wait(2_000)
    assert driver.inferring() == 0
    assert [done.error for done in ends_of_inferences(driver)] == [None, None]
    for peer, award_id, text in ((first, slow, "1"), (second, quick, "2")):
        ((_, _, commit),) = sent_to(driver, peer, Commit)
        assert commit.award == award_id
        members = ((driver.core.me, commit.commitment),)
        driver.hear(peer, CommitSet(commit.task, commit.plan, commit.step, commit.round, members))
        driver.wait(10)
        ((_, _, reveal),) = sent_to(driver, peer, Reveal)
        assert (reveal.award, reveal.answer) == (award_id, text)
        ((_, _, accept),) = sent_to(driver, peer, Accept)
        assert accept.award == award_id


def test_inference__that_fails_ends_in_a_decline(driver: Driver) -> None:
    (peer,) = joined(driver, "peer")
    award_id = award(driver, peer, "fail")
    driver.wait(200)
    (done,) = ends_of_inferences(driver)
    assert (done.error, done.result) == ("the model failed", None)
    ((_, _, decline),) = sent_to(driver, peer, Decline)
    assert (decline.award, decline.reason) == (award_id, "model")
    assert sent_to(driver, peer, Commit) == []


@pytest.mark.parametrize("lost", [False, True])
def test_cancelled_inference__stops_and_does_not_come_back(driver: Driver, lost: bool) -> None:  # noqa: FBT001 - pytest's
    peer, other = joined(driver, "peer", "other")
    award_id = award(driver, peer, "1|1000")
    award(driver, other, "2|1000", 1)
    assert driver.inferring() == 2
    if lost:
        driver.lose(peer)
    else:
        driver.hear(peer, Cancel(b"t" * 16, 0, 0, award_id))
    driver.wait(10)
    assert driver.inferring() == 1
    driver.wait(2_000)
    (done,) = ends_of_inferences(driver)
    assert done.result is not None
    assert done.result.text == "answer: 2"
    assert sent_to(driver, peer, Commit) == []


@pytest.mark.parametrize("early_ms", range(6))
def test_cancelled_inference__does_not_come_back_however_close_its_end(driver: Driver, early_ms: int) -> None:
    peer, other = joined(driver, "peer", "other")
    award_id = award(driver, peer, "1|100")
    (infer_at,) = [step.now.mono_ms for step in driver.steps if any(isinstance(effect, Infer) for effect in step.effects)]
    driver.wait(infer_at + 100 - early_ms - driver.now().mono_ms)
    # Frames on their way when the cancel comes must not hold it up.
    for step in range(1, 4):
        driver.hear(other, beacon("1", step))
    driver.hear(peer, Cancel(b"t" * 16, 0, 0, award_id))
    driver.wait(500)
    check(driver)
    assert driver.inferring() == 0
    assert len(sent_to(driver, other, Bid)) == 3


def test_dial__that_fails_is_told_and_tried_again_after_the_backoff(driver: Driver) -> None:
    (peer,) = joined(driver, "peer")
    stranger = driver.peer("stranger")
    driver.reach(stranger, possible=False)
    where = Record(
        **{name: getattr(record(), name) for name in Record.RULES} | {"addresses": (address_of(stranger.public_key),)}
    )
    driver.receive(peer, driver.sealed(stranger, where))
    driver.wait(9 * DIAL_BACKOFF_MS_MIN)
    at_ms = [at_ms for at_ms, key in driver.dials if key == stranger.public_key]
    waits_ms = [later - earlier for earlier, later in itertools.pairwise(at_ms)]
    assert len(waits_ms) == 3
    for number, wait_ms in enumerate(waits_ms):
        backoff_ms = DIAL_BACKOFF_MS_MIN << number
        assert backoff_ms <= wait_ms <= backoff_ms + backoff_ms // DIAL_JITTER_SHARE
    dials = [effect.effect for effect in driver.effects if isinstance(effect, Dial)]
    assert [done.effect for done in driver.done if done.error] == dials
    driver.reach(stranger, possible=True)
    driver.wait(20 * DIAL_BACKOFF_MS_MIN)
    assert stranger.public_key in driver.core.peers.connected()
    assert len([key for _, key in driver.dials if key == stranger.public_key]) == len(at_ms) + 1


def test_outcome__is_delivered_once_a_request(driver: Driver) -> None:
    requests = {b"a" * 16: "What is 1 + 2?", b"b" * 16: "sort 3 1 2", b"c" * 16: "What is 1 + 2?"}
    for request, text in requests.items():
        driver.ask(request, text)
    driver.wait(2 * DEADLINE_MS_DEFAULT)
    outcomes = dict(driver.delivered)
    assert Counter(request for request, _ in driver.delivered) == Counter(list(requests))
    assert len([effect for effect in driver.effects if isinstance(effect, Deliver)]) == len(requests)
    assert outcomes[b"b" * 16].kind is OutcomeKind.NO_BIDS
    assert [outcomes[key].requirement.skill for key in requests] == ["arith", "lists", "arith"]
    assert len({outcome.task for outcome in outcomes.values()}) == len(requests)


def test_timer__fires_when_due_and_does_not_spin(driver: Driver) -> None:
    begun = len(driver.steps)
    published = [left.at_ms for left in driver.left if left.target is None]
    assert len(published) == 1
    driver.wait(3 * RECORD_REFRESH_MS + 1_000)
    published = [left.at_ms for left in driver.left if left.target is None]
    assert [later - published[0] for later in published] == [number * RECORD_REFRESH_MS for number in range(4)]
    assert [type(step.event) for step in driver.steps[begun:]] == [TimerFired] * 3


def test_timer__moves_when_something_is_due_earlier(driver: Driver) -> None:
    (peer,) = joined(driver, "peer")
    award(driver, peer, f"1|{INFERENCE_MS}")
    driver.wait(INFERENCE_MS + 100)
    (given,) = [step.now.mono_ms for step in driver.steps if any(isinstance(effect, Infer) for effect in step.effects)]
    signs = [
        step.now.mono_ms - given
        for step in driver.steps
        if any(isinstance(effect, Send) and isinstance(parse(effect.data)[1], Progress) for effect in step.effects)
    ]
    step_ms = LEASE_MS // PROGRESS_SHARE
    assert signs == [step_ms, 2 * step_ms, 3 * step_ms]
    assert len(sent_to(driver, peer, Progress)) == 3
    assert len(sent_to(driver, peer, Commit)) == 1


# --- Only the node has addresses, a disk that can fail, and requests that wait


def test_address__in_a_record_that_names_another_peer_is_not_dialled(node: ExecutorDriver) -> None:
    (peer,) = joined(node, "peer")
    stranger, victim = node.peer("stranger"), node.peer("victim")
    addresses = (address_of(victim.public_key), "/ip4/127.0.0.1/tcp/4101", "nonsense")
    where = {name: getattr(record(), name) for name in Record.RULES} | {"addresses": addresses}
    node.receive(peer, node.sealed(stranger, Record(**where)))
    node.wait(2 * DIAL_BACKOFF_MS_MIN)
    assert node.transport.dialled == []
    dials = [effect.effect for effect in node.effects if isinstance(effect, Dial)]
    assert dials
    assert [done.effect for done in node.done if done.error] == dials
    where |= {"sequence": 1, "addresses": (*addresses, address_of(stranger.public_key))}
    node.receive(peer, node.sealed(stranger, Record(**where)))
    node.wait(10 * DIAL_BACKOFF_MS_MIN)
    assert node.transport.dialled == [address_of(stranger.public_key)]
    check(node)


def test_store__that_fails_stops_the_node_before_anything_leaves(node: ExecutorDriver) -> None:
    peer, other = joined(node, "peer", "other")
    node.wait(1_000)
    left = len(node.left)
    node.store._database.execute("PRAGMA query_only = ON")
    for step in range(3):
        # The first brings a row, the others follow within the same watermark and bring none.
        node.hear(peer, beacon("1", step))
        node.hear(other, beacon("1", step))
        node.wait(100)
    node.wait(3 * RECORD_REFRESH_MS)
    (error,) = node.fatal
    assert str(node.database) in str(error)
    assert "\n" not in str(error)
    assert len(node.left) == left
    assert node.inferring() == 0


def test_transport__that_stands_still_costs_messages_and_not_the_node(
    node: ExecutorDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (peer,) = joined(node, "peer")
    monkeypatch.setattr("node.executor._QUEUE_MAX", 5)
    for step in range(20):
        node.hear(peer, beacon("1", step))
    node.wait(RECORD_REFRESH_MS)
    assert node.fatal == []
    assert 0 < len(sent_to(node, peer, Bid)) <= 20
    node.hear(peer, beacon("1", 30))
    assert len(sent_to(node, peer, Bid)) > 0


def test_gossip__that_fails_is_logged_and_holds_up_nobody(node: ExecutorDriver) -> None:
    (peer,) = joined(node, "peer")
    node.transport.mute = True
    node.wait(RECORD_REFRESH_MS)
    assert [log.event for log in node.logs if log.level == "warning"] == ["publish_failed"]
    award(node, peer, "1")
    node.wait(200)
    assert len(sent_to(node, peer, Commit)) == 1


def test_close__cancels_what_runs_and_who_waits(node: ExecutorDriver) -> None:
    (peer,) = joined(node, "peer")
    award(node, peer, "1|5000")
    node.ask(b"a" * 16, "What is 1 + 2?")
    node.stop()
    assert node.inferring() == 0
    (waiting,) = node.futures
    assert waiting.cancelled()
    steps = len(node.steps)
    node.wait(2 * DEADLINE_MS_DEFAULT)
    assert len(node.steps) == steps
