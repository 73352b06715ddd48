"""The message by which a node asks a peer to be introduced to others (specs/05-capability.md).

Nobody is told of others unasked: where all join at once nearly all of that would be known already. The answer are the records
themselves, as their authors signed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from protocol.constants import RECORDS_SHARED_MAX
from protocol.schema import Message, Rule, integer


@dataclass(frozen=True, slots=True)
class Seek(Message):
    """The sender wants at most `count` records of others."""

    count: int
    TYPE: ClassVar[str] = "seek"
    RULES: ClassVar[dict[str, Rule]] = {"count": integer(1, RECORDS_SHARED_MAX)}


Seek.check_table()
