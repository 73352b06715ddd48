"""Faults that anyone can check: what no honest node ever signs, shown by what it signed (specs/11-receipt.md).

A proof is its kind and the signed bytes, nothing else: who passes it on need not be believed. Each rule below holds of a
node that follows the specs whatever crashes, restarts and clocks do, so nobody can be accused of bad luck.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Self, TypeVar

from protocol import canonical
from protocol.allocation import view_hash
from protocol.audit_batch import AUDITS, OPENING, opening_root
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.capability import Record
from protocol.constants import FAULT_SIZE_MAX
from protocol.envelope import Envelope, open_envelope
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ledger import open_entry
from protocol.messages import Award, Bid, BidAck
from protocol.schema import Message, Rule, blob, items, one_of
from protocol.sealing import commitment

_PARTS_MAX: Final = 4
_Body = TypeVar("_Body", bound=Message)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: what its parts are, what its author did in a sentence, and the check that names the author.

    `pair` says that the parts are two of a sort, whose order means nothing: the smaller bytes stand first.
    """

    parts: tuple[str, ...]
    text: str
    check: Callable[[Sequence[bytes], bytes], bytes]
    pair: bool


def _opened(data: bytes, network: bytes, kind: type[_Body]) -> tuple[Envelope, _Body]:
    """A part that is an envelope of `kind`; its dates mean nothing, for a fault does not expire."""
    envelope = open_envelope(data)
    if envelope.network != network:
        raise RemoteProtocolError("network", "a proof from another network")
    if envelope.type != kind.TYPE:
        raise _unproven(f"a {envelope.type[:32]} stands in place of a {kind.TYPE}")
    return envelope, envelope.message(kind)


def _unproven(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError("fault", f"proves nothing: {reason}")


def _one_author(*envelopes: Envelope) -> bytes:
    if len({envelope.sender for envelope in envelopes}) != 1:
        raise _unproven("not signed by one node")
    return envelopes[0].sender


def _equivocation(parts: Sequence[bytes], network: bytes) -> bytes:
    first, second = (open_entry(part) for part in parts)
    if {first.network, second.network} != {network}:
        raise RemoteProtocolError("network", "a proof from another network")
    if first.author != second.author:
        raise _unproven("not signed by one node")
    # specs/11-receipt.md: "one author and number, and another id"
    if first.number != second.number or first.id == second.id:
        raise _unproven("not two entries with one number")
    return first.author


def _batch(parts: Sequence[bytes], network: bytes) -> bytes:
    audits, opening = sorted((open_entry(part) for part in parts), key=lambda entry: entry.kind)
    if {audits.network, opening.network} != {network}:
        raise RemoteProtocolError("network", "a proof from another network")
    if audits.author != opening.author:
        raise _unproven("not signed by one node")
    # specs/11-receipt.md: "one author and root, and leaves that do not give it"
    if (audits.kind, opening.kind) != (AUDITS, OPENING) or audits.body["root"] != opening.body["root"]:
        raise _unproven("not a batch of audits and its opening")
    if opening_root(opening) == audits.body["root"]:
        raise _unproven("the opening matches")
    return audits.author


def _records(parts: Sequence[bytes], network: bytes) -> bytes:
    (one, first), (other, second) = (_opened(part, network, Record) for part in parts)
    if first.sequence != second.sequence:
        raise _unproven("the records have different sequence numbers")
    if first == second:
        # Signed again with another date it says the same.
        raise _unproven("both records say the same")
    return _one_author(one, other)


def _awards(parts: Sequence[bytes], network: bytes) -> bytes:
    (one, first), (other, second) = (_opened(part, network, Award) for part in parts)
    if (first.step_id, first.beacon) != (second.step_id, second.beacon):
        raise _unproven("the awards are of different beacons")
    # A seat that failed is rightly awarded again, to another bid. One bid has one award, and one beacon binds one question.
    # specs/11-receipt.md: "one signer, step and beacon; and another nonce or question, or the same bid and another body"
    same_question = (first.nonce, first.question) == (second.nonce, second.question)
    if same_question and (first.bid != second.bid or first == second):
        raise _unproven("the awards do not exclude each other")
    return _one_author(one, other)


def _commit_sets(parts: Sequence[bytes], network: bytes) -> bytes:
    (one, first), (other, second) = (_opened(part, network, CommitSet) for part in parts)
    if (first.step_id, first.round) != (second.step_id, second.round):
        raise _unproven("the sets are of different rounds")
    # specs/11-receipt.md: "one signer, step and round, and other members"
    if first.members == second.members:
        # Every member gets the same one.
        raise _unproven("both sets say the same")
    return _one_author(one, other)


def _opening(parts: Sequence[bytes], network: bytes) -> bytes:
    (one, commit), (other, reveal) = _opened(parts[0], network, Commit), _opened(parts[1], network, Reveal)
    if (commit.step_id, commit.award, commit.round) != (reveal.step_id, reveal.award, reveal.round):
        raise _unproven("the opening is of another award or round")
    author = _one_author(one, other)
    bound = commitment(network, reveal.step_id, reveal.round, author, reveal.nonce, reveal.answer)
    # specs/11-receipt.md: "the nonce and answer do not give the commitment"
    if bound == commit.commitment:
        raise _unproven("the opening matches")
    return author


def _dropped_bid(parts: Sequence[bytes], network: bytes) -> bytes:
    (bid_envelope, bid), (ack_envelope, ack) = _opened(parts[0], network, Bid), _opened(parts[1], network, BidAck)
    award_envelope, award = _opened(parts[2], network, Award)
    if ack.bid != bid_envelope.id or not bid.step_id == ack.step_id == award.step_id or bid.beacon != award.beacon:
        raise _unproven("bid, acknowledgement and award do not belong together")
    if view_hash(parts[3]) != award.view:
        raise _unproven("not the view that the award names")
    if bid_envelope.id in bids_in(parts[3]):
        raise _unproven("the view holds the bid")
    return _one_author(ack_envelope, award_envelope)


def bids_in(view: bytes) -> frozenset[bytes]:
    """The ids of the bids that an encoded view holds; raises `RemoteProtocolError` if it is none."""
    fields = canonical.decode(view)
    rows = fields.get("bids") if isinstance(fields, dict) else None
    if not isinstance(rows, list):
        raise _unproven("not a view")
    ids = [row[0] for row in rows if isinstance(row, list) and row]
    if len(ids) != len(rows) or not all(isinstance(item, bytes) for item in ids):
        raise _unproven("not a view")
    return frozenset(item for item in ids if isinstance(item, bytes))


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "audits": Kind(("entry", "entry"), "opened other audits than it had committed", _batch, pair=True),
        "awards": Kind(("award", "award"), "signed two awards that exclude each other", _awards, pair=True),
        "commit_sets": Kind(("commit_set", "commit_set"), "signed two commit sets for one round", _commit_sets, pair=True),
        "dropped_bid": Kind(
            ("bid", "bid_ack", "award", "view"), "left out a bid that it had acknowledged", _dropped_bid, pair=False
        ),
        "equivocation": Kind(("entry", "entry"), "signed two entries of its ledger with one number", _equivocation, pair=True),
        "opening": Kind(("commit", "reveal"), "opened another answer than it was bound to", _opening, pair=False),
        "records": Kind(("record", "record"), "signed two records with one sequence number", _records, pair=True),
    }
)


@dataclass(frozen=True, slots=True)
class Fault(Message):
    """A proof, as it travels and as it stands in a file: at most FAULT_SIZE_MAX bytes of parts."""

    kind: str
    parts: tuple[bytes, ...]
    TYPE: ClassVar[str] = "fault"
    RULES: ClassVar[dict[str, Rule]] = {
        "kind": one_of(*KINDS),
        "parts": items(blob(FAULT_SIZE_MAX, 1), _PARTS_MAX),
    }

    def __post_init__(self) -> None:
        Message.__post_init__(self)
        if sum(map(len, self.parts)) > FAULT_SIZE_MAX:
            raise LocalProtocolError(f"fault: parts are more than {FAULT_SIZE_MAX} bytes")

    @property
    def id(self) -> bytes:
        """What a ledger names it by: 32 bytes."""
        return hashlib.sha256(b"tutti/fault/1\x00" + self.encode()).digest()

    @classmethod
    def of(cls, kind: str, *parts: bytes) -> Self:
        """A proof of these parts, in the order that its kind asks for; whether it holds is `check`'s to say."""
        return cls(kind, tuple(sorted(parts)) if KINDS[kind].pair else parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The proof in a file; raises `RemoteProtocolError`."""
        fields = canonical.decode(data)
        if not isinstance(fields, dict):
            raise RemoteProtocolError("fields", "fault: not its fields")
        return cls.parse(fields)

    def encode(self) -> bytes:
        """What `decode` reads."""
        return canonical.encode(self.body())

    def check(self, network: bytes) -> bytes:
        """The key of who is proven to have done it; raises `RemoteProtocolError` that says what does not hold."""
        kind = KINDS[self.kind]
        if len(self.parts) != len(kind.parts):
            raise _unproven(f"a proof of {self.kind} has {len(kind.parts)} parts")
        if kind.pair and self.parts[0] >= self.parts[1]:
            raise _unproven("the two parts are one, or not in order")
        return kind.check(self.parts, network)


Fault.check_table()
