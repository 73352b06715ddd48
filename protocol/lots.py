"""Who comes first among peers that are all alike: a lot that each node draws for itself."""

from __future__ import annotations

import hashlib
from typing import Final

# Bytes of entropy that the lots of one draw are made from.
SEED_SIZE: Final = 8


def lot_of(seed: bytes, key: bytes) -> bytes:
    """The lot of a peer, 32 bytes: whoever does not know the seed cannot make a key with a good one."""
    return hashlib.sha256(seed + key).digest()
