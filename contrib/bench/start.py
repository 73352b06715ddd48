"""From the start of a process with an empty home to its first answer in a running network.

    python -m contrib.bench.start [TIMES]

The network runs already; the new node knows one address, has to find the others, to examine them and to answer.
"""

from __future__ import annotations

import asyncio
import sys
import time

from contrib.bench.processes import daemon, run
from node.dev.network import network
from node.dev.questions import questions
from node.dev.statistics import percentile
from node.errors import UserError

_TIMES = 10
_ROLES = ("arith", "lists", "generalist", "arith")
_RETRY_S = 0.02


async def main(times: int) -> None:
    """Print one line a start and the percentiles."""
    async with network(_ROLES) as nodes:
        took: list[float] = []
        for question in questions(3, times, ("arith", "lists")):
            begun = time.monotonic()
            async with daemon("arith", nodes[0].addresses[0]) as node:
                ready_s = time.monotonic() - begun
                while True:
                    try:
                        outcome = await node.client.post("/v1/ask", {"question": question.text})
                        break
                    except UserError:
                        # Not connected yet.
                        await asyncio.sleep(_RETRY_S)
                took.append(time.monotonic() - begun)
            mark = "right" if outcome["answer"] == question.gold else "wrong"
            print(f"ready {ready_s:.2f} s, first answer {took[-1]:.2f} s ({outcome['outcome']}, {mark})", flush=True)
        print(
            f"first answer: p50 {percentile(took, 0.5):.2f} s, slowest {max(took):.2f} s of {times} starts, {len(_ROLES)} nodes"
        )


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _TIMES))
