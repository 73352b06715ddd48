"""The modelled directory: who is found in it, by whom, and what it costs; its parameters are the daemon's."""

from __future__ import annotations

from node import discovery, kademlia, libp2p_dht
from protocol.constants import RECORD_LIFETIME_MS_MAX
from simnet import directory as model
from simnet.directory import Directory
from simnet.host import Host
from simnet.running import Result, run
from simnet.scenario import Scenario
from simnet.world import World
from tests.support import EXPERT, PARAMETERS, record, solver


def network(size: int, closed: int = 0) -> tuple[World, list[Host]]:
    """A world of nodes that know nobody; the last ones can be dialled by nobody."""
    world = World(PARAMETERS, 1)
    hosts = [
        world.add(str(number), record("arith", "lists"), solver(EXPERT), reachable=number < size - closed)
        for number in range(size)
    ]
    world.run(for_ms=10)
    return world, hosts


def filled(hosts: list[Host], cut: frozenset[int] = frozenset()) -> Directory:
    found = Directory(1, lambda _, other: other.index not in cut)
    for host in hosts:
        found.add(host)
    for host in hosts:
        found.announce(host, 0)
    return found


def test_model__has_the_daemons_parameters() -> None:
    assert (model.ANNOUNCE_MS, model.LOOK_UP_MS) == (1_000 * discovery.ANNOUNCE_S, 1_000 * discovery.LOOK_UP_S)
    assert (model.TICK_MS, model.JITTER_SHARE) == (1_000 * discovery.TICK_S, discovery.JITTER_SHARE)
    assert (model.CLOSEST, model.BUCKET_SIZE) == (kademlia.CLOSEST, kademlia.BUCKET_SIZE)
    assert (model.ALPHA, model.QUERIES_MAX) == (libp2p_dht.ALPHA, libp2p_dht.QUERIES_MAX)
    assert model.RECORDS_FOUND_MAX == libp2p_dht.RECORDS_FOUND_MAX


def test_look_up__finds_who_announced_and_has_no_channel_until_the_record_is_over() -> None:
    world, hosts = network(20, closed=5)
    found = filled(hosts)
    asker = hosts[0]
    open_records = {host.core.record_data for host in hosts[1:15]}
    assert set(found.look_up(asker, "arith", 0)) == open_records
    assert found.look_up(asker, "logic", 0) == []
    assert set(found.look_up(hosts[-1], "lists", 0)) == open_records | {asker.core.record_data}
    world.connect(asker, hosts[1].key)
    assert set(found.look_up(asker, "arith", 0)) == open_records - {hosts[1].core.record_data}
    assert found.look_up(asker, "arith", RECORD_LIFETIME_MS_MAX) == []


def test_look_up__brings_no_more_than_the_daemon_takes() -> None:
    _, hosts = network(model.RECORDS_FOUND_MAX + 10)
    assert len(filled(hosts).look_up(hosts[0], "arith", 0)) == model.RECORDS_FOUND_MAX


def test_directory__loses_what_stood_on_nodes_that_are_gone_or_out_of_reach() -> None:
    world, hosts = network(30)
    found = filled(hosts)
    keepers = [index for index, skill in found._shelves if skill == "arith"]
    assert len(keepers) == model.CLOSEST
    asker = next(host for host in hosts if host.index not in keepers)
    for index in keepers[1:]:
        world.crash(hosts[index])
        found.forget(hosts[index])
    assert len(found.look_up(asker, "arith", 0)) == 29
    world.crash(hosts[keepers[0]])
    assert found.look_up(asker, "arith", 0) == []
    split = filled(hosts, cut=frozenset(keepers))
    assert [index for index, skill in split._shelves if skill == "arith" and index in keepers] == []


def test_messages__of_a_walk_grow_with_the_network_up_to_a_bound() -> None:
    small, large = (filled(network(size)[1]) for size in (10, 40))
    assert (small.rounds(), large.rounds()) == (1, 2)
    before = small.messages
    small.look_up(network(1)[1][0], "logic", 0)
    assert small.messages - before == 2 * model.CLOSEST


def played(*, directory: bool) -> Result:
    fields = {
        "about": "a test",
        "nodes": 12,
        "duration_s": 30,
        "settle_s": 5,
        "join_s": 2,
        "directory": directory,
        "reach": {"open": 1, "nat": 1},
        "links": {"regions": {"europe": 1}},
        "workload": {"questions_per_minute": 30, "askers": 3, "from_s": 10},
        "churn": {"median_session_s": 10, "median_absence_s": 4, "from_s": 8},
    }
    return run(Scenario.read(fields, "test"), 1)


def test_run__with_a_directory_repeats_and_counts_its_messages() -> None:
    with_it, again, without = played(directory=True), played(directory=True), played(directory=False)
    assert with_it.digest == again.digest
    assert with_it.violations == without.violations == ()
    assert with_it.world.directory is not None
    assert with_it.world.directory.messages > 12 * 2 * model.CLOSEST
    assert without.world.directory is None
