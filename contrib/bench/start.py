"""From the start of a process with an empty home to being ready in a running network, and to its first answer.

    python -m contrib.bench.start [TIMES]

The network runs already; the new node knows one address. It is ready when its model is loaded, its API answers and it has a
peer; to answer it has to find the others and to examine them.
"""

from __future__ import annotations

import sys
import time

from contrib.bench.processes import daemon, run, until_connected
from node.dev.network import network
from node.dev.questions import questions
from node.dev.statistics import percentile

_TIMES = 10
_ROLES = ("arith", "lists", "generalist", "arith")


async def main(times: int) -> None:
    """Print one line a start and the percentiles."""
    async with network(_ROLES) as nodes:
        ready: list[float] = []
        took: list[float] = []
        for question in questions(3, times, ("arith", "lists")):
            begun = time.monotonic()
            async with daemon("arith", nodes[0].addresses[0]) as node:
                await until_connected(node, 1)
                ready.append(time.monotonic() - begun)
                outcome = await node.client.post("/v1/ask", {"question": question.text})
                took.append(time.monotonic() - begun)
            mark = "right" if outcome["answer"] == question.gold else "wrong"
            print(f"ready {ready[-1]:.2f} s, first answer {took[-1]:.2f} s ({outcome['outcome']}, {mark})", flush=True)
        for name, values in (("ready", ready), ("first answer", took)):
            slowest = f"slowest {max(values):.2f} s of {times} starts"
            print(f"{name}: p50 {percentile(values, 0.5):.2f} s, {slowest}, {len(_ROLES)} nodes")


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _TIMES))
