"""From a finished task to its outcome: the vote, the kind of end, the reports."""

from __future__ import annotations

from protocol.evidence import Counts
from protocol.outcome import BidReport, Outcome, OutcomeKind
from protocol.ranking import Ranked, most_trusted, rank
from protocol.seats import SeatState
from protocol.task import Phase, Task
from protocol.vote import Tally, tally


def outcome_of(task: Task, reason: str, mono_ms: int) -> Outcome:
    """The outcome of a task that ended at `mono_ms` because of `reason`: "settled", "no_bids" or "deadline"."""
    counted = [report for report in task.reports if not report.failed]
    result: Tally | None = None
    ranking: tuple[Ranked, ...] | None = None
    author: bytes | None = None
    if task.answer_kind == "text":
        ranking, author, answer = _text(task)
    else:
        silent = [seat for seat in task.seats if seat.state is SeatState.FAILED and not seat.revision]
        result = tally(task.id, task.cast(), task.owed(silent))
        answer = result.answer
    if reason == "no_bids" or (reason == "deadline" and task.phase is Phase.BIDDING and not task.bids):
        kind = OutcomeKind.NO_BIDS
    elif answer is None:
        kind = OutcomeKind.DEADLINE if reason == "deadline" else OutcomeKind.ALL_FAILED
    else:
        kind = OutcomeKind.UNEARNED if result is not None and not result.earned else OutcomeKind.ANSWERED
    opened_mono_ms = mono_ms if task.phase is Phase.CALIBRATING else task.opened_mono_ms
    return Outcome(
        task=task.id,
        kind=kind,
        requirement=task.requirement,
        skill_given=task.skill_given,
        voted=result is not None or ranking is not None,
        answer=answer,
        tally=result,
        author=author,
        ranking=ranking or (),
        judged=tuple(task.judged),
        beacon=task.beacon_id,
        view=task.view_hash,
        bids=_bid_reports(task),
        seats=tuple(task.reports),
        rounds=task.round,
        gate=task.gate,
        further=task.further,
        stopped=task.stopped,
        refined=task.refined,
        calibration_ms=opened_mono_ms - task.begun_mono_ms,
        latency_ms=mono_ms - task.begun_mono_ms,
        inference_ms=max((report.inference_ms for report in counted), default=0) + task.judging_ms,
        messages=task.messages,
        bytes_total=task.bytes_total,
        tokens=sum(report.prompt_tokens + report.completion_tokens for report in task.reports) + task.judging_tokens,
    )


def _text(task: Task) -> tuple[tuple[Ranked, ...] | None, bytes | None, str | None]:
    """The ranking of a free text, if there is one, and the author and text that are given."""
    texts = task.texts()
    ranking = rank(task.id, texts, task.judged)
    best = most_trusted(task.id, texts)
    if ranking is not None:
        best = next(text for text in texts if text.author == ranking[0].author)
    return ranking, (None if best is None else best.author), (None if best is None else best.text)


def _bid_reports(task: Task) -> tuple[BidReport, ...]:
    awarded = {seat.holder.bidder for seat in task.seats}
    reports = []
    for bidder, bid in sorted(task.bids.items()):
        counts = task.view.of(bid) if task.view is not None else Counts()
        imported = task.imported.get(bidder, Counts())
        reports.append(
            BidReport(
                bidder,
                bid.bid.queued,
                bid.bid.slots,
                bid.bid.tokens_per_s,
                counts.hits,
                counts.misses,
                imported.hits,
                imported.misses,
                counts.weight(task.options),
                bidder in awarded,
                task.view is not None and bidder not in task.view.counts,
                task.view.clusters.get(bidder) if task.view is not None else None,
            )
        )
    return tuple(reports)
