"""The sealed rounds of a task at its requester: commitments, the set that closes a round, openings (specs/08-execution.md).

Nobody opens before the set is signed, and no commitment enters a set that is signed: so no executor can answer by another's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from protocol.answers import is_canonical
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import REVEAL_MS_MAX, REVEAL_SHARE, ROUNDS_MAX, STRAGGLE_MS
from protocol.errors import RemoteProtocolError
from protocol.outcome import SeatReport
from protocol.post import Post
from protocol.sealing import commitment
from protocol.seats import Seat, SeatState
from protocol.stopping import decided, worth_opening
from protocol.task import Task

_SEALABLE: Final = SeatState.COMMITTED


class Rounds:
    """Seals answers and takes their openings."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def commit(self, task: Task, seat: Seat, commit: Commit) -> None:
        """Bind a seat's holder; raises `RemoteProtocolError` for a round that is closed or a second commitment."""
        if seat.at_work and commit.round != task.round:
            # It crossed with the set that closed its round, by which its executor knows to commit for the next one.
            raise RemoteProtocolError("late", "a commitment for another round than the open one")
        seat.move("commit")
        seat.round, seat.commit, seat.commit_data = commit.round, commit, task.transcript[-1]
        self._post.log("commit", task, {"elapsed_ms": commit.inference_ms}, seat.peer)

    def reveal(self, task: Task, seat: Seat, reveal: Reveal) -> SeatReport | None:
        """Take an opening, which becomes a vote; None if it opens another answer than the one that was committed.

        Raises `RemoteProtocolError` for one of a seat that is in no set.
        """
        if seat.commit is None or reveal.round != seat.round:
            raise RemoteProtocolError("state", "opens a commitment that it did not make")
        bound = commitment(self._post.network, task.step_id, seat.round, seat.peer, reveal.nonce, reveal.answer)
        if seat.state is SeatState.SEALED and bound != seat.commit.commitment:
            return None
        seat.move("reveal")
        report = opened(task, seat, reveal.answer)
        self._post.log("vote", task, {"weight": report.weight, "elapsed_ms": seat.commit.inference_ms}, seat.peer)
        return report

    def close_if_due(self, task: Task) -> None:
        """Sign the set of the open round if no further commitment is waited for."""
        bound = [seat for seat in task.seats if seat.state is _SEALABLE]
        at_work = [seat for seat in task.seats if seat.at_work]
        if not bound or task.round >= ROUNDS_MAX or (at_work and not self._closes_early(task, bound, at_work)):
            return
        task.closes_mono_ms = None
        members = tuple(sorted((seat.peer, seat.commit.commitment) for seat in bound if seat.commit is not None))
        step = task.step_id
        sealed = CommitSet(step.task, step.plan, step.step, task.round, members)
        task.round += 1
        for seat in sorted((*bound, *at_work), key=lambda each: each.peer):
            # Who is still at work learns that this round is over.
            self._post.send(task, seat.peer, sealed)
        for seat in bound:
            seat.move("set")
            seat.expires_mono_ms = self._post.mono_ms + REVEAL_MS_MAX

    def _closes_early(self, task: Task, bound: list[Seat], at_work: list[Seat]) -> bool:
        """Whether those who are at work need not be waited for; a last round is kept for them."""
        if self._post.mono_ms >= seals_mono_ms(task):
            return True
        enough = (
            task.answer_kind != "text"
            and task.round + 1 < ROUNDS_MAX
            and worth_opening(task.id, task.settled(), task.owed(bound), task.owed(at_work))
        )
        task.closes_mono_ms = self._soon(task.closes_mono_ms) if enough else None
        return task.closes_mono_ms is not None and task.closes_mono_ms <= self._post.mono_ms

    def stops(self, task: Task) -> bool:
        """Whether the task is over: nobody owes an answer, or none that is owed could change the result.

        An audit waits for all whom it examines.
        """
        owed = [seat for seat in task.seats if seat.open]
        if not owed:
            return True
        over = task.audit is None and task.answer_kind != "text" and decided(task.id, task.settled(), task.owed(owed))
        task.stops_mono_ms = self._soon(task.stops_mono_ms) if over else None
        return task.stops_mono_ms is not None and task.stops_mono_ms <= self._post.mono_ms

    def _soon(self, known_ms: int | None) -> int:
        return self._post.mono_ms + STRAGGLE_MS if known_ms is None else known_ms

    def deadline_ms(self, task: Task) -> int:
        """When a round closes or a task ends whatever others are still at, its deadline at the latest."""
        due = [at_ms for at_ms in (task.closes_mono_ms, task.stops_mono_ms) if at_ms is not None]
        if task.round < ROUNDS_MAX and any(seat.state is _SEALABLE for seat in task.seats):
            due.append(seals_mono_ms(task))
        return min([task.ends_mono_ms, *due])


def seals_mono_ms(task: Task) -> int:
    """From when on answers are sealed as they come, so that those which are there can be opened before the task ends."""
    return task.ends_mono_ms - min(REVEAL_MS_MAX, (task.ends_mono_ms - task.begun_mono_ms) // REVEAL_SHARE)


def opened(task: Task, seat: Seat, answer: str | None) -> SeatReport:
    """Count an answer that was opened as it was committed to.

    A revision takes the place of what its author answered before, which stands if the revision says nothing.
    """
    if answer is not None and not is_canonical(task.answer_kind, answer):
        # One answer in two spellings would scatter the votes for it.
        answer = None
    assert seat.commit is not None
    spent = seat.commit.inference_ms, seat.commit.prompt_tokens, seat.commit.completion_tokens
    if not seat.revision:
        state = "abstained" if answer is None else "answered"
        task.reports.append(SeatReport(seat.number, seat.peer, state, answer, task.weight(seat.holder), *spent, seat.round))
        return task.reports[-1]
    place, before = next((place, item) for place, item in enumerate(task.reports) if item.peer == seat.peer and not item.failed)
    unrevised = before.round_first is None
    task.reports[place] = replace(
        before,
        state=before.state if answer is None else "answered",
        answer=before.answer if answer is None else answer,
        first_answer=before.answer if unrevised else before.first_answer,
        round_first=before.round if unrevised else before.round_first,
        round=seat.round,
        inference_ms=before.inference_ms + spent[0],
        prompt_tokens=before.prompt_tokens + spent[1],
        completion_tokens=before.completion_tokens + spent[2],
    )
    return task.reports[place]
