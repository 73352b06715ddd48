"""A hunt in a process of its own, in which one module of `protocol` has another text: nothing on disk is changed.

    run(Job("protocol.vote", text, seed=1, draws=10, cpu_s=60)) -> what it found, and what that cost

The process imports nothing of `protocol` before its text is replaced. What it is to do comes as JSON on its standard input.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simnet.world import World

# An instant that takes longer than this never ends; and a hunt that goes on so long behind its time is stuck.
INSTANT_S_MAX: Final = 6
_BEYOND_S: Final = 60
_MEMORY_MAX: Final = 4 << 30
# Stands for a checker where a text could not be imported, or broke the simulator itself: neither was found by one.
BROKEN: Final = "broken"


@dataclass(frozen=True, slots=True)
class Job:
    """What is hunted: `source` in place of the text of `module` (empty: as it is), over `draws` scenarios from `seed` on.

    No draw is begun once `cpu_s` seconds of a processor are used.
    """

    module: str
    source: str
    seed: int
    draws: int
    cpu_s: int


@dataclass(frozen=True, slots=True)
class Hunted:
    """What came of it: by which checker something was found, in the draw of which seed, after how many seconds of a processor.

    `draws` is how many scenarios were gone through. Where nothing was found `checker` is empty.
    """

    checker: str
    text: str
    seed: int
    draws: int
    cpu_s: float

    @property
    def found(self) -> bool:
        """Whether a checker found something, or a core raised."""
        return self.checker not in ("", BROKEN)


class PlantingError(Exception):
    """A hunt that did not come to an end by itself: what its process said."""


def source_of(module: str) -> str:
    """The text of a module, as it is on disk."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def run(job: Job) -> Hunted:
    """Hunt in a new process; raises `PlantingError` if that ends otherwise than it should."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from simnet.planting import main; sys.exit(main())"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise PlantingError(last)
    return Hunted(**json.loads(done.stdout))


# --- In the other process


class _Loader(SourceFileLoader):
    """Loads a text that stands nowhere; no compiled copy is read or written."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        """Compile it under the name of the module's file."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds one module and gives it another text."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec with our loader; None for all other modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self._sources else None
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=_Loader(fullname, spec.origin, self._sources[fullname])
        )


class _StuckError(Exception):
    """Simulated time stands still."""


class _Watchdog:
    """Sees that simulated time stands still, on the processor's time: a step, or an instant, that does not end."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._now_us = -1

    def note(self, world: World) -> None:
        """A run goes on."""
        self._world = world

    def look(self, _: int, __: FrameType | None) -> None:
        """Raise in the midst of an instant that was there last time already."""
        if self._world is not None:
            if self._world.now_us == self._now_us:
                raise _StuckError(f"{self._now_us / 1e6:.6f} s took more than {INSTANT_S_MAX} s of a processor")
            self._now_us = self._world.now_us


def main() -> int:
    """What the other process does."""
    job = Job(**json.load(sys.stdin))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX, _MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (job.cpu_s + _BEYOND_S, job.cpu_s + _BEYOND_S))
    if job.module:
        assert not any(name.partition(".")[0] == "protocol" for name in sys.modules), "protocol was imported too early"
        sys.meta_path.insert(0, Finder({job.module: job.source}))
    try:
        found = _hunted(job)
    except Exception as error:  # noqa: BLE001  what another text of a module does outside a core may be anything
        found = Hunted(BROKEN, repr(error), job.seed, 0, time.process_time())
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    json.dump(asdict(found), sys.stdout)
    return 0


def _hunted(job: Job) -> Hunted:
    from simnet import hunt  # noqa: PLC0415  not before the text is replaced
    from simnet.checking import Violation  # noqa: PLC0415

    watchdog = _Watchdog()
    signal.signal(signal.SIGVTALRM, watchdog.look)
    signal.setitimer(signal.ITIMER_VIRTUAL, INSTANT_S_MAX, INSTANT_S_MAX)
    for number in range(job.draws):
        seed = job.seed + number
        try:
            violation = hunt.violation_of(hunt.drawn(seed), seed, None, watchdog.note)
        except _StuckError as error:
            # Where a core is at it, the world says so; this one was between two steps.
            violation = Violation("safety", hunt.NO_ERROR, 0, "", str(error))
        spent_s = time.process_time()
        if violation is not None:
            return Hunted(violation.checker, violation.text, seed, number + 1, round(spent_s, 2))
        if spent_s >= job.cpu_s:
            break
    return Hunted("", "", seed, number + 1, round(spent_s, 2))
