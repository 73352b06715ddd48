"""Lets a new identity take the place of another in a home (specs/06-ledger.md): by both keys, or the recovery key alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from node.errors import UserError
from node.executor import now
from node.home import NetworkHome, load_or_create_seed, write_private
from node.keys import identity, write_recovery_public
from node.store import Store
from protocol.chain import Chain
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.events import Persist
from protocol.identity import KeySigner, check_public_key, peer_id
from protocol.ledger import NOTHING, SUCCESSION
from protocol.outbox import Outbox
from protocol.own_ledger import TABLE, Origin, OwnLedger
from protocol.succession import Succession, recovery_hash, succeed


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An identity took the place of another; `aside` is where the old private key lies now, None if it was not here."""

    old: bytes
    new: bytes
    aside: Path | None


def rotate(home: NetworkHome, network: bytes, recovery: KeySigner) -> Succeeded:
    """Let a new identity follow the one of this home, which signs that as well; raises `UserError`."""
    old = KeySigner(identity(home))
    with home.locked():
        _check_recovery(_ledger(home), old.public_key, recovery.public_key)
        statement = succeed(network, old.public_key, _next_identity(home), recovery, old)
        # In this order: whenever the machine stops, one identity is in its place, and no number of its ledger is given twice.
        _close(home, network, old, statement)
        return _replace(home, statement)


def recover(home: NetworkHome, network: bytes, recovery: KeySigner, lost: bytes | None) -> Succeeded:
    """Let a new identity follow one that was lost or stolen: `lost`, else the one of this home; raises `UserError`."""
    home.create()
    with home.locked():
        ledger = _ledger(home)
        old = lost or _former(home, ledger)
        if old is None:
            raise UserError("nothing here says whose recovery key this is: name the lost identity with --peer PEER")
        try:
            check_public_key(old)
        except RemoteProtocolError as error:
            raise UserError(f"the lost identity cannot be: {error}") from error
        _check_recovery(ledger, old, recovery.public_key)
        return _replace(home, succeed(network, old, _next_identity(home), recovery))


def _next_identity(home: NetworkHome) -> KeySigner:
    """One that an earlier attempt left is taken: it may stand in the ledger already."""
    return KeySigner(load_or_create_seed(home.next_identity_file)[0])


def _former(home: NetworkHome, ledger: Chain) -> bytes | None:
    """The identity that this home had: its key, else the author of its ledger."""
    if home.identity_file.exists():
        return KeySigner(identity(home)).public_key
    return ledger.head.author if ledger.head is not None else None


def _ledger(home: NetworkHome) -> Chain:
    """What the database holds of the ledger of this home's own identity."""
    chain = Chain()
    if home.database_file.exists():
        store = Store(home.database_file)
        try:
            ledger = OwnLedger(Outbox(KeySigner(bytes(32)), NOTHING), Origin())
            for table, key, value in store.rows():
                if table == TABLE:
                    ledger.restore(key, value)
            chain = ledger.chain
        except LocalProtocolError as error:
            raise store.damaged() from error
        finally:
            store.close()
    return chain


def _check_recovery(ledger: Chain, old: bytes, recovery: bytes) -> None:
    """Refuse a key that no other node would accept, if the ledger is here to tell."""
    known = ledger.summary.recovery
    if ledger.head is not None and ledger.head.author == old and known != recovery_hash(recovery):
        raise UserError(f"this is not the recovery key of {peer_id(old)}: its ledger names another one")


def _close(home: NetworkHome, network: bytes, old: KeySigner, statement: Succession) -> None:
    """Write the last entry of the old ledger, which tells its followers who goes on."""
    if not home.database_file.exists():
        return
    store = Store(home.database_file)
    try:
        outbox = Outbox(old, network)
        outbox.begin(now())
        ledger = OwnLedger(outbox, Origin())
        for table, key, value in store.rows():
            if table == TABLE:
                ledger.restore(key, value)
        if ledger.chain.head is not None and not ledger.restored():
            ledger.release()
            ledger.append(SUCCESSION, {"statement": statement.data()})
            store.write([effect for effect in outbox.effects if isinstance(effect, Persist)])
    except LocalProtocolError as error:
        raise store.damaged() from error
    finally:
        store.close()


def _replace(home: NetworkHome, statement: Succession) -> Succeeded:
    """Put the statement and the new identity in their places; the old key stays beside it, under its own name."""
    write_private(home.succession_file, statement.data())
    write_recovery_public(home, statement.recovery)
    aside = None
    try:
        if home.identity_file.exists():
            kept = peer_id(KeySigner(identity(home)).public_key)
            aside = home.identity_file.with_name(f"identity-{kept[-8:]}.old")
            aside.unlink(missing_ok=True)
            # A second name first: at no instant is there no identity, for which a start would make another one.
            os.link(home.identity_file, aside)
        home.next_identity_file.replace(home.identity_file)
    except OSError as error:
        raise UserError(f"cannot move {home.identity_file}: {error.strerror}; run the same command again") from error
    return Succeeded(statement.old, statement.new, aside)
