"""Grammars that bound what a model can write, by the type of the answer. They are constants of ours.

llama.cpp ends the process on a malformed grammar, so none ever comes from a peer, and tests load each of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from protocol.answers import MARK
from protocol.constants import PLAN_STEPS_MAX

# A step refers to steps before it by one digit; that they are before it, `protocol.plan` checks.
_PLAN: Final = f"""\
root ::= "{MARK}" [ \\n] step ("\\n" step){{0,{PLAN_STEPS_MAX - 1}}}
step ::= skill ": " (plain | reference) (plain | reference)*
skill ::= [a-z] [a-z0-9_-]{{0,31}}
plain ::= [^#\\n]
reference ::= "#" [1-{PLAN_STEPS_MAX - 1}] ("[" "-"? [1-9] [0-9]? "]")?
"""
GRAMMARS: Final[Mapping[str, str]] = MappingProxyType({"plan": _PLAN})
"""By the type of the answer; a type that is not here is written freely."""
