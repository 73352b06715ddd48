"""`tutti peers PEER --explain`: which evidence, from whom, how much, in sentences that follow from the core's own counts."""

from __future__ import annotations

import json

import pytest

from node.cli.evidence import explain_evidence
from node.evidence_report import evidence_json
from protocol.identity import peer_id
from tests.support import WALL_MS, Bench
from tests.test_core_clusters import known
from tests.test_faults import two_records
from tests.test_imported_audits import AUTHOR, STRONG, SUBJECT, WEAK, audited, batches, honest, ledger, reader, tell


def explained(bench: Bench, peer: bytes) -> str:
    return "\n".join(explain_evidence(evidence_json(bench.core, peer, bench.wall_ms)))


def told() -> Bench:
    bench = reader()
    tell(bench, AUTHOR, ledger(AUTHOR, honest(AUTHOR, (SUBJECT, True))))
    return bench


def test_explain__says_what_own_audits_found_and_what_others_add() -> None:
    bench = told()
    audited(bench, SUBJECT, 2)
    text = explained(bench, SUBJECT.public_key)
    author = peer_id(AUTHOR.public_key)[-8:]
    for part in (
        peer_id(SUBJECT.public_key),
        "Own audits: 2 of 2 audits right today; faded with age that is 2 right and 0 wrong.",
        f"{author}, a peer, found 3 right and 0 wrong (",
        "it agrees with this node on 8 of 8 peers found strong and 8 of 8 found weak",
        "and its vote weighs",
    ):
        assert part in text, part


def test_explain__without_own_audits_says_that_others_add_nothing() -> None:
    text = explained(told(), SUBJECT.public_key)
    assert "This node has not audited it yet." in text
    assert "Together the others add nothing" in text
    assert "its vote weighs 0.00" in text


def test_explain__says_what_own_audits_contradict() -> None:
    bench = reader()
    tell(bench, AUTHOR, ledger(AUTHOR, honest(AUTHOR) + batches([(STRONG[0], False)], 9, AUTHOR, 100)))
    assert "This node's own audits clearly say otherwise" in explained(bench, STRONG[0].public_key)
    assert "no better than guessing" in explained(bench, WEAK[0].public_key)


def test_explain__names_who_shares_its_voice() -> None:
    bench, others = known(3, alike=2)
    bench.wait(1)
    assert f"are those of {peer_id(others[1].public_key)[-8:]}, beyond chance" in explained(bench, others[0].public_key)
    assert "beyond chance" not in explained(bench, others[2].public_key)


def test_explain__of_a_peer_of_whom_nothing_is_known() -> None:
    bench = Bench()
    assert "nobody audited it" in explained(bench, SUBJECT.public_key)
    assert "this node itself" in explained(bench, bench.core.me)


def test_explain__gives_the_same_as_json() -> None:
    bench = told()
    audited(bench, SUBJECT, 3, 1)
    value = json.loads(json.dumps(evidence_json(bench.core, SUBJECT.public_key, bench.wall_ms)))
    skill = value["skills"]["arith"]
    assert skill["own"]["hits"] == 3
    assert skill["total"]["hits"] == pytest.approx(skill["own"]["hits"] + skill["imported"]["hits"], abs=0.11)
    assert skill["authors"][0]["trust"] > 0


def test_explain__names_what_is_proven_of_a_peer() -> None:
    bench = told()
    fault = two_records(SUBJECT)
    bench.core.faults.suspect(fault.kind, *fault.parts)
    text = explained(bench, SUBJECT.public_key)
    assert "signed two records with one sequence number, which is proven: its votes weigh nothing." in text
    assert evidence_json(bench.core, SUBJECT.public_key, bench.wall_ms)["faults"][0]["kind"] == "records"


def test_explain__of_a_successor_names_the_key_that_it_follows() -> None:
    value = evidence_json(told().core, SUBJECT.public_key, WALL_MS)
    assert (value["followed"], value["former"]) == (False, [])
    former = "\n".join(explain_evidence(value | {"former": [peer_id(AUTHOR.public_key)]}))
    assert f"It follows {peer_id(AUTHOR.public_key)[-8:]}, whose evidence counts for it as well" in former
    assert "Another key has followed this one" in "\n".join(explain_evidence(value | {"followed": True}))
