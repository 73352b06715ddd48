"""`tutti keys`: copy the identity, let a new one follow it, get one back."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from node.cli.flags import add_verbs
from node.cli.place import located, network_home
from node.cli.terminal import print_lines
from node.errors import ExitCode, UserError
from node.home import NetworkHome, write_new
from node.keys import export, is_copy, read_key_file, recovery_signer, restore
from node.networks import load
from node.succeeding import Succeeded, recover, rotate
from protocol.errors import RemoteProtocolError
from protocol.identity import peer_id, public_key_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs, each with flags of its own."""
    add = add_verbs(parser)
    copy = add("export", "write a copy of the identity, encrypted with a passphrase")
    copy.add_argument("file", metavar="FILE", help="the file to write; one that exists is left as it is")
    next_one = add("rotate", "let a new identity follow this one, with all that it earned; the node must not run")
    next_one.add_argument("--recovery", metavar="FILE", help="where the recovery key is (else in the home)")
    back = add("recover", "get an exported identity back, or let a new one follow a lost or stolen one by its recovery key")
    back.add_argument("file", metavar="FILE", help="the exported identity, or the recovery key")
    back.add_argument("--peer", metavar="PEER", help="the peer id that was lost (else that of this home)")


def run(args: argparse.Namespace) -> int:
    """Run one verb; raises `UserError`."""
    return {"export": _export, "rotate": _rotate, "recover": _recover}[args.verb](args)


def _export(args: argparse.Namespace) -> int:
    home, file = network_home(args), Path(args.file)
    content = export(home, _passphrase(again=True))
    try:
        write_new(file, content)
    except FileExistsError as error:
        raise UserError(f"{file} exists and is left as it is: choose another file") from error
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from error
    print_lines([f"a copy of the identity is in {file}; `tutti keys recover {file}` puts it back where there is none"])
    return ExitCode.OK


def _rotate(args: argparse.Namespace) -> int:
    home, network = _place(args)
    file = Path(args.recovery) if args.recovery else home.recovery_file
    if not args.recovery and not file.exists():
        raise UserError(f"the recovery key is not at {file}: say where you keep it with --recovery FILE")
    return _tell(rotate(home, network, recovery_signer(read_key_file(file), file)))


def _recover(args: argparse.Namespace) -> int:
    home, network = _place(args)
    file = Path(args.file)
    content = read_key_file(file)
    if is_copy(content):
        home.create()
        print_lines([f"{peer_id(restore(home, content, _passphrase(again=False)))} is back in {home.identity_file}"])
        return ExitCode.OK
    return _tell(recover(home, network, recovery_signer(content, file), _peer(args.peer)))


def _peer(text: str | None) -> bytes | None:
    try:
        return None if text is None else public_key_of(text)
    except RemoteProtocolError as error:
        raise UserError(f"bad --peer: {error}", ExitCode.USAGE) from error


def _place(args: argparse.Namespace) -> tuple[NetworkHome, bytes]:
    home, config = located(args)
    network = load(config.network)
    return home.network(network.directory), network.parameters.network


def _tell(done: Succeeded) -> int:
    lines = [f"{peer_id(done.new)} follows {peer_id(done.old)}: the next `tutti run` tells its peers"]
    if done.aside is not None:
        lines.append(f"the old key is in {done.aside}; nothing needs it any more")
    print_lines(lines)
    return ExitCode.OK


def _passphrase(*, again: bool) -> str:
    """From the person, unseen; or the first line of stdin, for a script."""
    if sys.stdin is None or not sys.stdin.isatty():
        given = (sys.stdin.readline() if sys.stdin is not None else "").rstrip("\n")
    else:
        given = getpass.getpass("passphrase: ")
        if again and getpass.getpass("again: ") != given:
            raise UserError("the passphrases differ", ExitCode.USAGE)
    if not given:
        raise UserError("a copy needs a passphrase: type one, or give it on stdin", ExitCode.USAGE)
    return given
