"""Beacons of another revision of the network's parameters are not for this node (specs/10-network.md)."""

from __future__ import annotations

from protocol.constants import NOTICE_MS
from protocol.errors import RemoteProtocolError
from protocol.messages import Beacon
from protocol.outbox import Outbox


class Revisions:
    """Lets a requester's beacon pass only under the revision that this node holds, and says who has to update."""

    def __init__(self, outbox: Outbox, revision: int) -> None:
        self._outbox = outbox
        self._revision = revision
        self._notice_at_ms = 0

    def check(self, beacon: Beacon) -> None:
        """Raise `RemoteProtocolError` for a beacon of another revision: its skills may mean something else."""
        if beacon.revision == self._revision:
            return
        if self._outbox.now.mono_ms >= self._notice_at_ms:
            self._notice_at_ms = self._outbox.now.mono_ms + NOTICE_MS
            self._outbox.log("warning", "other_revision", {"reason": self._remedy(beacon.revision)})
        raise RemoteProtocolError("revision", f"a beacon of revision {beacon.revision}, not {self._revision}")

    def _remedy(self, theirs: int) -> str:
        held = f"a node asks by revision {theirs} of this network's parameters, this node holds {self._revision}"
        if theirs > self._revision:
            return f"{held}: get the founder's newer network file and start this node again with it"
        return f"{held}: that node must get the newer network file; its questions are not answered here"
