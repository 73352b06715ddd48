"""The core of a node: inputs in, ordered effects out, no clock, socket or randomness of its own.

    core.step(event, now) -> effects      total; raises only LocalProtocolError, for misuse by the driver
    core.deadline() -> mono_ms or None    when to call step(TimerFired(), now) at the latest

A peer's bytes become effects, never an exception: what breaks a rule is counted by its code and dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from protocol.acknowledged import Acknowledged
from protocol.allowance import Allowance, Caps
from protocol.audit_records import TABLE as AUDIT_RECORDS
from protocol.audit_records import AuditRecords
from protocol.audits import Audits
from protocol.authors import Authors
from protocol.availability import Availability
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.batches import Batches
from protocol.calibration import Calibration
from protocol.capability import GENERAL, Record
from protocol.clocks import Clocks
from protocol.conclusion import outcome_of
from protocol.constants import (
    PEERS_MAX,
    UNKNOWN_BEACON_MS,
    UNKNOWN_BEACONS_BURST,
    WATERMARK_STEP_MS,
)
from protocol.envelope import RECORD, Envelope, check_for, check_fresh, open_envelope
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import (
    AddressesChanged,
    AuditsWanted,
    Deliver,
    Effect,
    EffectDone,
    Input,
    Instant,
    LedgersWanted,
    MessageReceived,
    ModelChanged,
    Paused,
    PeerConnected,
    PeerLost,
    Persist,
    ProofShown,
    RequestMade,
    TimerFired,
)
from protocol.evidence import DAY_MS, Counts, EvidenceBook
from protocol.execution import Execution
from protocol.fault_book import TABLE as FAULT_TABLE
from protocol.fault_book import FaultBook
from protocol.faults import Fault
from protocol.followed import TABLE as FOLLOWED
from protocol.following import Following
from protocol.identity import Signer
from protocol.imports import IMPORTED, Imports
from protocol.ledger_messages import LEDGER, Entries, Heads, Pull
from protocol.messages import DIRECT, Accept, Award, Beacon, Bid, BidAck, Cancel, Decline, Progress
from protocol.outbox import BEACONS, FAULTS, HEADS, RECORDS, TOPICS, Outbox
from protocol.outcome import Outcome
from protocol.own_ledger import TABLE as OWN
from protocol.own_ledger import Origin, OwnLedger
from protocol.own_record import SEQUENCE, OwnRecord
from protocol.panel import Panel
from protocol.parameters import Parameters
from protocol.peers import PeerTable
from protocol.planning import PLANNER, Planning
from protocol.rates import Bucket
from protocol.receipts import Receipts
from protocol.requester import Requester
from protocol.requests import Requests, tokens_longest, tokens_max
from protocol.requirement import RequirementMap
from protocol.review import Judge, Judgement, Refine
from protocol.revisions import Revisions
from protocol.schema import Message
from protocol.seek import Seek
from protocol.seen import SeenCache
from protocol.standing import Standing
from protocol.succession import TABLE as SUCCESSIONS
from protocol.task import Task
from protocol.trust import Pair


class Core:
    """One node's protocol state. `own` is its record without sequence number and addresses, which the core fills in."""

    def __init__(
        self,
        signer: Signer,
        parameters: Parameters,
        own: Record,
        entropy: Callable[[int], bytes],
        restored: Iterable[tuple[str, bytes, bytes]] = (),
        requirement_map: RequirementMap | None = None,
        caps: Caps = Caps(),  # noqa: B008  frozen, and it means that there are none
        origin: Origin = Origin(),  # noqa: B008  frozen
    ) -> None:
        self.me = signer.public_key
        self.parameters = parameters
        self.rejected: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.peers_lost = 0
        self._entropy = entropy
        self._outbox = Outbox(signer, parameters.network)
        self._recipients = frozenset[bytes | str]((self.me, *TOPICS, HEADS))
        self._watermark_ms = 0
        self.evidence = EvidenceBook()
        self.imports = Imports(self.evidence, self.me, parameters.auditors)
        self.faults = FaultBook(
            self._outbox,
            entropy,
            lambda: self.evidence.peers() | self.peers.met(),
            lambda: self.peers.connected(),  # noqa: PLW0108  made below
            self._note_fault,
        )
        self.peers = PeerTable(self._outbox, entropy, self.evidence.peers, partial(self.faults.suspect, "records"))
        self._seen = SeenCache(0, self.peers.is_connected)
        self._requests = Requests(self._outbox, parameters, requirement_map or RequirementMap(parameters), entropy)
        self.clocks = Clocks(self._outbox)
        self._revisions = Revisions(self._outbox, parameters.revision)
        self.availability = Availability(self._outbox, Allowance(caps, tokens_longest(parameters)), alive=own.available)
        self.ledger = OwnLedger(self._outbox, origin)
        self._authors = Authors(
            self._outbox, parameters, self.evidence, self.imports, self.faults, self.peers, self.ledger, self.rejected
        )
        self.successions, self.followed = self._authors.successions, self._authors.followed
        self.following = Following(
            self._outbox,
            self.ledger,
            self.followed,
            self.peers,
            self._authors.is_closed,
            partial(self.faults.suspect, "equivocation"),
        )
        self._own = OwnRecord(self._outbox, own, self.availability, self.ledger)
        self._execution = Execution(
            self._outbox, own.slots, self._known, self.availability, entropy, partial(self.faults.suspect, "commit_sets")
        )
        audited = {name: skill.options - 1 for name, skill in parameters.skills.items() if skill.audited_by}
        self._audit_records = AuditRecords(audited)
        self._standing = Standing(self._outbox, self.counts, self.imported, self.clusters, self.candidates)
        suspect = partial(self.faults.suspect, "opening")
        self._requester = Requester(self._outbox, parameters, self._standing, entropy, self._finish, self.ledger, suspect)
        self.panel = Panel(self._outbox, parameters, self.evidence, self.imports, self.peers, self.candidates, self.counts)
        batches = Batches(self._outbox, self.ledger, parameters, entropy)
        self.audits = Audits(
            self._outbox, parameters, self.evidence, self.imports, self._audit_records, self.panel, batches, entropy
        )
        self._calibration = Calibration(
            self._outbox,
            self.peers,
            self._requester,
            self._standing,
            self.audits,
            self._deaf_ms,
            self._requests.task,
            self._candidates_version,
        )
        self._planning = Planning(parameters, self._requests.part, self._requester.add, self._requester.abandon, self._conclude)
        self._receipts = Receipts(self._outbox, self.ledger, entropy)
        # Asked for with every bid, by peer and skill.
        self._counted: dict[tuple[bytes, str], Counts] = {}
        self._counted_at: tuple[int, ...] = ()
        self._idle = False
        self._unknown_beacons = Bucket(UNKNOWN_BEACON_MS, UNKNOWN_BEACONS_BURST)
        self._restored = list(restored)
        # Computed at the end of each step that changed something: whatever is waiting was begun in one.
        self._due_ms: int | None = None

    # --- The contract

    def step(self, event: Input, now: Instant) -> list[Effect]:
        """Take one input at `now`; gives the effects in the order in which the driver must carry them out."""
        self._outbox.begin(now)
        if self._restored:
            self._restore()
        self.availability.allowance.begin(now)
        self._idle = False
        self._take(event)
        if self._idle and not self._outbox.effects and (self._due_ms is None or self._due_ms > now.mono_ms):
            # What was refused or known changed nothing, so there is nothing to look for: a flood costs its signatures alone.
            # But a head that came with it may have to be looked at later.
            look_ms = self.following.look_at_ms
            if look_ms is not None and (self._due_ms is None or look_ms < self._due_ms):
                self._due_ms = look_ms
            return self._outbox.effects
        self._drain()
        self._advance()
        # What it just sent to itself may close a window or fill a seat: that need not wait for the next input.
        while self._outbox.local:
            self._drain()
            self._advance()
        self._due_ms = self._next_ms()
        return self._outbox.effects

    def deadline(self) -> int | None:
        """The mono_ms at which `step(TimerFired(), now)` is due, None if nothing is waiting."""
        return self._due_ms

    def _next_ms(self) -> int | None:
        parts = (
            self._own.due_ms,
            self.peers.deadline_ms(),
            self._execution.deadline_ms(),
            self._requester.deadline_ms(),
            self._calibration.deadline_ms(),
            self.availability.allowance.closed_until_ms,
            self.following.deadline_ms(),
            self.faults.deadline_ms(),
        )
        due_ms: int | None = None
        # A loop and no comprehension: every step comes by here.
        for part in parts:
            if part is not None and (due_ms is None or part < due_ms):
                due_ms = part
        return due_ms

    # --- What the driver may read

    def candidates(self, skill: str) -> list[bytes]:
        """Who could answer a question of `skill` now: connected peers that offer it, and this node itself."""
        own = [self.me] if self.availability.for_owner and self._own.record.covers(skill) else []
        others = (peer for peer in self.peers.offering(skill) if not self._authors.is_closed(peer))
        return sorted([*others, *own])

    def counts(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """What is known of `peer` in `skill`: own audits and what others' add; of a general question, in all skills.

        Nothing of who is proven to have broken the rules. What is known of the keys that it followed counts for it, and nothing
        for a key that another one followed.
        """
        known = self._version(wall_ms)
        if known != self._counted_at or len(self._counted) > PEERS_MAX:
            self._counted, self._counted_at = {}, known
        found = self._counted.get((peer, skill))
        if found is None:
            found = self._counted[peer, skill] = self._count(peer, skill, wall_ms)
        return found

    def _version(self, wall_ms: int) -> tuple[int, ...]:
        """Changes with everything from which it follows what is known of others."""
        return (
            self.evidence.version,
            self.imports.version,
            self.faults.version,
            len(self.successions),
            wall_ms // DAY_MS,
        )

    def _candidates_version(self) -> tuple[int, ...]:
        """The same, and everything from which it follows who could answer."""
        versions = self.peers.version, self.audits.version, int(self.availability.for_owner)
        return (*self._version(self._outbox.now.wall_ms), *versions)

    def _count(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        found = Counts()
        if self.is_faulty(peer):
            return found
        for pair in self._pairs(peer, skill):
            for part in (self.evidence.counts(*pair, wall_ms), self.imports.counts(*pair, wall_ms)):
                if part.any:
                    found = found + part
        return found

    def imported(self, peer: bytes, skill: str, wall_ms: int) -> Counts:
        """What of `counts` others' audits add."""
        if self.is_faulty(peer):
            return Counts()
        return sum((self.imports.counts(*pair, wall_ms) for pair in self._pairs(peer, skill)), Counts())

    def _pairs(self, peer: bytes, skill: str) -> list[Pair]:
        skills = sorted(self.parameters.skills) if skill == GENERAL else (skill,)
        return [(key, name) for key in self.successions.names(peer) for name in skills]

    def is_faulty(self, peer: bytes) -> bool:
        """Whether a fault is proven of `peer`, or of a key that it followed."""
        return self._authors.is_faulty(peer)

    def clusters(self) -> Mapping[bytes, int]:
        """The number of the cluster of each peer whose mistakes are another's too; who stands alone is not in it."""
        return self._audit_records.clusters()

    @property
    def record_data(self) -> bytes:
        """The own record as last signed, empty before the first."""
        return self._own.data

    @property
    def own_record(self) -> Record:
        """The own record as last issued."""
        return self._own.record

    @property
    def tasks(self) -> int:
        """Tasks of this node as requester that have not ended, audits included."""
        return len(self._requester)

    @property
    def sent(self) -> Counter[str]:
        """Envelopes of tasks sent to other nodes, by type; `received` counts those of others that arrived."""
        return self._outbox.sent

    @property
    def acknowledged(self) -> Acknowledged:
        """Bids of this node that requesters said they have."""
        return self._execution.acknowledged

    @property
    def leases(self) -> int:
        """Leases of this node as executor."""
        return self._execution.queued

    # --- Inputs

    def _take(self, event: Input) -> None:
        match event:
            case MessageReceived():
                self._receive(event.data, event.source)
            case PeerConnected():
                self.peers.connect(event.peer, self._own.fresh())
                self.following.connect(event.peer)
                self.faults.tell(event.peer)
                self._outbox.log("info", "peer_connected", {"peer": event.peer.hex()})
            case PeerLost():
                self.peers_lost += 1
                self.peers.lose(event.peer)
                self.following.lose(event.peer)
                self.clocks.forget(event.peer)
                self._requester.on_unreachable(event.peer)
                self._execution.on_peer_lost(event.peer)
                self._outbox.log("info", "peer_lost", {"peer": event.peer.hex()})
            case TimerFired():
                pass
            case ModelChanged():
                self.availability.alive = event.available
                self._own.measured(event.tokens_per_s)
            case RequestMade() | AuditsWanted() | LedgersWanted() | ProofShown() | Paused():
                self._serve(event)
            case AddressesChanged():
                self.peers.dialling.own_addresses = event.addresses
                self._own.moved(event.addresses)
            case EffectDone():
                if not self._execution.on_effect_done(event):
                    self.peers.dialling.on_failed(event.effect)

    def _serve(self, event: RequestMade | AuditsWanted | LedgersWanted | ProofShown | Paused) -> None:
        """What the owner wants."""
        match event:
            case RequestMade():
                self._request(event)
            case AuditsWanted():
                self._calibration.wanted = True
            case LedgersWanted():
                self.following.want(event.author)
            case ProofShown():
                self.faults.show(event.proof)
            case Paused():
                self.availability.pause(paused=event.paused)

    def _request(self, event: RequestMade) -> None:
        task = self._requests.take(event, len(self._requester), self.candidates)
        self._calibration.wanted = True
        self.audits.on_question(task.requirement.skill)
        # Who wants answers revised wants them of those who answer, and not of steps.
        wanted = 0 if event.refine else event.planners
        planners = self._planning.planners(wanted, task.requirement, self.candidates(PLANNER))
        if planners:
            self._planning.add(task, planners)
        else:
            self._requester.add(task)

    # --- Messages

    def _drain(self) -> None:
        """Hear what this node sent to itself."""
        while self._outbox.local:
            self._receive(self._outbox.local.pop(0), self.me)

    def _receive(self, data: bytes, source: bytes | None) -> None:
        try:
            envelope = open_envelope(data)
            check_for(envelope, self.parameters.network, self._recipients)
            if envelope.type == RECORD and source == envelope.sender and self.peers.is_connected(source):
                self.clocks.observe(source, envelope.issued_ms)
            check_fresh(envelope, self._outbox.now.wall_ms)
            if envelope.type == RECORD:
                self._on_record(envelope, data, source)
                return
            if source is not None and source != envelope.sender:
                # Only records are handed on. A peer speaks on its channel for itself, so it cannot fill the seen cache
                # with envelopes of names that it made up.
                raise RemoteProtocolError("relayed", "came on the channel of a peer that did not sign it")
            if envelope.type == Fault.TYPE:
                self._on_fault(envelope, source)
                return
            if envelope.type == Beacon.TYPE and not self._reaches(envelope.sender):
                raise RemoteProtocolError("unconnected", "a beacon of a peer without a channel, whom no bid could reach")
            if envelope.type == Heads.TYPE and source is None:
                raise RemoteProtocolError("unconnected", "heads are told on channels, where nobody else's can come")
            if envelope.type not in LEDGER and envelope.type != Seek.TYPE:
                # A second one of those changes nothing but its sender's ration, and after a restart they must be heard at once,
                # while the watermark takes for a replay what was signed a moment ago.
                self._seen.add(envelope)
            if envelope.sender != self.me and (envelope.type in DIRECT or envelope.type == Beacon.TYPE):
                self.received[envelope.type] += 1
            self._raise_watermark(envelope)
            self._dispatch(envelope)
        except RemoteProtocolError as error:
            # Counted, not logged line by line: a flood must not become a flood of log lines.
            self.rejected[error.code] += 1
            self._idle = True

    def _ration_beacon(self, requester: bytes) -> None:
        if requester == self.me:
            return
        if not self.peers.spend("beacons", requester):
            raise RemoteProtocolError("rate", "more beacons than one requester may send")
        # Its own share first, or two who flood would silence everybody else who earned nothing here.
        if self.peers.spend("beacons_share", requester) or self._known(requester):
            return
        if not self._unknown_beacons.spend(self._outbox.now.mono_ms):
            raise RemoteProtocolError("rate", "more beacons than all requesters together may send that earned no weight here")

    def _reaches(self, peer: bytes) -> bool:
        return peer == self.me or self.peers.is_connected(peer)

    def _known(self, peer: bytes) -> bool:
        """Whether `peer` earned a weight in some skill, or is this node: who has something to lose."""
        if peer == self.me:
            return True
        wall_ms = self._outbox.now.wall_ms
        return any(self.counts(peer, name, wall_ms).earns(skill.options) for name, skill in self.parameters.skills.items())

    def _on_record(self, envelope: Envelope, data: bytes, source: bytes | None) -> None:
        if envelope.to != RECORDS:
            raise RemoteProtocolError("recipient", "a record is addressed to all")
        if envelope.sender != self.me:
            # A node that joins hears most records many times over.
            self._idle = not self.peers.learn(envelope, data, source)

    def _on_fault(self, envelope: Envelope, source: bytes | None) -> None:
        """A proof convinces by what is in it, whoever passes it on and however often."""
        if envelope.to != (FAULTS if source is None else self.me):
            raise RemoteProtocolError("recipient", "a proof is addressed to all, or to the peer on whose channel it comes")
        spend = None if source is None else lambda: self.peers.spend("faults", source)
        self.faults.hear(envelope.message(Fault), spend)
        self._authors.drop_faulty()

    def _note_fault(self, accused: bytes, proof: bytes) -> None:
        """Write down what was found of a peer with evidence; of keys that were made to be faulty a ledger would be full."""
        self._authors.drop_faulty()
        if accused in self.evidence.peers():
            self.ledger.append("fault", {"accused": accused, "proof": proof})

    def _dispatch(self, envelope: Envelope) -> None:
        if envelope.type in (Beacon.TYPE, Bid.TYPE) and self.is_faulty(envelope.sender):
            raise RemoteProtocolError("faulty", "of a peer that is proven to have broken the rules")
        if envelope.type == Beacon.TYPE:
            if envelope.to != BEACONS:
                raise RemoteProtocolError("recipient", "a beacon is addressed to all")
            self._ration_beacon(envelope.sender)
            beacon = envelope.message(Beacon)
            self._revisions.check(beacon)
            self.following.on_beacon(envelope.sender, beacon.head_number, beacon.head)
            if beacon.tokens_max > tokens_max(self.parameters, beacon.skill):
                raise RemoteProtocolError("limit", "asks for more tokens than this network's parameters give its skill")
            self._execution.on_beacon(envelope, beacon, self._own.record)
            return
        if envelope.type == Heads.TYPE:
            if envelope.to != HEADS:
                raise RemoteProtocolError("recipient", "heads are addressed to all to whom there is a channel")
            self.following.on_heads(envelope, envelope.message(Heads))
            return
        kind = _ADDRESSED.get(envelope.type)
        if kind is None or envelope.to != self.me:
            raise RemoteProtocolError("type", "not a type that is addressed to one node")
        message = envelope.message(kind)
        if envelope.type in LEDGER:
            self._on_ledger_message(envelope, message)
            return
        match message:
            case Seek():
                self.peers.on_seek(envelope.sender, message)
            case Bid():
                self._requester.on_bid(envelope, message)
            case Accept() | Progress() | Decline() | Commit() | Reveal() | Judgement():
                self._requester.on_lease_message(envelope, message)
            case _:
                self._on_request(envelope, message)

    def _on_request(self, envelope: Envelope, message: Message) -> None:
        """What a requester says to this node as its executor."""
        match message:
            case BidAck():
                self._execution.on_bid_ack(envelope, message)
            case Award():
                self.faults.on_award(envelope, message)
                self._execution.on_award(envelope, message)
                self.faults.award_taken(envelope, message)
            case Cancel():
                self._execution.on_cancel(envelope, message)
            case CommitSet():
                self._execution.on_commit_set(envelope, message)
            case Judge():
                self._execution.on_judge(envelope, message)
            case Refine():
                self._execution.on_refine(envelope, message)

    def _on_ledger_message(self, envelope: Envelope, message: Message) -> None:
        match message:
            case Pull():
                self.following.on_pull(envelope, message)
            case Entries():
                self.following.on_entries(envelope, message)

    def _raise_watermark(self, envelope: Envelope) -> None:
        """Persist, in steps, an upper bound of the issue times handled, before anything that follows from them."""
        # Bounded by our own clock, or a peer's fast one would make us deaf after a restart.
        bound_ms = min(envelope.issued_ms, self._outbox.now.wall_ms)
        if envelope.sender == self.me or bound_ms < self._watermark_ms:
            return
        self._watermark_ms = bound_ms + WATERMARK_STEP_MS
        self._outbox.emit(Persist("node", b"watermark", str(bound_ms + WATERMARK_STEP_MS).encode()))

    # --- Time

    def _advance(self) -> None:
        self.following.advance()
        self.ledger.advance()
        self._own.advance()
        self.peers.advance()
        self._requester.advance()
        self._execution.advance()
        self._calibration.advance()
        self.faults.advance()

    def _deaf_ms(self) -> int:
        """How long bids would still be taken for replays: after a restart, until the clock has passed the watermark."""
        return max(0, self._seen.watermark_ms + 1 - self._outbox.now.wall_ms)

    # --- Outcomes

    def _finish(self, task: Task, reason: str) -> None:
        if task.audit is not None:
            self.audits.conclude(task)
            return
        outcome = outcome_of(task, reason, self._outbox.now.mono_ms)
        self._receipts.keep(task, reason, outcome)
        if task.request is None:
            self._planning.on_end(task, outcome)
        else:
            self._conclude(task.request, outcome)

    def _conclude(self, request: bytes, outcome: Outcome) -> None:
        """A question has its answer, or has none."""
        self._outbox.log("info", "outcome", {"task": outcome.task.hex(), "outcome": outcome.kind.value})
        self._outbox.emit(Deliver(request, outcome, self._receipts.make(outcome)))

    # --- Restart

    def _restore(self) -> None:
        """Take back what was persisted. Records are verified again: the disk is not trusted more than the wire."""
        rows, self._restored = self._restored, []
        whole = {
            "evidence": self.evidence.restore,
            IMPORTED: self.imports.restore,
            AUDIT_RECORDS: self._audit_records.restore,
            OWN: self.ledger.restore,
            FOLLOWED: self.followed.restore,
        }
        for table, key, value in rows:
            if table in whole:
                whole[table](key, value)
            elif table == "peers":
                if not self.peers.restore(key, value, self.parameters.network):
                    # Too old or damaged: nothing that the table does not hold stays on disk.
                    self._outbox.emit(Persist("peers", key, None))
            elif table == FAULT_TABLE:
                self.faults.restore(key, value)
            elif (table, key) == ("node", b"watermark"):
                # Never far ahead of the clock: one that went back since would leave the node deaf until it caught up.
                self._watermark_ms = min(_number(value), self._outbox.now.wall_ms + WATERMARK_STEP_MS)
                self._seen = SeenCache(self._watermark_ms, self.peers.is_connected)
            elif (table, key) == ("node", SEQUENCE):
                self._own.restore(_number(value))
            elif table == SUCCESSIONS:
                if not self.successions.restore(key, value):
                    self._outbox.emit(Persist(SUCCESSIONS, key, None))
            elif table == "node":
                self.availability.restore(key, value)
        self._authors.restored()


# What may be said to one node.
_ADDRESSED: Final[dict[str, type[Message]]] = {**DIRECT, **LEDGER, Seek.TYPE: Seek}
_DIGITS_MAX = 20


def _number(value: bytes) -> int:
    """A persisted count; raises `LocalProtocolError` if it was damaged."""
    # More digits than a 64-bit number has are damage as well, and Python refuses to convert thousands of them.
    if not value.isdigit() or len(value) > _DIGITS_MAX:
        raise LocalProtocolError("damaged entry on disk: not a number")
    return int(value)
