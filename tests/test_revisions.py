"""An executor and the beacons of another revision of its network's parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.constants import NOTICE_MS
from protocol.events import Effect, Log
from protocol.identity import KeySigner
from protocol.messages import Beacon, Bid, input_hash
from tests.core_bench import STRANGER
from tests.support import PARAMETERS, Bench, sent

BEACON = Beacon(b"t" * 16, 0, 0, "arith", "number", input_hash(b"n" * 32, "q", "number", 256), 3, 256, 1_500, 60_000, 2)


def notices(effects: list[Effect]) -> list[str]:
    return [str(effect.fields["reason"]) for effect in effects if isinstance(effect, Log) and effect.event == "other_revision"]


def heard(bench: Bench, revision: int, task: int, asker: KeySigner = STRANGER) -> list[Effect]:
    return bench.hear(asker, replace(BEACON, task=bytes([task]) * 16, revision=revision))


@pytest.mark.parametrize(("revision", "who"), [(PARAMETERS.revision + 1, "get the founder's newer"), (0, "that node must get")])
def test_beacon__of_another_revision_is_ignored_and_who_must_update_is_told_once(revision: int, who: str) -> None:
    bench = Bench(skills=("arith",))
    bench.meet(STRANGER)
    first = heard(bench, revision, 1)
    (notice,) = notices(first)
    assert who in notice
    again = heard(bench, revision, 2)
    assert notices(again) == []
    assert sent(first + again, Bid) == []
    assert bench.core.rejected["revision"] == 2
    bench.wait(NOTICE_MS)
    assert len(notices(heard(bench, revision, 3))) == 1


def test_beacon__of_this_revision_is_bid_on() -> None:
    bench = Bench(skills=("arith",))
    bench.meet(STRANGER)
    assert len(sent(heard(bench, PARAMETERS.revision, 1), Bid)) == 1
