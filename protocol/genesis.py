"""What a network is, for ever: a name, its founder's key and a nonce, and the id that follows from them (specs/10-network.md).

Everything else may change: parameters by a revision that the founder signs, addresses at any time.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from protocol import canonical
from protocol.constants import NETWORK_NAME_SIZE_MAX
from protocol.identity import PUBLIC_KEY_SIZE
from protocol.schema import Message, Rule, raw

NONCE_SIZE: Final = 16
# So much of the id stands in protocol ids and where people read it: enough that no two networks meet by chance.
SHORT_ID_SIZE: Final = 8

_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{NETWORK_NAME_SIZE_MAX - 1}}}")


def _name(value: object) -> str | None:
    if type(value) is str and _NAME.fullmatch(value):
        return None
    return f"is not 1 to {NETWORK_NAME_SIZE_MAX} lower-case letters, digits and hyphens, a hyphen not first"


@dataclass(frozen=True)
class Genesis(Message):
    """The identity of a network. Two networks of one name differ in founder or nonce, so they never mix."""

    name: str
    founder: bytes
    nonce: bytes
    TYPE: ClassVar[str] = "genesis"
    RULES: ClassVar[dict[str, Rule]] = {"name": _name, "founder": raw(PUBLIC_KEY_SIZE), "nonce": raw(NONCE_SIZE)}

    @cached_property
    def network(self) -> bytes:
        """The network id: 32 bytes that stand in every envelope."""
        return hashlib.sha256(b"tutti/network/1\x00" + canonical.encode(self.body())).digest()


Genesis.check_table()

# No signature holds under this key (a point of small order, specs/01-identity.md), so nobody can revise a preset.
NOBODY: Final = bytes(PUBLIC_KEY_SIZE)


def short_id(network: bytes) -> str:
    """The first 16 hex digits of a network id."""
    return network[:SHORT_ID_SIZE].hex()


def protocol_prefix(network: bytes) -> str:
    """What the ids of this network's libp2p protocols and topics begin with, so that networks never mix."""
    return f"/tutti/{short_id(network)}"
