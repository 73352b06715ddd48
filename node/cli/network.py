"""`tutti network`: found a network, look at one, check a file, sign a next revision."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from node.cli.flags import add_json, add_verbs
from node.cli.place import located
from node.cli.terminal import brief, clean, number, print_json, print_lines, table
from node.errors import ExitCode, UserError
from node.home import Home, load_or_create_seed, locate, write_private
from node.libp2p_address import parse_address
from node.networks import BOOTSTRAPS_MAX, Network, load, parse, read, render
from node.transport import TransportError
from protocol.errors import LocalProtocolError
from protocol.genesis import NONCE_SIZE, Genesis
from protocol.identity import KeySigner, peer_id
from protocol.instruct import INSTRUCT_SKILLS, SIMILARITY_MIN_INSTRUCT
from protocol.parameters import PRESETS, SIMILARITY_MIN_TINY, TINY_SKILLS, Parameters, Skill

# The skills, and how near a question must be to one.
SKILL_SETS: Final[Mapping[str, tuple[Mapping[str, Skill], int]]] = {
    "tiny": (TINY_SKILLS, SIMILARITY_MIN_TINY),
    "instruct": (INSTRUCT_SKILLS, SIMILARITY_MIN_INSTRUCT),
}

_NAME_SHOWN: Final = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs, each with flags of its own."""
    add = add_verbs(parser, of_a_node=False)
    new = add("new", "found a network: make its file, and the founder's key in this home")
    new.add_argument("name", metavar="NAME", help="lower-case letters, digits and hyphens")
    new.add_argument(
        "--skills", dest="skill_set", choices=sorted(SKILL_SETS), default="tiny", help="the skill set to begin with"
    )
    new.add_argument(
        "--bootstrap", dest="addresses", action="append", metavar="MULTIADDR", help="where to find its first node; repeatable"
    )
    new.add_argument("--out", metavar="FILE", help="the file to write (else NAME.json here)")
    show = add("show", "what a network is: id, founder, revision, skills")
    show.add_argument("network", nargs="?", metavar="FILE|PRESET", help="else the network of the configuration")
    add_json(show)
    check = add("check", "whether everything in a network file holds")
    check.add_argument("file", metavar="FILE")
    add_json(check)
    revise = add("revise", "sign the parameters in a file that you founded, after editing them, as the next revision")
    revise.add_argument("file", metavar="FILE")
    revise.add_argument(
        "--skills", dest="skill_set", choices=sorted(SKILL_SETS), help="take this skill set instead of the one in the file"
    )


def run(args: argparse.Namespace) -> int:
    """Run one verb; raises `UserError`."""
    return {"new": _new, "show": _show, "check": _check, "revise": _revise}[args.verb](args)


def _new(args: argparse.Namespace) -> int:
    home = locate(getattr(args, "home", None), os.environ)
    file = Path(args.out or f"{args.name}.json")
    bootstrap = _addresses(args.addresses or [])
    nonce = secrets.token_bytes(NONCE_SIZE)
    try:
        Genesis(args.name, bytes(32), nonce)
    except LocalProtocolError as error:
        raise UserError(f"bad NAME {args.name!r}: {error}", ExitCode.USAGE) from error
    if args.name in PRESETS:
        # It would be another network than the one that every node finds under this name.
        raise UserError(f"NAME {args.name} is that of a network that is built in: choose another", ExitCode.USAGE)
    if file.exists():
        raise UserError(f"{file} exists and is left as it is: choose another file with --out")
    key_file = _key_file(home, args.name, nonce)
    last_file = _last_file(key_file)
    try:
        key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {key_file.parent}: {error.strerror}; choose another home with --home") from error
    founder = KeySigner(load_or_create_seed(key_file)[0])
    parameters = Parameters(Genesis(args.name, founder.public_key, nonce), 1, *SKILL_SETS[args.skill_set])
    network = Network(parameters, parameters.signed_by(founder), bootstrap)
    made = False
    try:
        write_private(last_file, render(network))
        with file.open("xb") as handle:
            made = True
            handle.write(render(network))
    except (OSError, UserError) as error:
        key_file.unlink(missing_ok=True)
        last_file.unlink(missing_ok=True)
        if made:  # half a file would stand in the way of the next attempt
            file.unlink(missing_ok=True)
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot write {file}: {error.strerror}; choose another file with --out") from error
    # A path shows itself by its dot or slash; without one it would be taken for a preset's name.
    named = shlex.quote(str(file) if {".", "/"} & set(str(file)) else f"./{file}")
    print_lines(
        [
            *table(_rows(network), indent=""),
            f"network file   {file}: give it to whoever shall join with `tutti run --network {named}`",
            f"founder's key  {key_file}: keep it; only its holder can change the parameters",
        ]
    )
    return ExitCode.OK


def _show(args: argparse.Namespace) -> int:
    network = load(located(args)[1].network)
    if args.json:
        print_json(_json(network))
        return ExitCode.OK
    print_lines(table(_rows(network), indent=""))
    rows = [("SKILL", "ANSWER", "K", "TOKENS", "AUDITED BY")]
    for name, skill in sorted(network.parameters.skills.items()):
        audits = brief(" ".join(skill.exercises), _NAME_SHOWN) or "nothing: its votes stay unearned"
        rows.append((name, skill.answer, str(skill.options), str(skill.tokens_max), audits))
    print_lines(table(rows))
    return ExitCode.OK


def _check(args: argparse.Namespace) -> int:
    if args.file in PRESETS:
        # `show` takes either, so people try it; ./dev is the file of that name.
        if args.json:
            print_json({"ok": True, **_json(load(args.file))})
        else:
            print_lines([f"{args.file} is built in and needs no check: `tutti network show {args.file}` shows it"])
        return ExitCode.OK
    try:
        network = parse(read(args.file), args.file)
    except UserError as error:
        if args.json:
            print_json({"ok": False, "error": str(error)})
        raise UserError(str(error)) from error
    if args.json:
        print_json({"ok": True, **_json(network)})
        return ExitCode.OK
    parameters = network.parameters
    known = number(len(network.bootstrap), "bootstrap")
    print_lines(
        [
            f"{clean(args.file)} holds",
            f"  the id {parameters.network.hex()} is that of its genesis",
            f"  its founder {peer_id(parameters.genesis.founder)} signed revision {parameters.revision}",
            f"  {number(len(parameters.skills), 'skill')}; {known}, well formed, not dialled",
        ]
    )
    return ExitCode.OK


def _revise(args: argparse.Namespace) -> int:
    home = locate(getattr(args, "home", None), os.environ)
    edited = parse(read(args.file), args.file, signed=False)
    genesis = edited.parameters.genesis
    key_file = _key_file(home, genesis.name, genesis.nonce)
    if not key_file.exists():
        raise UserError(f"the founder's key of this network is not in this home ({key_file}): use --home where it was founded")
    founder = KeySigner(load_or_create_seed(key_file)[0])
    if founder.public_key != genesis.founder:
        raise UserError(f"the key in {key_file} is not that of the founder in {args.file}: the genesis was altered")
    last_file = _last_file(key_file)
    _must_be_last(args.file, edited.parameters.revision, last_file)
    kept = (edited.parameters.skills, edited.parameters.similarity_min)
    chosen = kept if args.skill_set is None else SKILL_SETS[args.skill_set]
    try:
        parameters = Parameters(genesis, edited.parameters.revision + 1, *chosen, edited.parameters.auditors)
    except LocalProtocolError as error:
        raise UserError(str(error)) from error
    network = replace(edited, parameters=parameters, signature=parameters.signed_by(founder))
    # First what is kept: a number that was given out and not kept could be signed twice.
    write_private(last_file, render(network))
    # At once, so that nobody who copies the file meanwhile gets half of it.
    file = Path(args.file)
    mode = file.stat().st_mode
    write_private(file, render(network))
    file.chmod(mode)
    print_lines([*table(_rows(network), indent=""), f"{file} is revision {parameters.revision}: every node needs it"])
    return ExitCode.OK


def _key_file(home: Home, name: str, nonce: bytes) -> Path:
    # Apart from the networks' own directories, which may be moved or removed with what a node earned there.
    return home.data / "founders" / f"{name}-{nonce.hex()[:16]}.key"


def _last_file(key_file: Path) -> Path:
    """The last revision that was signed with this key, for the next must follow it and no other."""
    return key_file.with_suffix(".json")


def _must_be_last(name: str, revision: int, last_file: Path) -> None:
    """Refuse an old copy, from which a number would be signed twice, and a number nobody gave, which may be the highest."""
    # Who restored the key alone from a backup goes on from the file that he has.
    if not last_file.exists():
        return
    last = parse(read(str(last_file)), str(last_file)).parameters.revision
    if revision != last:
        kept = shlex.quote(str(last_file))
        raise UserError(f"{name} is revision {revision}, and the last that you signed is {last}: edit a copy of it, {kept}")


def _addresses(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > BOOTSTRAPS_MAX:
        raise UserError(f"a network file has at most {BOOTSTRAPS_MAX} bootstrap addresses", ExitCode.USAGE)
    for address in given:
        try:
            parse_address(address)
        except TransportError as error:
            raise UserError(f"--bootstrap: {error}", ExitCode.USAGE) from error
    return tuple(given)


def _rows(network: Network) -> list[tuple[str, str]]:
    parameters = network.parameters
    founder = peer_id(parameters.genesis.founder) if network.signature else "nobody: built in, never revised"
    return [
        ("network", parameters.name),
        ("id", parameters.network.hex()),
        ("founder", founder),
        ("revision", str(parameters.revision)),
        ("skills", " ".join(sorted(parameters.skills))),
        *(("auditor", peer_id(key)) for key in parameters.auditors),
        *(("bootstrap", clean(address)) for address in network.bootstrap),
    ]


def _json(network: Network) -> dict[str, object]:
    parameters = network.parameters
    return {
        "name": parameters.name,
        "id": parameters.network.hex(),
        "founder": peer_id(parameters.genesis.founder) if network.signature else None,
        "revision": parameters.revision,
        "skills": {
            name: {
                "answer": skill.answer,
                "options": skill.options,
                "tokens_max": skill.tokens_max,
                "examples": len(skill.examples),
                "exercises": list(skill.exercises),
            }
            for name, skill in sorted(parameters.skills.items())
        },
        "auditors": [peer_id(key) for key in parameters.auditors],
        "bootstrap": list(network.bootstrap),
    }
