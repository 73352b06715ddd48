"""The exam of the checkers: faults of the protocol's rules, planted one at a time, of which a hunt must find nearly all.

Each is one line that somebody might have written. It is planted into the text of its module in a process of its own
(simnet/planting.py), where the same scenarios are run for each, and once for the source as it is, where nothing may be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from simnet import planting
from simnet.planting import Hunted, Job, PlantingError

# How many scenarios each is hunted in, and no further one after so much of a processor's time.
DRAWS: Final = 40
CPU_S: Final = 140
# Of all that are planted, how many may go unseen.
MISSED_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Bug:
    """A fault: in `module`, `old`, which stands there once, becomes `new`; `breaks` is the rule that is broken."""

    name: str
    module: str
    old: str
    new: str
    breaks: str

    def planted(self) -> str:
        """The text of its module with it; raises `PlantingError` unless `old` stands there exactly once."""
        source = planting.source_of(self.module)
        if source.count(self.old) != 1:
            raise PlantingError(f"{self.name}: {self.module} has its text {source.count(self.old)} times, not once")
        return source.replace(self.old, self.new)


BUGS: Final = (
    Bug(
        "replay-accepted",
        "protocol.seen",
        "if envelope.id in sender.issued_ms:",
        "if envelope.data in sender.issued_ms:",
        "an envelope counts once",
    ),
    Bug(
        "watermark-lost",
        "protocol.core",
        "self._seen = SeenCache(self._watermark_ms, self.peers.is_connected)",
        "self._seen = SeenCache(0, self.peers.is_connected)",
        "what was handled before a restart is not handled after it",
    ),
    Bug(
        "seen-before-verified",
        "protocol.core",
        "if source is not None and source != envelope.sender:",
        "if source is not None and source != envelope.sender and self._seen.add(envelope) is None:",
        "an id is remembered once all checks held, not when somebody passed it on",
    ),
    Bug(
        "signature-unchecked",
        "protocol.envelope",
        "    verify(sender, DOMAIN + payload, data[:SIGNATURE_SIZE])\n",
        "",
        "the signature holds",
    ),
    Bug(
        "stranger-answered",
        "protocol.core",
        "return peer == self.me or self.peers.is_connected(peer)",
        "return peer == self.me or self.peers.get(peer) is not None",
        "a beacon is heard of those alone to whom there is a channel",
    ),
    Bug(
        "stale-record-wins",
        "protocol.peers",
        "if peer is not None and record.sequence <= peer.sequence:",
        "if peer is not None and record.sequence == peer.sequence:",
        "of two records the one with the higher number counts",
    ),
    Bug(
        "quorum-off-by-one",
        "protocol.stopping",
        "if voices(owed) >= lead:",
        "if voices(owed) > lead:",
        "nobody is sent away who could bring about a tie",
    ),
    Bug(
        "stopped-too-early",
        "protocol.rounds",
        "owed = [seat for seat in task.seats if seat.open]",
        "owed = [seat for seat in task.seats if seat.at_work]",
        "who has committed still owes an answer",
    ),
    Bug(
        "weights-ignored",
        "protocol.vote",
        "alone += vote.weight",
        "alone += min(vote.weight, 1)",
        "each vote counts its weight",
    ),
    Bug(
        "tie-by-arrival",
        "protocol.vote",
        "key=lambda item: (-item[1], tie_break(task, item[0])))",
        "key=lambda item: -item[1])",
        "equal answers are ordered by a hash, not by who came first",
    ),
    Bug(
        "vote-twice",
        "protocol.seats",
        '(SeatState.SEALED, "reveal"): SeatState.DONE,',
        '(SeatState.SEALED, "reveal"): SeatState.DONE,\n        (SeatState.DONE, "reveal"): SeatState.DONE,',
        "an executor has one vote",
    ),
    Bug(
        "commitment-unchecked",
        "protocol.rounds",
        "if seat.state is SeatState.SEALED and bound != seat.commit.commitment:",
        "if seat.state is SeatState.SEALED and reveal.award != seat.award_id:",
        "an answer is the one that was committed to",
    ),
    Bug(
        "award-to-the-busy",
        "protocol.allocation",
        "known.sort(key=lambda bid: -_score(bid, view))",
        "known.sort(key=lambda bid: -view.of(bid).mean(view.options))",
        "a seat goes to the best bid, less what its bidder has queued",
    ),
    Bug(
        "lease-never-expires",
        "protocol.committee",
        "seat.expires_mono_ms = self._post.mono_ms + LEASE_MS",
        "seat.expires_mono_ms = seat.yields_mono_ms",
        "a lease lives LEASE_MS without a sign of life",
    ),
    Bug(
        "deadline-ignored",
        "protocol.requester",
        "if task.ends_mono_ms <= self._post.mono_ms:",
        "if task.ends_mono_ms <= self._post.mono_ms and task.phase is Phase.BIDDING:",
        "a question ends at its deadline, whatever is still under way",
    ),
    Bug(
        "outcome-twice",
        "protocol.requester",
        "        del self._tasks[task.step_id]\n        self._finish",
        "        self._tasks[task.step_id] = task\n        self._finish",
        "a question has one outcome",
    ),
    Bug(
        "effect-done-lost",
        "protocol.core",
        "if not self._execution.on_effect_done(event):",
        "if not self._execution.on_effect_done(event) and event.result is not None:",
        "a dial that failed is over, and its peer is dialled again",
    ),
    Bug(
        "retry-without-end",
        "protocol.following",
        "teller.tries += 1",
        "teller.tries = 1",
        "what does not come is asked for PULL_TRIES_MAX times",
    ),
    Bug(
        "heads-never-told-again",
        "protocol.following",
        "                return\n            self._again_ms = HEADS_AGAIN_MS_MIN",
        "                return\n            self._again_ms = HEADS_AGAIN_MS_MAX",
        "a head is told again: a peer may have refused it",
    ),
    Bug(
        "chain-not-linked",
        "protocol.ledger",
        "if entry.number != previous.number + 1 or entry.previous != previous.id:",
        "if entry.number != previous.number + 1:",
        "an entry holds the id of the one before it",
    ),
    Bug(
        "restart-forks",
        "protocol.own_ledger",
        "if (head.author, head.network) != (self._outbox.me, self._outbox.network):",
        "if (head.author, head.network) != (self._outbox.network, self._outbox.me):",
        "a node that comes back goes on where its ledger ended",
    ),
    Bug(
        "audit-counted-twice",
        "protocol.openings",
        "if entry.kind == OPENING and entry.number <= self._imports.accounted(entry.author):",
        "if entry.kind == OPENING and entry.number < self._imports.accounted(entry.author):",
        "an opened batch counts once, over restarts as well",
    ),
    Bug(
        "wrong-key-accused",
        "protocol.faults",
        'raise _unproven("both records say the same")\n    return _one_author(one, other)',
        'raise _unproven("both records say the same")\n    return one.sender',
        "what proves a fault is all signed by the accused",
    ),
    Bug(
        "ration-not-spent",
        "protocol.peer",
        "        self.full_at_ms[of] = full_at_ms\n        return True",
        "        return True",
        "a peer is given entries at its ration, and no more",
    ),
    Bug(
        "cap-off-by-one",
        "protocol.allowance",
        "return not self.cap or self.taken + amount <= self.cap",
        "return not self.cap or self.taken <= self.cap",
        "a node does no more for others than its owner allows",
    ),
)


@dataclass(frozen=True, slots=True)
class Exam:
    """What became of the exam: of each bug what was found, and of the source as it is, in which nothing should be."""

    control: Hunted
    found: tuple[tuple[Bug, Hunted], ...]

    @property
    def missed(self) -> tuple[Bug, ...]:
        """Those that went unseen."""
        return tuple(bug for bug, hunted in self.found if not hunted.found)

    @property
    def passed(self) -> bool:
        """Whether the checkers find what is wrong and nothing else."""
        return not self.control.found and len(self.missed) <= MISSED_MAX

    @property
    def cpu_s(self) -> float:
        """What all of it cost, in seconds of a processor."""
        return self.control.cpu_s + sum(hunted.cpu_s for _, hunted in self.found)


def examined(bugs: Sequence[Bug], seed: int, workers: int) -> Iterator[tuple[Bug | None, Hunted]]:
    """Hunt each bug, in their order; then the source as it is, in every scenario that showed one."""
    jobs = [Job(bug.module, bug.planted(), seed, DRAWS, CPU_S) for bug in bugs]
    draws = 0
    with ThreadPoolExecutor(workers) as pool:
        for bug, hunted in zip(bugs, pool.map(planting.run, jobs), strict=True):
            draws = max(draws, hunted.draws)
            yield bug, hunted
    # Its time has no bound: what was found in a scenario means nothing unless that holds without the bug.
    yield None, planting.run(Job("", "", seed, draws, CPU_S * len(BUGS)))


def as_json(exam: Exam) -> dict[str, Any]:
    """The exam, with stable names; times are seconds of a processor."""
    return {
        "planted": len(exam.found),
        "found": len(exam.found) - len(exam.missed),
        "passed": exam.passed,
        "cpu_s": round(exam.cpu_s, 1),
        "control": {"scenarios": exam.control.draws, "violations": int(exam.control.found), "cpu_s": exam.control.cpu_s}
        | (
            {"checker": exam.control.checker, "seed": exam.control.seed, "text": exam.control.text}
            if exam.control.found
            else {}
        ),
        "bugs": [
            {
                "name": bug.name,
                "module": bug.module,
                "breaks": bug.breaks,
                "found": hunted.found,
                "checker": hunted.checker or None,
                "seed": hunted.seed if hunted.found else None,
                "scenarios": hunted.draws,
                "cpu_s": hunted.cpu_s,
                "text": hunted.text,
            }
            for bug, hunted in exam.found
        ],
    }


def line(bug: Bug | None, hunted: Hunted) -> str:
    """A line for a person."""
    name = "the source as it is" if bug is None else bug.name
    if not hunted.found:
        what = f"nothing found in {hunted.draws} scenarios"
    else:
        what = f"{hunted.checker} in scenario {hunted.seed}: {hunted.text}"
    return f"{name:22} {hunted.cpu_s:6.1f} s  {what}"
