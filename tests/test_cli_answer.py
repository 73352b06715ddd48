"""How an outcome reads: the whole text for fixed outcomes, and nothing of a peer's text that steers a terminal."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.answer import details, explain, no_answer, show_answer
from node.cli.terminal import clean, clean_lines

ALICE, BRUNO, CARLA, DORIS, EMILE = (
    f"12D3KooW{'x' * 36}{name}" for name in ("aliceAAA", "brunoBBB", "carlaCCC", "dorisDDD", "emileEEE")
)
NAMES = {ALICE: "Tutti arithmetic, this node", BRUNO: "arith", CARLA: "generalist", DORIS: "weak"}


def bid(peer: str, hits: float, misses: float, weight: float, *, awarded: bool, queued: int = 0) -> dict[str, Any]:
    return {
        "peer_id": peer,
        "queued": queued,
        "tokens_per_s": 400,
        "hits": hits,
        "misses": misses,
        "imported_hits": 0.0,
        "imported_misses": 0.0,
        "weight": weight,
        "awarded": awarded,
        "late": False,
        "cluster": None,
    }


def vote(peer: str, answer: str | None, weight: float, *, agrees: bool) -> dict[str, Any]:
    return {
        "peer_id": peer,
        "answer": answer,
        "weight": weight,
        "agrees": agrees,
        "round": 0,
        "revised": False,
        "first_answer": None,
        "inference_ms": 90,
        "tokens": 60,
    }


VOTED: dict[str, Any] = {
    "task": "00" * 16,
    "outcome": "answered",
    "voted": True,
    "answer": "42",
    "skill": "arith",
    "skill_given": False,
    "similarity": 0.87,
    "margin": 0.74,
    "support": [{"answer": "42", "weight": 12.92}, {"answer": "41", "weight": 1.93}],
    "earned": True,
    "dissent": 1,
    "abstained": 1,
    "coverage": 1.0,
    "author": None,
    "ranking": [],
    "judgements": [],
    "rounds": 1,
    "gate": "committee",
    "stopped": False,
    "further": 0,
    "refined": 0,
    "bids": [
        bid(ALICE, 10.0, 0.0, 6.46, awarded=True),
        bid(BRUNO, 10.0, 0.0, 6.46, awarded=True, queued=2),
        bid(CARLA, 4.0, 5.9, 1.93, awarded=True),
        bid(DORIS, 1.0, 9.0, 0.0, awarded=True),
        bid(EMILE, 0.0, 0.0, 0.0, awarded=False),
    ],
    "award": {
        "beacon": "11" * 32,
        "view": "22" * 32,
        "seats": [
            {"seat": 0, "peer_id": ALICE, "state": "answered"},
            {"seat": 2, "peer_id": EMILE, "state": "connection lost"},
            {"seat": 1, "peer_id": BRUNO, "state": "answered"},
            {"seat": 2, "peer_id": CARLA, "state": "answered"},
            {"seat": 3, "peer_id": DORIS, "state": "abstained"},
        ],
    },
    "votes": [
        vote(ALICE, "42", 6.46, agrees=True),
        vote(BRUNO, "42", 6.46, agrees=True),
        vote(CARLA, "41", 1.93, agrees=False),
        vote(DORIS, None, 0.0, agrees=False),
    ],
    "plans": [],
    "calibration_ms": 12,
    "latency_ms": 182,
    "inference_ms": 95,
    "messages": 27,
    "bytes": 9_140,
    "tokens": 240,
}

SHOWN = """\
42

voted on skill arith: margin 0.74, 3 votes, 1 dissenting, 1 abstained
  42  weight 12.92
  41  weight 1.93
votes:
  aliceAAA  Tutti arithmetic, this node  42         weight 6.46
  brunoBBB  arith                        42         weight 6.46
  carlaCCC  generalist                   41         weight 1.93  dissents
  dorisDDD  weak                         abstained  weight 0.00
failed leases:
  emileEEE    connection lost
cost: 182 ms (95 ms of it inference, 12 ms waiting for audits), 27 messages of 9.1 kB, 240 tokens"""

EXPLAINED = """\
Skill: arith, because an example of that skill is nearest to the question (similarity 0.87 of 1).
Bids: 5 nodes bid. Seats go first to nodes with weight, by expected accuracy less a little for queued work, and last to those \
without.
Weight comes from audits, never from claims:
  aliceAAA (Tutti arithmetic, this node): 10 of 10 audits right, so weight 6.46; nothing queued: a seat.
  brunoBBB (arith): 10 of 10 audits right, so weight 6.46; 2 queued: a seat.
  carlaCCC (generalist): 4 of 9.9 audits right, so weight 1.93; nothing queued: a seat.
  dorisDDD (weak): 1 of 10 audits right, no better than guessing, so weight 0.00; nothing queued: a seat.
  emileEEE: no audits yet, so weight 0.00; nothing queued: a seat.
Failed: emileEEE: connection lost; its seat went to carlaCCC (generalist).
Result: 42 got 6.46 + 6.46 = 12.92, 41 got 1.93; the lead is 0.74 of all. Abstentions (1) count for nobody."""


def outcome(**changes: object) -> dict[str, Any]:
    return copy.deepcopy(VOTED) | changes


def test_answer__reads_like_this() -> None:
    assert "\n".join(show_answer(VOTED, NAMES)) == SHOWN


def test_explanation__reads_like_this() -> None:
    assert "\n".join(explain(VOTED, NAMES)) == EXPLAINED


def test_explanation__of_voters_who_repeat_each_others_mistakes_names_one_voice() -> None:
    bids = [row | {"cluster": 0} if row["peer_id"] in (ALICE, BRUNO) else row for row in VOTED["bids"]]
    shared = outcome(bids=bids, support=[{"answer": "42", "weight": 6.46}, {"answer": "41", "weight": 1.93}], margin=0.53)
    assert "42 got (one voice: the most of 6.46, 6.46) = 6.46, 41 got 1.93;" in explain(shared, NAMES)[-1]


UNEARNED = outcome(
    outcome="unearned",
    earned=False,
    margin=0.33,
    abstained=0,
    skill_given=True,
    support=[{"answer": "42", "weight": 2}, {"answer": "41", "weight": 1}],
    bids=[bid(peer, 0.0, 0.0, 0.0, awarded=peer != DORIS) for peer in (ALICE, BRUNO, CARLA, DORIS)],
    votes=[vote(peer, answer, 0.0, agrees=answer == "42") for peer, answer in ((ALICE, "42"), (BRUNO, "42"), (CARLA, "41"))],
    award={
        "beacon": "",
        "view": "",
        "seats": [{"seat": i, "peer_id": p, "state": "answered"} for i, p in enumerate((ALICE, BRUNO, CARLA))],
    },
    calibration_ms=0,
)


def test_unearned__says_that_plurality_decided() -> None:
    shown = show_answer(UNEARNED, {})
    assert shown[2].startswith("unearned: nobody who answered has earned weight yet, so most votes won; margin 0.33, 3 votes, ")
    assert shown[3:5] == ["  42  2 votes", "  41  1 vote"]
    reasons = explain(UNEARNED, {})
    assert reasons[0] == "Skill: arith, because it was given with the question."
    assert reasons[-2] == "  dorisDDD: no audits yet, so weight 0.00; nothing queued: no seat."
    assert reasons[-1] == (
        "Result: unearned, since nobody who answered has weight yet and each vote counted one; "
        "42 got 2 votes, 41 got 1 vote; the lead is 0.33 of all."
    )


FREE = outcome(
    voted=False,
    skill="general",
    similarity=0.11,
    answer="old pond\nfrogs jump in\nsound of water",
    margin=None,
    support=[],
    earned=False,
    dissent=0,
    abstained=0,
    coverage=None,
    author=BRUNO,
    bids=[bid(ALICE, 10.0, 0.0, 6.46, awarded=True), bid(BRUNO, 9.0, 1.0, 3.0, awarded=True)],
    award={
        "beacon": "",
        "view": "",
        "seats": [{"seat": 0, "peer_id": ALICE, "state": "lease expired"}, {"seat": 0, "peer_id": BRUNO, "state": "answered"}],
    },
    votes=[vote(BRUNO, "old pond frogs jump in sound of water", 3.0, agrees=False)],
)


def test_free_text__is_labelled_not_voted_with_its_author() -> None:
    shown = show_answer(FREE, NAMES)
    assert shown[:4] == ["old pond", "  frogs jump in", "  sound of water", ""]
    assert shown[4] == "not voted: free text, as brunoBBB (arith) wrote it"
    assert "dissents" not in "\n".join(shown)
    reasons = explain(FREE, NAMES)
    assert (
        reasons[0] == "Skill: general, because the question is like none of this network's examples (the nearest: 0.11 of 1)."
    )
    assert "else to the node with most" in reasons[1]
    assert reasons[-2] == "Failed: aliceAAA (Tutti arithmetic, this node): lease expired; its seat went to brunoBBB (arith)."
    assert reasons[-1] == "Result: not voted; the text by brunoBBB (arith) is given as it is, and too few judged it."


def test_ranked_text__says_who_was_best_to_whom() -> None:
    judged = [
        {"peer_id": ALICE, "first": BRUNO, "second": CARLA, "preferred": CARLA, "weight": 6.46},
        {"peer_id": BRUNO, "first": CARLA, "second": ALICE, "preferred": CARLA, "weight": 6.46},
        {"peer_id": CARLA, "first": BRUNO, "second": ALICE, "preferred": None, "weight": 1.93},
    ]
    points = ((CARLA, 4, 0.6), (ALICE, 1, 0.2), (BRUNO, 1, 0.2))
    ranking = [{"peer_id": peer, "points": count, "strength": strength} for peer, count, strength in points]
    ended = FREE | {"voted": True, "author": CARLA, "ranking": ranking, "judgements": judged}
    shown = show_answer(ended, NAMES)
    assert shown[4:8] == [
        "voted: free text by carlaCCC (generalist), the best in pairs to 2 members",
        "  carlaCCC  generalist                   4 points  strength 0.60",
        "  aliceAAA  Tutti arithmetic, this node  1 point   strength 0.20",
        "  brunoBBB  arith                        1 point   strength 0.20",
    ]
    assert explain(ended, NAMES)[-1] == (
        "Result: the text by carlaCCC (generalist) got 4 points in pairs that members judged who wrote neither "
        "(two for each pair won, one for a tie); aliceAAA (Tutti arithmetic, this node) 1, brunoBBB (arith) 1."
    )


SEATS = VOTED["award"]["seats"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"gate": "alone"},
            (
                "One alone: aliceAAA (Tutti arithmetic, this node), which outweighs all the others together, or is nearly "
                "always right and has no equal. One in 8 such questions goes to the whole committee all the same."
            ),
        ),
        ({"gate": "checked"}, "Cross-check: one node could have answered alone, but by lot the whole committee was asked."),
        ({"gate": "widened"}, "Committee: one node was asked alone and brought no answer, so the others were asked after it."),
        (
            {"stopped": True, "award": {"seats": [*SEATS[:3], {"seat": 2, "peer_id": CARLA, "state": "not needed"}]}},
            "Early stop: nothing that carlaCCC (generalist) could say would have changed the answer, so nobody waited for it.",
        ),
        ({"further": 2}, "Further seats: the margin was thin, so 2 more nodes got a seat."),
        (
            {"refined": 1},
            "Revisions: 1 time those who answered saw the others' answers and answered again; nobody changed its answer.",
        ),
        (
            {"refined": 2, "votes": [vote(ALICE, "42", 6.46, agrees=True) | {"revised": True, "first_answer": "41"}]},
            (
                "Revisions: 2 times those who answered saw the others' answers and answered again; "
                "aliceAAA (Tutti arithmetic, this node) said 41 first, then 42."
            ),
        ),
        ({"coverage": 0.7}, "Coverage: 0.70 of the weight that was asked gave an answer."),
    ],
    ids=["alone", "checked", "widened", "stopped", "further", "refined", "changed", "coverage"],
)
def test_explanation__says_what_went_another_way(changes: dict[str, Any], sentence: str) -> None:
    ended = outcome(**changes)
    assert sentence in explain(ended, NAMES)
    assert sentence not in explain(VOTED, NAMES)


def test_answer__names_who_was_not_waited_for_apart_from_who_failed() -> None:
    seats = [*SEATS[:3], {"seat": 2, "peer_id": CARLA, "state": "not needed"}]
    shown = "\n".join(details(outcome(award={"seats": seats}, coverage=0.87), NAMES))
    assert "1 abstained, coverage 0.87\n" in shown
    assert "\nnot waited for: carlaCCC (generalist)\nfailed leases:\n  emileEEE    connection lost\n" in shown


NOTHING: dict[str, Any] = {"answer": None, "votes": [], "support": [], "margin": None, "earned": False, "abstained": 0}


@pytest.mark.parametrize(
    ("kind", "states", "start"),
    [
        ("no bids", [], "no answer: nobody bid on this question (skill arith)"),
        ("deadline", ["deadline"], "no answer: the deadline came first"),
        ("all failed", ["connection lost", "lease expired"], "no answer: every node that was asked failed"),
        ("all failed", ["abstained", "abstained"], "no answer: every node that was asked abstained"),
        ("all failed", ["declined: paused", "declined: cap"], "no answer: every node that was asked takes no work now"),
    ],
)
def test_no_answer__says_why_and_what_to_do(kind: str, states: list[str], start: str) -> None:
    seats = [{"seat": seat, "peer_id": ALICE, "state": state} for seat, state in enumerate(states)]
    ended = outcome(outcome=kind, award={"beacon": "", "view": "", "seats": seats}, bids=[], **NOTHING)
    assert no_answer(ended).startswith(start)
    assert show_answer(ended, NAMES)[0] == no_answer(ended)
    assert details(ended, NAMES)[-1].startswith("cost: 182 ms")
    assert no_answer(ended) in explain(ended, NAMES)[-1]


def test_tie__is_told_to_have_been_broken_by_a_hash() -> None:
    tied = outcome(margin=0.0, support=[{"answer": "42", "weight": 6.46}, {"answer": "41", "weight": 6.46}])
    assert "a tie, which a hash of the task and the answer broke" in explain(tied, NAMES)[-1]


HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31mred\r\n\u202evoted\x00"


def test_weight__says_how_many_audits_were_of_others() -> None:
    told = copy.deepcopy(VOTED)
    told["bids"][0] |= {"hits": 12.0, "imported_hits": 2.0}
    assert "12 of 12 audits right (2 of them by others), so weight" in "\n".join(explain(told, NAMES))


def test_text_of_peers__cannot_steer_the_terminal() -> None:
    attacked = outcome(
        answer=HOSTILE,
        support=[{"answer": HOSTILE, "weight": 1.0}],
        votes=[vote(HOSTILE, HOSTILE, 1.0, agrees=True)],
        bids=[bid(HOSTILE, 1.0, 0.0, 1.0, awarded=True)],
        skill=HOSTILE,
        award={"beacon": "", "view": "", "seats": [{"seat": 0, "peer_id": HOSTILE, "state": f"declined: {HOSTILE}"}]},
    )
    for voted in (True, False):
        lines = [*show_answer({**attacked, "voted": voted}, {HOSTILE: HOSTILE}), *explain(attacked, {HOSTILE: HOSTILE})]
        assert all(line.isprintable() for line in lines)
        assert "owned" not in "\n".join(lines)


@given(st.text())
def test_clean__leaves_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_clean__leaves_printable_text_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(st.text())
def test_lines__after_the_first_cannot_pass_for_ours(text: str) -> None:
    lines = clean_lines(text)
    assert all(line.isprintable() for line in lines)
    assert all(line == "" or line.startswith("  ") for line in lines[1:])


def test_late_bid__is_told_to_have_come_late_and_not_to_lack_audits() -> None:
    late = outcome(bids=[*VOTED["bids"][:-1], {**bid(EMILE, 0.0, 0.0, 0.0, awarded=False), "late": True}])
    line = next(line for line in explain(late, NAMES) if EMILE[-8:] in line)
    assert line.endswith("bid after the window had closed: no seat.")
