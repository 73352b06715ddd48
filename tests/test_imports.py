"""Imported evidence: what others' audits add, and that lies move nobody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import (
    EVIDENCE_ONE,
    IMPORT_AUTHORS_MAX,
    IMPORT_DAYS_MAX,
    IMPORT_MAX,
    IMPORT_PAIRS_MAX,
)
from protocol.errors import LocalProtocolError
from protocol.evidence import Counts, EvidenceBook
from protocol.imports import Imports

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
ME = b"\xee" * 32


def peer(number: int) -> bytes:
    return b"peer" + number.to_bytes(28, "big")


def author(number: int) -> bytes:
    return b"author" + number.to_bytes(26, "big")


def told(subject: bytes, hits: int, misses: int = 0) -> list[tuple[bytes, str, str]]:
    return [(subject, "arith", "hit")] * hits + [(subject, "arith", "miss")] * misses


HONEST = [verdict for number in range(16) for verdict in told(peer(number), *((3, 0) if number < 8 else (0, 3)))]


def known(auditors: tuple[bytes, ...] = ()) -> tuple[EvidenceBook, Imports]:
    """A node whose own audits found eight peers strong and eight weak."""
    own = EvidenceBook()
    for number in range(16):
        for _ in range(5):
            own.add(peer(number), "arith", "hit" if number < 8 else "miss", NOW_MS)
    return own, Imports(own, ME, auditors)


def audit(own: EvidenceBook, subject: bytes, hits: int, misses: int = 0) -> None:
    for _, _, verdict in told(subject, hits, misses):
        own.add(subject, "arith", verdict, NOW_MS)


def counts(imports: Imports, subject: bytes, at_ms: int = NOW_MS) -> Counts:
    return imports.counts(subject, "arith", at_ms)


def test_import__adds_to_ones_own_audits_once_the_author_agreed_on_shared_peers() -> None:
    own, imports = known()
    subject = peer(99)
    audit(own, subject, 2)
    imports.add(author(1), told(subject, 5), NOW_MS, 7)
    assert counts(imports, subject) == Counts()
    imports.add(author(1), HONEST, NOW_MS, 9)
    assert EVIDENCE_ONE < counts(imports, subject).hits <= 2 * EVIDENCE_ONE
    (part,) = imports.parts(subject, "arith", NOW_MS)
    assert (part.author, part.told, part.entries) == (author(1), Counts(5 * EVIDENCE_ONE, 0), (7,))
    assert part.agreement.trust > 0


def test_import__gives_no_voice_without_ones_own_audits_and_says_whom_to_audit_first() -> None:
    _, imports = known()
    imports.add(author(1), HONEST + told(peer(99), 5), NOW_MS, 1)
    assert counts(imports, peer(99)) == Counts()
    assert imports.recommended(peer(99), "arith", NOW_MS).hits > EVIDENCE_ONE


@pytest.mark.parametrize("honest", [0, 10, 100])
def test_ring__of_a_hundred_praisers_gains_nothing(honest: int) -> None:
    """Also when some of them reported honestly first: praise of whom nobody else audited gives no voice."""
    own, imports = known()
    ring = [author(number) for number in range(100)]
    for number, member in enumerate(ring[:IMPORT_AUTHORS_MAX]):
        if number < honest:
            imports.add(member, HONEST, NOW_MS, 1)
        imports.add(member, [verdict for other in ring[:64] for verdict in told(other, 8)], NOW_MS, 2)
    for member in ring:
        assert counts(imports, member) == Counts()
        # Who then fails the audits of this node has no more than it earned itself.
        audit(own, member, 0, 3)
        assert counts(imports, member) == Counts()
    for member in ring[:honest]:
        assert imports.agreement(member, NOW_MS).trust < 8, "praise of whom own audits found weak costs its author its trust"


@settings(max_examples=40)
@given(
    st.integers(0, 8),
    st.integers(0, 8),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=8),
)
def test_import__is_never_more_than_ones_own_nor_than_the_cap(
    hits: int, misses: int, says: list[tuple[int, int, int, bool]]
) -> None:
    """However many authors speak, or one splits itself into."""
    own, imports = known()
    audit(own, peer(99), hits, misses)
    for number, right, wrong, honest in says:
        imports.add(author(number), (HONEST if honest else []) + told(peer(99), right, wrong), NOW_MS, 1)
    assert counts(imports, peer(99)).total <= min(hits + misses, IMPORT_MAX) * EVIDENCE_ONE


@pytest.mark.parametrize("before", [[], HONEST])
def test_slanderer__moves_nobody_whom_own_audits_found_strong(before: list[tuple[bytes, str, str]]) -> None:
    own, imports = known()
    imports.add(author(1), before, NOW_MS, 1)
    victim = peer(0)
    weight = own.counts(victim, "arith", NOW_MS).weight(10)
    imports.add(author(1), told(victim, 0, 20), NOW_MS, 2)
    assert counts(imports, victim) == Counts()
    assert (own.counts(victim, "arith", NOW_MS) + counts(imports, victim)).weight(10) == weight
    (part,) = imports.parts(victim, "arith", NOW_MS)
    assert part.contradicted


def test_slanderer__with_only_failures_is_not_believed_of_anybody() -> None:
    own, imports = known()
    newcomer = peer(99)
    audit(own, newcomer, 2)
    imports.add(author(1), [verdict for number in range(16) for verdict in told(peer(number), 0, 4)], NOW_MS, 1)
    imports.add(author(1), told(newcomer, 0, 9), NOW_MS, 2)
    assert imports.agreement(author(1), NOW_MS).trust == 0
    assert counts(imports, newcomer) == Counts()


def test_import__of_what_an_author_says_of_itself_is_nothing_nor_of_what_this_node_said() -> None:
    _, imports = known()
    imports.add(author(1), told(author(1), 9), NOW_MS, 1)
    assert imports.add(ME, told(peer(1), 9), NOW_MS, 1) == []
    assert imports.authors() == [author(1)]
    assert imports.parts(author(1), "arith", NOW_MS) == ()


def test_auditor__of_the_network_is_believed_without_own_audits_until_it_disagrees() -> None:
    own, imports = known((author(1),))
    imports.add(author(1), told(peer(99), 9), NOW_MS, 1)
    assert EVIDENCE_ONE < counts(imports, peer(99)).hits < IMPORT_MAX * EVIDENCE_ONE
    lies = [verdict for number in range(16) for verdict in told(peer(number), *((0, 3) if number < 8 else (3, 0)))]
    before = counts(imports, peer(99)).hits
    imports.add(author(1), lies, NOW_MS, 2)
    assert counts(imports, peer(99)).hits < before // 2
    audit(own, peer(99), 0, 3)
    assert counts(imports, peer(99)) == Counts()


def test_import__decays_like_ones_own() -> None:
    own, imports = known()
    audit(own, peer(99), 9)
    imports.add(author(1), HONEST + told(peer(99), 2), NOW_MS, 1)
    seen = [counts(imports, peer(99), NOW_MS + days * DAY_MS).hits for days in (0, 30, 400)]
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > 0 == seen[-1]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["hit", "miss", "abstained"]), st.integers(0, 40)))
)
def test_restore__gives_back_what_add_persisted(says: list[tuple[int, int, str, int]]) -> None:
    own, imports = known()
    disk: dict[bytes, bytes] = {}
    for number, subject, verdict, day in says:
        for key, value in imports.add(author(number), [(peer(subject), "arith", verdict)], NOW_MS + day * DAY_MS, day):
            assert value is not None
            disk[key] = value
    other = Imports(own, ME)
    for key, value in disk.items():
        other.restore(key, value)
    at_ms = NOW_MS + 40 * DAY_MS
    assert other.authors() == imports.authors()
    for subject in range(4):
        assert other.parts(peer(subject), "arith", at_ms) == imports.parts(peer(subject), "arith", at_ms)


def test_restore__refuses_what_is_damaged_and_more_authors_than_are_kept() -> None:
    _, imports = known()
    row, last = Imports(EvidenceBook(), ME).add(author(0), told(peer(0), 1), NOW_MS, 1)
    assert row[1] is not None
    assert last[1] is not None
    for key, value in (
        (b"", row[1]),
        (row[0][:40], row[1]),
        (row[0][:64], row[1]),
        (author(0), b""),
        (author(0), b"\xff"),
        (author(0), row[1]),
        (author(0)[:9], last[1]),
    ):
        with pytest.raises(LocalProtocolError):
            imports.restore(key, value)
    assert imports.authors() == []
    for number in range(IMPORT_AUTHORS_MAX):
        imports.restore(author(number) + row[0][32:], row[1])
    with pytest.raises(LocalProtocolError):
        imports.restore(author(IMPORT_AUTHORS_MAX) + row[0][32:], row[1])


def test_imports__are_bounded_and_made_up_authors_crowd_out_nobody_trusted() -> None:
    _, imports = known()
    disk: dict[bytes, bytes | None] = dict(imports.add(author(0), HONEST, NOW_MS, 1))
    for number in range(1, IMPORT_AUTHORS_MAX + 20):
        disk |= dict(imports.add(author(number), told(peer(50), 1), NOW_MS, 1))
    assert len(imports.authors()) == IMPORT_AUTHORS_MAX
    assert imports.agreement(author(0), NOW_MS).trust > 0
    assert {key[:32] for key, value in disk.items() if value is not None} == set(imports.authors())
    for number in range(IMPORT_PAIRS_MAX + 10):
        disk |= dict(imports.add(author(0), told(peer(1_000 + number), 1), NOW_MS, 1))
    for day in range(IMPORT_DAYS_MAX + 5):
        rows = imports.add(author(0), told(peer(0), 1), NOW_MS + day * DAY_MS, day)
    assert sum(key.startswith(author(0)) and value is not None for key, value in disk.items()) <= IMPORT_PAIRS_MAX + 1
    assert rows[0][1] is not None
    assert len(rows[0][1]) < 20 * (IMPORT_DAYS_MAX + 2)


def test_opening__that_was_accounted_is_known_after_a_restart() -> None:
    own, imports = known()
    assert imports.accounted(author(1)) == -1
    rows = [row for number in (4, 9) for row in imports.add(author(1), told(peer(1), 1), NOW_MS, number)]
    other = Imports(own, ME)
    for key, value in rows:
        assert value is not None
        other.restore(key, value)
    assert other.accounted(author(1)) == imports.accounted(author(1)) == 9
    imports.drop(author(1))
    assert imports.accounted(author(1)) == -1


def test_dropped_author__is_forgotten() -> None:
    own, imports = known()
    audit(own, peer(99), 2)
    rows = imports.add(author(1), HONEST + told(peer(99), 2), NOW_MS, 1)
    assert counts(imports, peer(99)).any
    assert {key for key, _ in imports.drop(author(1))} == {key for key, _ in rows}
    assert counts(imports, peer(99)) == Counts()
    assert imports.drop(author(1)) == []


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["own", "told", "dropped", "asked", "next day"]),
        st.integers(1, 3),
        st.integers(0, 5),
        st.sampled_from(["hit", "miss"]),
    ),
    max_size=60,
)


@given(_STEPS)
def test_import__step_by_step_counts_what_all_of_it_at_once_counts(steps: list[tuple[str, int, int, str]]) -> None:
    own, at_ms = EvidenceBook(), NOW_MS
    imports = Imports(own, ME, (author(3),))
    rows: dict[bytes, bytes] = {}
    for number, (step, whose, subject, verdict) in enumerate(steps):
        changed: list[tuple[bytes, bytes | None]] = []
        if step == "own":
            for _ in range(3):
                own.add(peer(subject), "arith", verdict, at_ms)
        elif step == "told":
            changed = imports.add(author(whose), [(peer(subject), "arith", verdict)] * 3, at_ms, number)
        elif step == "dropped":
            changed = imports.drop(author(whose))
        elif step == "asked":
            counts(imports, peer(subject), at_ms)
        else:
            at_ms += 20 * DAY_MS
        for key, value in changed:
            rows.pop(key, None)
            if value is not None:
                rows[key] = value
    again = Imports(own, ME, (author(3),))
    for key, value in rows.items():
        again.restore(key, value)
    for subject in range(6):
        assert counts(imports, peer(subject), at_ms) == counts(again, peer(subject), at_ms)
        assert imports.parts(peer(subject), "arith", at_ms) == again.parts(peer(subject), "arith", at_ms)
    for whose in range(1, 4):
        assert imports.agreement(author(whose), at_ms) == again.agreement(author(whose), at_ms)
