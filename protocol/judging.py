"""Free texts are judged in pairs by members that wrote neither (specs/08-execution.md)."""

from __future__ import annotations

from itertools import combinations

from protocol.constants import JUDGE_MS_MAX, JUDGE_MS_MIN, JUDGES_MIN
from protocol.errors import RemoteProtocolError
from protocol.post import Post
from protocol.ranking import Judged, Text
from protocol.review import FIRST, SECOND, Judge, Judgement
from protocol.seats import Seat
from protocol.task import Pair, Phase, Task
from protocol.vote import tie_break


class Judging:
    """Asks members which of two texts is better, and takes what they say."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def begin(self, task: Task) -> bool:
        """Ask all that may judge; False if they or the texts are too few, or the time too short."""
        left_ms = task.ends_mono_ms - self._post.mono_ms
        duties = judges_of(task)
        if not duties or task.audit is not None or left_ms < JUDGE_MS_MIN:
            return False
        task.phase, task.judging_until_ms = Phase.JUDGING, self._post.mono_ms + min(left_ms, JUDGE_MS_MAX)
        for pair, judge in duties:
            task.asked[judge.award, judge.number] = pair
            self._post.send(task, pair.judge, judge)
        return True

    def take(self, task: Task, sender: bytes, judgement: Judgement) -> None:
        """Take a judgement that is owed; raises `RemoteProtocolError` for any other."""
        judged(task, sender, judgement)
        task.judging_ms = max(task.judging_ms, judgement.inference_ms)
        task.judging_tokens += judgement.prompt_tokens + judgement.completion_tokens
        self._post.log("judgement", task, {"elapsed_ms": judgement.inference_ms}, sender)

    def lose(self, task: Task, peer: bytes) -> None:
        """A member went away: it owes nothing any more."""
        task.asked = {key: pair for key, pair in task.asked.items() if pair.judge != peer}

    def over(self, task: Task) -> bool:
        """Whether nothing is owed any more, or it was waited for long enough."""
        return not task.asked or min(task.judging_until_ms, task.ends_mono_ms) <= self._post.mono_ms

    def end(self, task: Task) -> None:
        """Take back what is still owed."""
        for award_id, peer in sorted({(award_id, pair.judge) for (award_id, _), pair in task.asked.items()}):
            self._post.cancel(task, peer, award_id)


def judges_of(task: Task) -> list[tuple[Pair, Judge]]:
    """Who is asked to compare which texts of a free text, with the messages that ask; nothing if they are too few."""
    # By a hash, so that the order says nothing of the authors.
    texts = sorted(task.texts(), key=lambda text: (tie_break(task.id, text.text), text.author))
    step, duties = task.step_id, list[tuple[Pair, Judge]]()
    for seat in task.members() if task.answer_kind == "text" else []:
        pairs = [pair for pair in combinations(texts, 2) if _may_judge(task, seat, pair)]
        for number, (first, second) in enumerate(pairs):
            judge = Judge(step.task, step.plan, step.step, seat.award_id, number, first.text, second.text)
            duties.append((Pair(seat.peer, first.author, second.author), judge))
    return duties if len({pair.judge for pair, _ in duties}) >= JUDGES_MIN else []


def judged(task: Task, sender: bytes, judgement: Judgement) -> None:
    """Count a judgement that is owed; raises `RemoteProtocolError` for any other."""
    pair = task.asked.get((judgement.award, judgement.number))
    if pair is None or pair.judge != sender:
        raise RemoteProtocolError("late", "a judgement that is not owed")
    del task.asked[judgement.award, judgement.number]
    preferred = {FIRST: pair.first, SECOND: pair.second}.get(judgement.preference)
    weight = next(task.weight(seat.holder) for seat in task.seats if seat.peer == sender)
    task.judged.append(Judged(sender, pair.first, pair.second, preferred, weight, task.cluster(sender)))


def _may_judge(task: Task, seat: Seat, pair: tuple[Text, ...]) -> bool:
    """Whether a member wrote neither text, nor shares a voice with who did."""
    own = task.cluster(seat.peer)
    authors = [text.author for text in pair]
    return seat.peer not in authors and (own is None or own not in [task.cluster(author) for author in authors])
