"""What a requester sends and logs about its tasks; each envelope goes into its task's transcript."""

from __future__ import annotations

from protocol.ballot import CommitSet
from protocol.messages import Award, Beacon, BidAck, Cancel
from protocol.outbox import Outbox, Sent
from protocol.own_ledger import OwnLedger
from protocol.review import Judge, Refine
from protocol.task import Task


class Post:
    """The requester's way out, and its clock."""

    def __init__(self, outbox: Outbox, ledger: OwnLedger) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self.network = outbox.network

    @property
    def mono_ms(self) -> int:
        """Now."""
        return self._outbox.now.mono_ms

    def head(self) -> tuple[bytes, int]:
        """Id and number of the last entry of the own ledger, as a beacon names them: zeros before the first."""
        number, entry = self._ledger.head
        return entry, max(0, number)

    def publish(self, task: Task, beacon: Beacon) -> Sent:
        """Gossip the task's beacon, which the ledger holds before anyone can see it."""
        sent = self._outbox.seal_beacon(beacon)
        self._ledger.append("beacon", {"beacon": sent.id})
        self._outbox.publish_beacon(sent)
        return self._kept(task, sent)

    def send(self, task: Task, peer: bytes, message: BidAck | Award | Cancel | CommitSet | Judge | Refine) -> Sent:
        """Send to one peer."""
        return self._kept(task, self._outbox.send(peer, message))

    def cancel(self, task: Task, peer: bytes, award_id: bytes) -> None:
        """Take a lease back."""
        step = task.step_id
        self.send(task, peer, Cancel(step.task, step.plan, step.step, award_id))

    def log(self, event: str, task: Task, fields: dict[str, str | int], peer: bytes | None = None) -> None:
        """Add a line for the owner that names the task; never a question or an answer."""
        named: dict[str, str | int] = {"task": task.id.hex(), "audit": int(task.audit is not None)}
        if peer is not None:
            named["peer"] = peer.hex()
        self._outbox.log("debug", event, named | fields)

    def _kept(self, task: Task, sent: Sent) -> Sent:
        task.count(len(sent.data))
        task.transcript.append(sent.data)
        return sent
