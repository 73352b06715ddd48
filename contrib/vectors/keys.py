"""The keys and the network of the vectors. The seeds stand in the vectors as well: nobody may use them for anything else."""

from __future__ import annotations

from typing import Final

from protocol.identity import KeySigner
from protocol.parameters import preset

NETWORK: Final = preset("dev").network
SEEDS: Final = tuple(bytes([number]) * 32 for number in range(1, 9))
SIGNERS: Final = tuple(KeySigner(seed) for seed in SEEDS)
KEYS: Final = tuple(signer.public_key for signer in SIGNERS)
WALL_MS: Final = 1_700_000_000_000
TASK: Final = bytes(range(16))
BEACON_ID: Final = bytes(range(32))
