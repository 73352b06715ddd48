"""Who makes another's mistakes shares its voice: exact chances, no order, nothing that a peer declares."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.audit_records import AuditRecords, wrong_hash
from protocol.clusters import AuditRecord, _is_beyond_doubt, partition
from protocol.constants import AUDIT_RECORDS_MAX, CLUSTER_DOUBT
from protocol.errors import LocalProtocolError

CHANCE = 9


def peer(number: int) -> bytes:
    return bytes([number]) * 32


def records(answers: dict[int, str], chance: int = CHANCE) -> list[AuditRecord]:
    """What each peer answered to the audits, a letter each: `.` is right, `-` nothing, others are wrong answers."""
    return [
        AuditRecord(audit.to_bytes(16, "big"), peer(number), chance, None if letter == "." else wrong_hash(letter))
        for number, letters in answers.items()
        for audit, letter in enumerate(letters)
        if letter != "-"
    ]


def members(found: dict[bytes, int]) -> dict[int, int]:
    return {key[0]: number for key, number in found.items()}


any_records = st.dictionaries(st.integers(1, 6), st.text("..abc-", min_size=12, max_size=12), max_size=6).map(records)


def test_peers__who_make_the_same_mistakes_are_one_cluster() -> None:
    answers = {1: "abcabcabc...", 2: "abcabcabc...", 3: "cabbcacab...", 4: "............"}
    assert members(partition(records(answers))) == {1: 0, 2: 0}


def test_right_answers__are_no_likeness() -> None:
    assert partition(records(dict.fromkeys(range(1, 21), "." * 60))) == {}


def test_few_coincidences__are_chance() -> None:
    # Two of two have a chance of 9^-2, which one pair in a hundred shows.
    assert partition(records({1: "ab......", 2: "ab......"})) == {}
    assert members(partition(records({1: "abc.....", 2: "abc....."}))) == {1: 0, 2: 0}


def test_names__cannot_be_made_to_bring_a_coincidence_about() -> None:
    """The more pairs are looked at, the more each must show."""
    pair = {1: "abc.....", 2: "abc....."}
    crowd = pair | {number: "defghi"[number - 3] * 3 + "....." for number in range(3, 9)}
    assert members(partition(records(pair))) == {1: 0, 2: 0}
    assert partition(records(crowd)) == {}


def test_chain__of_joined_pairs_is_one_cluster() -> None:
    answers = {1: "abcab-----", 2: "abcababcab", 3: "-----abcab"}
    assert members(partition(records(answers))) == {1: 0, 2: 0, 3: 0}


def test_colluders__who_lie_together_on_a_part_and_else_err_by_themselves_are_found() -> None:
    draws = random.Random(5)  # noqa: S311  no secret
    lies = "".join("x" if draws.random() < 0.25 else "." for _ in range(64))

    def alone(letters: str) -> str:
        return "".join(draws.choice("abcdefgh.........") if letter == "." else letter for letter in letters)

    answers = {number: alone(lies) for number in range(1, 9)} | {number: alone("." * 64) for number in range(9, 13)}
    assert members(partition(records(answers))) == dict.fromkeys(range(1, 9), 0)


def test_two_options__leave_erring_together_as_the_only_likeness() -> None:
    chance = 1
    often = {1: "x" * 12 + "." * 12, 2: "x" * 12 + "." * 12}
    assert members(partition(records(often, chance))) == {1: 0, 2: 0}
    # Wrong together seven times and apart five: two ordinary models that find the same questions hard.
    ordinary = {1: "x" * 7 + "xx..." + "." * 12, 2: "x" * 7 + "..xxx" + "." * 12}
    assert partition(records(ordinary, chance)) == {}


def test_mimic__of_an_honest_peer_shares_its_voice() -> None:
    assert members(partition(records({7: "ab.c.abc", 3: "ab.c.abc"}))) == {3: 0, 7: 0}


def test_clusters__are_numbered_by_their_smallest_key() -> None:
    answers = {9: "abcabcab", 2: "abcabcab", 5: "hghghghg", 4: "hghghghg"}
    assert members(partition(records(answers))) == {2: 0, 9: 0, 4: 1, 5: 1}


@settings(max_examples=80)
@given(any_records, st.randoms(use_true_random=False))
def test_partition__depends_on_nothing_but_the_set_of_records(rows: list[AuditRecord], draws: random.Random) -> None:
    shuffled = rows * 2
    draws.shuffle(shuffled)
    assert partition(shuffled) == partition(rows)


@settings(max_examples=80)
@given(any_records)
def test_partition__has_clusters_of_two_and_more_numbered_without_gaps(rows: list[AuditRecord]) -> None:
    numbers = list(partition(rows).values())
    assert all(numbers.count(number) > 1 for number in numbers)
    assert set(numbers) == set(range(len(set(numbers))))


def test_record__holds_nothing_that_a_peer_declares() -> None:
    assert {field.name for field in fields(AuditRecord)} == {"audit", "peer", "chance", "wrong"}


def outcomes(trials: dict[int, int]) -> Iterator[tuple[int, Fraction]]:
    """Every course of the trials, with its successes and its probability."""
    chances = [chance for chance, count in trials.items() for _ in range(count)]
    for course in product((False, True), repeat=len(chances)):
        likely = Fraction(1)
        for success, chance in zip(course, chances, strict=True):
            likely *= Fraction(1, chance) if success else 1 - Fraction(1, chance)
        yield sum(course), likely


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([1, 2, 3, 9]), st.integers(1, 4), min_size=1, max_size=3).filter(
        lambda trials: sum(trials.values()) <= 9
    ),
    st.integers(0, 9),
    st.sampled_from([1, 3, 190]),
)
def test_chance__is_the_exact_upper_tail(trials: dict[int, int], successes: int, tests: int) -> None:
    tail = sum((likely for hits, likely in outcomes(trials) if hits >= successes), Fraction(0))
    possible = successes <= sum(trials.values())
    assert not possible or _is_beyond_doubt(trials, successes, tests) == (tail * tests * CLUSTER_DOUBT <= 1)


# --- What is kept


def kept(*answers: tuple[int, str, int, str | None]) -> tuple[AuditRecords, dict[bytes, bytes]]:
    found, disk = AuditRecords({"arith": 9, "logic": 1}), {}
    for number, skill, audit, wrong in answers:
        key, value = found.add(peer(number), skill, audit.to_bytes(16, "big"), wrong)
        disk[key] = value
    return found, disk


ALIKE = [(number, "arith", audit, f"{audit}") for number in (1, 2) for audit in range(8)]


def test_records__of_the_same_mistakes_give_a_cluster_and_forgotten_ones_none() -> None:
    found, disk = kept(*ALIKE, (3, "arith", 0, None))
    assert members(dict(found.clusters())) == {1: 0, 2: 0}
    assert found.forget(next(iter(disk)))
    assert not found.forget(next(iter(disk)))
    assert found.clusters() == {}


def test_records__come_back_as_they_were_persisted() -> None:
    found, disk = kept(*ALIKE, (3, "logic", 0, None))
    back = AuditRecords({"arith": 9, "logic": 1})
    for key, value in disk.items():
        back.restore(key, value)
    assert back.clusters() == found.clusters() != {}
    assert back.add(peer(1), "arith", bytes(16), None) == found.add(peer(1), "arith", bytes(16), None)


def test_records__of_a_skill_that_is_no_longer_audited_count_for_nothing() -> None:
    _, disk = kept(*ALIKE)
    back = AuditRecords({"logic": 1})
    for key, value in disk.items():
        back.restore(key, value)
    assert back.clusters() == {}


def test_records__keep_the_latest_audits_of_a_pair() -> None:
    found, _ = kept(*((1, "arith", audit, None) for audit in range(AUDIT_RECORDS_MAX + 5)))
    (taken,) = found._taken.values()
    assert list(taken) == [audit.to_bytes(16, "big") for audit in range(5, AUDIT_RECORDS_MAX + 5)]


def test_records__hold_no_answer() -> None:
    _, disk = kept((1, "arith", 0, "a secret answer"))
    assert b"secret" not in next(iter(disk.values()))


@pytest.mark.parametrize("spoil", [lambda value: value[:-1], lambda _: b"\x01", lambda _: b"\x91\x91\x01"])
def test_restore__refuses_a_damaged_entry(spoil: Callable[[bytes], bytes]) -> None:
    found, disk = kept((1, "arith", 0, "x"))
    ((key, value),) = disk.items()
    with pytest.raises(LocalProtocolError):
        found.restore(key, spoil(value))
