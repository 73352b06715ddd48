"""The receipts that a requester makes of its tasks (specs/11-receipt.md)."""

from __future__ import annotations

from collections.abc import Callable

from protocol.errors import LocalProtocolError
from protocol.outbox import Outbox
from protocol.outcome import Outcome
from protocol.own_ledger import OwnLedger
from protocol.receipt import SALT_SIZE, Receipt, Result, StepReceipt, receipt_hash
from protocol.task import Task


class Receipts:
    """Collects of each question what its steps left, and signs it when the question is over."""

    def __init__(self, outbox: Outbox, ledger: OwnLedger, entropy: Callable[[int], bytes]) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._entropy = entropy
        # By the task id of the question: each step that ended, why, and how.
        self._ended: dict[bytes, list[tuple[Task, str, Outcome]]] = {}

    def keep(self, task: Task, reason: str, outcome: Outcome) -> None:
        """A step ended; one that asked nobody has left nothing."""
        if task.transcript:
            self._ended.setdefault(task.id, []).append((task, reason, outcome))

    def make(self, outcome: Outcome) -> bytes:
        """Sign what a question left, and write its hash down; empty if it asked nobody, or left more than a receipt holds."""
        ended = self._ended.pop(outcome.task, [])
        if not ended:
            return b""
        salt, result = self._entropy(SALT_SIZE), Result.of(outcome).body()
        try:
            ended.sort(key=lambda step: (step[0].plan, step[0].step))
            steps = tuple(StepReceipt.of(*step).body() for step in ended)
            made_ms, me = self._outbox.now.wall_ms, self._outbox.me
            data = self._outbox.sign_receipt(Receipt(self._outbox.network, me, outcome.task, salt, made_ms, steps, result))
        except LocalProtocolError as error:
            self._outbox.log("warning", "no_receipt", {"task": outcome.task.hex(), "reason": str(error)})
            return b""
        self._ledger.append("receipt", {"receipt": receipt_hash(data)})
        return data
