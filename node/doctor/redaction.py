"""What must not be in a report that is pasted in public: keys, tokens, whole peer ids, addresses, names of users and hosts."""

from __future__ import annotations

import getpass
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from node.home import Home

_GONE: Final = "..."
_TAIL: Final = 8
# Keys in hexadecimal, the API's token and peer ids are longer than any word of ours.
_LONG_WORD: Final = re.compile(r"[A-Za-z0-9_-]{40,}")
_PEER_ID: Final = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}")
_USER_DIRECTORY: Final = re.compile(r"(/home|/Users)/[^/\s:;,'\"()]+")
_HOST_NAME: Final = re.compile(r"/(dns|dns4|dns6|dnsaddr)/[^/\s]+")
_IP4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\.\d)")
_IP6: Final = re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}")
# Names that say nothing about who somebody is, and stand in other words.
_NOBODY: Final = frozenset({"", "root", "user", "tutti"})


class Redaction:
    """Takes out of a text what its reader need not know. `home` is told as <home>, the user's own directory as ~."""

    def __init__(self, home: Home, user: str | None = None) -> None:
        roots = {str(home.config): "<home>", str(home.data): "<home>", str(home.state): "<home>", str(Path.home()): "~"}
        if home.config != home.data:
            roots |= {str(home.config): "<config>", str(home.data): "<data>", str(home.state): "<state>"}
        # The longer first: a home below the user's own directory is a home.
        self._roots: Mapping[str, str] = dict(sorted(roots.items(), key=lambda item: -len(item[0])))
        self._user = _user() if user is None else user

    def __call__(self, text: str) -> str:
        """`text` without what is private."""
        for path, name in self._roots.items():
            if path != "/":
                text = re.sub(rf"{re.escape(path)}(?![^/\s:;,'\"()])", name, text)
        text = _USER_DIRECTORY.sub(rf"\1/{_GONE}", text)
        text = _HOST_NAME.sub(rf"/\1/{_GONE}", text)
        text = _PEER_ID.sub(lambda found: _GONE + found[0][-_TAIL:], text)
        text = _LONG_WORD.sub(_GONE, text)
        text = _IP4.sub(_masked, text)
        text = _IP6.sub(_masked, text)
        if self._user not in _NOBODY:
            text = re.sub(rf"(?<!\w){re.escape(self._user)}(?!\w)", _GONE, text)
        return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _masked(found: re.Match[str]) -> str:
    """An address by its first half; one that is the same on every machine as it is."""
    # The colon of a sentence may stand right behind an address, and is no part of it.
    text = found[0] if found[0].endswith("::") else found[0].removesuffix(":")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return found[0]
    if address.is_loopback or address.is_unspecified:
        return found[0]
    if address.version == 4:  # noqa: PLR2004  the protocol's number
        return ".".join([*text.split(".")[:2], "x", "x"])
    return f"{address.exploded.split(':')[0]}:{_GONE}{found[0][len(text) :]}"
