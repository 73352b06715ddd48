"""The sealed rounds of a task at its requester: commitments, the set that closes a round, openings (specs/08-execution.md).

Nobody opens before the set is signed, and no commitment enters a set that is signed: so no executor can answer by another's.
"""

from __future__ import annotations

from typing import Final

from protocol.answers import is_canonical
from protocol.ballot import Commit, CommitSet, Reveal
from protocol.constants import REVEAL_MS_MAX, REVEAL_SHARE, ROUNDS_MAX
from protocol.errors import RemoteProtocolError
from protocol.outcome import SeatReport
from protocol.post import Post
from protocol.sealing import commitment
from protocol.seats import Seat, SeatState
from protocol.task import Phase, Task

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
        answer = reveal.answer
        if answer is not None and not is_canonical(task.answer_kind, answer):
            # One answer in two spellings would scatter the votes for it.
            answer = None
        report = SeatReport(
            seat.number,
            seat.peer,
            "abstained" if answer is None else "answered",
            answer,
            task.weight(seat.holder),
            seat.commit.inference_ms,
            seat.commit.prompt_tokens,
            seat.commit.completion_tokens,
            seat.round,
        )
        task.reports.append(report)
        self._post.log("vote", task, {"weight": report.weight, "elapsed_ms": report.inference_ms}, seat.peer)
        return report

    def close_if_due(self, task: Task) -> None:
        """Sign the set of the open round if no further commitment is waited for."""
        bound = [seat for seat in task.seats if seat.state is _SEALABLE]
        at_work = [seat for seat in task.seats if seat.at_work]
        if not bound or task.round >= ROUNDS_MAX or (at_work and self._post.mono_ms < seals_mono_ms(task)):
            return
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

    def deadline_ms(self, task: Task) -> int | None:
        """When a round closes that waits for slow seats."""
        if task.phase is Phase.RUNNING and task.round < ROUNDS_MAX and any(seat.state is _SEALABLE for seat in task.seats):
            return seals_mono_ms(task)
        return None


def seals_mono_ms(task: Task) -> int:
    """From when on answers are sealed as they come, so that those which are there can be opened before the task ends."""
    return task.ends_mono_ms - min(REVEAL_MS_MAX, (task.ends_mono_ms - task.begun_mono_ms) // REVEAL_SHARE)
