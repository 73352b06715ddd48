"""The two errors of the protocol: ours and the peer's."""

from __future__ import annotations


class LocalProtocolError(Exception):
    """We misused the protocol: a bug in the caller, never the result of a peer's bytes."""


class RemoteProtocolError(Exception):
    """A peer sent something that the protocol forbids.

    `code` is a short stable word for counters and scores; the message says what was wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
