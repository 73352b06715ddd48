"""Resident memory and idle processor time of a daemon, without a model and with a tiny one.

    python -m contrib.bench.resources [SECONDS]

Each daemon is connected to one other, because an unconnected one has less to do. Linux only: it reads /proc.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from contrib.bench.processes import daemon, run

_SECONDS = 30
_TICKS = os.sysconf("SC_CLK_TCK")


def status_kb(pid: int, name: str) -> int:
    """A size that the kernel tells of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def main(seconds: int) -> None:
    """Print the table."""
    print(f"{'daemon':<24}{'resident MB':>12}{'idle CPU %':>12}   over {seconds} s, one peer connected")
    async with daemon("none") as other, daemon("none", other.addresses[0]) as bare:
        before = _cpu_s(bare.process.pid)
        await asyncio.sleep(seconds)
        cpu = 100 * (_cpu_s(bare.process.pid) - before) / seconds
        base_kb = status_kb(bare.process.pid, "VmRSS")
        print(f"{'without a model':<24}{base_kb / 1000:>12.1f}{cpu:>12.2f}")
        async with daemon("arith", other.addresses[0]) as node:
            worker = (await node.client.get("/v1/status"))["model"]["pid"]
            before = _cpu_s(node.process.pid) + _cpu_s(worker)
            await asyncio.sleep(seconds)
            cpu = 100 * (_cpu_s(node.process.pid) + _cpu_s(worker) - before) / seconds
            total_kb = status_kb(node.process.pid, "VmRSS") + status_kb(worker, "VmRSS")
            print(f"{'with the model arith':<24}{total_kb / 1000:>12.1f}{cpu:>12.2f}")
            print(f"{'  of it its process':<24}{status_kb(worker, 'VmRSS') / 1000:>12.1f}")
            print(f"{'the model adds':<24}{(total_kb - base_kb) / 1000:>12.1f}")


if __name__ == "__main__":
    run(main(int(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS))
