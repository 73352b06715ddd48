"""Merkle trees in the shape of RFC 6962: one root commits to many leaves, and each leaf can be shown alone.

Leaves and nodes are hashed under domains of their own, so no node passes for a leaf; a list is split at the largest power
of two below its length and nothing is doubled, so no two lists have one root (specs/06-ledger.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from protocol.errors import LocalProtocolError, RemoteProtocolError

LEAF_DOMAIN: Final = b"tutti/leaf/1\x00"
NODE_DOMAIN: Final = b"tutti/node/1\x00"


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf, 32 bytes."""
    return hashlib.sha256(LEAF_DOMAIN + leaf).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves`, one at least: 32 bytes."""
    if not leaves:
        raise LocalProtocolError("a tree has one leaf at least")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    left = _split(len(leaves))
    return _node(root(leaves[:left]), root(leaves[left:]))


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from leaf `index` to the root, the lowest first."""
    if not 0 <= index < len(leaves):
        raise LocalProtocolError(f"no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    left = _split(len(leaves))
    if index < left:
        return [*proof(leaves[:left], index), root(leaves[left:])]
    return [*proof(leaves[left:], index - left), root(leaves[:left])]


def check_proof(expected: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> None:
    """Raise `RemoteProtocolError` unless `path` shows that `leaf` is number `index` of `count` under the root `expected`."""
    sides = _sides(index, count)
    # specs/06-ledger.md: "One that does not lead to the root, or not of its length, or of a leaf that the tree does not have,
    # is refused"
    if sides is None or len(path) != len(sides):
        raise RemoteProtocolError("merkle", f"not a path of leaf {index} of {count}")
    found = leaf_hash(leaf)
    for beside, is_left in zip(path, sides, strict=True):
        found = _node(found, beside) if is_left else _node(beside, found)
    if found != expected:
        raise RemoteProtocolError("merkle", "the path does not lead to the root")


def _sides(index: int, count: int) -> list[bool] | None:
    """On the way from the leaf up: whether the part that holds it is the left one; None if there is no such leaf."""
    if not 0 <= index < count:
        return None
    sides = []
    while count > 1:
        left = _split(count)
        sides.append(index < left)
        index, count = (index, left) if index < left else (index - left, count - left)
    return sides[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE_DOMAIN + left + right).digest()
