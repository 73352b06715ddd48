"""Policies over one world: the same questions and answers for all, budgets that are kept, a page that follows from the runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from statistics import correlation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import exercises
from simnet import cli, compare, compare_page, conditions, joint, standings
from simnet.compare import OURS, Job, Question, Row
from simnet.conditions import CONDITIONS, FROM_S
from simnet.draws import Stream
from simnet.rivals import Outage
from simnet.scenario import ScenarioError
from simnet.solvers import KINDS, Model
from simnet.standings import ACCURACY, COLD, COSTS, WARM
from simnet.ways import ALL, ANSWERS, ONE, WAYS, Budget, Way

BY_NAME = {way.name: way for way in WAYS}
NODES = 12
# What an answer costs, and one to a hard question.
EASY, HARD = (compare.PROMPT_TOKENS + KINDS[name].tokens for name in ("arith", "gsm8k:6b_verification"))
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "QUESTIONS_PER_MINUTE", 80)
        yield


@pytest.fixture(scope="module")
def ours() -> Row:
    return compare.run_ours(Job("hard questions", 1, 6, 1))


@pytest.fixture(scope="module")
def found(ours: Row) -> list[tuple[Job, list[Row]]]:
    job = Job("hard questions", 1, 6, 1)
    rivals = [rival(job, way, budget, ours.audits if way.audits else 0) for way in WAYS for budget in way.budgets]
    return [(job, [ours, *rivals])]


def rival(job: Job, way: Way, budget: Budget = ONE, audits: int = 0, samples: int | None = None) -> Row:
    worth = {ONE: 1_000, ANSWERS: 2_500, ALL: 5_000}[budget] if samples is None else samples
    return compare.run_rival(job, way, budget, worth, audits)


def accuracy(row: Row) -> float:
    return sum(each.right for each in row.questions) / len(row.questions)


# --- The runs


def test_run__is_the_same_again(ours: Row) -> None:
    assert compare.run_ours(Job("hard questions", 1, 6, 1)) == ours
    for name in ("Symphony-Coord", "central, degraded"):
        assert rival(Job("churn", 2, 8, 1), BY_NAME[name], audits=40) == rival(Job("churn", 2, 8, 1), BY_NAME[name], audits=40)
    assert rival(Job("churn", 3, 8, 1), BY_NAME["random"]) != rival(Job("churn", 2, 8, 1), BY_NAME["random"])


def test_run__of_a_rival_is_the_same_in_another_process_under_another_hash_seed() -> None:
    code = (
        "from simnet.compare import Job, run_rival; from simnet.ways import ONE, WAYS; "
        "print(*(run_rival(Job('churn', 1, 8, 1), way, ONE, 1_000, 30).digest for way in WAYS if way.hub))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_run__asks_everybody_the_same_at_the_same_times(found: list[tuple[Job, list[Row]]]) -> None:
    (_, rows) = found[0]
    assert len({tuple((each.at_ms, each.text) for each in row.questions) for row in rows}) == 1


def test_run__lets_every_policy_be_right_and_wrong(found: list[tuple[Job, list[Row]]]) -> None:
    for row in found[0][1]:
        assert 0 < accuracy(row) < 1, row.policy


@pytest.mark.parametrize("samples", [1_000, 1_700, 2_300, 5_000])
@pytest.mark.parametrize("name", ["self-consistency", "random"])
def test_budget__is_kept_by_odd_numbers_of_answers(name: str, samples: int) -> None:
    row = rival(Job("hard questions", 1, 16, 1), BY_NAME[name], samples=samples)
    worth = samples * len(row.questions) / 1_000
    assert row.tokens == row.tokens_all == HARD * row.answers
    # Each asker is at most two answers behind or ahead.
    assert abs(row.answers - worth) <= 2 * conditions.ASKERS
    assert row.audits == 0


def test_budget__of_the_hub_is_that_of_answers_and_of_audits() -> None:
    row = rival(Job("healthy", 1, NODES, 1), BY_NAME["central"], ANSWERS, audits=300)
    assert row.audits == 300
    # Less than two answers behind, and fewer where not so many have earned a weight.
    assert abs(row.tokens - EASY * 2.5 * len(row.questions)) <= 5 * EASY
    assert row.tokens_all == row.tokens + 300 * EASY


def test_budget__of_one_answer_is_one_answer_where_nobody_fails(found: list[tuple[Job, list[Row]]]) -> None:
    for row in found[0][1]:
        if row.budget == ONE:
            assert row.answers == len(row.questions), row.policy


def test_over_claimers__fool_who_believes_them_and_not_who_measures() -> None:
    job = Job("over-claiming", 1, NODES, 1)
    believing = rival(job, BY_NAME["Symphony"])
    measuring = rival(job, BY_NAME["central"], audits=400)
    assert accuracy(believing) < 0.8
    assert accuracy(measuring) > 0.9
    assert accuracy(rival(Job("healthy", 1, NODES, 1), BY_NAME["Symphony"])) > 0.9


def test_colluders__outvote_a_plurality_and_not_who_knows() -> None:
    job = Job("collusion", 1, NODES, 1)
    assert accuracy(rival(job, BY_NAME["random"], ALL)) < 0.4
    assert accuracy(rival(job, BY_NAME["central"], ANSWERS, 400)) > 0.8
    assert accuracy(rival(job, BY_NAME["best node a skill"])) > 0.9


def test_hub__that_is_degraded_answers_less_and_later_than_a_healthy_one() -> None:
    job = Job("healthy", 1, NODES, 2)
    healthy, degraded = (rival(job, BY_NAME[name], ANSWERS, 100) for name in ("central", "central, degraded"))
    assert accuracy(degraded) < accuracy(healthy) - 0.05
    late = [sorted(each.latency_ms for each in row.questions) for row in (healthy, degraded)]
    assert late[1][len(late[1]) // 2] > late[0][len(late[0]) // 2] + 250
    assert max(each.latency_ms for each in degraded.questions) <= conditions.DEADLINE_MS


def test_nodes_that_are_slow_or_away__cost_time_and_not_the_answer() -> None:
    quiet = rival(Job("healthy", 1, NODES, 1), BY_NAME["round robin"])
    for condition in ("gray", "churn"):
        row = rival(Job(condition, 1, NODES, 1), BY_NAME["round robin"])
        assert accuracy(row) > accuracy(quiet) - 0.1
    slow = rival(Job("gray", 1, NODES, 1), BY_NAME["round robin"])
    assert sum(each.latency_ms for each in slow.questions) > sum(each.latency_ms for each in quiet.questions)
    assert slow.answers > quiet.answers


def test_outage__is_the_end_of_every_period() -> None:
    outage = Outage(from_ms=1_000, every_ms=90, down_ms=30, late_ms=5)
    away = [now_ms for now_ms in range(900, 1_200) if outage.back_ms(now_ms) is not None]
    assert away == [*range(1_060, 1_090), *range(1_150, 1_180)]
    assert {outage.back_ms(now_ms) for now_ms in away} == {1_090, 1_180}


def test_scenario__of_every_condition_is_one_and_the_sybils_are_three_to_one() -> None:
    for condition in CONDITIONS:
        assert conditions.scenario(condition, 16, 3).workload.askers == conditions.ASKERS
    assert [conditions.scenario(name, 16, 3).nodes for name in ("healthy", "Sybil")] == [16, 32]
    with pytest.raises(ScenarioError, match="nodes"):
        compare.jobs([1], 10**9, 3)


# --- Answers


def said(name: str, model: str, text: str, times: int = 1) -> list[str]:
    solve = joint.joint(7, name, Model(KINDS[model]))
    return [solve(text, Stream(1, "unused")).text for _ in range(times)]


EXERCISES = [exercises.generate("arith", 2, seed) for seed in range(600)]
WEAK, STRONG = "gsm8k:6b_verification", "gsm8k:175b_verification"


def test_joint__gives_a_node_the_same_answer_whatever_it_was_asked_before() -> None:
    solve, again = (joint.joint(7, "a", Model(KINDS[WEAK])) for _ in range(2))
    texts = [exercise.text for exercise in EXERCISES[:50]]
    forwards = {text: solve(text, Stream(1, "x")) for text in texts}
    assert {text: again(text, Stream(2, "y")) for text in reversed(texts)} == forwards
    # Another node with this model says the same in another time; another model says something else.
    other = joint.joint(7, "b", Model(KINDS[WEAK]))
    also = {text: other(text, Stream(1, "x")) for text in texts}
    assert [each.text for each in also.values()] == [each.text for each in forwards.values()]
    assert [each.elapsed_ms for each in also.values()] != [each.elapsed_ms for each in forwards.values()]
    assert [said("a", STRONG, text)[0] for text in texts] != [each.text for each in forwards.values()]


def test_joint__repeats_itself_as_often_as_it_says_when_asked_again() -> None:
    twice = [[text == f"answer: {exercise.gold}" for text in said("a", WEAK, exercise.text, 2)] for exercise in EXERCISES]
    first, again = ([float(pair[place]) for pair in twice] for place in (0, 1))
    for right in (first, again):
        assert 1_000 * sum(right) / len(right) == pytest.approx(KINDS[WEAK].skills["arith"], abs=60)
    assert correlation(first, again) == pytest.approx(joint.AGAIN_PERMILLE / 1_000, abs=0.1)


# --- Figures


def test_jain__is_one_for_equal_loads_and_one_nth_for_one_that_bears_all() -> None:
    assert compare.jain([3, 3, 3]) == pytest.approx(1)
    assert compare.jain([6, 0, 0, 0]) == pytest.approx(0.25)
    assert compare.jain([0, 0]) == 0


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 200))
def test_lead__lies_in_its_interval_which_turns_with_its_sign(won: int, lost: int, same: int) -> None:
    count = won + lost + same
    middle, low, high = standings.lead(won, lost, count)
    assert low < high
    # It is drawn towards nothing by at most the two questions that are added.
    assert low - 100 * 2 / count <= middle <= high + 100 * 2 / count
    assert standings.lead(lost, won, count) == pytest.approx((-middle, -high, -low))
    if won == lost:
        assert low < 0 < high


def row(policy: str, right: str, *, tokens: int = 1, latency_ms: int = 100, doubted: bool = False) -> Row:
    """A policy whose questions, a second apart, end as `right` says."""
    questions = tuple(
        Question(1_000 * (FROM_S + second), str(second), letter == "+", latency_ms, doubted)
        for second, letter in enumerate(right)
    )
    spent = EASY * tokens * len(right)
    return Row(policy, ONE, questions, tokens * len(right), 0, 9, 900, 10, 1_000, spent, spent, 0.5, policy)


def losses_of(*rows: Row) -> set[tuple[str, str, str]]:
    shown = standings.standings([(Job("healthy", 1, 4, 1), rows)])
    return {(loss.window, loss.measure, loss.policy) for loss in standings.losses(shown)}


def test_losses__are_those_that_the_data_shows() -> None:
    worse, better = 20 * "+" + 20 * "+" + 20 * "-", 60 * "+"
    assert losses_of(row(OURS, worse), row("random", better)) == {(WARM, ACCURACY, "random")}
    assert losses_of(row(OURS, better), row("random", worse)) == set()
    # A cheaper one counts only if it is as often right; what knows in hindsight is no example of what could be done.
    assert losses_of(row(OURS, better, tokens=3), row("random", better)) == {(WARM, "tokens", "random")}
    assert losses_of(row(OURS, better, tokens=3), row("random", worse)) == set()
    assert losses_of(row(OURS, better, tokens=3), row("best single node", better)) == set()
    assert losses_of(row(OURS, 60 * "-"), row("random", better)) == {(COLD, ACCURACY, "random"), (WARM, ACCURACY, "random")}
    slow = {(WARM, "p50 latency, ms", "random"), (WARM, "p95 latency, ms", "random")}
    assert losses_of(row(OURS, better, latency_ms=300), row("random", better)) == slow


def test_standing__counts_the_thirds_of_the_questions() -> None:
    shown = standings.standings([(Job("gray", 1, 4, 1), [row(OURS, 10 * "+-" + 20 * "-" + 20 * "+", doubted=True)])])[0]
    cold, warm = shown.windows[COLD], shown.windows[WARM]
    assert (cold.questions, cold.right, cold.doubted) == (20, 10, 10)
    assert (warm.questions, warm.right, warm.doubted) == (20, 20, 0)
    assert cold.low < 0.5 < cold.high
    assert (cold.low, cold.high) == pytest.approx((0.2993, 0.7007), abs=1e-3)
    assert shown.tokens == shown.tokens_all == EASY
    assert (shown.messages_all, shown.kilobytes) == pytest.approx((10 / 60, 0.9 / 60))


def test_reasons__are_given_for_what_was_lost_and_for_nothing_else() -> None:
    shown = standings.standings([(Job("healthy", 1, 4, 1), [row(OURS, 60 * "+", tokens=3), row("random", 60 * "+")])])
    assert list(standings.reasons(standings.losses(shown))) == ["tokens"]
    assert standings.reasons([]) == {}
    assert {f"{ACCURACY}, {COLD}", f"{ACCURACY}, {WARM}", *COSTS} == set(standings.REASONS)


# --- The page and the command


class Loaded(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset") and value and not value.startswith("#"):
                self.fetched.append(value)


def test_page__loads_nothing_and_says_where_ours_loses(found: list[tuple[Job, list[Row]]]) -> None:
    text = compare_page.page(found, "simnet compare --seeds 1..1")
    assert compare_page.page(found, "simnet compare --seeds 1..1") == text
    loaded = Loaded()
    loaded.feed(text)
    assert loaded.fetched == []
    assert not loaded.tags & {"script", "link", "img", "iframe", "object"}
    assert not re.findall(r"url\((?!#)|@import", text)
    shown = standings.standings(found)
    for each in standings.losses(shown):
        told = standings.beaten(each) if each.measure == ACCURACY else f"{standings.figure(each, each.theirs)} against "
        assert told in text
    for way in WAYS:
        assert way.about in text
    assert compare.digest(found) in text
    assert "simnet compare --seeds 1..1" in text
    # A table's row for ours and each other policy at each budget.
    assert text.count("<tr><th>") + text.count('<tr class="ours">') >= len(found[0][1])
    assert text.count("<svg") == 2


def test_page__of_a_comparison_that_ours_wins_says_so() -> None:
    rows = [row(OURS, 60 * "+"), row("random", 60 * "-")]
    assert "Nowhere, in these runs." in compare_page.page([(Job("healthy", 1, 16, 1), rows)], "x")


@pytest.mark.parametrize(
    ("argv", "said_"),
    [
        (["--nodes", "3"], "--nodes must be 12 or more, --minutes 3 or more"),
        (["--minutes", "1"], "--nodes must be 12 or more, --minutes 3 or more"),
        (["--seeds", "3"], "--seeds is A..B"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--out", "none/x.html"], "cannot write none/x.html"),
        (["--outt", "x"], "did you mean --out?"),
    ],
)
def test_usage__of_compare_is_said_in_a_line(
    argv: list[str], said_: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *argv]) == cli.USAGE
    assert said_ in capsys.readouterr().err


def test_compare__prints_a_table_and_writes_the_page(
    found: list[tuple[Job, list[Row]]], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int | None]] = []

    def compared(work: list[Job], workers: int | None) -> list[tuple[Job, list[Row]]]:
        asked.append((len(work), workers))
        return found

    monkeypatch.setattr(compare, "compared", compared)
    file = tmp_path / "page.html"
    assert cli.main(["compare", "--seeds", "1..3", "--jobs", "2", "--out", str(file)]) == cli.OK
    shown = capsys.readouterr().out
    assert asked == [(3 * len(CONDITIONS), 2)]
    assert f"digest of all: {compare.digest(found)}" in shown
    assert "repeat it: simnet compare --seeds 1..3 --nodes 20 --minutes 4" in shown
    assert all(way.name in shown for way in WAYS)
    assert "<h3>Where ours loses</h3>" in file.read_text(encoding="utf-8")
    assert cli.main(["compare", "--json", "--out", str(file)]) == cli.OK
    assert '"standings"' in capsys.readouterr().out
