"""Replay protection: the ids of envelopes already handled (specs/03-envelope.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.constants import SEEN_PER_SENDER_MAX, SEEN_SENDERS_MAX
from protocol.envelope import Envelope
from protocol.errors import RemoteProtocolError


@dataclass(slots=True)
class _Sender:
    """Ids of one sender with their issue times; nothing issued up to `watermark_ms` is taken from it any more."""

    watermark_ms: int = 0
    issued_ms: dict[bytes, int] = field(default_factory=dict)


class SeenCache:
    """What each sender has sent, and a watermark for all below which nothing is handled: the one of before a restart.

    Each sender has a share of its own, so a flood from one costs no other anything. Issue times of one sender grow, so
    forgetting its older half and refusing whatever is as old loses nothing of an honest one, and nothing that was forgotten
    can be replayed. Of too many senders one without a channel is forgotten, heard longest ago: nothing but records is taken of
    it, until it comes back itself. Only if all have one, the one heard longest ago goes.
    """

    def __init__(self, watermark_ms: int = 0, is_connected: Callable[[bytes], bool] = lambda _: False) -> None:
        self.watermark_ms = watermark_ms
        self._is_connected = is_connected
        self._senders: dict[bytes, _Sender] = {}

    def __len__(self) -> int:
        return sum(len(sender.issued_ms) for sender in self._senders.values())

    def add(self, envelope: Envelope) -> None:
        """Remember a verified envelope; raises `RemoteProtocolError` if it was handled before, or may have been."""
        if envelope.issued_ms <= self.watermark_ms:
            raise RemoteProtocolError("replay", "issued before the replay watermark")
        # Taken out and put back, so the dictionary's order is that of last hearing.
        sender = self._senders.pop(envelope.sender, None) or _Sender()
        self._senders[envelope.sender] = sender
        if envelope.id in sender.issued_ms:
            raise RemoteProtocolError("replay", "seen before")
        if envelope.issued_ms <= sender.watermark_ms:
            raise RemoteProtocolError("replay", "issued before what was forgotten of this sender")
        sender.issued_ms[envelope.id] = envelope.issued_ms
        if len(sender.issued_ms) > SEEN_PER_SENDER_MAX:
            _forget_older_half(sender)
        if len(self._senders) > SEEN_SENDERS_MAX:
            gone = (key for key in self._senders if not self._is_connected(key))
            del self._senders[next(gone, next(iter(self._senders)))]


def _forget_older_half(sender: _Sender) -> None:
    by_age = sorted(sender.issued_ms.items(), key=lambda item: (item[1], item[0]))
    gone = len(by_age) // 2
    sender.watermark_ms = by_age[gone - 1][1]
    sender.issued_ms = {key: issued for key, issued in by_age[gone:] if issued > sender.watermark_ms}
