"""Regions of the world: round trips between them, what a home there can send, and where nodes of an open network are.

Mean round trips in milliseconds and upload rates in bits a second for 2019, and the shares of Bitcoin's nodes, as SimBlock
(Aoki et al., "SimBlock: A Blockchain Network Simulator", INFOCOM workshops 2019) has them. They are means over all kinds of
lines; `jitter_permille` of a scenario spreads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simnet.links import Link

REGIONS: Final = ("north-america", "europe", "south-america", "asia-pacific", "japan", "australia")
ROUND_TRIP_MS: Final = (
    (32, 124, 184, 198, 151, 189),
    (124, 11, 227, 237, 252, 294),
    (184, 227, 88, 325, 301, 322),
    (198, 237, 325, 85, 58, 198),
    (151, 252, 301, 58, 12, 126),
    (189, 294, 322, 198, 126, 16),
)
UPLOAD_BITS_PER_S: Final = (19_200_000, 20_700_000, 5_800_000, 15_700_000, 10_200_000, 11_300_000)
# In ten-thousandths of all nodes.
SHARES: Final = (3_316, 4_998, 90, 1_177, 224, 195)


def links(
    regions: Sequence[str], jitter_permille: int, loss_permille: int, bits_per_s: int | None, latency_us: int | None = None
) -> list[list[Link]]:
    """The links between these regions, in their order; None takes each region's own rate, 0 has no bound.

    `latency_us` one way takes the place of what the map says.
    """
    places = [REGIONS.index(region) for region in regions]
    return [
        [
            Link(
                latency_us=(half_us := 500 * ROUND_TRIP_MS[one][other] if latency_us is None else latency_us),
                jitter_us=half_us * jitter_permille // 1_000,
                loss_permille=loss_permille,
                bits_per_s=UPLOAD_BITS_PER_S[one] if bits_per_s is None else bits_per_s,
            )
            for other in places
        ]
        for one in places
    ]
