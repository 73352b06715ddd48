"""Parameters of a network: signed by its founder, strict when read, and what a revision means to an executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import exercises
from protocol.answers import canonical_answer
from protocol.canonical import Value
from protocol.constants import AUDITORS_MAX, ENVELOPE_SIZE_MAX, EXAMPLES_MAX, REVISION_MAX
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.genesis import Genesis
from protocol.identity import KeySigner, peer_id
from protocol.parameters import TINY_SKILLS, Parameters, Skill, preset

FOUNDER = KeySigner(b"f" * 32)
GENESIS = Genesis("choir", FOUNDER.public_key, b"n" * 16)
PARAMETERS = Parameters(GENESIS, 3, TINY_SKILLS)
SIGNATURE = PARAMETERS.signed_by(FOUNDER)
SKILL = Skill("number", 10, 64, ("What is 1 + 1?",), ("arith/add", "later/kind", "arith/later"))


def test_signature__holds_for_these_parameters_of_this_network_alone() -> None:
    PARAMETERS.check(SIGNATURE)
    other_network = Genesis("choir", FOUNDER.public_key, b"o" * 16)
    for other in (
        Parameters(GENESIS, 4, TINY_SKILLS),
        Parameters(GENESIS, 3, {}),
        Parameters(other_network, 3, TINY_SKILLS),
        Parameters(Genesis("choir", KeySigner(b"g" * 32).public_key, b"n" * 16), 3, TINY_SKILLS),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            other.check(SIGNATURE)
        assert caught.value.code == "signature"


def test_signature__only_the_founder_makes_one() -> None:
    with pytest.raises(LocalProtocolError, match="only the founder"):
        PARAMETERS.signed_by(KeySigner(b"g" * 32))
    with pytest.raises(RemoteProtocolError) as caught:
        preset("dev").check(SIGNATURE)
    assert caught.value.code == "key"


def test_parameters__read_back_are_the_same() -> None:
    again = Parameters.parse(GENESIS, PARAMETERS.body())
    assert again == PARAMETERS
    again.check(SIGNATURE)


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 0},
        {"revision": REVISION_MAX + 1},
        {"revision": True},
        {"revision": "1"},
        {"similarity_min": -1},
        {"similarity_min": 1_001},
        {"similarity_min": None},
        {"skills": []},
        {"skills": {"general": SKILL.body()}},
        {"skills": {"Arith": SKILL.body()}},
        {"skills": {"a\ud800": SKILL.body()}},
        {"skills": {"arith": {}}},
        {"skills": {"arith": None}},
        {"skills": {f"s{number}": SKILL.body() for number in range(33)}},
        {"more": 1},
    ],
)
def test_parameters__that_break_a_rule_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        Parameters.parse(GENESIS, PARAMETERS.body() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "poem"},
        {"options": 1},
        {"tokens_max": 5_000},
        {"examples": [""]},
        {"examples": ["x"] * (EXAMPLES_MAX + 1)},
        {"examples": ["\ud800"]},
        {"exercises": ["arith"]},
        {"exercises": ["arith/add/more"]},
        {"exercises": [["arith", "add"]]},
        {"exercises": "arith/add"},
    ],
)
def test_skill__that_breaks_a_rule_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        Parameters.parse(GENESIS, PARAMETERS.body() | {"skills": {"s": SKILL.body() | change}})


def test_parameters__too_large_to_be_signed_are_refused() -> None:
    large = Skill("text", 2, 64, ("x" * 500,) * EXAMPLES_MAX)
    with pytest.raises(LocalProtocolError, match=f"more than {ENVELOPE_SIZE_MAX}"):
        Parameters(GENESIS, 1, {"s": large})
    with pytest.raises(RemoteProtocolError):
        Parameters.parse(GENESIS, PARAMETERS.body() | {"skills": {"s": large.body()}})


def test_exercises__of_a_later_version_audit_nothing_and_break_nothing() -> None:
    assert SKILL.audited_by == (("arith", "add"),)


@pytest.mark.parametrize("answer", ["number", "list", "word", "choice", "plan", "text"])
def test_exercises__whose_answers_the_skill_cannot_hold_are_refused(answer: str) -> None:
    for skill, families in exercises.SKILLS.items():
        for family in families:
            golds = [exercises.generate(skill, 1 + seed % 3, seed, family).gold for seed in range(60)]
            wanted = answer == exercises.ANSWERS[skill] or (
                answer == "number" and all(canonical_answer(answer, gold) == gold for gold in golds)
            )
            body = PARAMETERS.body() | {"skills": {"s": Skill(answer, 10, 64, (), (f"{skill}/{family}",)).body()}}
            if wanted:
                assert Parameters.parse(GENESIS, body)
            else:
                with pytest.raises(RemoteProtocolError, match=f"s: the answers of {skill}/{family} are no {answer}"):
                    Parameters.parse(GENESIS, body)


AUDITORS = tuple(sorted(KeySigner(bytes([number]) * 32).public_key for number in (1, 2)))


def test_auditors__are_signed_with_the_parameters_and_absent_without() -> None:
    assert "auditors" not in PARAMETERS.body()
    named = replace(PARAMETERS, auditors=AUDITORS)
    assert named.body()["auditors"] == [peer_id(key) for key in AUDITORS]
    assert Parameters.parse(GENESIS, named.body()) == named
    signature = named.signed_by(FOUNDER)
    named.check(signature)
    with pytest.raises(RemoteProtocolError):
        PARAMETERS.check(signature)


@pytest.mark.parametrize(
    "auditors",
    [
        [],
        None,
        {},
        [1],
        ["1"],
        ["1" * 4_000],
        [peer_id(AUDITORS[0])] * 2,
        [peer_id(key) for key in reversed(AUDITORS)],
        [peer_id(AUDITORS[0])] * (AUDITORS_MAX + 1),
    ],
)
def test_auditors__of_another_form_are_refused(auditors: Value) -> None:
    with pytest.raises(RemoteProtocolError):
        Parameters.parse(GENESIS, PARAMETERS.body() | {"auditors": auditors})


FIELDS = ("auditors", "revision", "similarity_min", "skills", "more")
json_like: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(FIELDS), json_like),
    st.dictionaries(st.text(), json_like),
)
def test_parameters__of_any_values_give_parameters_or_the_peers_error(body: dict[str, Value], skill: dict[str, Value]) -> None:
    one_skill: dict[str, Value] = PARAMETERS.body() | {"skills": {"s": SKILL.body() | skill}}
    for fields in (body, one_skill):
        try:
            parsed = Parameters.parse(GENESIS, fields)
        except RemoteProtocolError:
            continue
        assert Parameters.parse(GENESIS, parsed.body()) == parsed


def test_presets__share_the_skills_of_the_packaged_models() -> None:
    skills: Mapping[str, Skill] = MappingProxyType(dict(TINY_SKILLS))
    assert preset("dev").skills == preset("local").skills == skills
