"""The signed capability record: what a node offers and where it is (specs/05-capability.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from protocol.constants import RECORD_ADDRESSES_MAX, RECORD_SKILLS_MAX
from protocol.schema import Message, Rule, boolean, integer, items, mapping, string

GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Record(Message):
    """A versioned capability vector. `skills` maps a skill to its declared prior in thousandths.

    The prior decides who is audited first and never enters a weight. `weights_hash` is the SHA-256 of the model's file,
    empty for a node without a model. Of two records of one author the one with the higher `sequence` counts.
    """

    sequence: int
    skills: dict[str, int]
    model: str
    parameters: int
    quantisation: str
    weights_hash: str
    context: int
    tokens_per_s: int
    slots: int
    available: bool
    addresses: tuple[str, ...]
    TYPE: ClassVar[str] = "record"
    RULES: ClassVar[dict[str, Rule]] = {
        "sequence": integer(0, 2**53),
        "skills": mapping(string(32, 1), integer(0, 1_000), RECORD_SKILLS_MAX),
        "model": string(128),
        "parameters": integer(0, 2**53),
        "quantisation": string(32),
        "weights_hash": string(64),
        "context": integer(0, 2**32),
        "tokens_per_s": integer(0, 10_000_000),
        "slots": integer(1, 1_024),
        "available": boolean,
        "addresses": items(string(256, 1), RECORD_ADDRESSES_MAX),
    }

    def offers(self, skill: str) -> bool:
        """Whether the node answers questions of this skill now; any node with a model tries a general one."""
        return self.available and self.covers(skill)

    def covers(self, skill: str) -> bool:
        """Whether it would answer them if it were available."""
        return skill == GENERAL or skill in self.skills


Record.check_table()
