"""The commitment that binds an executor to its answer before it sees another's (specs/08-execution.md)."""

from __future__ import annotations

import hashlib

from protocol import canonical
from protocol.step import StepId


def commitment(network: bytes, step: StepId, number: int, peer: bytes, nonce: bytes, answer: str | None) -> bytes:
    """SHA-256 that binds `peer` to `answer` in round `number` of a step; 32 bytes.

    The peer is in it, so who copies another's commitment can never open it; so are step and round, and none can be used twice.
    """
    # specs/08-execution.md: "the canonical encoding of the list `[network id, task, plan, step, round, executor's public key,
    # nonce, answer]`"
    fields: list[canonical.Value] = [network, step.task, step.plan, step.step, number, peer, nonce, answer]
    return hashlib.sha256(b"tutti/commitment/1\x00" + canonical.encode(fields)).digest()
