"""What a validator says of a gossiped message; apart from the validators, so that a transport need not load them."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """ACCEPT: deliver and pass on. IGNORE: neither. REJECT: neither, and it is counted as invalid."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"
