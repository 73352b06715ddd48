"""The keys of a node: its identity, copies of it, and the recovery key (specs/06-ledger.md).

The recovery key is made with the identity and used for one thing: to name the next identity when this one is lost or stolen.
So its owner should keep it elsewhere. Of its public half the first entry of the ledger holds the hash.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.errors import UserError
from node.home import (
    IDENTITY_WORD,
    RECOVERY_WORD,
    NetworkHome,
    load_or_create_seed,
    read_plain,
    read_seed,
    write_private,
)
from protocol.errors import RemoteProtocolError
from protocol.identity import KeySigner
from protocol.own_ledger import Origin
from protocol.succession import Succession, recovery_hash

_FILE_SIZE_MAX: Final = 4_096
_PUBLIC_LINE: Final = re.compile(rb"ed25519-public:([0-9a-f]{64})\n")
_ENCRYPTED_LINE: Final = re.compile(rb"ed25519-seed-encrypted:([0-9a-f]{152})\n")
_RECOVERY_LINE: Final = re.compile(rf"{RECOVERY_WORD}:([0-9a-f]{{64}})\n".encode())
_SALT_SIZE: Final = 16
_NONCE_SIZE: Final = 12
# Half a second and 128 MB for each guess at a passphrase.
_SCRYPT_N: Final = 2**17


# --- The recovery key


def recovery_key(home: NetworkHome) -> tuple[bytes, bool]:
    """The public recovery key, and whether it was made just now with its private half; raises `UserError`."""
    try:
        content = read_plain(home.recovery_public_file, _FILE_SIZE_MAX)
    except FileNotFoundError:
        seed, made = load_or_create_seed(home.recovery_file, RECOVERY_WORD)
        public = KeySigner(seed).public_key
        write_recovery_public(home, public)
        return public, made
    except OSError as error:
        raise UserError(f"cannot read {home.recovery_public_file}: {error.strerror}") from error
    match = _PUBLIC_LINE.fullmatch(content)
    if match is None:
        raise UserError(f"{home.recovery_public_file} is damaged: restore it from a backup, or write it anew from recovery.key")
    return bytes.fromhex(match[1].decode()), False


def write_recovery_public(home: NetworkHome, public: bytes) -> None:
    """Note which recovery key the ledger of this home's identity names; raises `UserError`."""
    write_private(home.recovery_public_file, f"ed25519-public:{public.hex()}\n".encode())


def origin(home: NetworkHome, identity: bytes, *, fresh: bool) -> Origin:
    """What the ledger of this identity begins with; raises `UserError`."""
    public, _ = recovery_key(home)
    statement = b""
    try:
        statement = read_plain(home.succession_file, _FILE_SIZE_MAX)
        if Succession.open(statement).new != identity:
            statement = b""
    except FileNotFoundError:
        pass
    except (OSError, RemoteProtocolError) as error:
        raise UserError(f"{home.succession_file} is damaged: restore it from a backup, or move it away") from error
    return Origin(recovery_hash(public), statement, fresh=fresh)


# --- A copy of the identity


def export(home: NetworkHome, passphrase: str) -> bytes:
    """The identity, encrypted: scrypt and AES-256-GCM over the seed; raises `UserError`."""
    seed = identity(home)
    salt, nonce = secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(_NONCE_SIZE)
    sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, seed, IDENTITY_WORD.encode())
    return f"ed25519-seed-encrypted:{(salt + nonce + sealed).hex()}\n".encode()


def is_copy(content: bytes) -> bool:
    """Whether a file holds an exported identity."""
    return _ENCRYPTED_LINE.fullmatch(content) is not None


def restore(home: NetworkHome, content: bytes, passphrase: str) -> bytes:
    """Put an exported identity back into a home without one; gives its public key. Raises `UserError`."""
    match = _ENCRYPTED_LINE.fullmatch(content)
    assert match is not None
    raw = bytes.fromhex(match[1].decode())
    salt, nonce, sealed = raw[:_SALT_SIZE], raw[_SALT_SIZE : _SALT_SIZE + _NONCE_SIZE], raw[_SALT_SIZE + _NONCE_SIZE :]
    try:
        seed = AESGCM(_derived(passphrase, salt)).decrypt(nonce, sealed, IDENTITY_WORD.encode())
    except InvalidTag as error:
        raise UserError("the passphrase is not that of this copy, or the copy is damaged") from error
    with home.locked():
        if home.identity_file.exists():
            raise UserError(f"there is an identity in {home.identity_file}: move it away, or choose another --home")
        write_private(home.identity_file, f"{IDENTITY_WORD}:{seed.hex()}\n".encode())
    return KeySigner(seed).public_key


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=8, p=1).derive(passphrase.encode())


# --- Files


def identity(home: NetworkHome) -> bytes:
    """The seed of this home's identity; raises `UserError`."""
    try:
        return read_seed(home.identity_file)
    except FileNotFoundError as error:
        raise UserError(f"there is no identity in {home.data}: make one with `tutti init`") from error


def read_key_file(path: Path) -> bytes:
    """The content of a file with a recovery key or an exported identity; raises `UserError`."""
    try:
        return read_plain(path, _FILE_SIZE_MAX)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def recovery_signer(content: bytes, path: Path) -> KeySigner:
    """The signer over a recovery key; raises `UserError`."""
    match = _RECOVERY_LINE.fullmatch(content)
    if match is None:
        raise UserError(f"{path} is neither a recovery key nor an exported identity")
    return KeySigner(bytes.fromhex(match[1].decode()))
