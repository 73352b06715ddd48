"""Members revise their answers in view of the others', each time in a further sealed round (specs/08-execution.md)."""

from __future__ import annotations

from protocol.constants import LEASE_MS, REFINE_ANSWERS_MAX, REFINE_TEXT_SIZE_MAX, ROUNDS_MAX
from protocol.post import Post
from protocol.review import Refine
from protocol.rounds import seals_mono_ms
from protocol.seats import Seat, SeatState
from protocol.task import Task


class Refining:
    """Asks members to answer again."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def begin(self, task: Task) -> bool:
        """Ask for the next revision; False if none is wanted, all agree, or there is no time or round left."""
        late = task.round >= ROUNDS_MAX or self._post.mono_ms >= seals_mono_ms(task)
        asked = [] if late or task.refined >= task.refine else revisions_of(task)
        if not asked:
            return False
        task.refined += 1
        for seat, refine in asked:
            self._post.send(task, seat.peer, refine)
            task.seats.append(revision(seat, refine, self._post.mono_ms + LEASE_MS, task.ends_mono_ms))
        self._post.log("refine", task, {"round": task.round})
        return True


def revisions_of(task: Task) -> list[tuple[Seat, Refine]]:
    """Whose seats are asked to revise in the open round, with the messages that ask; nothing if all answers are equal."""
    texts = sorted(task.texts(), key=lambda text: (text.text, text.author))
    if len({text.text for text in texts}) <= 1:
        return []
    step, asked = task.step_id, list[tuple[Seat, Refine]]()
    for seat in task.members():
        others = [_cut(text.text) for text in texts if text.author != seat.peer][:REFINE_ANSWERS_MAX]
        asked.append((seat, Refine(step.task, step.plan, step.step, seat.award_id, task.round, tuple(others))))
    return asked


def revision(seat: Seat, refine: Refine, expires_mono_ms: int, ends_mono_ms: int) -> Seat:
    """The seat of a revision, under the same award; it yields to nobody."""
    return Seat(
        seat.number,
        seat.holder,
        seat.award_id,
        expires_mono_ms,
        ends_mono_ms,
        refine.round,
        state=SeatState.ACCEPTED,
        revision=True,
    )


def _cut(text: str) -> str:
    return text.encode()[:REFINE_TEXT_SIZE_MAX].decode("utf-8", "ignore")
