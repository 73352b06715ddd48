"""The parameters that all nodes of one network share: its skills, with answers' type, example texts and audits.

A founder signs each revision of them (specs/10-network.md); those of the presets are built in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Self

from protocol import canonical, exercises
from protocol.capability import GENERAL
from protocol.constants import (
    AUDITORS_MAX,
    EXAMPLE_SIZE_MAX,
    EXAMPLES_MAX,
    EXERCISES_MAX,
    OPTIONS_MAX,
    RECORD_SKILLS_MAX,
    REVISION_MAX,
    TOKENS_MAX,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.genesis import NOBODY, NONCE_SIZE, Genesis
from protocol.identity import Signer, peer_id, public_key_of, verify
from protocol.messages import Beacon
from protocol.schema import Message, Rule, integer, items, string

DOMAIN: Final = b"tutti/parameters/1\x00"

# Generated questions stay above .45; "the square root of 16" and "10 percent of 50" lie just below .4.
SIMILARITY_MIN_TINY: Final = 400

_EXERCISE: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}/[a-z][a-z0-9_-]{0,31}")
_PEER_ID_SIZE_MAX: Final = 64
# Enough to find a skill in a file by.
_NAME_SHOWN: Final = 32
_SKILL_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def exercise_name(value: object) -> str | None:
    """A rule: the name of an exercise family, such as `arith/add`."""
    return None if type(value) is str and _EXERCISE.fullmatch(value) else "is not <skill>/<family> of an exercise"


@dataclass(frozen=True, slots=True)
class Skill(Message):
    """A skill: `options` is K, the effective number of answers a wrong voter scatters over; it sets the prior mean 1/K.

    `exercises` names the generators (`arith/add`) whose known answers audit the skill and whose questions are examples
    beside `examples`. A skill without any cannot be audited, so nobody ever earns weight in it.
    """

    answer: str
    options: int
    tokens_max: int
    examples: tuple[str, ...]
    exercises: tuple[str, ...] = ()
    TYPE: ClassVar[str] = "skill"
    RULES: ClassVar[dict[str, Rule]] = {
        "answer": Beacon.RULES["answer"],
        "options": integer(2, OPTIONS_MAX),
        "tokens_max": integer(1, TOKENS_MAX),
        "examples": items(string(EXAMPLE_SIZE_MAX, 1), EXAMPLES_MAX),
        "exercises": items(exercise_name, EXERCISES_MAX),
    }

    @property
    def audited_by(self) -> tuple[tuple[str, str], ...]:
        """The (skill, family) of the exercises that this version knows; a later one may know more."""
        pairs = (name.split("/") for name in self.exercises)
        return tuple((skill, family) for skill, family in pairs if family in exercises.SKILLS.get(skill, ()))


Skill.check_table()


@dataclass(frozen=True)
class Parameters:
    """A network's identity and rules. Nodes of different networks never read each other's messages.

    A question whose nearest example is below `similarity_min` (squared cosine in thousandths) is `general`. `auditors` are
    public keys whose audits are believed before they are judged (specs/06-ledger.md).
    """

    genesis: Genesis
    revision: int
    skills: Mapping[str, Skill]
    similarity_min: int = SIMILARITY_MIN_TINY
    auditors: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if type(self.revision) is not int or not 0 < self.revision <= REVISION_MAX:
            raise LocalProtocolError(f"parameters: revision is not an integer in 1..{REVISION_MAX}")
        if len(self.skills) > RECORD_SKILLS_MAX:
            raise LocalProtocolError(f"parameters: more than {RECORD_SKILLS_MAX} skills")
        if type(self.similarity_min) is not int or not 0 <= self.similarity_min <= 1_000:  # noqa: PLR2004 - thousandths
            raise LocalProtocolError("parameters: similarity_min is not an integer in 0..1000")
        if len(self.auditors) > AUDITORS_MAX or list(self.auditors) != sorted(set(self.auditors)):
            raise LocalProtocolError(f"parameters: auditors are not at most {AUDITORS_MAX} keys in ascending order, each once")
        for name, skill in self.skills.items():
            if not _SKILL_NAME.fullmatch(name) or name == GENERAL:
                raise LocalProtocolError("parameters: a skill's name is not lower-case letters and digits, or is general")
            for audit in skill.audited_by:
                # Whoever answers in the type asked for would fail each such audit.
                if not exercises.fits(*audit, skill.answer):
                    raise LocalProtocolError(f"parameters: {name}: the answers of {'/'.join(audit)} are no {skill.answer}")
        self._payload()  # raises for parameters too large to be signed

    @property
    def name(self) -> str:
        """The network's name; others may use the same."""
        return self.genesis.name

    @property
    def network(self) -> bytes:
        """The network id: 32 bytes that stand in every envelope."""
        return self.genesis.network

    def body(self) -> dict[str, canonical.Value]:
        """What the founder signs, without the network that they are for."""
        auditors: dict[str, canonical.Value] = {"auditors": [peer_id(key) for key in self.auditors]} if self.auditors else {}
        return auditors | {
            "revision": self.revision,
            "similarity_min": self.similarity_min,
            "skills": {name: self.skills[name].body() for name in sorted(self.skills)},
        }

    @classmethod
    def parse(cls, genesis: Genesis, body: Mapping[str, canonical.Value]) -> Self:
        """The parameters in `body`; raises `RemoteProtocolError` that names what is wrong. The signature is `check`'s."""
        if body.keys() - {"auditors"} != {"revision", "similarity_min", "skills"}:
            raise RemoteProtocolError("fields", "parameters: not revision, similarity_min and skills, and perhaps auditors")
        auditors = _auditors(body["auditors"]) if "auditors" in body else ()
        revision, similarity_min, skills = body["revision"], body["similarity_min"], body["skills"]
        if type(revision) is not int or type(similarity_min) is not int or not isinstance(skills, dict):
            raise RemoteProtocolError("field", "parameters: not two integers and a map of skills")
        found = {}
        for name, skill in skills.items():
            if not isinstance(skill, dict):
                raise RemoteProtocolError("fields", "parameters: a skill is not a map")
            try:
                found[name] = Skill.parse(skill)
            except RemoteProtocolError as error:
                # Who edits a file of many skills must hear which; the name may be anything, so it is shown as a literal.
                raise RemoteProtocolError("field", f"parameters: {name[:_NAME_SHOWN]!a}: {error}") from error
        try:
            return cls(genesis, revision, MappingProxyType(found), similarity_min, auditors)
        except LocalProtocolError as error:
            raise RemoteProtocolError("field", str(error)) from error

    def signed_by(self, founder: Signer) -> bytes:
        """The founder's signature, 64 bytes; raises `LocalProtocolError` for another's key."""
        if founder.public_key != self.genesis.founder:
            raise LocalProtocolError("only the founder signs a network's parameters")
        return founder.sign(self._payload())

    def check(self, signature: bytes) -> None:
        """Raise `RemoteProtocolError` unless the network's founder signed exactly these parameters."""
        verify(self.genesis.founder, self._payload(), signature)

    def _payload(self) -> bytes:
        return DOMAIN + canonical.encode({"network": self.network} | self.body())


def _auditors(value: canonical.Value) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not value or len(value) > AUDITORS_MAX:
        raise RemoteProtocolError("field", f"parameters: auditors is not a list of 1 to {AUDITORS_MAX} peer ids")
    return tuple(_auditor(peer) for peer in value)


def _auditor(value: canonical.Value) -> bytes:
    # Decoding base58 takes the square of the length, so that is looked at first.
    if not isinstance(value, str) or len(value) > _PEER_ID_SIZE_MAX:
        raise RemoteProtocolError("field", "parameters: an auditor is not a peer id")
    return public_key_of(value)


def _audited(skill: str, answer: str, options: int = 10) -> Skill:
    names = tuple(f"{skill}/{family}" for family in exercises.SKILLS[skill])
    return Skill(answer, options, tokens_max=256, examples=(), exercises=names)


# The skills of the packaged models: each is audited, and described, by its own exercises.
TINY_SKILLS: Final[Mapping[str, Skill]] = MappingProxyType(
    {
        "arith": _audited("arith", "number"),
        "lists": _audited("lists", "list"),
        "text": _audited("text", "word"),
        # Half of its answers are yes or no.
        "logic": _audited("logic", "choice", options=2),
        # Of three of its seven families half of the answers are a guess.
        "composite": _audited("composite", "choice", options=4),
        "plan": _audited("plan", "plan"),
    }
)

PRESETS: Final = ("dev", "local")


def preset(name: str) -> Parameters:
    """The parameters of the preset network `name`, "dev" or "local"."""
    if name not in PRESETS:
        raise LocalProtocolError(f"no preset network {name!r}; there are {', '.join(PRESETS)}")
    return Parameters(Genesis(name, NOBODY, bytes(NONCE_SIZE)), revision=2, skills=TINY_SKILLS)
