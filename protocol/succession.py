"""How one key follows another: a statement signed by the new key and by the recovery key (specs/06-ledger.md).

The hash of the recovery key stands in the first entry of a ledger, signed before anybody had a reason to steal the key. So it
outranks the key itself: with it an owner whose key was lost or stolen names the next one, and a thief without it names none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from protocol import canonical
from protocol.constants import SUCCESSIONS_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Persist
from protocol.identity import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signer, check_public_key, verify
from protocol.outbox import Outbox
from protocol.schema import Message, Rule, blob, raw

DOMAIN: Final = b"tutti/succession/1\x00"
RECOVERY_DOMAIN: Final = b"tutti/recovery/1\x00"
TABLE: Final = "successions"

_KEY: Final = raw(PUBLIC_KEY_SIZE)
_SIGNATURE: Final = raw(SIGNATURE_SIZE)


def recovery_hash(public_key: bytes) -> bytes:
    """What the first entry says of the key that may name a successor: 32 bytes."""
    return hashlib.sha256(RECOVERY_DOMAIN + public_key).digest()


@dataclass(frozen=True, slots=True)
class Succession(Message):
    """`new` follows `old`, signed by the new and the recovery key, and by the old one if it is at hand (else empty)."""

    by_new: bytes
    by_old: bytes
    by_recovery: bytes
    network: bytes
    new: bytes
    old: bytes
    recovery: bytes
    TYPE: ClassVar[str] = "succession"
    RULES: ClassVar[dict[str, Rule]] = {
        "by_new": _SIGNATURE,
        "by_old": blob(SIGNATURE_SIZE),
        "by_recovery": _SIGNATURE,
        "network": raw(32),
        "new": _KEY,
        "old": _KEY,
        "recovery": _KEY,
    }

    @classmethod
    def open(cls, data: bytes) -> Succession:
        """Decode and verify every signature; raises `RemoteProtocolError`. Whose recovery key it is remains to be compared."""
        fields = canonical.decode(data)
        if not isinstance(fields, dict):
            raise RemoteProtocolError("succession", "not a statement of succession")
        found = cls.parse(fields)
        # specs/06-ledger.md: "`old`, `new` and `recovery` are not three keys"
        if len({found.new, found.old, found.recovery}) != len(("new", "old", "recovery")):
            raise RemoteProtocolError("succession", "new, old and recovery key are not three keys")
        check_public_key(found.old)
        signed = found.signed()
        verify(found.new, signed, found.by_new)
        verify(found.recovery, signed, found.by_recovery)
        if found.by_old:
            verify(found.old, signed, found.by_old)
        return found

    def data(self) -> bytes:
        """The bytes of the statement."""
        return canonical.encode(self.body())

    def signed(self) -> bytes:
        """What the signatures cover."""
        return _signed(self.network, self.new, self.old, self.recovery)


def _signed(network: bytes, new: bytes, old: bytes, recovery: bytes) -> bytes:
    return DOMAIN + canonical.encode({"network": network, "new": new, "old": old, "recovery": recovery})


def old_key(data: bytes) -> bytes | None:
    """The key that a statement, not verified yet, says to be followed; None for what is no statement."""
    try:
        fields = canonical.decode(data)
    except RemoteProtocolError:
        return None
    found = fields.get("old") if isinstance(fields, dict) else None
    return found if isinstance(found, bytes) else None


def succeed(network: bytes, old: bytes, new: Signer, recovery: Signer, by: Signer | None = None) -> Succession:
    """State that `new` follows the key `old`; `by` signs for the old one if it is still at hand."""
    if by is not None and by.public_key != old:
        raise LocalProtocolError("the old key signs for itself")
    signed = _signed(network, new.public_key, old, recovery.public_key)
    by_old = by.sign(signed) if by is not None else b""
    return Succession(new.sign(signed), by_old, recovery.sign(signed), network, new.public_key, old, recovery.public_key)


class Successions:
    """Which keys follow which. `recovery_of` is the hash of a key's recovery key as its first entry has it, if that is known.

    The first statement about an old key stands: only the holder of one recovery key can make two. Those about keys without
    evidence or fault here, which `matters` does not name, are not kept: nothing follows from them.
    """

    def __init__(self, outbox: Outbox, recovery_of: Callable[[bytes], bytes | None], matters: Callable[[bytes], bool]) -> None:
        self._outbox = outbox
        self._recovery_of = recovery_of
        self._matters = matters
        self._next: dict[bytes, bytes] = {}
        self._before: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._next)

    def successor_of(self, key: bytes) -> bytes:
        """The key that stands in the place of `key` now: itself if none follows it."""
        while key in self._next:
            key = self._next[key]
        return key

    def names(self, key: bytes) -> tuple[bytes, ...]:
        """All keys whose evidence and faults are those of `key`, itself first; none if another has followed it."""
        if key in self._next:
            return ()
        found = [key]
        while found[-1] in self._before:
            found.append(self._before[found[-1]])
        return tuple(found)

    def take(self, author: bytes, data: bytes) -> bool:
        """Accept a statement from the ledger of `author` if the recovery key is that of the old key; whether it is new.

        Raises `RemoteProtocolError`.
        """
        found = Succession.open(data)
        if found.network != self._outbox.network or author not in (found.old, found.new):
            raise RemoteProtocolError("succession", "a succession of another network, or of others than its ledger's author")
        if self._recovery_of(found.old) != recovery_hash(found.recovery):
            # Not an attack for sure: the first entry of the old ledger may not be known here.
            return False
        if not self._matters(found.old) or not self._link(found):
            return False
        self._outbox.emit(Persist(TABLE, found.old, data))
        self._outbox.log("info", "succession", {"old": found.old.hex(), "new": found.new.hex()})
        return True

    def restore(self, key: bytes, value: bytes) -> bool:
        """Take back an accepted statement; False if it is damaged."""
        try:
            found = Succession.open(value)
        except RemoteProtocolError:
            return False
        return found.old == key and found.network == self._outbox.network and self._link(found)

    def _link(self, found: Succession) -> bool:
        """One key follows one, and none follows itself through others."""
        full = len(self._next) >= SUCCESSIONS_MAX
        if full or found.old in self._next or found.new in self._before or self.successor_of(found.new) == found.old:
            return False
        self._next[found.old], self._before[found.new] = found.new, found.old
        return True
