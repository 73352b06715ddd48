"""Shared by the tests of the protocol: solvers that know gold answers, worlds of simulated nodes, and a bench for one core."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from protocol import exercises
from protocol.allowance import Caps
from protocol.answers import answer_of
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.canonical import Value
from protocol.capability import GENERAL, Record
from protocol.constants import LIFETIME_MS_MAX, RECORD_LIFETIME_MS_MAX
from protocol.core import Core
from protocol.envelope import Envelope, open_envelope, seal
from protocol.events import (
    AddressesChanged,
    Deliver,
    Effect,
    EffectDone,
    Infer,
    InferenceResult,
    Input,
    Instant,
    MessageReceived,
    PeerConnected,
    Persist,
    Publish,
    RequestMade,
    Send,
    TimerFired,
)
from protocol.evidence import EvidenceBook
from protocol.exercises import Exercise
from protocol.faults import Fault
from protocol.identity import KeySigner
from protocol.ledger_messages import LEDGER, Heads
from protocol.messages import DIRECT, Award, Beacon, Bid
from protocol.outcome import Outcome
from protocol.own_ledger import Origin
from protocol.parameters import Parameters, preset
from protocol.requirement import RequirementMap
from protocol.schema import Message
from protocol.sealing import commitment
from protocol.seek import Seek
from protocol.verification import verify
from simnet.draws import Stream
from simnet.host import Host, Solution, Solver
from simnet.links import Link
from simnet.world import World
from tests.test_exercises import solve_arith, solve_lists

PARAMETERS: Final = preset("dev")
REQUIREMENT_MAP: Final = RequirementMap(PARAMETERS)
WALL_MS: Final = 1_700_000_000_000
_SOLVE: Final = {"arith": solve_arith, "lists": solve_lists}

Kind = TypeVar("Kind")


def record(*skills: str, slots: int = 1, prior: int = 500, available: bool = True) -> Record:
    """A node's own record, as its driver hands it to the core."""
    priors = dict.fromkeys(skills, prior)
    return Record(0, priors, "m", 1, "Q8_0", "", 512, 100, slots, available=available, addresses=())


def exercise(skill: str = "arith", seed: int = 1) -> Exercise:
    """A question whose gold answer is known."""
    return exercises.generate(skill, 1 + seed % 3, seed)


# --- Solvers


def solver(accuracy: Mapping[str, int], elapsed_ms: int = 50) -> Solver:
    """Right in `accuracy` thousandths of a skill's questions; wrong answers scatter over nine others."""

    def solve(prompt: str, draws: Stream) -> Solution:
        skill = REQUIREMENT_MAP(prompt).skill
        if skill == GENERAL:
            return Solution(f"an answer of {len(prompt)} letters", elapsed_ms)
        right = draws.below(1_000) < accuracy.get(skill, 0)
        return Solution(f"some steps\nanswer: {_answer(skill, prompt, 0 if right else 1 + draws.below(9))}", elapsed_ms)

    return solve


def liar(elapsed_ms: int = 50) -> Solver:
    """Always wrong; all liars agree on the same wrong answer."""

    def solve(prompt: str, _: Stream) -> Solution:
        skill = REQUIREMENT_MAP(prompt).skill
        return Solution("a lie" if skill == GENERAL else f"answer: {_answer(skill, prompt, 1)}", elapsed_ms)

    return solve


def failing(prompt: str, _: Stream) -> Solution:
    """A model that crashes on every question."""
    return Solution("", 10, error=f"the model failed on {len(prompt)} letters")


def _answer(skill: str, prompt: str, error: int) -> str:
    gold = _SOLVE[skill](prompt)
    first, *rest = gold.split()
    return " ".join([str(int(first) + error), *rest])


EXPERT: Final = {"arith": 1_000, "lists": 1_000}


# --- Worlds


def world_of(solvers: Mapping[str, Solver], seed: int = 1, skills: tuple[str, ...] = ("arith",), **links: int) -> World:
    """Nodes named as in `solvers`, all joined through the first one and connected to each other."""
    world = World(PARAMETERS, seed, Link(**links))
    hosts = [world.add(name, record(*skills), solve) for name, solve in solvers.items()]
    for host in hosts[1:]:
        world.join(host, hosts[0])
    world.run(for_ms=5_000)
    return world


def host_of(world: World, name: str) -> Host:
    """The node called `name`."""
    return next(host for host in world.hosts.values() if host.name == name)


# --- A bench for one core


class Bench:
    """One core under test, driven by hand; its peers are key pairs whose messages the test writes.

    `disk` holds what was persisted, `effects` everything since the start. `answers` are those that peers open as soon as a
    set binds them, by peer and award.
    """

    def __init__(
        self,
        skills: tuple[str, ...] = (),
        restored: Iterable[tuple[str, bytes, bytes]] = (),
        wall_ms: int = WALL_MS,
        name: str = "bench",
        caps: Caps = Caps(),  # noqa: B008  frozen
        origin: Origin = Origin(),  # noqa: B008  frozen
        parameters: Parameters = PARAMETERS,
    ) -> None:
        self.parameters = parameters
        self.signer = KeySigner(Stream(1, f"key {name}").bytes(32))
        self.mono_ms = 1_000
        self.wall_ms = wall_ms
        self.disk: dict[tuple[str, bytes], bytes] = {(table, key): value for table, key, value in restored}
        own = record(*skills, available=bool(skills))
        entropy = Stream(1, f"entropy {name}").bytes
        self.core = Core(self.signer, parameters, own, entropy, list(restored), REQUIREMENT_MAP, caps, origin)
        self.effects: list[Effect] = []
        self.answers: dict[tuple[bytes, bytes], tuple[KeySigner, Reveal]] = {}
        self.step(AddressesChanged(("/sim/bench",)))

    def step(self, event: Input, after_ms: int = 0) -> list[Effect]:
        """Give one input after a while."""
        self.mono_ms += after_ms
        self.wall_ms += after_ms
        effects = self.core.step(event, Instant(self.mono_ms, self.wall_ms))
        for effect in effects:
            if isinstance(effect, Persist):
                if effect.value is None:
                    self.disk.pop((effect.table, effect.key), None)
                else:
                    self.disk[effect.table, effect.key] = effect.value
            elif isinstance(effect, Deliver) and effect.receipt:
                # Whatever happened to a question, its receipt holds.
                assert verify(effect.receipt, [self.parameters]).failure is None
        self.effects += effects
        return effects + self._opened(effects)

    def wait(self, for_ms: int) -> list[Effect]:
        """Let time pass and fire every timer on the way; fails if the core asks for one without end."""
        end_ms, effects = self.mono_ms + for_ms, []
        for _ in range(10_000):
            due_ms = self.core.deadline()
            if due_ms is None or due_ms > end_ms:
                break
            effects += self.step(TimerFired(), max(0, due_ms - self.mono_ms))
        else:
            raise AssertionError("the core's deadline never moves on")
        self.mono_ms, self.wall_ms = end_ms, self.wall_ms + end_ms - self.mono_ms
        return effects

    def hear(
        self, peer: KeySigner, message: Message, to: bytes | str | None = None, issued_ms: int | None = None
    ) -> list[Effect]:
        """Receive a peer's message."""
        return self.step(MessageReceived(peer.public_key, self.sealed(peer, message, to, issued_ms)))

    def sealed(self, peer: KeySigner, message: Message, to: bytes | str | None = None, issued_ms: int | None = None) -> bytes:
        """A peer's envelope around `message`, issued now unless told otherwise."""
        lifetime_ms = LIFETIME_MS_MAX
        if isinstance(message, Record):
            to, lifetime_ms = "records", RECORD_LIFETIME_MS_MAX
        elif isinstance(message, Beacon):
            to = to or "beacons"
        elif isinstance(message, Heads):
            to = to or "heads"
        target = self.core.me if to is None else to
        issued = self.wall_ms if issued_ms is None else issued_ms
        return seal(peer, PARAMETERS.network, message.TYPE, target, message.body(), issued, lifetime_ms)

    def meet(self, *peers: KeySigner) -> None:
        """Connect peers that bring no record."""
        for peer in peers:
            self.step(PeerConnected(peer.public_key))

    def join(self, peer: KeySigner, own: Record | None = None) -> None:
        """Connect a peer, take in its record, and let the time pass in which a newcomer waits for the records of others."""
        self.step(PeerConnected(peer.public_key))
        self.hear(peer, own or _numbered(record("arith")))
        self.wait(max(0, self.core.peers.joined_at_ms - self.mono_ms))

    def ask(self, text: str, skill: str | None = None, deadline_ms: int | None = None) -> list[Effect]:
        """Ask a question; its request id comes from its text."""
        return self.step(RequestMade(request_id(text), text, skill, deadline_ms))

    def outcome(self, text: str) -> Outcome | None:
        """The outcome delivered for `text`; fails if there are two."""
        found = [item.outcome for item in self.effects if isinstance(item, Deliver) and item.request == request_id(text)]
        assert len(found) <= 1
        return found[0] if found else None

    def commit(self, peer: KeySigner, award: tuple[Envelope, Award], output: str) -> list[Effect]:
        """Let the holder of an award commit to the answer in its model's output, and open it when it is sealed."""
        # As an executor would: a set without it closed a round for it.
        sets = [
            sealed.round + 1
            for envelope, sealed in sent(self.effects, CommitSet)
            if (envelope.to, sealed.step_id) == (peer.public_key, award[1].step_id)
        ]
        commit, reveal = sealed_answer(peer, award, output, max([award[1].round, *sets]))
        self.answers[peer.public_key, award[0].id] = (peer, reveal)
        return self.hear(peer, commit)

    def _opened(self, effects: list[Effect]) -> list[Effect]:
        """What follows when those with answers open them to the sets among `effects`."""
        opened: list[Effect] = []
        for envelope, sealed in sent(effects, CommitSet) if self.answers else []:
            for (peer, award), (signer, reveal) in list(self.answers.items()):
                if peer == envelope.to and (reveal.step_id, reveal.round) == (sealed.step_id, sealed.round):
                    del self.answers[peer, award]
                    opened += self.hear(signer, reveal)
        return opened

    def receipt(self, text: str) -> bytes:
        """The receipt delivered for `text`."""
        (found,) = [item for item in self.effects if isinstance(item, Deliver) and item.request == request_id(text)]
        return found.receipt

    def bids(self, beacon: tuple[Envelope, Beacon], peers: Iterable[KeySigner], queued: int = 0) -> None:
        """Let each peer bid on a beacon."""
        for peer in peers:
            self.hear(peer, bid_on(beacon, queued))


def request_id(text: str) -> bytes:
    """The id under which the bench asks `text`."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _numbered(own: Record, sequence: int = 1) -> Record:
    return Record(**{name: getattr(own, name) for name in Record.RULES} | {"sequence": sequence})


def peers(count: int, name: str = "peer") -> list[KeySigner]:
    """Key pairs of peers, by public key, so that their order is the core's own."""
    keys = [KeySigner(Stream(1, f"{name} {number}").bytes(32)) for number in range(count)]
    return sorted(keys, key=lambda key: key.public_key)


def evidence(hits: Mapping[bytes, int], skill: str = "arith", audits: int = 10) -> list[tuple[str, bytes, bytes]]:
    """Rows of a disk on which each peer has `audits` audits with so many hits, so that no more are wanted."""
    rows = []
    for peer, right in hits.items():
        book = EvidenceBook()
        for number in range(audits):
            ((key, value),) = book.add(peer, skill, "hit" if number < right else "miss", WALL_MS)
        assert value is not None
        rows.append(("evidence", key, value))
    return rows


def parse(data: bytes) -> tuple[Envelope, Message]:
    """Open an envelope that the core wrote."""
    envelope = open_envelope(data)
    others = {kind.TYPE: kind for kind in (Beacon, Record, Seek, Fault)}
    kinds: dict[str, type[Message]] = {**others, **DIRECT, **LEDGER}
    return envelope, kinds[envelope.type].parse(envelope.body)


def sent(effects: Iterable[Effect], kind: type[Kind]) -> list[tuple[Envelope, Kind]]:
    """The messages of one kind among what the core sent and published, in order."""
    opened = [parse(effect.data) for effect in effects if isinstance(effect, Send | Publish)]
    return [(envelope, message) for envelope, message in opened if isinstance(message, kind)]


def bid_on(beacon: tuple[Envelope, Beacon], queued: int = 0) -> Bid:
    """A bid on a beacon."""
    envelope, body = beacon
    return Bid(body.task, body.plan, body.step, envelope.id, queued, 1, 100)


def sealed_answer(
    peer: KeySigner, award: tuple[Envelope, Award], output: str, number: int | None = None
) -> tuple[Commit, Reveal]:
    """The commitment of a peer to the answer in its model's output, in the award's round or a later one, and its opening."""
    envelope, body = award
    kind = REQUIREMENT_MAP(body.question).skill
    answer = answer_of("text" if kind == GENERAL else PARAMETERS.skills[kind].answer, output)
    nonce = hashlib.sha256(peer.public_key + envelope.id).digest()
    number = body.round if number is None else number
    bound = commitment(PARAMETERS.network, body.step_id, number, peer.public_key, nonce, answer)
    step = (body.task, body.plan, body.step, envelope.id, number)
    return Commit(*step, bound, 20, 30, 40), Reveal(*step, nonce, answer)


def inferred(effects: Iterable[Effect], text: str) -> EffectDone:
    """The end of the one inference among `effects`."""
    (infer,) = [effect for effect in effects if isinstance(effect, Infer)]
    return EffectDone(infer.effect, result=InferenceResult(text, 20, 30, 40))


def body_of(data: bytes) -> Mapping[str, Value]:
    """The body of an envelope."""
    return open_envelope(data).body
