"""Machines, as a model: what a host computes, on cores that it has for itself or shares with others, and how long it writes.

A daemon spends nearly all of its time on messages: reading, decrypting, checking, one step of the core, encrypting, writing.
So a message costs a fixed time of one core wherever it is taken in or sent, by channel or by gossip, and nothing else costs
any. That it is one cost was measured: by message, the CPU time of daemons that ask and of daemons that answer is the same but
for a tenth either way (contrib/bench/calibration.py). Rows of a step are on the disk before anything of it leaves, as in the
daemon; a host waits for that and keeps no core busy. Models compute elsewhere: a solver says how long it takes.

A host does one thing at a time, in the order in which things came; of hosts that share cores the first to come is the first
to be served. Time is integer microseconds.
"""

from __future__ import annotations


class Machine:
    """Some cores. A message takes `message_us` of one of them, the rows of a step take `write_us` of the disk's time."""

    def __init__(self, cores: int, message_us: int, write_us: int = 0) -> None:
        self.message_us, self.write_us = message_us, write_us
        self._free_us = [0] * cores

    def done_us(self, from_us: int, messages: int) -> int:
        """When so many messages are dealt with, of a host that is idle from `from_us` on."""
        if not messages:
            return from_us
        # Of the cores that are free by then the one that was busy last, for what a core was idle before is lost to others; if
        # none is, the one that will be first.
        free = self._free_us
        core = max(range(len(free)), key=lambda core: free[core] if free[core] <= from_us else -free[core])
        free[core] = max(from_us, free[core]) + messages * self.message_us
        return free[core]
