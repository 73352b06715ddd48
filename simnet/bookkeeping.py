"""What a node keeps: checkers of ledgers and of evidence, each by a count of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from protocol import canonical
from protocol.constants import EVIDENCE_ONE
from protocol.envelope import Envelope
from protocol.events import Deliver, Effect, Persist
from protocol.ledger import NOTHING
from simnet.checking import Checker
from simnet.conduct import Recent
from simnet.host import Host
from simnet.world import WALL_MS, World


class Chains(Checker):
    """Ledgers are chains: each entry holds the id of the one before it, and none of one's own has another with its number."""

    name = "chains"
    effects = (Persist,)

    def __init__(self) -> None:
        super().__init__()
        # By holder and author: the id of each entry that was written down.
        self._ids: dict[tuple[int, bytes], dict[int, bytes]] = {}
        # What an entry is: its id, and that of the one before. Many hold the same ones.
        self._read: Recent[bytes, tuple[bytes, bytes]] = Recent()

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:
        """Look at every entry that is written down."""
        if not isinstance(effect, Persist) or effect.table not in ("ledger", "followed"):
            return
        author, number = effect.key[:-8] or host.key, int.from_bytes(effect.key[-8:], "big")
        ids = self._ids.setdefault((host.index, author), {})
        if effect.value is None:
            if author != host.key:
                ids.pop(number, None)
            return
        found, previous = self._entry(effect.value, world.now_us)
        if ids.get(number, found) != found and author == host.key:
            self.report(world, host, f"forks its own ledger at entry {number}")
        if previous != (NOTHING if number == 0 else ids.get(number - 1, previous)):
            self.report(world, host, f"takes entry {number} of {author.hex()[:8]}, which does not follow the one before")
        ids[number] = found

    def _entry(self, data: bytes, now_us: int) -> tuple[bytes, bytes]:
        found = self._read.get(data)
        if found is None:
            fields: Any = canonical.decode(data[64:])
            found = hashlib.sha256(b"tutti/entry/1\x00" + data[64:]).digest(), fields["previous"]
            self._read.put(data, found, now_us)
        return found


class EvidenceOnce(Checker):
    """An audit counts once: own evidence of a peer holds no more audits than it was asked, others' no more than they opened."""

    name = "evidence-once"
    effects = (Deliver,)
    sent = ("award", "beacon")

    def __init__(self) -> None:
        super().__init__()
        # By requester and peer: the tasks of which it was awarded a seat; by requester: the tasks that were questions.
        self._awarded: dict[tuple[int, bytes], set[bytes]] = {}
        self._published: dict[int, int] = {}
        self._questions: dict[int, set[bytes]] = {}

    def on_sent(self, world: World, host: Host, envelope: Envelope) -> None:  # noqa: ARG002
        """Note who is asked in which task."""
        if envelope.type == "beacon":
            self._published[host.index] = self._published.get(host.index, 0) + 1
            return
        task = envelope.body["task"]
        assert isinstance(task, bytes)
        assert isinstance(envelope.to, bytes)
        self._awarded.setdefault((host.index, envelope.to), set()).add(task)

    def on_effect(self, world: World, host: Host, effect: Effect) -> None:  # noqa: ARG002
        """Note which tasks were questions."""
        if isinstance(effect, Deliver):
            self._questions.setdefault(host.index, set()).add(effect.outcome.task)

    def on_end(self, world: World, honest: Sequence[Host]) -> None:
        """Compare with the books."""
        opened = {host.key: _opened_by(host) for host in honest}
        for host in honest:
            asked, own = self._questions.get(host.index, set()), Counter[bytes]()
            book = host.core.evidence
            for peer, skill in book.pairs():
                own[peer] += sum(sum(counts) for _, *counts in book.days(peer, skill))
            for peer, count in sorted(own.items()):
                most = len(self._awarded.get((host.index, peer), set()) - asked)
                if peer == host.key:
                    most = self._published.get(host.index, 0) - len(asked)
                if count > most:
                    self.report(world, host, f"counts {count} audits of {peer.hex()[:8]}, which it asked {most} times")
            for pair in sorted({pair for shown in opened.values() for pair in shown}):
                for part in host.core.imports.parts(*pair, WALL_MS + world.now_us // 1_000):
                    # No run is so long that what was found grows old in it.
                    count = part.told.total // EVIDENCE_ONE
                    shown = opened[part.author][pair] if part.author in opened else count
                    if count > shown:
                        name = world.hosts[part.author].name
                        self.report(
                            world, host, f"counts {count} audits of {pair[0].hex()[:8]} by {name}, which opened {shown}"
                        )


def _opened_by(host: Host) -> Counter[tuple[bytes, str]]:
    """How many answers to its audits the ledger of a node shows, by peer and skill, each task once."""
    chain, found, tasks = host.core.ledger.chain, Counter[tuple[bytes, str]](), set[bytes]()
    for number in range(chain.first, chain.next):
        entry: Any = canonical.decode((chain.get(number) or bytes(64))[64:])
        for each in entry["body"]["leaves"] if entry["kind"] == "opening" else ():
            opened: Any = canonical.decode(each)
            leaf, rounds = opened
            if leaf["task"] not in tasks:
                tasks.add(leaf["task"])
                for _, reveals in rounds:
                    found.update((_sender(reveal), leaf["skill"]) for reveal in reveals)
    return found


def _sender(data: bytes) -> bytes:
    envelope: Any = canonical.decode(data[64:])
    sender: bytes = envelope["sender"]
    return sender
