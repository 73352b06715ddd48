"""What a receipt must say, worked out from the specs alone: who is asked, who is sent away, and what follows from the votes.

The core, its verifier and its replay of receipts share their arithmetic: a fault in it would agree with itself. Nothing here
calls the function that it checks; only the encoding of bytes and the limits are common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from protocol import canonical
from protocol.answers import is_canonical
from protocol.constants import (
    EVIDENCE_ONE,
    GATE_CHECK,
    GATE_MEAN,
    LOAD_PENALTY_QUEUE_MAX,
    PRIOR_STRENGTH,
    PROBATION,
    WEIGHT_MAX,
)

_SIGNATURE: Final = 64
# Beyond so many ways in which owed answers may come a brute force is left out.
_WAYS_MAX: Final = 5_000
# An answer that nobody gave yet, and whose hash wins every tie.
_NEW: Final = "\x00new"


class Wrong(Exception):  # noqa: N818  what it says is found out, not an error of this program
    """What of a receipt does not follow."""


# --- Evidence and weights (specs/06-ledger.md)


def binary_log(numerator: int, denominator: int) -> int:
    """floor(2^16 log2(numerator / denominator)), a mantissa of 30 bits squared bit by bit."""
    exponent = numerator.bit_length() - denominator.bit_length()
    if (numerator << max(0, -exponent)) < (denominator << max(0, exponent)):
        exponent -= 1
    scale = 30 - exponent
    x = (numerator << scale if scale >= 0 else numerator >> -scale) // denominator
    fraction = 0
    for _ in range(16):
        x = x * x >> 30
        bit = int(x >= 1 << 31)
        x >>= bit
        fraction = 2 * fraction + bit
    return 65_536 * exponent + fraction


def weight_of(hits: int, misses: int, options: int) -> int:
    """What a vote weighs; `hits` and `misses` in units of 1 / EVIDENCE_ONE observation."""
    h = hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
    m = misses * options + PRIOR_STRENGTH * EVIDENCE_ONE * (options - 1)
    full = min(WEIGHT_MAX, max(0, binary_log(h * (options - 1), m)))
    whole = PROBATION * EVIDENCE_ONE
    return full * min(hits, whole) // whole


def mean_of(hits: int, misses: int, options: int) -> int:
    """The expected accuracy, in units of 2^-16."""
    h = hits * options + PRIOR_STRENGTH * EVIDENCE_ONE
    return 65_536 * h // ((hits + misses) * options + PRIOR_STRENGTH * EVIDENCE_ONE * options)


# --- The vote (specs/08-execution.md)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who was asked, what it answered (None: nothing), what it weighs, and its cluster (-1: none)."""

    peer: bytes
    answer: str | None
    weight: int
    cluster: int = -1


def together(voices: Sequence[Voice], one: bool = False) -> int:  # noqa: FBT001, FBT002  counted by one each, or by weight
    """What some weigh together: of each cluster the most alone."""
    groups: dict[object, int] = {}
    for voice in voices:
        key = voice.peer if voice.cluster < 0 else voice.cluster
        groups[key] = max(groups.get(key, 0), 1 if one else voice.weight)
    return sum(groups.values())


def support_of(task: bytes, votes: Sequence[Voice]) -> tuple[bool, list[tuple[str, int]]]:
    """Whether the vote is earned, and each answer with its support, the first one first."""
    given = [vote for vote in votes if vote.answer is not None]
    earned = any(vote.weight > 0 for vote in given)
    sums = {answer: together([vote for vote in given if vote.answer == answer], not earned) for answer in _answers(given)}
    return earned, sorted(sums.items(), key=lambda item: (-item[1], _tie(task, item[0])))


def result_of(task: bytes, votes: Sequence[Voice], silent: Sequence[Voice], reason: str, bids: int) -> dict[str, Any]:
    """What the owner must be told, in the fields of a receipt."""
    earned, support = support_of(task, votes)
    first = support[0][1] if support else 0
    second = support[1][1] if support[1:] else 0
    answer = support[0][0] if support else None
    given, asked = [vote for vote in votes if vote.answer is not None], [*votes, *silent]
    alike = not any(voice.weight for voice in asked)
    if reason == "no_bids" or (reason == "deadline" and not bids):
        kind = "no bids"
    elif answer is None:
        kind = "deadline" if reason == "deadline" else "all failed"
    else:
        kind = "answered" if earned else "unearned"
    return {
        "outcome": kind,
        "answer": answer,
        "earned": earned,
        "margin": 1_000 * (first - second) // sum(each for _, each in support) if support else 0,
        "support": [list(row) for row in support],
        "dissent": sum(vote.answer != answer for vote in given),
        "abstained": len(votes) - len(given),
        "coverage": 1_000 * together(given, alike) // (together(asked, alike) or 1),
    }


def is_decided(task: bytes, votes: Sequence[Voice], owed: Sequence[Voice]) -> bool:
    """Whether the first answer stays the first however those answer who still owe one: all their ways are gone through."""
    support = support_of(task, votes)[1]
    if not support or not owed:
        return not owed
    choices = [None, _NEW, *_answers(votes)]
    if len(choices) ** len(owed) > _WAYS_MAX:
        return True
    ways = product(choices, repeat=len(owed))
    now = support[0][0]
    return all(
        support_of(task, [*votes, *(_saying(voice, said) for voice, said in zip(owed, way, strict=True))])[1][0][0] == now
        for way in ways
    )


def _saying(voice: Voice, answer: str | None) -> Voice:
    return Voice(voice.peer, answer, voice.weight, voice.cluster)


def _answers(votes: Sequence[Voice]) -> list[str]:
    return sorted({vote.answer for vote in votes if vote.answer is not None})


def _tie(task: bytes, answer: str) -> bytes:
    return b"" if answer == _NEW else hashlib.sha256(b"tutti/tie/1\x00" + task + answer.encode()).digest()


# --- The award (specs/07-beacon.md)


@dataclass(frozen=True, slots=True)
class Bidder:
    """A row of a view with what its bid says."""

    key: bytes
    hits: int
    misses: int
    cluster: int
    queued: int
    slots: int

    def voice(self, options: int, answer: str | None = None) -> Voice:
        """It as a voter."""
        return Voice(self.key, answer, weight_of(self.hits, self.misses, options), self.cluster)


def ranked(beacon: bytes, bidders: Sequence[Bidder], options: int) -> list[Bidder]:
    """Bidders on a question in the order of their claim to a seat."""

    def place(bidder: Bidder) -> tuple[int, int, bytes]:
        draw = hashlib.sha256(b"tutti/draw/1\x00" + beacon + bidder.key).digest()
        if bidder.hits + bidder.misses == 0:
            return 1, 0, draw
        queue = min(bidder.queued * 65_536 // bidder.slots, LOAD_PENALTY_QUEUE_MAX * 65_536)
        score = mean_of(bidder.hits, bidder.misses, options) - queue // (4 * LOAD_PENALTY_QUEUE_MAX)
        return (0 if weight_of(bidder.hits, bidder.misses, options) else 2), -score, draw

    return sorted(bidders, key=place)


def asked_alone(committee: Sequence[Bidder], options: int, acknowledgements: Mapping[bytes, bytes]) -> Bidder | None:
    """Who of a committee is asked alone; None if all of it is."""
    voices = [bidder.voice(options) for bidder in committee]
    if len(committee) <= 1:
        return None
    best = max(range(len(committee)), key=lambda place: (voices[place].weight, -place))
    others = [voice for voice in voices if voice is not voices[best]]
    weight, mean = voices[best].weight, mean_of(committee[best].hits, committee[best].misses, options)
    sure = mean >= GATE_MEAN and weight > max(voice.weight for voice in others)
    if not (sure or weight > together(others)):
        return None
    signatures = b"".join(data[:_SIGNATURE] for _, data in sorted(acknowledgements.items()))
    drawn = int.from_bytes(hashlib.sha256(b"tutti/gate/1\x00" + signatures).digest()[:8], "big")
    return None if drawn % GATE_CHECK == 0 else committee[best]


# --- A receipt (specs/11-receipt.md)


@dataclass(slots=True)
class _Seat:
    number: int
    holder: Bidder
    round: int
    state: str = "open"
    commitment: bytes = b""
    answer: str | None = None


@dataclass(slots=True)
class _Step:
    """A step of a receipt as far as it has been read."""

    network: bytes
    task: bytes
    fields: dict[str, Any]
    beacon: bytes = b""
    skill: dict[str, Any] = field(default_factory=dict)
    bids: dict[bytes, tuple[bytes, int, int]] = field(default_factory=dict)
    acks: dict[bytes, bytes] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    seats: dict[bytes, _Seat] = field(default_factory=dict)
    view: bytes = b""
    options: int = 0
    queue: list[Bidder] = field(default_factory=list)
    # How many are asked at once, and whether the awards to them are still coming.
    first: int = 0
    offering: bool = True
    round: int = 0
    sent_away: bool = False

    def owed(self) -> list[Voice]:
        """Who holds a seat and has not opened."""
        return [seat.holder.voice(self.options) for seat in self.seats.values() if seat.state not in ("done", "failed")]

    def votes(self) -> list[Voice]:
        """What was opened."""
        return [seat.holder.voice(self.options, seat.answer) for seat in self.seats.values() if seat.state == "done"]


def check_receipt(data: bytes) -> str | None:
    """What does not follow in a receipt, None if all does that is looked at: questions with votes and without a plan."""
    receipt: Any = canonical.decode(data[_SIGNATURE:], len(data))
    if len(receipt["steps"]) != 1:
        return None
    step = _Step(receipt["network"], receipt["task"], receipt["steps"][0])
    try:
        _read_step(step)
    except Wrong as wrong:
        return str(wrong)
    return None


def _read_step(step: _Step) -> None:
    notes = list(step.fields["notes"])
    for place, data in enumerate(step.fields["transcript"]):
        while notes and notes[0][0] <= place:
            _note(step, *notes.pop(0)[1:])
        envelope: Any = canonical.decode(data[_SIGNATURE:])
        if envelope["type"] == "beacon" and (envelope["body"]["answer"] in ("text", "plan") or step.fields["refine"]):
            return
        if envelope["type"] != "award" and len(step.seats) >= step.first > 0:
            step.offering = False
        look = _READ.get(envelope["type"])
        if look is not None:
            look(step, data, envelope, envelope["body"])
    for note in notes:
        _note(step, *note[1:])
    if step.seats and len({seat.number for seat in step.seats.values()}) < step.first and step.fields["reason"] == "settled":
        raise Wrong(f"{len(step.seats)} were asked where the rule asks {step.first}")
    silent = [seat.holder.voice(step.options) for seat in step.seats.values() if seat.state == "failed"]
    votes = step.votes()
    if len({vote.peer for vote in votes}) < len(votes):
        raise Wrong("an executor has two votes")
    due = result_of(step.task, votes, silent, step.fields["reason"], len(step.bids))
    for name, value in due.items():
        if step.fields["result"][name] != value:
            raise Wrong(f"its {name} is {step.fields['result'][name]!r}, and from the votes follows {value!r}")


def _id(data: bytes) -> bytes:
    return hashlib.sha256(b"tutti/envelope/1\x00" + data[_SIGNATURE:]).digest()


def _on_beacon(step: _Step, data: bytes, _: Any, body: Any) -> None:  # noqa: ANN401  fields of an envelope
    step.beacon, step.skill = _id(data), body


def _on_bid(step: _Step, data: bytes, envelope: Any, body: Any) -> None:  # noqa: ANN401
    if envelope["sender"] in step.bids:
        raise Wrong("one bidder has two bids")
    step.bids[envelope["sender"]] = _id(data), body["queued"], body["slots"]


def _on_ack(step: _Step, data: bytes, envelope: Any, _: Any) -> None:  # noqa: ANN401
    if step.seats:
        raise Wrong("a bid was acknowledged after the first award")
    step.acks[envelope["to"]] = data


def _on_award(step: _Step, data: bytes, envelope: Any, body: Any) -> None:  # noqa: ANN401
    if body["view"] != step.view:
        _look_at(step, body["view"])
    held = {seat.holder.key for seat in step.seats.values()}
    left = [bidder for bidder in step.queue if bidder.key not in held and bidder.key not in step.gone]
    if not left or left[0].key != envelope["to"]:
        raise Wrong(f"an award goes to {envelope['to'].hex()[:8]}, and by its view another is next")
    if body["bid"] != step.bids[left[0].key][0]:
        raise Wrong("an award names another bid than its holder's")
    if step.offering and len(step.seats) >= step.first:
        raise Wrong(f"more than {step.first} are asked at once")
    if len(step.seats) < step.first and not step.offering:
        raise Wrong(f"fewer than {step.first} are asked at once")
    step.seats[_id(data)] = _Seat(body["seat"], left[0], body["round"])


def _look_at(step: _Step, named: bytes) -> None:
    encoded = next(view for view in step.fields["views"] if hashlib.sha256(b"tutti/view/1\x00" + view).digest() == named)
    view: Any = canonical.decode(encoded)
    step.view, step.options = named, view["options"]
    rows = {row[1]: row for row in view["bids"]}
    if not step.acks.keys() <= rows.keys():
        raise Wrong("a view leaves out a bid that was acknowledged")
    bidders = [Bidder(key, row[2], row[3], row[4], *step.bids[key][1:]) for key, row in rows.items() if key not in step.gone]
    step.queue = ranked(step.beacon, bidders, step.options)
    if not step.first:
        earned = sum(bidder.voice(step.options).weight > 0 for bidder in step.queue)
        committee = step.queue[: min(step.skill["seats"], earned or len(step.queue))]
        alone = asked_alone(committee, step.options, step.acks)
        step.first = len(committee) if alone is None else 1
        if alone is not None:
            step.queue.sort(key=lambda bidder: bidder is not alone)


def _seat(step: _Step, body: Any) -> _Seat:  # noqa: ANN401
    seat = step.seats.get(body["award"])
    if seat is None:
        raise Wrong("a message names an award that was not made")
    return seat


def _on_decline(step: _Step, _: bytes, __: Any, body: Any) -> None:  # noqa: ANN401
    _seat(step, body).state = "failed"


def _on_commit(step: _Step, _: bytes, envelope: Any, body: Any) -> None:  # noqa: ANN401
    seat = _seat(step, body)
    if seat.holder.key != envelope["sender"] or seat.state != "open" or body["round"] != step.round:
        raise Wrong("a commitment is another's, a second one, or of a closed round")
    seat.state, seat.commitment, seat.round = "committed", body["commitment"], body["round"]


def _on_set(step: _Step, _: bytes, __: Any, body: Any) -> None:  # noqa: ANN401
    if body["round"] < step.round:
        return  # one of its copies
    bound = {seat.holder.key: seat for seat in step.seats.values() if seat.state == "committed"}
    if {key: seat.commitment for key, seat in bound.items()} != dict(body["members"]):
        raise Wrong("a set does not hold the commitments that were there")
    step.round = body["round"] + 1
    for seat in bound.values():
        seat.state = "sealed"


def _on_reveal(step: _Step, _: bytes, envelope: Any, body: Any) -> None:  # noqa: ANN401
    seat, sender = _seat(step, body), envelope["sender"]
    if seat.holder.key != sender or seat.state != "sealed":
        raise Wrong("an answer was opened before its set, twice, or by another")
    bound = [step.network, body["task"], body["plan"], body["step"], seat.round, sender, body["nonce"], body["answer"]]
    matches = hashlib.sha256(b"tutti/commitment/1\x00" + canonical.encode(bound)).digest() == seat.commitment
    # An answer in another form than the canonical one is an abstention.
    said = body["answer"] if body["answer"] is not None and is_canonical(step.skill["answer"], body["answer"]) else None
    seat.state, seat.answer = ("done" if matches else "failed"), said


def _note(step: _Step, event: str, subject: bytes) -> None:
    if event == "gone":
        step.gone.add(subject)
        return
    if event == "unneeded" and not step.sent_away:
        step.sent_away = True
        if not is_decided(step.task, step.votes(), step.owed()):
            raise Wrong("somebody was sent away whose answer could have changed the result")
    step.seats[subject].state = "failed"


_READ: Final = {
    "beacon": _on_beacon,
    "bid": _on_bid,
    "bid_ack": _on_ack,
    "award": _on_award,
    "decline": _on_decline,
    "commit": _on_commit,
    "commit_set": _on_set,
    "reveal": _on_reveal,
}
