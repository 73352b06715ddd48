"""Attack one node of a network while honest questions go on, with every attacker of both tables in turn.

    python -m contrib.bench.attacks [--seconds 60] [--only NAME] [--json]

Five real daemons with tiny models on loopback, in the network `local`, whose limits hold on loopback as well. One of them,
which is asked and executes, is attacked by a process of its own. Before and after each attack the same questions go on in
quiet, because the machine may be shared; an attack's latency is compared with the two quiet ones around it.

Limits go by address, and attackers come from 127.0.0.1 as every process here does. The attacked node dials the honest ones,
which listen on 127.0.0.2 and so on, as a node behind a router would: their connections are its own and count for no address.

Exit code 1 if a bound is broken: 99 % of the questions answered, p50 at most twice the quiet one, memory growth at most 30 MB,
as many descriptors after as before, nothing restarted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from contrib.bench.processes import run
from contrib.bench.resources import status_kb
from node.dev.homes import temporary_home
from node.dev.network import DevNode, met, ready, spawn, stop
from node.dev.questions import Question, questions
from node.dev.statistics import percentile
from node.errors import UserError
from node.libp2p_address import parse_address
from protocol.identity import peer_id
from protocol.parameters import preset
from tests.attack import Attack, Target

_MODELS: Final = ("arith", "lists", "generalist", "arith", "lists")
_SKILLS: Final = ("arith", "lists")
_NETWORK: Final = "local"
# Slow enough that a quiet network answers each before the next one comes, so waiting is the attack's.
_PER_S: Final = 2.0
_ANSWER_S: Final = 30.0
# A sixth as long as the attack, and long enough for a middle.
_QUIET_SHARE: Final = 6
_QUIET_S_MIN: Final = 5.0
_SETTLE_S: Final = 3.0
_AUDITS_S: Final = 180.0
_POLL_S: Final = 0.25
_STOP_S: Final = 10.0

ANSWERED_MIN: Final = 0.99
RATIO_MAX: Final = 2.0
GROWTH_MB_MAX: Final = 30.0
# What a dial under way or a channel being taken over holds at the moment of the count.
FDS_MAX: Final = 4


def attacks() -> tuple[Attack, ...]:
    """All tables."""
    # Here and not above: the attackers' process alone pays for what they import.
    from tests import attack_dht, attack_protocol, attack_wire  # noqa: PLC0415

    return (*attack_wire.ATTACKS, *attack_dht.ATTACKS, *attack_protocol.ATTACKS)


@dataclass
class Sample:
    """What became of the questions of a while."""

    asked: int = 0
    answered: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        """The middle of the latencies; those that got no answer count as never."""
        slow = [*self.took_ms, *[_ANSWER_S * 1_000] * (self.asked - self.answered)]
        return percentile(slow, 0.5) if slow else 0.0


@dataclass(frozen=True)
class Row:
    """One attack and what it did."""

    attack: str
    asked: int
    answered: float
    p50_ms: float
    ratio: float
    growth_mb: float
    fds_before: int
    fds_after: int
    restarts: int
    ends: dict[str, int]
    refused: dict[str, int]

    @property
    def broken(self) -> list[str]:
        """The bounds that it broke."""
        bounds = {
            "answered": self.answered >= ANSWERED_MIN,
            "latency": self.ratio <= RATIO_MAX,
            "memory": self.growth_mb <= GROWTH_MB_MAX,
            "descriptors": self.fds_after <= self.fds_before + FDS_MAX,
            "restarts": self.restarts == 0,
        }
        return [name for name, held in bounds.items() if not held]


@contextlib.asynccontextmanager
async def honest() -> AsyncIterator[list[DevNode]]:
    """The network, connected and with its audits done; its last node is the one to attack."""
    nodes: list[DevNode] = []
    with temporary_home() as home:
        try:
            for index, model in enumerate(_MODELS):
                nodes.append(await _started(home / f"{index}-{model}", model, nodes))
            await met(nodes)
            await _audited(nodes[-1])
            yield nodes
        finally:
            await asyncio.shield(stop(nodes))


async def _started(home: Path, model: str, others: list[DevNode]) -> DevNode:
    """One more node. The last dials all others; they join by the first."""
    last = len(others) == len(_MODELS) - 1
    flags = ["--network", _NETWORK, "--listen", f"/ip4/127.0.0.{1 if last else len(others) + 2}/tcp/0", "--api-port", "0"]
    flags += [flag for node in (others if last else others[:1]) for flag in ("--bootstrap", node.addresses[0])]
    node = await spawn(home, model, flags=flags)
    try:
        await ready(node)
    except UserError:
        await stop([node])
        raise
    return node


async def _audited(node: DevNode) -> None:
    state = await node.client.post("/v1/audits")
    end = time.monotonic() + _AUDITS_S
    while not state["settled"]:
        if time.monotonic() > end:
            raise UserError("the audits did not end in three minutes; is this machine very busy?")
        await asyncio.sleep(_POLL_S)
        state = await node.client.get("/v1/audits")


class Victim:
    """The attacked node: its questions, its memory, its descriptors."""

    def __init__(self, node: DevNode) -> None:
        self.node = node
        self._questions = self._endless()

    @property
    def target(self) -> Target:
        """How a stranger sees it."""
        address, key = parse_address(self.node.addresses[0])
        host, port = address.value_for_protocol("ip4"), int(address.value_for_protocol("tcp"))
        assert host is not None
        return Target(host, port, peer_id(key), key, preset(_NETWORK).network)

    def rss_mb(self) -> float:
        """Resident memory of the daemon; the model's process is another."""
        return status_kb(self.node.process.pid, "VmRSS") / 1_000

    def fds(self) -> int:
        """Open descriptors."""
        return sum(1 for _ in Path(f"/proc/{self.node.process.pid}/fd").iterdir())

    async def restarts(self) -> int:
        """How often its network or its model's process came to life again."""
        status = await self.node.client.get("/v1/status")
        return int(status["transport"].get("restarts", 0)) + int(status["model"]["restarts"])

    async def refused(self) -> Counter[str]:
        """What it refused so far: envelopes by their code, and by the transport's counters what never became one."""
        status = await self.node.client.get("/v1/status")
        codes = Counter(status["rejected"])
        codes.update(
            {name: count for name, count in status["transport"].items() if not name.startswith(("channel_", "gossip_m"))}
        )
        return codes

    async def ask_for(self, seconds: float) -> Sample:
        """Ask at the fixed rate, whatever becomes of earlier questions, and wait for all."""
        sample, begun = Sample(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (due := sample.asked / _PER_S) < seconds:
                await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
                sample.asked += 1
                group.create_task(self._ask(next(self._questions), sample))
        return sample

    async def _ask(self, question: Question, sample: Sample) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_S):
                end = (await self.node.client.post("/v1/ask", {"question": question.text, "skill": question.skill}))["outcome"]
        except TimeoutError:
            end = "no outcome"
        except UserError as error:
            end = str(error)
        sample.ends[end] += 1
        if end == "answered":
            sample.answered += 1
            sample.took_ms.append((time.monotonic() - begun) * 1_000)

    def _endless(self) -> Iterator[Question]:
        seed = 0
        while True:
            seed += 1
            yield from questions(seed, 100, _SKILLS)


async def attacked(victim: Victim, name: str, seconds: float, quiet: Sample) -> tuple[Row, Sample]:
    """One attack, and the quiet after it."""
    fds_before, memory_before, restarts = victim.fds(), victim.rss_mb(), await victim.restarts()
    command = [sys.executable, "-m", "contrib.bench.attacks", "--attacker", name, "--target", _told(victim.target)]
    peak_mb, refused_before = memory_before, await victim.refused()
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise UserError(f"the attacker {name} did not start")
        asking = asyncio.create_task(victim.ask_for(seconds))
        while not asking.done():
            await asyncio.wait((asking,), timeout=_POLL_S)
            peak_mb = max(peak_mb, victim.rss_mb())
        sample = asking.result()
        if process.returncode is not None:
            raise UserError(f"the attacker {name} ended by itself")
    finally:
        await _end(process)
    refused = await victim.refused()
    await asyncio.sleep(_SETTLE_S)
    after = await victim.ask_for(_quiet_s(seconds))
    quiet_ms = (quiet.p50_ms + after.p50_ms) / 2
    row = Row(
        name,
        sample.asked,
        round(sample.answered / sample.asked, 4),
        round(sample.p50_ms, 1),
        round(sample.p50_ms / quiet_ms, 2),
        round(peak_mb - memory_before, 1),
        fds_before,
        victim.fds(),
        await victim.restarts() - restarts,
        dict(sample.ends),
        dict(sorted((refused - refused_before).items())),
    )
    return row, after


def _quiet_s(seconds: float) -> float:
    return max(_QUIET_S_MIN, seconds / _QUIET_SHARE)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the attacker to stop, by closing its input, and kill it if it does not."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _told(target: Target) -> str:
    return json.dumps([target.host, target.port, target.peer_id, target.peer.hex(), target.network.hex()])


async def attacker(name: str, told: str) -> None:
    """The attackers' process: attack until its input is closed."""
    host, port, peer, key, network = json.loads(told)
    target = Target(host, port, peer, bytes.fromhex(key), bytes.fromhex(network))
    attack = next(attack for attack in attacks() if attack.name == name)
    attacking = asyncio.ensure_future(attack.run(target))
    print("attacking", flush=True)
    closed = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait((attacking, closed), return_when=asyncio.FIRST_COMPLETED)
    if attacking.done():
        attacking.result()
    attacking.cancel()
    await asyncio.gather(attacking, return_exceptions=True)


async def main(seconds: float, only: list[str], *, as_json: bool) -> int:
    """Run the attacks; gives the exit code."""
    names = [attack.name for attack in attacks()]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise UserError(f"no attack {unknown[0]!r}; there are {', '.join(names)}")
    rows: list[Row] = []
    async with honest() as nodes:
        victim = Victim(nodes[-1])
        await victim.ask_for(_quiet_s(seconds))  # memory that the first questions take is not an attack's
        quiet = await victim.ask_for(_quiet_s(seconds))
        if quiet.answered < quiet.asked:
            raise UserError(f"only {quiet.answered} of {quiet.asked} questions were answered in quiet; nothing can be compared")
        # With --json the lines go where a person sees them and a program does not.
        screen = sys.stderr if as_json else sys.stdout
        told = f"quiet: {quiet.asked} asked, p50 {quiet.p50_ms:.0f} ms, {victim.rss_mb():.0f} MB, {victim.fds()} descriptors"
        print(told, _HEAD, sep="\n", file=screen, flush=True)
        for name in only or names:
            row, quiet = await attacked(victim, name, seconds, quiet)
            rows.append(row)
            print(_line(row), file=screen, flush=True)
    broken = [row.attack for row in rows if row.broken]
    print(f"{len(rows) - len(broken)} of {len(rows)} attacks stayed within the bounds", file=screen)
    if as_json:
        print(json.dumps([asdict(row) | {"broken": row.broken} for row in rows], indent=1))
    return 1 if broken else 0


_HEAD: Final = (
    f"{'attack':<36}{'asked':>6}{'answered':>10}{'p50 ms':>8}{'ratio':>7}{'growth MB':>11}{'fds':>10}{'restarts':>10}  broken"
)


def _line(row: Row) -> str:
    fds = f"{row.fds_before}-{row.fds_after}"
    return (
        f"{row.attack:<36}{row.asked:>6}{row.answered:>10.1%}{row.p50_ms:>8.0f}{row.ratio:>7.2f}{row.growth_mb:>11.1f}"
        f"{fds:>10}{row.restarts:>10}  {', '.join(row.broken) or '-'}"
    )


def _work() -> Coroutine[None, None, int | None]:
    parser = argparse.ArgumentParser(description="Attack one node of an honest network.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this attack; repeatable")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--attacker", help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.attacker is not None:
        return attacker(args.attacker, args.target)
    return main(args.seconds, args.only, as_json=args.json)


if __name__ == "__main__":
    run(_work())
