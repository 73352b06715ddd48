"""What processes and the whole machine compute; Linux only, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_IDLE, _WAITING = 3, 4


def cpu_us(pid: int) -> int:
    """Microseconds that all living threads of a process have run."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) // 1_000


@dataclass(frozen=True, slots=True)
class Clock:
    """The machine's clock ticks since it started: those in which its cores computed, and all."""

    busy: int
    total: int

    @classmethod
    def read(cls) -> Clock:
        """Now."""
        ticks = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return cls(sum(ticks) - ticks[_IDLE] - ticks[_WAITING], sum(ticks))

    def busy_since(self, before: Clock) -> float:
        """Which part of its cores the machine used since then."""
        return (self.busy - before.busy) / max(1, self.total - before.total)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
