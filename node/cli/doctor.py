"""`tutti doctor`: everything that can be wrong with this node, each with its remedy, fit to be pasted in public."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from node import networks
from node.cli.flags import add_json, add_network
from node.cli.place import located
from node.cli.terminal import clean, print_json, print_lines, table
from node.client import Client
from node.config import KEYS, Config, check_skills
from node.doctor import links, machine, model
from node.doctor.finding import Finding, Level, fail, failure, ok, warn
from node.doctor.redaction import Redaction
from node.errors import ExitCode, UserError
from node.home import Home, NetworkHome, locate
from node.networks import Network

# A node that is well answers in milliseconds.
_ANSWER_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, and how to print it."""
    add_network(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check and print; exit code 1 if the node cannot work as it is."""
    home = locate(getattr(args, "home", None), os.environ)
    redacted = Redaction(home)
    findings = [
        replace(found, text=redacted(clean(found.text)), remedy=redacted(clean(found.remedy))) for found in _all(home, args)
    ]
    failed = any(found.level is Level.FAIL for found in findings)
    if args.json:
        rows = [{"area": row.area, "level": row.level.value, "text": row.text, "remedy": row.remedy} for row in findings]
        print_json({"ok": not failed, "findings": rows})
    else:
        print_lines(show(findings))
    return ExitCode.FAILED if failed else ExitCode.OK


def show(findings: Sequence[Finding]) -> list[str]:
    """The lines for a person, and what it comes to."""
    rows = [
        (found.level.value, found.area, f"{found.text} -> {found.remedy}" if found.remedy else found.text) for found in findings
    ]
    count = {level: sum(found.level is level for found in findings) for level in Level}
    verdict = f"{count[Level.FAIL]} to mend, {count[Level.WARN]} to look at, {count[Level.OK]} in order"
    return [*table(rows, indent=""), f"{verdict}; private names, keys and addresses were left out"]


def _all(home: Home, args: argparse.Namespace) -> Iterator[Finding]:
    yield from machine.machine()
    config, network = Config(), None
    try:
        config = located(args)[1]
        network = networks.load(config.network)
        check_skills(config, network.parameters)
    except UserError as error:
        yield failure("config", error)
    else:
        set_keys = sorted(config.model_fields_set)
        yield ok("config", f"{', '.join(set_keys)} set" if set_keys else "nothing set, so the defaults")
    if network is None:
        # What follows hangs on the network; with a preset it would look at another node than the one meant.
        return
    place = home.network(network.directory)
    yield ok("network", _network_told(config, network))
    yield from machine.identity(place)
    yield from machine.disk(place)
    yield from machine.database(place, network.parameters)
    yield from _node(place, config, network)


def _network_told(config: Config, network: Network) -> str:
    parameters = network.parameters
    source = f"file {config.network}" if network.signature else "built in"
    return f"{parameters.name}, id {parameters.network.hex()[:16]}, revision {parameters.revision}, {source}"


def _node(place: NetworkHome, config: Config, network: Network) -> Iterator[Finding]:
    """The running node by its own account, or what would hinder one from starting."""
    try:
        holder = place.holder()
    except UserError as error:
        yield failure("node", error)
        return
    bootstraps = tuple(dict.fromkeys((*config.bootstrap, *network.bootstrap)))
    if holder is None:
        yield ok("node", "none runs here: the rest is what one would meet")
        yield from links.could_listen(config)
        yield from links.bootstraps_alone(bootstraps)
        yield from model.file(config)
        return
    try:
        client = Client(place)
        status = client.get("/v1/status", _ANSWER_S)
        known = client.get("/v1/peers", _ANSWER_S)["peers"]
    except UserError:
        if place.api_file.exists():
            text = f"{holder} holds this home, and its API does not answer within {_ANSWER_S:g} s: it hangs"
            yield fail("node", text, "look at its log, end that process and start it again")
        else:
            yield warn("node", f"{holder} holds this home and has no API yet: it starts or ends", "ask again in a minute")
        return
    settled = Config.model_validate({key: status["config"][key] for key in KEYS})
    yield ok("node", f"{holder} runs for {status['uptime_s']} s as {status['peer_id']}")
    yield from links.clock(status)
    yield from links.listens(status, settled)
    yield from links.peers(status, settled.bootstrap, known)
    yield from model.running(status)
    yield from links.work(status)
