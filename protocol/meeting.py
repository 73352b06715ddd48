"""When this node was connected to a peer, and how that is kept over a restart with the peer's signed addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from protocol import canonical
from protocol.envelope import RECORD, Envelope, open_envelope
from protocol.errors import RemoteProtocolError

_DAY_MS: Final = 86_400_000
_FIELDS: Final = ("days", "first_ms", "last_ms", "record")


@dataclass(frozen=True, slots=True)
class Meeting:
    """First and last time of being connected, on the wall clock, and on how many days.

    Days and not connections are counted: whoever comes back a thousand times in an hour was here for a day.
    """

    first_ms: int
    last_ms: int
    days: int = 1

    @classmethod
    def again(cls, known: Meeting | None, wall_ms: int) -> Meeting:
        """Connected at `wall_ms`, to a peer that was met before or not."""
        if known is None:
            return cls(wall_ms, wall_ms)
        another = wall_ms // _DAY_MS > known.last_day
        return replace(known, last_ms=max(known.last_ms, wall_ms), days=known.days + another)

    @property
    def last_day(self) -> int:
        """The day of the last meeting, counted from 1970."""
        return self.last_ms // _DAY_MS

    def not_after(self, wall_ms: int) -> Meeting:
        """The same, with nothing of it in the future."""
        return replace(self, first_ms=min(self.first_ms, wall_ms), last_ms=min(self.last_ms, wall_ms))

    def saved(self, record: bytes) -> bytes:
        """The row on disk: this and the envelope of the peer's record."""
        fields = (self.days, self.first_ms, self.last_ms, record)
        return canonical.encode(dict(zip(_FIELDS, fields, strict=True)))

    @classmethod
    def restored(cls, value: bytes, key: bytes, network: bytes) -> tuple[Meeting, Envelope, bytes]:
        """What `saved` wrote, with the signature checked again but not the time; raises `RemoteProtocolError`.

        A record that is over is a hint where its author was, which is all that a saved peer is for.
        """
        fields = canonical.decode(value)
        if not isinstance(fields, dict) or tuple(sorted(fields)) != _FIELDS:
            raise RemoteProtocolError("fields", "no saved peer")
        days, first_ms, last_ms, record = (fields[name] for name in _FIELDS)
        if type(days) is not int or type(first_ms) is not int or type(last_ms) is not int or not isinstance(record, bytes):
            raise RemoteProtocolError("field", "no saved peer")
        if not (days > 0 and 0 <= first_ms <= last_ms):
            raise RemoteProtocolError("field", "no saved peer")
        envelope = open_envelope(record)
        if (envelope.sender, envelope.network, envelope.type) != (key, network, RECORD):
            raise RemoteProtocolError("recipient", "the record of another peer or network")
        return cls(first_ms, last_ms, days), envelope, record
