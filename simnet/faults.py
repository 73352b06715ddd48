"""Faults by name, to be done to a world between two of its runs; the words are those of turmoil."""

from __future__ import annotations

from collections.abc import Collection

from simnet.host import Host
from simnet.links import Rule
from simnet.world import World


def partition(world: World, one: Collection[Host], other: Collection[Host], *, one_way: bool = False) -> list[Rule]:
    """Cut all links between two groups, or only those from the first; gives the rules, which `release` takes back."""
    return _blocked(world, one, other, one_way=one_way, patient=False)


def hold(world: World, one: Collection[Host], other: Collection[Host], *, one_way: bool = False) -> list[Rule]:
    """Keep everything back between two groups, for however long; gives the rules, which `release` takes back."""
    return _blocked(world, one, other, one_way=one_way, patient=True)


def _blocked(world: World, one: Collection[Host], other: Collection[Host], *, one_way: bool, patient: bool) -> list[Rule]:
    first, second = (frozenset(host.index for host in hosts) for hosts in (one, other))
    rules = [Rule(first, second, block=True, patient=patient)]
    if not one_way:
        rules.append(Rule(second, first, block=True, patient=patient))
    for rule in rules:
        world.add_rule(rule)
    return rules


def release(world: World, rules: Collection[Rule]) -> None:
    """Take rules back: what channels kept back arrives, in order."""
    for rule in rules:
        world.remove_rule(rule)


def crash(world: World, *hosts: Host, silent: bool = False) -> None:
    """Stop nodes at once; `silent` as a machine that loses its power, whose peers notice by a time limit alone."""
    for host in hosts:
        world.crash(host, silent=silent)


def bounce(world: World, *hosts: Host) -> None:
    """Stop nodes that are up, and start them again from what is on their disks."""
    for host in hosts:
        if host.up:
            world.crash(host)
        world.restart(host)
